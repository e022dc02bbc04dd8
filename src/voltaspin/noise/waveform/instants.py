"""When a trace is sampled: by a clock of given period, by one found in the trace, or by the edges of a trigger.

An instant is a number of a sample. Every class answers ``within(at, n)``: the instants among ``n`` samples from ``at``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.units import format_quantity
from voltaspin.noise.importer.values import given_level
from voltaspin.noise.waveform.levels import find_levels
from voltaspin.noise.waveform.states import States
from voltaspin.noise.waveform.trace import Trace

Edge = Literal["rise", "fall", "both"]

_COHERENT = 0.7  #: mean of the phases of the edges from which a clock is one: a jitter of 13 % of a period
_FEWEST = 20  # edges that a clock is found in


class Instants(Protocol):
    """Samples at which bits are taken."""

    def within(self, at: int, n: int) -> NDArray[np.int64]:
        """Return the instants from sample ``at`` to ``at + n - 1``, in order."""
        ...

    @property
    def said(self) -> str:
        """The instants in words."""
        ...


@dataclass(frozen=True)
class Clock:
    """Instants ``phase + k period`` after the first sample.

    Args:
        period, phase: [s]; phase zero or more.
        step: between samples [s].
        found: whether they were found in the trace.

    Raises:
        InputError: a period shorter than the time between samples.
    """

    period: float
    phase: float
    step: float
    found: bool = False

    def __post_init__(self) -> None:
        if not self.step * (1 - 1e-9) <= self.period < math.inf:
            raise InputError(
                f"period={format_quantity(self.period, 's')} is shorter than the time between samples, "
                f"{format_quantity(self.step, 's')}; give a longer one"
            )
        if not 0 <= self.phase < math.inf:
            raise InputError(f"phase={format_quantity(self.phase, 's')} must be zero or more")

    def within(self, at: int, n: int) -> NDArray[np.int64]:
        period, phase = self.period / self.step, self.phase / self.step
        first, last = math.floor((at - 1 - phase) / period), math.ceil((at + n + 1 - phase) / period)
        k = np.arange(max(first, 0), max(last, -1) + 1, dtype=np.int64)
        samples = np.rint(phase + k * period).astype(np.int64)
        return samples[(samples >= at) & (samples < at + n)]

    @property
    def said(self) -> str:
        how = "clock found in the trace" if self.found else "clock"
        return f"{how}, period {format_quantity(self.period, 's')}, phase {format_quantity(self.phase, 's')}"


def recovered_clock(states: States, *, name: str = "the trace") -> Clock:
    """Find the clock by which the bits of a trace change.

    The edges of a bit stream lie a whole number of periods apart. The shortest distance that is common gives the
    period, and all edges refine it. Bits are taken in the middle between possible edges.

    Args:
        states: of the trace.
        name: of it, for the messages.

    Raises:
        InputError: fewer than 20 edges, a period of less than three samples, or edges that follow no clock.
    """
    edges = states.edges
    if edges.size < _FEWEST:
        raise InputError(
            f"{name} has {edges.size} edges, too few to find a clock in (at least {_FEWEST}); record longer, or give "
            "the period"
        )
    distances = np.diff(edges)
    base = float(np.quantile(distances, 0.1))
    period = float(distances[distances <= 1.5 * base].mean())
    offset, used = float(edges[0]), 16
    while True:
        # the numbers of the periods are certain only over a stretch that the last estimate can bridge
        x = edges[:used].astype(np.float64)
        number = np.rint((x - offset) / period)
        if np.ptp(number) > 0:
            period, offset = (float(c) for c in np.polyfit(number - number[0], x, 1))
            offset -= number[0] * period
        if used >= edges.size:
            break
        used = min(2 * used, edges.size)
    coherence = float(abs(np.exp(2j * np.pi * (edges - offset) / period).mean()))
    if coherence < _COHERENT:
        raise InputError(
            f"{name} has edges that follow no clock (their phases agree to {100 * coherence:.2g} %, a clock needs "
            f"{100 * _COHERENT:.0f} %); give the period, or take bits of a telegraph signal at an interval"
        )
    if period < 3:
        raise InputError(
            f"{name} has a clock of {period:.3g} samples; at least 3 are needed to sample between the edges: record "
            "faster, or give the period"
        )
    # half a sample: an edge lies between two samples
    phase = (offset - 0.5 + period / 2) % period
    return Clock(period * states.step, phase * states.step, states.step, found=True)


@dataclass(frozen=True)
class Triggered:
    """Instants a delay after the edges of a trigger channel.

    Args:
        samples: int64 (n,), the instants, in order.
        said: in words.
    """

    samples: NDArray[np.int64]
    said: str

    @classmethod
    def of(
        cls, trigger: Trace, *, edge: Edge = "rise", delay: float = 0.0, threshold: float | str | None = None,
    ) -> Triggered:  # fmt: skip
        """Find the edges of a trigger channel.

        Args:
            trigger: the channel, with the times of the trace.
            edge: ``"rise"``, ``"fall"`` (the end of a pulse) or ``"both"``.
            delay: from the edge to the instant [s], zero or more: the dwell behind a pulse.
            threshold: of the trigger; default: in the middle between its lowest and highest value, with a hysteresis
                of a quarter of that distance.

        Raises:
            InputError: a trigger that never fires, a dead one, or a delay longer than the trace.
        """
        name = f"{trigger.file.name}, trigger {trigger.reading.column or trigger.file.options.column}"
        if edge not in ("rise", "fall", "both"):
            raise InputError(f"edge={edge!r} is unknown; use rise, fall or both")
        if not 0 <= delay < trigger.duration:
            raise InputError(
                f"delay={format_quantity(delay, 's')} must be zero or more, and shorter than the trace of "
                f"{format_quantity(trigger.duration, 's')}"
            )
        if trigger.low == trigger.high:
            raise InputError(
                f"{name} never fires: all {trigger.n} samples are {trigger.shown(trigger.low)}; check the channel"
            )
        if threshold is None:
            level = (trigger.low + trigger.high) / 2
        elif threshold == "fit":
            level = find_levels(trigger, threshold="fit").threshold
        else:
            level, _ = given_level(trigger.reading, trigger.file, threshold, "trigger_threshold")
        half = min((trigger.high - trigger.low) / 8, max(trigger.high - level, 0), max(level - trigger.low, 0))
        states = States.between(trigger, level - half / 2, level + half / 2)
        rising = (np.arange(states.edges.size) + states.first) % 2 == 0
        wanted = {"rise": rising, "fall": ~rising, "both": np.ones_like(rising)}[edge]
        found = states.edges[wanted]
        if not found.size:
            raise InputError(
                f"{name} never fires: it has no {'edge' if edge == 'both' else edge} through {trigger.shown(level)} "
                f"({trigger.shown(trigger.low)} to {trigger.shown(trigger.high)}); check its threshold and edge"
            )
        samples = found + round(delay / trigger.step)
        samples = samples[samples < trigger.n]
        if not samples.size:
            raise InputError(
                f"{name} fires {found.size} times, each less than {format_quantity(delay, 's')} before the end of the "
                "trace; give a shorter delay"
            )
        said = f"{found.size} {'edges' if edge == 'both' else f'{edge}s'} of the trigger through {trigger.shown(level)}"
        return cls(samples, said + (f", {format_quantity(delay, 's')} later" if delay else ""))

    def within(self, at: int, n: int) -> NDArray[np.int64]:
        first, last = np.searchsorted(self.samples, (at, at + n))
        return self.samples[first:last]
