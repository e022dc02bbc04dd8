"""Bits of a trace, taken at instants and written as a recording that every command reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import replacing, sha256_of
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Array, Part, Unit
from voltaspin.noise.importer.bit_file import Recording
from voltaspin.noise.waveform.instants import Clock, Instants
from voltaspin.noise.waveform.levels import Levels
from voltaspin.noise.waveform.states import States
from voltaspin.noise.waveform.trace import BLOCK, Trace

_SHOWN = 4096  # bits that a figure may show


class SampledBits(Part):
    """Bits that were taken from a trace.

    Args:
        bits: how many; ones: share of ones.
        taken: the instants in words.
        period: of a clock [s].
        correlation: of a bit with the next one, measured.
        expected_correlation: exp(-(r01 + r10) t) of a telegraph signal at the interval t; None for other bits.
        misread: probability that a bit is on the other side of the threshold, by the overlap of the populations; None
            where there are none, and for states by hysteresis.
        file: of the recording; None where none was written.
        shown_at, shown: instants [s] and values of the first bits.
    """

    bits: int
    ones: float
    taken: str
    period: Annotated[float | None, Unit("s")] = None
    correlation: Estimate | None = None
    expected_correlation: Estimate | None = None
    misread: float | None = None
    file: str | None = None
    shown_at: Annotated[Array, Unit("s")]
    shown: Array


def sample_bits(
    trace: Trace,
    levels: Levels,
    instants: Instants,
    *,
    states: States | None = None,
    relaxation: Estimate | None = None,
    out: Path | str | None = None,
    about: Mapping[str, Any] | None = None,
) -> SampledBits:
    """Take the bits of a trace at instants, and write them.

    Args:
        trace: the values; levels: its threshold.
        instants: when.
        states: take the state by hysteresis at each instant, as of a telegraph signal; None compares the sample at the
            instant with the threshold.
        relaxation: r01 + r10 of the telegraph signal [1/s], for the expected correlation.
        out: file of packed bits; ``OUT.json`` says how they were made.
        about: ``command`` and ``arguments`` for the description.

    Raises:
        InputError: no instant lies within the trace.
    """
    period = instants.period if isinstance(instants, Clock) else None
    counting = _Counting(trace.step)
    if out is None:
        for samples, bits in _bits(trace, levels, instants, states):
            counting.add(samples, bits)
    else:
        path = Path(out)
        if not path.parent.is_dir() or path.is_dir():
            raise InputError(f"cannot write bits into {path}; give a file in a folder that exists")
        with replacing(path) as part:
            with part.open("wb") as file:
                left = np.empty(0, np.uint8)
                for samples, bits in _bits(trace, levels, instants, states):
                    counting.add(samples, bits)
                    left = np.concatenate([left, bits])
                    complete = left.size // 8 * 8
                    file.write(np.packbits(left[:complete]).tobytes())
                    left = left[complete:]
                file.write(np.packbits(left).tobytes())
            _refuse_none(counting, instants, trace)
            origin = _origin(trace, levels, instants, by_states=states is not None)
            recording = Recording(bits=counting.n, sha256=sha256_of(part), origin=origin, **(about or {}))
            recording.save(Recording.beside(path))
    _refuse_none(counting, instants, trace)
    expected = None
    if relaxation is not None and period is not None:
        value, low, high = (math.exp(-r * period) for r in (relaxation.value, relaxation.high, relaxation.low))
        expected = Estimate(value, low, high)
    return SampledBits(
        bits=counting.n, ones=counting.ones / counting.n, taken=instants.said, period=period,
        correlation=counting.correlation(), expected_correlation=expected,
        misread=levels.misread if states is None else None, file=None if out is None else str(out),
        shown_at=np.concatenate(counting.at)[:_SHOWN] * trace.step, shown=np.concatenate(counting.first)[:_SHOWN],
    )  # fmt: skip


def _refuse_none(counting: _Counting, instants: Instants, trace: Trace) -> None:
    if not counting.n:
        raise InputError(
            f"{trace.file.name} lasts {trace.duration:.3g} s and holds no instant ({instants.said}); give a shorter "
            "period or phase"
        )


def _bits(
    trace: Trace, levels: Levels, instants: Instants, states: States | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Instants and bits in blocks."""
    if states is not None:
        for at in range(0, trace.n, BLOCK):
            samples = instants.within(at, min(BLOCK, trace.n - at))
            samples = samples[samples >= states.begin]
            yield samples, states.at(samples)
        return
    at = 0
    for values in trace.blocks():
        samples = instants.within(at, values.size)
        yield samples, (values[samples - at] > levels.threshold).astype(np.uint8)
        at += values.size


def _origin(trace: Trace, levels: Levels, instants: Instants, *, by_states: bool) -> dict[str, Any]:
    how = "state by hysteresis" if by_states else "threshold"
    shown = f"{trace.shown(levels.fall)} and {trace.shown(levels.rise)}" if by_states else trace.shown(levels.threshold)
    name = Path(trace.file.name).name
    return {
        "kind": "recorded",
        "description": f"waveform {name} (sha256 {trace.sha256[:12]}), {how} {shown}, {instants.said}",
        "details": {
            "file": name, "sha256": trace.sha256, "input": trace.text, "samples": trace.n, "step": trace.step,
            "unit": trace.unit, "threshold": levels.threshold, "rise": levels.rise, "fall": levels.fall,
            "by_hysteresis": by_states, "instants": instants.said,
        },
    }  # fmt: skip


class _Counting:
    """Counts bits as they pass: ones, pairs of neighbours, and the first ones."""

    def __init__(self, step: float) -> None:
        self.n = self.ones = self.both = 0
        self.head = self.last = -1
        self.at: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self.first: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]

    def add(self, samples: NDArray[np.int64], bits: NDArray[np.uint8]) -> None:
        """Take the next bits."""
        if not bits.size:
            return
        if self.n < _SHOWN:
            self.at.append(samples[:_SHOWN])
            self.first.append(bits[:_SHOWN])
        if self.head < 0:
            self.head = int(bits[0])
        self.both += int(np.count_nonzero(bits[1:] & bits[:-1])) + int(self.last == 1 and bits[0] == 1)
        self.n += bits.size
        self.ones += int(bits.sum(dtype=np.int64))
        self.last = int(bits[-1])

    def correlation(self) -> Estimate | None:
        """Return the correlation of neighbours; None of too few bits, or of equal ones."""
        if self.n < 10 or self.ones in (0, self.n):
            return None
        pairs, mean = self.n - 1, self.ones / self.n
        products = self.both / pairs - mean * (2 * self.ones - self.head - self.last) / pairs + mean**2
        value = products / (mean * (1 - mean))
        # of a chain of two states, 1 - p01 - p10, whose two probabilities are counted
        p01, p10 = (min(share * (1 - value), 1.0) for share in (mean, 1 - mean))
        variance = p01 * (1 - p01) / (self.n * (1 - mean)) + p10 * (1 - p10) / (self.n * mean)
        return Estimate.normal(float(value), math.sqrt(max(variance, 1 / self.n**2)), n=self.n)
