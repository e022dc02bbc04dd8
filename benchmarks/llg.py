"""Cost of one device-step of the LLG kernels, in one run against cmtj and against plain NumPy.

Run: python benchmarks/llg.py        (pip install cmtj for the comparison with it)

Times are process times of one thread, the best of several tries; the pairs of one and two threads are wall times.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from voltaspin.core.units import gamma_e
from voltaspin.device import presets
from voltaspin.device.llg import equilibrium, run, thermal_field_std, time_step_limit
from voltaspin.device.terms import SpinTransfer

N, STEPS, DT = 10_000, 1000, 1e-12
JUNCTION = presets.generator
#: Junctions with further terms: all terms but the series resistance cost the same.
TERMS = {
    "further terms": replace(JUNCTION, K2=1e3, spin_transfer=SpinTransfer(field_like=0.2)),
    "a series resistance": replace(JUNCTION, R_series=1e5, spin_transfer=SpinTransfer()),
}


def in_numpy(m: np.ndarray, steps: int) -> None:
    """The same Heun scheme with whole-array operations and NumPy's own Gaussians."""
    j, rng = JUNCTION, np.random.default_rng(0)
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


def in_cmtj(devices: int, steps: int) -> None:
    """The same layer in cmtj, its Heun solver, logging only at the end; one junction after the other."""
    from cmtj import AxialDriver, CVector, Junction, Layer, ScalarDriver, SolverMode

    j = JUNCTION
    demag = [CVector(j.N[0], 0, 0), CVector(0, j.N[1], 0), CVector(0, 0, j.N[2])]
    for _ in range(devices):
        layer = Layer(
            "free", CVector(0, 0, 1), CVector(0, 0, 1), j.Ms * 4e-7 * np.pi, j.t_F, j.area, demag, damping=j.alpha_G
        )
        junction = Junction([layer])
        junction.setLayerAnisotropyDriver("free", ScalarDriver.getConstantDriver(j.K_i / j.t_F))
        junction.setLayerTemperatureDriver("free", ScalarDriver.getConstantDriver(j.temperature))
        field = [ScalarDriver.getConstantDriver(b / (4e-7 * np.pi)) for b in j.B_bias]
        junction.setLayerExternalFieldDriver("free", AxialDriver(*field))
        span = steps * DT
        junction.runSimulation(span, DT, span, solverMode=SolverMode.Heun)


def cost(work: Callable[[], object], device_steps: int, tries: int) -> float:
    """Nanoseconds per device-step: the best of ``tries``."""
    best = np.inf
    for _ in range(tries):
        before = time.process_time()
        work()
        best = min(best, time.process_time() - before)
    return best / device_steps * 1e9


def main() -> None:
    start = equilibrium(JUNCTION, N)
    schemes = ("heun", "rotation")
    for scheme in schemes:
        run(JUNCTION, start, duration=DT, dt=DT, scheme=scheme)  # compiles
    costs = {
        scheme: cost(
            lambda scheme=scheme: run(JUNCTION, start, duration=STEPS * DT, dt=DT, threads=1, scheme=scheme),
            N * STEPS, 5,
        )
        for scheme in schemes
    }  # fmt: skip
    for scheme in schemes:
        print(f"{scheme}, float32, one thread, {N} devices: {costs[scheme]:.2f} ns per device-step", flush=True)
    for name, junction in TERMS.items():
        for scheme in schemes:
            options = {"dt": DT, "scheme": scheme, "threads": 1}
            run(junction, start, duration=DT, **options)  # compiles
            one = cost(lambda j=junction, o=options: run(j, start, duration=STEPS * DT, voltage=1.0, **o), N * STEPS, 5)
            print(f"{scheme} with {name}: {one:.2f} ns, {one / costs[scheme]:.2f} times as much", flush=True)
    steps = {scheme: time_step_limit(JUNCTION, JUNCTION.V_c, scheme=scheme) for scheme in schemes}
    for scheme in schemes:
        per_ns = costs[scheme] * 1e-9 / steps[scheme]  # ns of work per ns of simulated time
        print(f"{scheme}: longest step {steps[scheme] * 1e12:.1f} ps; {per_ns:.0f} ns per device and simulated ns")
    walls = np.empty((15, 2))
    for pair in walls:
        for threads in (1, 2):
            before = time.perf_counter()
            run(JUNCTION, start, duration=STEPS * DT, dt=DT, threads=threads)
            pair[threads - 1] = time.perf_counter() - before
    ratios, best = walls[:, 0] / walls[:, 1], walls.min(axis=0)
    print(
        f"two threads: {best[0] / best[1]:.2f} times one, best of {len(walls)} each; in pairs, median "
        f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    numpy_cost = cost(lambda: in_numpy(start, STEPS // 20), N * (STEPS // 20), 2)
    print(f"NumPy: {numpy_cost:.0f} ns per device-step, {numpy_cost / costs['heun']:.0f} times as much as heun")
    if importlib.util.find_spec("cmtj") is None:
        print("cmtj is not installed: pip install cmtj")
    else:
        devices, long = 4, 50_000
        cmtj_cost = cost(lambda: in_cmtj(devices, long), devices * long, 3)
        print(f"cmtj, Heun: {cmtj_cost:.0f} ns per device-step, {cmtj_cost / costs['heun']:.0f} times as much as heun")


if __name__ == "__main__":
    main()
