"""Health tests of a source while it runs: repetition count and adaptive proportion (SP 800-90B, section 4.4).

Both watch for a source that fails, not for one that is a little biased: the first for a value that is stuck, the
second for one that has become far too frequent. Their cut-offs follow from the min-entropy per bit that the
source is said to have and from the rate of false alarms that is accepted, 2**-a per bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, log2
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError

START_UP = 1024  #: bits that a start-up test needs at least (section 4.3)


def repetition_cutoff(H: float, a: float = 20) -> int:
    """Equal bits in a row that raise an alarm: ``1 + ceil(a / H)``.

    Args:
        H: min-entropy per bit, above 0 and at most 1.
        a: false alarms at a rate of ``2**-a`` per bit.
    """
    _check(H, a)
    return 1 + ceil(a / H)


def proportion_cutoff(H: float, a: float = 20, window: int = 1024) -> int:
    """Bits equal to the first of a window, itself included, that raise an alarm.

    ``1 + critbinom(window, 2**-H, 1 - 2**-a)``; at most ``window + 1``, which no window reaches.

    Args:
        H, a: as :func:`repetition_cutoff`.
        window: bits; 1024 is the standard's for binary sources.
    """
    _check(H, a)
    if not isinstance(window, int | np.integer) or window < 64:
        raise InputError(f"window = {window!r} bits must be an integer of at least 64")
    from scipy.stats import binom

    # isf keeps the tail 2**-a, which 1 - 2**-a would lose for a > 53
    return 1 + int(binom.isf(2.0**-a, window, 2.0**-H))


def _check(H: float, a: float) -> None:
    if not 0 < H <= 1:
        raise InputError(f"H = {H} bit per bit is no min-entropy of a bit; give a number above 0, at most 1")
    if not 1 <= a <= 1000:
        raise InputError(f"a = {a}: a false alarm with 2**-a per bit needs a from 1 to 1000; 20 to 40 are usual")


@dataclass(frozen=True)
class Alarm:
    """What raised it.

    Args:
        test: ``repetition count`` or ``adaptive proportion``.
        lane: the cell, 0 where all bits come from one.
        position: of the bit in the stream of all lanes, from 0.
        count, cutoff: what was counted, and what was allowed to be reached.
    """

    test: Literal["repetition count", "adaptive proportion"]
    lane: int
    position: int
    count: int
    cutoff: int

    def __str__(self) -> str:
        what = "equal bits in a row" if self.test == "repetition count" else "equal bits in one window"
        return f"{self.test}: {self.count} {what} at bit {self.position}, in lane {self.lane} (cut-off {self.cutoff})"


class HealthTests:
    """The two tests on a stream of bits, with their state.

    Args:
        H: min-entropy per bit that the source is said to have.
        a: false alarms at a rate of ``2**-a`` per bit; None takes ``20 + log2(lanes)``, so that an array has as
            many false alarms per pulse as one cell has per bit at 2**-20.
        window: bits of the adaptive proportion.
        lanes: cells that deliver in turn, bit ``j`` from cell ``j % lanes``; each is tested by itself.

    >>> tests = HealthTests(H=1.0)
    >>> tests.feed(np.zeros(4, np.uint8), 32).test
    'repetition count'
    """

    def __init__(self, *, H: float, a: float | None = None, window: int = 1024, lanes: int = 1) -> None:
        if not isinstance(lanes, int | np.integer) or not 1 <= lanes <= 2**24:
            raise InputError(f"lanes = {lanes!r} must be an integer from 1 to 2**24")
        self.H, self.window, self.lanes = float(H), int(window), int(lanes)
        self.a = 20 + log2(lanes) if a is None else float(a)
        self.cutoffs = (repetition_cutoff(H, self.a), proportion_cutoff(H, self.a, window))
        self.reset()

    def reset(self) -> None:
        """Forget the past and any alarm."""
        self.alarm: Alarm | None = None
        self.seen = 0  #: bits fed since the reset
        self._last = np.full(self.lanes, 2, np.uint8)
        self._run = np.zeros(self.lanes, np.int32)
        self._first = np.zeros(self.lanes, np.uint8)
        self._count = np.zeros(self.lanes, np.int32)

    def feed(self, packed: NDArray[np.uint8], n: int) -> Alarm | None:
        """Test the next ``n`` bits; consecutive calls continue each other bit by bit.

        Args:
            packed: uint8, first bit highest.
            n: bits of it.

        Returns:
            The alarm, which stands until :meth:`reset`; None where all is well. The bits after the one that
            raised it are not looked at.
        """
        if self.alarm is None and n > 0:
            data = np.ascontiguousarray(packed, np.uint8)
            if 8 * data.size < n:
                raise InputError(f"{8 * data.size} bits were given where {n} are to be tested")
            at, which, lane = _watch(
                data, n, self.seen, self.lanes, self.window, *self.cutoffs, self._last, self._run, self._first,
                self._count,
            )  # fmt: skip
            if at >= 0:
                test: Literal["repetition count", "adaptive proportion"]
                test = "adaptive proportion" if which else "repetition count"
                count = self._count[lane] if which else self._run[lane]
                self.alarm = Alarm(test, int(lane), self.seen + int(at), int(count), self.cutoffs[which])
            self.seen += n if at < 0 else int(at) + 1
        return self.alarm

    def on_demand(self, packed: NDArray[np.uint8], n: int | None = None) -> Alarm | None:
        """The same tests of a stretch of its own, at least 1024 bits; the running state is left alone."""
        bits = 8 * np.asarray(packed).size if n is None else n
        if bits < START_UP:
            raise InputError(f"{bits} bits are too few for a start-up or on-demand test; give at least {START_UP}")
        return HealthTests(H=self.H, a=self.a, window=self.window, lanes=self.lanes).feed(packed, bits)

    def start_up(self, packed: NDArray[np.uint8], n: int | None = None) -> Alarm | None:
        """:meth:`on_demand` whose alarm stands until :meth:`reset`: the source may not begin."""
        self.alarm = self.on_demand(packed, n)
        return self.alarm

    def state_dict(self) -> dict[str, Any]:
        return {
            "seen": self.seen,
            "alarm": None if self.alarm is None else asdict(self.alarm),
            **{n: getattr(self, "_" + n).tobytes().hex() for n in ("last", "run", "first", "count")},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = int(state["seen"])
        self.alarm = None if state["alarm"] is None else Alarm(**state["alarm"])
        for name in ("last", "run", "first", "count"):
            own = getattr(self, "_" + name)
            stored = np.frombuffer(bytes.fromhex(state[name]), own.dtype)
            if stored.size != own.size:
                raise InputError(f"a state of {stored.size} lanes does not fit tests of {own.size} lanes")
            own[:] = stored

    def to_json(self) -> dict[str, Any]:
        """Cut-offs, bits seen and the alarm, JSON-able."""
        return {
            "H": self.H, "a": self.a, "window": self.window, "lanes": self.lanes,
            "repetition_cutoff": self.cutoffs[0], "proportion_cutoff": self.cutoffs[1], "bits": self.seen,
            "alarm": None if self.alarm is None else asdict(self.alarm),
        }  # fmt: skip


@numba.njit(inline="always")
def _bit(b, cell, fresh, cutoff_run, cutoff_share, last, run, first, count):  # type: ignore[no-untyped-def]
    """One bit of one cell: 0, or 1 after a repetition count, 2 after an adaptive proportion."""
    if b == last[cell]:
        run[cell] += 1
    else:
        last[cell] = b
        run[cell] = 1
    if fresh:
        first[cell] = b
        count[cell] = 1
    elif b == first[cell]:
        count[cell] += 1
    if run[cell] >= cutoff_run:
        return 1
    return 2 if count[cell] >= cutoff_share else 0


@numba.njit(cache=True, nogil=True)
def _row(row, fresh, last, run, first, count):  # type: ignore[no-untyped-def]
    """One bit of every cell, in steps that vectorise: the longest run and the largest count afterwards."""
    longest, most = np.int32(0), np.int32(0)
    if fresh:
        for j in range(row.shape[0]):
            first[j] = row[j]
            count[j] = 0
    for j in range(row.shape[0]):
        r = np.int32(1) + run[j] * np.int32(row[j] == last[j])
        run[j] = r
        last[j] = row[j]
        longest = max(longest, r)
        c = count[j] + np.int32(row[j] == first[j])
        count[j] = c
        most = max(most, c)
    return longest, most


@numba.njit(cache=True, nogil=True)
def _watch(packed, n, seen, lanes, window, cutoff_run, cutoff_share, last, run, first, count):  # type: ignore[no-untyped-def]
    """Position, test (0 or 1) and cell of the first alarm among ``n`` bits, or (-1, 0, 0)."""
    cell = seen % lanes
    place = (seen // lanes) % window  # of the cell's next bit in its window
    # In a byte of unequal bits a run grows by at most seven: one that cannot reach the cut-off is only counted.
    quick = lanes == 1 and cutoff_run > 8 and window % 8 == 0
    words = packed[: packed.shape[0] // 8 * 8].view(np.uint64)
    row = np.empty(lanes if lanes >= 32 else 0, np.uint8)
    i = 0
    while i < n:
        if row.size and cell == 0 and n - i >= lanes:
            for j in range(lanes):
                row[j] = (packed[(i + j) >> 3] >> (7 - ((i + j) & 7))) & 1
            longest, most = _row(row, place == 0, last, run, first, count)
            if longest >= cutoff_run or most >= cutoff_share:
                for j in range(lanes):
                    if run[j] >= cutoff_run:
                        return i + j, 0, j
                    if count[j] >= cutoff_share:
                        return i + j, 1, j
            i += lanes
            place += 1
            if place == window:
                place = 0
            continue
        if quick and i % 64 == 0 and place % 8 == 0 and 0 < place <= window - 64 and n - i >= 64:
            w = words[i >> 6]
            # no byte of equal bits in the word, so no run in it above 14 either
            if not _has_constant_byte(w) and run[0] + 14 < cutoff_run:
                ones = _ones64(w)
                more = count[0] + (ones if first[0] else 64 - ones)
                if more < cutoff_share:
                    count[0] = more
                    byte = packed[(i >> 3) + 7]
                    last[0] = byte & 1
                    run[0] = _tail(byte)
                    i += 64
                    place += 64
                    if place == window:
                        place = 0
                    continue
        if quick and i % 8 == 0 and place % 8 == 0 and place > 0 and n - i >= 8:
            byte = packed[i >> 3]
            if byte != 0 and byte != 255 and run[0] + 7 < cutoff_run:
                ones = np.int32(_ones(byte))
                count[0] += ones if first[0] else 8 - ones
                last[0] = byte & 1
                run[0] = _tail(byte)
                if count[0] >= cutoff_share:
                    # which of the eight it was: take the byte back and go bit by bit
                    count[0] -= ones if first[0] else 8 - ones
                    for j in range(8):
                        count[0] += ((byte >> (7 - j)) & 1) == first[0]
                        if count[0] >= cutoff_share:
                            return i + j, 1, 0
                i += 8
                place = (place + 8) % window
                continue
        b = (packed[i >> 3] >> (7 - (i & 7))) & 1
        found = _bit(b, cell, place == 0, cutoff_run, cutoff_share, last, run, first, count)
        if found:
            return i, found - 1, cell
        i += 1
        cell += 1
        if cell == lanes:
            cell = 0
            place += 1
            if place == window:
                place = 0
    return -1, 0, 0


@numba.njit(inline="always")
def _has_constant_byte(w):  # type: ignore[no-untyped-def]
    """Whether one of the eight bytes may be 0 or 255 (a carry may say so of one that is not)."""
    low, high = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    v = ~w
    return (((w - low) & v & high) | ((v - low) & w & high)) != np.uint64(0)


@numba.njit(inline="always")
def _ones64(x):  # type: ignore[no-untyped-def]
    one, two, four = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    x -= (x >> np.uint64(1)) & one
    x = (x & two) + ((x >> np.uint64(2)) & two)
    x = (x + (x >> np.uint64(4))) & four
    return np.int32((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


_ONES = np.bitwise_count(np.arange(256, dtype=np.uint8))
_TAIL = np.array([next(r for r in range(1, 9) if r == 8 or (b >> r & 1) != (b & 1)) for b in range(256)], np.uint8)


@numba.njit(inline="always")
def _ones(byte):  # type: ignore[no-untyped-def]
    return _ONES[byte]


@numba.njit(inline="always")
def _tail(byte):  # type: ignore[no-untyped-def]
    """Equal bits at the end of a byte."""
    return _TAIL[byte]
