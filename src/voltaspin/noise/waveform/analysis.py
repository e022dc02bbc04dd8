"""A trace from the file to its levels, its telegraph statistics and its bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Array, Result, Unit
from voltaspin.core.units import format_quantity
from voltaspin.noise.waveform.bits import SampledBits, sample_bits
from voltaspin.noise.waveform.dwell import Telegraph, telegraph_statistics
from voltaspin.noise.waveform.instants import Clock, Edge, Instants, Triggered, recovered_clock
from voltaspin.noise.waveform.levels import Levels, find_levels
from voltaspin.noise.waveform.states import States
from voltaspin.noise.waveform.trace import Trace

_POINTS = 1000  # of the excerpt, two values each
_DWELLS = 30  # that the excerpt shows, about
_LONGEST = 1 << 22  # samples of the excerpt


class Waveform(Result):
    """What was found in a trace.

    Args:
        file: its name; read_as: the layout, in words; sha256: of the file.
        unit: SI unit of the values, empty where it is not known.
        samples: how many; step: between them [s]; duration: [s].
        levels: the two levels and the thresholds.
        telegraph: dwell times and rates; None where they were not asked for or the trace has too few.
        bits: that were taken; None where none were asked for.
        times, values: the beginning of the trace [s] and in ``unit``; of a long one, the lowest and highest value of
            each stretch.
        notes: on anything that was left aside.
    """

    KIND: ClassVar[str] = "waveform"

    file: str
    read_as: str
    sha256: str
    unit: str
    samples: int
    step: Annotated[float, Unit("s")]
    duration: Annotated[float, Unit("s")]
    levels: Levels
    telegraph: Telegraph | None = None
    bits: SampledBits | None = None
    times: Annotated[Array, Unit("s")]
    values: Array
    notes: tuple[str, ...] = ()

    def summary(self) -> list[tuple[str, str]]:
        """Return rows of (name, value) for people, one row for what belongs together."""
        v, found = self.levels, self._shown
        length = (
            f"{format_quantity(self.duration, 's')}, {self.samples:,} samples every {format_quantity(self.step, 's')}"
        )
        rows = [("file", f"{self.file}: {self.read_as}"), ("duration", length)]
        how = "found between two populations" if v.fitted else "as given"
        rows.append(("threshold", f"{found(v.threshold)}, {how}; states change at {found(v.fall)} and {found(v.rise)}"))
        if v.low is not None and v.high is not None and v.low_spread is not None and v.high_spread is not None:
            rows += [
                ("levels", f"{found(v.low)} (spread {found(v.low_spread)}) and {found(v.high)} (spread "
                 f"{found(v.high_spread)}), {v.separation:.3g} spreads apart"),
                ("overlap", f"a sample is misread with probability {v.misread:.2g}"),
            ]  # fmt: skip
        if self.telegraph is not None:
            rows += self.telegraph.summary()
        if self.bits is not None:
            b = self.bits
            rows.append(("bits", f"{b.bits:,} by the {b.taken}" + (f", in {b.file}" if b.file else "")))
            rows.append(("share of ones", f"{b.ones:.4g}"))
            if b.misread is not None:
                rows.append(("misread bits", f"{b.misread:.2g} expected"))
            if b.correlation is not None:
                expected = f"; the rates give {b.expected_correlation}" if b.expected_correlation else ""
                rows.append(("correlation of neighbours", f"{b.correlation}{expected}"))
        return rows + [("note", note) for note in self.notes]

    def _shown(self, value: float) -> str:
        return format_quantity(value, self.unit)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How bits are taken from a trace: by exactly one of ``period``, ``recover``, ``trigger`` and ``interval``.

    Args:
        period, phase: of a clock [s].
        recover: find the clock in the trace.
        trigger: column or channel whose edges say when.
        edge, delay, trigger_threshold: of the trigger; a falling edge and a delay are a dwell behind a pulse.
        interval: of bits of a telegraph signal [s], taken from the states by hysteresis.

    Raises:
        InputError: several of them, or details of one that is not there.
    """

    period: float | None = None
    phase: float | None = None
    recover: bool = False
    trigger: str | int | None = None
    edge: Edge | None = None
    delay: float | None = None
    trigger_threshold: float | str | None = None
    interval: float | None = None

    def __post_init__(self) -> None:
        ways = {
            "period=": self.period is not None, "recover=True": self.recover, "trigger=": self.trigger is not None,
            "interval=": self.interval is not None,
        }  # fmt: skip
        if sum(ways.values()) > 1:
            given = " and ".join(name for name, there in ways.items() if there)
            raise InputError(f"{given} each say when bits are taken; give one of them")
        if self.phase is not None and self.period is None:
            raise InputError("phase= is of a clock of given period=; give it too, or leave the phase out")
        if self.trigger is None and (self.edge or self.delay is not None or self.trigger_threshold is not None):
            raise InputError("edge=, delay= and trigger_threshold= are of a trigger; name its column with trigger=")

    @property
    def wanted(self) -> bool:
        """Whether bits are taken at all."""
        return self.recover or not (self.period is None and self.trigger is None and self.interval is None)

    def instants(self, trace: Trace, states: States) -> Instants:
        """Return when bits of a trace are taken."""
        for name in ("period", "interval"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= trace.duration:
                raise InputError(
                    f"{name}={format_quantity(value, 's')} must be positive and not longer than the trace of "
                    f"{trace.file.name}, {format_quantity(trace.duration, 's')}; give a shorter one"
                )
            if value is not None and value < trace.step * (1 - 1e-9):
                raise InputError(
                    f"{name}={format_quantity(value, 's')} is shorter than the time between samples, "
                    f"{format_quantity(trace.step, 's')}; give a longer one"
                )
        if self.recover:
            return recovered_clock(states, name=trace.file.name)
        if self.trigger is not None:
            channel = trace.other(self.trigger)
            return Triggered.of(
                channel, edge=self.edge or "rise", delay=self.delay or 0.0, threshold=self.trigger_threshold
            )
        return Clock(self.period or self.interval or math.inf, self.phase or 0.0, trace.step)


def read_waveform(
    path: Path | str,
    *,
    sample_rate: float | None = None,
    threshold: float | str | None = None,
    hysteresis: float | str | None = None,
    sampling: Sampling | None = None,
    telegraph: bool | None = None,
    dead_time: float = 0.0,
    out: Path | str | None = None,
    about: Mapping[str, Any] | None = None,
    **options: Any,
) -> Waveform:
    """Read a trace and return its levels, its telegraph statistics and its bits.

    Args:
        path: of the file: a table of an oscilloscope, NPY, HDF5, MATLAB, WAV, or raw converter words.
        sample_rate: samples a second, where the file does not say it.
        threshold, hysteresis: as of :func:`find_levels`.
        sampling: when bits are taken; None for no bits.
        telegraph: whether dwell times are wanted, and must be there; default: unless bits of a clock or a trigger are
            taken, and only where there are enough.
        dead_time: as of :func:`telegraph_statistics` [s].
        out: file for the bits, which needs ``sampling``.
        about: ``command`` and ``arguments`` for its description.
        options: of the file, as of :class:`voltaspin.noise.FileOptions`.

    Raises:
        InputError: a file, a trace or an option that cannot be used; the message says the value, its line or time, and
            what to do.
    """
    sampling = sampling or Sampling()
    if out is not None and not sampling.wanted:
        raise InputError(
            f"{out} needs bits: say when they are taken, by recover=True, period=, trigger= or, of a telegraph signal, "
            "interval="
        )
    trace = Trace.open(path, sample_rate=sample_rate, **options)
    levels = find_levels(trace, threshold=threshold, hysteresis=hysteresis)
    states = States.of(trace, levels)
    instants = sampling.instants(trace, states) if sampling.wanted else None
    must = sampling.interval is not None if telegraph is None else telegraph
    statistics, notes = None, list(trace.notes)
    if must or (telegraph is None and instants is None):
        try:
            statistics = telegraph_statistics(states, dead_time=dead_time, name=trace.file.name)
        except InputError as error:
            if must or dead_time:
                raise
            notes.append(f"no telegraph statistics: {error}")
    bits = None
    if instants is not None:
        by_states = states if sampling.interval is not None else None
        relaxation = statistics.relaxation if by_states and statistics else None
        bits = sample_bits(trace, levels, instants, states=by_states, relaxation=relaxation, out=out, about=about)
    times, values = _excerpt(trace, states, bits)
    return Waveform(
        file=Path(path).name, read_as=trace.text, sha256=trace.sha256, unit=trace.unit, samples=trace.n,
        step=trace.step, duration=trace.duration, levels=levels, telegraph=statistics, bits=bits, times=times,
        values=values, notes=tuple(notes),
    )  # fmt: skip


def _excerpt(trace: Trace, states: States, bits: SampledBits | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The beginning of a trace, long enough for some dwells and some bits."""
    length = 2 * _POINTS
    if states.edges.size:
        length = max(int(states.edges[min(_DWELLS, states.edges.size - 1)] * 1.05), 200)
    if bits is not None and bits.shown_at.size:
        length = max(int(bits.shown_at[min(_DWELLS, bits.shown_at.size - 1)] / trace.step * 1.03), 60)
    length = min(length, trace.n, _LONGEST)
    parts, left = [], length
    for values in trace.blocks():
        parts.append(values[:left])
        left -= parts[-1].size
        if not left:
            break
    found = np.concatenate(parts)
    if length <= 2 * _POINTS:
        return _times(length, trace.step), found
    size = length // _POINTS
    rows = found[: _POINTS * size].reshape(_POINTS, size)
    both = np.column_stack([rows.min(axis=1), rows.max(axis=1)]).reshape(-1)
    return _times(2 * _POINTS, size / 2 * trace.step), both


def _times(n: int, step: float) -> NDArray[np.float64]:
    return np.arange(n, dtype=np.float64) * step
