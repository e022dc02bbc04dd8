"""Cost of one device-step of the LLG kernel, against the same work in plain NumPy.

Run: python benchmarks/llg.py
"""

from __future__ import annotations

import time

import numpy as np

from voltaspin.device import presets
from voltaspin.device.llg import equilibrium, run, thermal_field_std
from voltaspin.units import gamma_e

N, STEPS, DT = 8192, 1000, 1e-12


def in_numpy(m: np.ndarray, steps: int) -> np.ndarray:
    """The same Heun scheme with whole-array operations and NumPy's own Gaussians."""
    j, rng = presets.generator, np.random.default_rng(0)
    sigma = thermal_field_std(alpha_G=j.alpha_G, Ms=j.Ms, volume=j.volume, temperature=j.temperature, dt=DT)
    rate = gamma_e / (1 + j.alpha_G**2) * DT
    bias, axis = np.asarray(j.B_bias, np.float32), np.array([0, 0, j.B_k()], np.float32)
    for _ in range(steps):
        field = bias + np.float32(sigma) * rng.standard_normal(m.shape, np.float32)

        def slope(m: np.ndarray, field: np.ndarray = field) -> np.ndarray:
            torque = np.cross(m, field + axis * m[:, 2:])
            return -rate * (torque + j.alpha_G * np.cross(m, torque))

        first = slope(m)
        m = m + (first + slope(m + first)) / 2
        m = (m / np.linalg.norm(m, axis=1, keepdims=True)).astype(np.float32)
    return m


def main() -> None:
    start = equilibrium(presets.generator, N)
    run(presets.generator, start, duration=DT, dt=DT)  # compiles
    costs = {}
    for name, steps, work in (
        ("kernel, one thread", STEPS, lambda: run(presets.generator, start, duration=STEPS * DT, dt=DT, threads=1)),
        ("NumPy", STEPS // 20, lambda: in_numpy(start, STEPS // 20)),
    ):
        best = np.inf
        for _ in range(3):
            before = time.process_time()
            work()
            best = min(best, time.process_time() - before)
        costs[name] = best / N / steps * 1e9
        print(f"{name:20s} {costs[name]:7.1f} ns per device-step")
    print(f"ratio {costs['NumPy'] / costs['kernel, one thread']:.0f}")


if __name__ == "__main__":
    main()
