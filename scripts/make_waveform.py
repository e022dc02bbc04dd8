"""Write examples/data/telegraph.csv: the telegraph signal of a superparamagnetic junction, as a scope exports it.

The state is a process of two states at the rates of ``flip_rate``, drawn exactly and sampled; the noise is white. The
file is synthetic. It prints the rates, which docs/waveforms.md compares with what is measured.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from voltaspin.device import Junction, flip_rate

TARGET = Path(__file__).parents[1] / "examples" / "data" / "telegraph.csv"
DELTA, FIELD = 7.0, 1e-3  # barrier of the free layer [k_B T], and a field along z that makes one well deeper [T]
SAMPLES, PER_DWELL = 10_000, 8
LOW, HIGH, NOISE = 0.182, 0.268, 0.009  # [V]


def main() -> None:
    """Write the file."""
    full = Junction.of("generator")
    upright = replace(full.with_variation(K_eff_scale=DELTA / full.Delta()), B_bias=(0.0, 0.0, FIELD))
    r01, r10 = flip_rate(upright, well="up"), flip_rate(upright, well="down")
    step = float(f"{1 / max(r01, r10) / PER_DWELL:.1g}")
    rng = np.random.default_rng(20261129)
    dwells = rng.exponential(1.0, SAMPLES)
    dwells[::2] /= r01
    dwells[1::2] /= r10
    state = np.searchsorted(np.cumsum(dwells), np.arange(SAMPLES) * step, side="right") % 2
    volts = np.where(state == 1, HIGH, LOW) + NOISE * rng.standard_normal(SAMPLES)
    rows = "".join(f"{i * step:.5e},{v:.4f}\n" for i, v in enumerate(volts))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(f"Time(s),CH1V\n{rows}", encoding="utf-8")
    print(f"{TARGET.name}: r01 = {r01:.4g} 1/s, r10 = {r10:.4g} 1/s, every {step:g} s, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
