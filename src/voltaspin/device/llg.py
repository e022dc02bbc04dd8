"""The stochastic solver: the probability that a pulse flips a bit, counted over many macrospins.

The motion itself is in :mod:`voltaspin.device.integration`, whose functions are offered here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Result
from voltaspin.core.units import require_count
from voltaspin.device.equilibrium import equilibrium, well_bottom, well_sign
from voltaspin.device.integration import (
    USUAL_BIAS,
    Cells,
    Floats,
    Scheme,
    Waveform,
    check_size,
    own_values,
    run,
    step_count,
    thermal_field_std,
    time_step_limit,
    trajectory,
)
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.protocol import USUAL, Protocol
from voltaspin.device.torque import spin_torque_field
from voltaspin.device.warming import stretches
from voltaspin.random.streams import Stream

__all__ = [
    "LLG", "USUAL_BIAS", "SwitchingResult", "binomial_error", "check_size", "equilibrium", "run", "spin_torque_field",
    "switching_curve", "switching_probability", "thermal_field_std", "thermalise", "time_step_limit", "trajectory",
]  # fmt: skip

Progress = Callable[[int, int], None]
_MOST_DEVICES = 1_000_000_000  #: 100 GB of memory


def thermalise(
    junction: Junction, n: int, *, well: Well = "up", seed: int = 0, dt: float | None = None, **options: Any
) -> Floats:
    """Let ``n`` devices move from the bottom of a well for five decay times at zero voltage.

    The LLG counterpart of :func:`voltaspin.device.equilibrium.equilibrium`, which is exact and cheaper; this
    one keeps devices that left the well where they are.

    Returns:
        float32 (n, 3), unit vectors.

    Raises:
        InputError: as :func:`run`.
    """
    require_count("n", n, least=0, most=_MOST_DEVICES)
    duration = 5 * junction.relaxation_time
    check_size(n, step_count(junction, duration, dt, scheme=options.get("scheme", "rotation"))[0])
    start = np.tile(well_bottom(junction, well), (n, 1))
    return run(junction, start, duration=duration, dt=dt, seed=seed, ensemble=f"thermalise/{well}", **options)


class SwitchingResult(Result):
    """A probability counted over independent devices.

    Args:
        value: share of the devices that ended in the other well.
        error: its binomial standard error, never zero (half a count is added to either outcome).
        n: number of devices.
    """

    KIND: ClassVar[str] = "switching-count"

    value: float
    error: float
    n: int

    @property
    def P_sw_estimate(self) -> Estimate:
        """``value`` with its 95 % interval."""
        return Estimate.normal(self.value, self.error, n=self.n)


def binomial_error(p: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the standard error of shares ``p`` of ``n`` trials, with half a count added to either outcome."""
    shrunk = (p * n + 0.5) / (n + 1)
    return np.sqrt(shrunk * (1 - shrunk) / n)


@dataclass(frozen=True)
class LLG:
    """The solver by counting: an ensemble of devices that move under the stochastic LLG equation.

    Args:
        dt: time step [s]; the longest whose bias stays below 0.1 % where absent.
        devices: how many move independently.
        scheme: of integration, see :func:`run`.
        seed: of all randomness.
        threads: at most so many; all cores where absent. The result does not depend on it.

    Raises:
        InputError: no device, or more than memory holds.
    """

    dt: float | None = None
    devices: int = 100_000
    scheme: Scheme = "rotation"
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise InputError(f"n_devices = {self.devices} must be at least 1")
        if math.isfinite(self.devices):
            require_count("n_devices", self.devices, most=10**300)
        if not self.devices <= _MOST_DEVICES:
            raise InputError(
                f"n_devices = {self.devices:g} trajectories take about {self.devices * 100 / 1e9:.3g} GB of memory; "
                f"give at most {_MOST_DEVICES:,}"
            )

    def switching(
        self, junction: Junction, pulse: Pulse, protocol: Protocol = USUAL, *, cells: Cells | None = None
    ) -> SwitchingResult:
        """Return the share of devices that one pulse flips; see :func:`switching_probability`."""
        if pulse.tau == 0 and pulse.jitter == 0 and not _warms(junction):
            share, error = self.curve(junction, [pulse], protocol, cells=cells)
        else:
            share = np.array([self._shaped(junction, pulse, protocol, cells)])
            error = binomial_error(share, self.devices)
        return SwitchingResult(value=float(share[0]), error=float(error[0]), n=self.devices)

    def curve(
        self,
        junction: Junction,
        pulses: Sequence[Pulse],
        protocol: Protocol = USUAL,
        *,
        cells: Cells | None = None,
        progress: Progress | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (share, error) for pulses that differ in nothing but ascending widths; see :func:`switching_curve`."""
        if not pulses or any(b.width <= a.width for a, b in pairwise(pulses)):
            raise InputError("widths must hold at least one width and ascend; sort them and drop the doubles")
        if _warms(junction):  # the temperature at one time depends on the whole pulse: each goes by itself
            warm = np.empty(len(pulses))
            for k, pulse in enumerate(pulses):
                warm[k] = self._shaped(junction, pulse, protocol, cells)
                if progress is not None:
                    progress(k + 1, len(pulses))
            return warm, binomial_error(warm, self.devices)
        V, rise, fall = pulses[0].voltage, pulses[0].rise, pulses[0].fall

        def steps_of(duration: float, *volts: float) -> int:
            return step_count(junction, duration, self.dt, *volts, scheme=self.scheme, cells=cells)[0]

        branch_steps = len(pulses) * (steps_of(fall, V) + steps_of(protocol.relax))
        check_size(self.devices, steps_of(pulses[-1].duration - fall, V) + branch_steps)
        name = f"pulse/{V!r}/{rise!r}/{protocol.initial}"

        def move(m: Floats, duration: float, volts: tuple[float, float], part: str, at: int) -> tuple[Floats, int]:
            moved = run(
                junction, m, duration=duration, voltage=volts, ensemble=f"{name}/{part}", first_step=at, cells=cells,
                **self._options(protocol),
            )  # fmt: skip
            return moved, at + steps_of(duration, *volts)

        m: Floats = equilibrium(junction, self.devices, well=protocol.initial, seed=self.seed, ensemble=name)
        m, step = move(m, rise, (0.0, V), "top", 0)
        past, flipped = rise, np.empty(len(pulses))
        for k, pulse in enumerate(pulses):
            top_end = pulse.duration - fall
            m, step = move(m, top_end - past, (V, V), "top", step)
            past = top_end
            part = f"branch/{pulse.width!r}/{fall!r}"
            branch, at = move(m, fall, (V, 0.0), part, 0)
            branch, _ = move(branch, protocol.relax, (0.0, 0.0), part, at)
            flipped[k] = np.mean(_flipped(junction, branch, protocol.initial))
            if progress is not None:
                progress(k + 1, len(pulses))
        return flipped, binomial_error(flipped, self.devices)

    def _options(self, protocol: Protocol) -> dict[str, Any]:
        """The arguments of :func:`run` that are the same for every piece of a pulse."""
        return {
            "dt": self.dt, "seed": self.seed, "scheme": self.scheme, "threads": self.threads,
            "spin_torque": protocol.spin_torque,
        }  # fmt: skip

    def _shaped(self, junction: Junction, pulse: Pulse, protocol: Protocol, cells: Cells | None) -> float:
        """The share that a pulse with low-pass, jitter or heating flips, width by width."""
        n, options = self.devices, self._options(protocol)
        name = f"shaped/{pulse!r}/{protocol.initial}"

        def steps_of(device: Junction, duration: float, *volts: float) -> int:
            if self.dt is None and pulse.tau > 0:
                limit = time_step_limit(device, pulse.voltage, tolerance=USUAL_BIAS, scheme=self.scheme, cells=cells)
                options["dt"] = min(limit, pulse.tau / 4)
            return step_count(device, duration, options["dt"], *volts, scheme=self.scheme, cells=cells)[0]

        check_size(n, steps_of(junction, pulse.duration + protocol.relax, pulse.voltage))
        start = equilibrium(junction, n, well=protocol.initial, seed=self.seed, ensemble=name)
        widths = np.full(n, pulse.width)
        if pulse.jitter > 0:
            widths += pulse.jitter * Stream.of(self.seed, "llg", "jitter", name).normals(n)
            grain = pulse.jitter / 4
            widths = pulse.width + grain * np.rint((widths - pulse.width) / grain)
        own, flipped = own_values(cells, n), 0
        for width in np.unique(widths):
            chosen, at = np.flatnonzero(widths == width), 0
            end: Floats = start[chosen]
            for device, duration, volts in _pieces(junction, pulse.with_width(float(width)), protocol.relax):
                span = np.atleast_1d(volts(np.linspace(0, duration, 65)) if callable(volts) else volts)
                steps = steps_of(device, duration, *map(float, span))
                end = run(
                    device, end, duration=duration, voltage=volts, ensemble=name, first_step=at, devices=chosen,
                    cells={q: v[chosen] for q, v in own.items()} or None, **options,
                )  # fmt: skip
                at += steps
            flipped += int(np.sum(_flipped(junction, end, protocol.initial)))
        return flipped / n


def _flipped(junction: Junction, m: Floats, initial: Well) -> NDArray[np.bool_]:
    """Whether each device is read in the other well: by its projection on the reference layer."""
    return np.asarray(np.sign(m @ np.array(junction.reference, m.dtype)) != well_sign(initial))


def _warms(junction: Junction) -> bool:
    return junction.heating is not None and junction.heating.thermal_resistance > 0


def _pieces(
    junction: Junction, pulse: Pulse, relax: float
) -> Iterator[tuple[Junction, float, tuple[float, float] | Waveform]]:
    """The junction at its temperature, a duration [s] and the voltages of a pulse and the time after it.

    They are cut where the voltage jumps and where the temperature goes on to its next value.
    """
    whole = _shape(pulse, relax)
    if not _warms(junction):
        yield from ((junction, duration, volts) for duration, volts in whole)
        return
    cuts = np.cumsum([0.0, *(duration for duration, _ in whole)])
    for begin, end, device in stretches(junction, pulse, pulse.duration + relax):
        device = replace(device, heating=None)  # its temperature is that of the stretch
        for start, stop, (_, volts) in zip(cuts[:-1], cuts[1:], whole, strict=True):
            a, b = max(begin, start), min(end, stop)
            if b - a <= 1e-9 * (end - begin):
                continue
            if callable(volts):
                yield device, b - a, partial(_later, volts, float(a))
            else:
                ends = np.interp([a, b], [start, stop], volts)
                yield device, b - a, (float(ends[0]), float(ends[1]))


def _later(wave: Waveform, begin: float, t: NDArray[np.float64]) -> NDArray[np.float64]:
    return wave(t + begin)


def _shape(pulse: Pulse, relax: float) -> list[tuple[float, tuple[float, float] | Waveform]]:
    """Durations [s] and voltages of a pulse and the time after it, cut where the voltage jumps."""
    if pulse.tau > 0:  # nothing jumps; the tail belongs to the time before the bit is read
        return [(pulse.duration + relax, pulse.voltage_at)]
    V = pulse.voltage
    flat = pulse.duration - pulse.rise - pulse.fall
    return [(pulse.rise, (0.0, V)), (flat, (V, V)), (pulse.fall, (V, 0.0)), (relax, (0.0, 0.0))]


def switching_curve(
    junction: Junction,
    *,
    voltage: float,
    widths: Sequence[float] | NDArray[np.float64],
    initial: Well = "up",
    n_devices: int = 10_000,
    relax: float = 10e-9,
    dt: float | None = None,
    seed: int = 0,
    rise: float = 0.0,
    fall: float = 0.0,
    cells: Cells | None = None,
    spin_torque: bool = False,
    scheme: Scheme = "rotation",
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probability that a pulse flips the bit, against the width of the pulse.

    One ensemble starts in thermal equilibrium in its well (drawn exactly, so none has hopped before) and
    goes through the longest pulse; at each width a copy branches off and relaxes at zero voltage with noise
    of its own. Points of one curve share the devices of the pulse, so they are correlated.

    Args:
        junction: nominal device; all start in its equilibrium.
        voltage: of the pulse [V].
        widths: at half height [s], ascending.
        initial, relax, spin_torque: of the :class:`Protocol`.
        n_devices, dt, seed, scheme, threads: of :class:`LLG`.
        rise, fall: durations of linear edges [s].
        cells: see :func:`run`.
        progress: called with (done, total) branches.

    Returns:
        (value, error), float64 (len(widths),) each: the share that flipped and its binomial error.

    Raises:
        InputError: widths that do not ascend, fewer than one device, more devices and steps than
            :func:`check_size` allows, or as :func:`run`.
    """
    pulses = [Pulse(voltage=voltage, width=float(w), rise=rise, fall=fall) for w in widths]
    solver = LLG(dt, n_devices, scheme, seed, threads)
    return solver.curve(junction, pulses, Protocol(initial, relax, spin_torque), cells=cells, progress=progress)


def switching_probability(
    junction: Junction,
    pulse: Pulse,
    *,
    initial: Well = "up",
    relax: float = 10e-9,
    n_devices: int = 100_000,
    dt: float | None = None,
    seed: int = 0,
    cells: Cells | None = None,
    spin_torque: bool = False,
    scheme: Scheme = "rotation",
    threads: int | None = None,
) -> SwitchingResult:
    """Return the probability that one pulse flips the bit; the arguments are those of :func:`switching_curve`.

    The pulse may have a low-pass and jitter; with jitter every device draws a width of its own, to a quarter of
    its standard deviation. A junction with self-heating takes its temperature, and what depends on it, from
    :func:`voltaspin.device.warming.stretches`; ``cells`` warm as the nominal device does.

    Returns:
        The share of devices found in the other well ``relax`` after the pulse, with its binomial error.

    Raises:
        InputError: as :func:`switching_curve`.
    """
    solver = LLG(dt, n_devices, scheme, seed, threads)
    return solver.switching(junction, pulse, Protocol(initial, relax, spin_torque), cells=cells)
