"""Time of fits of switching probabilities on one core, beside those of 0.1.0.

The fit of 0.1.0 solved every parameter's step anew, one operator at a time and at two degrees. It takes minutes, so
it does one of its 5 to 10 steps here.

Run: python benchmarks/fitting.py
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from voltaspin.device import presets
from voltaspin.device.fitting import fit_switching
from voltaspin.device.fokker_planck import switching_map
from voltaspin.device.junction import Junction
from voltaspin.device.measurements import SwitchingData
from voltaspin.device.predictions import predictions


def one_by_one(junction: Junction, data: SwitchingData, degree: int) -> np.ndarray:
    """P_sw as 0.1.0 predicted it: a map for each field and voltage."""
    P = np.empty(len(data))
    settings = np.stack([data.B_z, data.voltage], axis=1)
    x, y, z = junction.B_bias
    for B_z, voltage in np.unique(settings, axis=0):
        rows = np.flatnonzero((settings == (B_z, voltage)).all(axis=1))
        rows = rows[np.argsort(data.width[rows])]
        P[rows] = switching_map(
            replace(junction, B_bias=(x, y, z + B_z)), voltages=[voltage], widths=data.width[rows],
            initial=data.initial, relax=data.relax, degree=degree, atol=1.0, threads=1,
        ).P_sw[0]  # fmt: skip
    return P


def compare(title: str, blank: SwitchingData, free: tuple[str, ...]) -> None:
    cell = presets.generator
    (P,) = predictions([cell], [blank], degree=70)
    data = replace(blank, P_sw=np.random.default_rng(1).binomial(1000, np.clip(P, 0, 1)) / 1000)
    start = replace(cell.with_variation(K_eff_scale=1.03), xi=1.04 * cell.xi, B_bias=(1.05 * cell.B_bias[0], 0.0, 0.0))
    begun, wall = time.process_time(), time.perf_counter()
    quick: list[float] = []
    fit = fit_switching(data, start, free=free, on_quick=lambda found: quick.append(time.process_time() - begun))
    ours = time.process_time() - begun
    print(f"{title}: quick answer {quick[0]:.1f} s, fit {ours:.1f} s of processor", end=" ")
    print(f"({time.perf_counter() - wall:.1f} s by the clock)\n{fit}")
    begun = time.process_time()
    for k in range(len(free) + 1):  # the point and a step along each parameter
        moved = start.with_variation(K_eff_scale=1 + 1e-5 * k)
        old = one_by_one(moved, data, 56)
    step = time.process_time() - begun
    (new,) = predictions([moved], [data], degree=56)
    print(f"one step of 0.1.0 {step:.1f} s; five, which are the fewest: ratio {5 * step / ours:.0f}; ", end="")
    print(f"largest difference of a probability {np.abs(old - new).max():.1e}\n", flush=True)


def main() -> None:
    V_c = presets.generator.V_c
    shape: dict[str, Any] = {"P_sw": 0.0, "trials": 1000}
    predictions([presets.generator], [SwitchingData(voltage=1.0, width=1e-9, **shape)], degree=8)  # type: ignore[arg-type] # compiles
    V, w = (x.ravel() for x in np.meshgrid(V_c * np.linspace(0.9, 1.3, 5), np.linspace(1.5e-10, 1.2e-9, 10)))
    compare("50 points, 5 voltages and 10 widths", SwitchingData(voltage=V, width=w, **shape), ("xi", "K_eff", "B_x"))
    fields = {"B_z": np.tile(np.linspace(-8e-3, 8e-3, 6), 2), "voltage": np.repeat([1.1 * V_c, 1.3 * V_c], 6)}
    compare("12 points, 6 fields and 2 voltages", SwitchingData(width=2.8e-10, **fields, **shape), ("K_eff", "B_z"))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
