"""Time of the Fokker-Planck solution: one write error rate, one map, one surrogate; each with its error.

Run: python benchmarks/fokker_planck.py
"""

from __future__ import annotations

import time

import numpy as np

from voltaspin.device import Pulse, SwitchingModel, presets
from voltaspin.device.fokker_planck import switching_map, switching_probability
from voltaspin.device.pulse_design import best_pulse
from voltaspin.device.sphere import Generator, as_sparse, basis, occupied


def timed(name: str, work):  # type: ignore[no-untyped-def]
    before = time.perf_counter()
    result = work()
    print(f"{name}: {time.perf_counter() - before:.2f} s", flush=True)
    return result


def against_scipy() -> None:
    """The propagator against scipy's action of the exponential, on the same vector."""
    from scipy.sparse.linalg import expm_multiply

    degree, span = 60, 2e-11
    generator = Generator(basis(degree), np.array([2.7e10, 5.4e8, 5.3e9, 1.1e8, 0.0, 0.0, 6.7e6]))
    v = np.random.default_rng(0).normal(size=generator.basis.size) * occupied(degree)
    A = as_sparse(generator.basis, generator.diagonals)
    generator.propagate(v, span)  # compiles
    before = time.perf_counter()
    ours = generator.propagate(v, span)
    middle = time.perf_counter()
    theirs = expm_multiply(A * span, v)
    after = time.perf_counter()
    print(
        f"propagation, degree {degree}, 20 ps: ours {1e3 * (middle - before):.1f} ms, "
        f"scipy {1e3 * (after - middle):.1f} ms, ratio {(after - middle) / (middle - before):.0f}, "
        f"largest difference {abs(ours - theirs).max():.1e}"
    )


def main() -> None:
    j = presets.generator
    against_scipy()
    best = timed("best write pulse (search)", lambda: best_pulse(j, target="write"))
    print(f"  {best.verdict}")
    result = timed("its WER alone, both degrees", lambda: switching_probability(j, best.pulse))
    print(f"  WER {result.WER:.4g} +- {result.error:.1g} at degree {result.degree}")
    grid = timed(
        "32 x 32 map of P_sw, two threads",
        lambda: switching_map(
            j, voltages=np.linspace(0.6, 1.5, 32) * j.V_c, widths=np.linspace(0.05e-9, 1.6e-9, 32), threads=2
        ),
    )
    print(f"  degree {grid.degree}, largest error {grid.error.max():.1e}")
    pulse = Pulse(voltage=1.3 * j.V_c, width=0.28e-9)
    model = timed(
        "SwitchingModel.from_fokker_planck", lambda: SwitchingModel.from_fokker_planck(j, pulse, cached=False)
    )
    print(
        f"  rms error {model.fit_error:.4f}, largest {model.worst_error:.4f} on held-out cells; "
        f"{len(model.response.terms)} terms"
    )
    rng = np.random.default_rng(0)
    cells = {
        "K_eff_scale": 1 + 0.04 * rng.uniform(-4, 4, 1_000_000), "B_z": rng.uniform(-5e-3, 5e-3, 1_000_000),
        "xi_scale": 1 + 0.02 * rng.uniform(-4, 4, 1_000_000),
    }  # fmt: skip
    model.probabilities(K_eff_scale=cells["K_eff_scale"][:10])
    timed("a million cells through it", lambda: model.probabilities(**cells))


if __name__ == "__main__":
    main()
