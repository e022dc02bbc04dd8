"""Time of fits of switching probabilities on one core, two of them beside the fit of 0.1.0.

The fit of 0.1.0 solved every parameter's step anew, one operator at a time. Its second degree, which checked the
first, is left out here.

Run: python benchmarks/fitting.py
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from voltaspin.device import presets
from voltaspin.device.density import generator, term_weights, well_indicator
from voltaspin.device.fit.data import SwitchingData
from voltaspin.device.fit.likelihood import climb
from voltaspin.device.fit.predictions import predictions
from voltaspin.device.fit.propagation import carry, compact
from voltaspin.device.fit.switching import expected_seconds, fit_switching
from voltaspin.device.fokker_planck import switching_map
from voltaspin.device.junction import Junction
from voltaspin.device.sensitivity import PARAMETERS


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


def fit_one_by_one(start: Junction, data: SwitchingData, free: tuple[str, ...], degree: int) -> int:
    """The fit of 0.1.0 at one degree: every probability and difference anew; how many predictions it took."""
    sizes = np.array([PARAMETERS[name][1] for name in free])
    known: dict[bytes, np.ndarray] = {}

    def model(theta: np.ndarray) -> np.ndarray:
        if theta.tobytes() not in known:
            cell = start
            for name, step in zip(free, theta, strict=True):
                cell = PARAMETERS[name][2](cell, float(step))
            known[theta.tobytes()] = np.clip(one_by_one(cell, data, degree), 1e-12, 1 - 1e-12)
        return known[theta.tobytes()]

    def likelihood(theta: np.ndarray) -> float:
        p = model(theta)
        return float(np.sum(data.trials * (data.P_sw * np.log(p) + (1 - data.P_sw) * np.log1p(-p))))

    def slope(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = model(theta)
        J = np.stack([(model(theta + h) - p) / h.sum() for h in 1e-5 * np.diag(sizes)], axis=1)
        weight = data.trials / (p * (1 - p))
        return J.T @ (weight * (data.P_sw - p)), (J.T * weight) @ J

    climb(np.zeros(len(free)), free, likelihood=likelihood, slope=slope, near=1e-4)
    return len(known)


def measure(title: str, blanks: list[SwitchingData], free: tuple[str, ...], *, beside: bool = False) -> None:
    """Print the processor seconds of a fit; ``beside`` those of 0.1.0."""
    cell = presets.generator
    (P,) = predictions([cell], blanks, degree=70)
    counts = np.random.default_rng(1).binomial(1000, np.clip(P, 0, 1)) / 1000
    parts = np.split(counts, np.cumsum([len(blank) for blank in blanks])[:-1])
    sets = [replace(blank, P_sw=part) for blank, part in zip(blanks, parts, strict=True)]
    start = replace(cell.with_variation(K_eff_scale=1.03), xi=1.04 * cell.xi, B_bias=(1.05 * cell.B_bias[0], 0.0, 0.0))
    begun, quick = time.process_time(), list[float]()
    fit = fit_switching(sets, start, free=free, on_quick=lambda _: quick.append(time.process_time() - begun))
    ours = time.process_time() - begun
    expected = expected_seconds(sets, start, None, parameters=len(free))
    print(f"{title}: quick answer {quick[0]:.1f} s, fit {ours:.1f} s of processor, {expected:.0f} s expected\n{fit}")
    if beside:
        begun = time.process_time()
        solved = fit_one_by_one(start, sets[0], free, 56)
        old = time.process_time() - begun
        print(f"0.1.0 {old:.1f} s with {solved} predictions of all points: ratio {old / ours:.1f}")
    print(flush=True)


def relaxations(degree: int) -> None:
    """Print the time of relaxations of eight fields, one operator at a time and side by side."""
    cells = [replace(presets.generator, B_bias=(0.03 + 1e-3 * k, 0.0, 1e-3 * k)) for k in range(8)]
    up = well_indicator(degree, "up")
    seconds = list[float]()
    for _ in range(3):
        begun = time.process_time()
        alone = [
            compact(degree, generator(cell, 0.0, degree=degree).propagate(up, 2e-9, adjoint=True)) for cell in cells
        ]
        between = time.process_time()
        weights, start = np.stack([term_weights(cell, 0.0) for cell in cells]), np.tile(compact(degree, up), (8, 1))
        together = carry(degree, weights, np.full(8, 2e-9), start, adjoint=True)
        seconds += [between - begun, time.process_time() - between]
        assert np.allclose(alone, together, atol=1e-9)
    one, side = min(seconds[::2]), min(seconds[1::2])
    print(f"2 ns at 8 fields, degree {degree}: {one:.2f} s one by one, {side:.2f} s together: ratio {one / side:.1f}\n")


def main() -> None:
    V_c, n, rng = presets.generator.V_c, 50, np.random.default_rng(5)
    shape: dict[str, Any] = {"P_sw": 0.0, "trials": 1000}

    def points(**columns: Any) -> SwitchingData:
        return SwitchingData(**({"width": 2.8e-10, "voltage": 1.1 * V_c} | columns | shape))

    def apart(n: int, **more: Any) -> SwitchingData:
        """All pulses and fields different."""
        voltage, width = V_c * rng.uniform(0.8, 1.4, n), rng.uniform(1e-10, 1.5e-9, n)
        return points(voltage=voltage, width=width, B_z=rng.uniform(-1e-2, 1e-2, n), **more)

    predictions([presets.generator], [points()], degree=8)  # compiles
    relaxations(57)
    V, w = (x.ravel() for x in np.meshgrid(V_c * np.linspace(0.9, 1.3, 5), np.linspace(1.5e-10, 1.2e-9, 10)))
    measure("5 voltages and 10 widths", [points(voltage=V, width=w)], ("xi", "K_eff", "B_x"), beside=True)
    fields = {"B_z": np.tile(np.linspace(-8e-3, 8e-3, 6), 2), "voltage": np.repeat([1.1 * V_c, 1.3 * V_c], 6)}
    measure("6 fields and 2 voltages", [points(**fields)], ("K_eff", "B_z"), beside=True)
    measure("50 widths", [points(width=np.linspace(1e-10, 2e-9, n))], ("xi", "K_eff", "B_x"))
    measure("50 voltages", [points(voltage=V_c * np.linspace(0.7, 1.5, n))], ("xi", "K_eff", "B_x"))
    measure("50 fields along z", [points(B_z=np.linspace(-1e-2, 1e-2, n))], ("xi", "B_x", "B_z"))
    measure("50 fields along x", [points(B_x=np.linspace(-1e-2, 2e-2, n))], ("xi", "B_x", "B_z"))
    measure("50 all different, both wells", [apart(25), apart(25, initial="down")], ("K_eff", "B_x", "B_z"))
    plane = {"B_x": rng.uniform(-1e-2, 1e-2, n)}
    measure("50 all different, two axes of the field", [apart(n, **plane)], ("K_eff", "B_x", "alpha_G"))


if __name__ == "__main__":
    main()
