"""The states that a trace goes through: where it crosses its hysteresis thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.waveform import kernels
from voltaspin.noise.waveform.levels import Levels
from voltaspin.noise.waveform.trace import Trace

STRETCHES = 16  #: of a trace, whose drift is looked at


@dataclass(frozen=True)
class States:
    """States by hysteresis, as the samples at which they change.

    Args:
        edges: int64 (n,), the first sample of every new state.
        first: state before the first edge; begin: first sample at which it is known.
        n: samples of the trace; step: between them [s].
        counts: int64 (stretches, 2), samples of each state in equal stretches of the trace, whose means are
        means: (stretches, 2); NaN where a state was not met.
    """

    edges: NDArray[np.int64]
    first: int
    begin: int
    n: int
    step: float
    counts: NDArray[np.int64]
    means: NDArray[np.float64]

    @classmethod
    def of(cls, trace: Trace, levels: Levels) -> States:
        """Follow a trace from its beginning to its end."""
        return cls.between(trace, levels.fall, levels.rise)

    @classmethod
    def between(cls, trace: Trace, fall: float, rise: float) -> States:
        """:meth:`of` with two thresholds: 1 above ``rise``, 0 below ``fall``."""
        state, at, begin = -1, 0, trace.n
        width = -(-trace.n // STRETCHES)
        counts, sums = np.zeros((STRETCHES, 2), np.int64), np.zeros((STRETCHES, 2))
        found: list[NDArray[np.int64]] = []
        first = -1
        for values in trace.blocks():
            edges = np.empty(values.size, np.int64)
            before = state
            state, n, known = kernels.follow(
                np.ascontiguousarray(values), fall, rise, state, at, edges, width, counts, sums
            )
            found.append(edges[:n].copy())
            if before < 0 <= state:
                begin = at + known
                first = state ^ (n & 1)
            at += values.size
        with np.errstate(invalid="ignore"):
            means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return cls(np.concatenate([np.empty(0, np.int64), *found]), first, begin, trace.n, trace.step, counts, means)

    def at(self, samples: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the state at some samples; before it is known, the first one that is."""
        passed = np.searchsorted(self.edges, samples, side="right")
        return ((passed + self.first) % 2).astype(np.uint8)

    def resolved(self, least: int) -> States:
        """Return the states without those that last less than ``least`` samples."""
        if least <= 1:
            return self
        out = np.empty_like(self.edges)
        n, turned, begin = kernels.resolved(self.edges, self.begin, self.n, least, out)
        return States(out[:n], self.first ^ turned, begin, self.n, self.step, self.counts, self.means)

    def dwells(self, state: int) -> NDArray[np.int64]:
        """Return the complete dwells in a state [samples], in order, without the first and the last, which are cut."""
        complete = np.diff(self.edges)
        return complete[(self.first + 1 + state) % 2 :: 2]

    def exposure(self, state: int) -> int:
        """Return all samples in a state that have a next one, those of the first and the last dwell among them."""
        lengths = np.diff(np.concatenate([[self.begin], self.edges, [self.n]]))
        last = self.first ^ (self.edges.size & 1)
        return int(lengths[(self.first + state) % 2 :: 2].sum()) - (last == state)

    def exits(self, state: int) -> int:
        """Return how often a state was left."""
        return int(self.edges[(self.first + state) % 2 :: 2].size)
