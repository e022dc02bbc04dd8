"""Write the sample files of the tutorials: examples/data/vcma.csv and examples/data/bits.bin. Both are synthetic.

vcma.csv: counts of a voltage-controlled junction that is no preset, as a bench writes them. The probabilities are the
Fokker-Planck solution, the counts binomial. bits.bin: raw bits of the simulated array at the fair pulse.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voltaspin import MemorySource
from voltaspin.device import Junction, Pulse
from voltaspin.device.fokker_planck import switching_probability

FOLDER = Path(__file__).parents[1] / "examples" / "data"
TRUTH = "generator, xi=90fJ/(V m), Delta=42, B_x=28mT"
PULSES, BITS = 200, 1_000_000
VOLTS, WIDTHS = (1.2, 1.4, 1.6), (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # [V], [ns]


def main() -> None:
    """Write both files."""
    junction, rng = Junction.of(TRUTH), np.random.default_rng(20261130)
    rows = ["direction,V,t_p (ns),switched,n_reps"]
    for direction, initial in (("P->AP", "up"), ("AP->P", "down")):
        for V in VOLTS:
            for t in WIDTHS:
                P = switching_probability(junction, Pulse(voltage=V, width=t * 1e-9), initial=initial).value  # type: ignore[arg-type]
                rows.append(f"{direction},{V:g},{t:g},{rng.binomial(PULSES, min(P, 1.0))},{PULSES}")
    (FOLDER / "vcma.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (FOLDER / "bits.bin").write_bytes(MemorySource(k=1, seed=20261130).bits(BITS).tobytes())
    for name in ("vcma.csv", "bits.bin"):
        print(f"{name}: {(FOLDER / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
