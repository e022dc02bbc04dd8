"""Stochastic motion of many macrospins: field, thermal field, integrate, measure.

Solves dm/dt = -gamma' [m x B + alpha_G m x (m x B)] + torque with gamma' = gamma_e / (1 + alpha_G^2). B holds
the bias field, the effective anisotropy field B_k(voltage) m_z (the demagnetising field of a round pillar
included) and the thermal field. The stochastic integral is Stratonovich's, which Heun's method with one
thermal draw for both of its stages gives without a drift correction; m is renormalised once, after the
corrector. Spin-transfer torque is optional.

Random numbers: Philox, keyed by the seed and the name of the ensemble; the stream is the device and the block
is the step, so the result is the same, bit for bit, for any number of threads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.device.equilibrium import equilibrium, well_bottom, well_sign
from voltaspin.device.heun import LANES, heun
from voltaspin.device.junction import Junction, Pulse, Well, require_positive
from voltaspin.errors import InputError
from voltaspin.streams import derive_key
from voltaspin.units import e_charge, gamma_e, hbar, k_B

Progress = Callable[[int, int], None]

# --- field ---------------------------------------------------------------------------------------------


def spin_torque_field(junction: Junction, voltage: float) -> float:
    """Slonczewski field a_J of the damping-like torque [T] at ``voltage`` [V].

    Taken at fixed voltage, where it does not depend on the angle: a_J = hbar / (2 e Ms t_F) * P / (1 + P^2)
    * voltage / RA, with the polarisation P of both electrodes from TMR0 = 2 P^2 / (1 - P^2). Polarity: for a
    positive voltage electrons flow from the free to the reference layer, which favours antiparallel (down,
    bit 1). There is no field-like part. P does not fall with the voltage here, so a_J is an upper estimate.

    Source: J. C. Slonczewski, Phys. Rev. B 39, 6995 (1989) and 71, 024411 (2005); the choice of polarity is
    assumed.
    """
    P = math.sqrt(junction.TMR0 / (2 + junction.TMR0))
    per_voltage = hbar / (2 * e_charge * junction.Ms * junction.t_F) * P / (1 + P**2) / junction.RA
    return -per_voltage * voltage


# --- thermal field -------------------------------------------------------------------------------------


def thermal_field_std(*, alpha_G: float, Ms: float, volume: float, temperature: float, dt: float) -> float:
    """Standard deviation of one component of the thermal field over one step.

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


def time_step_limit(junction: Junction, *voltages: float) -> float:
    """Longest time step that :func:`run` admits [s], for zero and the given voltages [V].

    Three bounds, of which the first usually holds: Heun's relative excess (omega dt)^3 / (8 alpha_G) of the
    in-well fluctuation stays below 1 %; the precession angle of one step below 0.2 rad; one thermal kick
    below 0.1 rad.
    """
    B_z = max(abs(junction.B_k(v)) for v in (0.0, *voltages)) + abs(junction.B_bias[2])
    omega = gamma_e * max(B_z, math.hypot(*junction.B_bias))
    limits = [math.inf]
    if omega > 0:
        limits += [(0.01 * 8 * junction.alpha_G) ** (1 / 3) / omega, 0.2 / omega]
    if junction.temperature > 0:
        one_second = thermal_field_std(
            alpha_G=junction.alpha_G, Ms=junction.Ms, volume=junction.volume,
            temperature=junction.temperature, dt=1.0,
        )  # fmt: skip
        limits.append((0.1 / (gamma_e * one_second)) ** 2)
    return min(limits)


def run(
    junction: Junction,
    m: ArrayLike,
    *,
    duration: float,
    voltage: float | tuple[float, float] = 0.0,
    dt: float = 1e-12,
    seed: int = 0,
    ensemble: str | int = 0,
    first_step: int = 0,
    first_device: int = 0,
    spin_torque: bool = False,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Let every device move for ``duration``.

    Args:
        junction: all devices are equal.
        m: (n, 3), unit vectors at the start; not changed.
        duration: [s]; divided into the least number of equal steps that are not longer than ``dt``.
        voltage: constant [V], or (at the start, at the end) of a linear ramp.
        dt: time step [s].
        seed: of all randomness.
        ensemble: name of the noise under the seed: equal names repeat it, different names share nothing.
        first_step: position in the noise; count on from a run to its continuation.
        first_device: number of the first device, for a part of a larger ensemble.
        spin_torque: add the Slonczewski torque, see :func:`spin_torque_field`.
        threads: at most so many; all cores where absent. The result does not depend on it.

    Returns:
        float32 (n, 3), unit vectors at the end.

    Raises:
        InputError: a time step beyond :func:`time_step_limit`, a bad duration or bad start vectors.

    Source: Heun scheme for the Stratonovich equation, J. L. Garcia-Palacios and F. J. Lazaro, Phys. Rev. B
    58, 14937 (1998).
    """
    state = _unit_vectors(m)
    ends = (voltage, voltage) if isinstance(voltage, int | float) else voltage
    if not all(math.isfinite(v) for v in ends):
        raise InputError(f"voltage = {voltage!r} V must be finite")
    steps, dt = _steps(junction, duration, dt, *ends)
    ramp = ends[0] + (ends[1] - ends[0]) * np.arange(steps + 1) / max(steps, 1)
    B_k = np.array([junction.B_k(float(v)) for v in ramp] if ends[0] != ends[1] else [junction.B_k(ends[0])])
    a_J = ramp * (spin_torque_field(junction, 1.0) if spin_torque else 0.0)
    per_step = [np.broadcast_to(f, steps + 1) for f in (B_k, a_J)]
    B_k2, a_J2 = (np.stack([f[:-1], f[1:]], axis=1).astype(np.float32) for f in per_step)
    thermal = thermal_field_std(
        alpha_G=junction.alpha_G, Ms=junction.Ms, volume=junction.volume,
        temperature=junction.temperature, dt=dt,
    )  # fmt: skip
    key = np.uint64(derive_key(seed, "llg", ensemble, repr(junction)))
    rate_dt = gamma_e / (1 + junction.alpha_G**2) * dt

    def part(begin: int, end: int) -> None:
        heun(
            state[begin:end], key, np.int64(first_device + begin), np.int64(first_step), B_k2, a_J2,
            np.asarray(junction.B_bias, np.float32), np.float32(thermal), np.float32(rate_dt),
            np.float32(junction.alpha_G),
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
    junction: Junction, m: ArrayLike, *, duration: float, samples: int, dt: float = 1e-12, **options: object
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Positions at ``samples`` equally spaced times.

    Args:
        junction, m, duration, dt: as :func:`run`, which takes the other options too (no ramp).
        samples: how many times after the start.

    Returns:
        (times float64 (samples + 1,) [s], m float32 (samples + 1, n, 3)), the start included.

    Raises:
        InputError: as :func:`run`.
    """
    if samples < 1:
        raise InputError(f"samples = {samples} must be at least 1")
    state = _unit_vectors(m)
    path = [state]
    voltage = options.get("voltage", 0.0)
    ends = voltage if isinstance(voltage, int | float) else 0.0
    steps, _ = _steps(junction, duration / samples, dt, float(ends))
    for k in range(samples):
        state = run(
            junction, state, duration=duration / samples, dt=dt, first_step=k * steps,
            **options,  # type: ignore[arg-type]
        )  # fmt: skip
        path.append(state)
    return np.linspace(0, duration, samples + 1), np.stack(path)


def _steps(junction: Junction, duration: float, dt: float, *voltages: float) -> tuple[int, float]:
    require_positive("duration", duration, "s", "give the time to simulate, e.g. 1 * ns", zero=True)
    require_positive("dt", dt, "s", "give the time step, e.g. 1 * ps")
    limit = time_step_limit(junction, *voltages)
    if dt > limit:
        raise InputError(
            f"dt = {dt:.4g} s is above {limit:.3g} s, the longest step at which this junction is simulated "
            "with less than 1 % bias; give a shorter dt"
        )
    steps = math.ceil(duration / dt * (1 - 1e-9))
    return steps, duration / steps if steps else dt


def _unit_vectors(m: ArrayLike) -> NDArray[np.float32]:
    state = np.array(m, np.float32, ndmin=2)
    if state.ndim != 2 or state.shape[1] != 3:
        raise InputError(f"m has shape {np.shape(m)}; give (n, 3) unit vectors")
    if not np.all(np.abs(np.linalg.norm(state, axis=1) - 1) < 1e-3):
        raise InputError("m holds vectors whose length is not 1; normalise them")
    return np.ascontiguousarray(state)


def _threads(threads: int | None) -> int:
    if threads is None:
        return os.cpu_count() or 1
    if threads < 1:
        raise InputError(f"threads = {threads} must be at least 1, or None for all cores")
    return int(threads)


# --- measure -------------------------------------------------------------------------------------------


def thermalise(
    junction: Junction, n: int, *, well: Well = "up", seed: int = 0, dt: float = 1e-12, **options: int | None
) -> NDArray[np.float32]:
    """Let ``n`` devices move from the bottom of a well for five decay times at zero voltage.

    The LLG counterpart of :func:`voltaspin.device.equilibrium.equilibrium`, which is exact and cheaper; this
    one keeps devices that left the well where they are.

    Returns:
        float32 (n, 3), unit vectors.

    Raises:
        InputError: as :func:`run`.
    """
    start = np.tile(well_bottom(junction, well), (n, 1))
    duration = 5 * junction.relaxation_time
    return run(junction, start, duration=duration, dt=dt, seed=seed, ensemble=f"thermalise/{well}", **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class SwitchingResult:
    """A probability counted over independent devices.

    Args:
        value: share of the devices that ended in the other well.
        error: its binomial standard error, never zero (half a count is added to either outcome).
        n: number of devices.
    """

    value: float
    error: float
    n: int


def binomial_error(p: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Standard error of shares ``p`` of ``n`` trials, with half a count added to either outcome."""
    shrunk = (p * n + 0.5) / (n + 1)
    return np.sqrt(shrunk * (1 - shrunk) / n)


def switching_curve(
    junction: Junction,
    *,
    voltage: float,
    widths: Sequence[float] | NDArray[np.float64],
    initial: Well = "up",
    n_devices: int = 10_000,
    relax: float = 10e-9,
    dt: float = 1e-12,
    seed: int = 0,
    rise: float = 0.0,
    fall: float = 0.0,
    spin_torque: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability that a pulse flips the bit, against the width of the pulse.

    One ensemble starts in thermal equilibrium in its well (drawn exactly, so none has hopped before) and
    goes through the longest pulse; at each width a copy branches off and relaxes at zero voltage with noise
    of its own. Points of one curve share the devices of the pulse, so they are correlated.

    Args:
        junction: all devices are equal.
        voltage: of the pulse [V].
        widths: at half height [s], ascending.
        initial: ``"up"`` (bit 0) or ``"down"`` (bit 1).
        n_devices: independent devices.
        relax: time at zero voltage before the sign of m_z is read [s].
        dt: longest time step [s].
        seed: of all randomness.
        rise, fall: durations of linear edges [s].
        spin_torque: see :func:`spin_torque_field`.
        threads: see :func:`run`.
        progress: called with (done, total) branches.

    Returns:
        (value, error), float64 (len(widths),) each: the share that flipped and its binomial error.

    Raises:
        InputError: widths that do not ascend, fewer than one device, or as :func:`run`.
    """
    pulses = [Pulse(voltage=voltage, width=float(w), rise=rise, fall=fall) for w in widths]
    if not pulses or any(b.width <= a.width for a, b in pairwise(pulses)):
        raise InputError("widths must hold at least one width and ascend; sort them and drop the doubles")
    if n_devices < 1:
        raise InputError(f"n_devices = {n_devices} must be at least 1")
    name = f"pulse/{voltage!r}/{rise!r}/{initial}"

    def move(m: NDArray[np.float32], duration: float, volts: tuple[float, float], *, part: str, at: int):  # type: ignore[no-untyped-def]
        steps, _ = _steps(junction, duration, dt, *volts)
        moved = run(
            junction, m, duration=duration, voltage=volts, dt=dt, seed=seed, ensemble=f"{name}/{part}",
            first_step=at, spin_torque=spin_torque, threads=threads,
        )  # fmt: skip
        return moved, at + steps

    m: NDArray[np.float32] = equilibrium(junction, n_devices, well=initial, seed=seed, ensemble=name)
    m, step = move(m, rise, (0.0, voltage), part="top", at=0)
    past, flipped = rise, np.empty(len(pulses))
    for k, pulse in enumerate(pulses):
        top_end = pulse.duration - fall
        m, step = move(m, top_end - past, (voltage, voltage), part="top", at=step)
        past = top_end
        part = f"branch/{pulse.width!r}/{fall!r}"
        branch, at = move(m, fall, (voltage, 0.0), part=part, at=0)
        branch, _ = move(branch, relax, (0.0, 0.0), part=part, at=at)
        flipped[k] = np.mean(np.sign(branch[:, 2]) != well_sign(initial))
        if progress is not None:
            progress(k + 1, len(pulses))
    return flipped, binomial_error(flipped, n_devices)


def switching_probability(
    junction: Junction,
    pulse: Pulse,
    *,
    initial: Well = "up",
    relax: float = 10e-9,
    n_devices: int = 100_000,
    dt: float = 1e-12,
    seed: int = 0,
    spin_torque: bool = False,
    threads: int | None = None,
) -> SwitchingResult:
    """Probability that one pulse flips the bit; the arguments are those of :func:`switching_curve`.

    Returns:
        The share of devices found in the other well ``relax`` after the pulse, with its binomial error.

    Raises:
        InputError: as :func:`switching_curve`.
    """
    value, error = switching_curve(
        junction, voltage=pulse.voltage, widths=[pulse.width], initial=initial, n_devices=n_devices,
        relax=relax, dt=dt, seed=seed, rise=pulse.rise, fall=pulse.fall, spin_torque=spin_torque,
        threads=threads,
    )  # fmt: skip
    return SwitchingResult(float(value[0]), float(error[0]), n_devices)
