"""Stochastic motion of many macrospins: thermal field, time step, integration.

Solves dm/dt = -gamma' [m x B + alpha_G m x (m x B)] + torque with gamma' = gamma_e / (1 + alpha_G^2). B holds
the bias field, the effective anisotropy field B_k(voltage) m_z (the demagnetising field of a round pillar
included) and the thermal field. The stochastic integral is Stratonovich's, which Heun's method with one
thermal draw for both of its stages gives without a drift correction; m is renormalised once, after the
corrector. Spin-transfer torque is optional. The further terms of a junction (:mod:`voltaspin.device.terms`) have
kernels of their own, so that a junction without them costs what it did.

Random numbers: Philox, keyed by the seed and the name of the ensemble; the stream is the device and the block
is the step, so the result is the same, bit for bit, for any number of threads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from voltaspin.core.capacity import check_memory, check_time
from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B, require_count, require_positive
from voltaspin.device.junction import Junction
from voltaspin.device.kernel import HEUN, LANES, ROTATION, advance, advance64
from voltaspin.device.kernel_terms import advance_terms, advance_terms64
from voltaspin.device.response import QUANTITIES, Quantity
from voltaspin.device.torque import forces, spin_orbit_field, spin_torque_field
from voltaspin.random.streams import derive_key

Floats = NDArray[np.float32] | NDArray[np.float64]
Cells = Mapping[Quantity, ArrayLike]
Waveform = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Scheme = Literal["heun", "rotation"]

SCHEMES: dict[str, int] = {"heun": HEUN, "rotation": ROTATION}

_MOST_STEPS = 1e8  #: ten seconds for one trajectory
#: Seconds of one core that the runs of one call may take together [chosen].
MOST_SECONDS = 4 * 3600.0
#: Seconds of one core for a step of a device, float32 and float64 (measured: 2.5e-9 to 5.6e-9 and 1e-7 to 2.9e-7).
_FAST, _SLOW = 5e-9, 3e-7
#: Bytes of a device and of a step of its waveform (measured for a device: 84 to 156).
_BYTES, _BYTES_OF_STEP = 84, 40

# --- thermal field -------------------------------------------------------------------------------------


def thermal_field_std(*, alpha_G: float, Ms: float, volume: float, temperature: float, dt: float) -> float:
    """Return the standard deviation of one component of the thermal field over one step.

    Args:
        alpha_G: Gilbert damping [1].
        Ms: saturation magnetisation [A/m].
        volume: free-layer volume [m^3].
        temperature: [K]; zero gives zero.
        dt: time step [s].

    Returns:
        Field [T]; draw x, y and z independently at every step.

    Raises:
        InputError: a value is not positive; the message names it.

    Source: W. F. Brown, Phys. Rev. 130, 1677 (1963).
    """
    require_positive("alpha_G", alpha_G, "", "give the Gilbert damping, e.g. 0.02")
    require_positive("Ms", Ms, "A/m", "give the saturation magnetisation, e.g. 1e6")
    require_positive("volume", volume, "m^3", "give the free layer's volume, e.g. 2e-24")
    require_positive("temperature", temperature, "K", "give kelvin, e.g. 300", zero=True)
    require_positive("dt", dt, "s", "give the time step, e.g. 1 * ps")
    return math.sqrt(2 * alpha_G * k_B * temperature / (gamma_e * Ms * volume * dt))


# --- integrate -----------------------------------------------------------------------------------------


#: Relative bias of the fluctuation that the default time step allows.
USUAL_BIAS = 1e-3


def time_step_limit(
    junction: Junction,
    *voltages: float,
    tolerance: float = 0.01,
    scheme: Scheme = "rotation",
    cells: Cells | None = None,
) -> float:
    """Return the longest time step [s] whose bias stays below ``tolerance``, for zero and the given voltages [V].

    Of the bounds the first usually holds: the relative excess of the in-well fluctuation <1 - m_z^2>, which is
    (omega dt)^3 / (8 alpha_G) for Heun's scheme and at most (omega dt)^2 / 12 for the rotation scheme, measured
    is half of it (benchmarks/schemes.py); the turn of one step below 0.2 rad (Heun) or 0.5 rad (rotation); one
    thermal kick below 0.1 rad.

    With further terms omega is bounded by the sum of all fields and torques.

    Args:
        junction: with the largest fields of ``cells`` where given.
        voltages: that will be applied [V].
        tolerance: relative bias of the fluctuation [1].
        scheme: see :func:`run`.
        cells: see :func:`run`.
    """
    require_positive("tolerance", tolerance, "", "give a relative bias, e.g. 0.01")
    spread = own_values(cells, 1) if cells else {}
    top = float(np.max(spread.get("K_eff_scale", 1.0)))
    stray = float(np.max(np.abs(np.asarray(spread.get("B_z", 0.0)) + junction.B_bias[2])))
    thinnest = float(np.min(spread.get("diameter_scale", 1.0)))
    stiff = junction.with_variation(K_eff_scale=top, diameter_scale=thinnest)
    B_z = max(abs(stiff.B_k(v)) for v in (0.0, *voltages)) + stray
    omega = gamma_e * max(B_z, math.hypot(junction.B_in_plane, stray))
    if junction.terms:
        most = replace(stiff, xi=junction.xi * float(np.max(spread.get("xi_scale", 1.0))),
                       RA=junction.RA * float(np.min(spread.get("RA_scale", 1.0))))  # fmt: skip
        omega = gamma_e * max(_largest_turn(most, v, stray) for v in (0.0, *voltages))
    limits = [math.inf]
    if omega > 0 and scheme == "heun":
        limits += [(8 * junction.alpha_G * tolerance) ** (1 / 3) / omega, 0.2 / omega]
    elif omega > 0:
        limits += [math.sqrt(12 * tolerance) / omega, 0.5 / omega]
    if junction.temperature > 0:
        one_second = thermal_field_std(
            alpha_G=junction.alpha_G, Ms=junction.Ms, volume=stiff.volume, temperature=junction.temperature, dt=1.0
        )
        limits.append((0.1 / (gamma_e * one_second)) ** 2)
    return min(limits)


def _largest_turn(junction: Junction, voltage: float, stray: float) -> float:
    """A bound of the fields and torques together [T], whatever the state of the layer decides about the voltage."""
    turns = []
    for cosine in (-1.0, 1.0):
        now = forces(junction, voltage, spin_torque=True, cosine=cosine)
        field = math.hypot(*now.field[:2], abs(now.field[2] - junction.B_bias[2]) + stray)
        turns.append(abs(now.B_k) + abs(now.B_K2) + now.B_shape + field + math.hypot(*now.damping))
    return max(turns)


def check_size(n_devices: float, steps: float, *, dtype: DTypeLike = np.float32, kept: float = 0.0) -> None:
    """Refuse an ensemble that would not fit into memory or would take too long, before any of it is made.

    Args:
        n_devices: that move at once.
        steps: of each of them, in all runs together.
        dtype: see :func:`run`.
        kept: bytes of results.

    Raises:
        InputError: more memory than there is, or more than ``MOST_SECONDS`` of one core.
    """
    what = f"{n_devices:,.6g} devices of {steps:,.3g} steps each"
    check_memory(_BYTES * n_devices + kept, what=what, remedy="give fewer devices, in several runs")
    seconds = steps * (_FAST * max(n_devices, LANES) if np.dtype(dtype) == np.float32 else _SLOW * n_devices)
    check_time(seconds, most=MOST_SECONDS, what=what, remedy="give fewer or a shorter pulse")


def run(
    junction: Junction,
    m: ArrayLike,
    *,
    duration: float,
    voltage: float | tuple[float, float] | Waveform = 0.0,
    dt: float | None = None,
    seed: int = 0,
    ensemble: str | int = 0,
    first_step: int = 0,
    devices: ArrayLike | None = None,
    cells: Cells | None = None,
    spin_torque: bool = False,
    scheme: Scheme = "rotation",
    dtype: DTypeLike = np.float32,
    threads: int | None = None,
) -> Floats:
    """Let every device move for ``duration``.

    Args:
        junction: nominal device, at its own temperature: one with self-heating moves here without a voltage only.
        m: (n, 3), unit vectors at the start; not changed.
        duration: [s]; divided into the least number of equal steps that are not longer than ``dt``.
        voltage: constant [V], (at the start, at the end) of a linear ramp, or a function from times [s] since
            the start to volts; that of the pulse, so between the ends of a spin-orbit line where there is one.
        dt: longest time step [s]; the longest whose bias stays below 0.1 % where absent.
        seed: of all randomness.
        ensemble: name of the noise under the seed: equal names repeat it, different names share nothing.
        first_step: position in the noise; count on from a run to its continuation.
        devices: numbers that decide the noise of each device, (n,); 0 to n - 1 where absent.
        cells: deviations of each device: any of K_eff_scale, xi_scale, diameter_scale, RA_scale [1] and
            B_z [T], (n,) or one for all; see :meth:`voltaspin.device.junction.Junction.with_variation`.
        spin_torque: add the Slonczewski torque, see :func:`voltaspin.device.torque.spin_torque_field`; a junction
            with ``spin_transfer`` is always under it.
        scheme: ``"rotation"``, which turns m by a rotation and so keeps its length, or ``"heun"``, the usual
            one, which costs 0.8 of it per step and allows steps a third as long (docs/log.md).
        dtype: float32, or float64 for the slow kernel that is the oracle of the fast one.
        threads: at most so many; all cores where absent. The result does not depend on it.

    Returns:
        float32 or float64 (n, 3), unit vectors at the end.

    Raises:
        InputError: a time step beyond :func:`time_step_limit`, a bad duration, bad start vectors, an unknown
            quantity, scheme or type, more devices and steps than :func:`check_size` allows, or a voltage on a
            junction with self-heating.

    Source: Heun scheme for the Stratonovich equation, J. L. Garcia-Palacios and F. J. Lazaro, Phys. Rev. B
    58, 14937 (1998); on the rotation group, S. J. A. Malham and A. Wiese, SIAM J. Sci. Comput. 30, 597 (2008).
    """
    if scheme not in SCHEMES:
        raise InputError(f"scheme {scheme!r} is unknown; use {' or '.join(map(repr, SCHEMES))}")
    state = _unit_vectors(m, dtype)
    require_count("first_step", first_step, least=0)
    require_positive("duration", duration, "s", "give the time to simulate, e.g. 1 * ns", zero=True)
    duration = float(duration)
    wave = _waveform(voltage, duration)
    probe = wave(np.linspace(0, duration, 65))
    if not np.isfinite(probe).all():
        raise InputError(f"voltage = {voltage!r} V must be finite")
    if junction.heating is not None and junction.heating.thermal_resistance > 0 and probe.any():
        raise InputError(
            f"{junction.name} warms under a voltage, and run and trajectory keep one temperature; take "
            "switching_probability, which follows it, or replace(junction, heating=None)"
        )
    steps, dt = step_count(junction, duration, dt, float(probe.min()), float(probe.max()), scheme=scheme, cells=cells)
    check_size(len(state), steps, dtype=dtype, kept=_BYTES_OF_STEP * steps)
    volts = np.asarray(wave(np.linspace(0, duration, steps + 1)), np.float64)
    ends = np.stack([volts[:-1], volts[1:]], axis=1).astype(state.dtype)
    cell = _cell_fields(junction, len(state), dt, cells, spin_torque, state.dtype)
    ids = np.arange(len(state), dtype=np.uint64) if devices is None else np.asarray(devices, np.uint64)
    if ids.shape != (len(state),):
        raise InputError(f"devices has shape {ids.shape}; {len(state)} devices need as many numbers")
    key = np.uint64(derive_key(seed, "llg", ensemble, repr(junction)))
    fast, slow = (advance_terms, advance_terms64) if junction.terms else (advance, advance64)
    kernel = fast if state.dtype == np.float32 else slow
    shared = (_shared_fields(junction, state.dtype),) if junction.terms else ()
    real = state.dtype.type

    def part(begin: int, end: int) -> None:
        kernel(
            state[begin:end], key, ids[begin:end], np.int64(first_step), ends, cell[:, begin:end],
            real(gamma_e / (1 + junction.alpha_G**2) * dt), real(junction.alpha_G), SCHEMES[scheme], *shared,
        )  # fmt: skip

    workers = _threads(threads)
    size = -(-len(state) // (workers * LANES)) * LANES
    parts = [(i, min(i + size, len(state))) for i in range(0, len(state), max(size, 1))]
    if len(parts) <= 1:
        for begin, end in parts:
            part(begin, end)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda p: part(*p), parts))
    return state


def trajectory(
    junction: Junction,
    m: ArrayLike,
    *,
    duration: float,
    samples: int,
    dt: float | None = None,
    voltage: float | Waveform = 0.0,
    scheme: Scheme = "rotation",
    **options: Any,
) -> tuple[NDArray[np.float64], Floats]:
    """Return the positions at ``samples`` equally spaced times.

    Args:
        junction, m, duration, dt, voltage, scheme: as :func:`run`, which takes the other options too.
        samples: how many times after the start.

    Returns:
        (times float64 (samples + 1,) [s], m (samples + 1, n, 3)), the start included.

    Raises:
        InputError: as :func:`run`.
    """
    require_count("samples", samples)
    require_positive("duration", duration, "s", "give the time to simulate, e.g. 1 * ns", zero=True)
    duration = float(duration)
    piece = duration / samples
    wave = _waveform(voltage, duration)
    probe = wave(np.linspace(0, duration, 65))
    # Every piece takes as many steps as the stiffest, so that the noise goes on where it stopped.
    steps, _ = step_count(junction, piece, dt, float(probe.min()), float(probe.max()), scheme=scheme)
    path: list[Floats] = [_unit_vectors(m, options.get("dtype", np.float32))]
    check_size(len(path[0]), samples * steps, dtype=path[0].dtype, kept=2 * (samples + 1) * path[0].nbytes)
    for k in range(samples):

        def shifted(t: NDArray[np.float64], begin: float = k * piece) -> NDArray[np.float64]:
            return wave(t + begin)

        path.append(
            run(
                junction, path[-1], duration=piece, dt=piece / steps * (1 + 1e-12) if steps else dt,
                voltage=shifted, first_step=k * steps, scheme=scheme, **options,
            )
        )  # fmt: skip
    together = np.empty((samples + 1, *path[0].shape), path[0].dtype)
    for k, positions in enumerate(path):
        together[k] = positions
    return np.linspace(0, duration, samples + 1), together


def _waveform(voltage: float | tuple[float, float] | Waveform, duration: float) -> Waveform:
    if callable(voltage):
        return voltage
    begin, end = (voltage, voltage) if isinstance(voltage, int | float) else voltage
    return lambda t: begin + (end - begin) * np.asarray(t, np.float64) / (duration or 1.0)


def _cell_fields(
    junction: Junction, n: int, dt: float, cells: Cells | None, spin_torque: bool, dtype: np.dtype[Any]
) -> Floats:
    """Return the parameters of each device for the kernels: (7, n), or (8, n) with further terms."""
    own: dict[Quantity, Any] = {q: 0.0 if q == "B_z" else 1.0 for q in QUANTITIES}
    own.update(own_values(cells, n))
    if junction.in_plane and np.any(own["B_z"]):
        raise InputError(
            "B_z of cells with a reference layer in the plane lies along that layer, and this solver gives each device "
            "a field along z alone; give junction.with_variation(B_z=...) one by one, or take fokker_planck"
        )
    thermal = thermal_field_std(
        alpha_G=junction.alpha_G, Ms=junction.Ms, volume=junction.volume, temperature=junction.temperature, dt=dt
    )
    x, y, z = junction.B_bias
    fields: Floats = np.empty((8 if junction.terms else 7, n), dtype)
    fields[0] = junction.B_k() * own["K_eff_scale"]
    fields[1] = (junction.B_k(1.0) - junction.B_k(0.0)) * own["xi_scale"]
    fields[2], fields[3] = x, y
    fields[4] = z + own["B_z"]
    fields[5] = thermal / own["diameter_scale"]
    driven = spin_torque or junction.spin_transfer is not None
    fields[6] = (spin_torque_field(junction, 1.0) if driven else 0.0) / own["RA_scale"]
    if junction.terms:
        fields[7] = own["diameter_scale"] ** 2 / own["RA_scale"]
    return fields


def _shared_fields(junction: Junction, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return what all devices share under further terms, in the order of ``kernel_terms``: 16 numbers."""
    still, line = forces(junction, 0.0), junction.line
    ratio = 0.0 if junction.spin_transfer is None else junction.spin_transfer.field_like
    damping = spin_orbit_field(junction, 1.0) * np.array((0.0, 0.0, 0.0) if line is None else line.sigma)
    field = (0.0 if line is None else line.field_like) * damping
    gate = 1.0 if line is None else line.gate
    circuit = (gate, junction.R_series / junction.R_P, junction.TMR0, max(junction.V_h, 1e-9) ** -2)  # float32 holds it
    return tuple(np.array([still.B_K2, still.B_shape, *junction.reference, ratio, *circuit, *damping, *field], dtype))


def own_values(cells: Cells | None, n: int) -> dict[Quantity, NDArray[np.float64]]:
    out: dict[Quantity, NDArray[np.float64]] = {}
    for name, values in (cells or {}).items():
        if name not in QUANTITIES:
            raise InputError(f"{name!r} is no quantity of a cell; known: {', '.join(QUANTITIES)}")
        array = np.asarray(values, np.float64)
        if not array.size or not np.isfinite(array).all() or (name != "B_z" and not (array > 0).all()):
            raise InputError(f"{name} holds no value, one that is not finite, or a factor that is not positive")
        if n > 1 and array.shape not in ((), (1,), (n,)):
            raise InputError(f"{name} has shape {array.shape}; {n} devices need as many values, or one")
        out[name] = np.broadcast_to(array, (n,)) if n > 1 else array.ravel()
    return out


def step_count(
    junction: Junction,
    duration: float,
    dt: float | None,
    *voltages: float,
    scheme: Scheme = "rotation",
    cells: Cells | None = None,
) -> tuple[int, float]:
    """Return how many steps a time takes, and their length [s]."""
    require_positive("duration", duration, "s", "give the time to simulate, e.g. 1 * ns", zero=True)
    if dt is None:
        usual = time_step_limit(junction, *voltages, tolerance=USUAL_BIAS, scheme=scheme, cells=cells)
        dt = min(usual, duration or 1.0)  # nothing moves a cold junction without a field
    else:
        require_positive("dt", dt, "s", "give the time step, e.g. 1 * ps")
        limit = time_step_limit(junction, *voltages, scheme=scheme, cells=cells)
        if dt > limit * (1 + 1e-9):
            raise InputError(
                f"dt = {dt:.4g} s is above {limit:.3g} s, the longest step at which this junction is simulated "
                f"with less than 1 % bias by the {scheme} scheme; give a shorter dt"
            )
    if not (wanted := duration / dt) <= _MOST_STEPS:
        raise InputError(
            f"{duration:.3g} s in steps of {dt:.3g} s, which these fields need, are {wanted:.3g} steps, more than "
            f"{_MOST_STEPS:.0e}; give a shorter time or smaller fields and voltages"
        )
    steps = math.ceil(wanted * (1 - 1e-9))
    return steps, duration / steps if steps else dt


def _unit_vectors(m: ArrayLike, dtype: DTypeLike) -> Floats:
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype = {dtype!r} is not offered; use float32, or float64 for the oracle")
    state = np.array(m, dtype, ndmin=2)
    if state.ndim != 2 or state.shape[1] != 3:
        raise InputError(f"m has shape {np.shape(m)}; give (n, 3) unit vectors")
    if not np.all(np.abs(np.sqrt(np.einsum("ij,ij->i", state, state)) - 1) < 1e-3):
        raise InputError("m holds vectors whose length is not 1; normalise them")
    return np.ascontiguousarray(state)


def _threads(threads: int | None) -> int:
    if threads is None:
        return os.cpu_count() or 1
    require_count("threads", threads)
    return int(threads)
