"""Write examples/data/switching.csv: counts of six junctions written by spin transfer, as a bench writes them.

The probabilities are the Fokker-Planck solution of a macrospin under the torque of its current, without a field and
without voltage control; the counts are binomial. Barriers differ from junction to junction. The file is synthetic.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from voltaspin.device import Junction, Pulse
from voltaspin.device.fokker_planck import switching_probability

TARGET = Path(__file__).parents[1] / "examples" / "data" / "switching.csv"
DEVICES, SPREAD, PULSES = 6, 0.04, 100  # and the relative spread of the barrier
VOLTS, WIDTHS = np.linspace(0.75, 1.5, 8), (2.0, 4.0, 8.0)  # [V], [ns]


def main() -> None:
    """Write the file."""
    upright = replace(Junction.of("generator"), B_bias=(0.0, 0.0, 0.0), xi=0.0, RA=20e-12)
    rng = np.random.default_rng(20261129)
    rows = ["device_id,direction,V,t_p (ns),switched,n_reps"]
    for device in range(1, DEVICES + 1):
        junction = upright.with_variation(K_eff_scale=1 + SPREAD * rng.standard_normal())
        print(f"D{device}: Delta {junction.Delta():.2f}")
        for direction, initial, sign in (("P->AP", "up", 1), ("AP->P", "down", -1)):
            for t in WIDTHS:
                for V in sign * VOLTS:
                    pulse = Pulse(voltage=float(V), width=t * 1e-9)
                    P = switching_probability(junction, pulse, initial=initial, spin_torque=True).value  # type: ignore[arg-type]
                    rows.append(f"D{device},{direction},{V:.3f},{t:g},{rng.binomial(PULSES, min(P, 1.0))},{PULSES}")
    TARGET.write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{TARGET.name}: {len(rows) - 1} rows, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
