"""Health tests of a source while it runs: repetition count and adaptive proportion (SP 800-90B, section 4.4).

Both watch for a source that fails, not for one that is a little biased: the first for a value that is stuck, the
second for one that has become far too frequent. Their cut-offs follow from the min-entropy per bit that the
source is said to have and from the rate of false alarms that is accepted, 2**-a per bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil, log2
from typing import Any, Literal, final, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseHealthError, NoiseStoppedError
from voltaspin.core.renamed import renamed
from voltaspin.noise.gaussian import GaussianTransform
from voltaspin.noise.health_kernels import watch
from voltaspin.noise.source import BufferedStage, Leftover, NoiseSource, aligned

START_UP = 1024  #: bits that a start-up test needs at least (section 4.3)


def repetition_cutoff(H: float, a: float = 20) -> int:
    """Return the number of equal bits in a row that raises an alarm: ``1 + ceil(a / H)``.

    Args:
        H: min-entropy per bit, above 0 and at most 1.
        a: false alarms at a rate of ``2**-a`` per bit.
    """
    _check(H, a)
    return 1 + ceil(a / H)


def proportion_cutoff(H: float, a: float = 20, window: int = 1024) -> int:
    """Return the number of bits equal to the first of a window, itself included, that raises an alarm.

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


def expected_alarms(n_bits: int, a: float, *, H: float, n_cells: int = 1, window: int = 1024) -> tuple[float, float]:
    """Return the alarms of either test that ideal bits raise on average, counting a run and a window once.

    Half the bits of a cell begin a run, and its first one does; a run has C bits with ``2**-(C - 1)`` where as many are
    left. A window has ``C - 1`` of its other bits equal to the first with a binomial probability, also the last one
    of a cell, which may be cut.

    Args:
        n_bits: of all cells together.
        a, H, window: as :class:`HealthTests`.
        n_cells: cells that deliver in turn.
    """
    from scipy.stats import binom

    run, share = repetition_cutoff(H, a), proportion_cutoff(H, a, window)
    runs = windows = 0.0
    for bits, cells in ((n_bits // n_cells + 1, n_bits % n_cells), (n_bits // n_cells, n_cells - n_bits % n_cells)):
        whole, rest = divmod(bits, window)
        runs += cells * (bits - run + 2) * 2.0**-run if bits >= run else 0.0
        windows += cells * float(
            whole * binom.sf(share - 2, window - 1, 0.5) + (binom.sf(share - 2, rest - 1, 0.5) if rest else 0.0)
        )
    return runs, windows


def fitted_a(n_bits: int, *, H: float, n_cells: int = 1, false_alarm: float = 0.01, window: int = 1024) -> float:
    """Return the smallest whole ``a`` from 20 on at which ideal bits raise alarms in at most this share of recordings.

    Args:
        n_bits: of a recording, all cells together.
        H, n_cells, window: as :class:`HealthTests`.
        false_alarm: for a whole recording of ideal bits, as bounded by the expected number of alarms.
    """
    a = 20
    while sum(expected_alarms(n_bits, a, H=H, n_cells=n_cells, window=window)) > false_alarm:
        a += 1
    return float(a)


Test = Literal["repetition count", "adaptive proportion"]


@dataclass(frozen=True)
class Alarm:
    """The cause of an alarm.

    Args:
        test: ``repetition count`` or ``adaptive proportion``.
        lane: the cell, 0 where all bits come from one.
        position: of the bit in the stream of all cells, from 0.
        count, cutoff: what was counted, and what was allowed to be reached.
    """

    test: Test
    lane: int
    position: int
    count: int
    cutoff: int

    def __str__(self) -> str:
        what = "equal bits in a row" if self.test == "repetition count" else "equal bits in one window"
        return f"{self.test}: {self.count} {what} at bit {self.position}, in cell {self.lane} (cut-off {self.cutoff})"


@renamed(lanes="n_cells")
class HealthTests:
    """Both tests on a stream of bits, with their state.

    Args:
        H: min-entropy per bit that the source is said to have.
        a: false alarms at a rate of ``2**-a`` per bit; None takes ``20 + log2(n_cells)``, so that an array has as
            many false alarms per pulse as one cell has per bit at 2**-20.
        window: bits of the adaptive proportion.
        n_cells: cells that deliver in turn, bit ``j`` from cell ``j % n_cells``; each is tested by itself.

    >>> tests = HealthTests(H=1.0)
    >>> tests.feed(np.zeros(4, np.uint8), 32).test
    'repetition count'
    """

    def __init__(self, *, H: float, a: float | None = None, window: int = 1024, n_cells: int = 1) -> None:
        if not isinstance(n_cells, int | np.integer) or not 1 <= n_cells <= 2**24:
            raise InputError(f"n_cells = {n_cells!r} must be an integer from 1 to 2**24")
        self.H, self.window, self.n_cells = float(H), int(window), int(n_cells)
        self.a = 20 + log2(n_cells) if a is None else float(a)
        self.cutoffs = (repetition_cutoff(H, self.a), proportion_cutoff(H, self.a, window))
        self.reset()

    def reset(self) -> None:
        """Forget the past and any alarm."""
        self.alarm: Alarm | None = None
        self.seen = 0  #: bits fed since the reset
        self._last = np.full(self.n_cells, 2, np.uint8)
        self._run = np.zeros(self.n_cells, np.int32)
        self._first = np.zeros(self.n_cells, np.uint8)
        self._count = np.zeros(self.n_cells, np.int32)

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
            at, which, lane = watch(
                data, n, self.seen, self.n_cells, self.window, *self.cutoffs, self._last, self._run, self._first,
                self._count,
            )  # fmt: skip
            if at >= 0:
                test, count = get_args(Test)[which], (self._count if which else self._run)[lane]
                self.alarm = Alarm(test, int(lane), self.seen + int(at), int(count), self.cutoffs[which])
            self.seen += n if at < 0 else int(at) + 1
        return self.alarm

    def on_demand(self, packed: NDArray[np.uint8], n: int | None = None) -> Alarm | None:
        """Run the same tests on a separate stretch of at least 1024 bits; the running state does not change."""
        bits = 8 * np.asarray(packed).size if n is None else n
        if bits < START_UP:
            raise InputError(f"{bits} bits are too few for a start-up or on-demand test; give at least {START_UP}")
        return HealthTests(H=self.H, a=self.a, window=self.window, n_cells=self.n_cells).feed(packed, bits)

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
                raise InputError(f"a state of {stored.size} cells does not fit tests of {own.size} cells")
            own[:] = stored

    def to_json(self) -> dict[str, Any]:
        """Return cut-offs, bits seen and the alarm, JSON-able."""
        return {
            "H": self.H, "a": self.a, "window": self.window, "lanes": self.n_cells,
            "repetition_cutoff": self.cutoffs[0], "proportion_cutoff": self.cutoffs[1], "bits": self.seen,
            "alarm": None if self.alarm is None else asdict(self.alarm),
        }  # fmt: skip


@final
@renamed(shaping="transform")
class HealthChecked(BufferedStage):
    """Passes the bits of a source on once they are tested.

    The first draw begins with the start-up test: 1024 bits, and of every cell as many as show that it is stuck, are
    tested and thrown away. From then on every bit is tested before it is handed out; a draw in which an alarm is
    raised hands out nothing, and so does every later one until :meth:`reset`, after which the start-up test is
    repeated. The bits of that draw which stand before the one that raised the alarm passed the tests; :meth:`rest`
    hands them out. The position of an alarm counts the raw bits from the first one that was drawn here.

    Args:
        source: of raw bits; conditioned ones hide what the tests look for.
        H: min-entropy per bit that the source is said to have, see :func:`voltaspin.noise.entropy.estimate`.
        a: false alarms at a rate of ``2**-a`` per bit; None as :class:`voltaspin.noise.health.HealthTests`.
        window: bits of the adaptive proportion test.
        transform: how bits become numbers; None takes the 16-bit inverse CDF.
    """

    def __init__(
        self,
        source: NoiseSource,
        *,
        H: float = 0.9,
        a: float | None = None,
        window: int = 1024,
        transform: GaussianTransform | None = None,
    ) -> None:
        super().__init__(source, "health-checked", transform)
        self.tests = HealthTests(H=H, a=a, window=window, n_cells=source.n_cells)
        self._started = False
        self._drawn = 0  # raw bits, those of the start-up test included

    @property
    def can_alarm(self) -> bool:
        return True

    @property
    def alarm(self) -> Alarm | None:
        """The alarm that forbids further delivery, if there is one."""
        return self.tests.alarm

    @property
    def bits_left(self) -> int | None:
        return self._after_start_up(self.source.bits_left)

    @property
    def bits_at_most(self) -> int | None:
        return self._after_start_up(self.source.bits_at_most)

    def _after_start_up(self, left: int | None) -> int | None:
        return None if left is None else self._left.bits + max(0, left - (0 if self._started else self._start_up_bits))

    @property
    def _start_up_bits(self) -> int:
        # Whole rows of cells, so that the cells keep their turns, and enough of them to see a cell that is stuck.
        rows = max(-(-START_UP // self.n_cells), min(START_UP, self.tests.cutoffs[0] + 1))
        return rows * self.n_cells

    def _about(self, inner: Mapping[str, Any]) -> dict[str, Any]:
        return {"health": {"H": self.tests.H, "a": self.tests.a, "window": self.tests.window}}

    def reset(self) -> None:
        """Forget an alarm; the next draw repeats the start-up test."""
        self.tests.reset()
        self._started = False
        self._left = Leftover()

    def expect(self, n: int) -> None:
        self.source.expect(n + self._start_up_bits)

    def on_demand(self) -> Alarm | None:
        """Test fresh bits of the source, which are thrown away; an alarm stands as any other does."""
        n = self._start_up_bits
        self.tests.start_up(self.source.take(n), n)
        self._place_alarm(self._drawn)
        self._drawn += n
        return self.tests.alarm

    def _place_alarm(self, begin: int) -> None:
        """Count the position of a new alarm from the first raw bit; ``begin`` bits came before those it counts."""
        if self.tests.alarm is not None:
            self.tests.alarm = replace(self.tests.alarm, position=begin + self.tests.alarm.position)

    def _packed(self, n: int) -> NDArray[np.uint8]:
        self._start()
        self._check_alarm()
        return super()._packed(n)

    def _start(self) -> None:
        if self.tests.alarm is None and not self._started:
            self.on_demand()
            self._started = self.tests.alarm is None

    def _make_more(self, n: int) -> None:
        size = min(self.source.bits_at_once, n - self._left.bits)
        try:
            self._test(self.source.take(size), size)
        except NoiseStoppedError:
            self._test(*self.source._rest())  # an alarm in what arrived is the better reason
            self._check_alarm()
            raise
        self._check_alarm()

    def _test(self, packed: NDArray[np.uint8], n: int) -> None:
        """Test raw bits and keep those before an alarm."""
        seen = self.tests.seen
        alarm = self.tests.feed(packed, n)
        good = n if alarm is None else alarm.position - seen
        self._left.put(packed if alarm is None else aligned(packed, 0, good), good)
        self._place_alarm(self._drawn - seen)
        self._drawn += n

    def _check_alarm(self) -> None:
        if self.tests.alarm is not None:
            raise NoiseHealthError(
                f"{self.source.name} raised a health alarm, {self.tests.alarm}; nothing more is delivered: find the "
                "cause, then call reset()"
            )

    def _rest(self) -> tuple[NDArray[np.uint8], int]:
        if (self.source.bits_left or 0) >= self._start_up_bits:  # a draw that was refused at once has begun nothing
            self._start()
        if self.tests.alarm is None and self._started:
            self._test(*self.source._rest())
        n = self._left.bits
        return self._left.take(n), n

    def state_dict(self) -> dict[str, Any]:
        own = {"started": self._started, "drawn": self._drawn, "tests": self.tests.state_dict()}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.tests.load_state_dict(state["tests"])
        self._started = bool(state["started"])
        # A state of 0.1.0 does not say it: after the start-up test and what was seen since, if there was no reset.
        begun = self._start_up_bits if self._started else 0
        self._drawn = int(state.get("drawn", begun + self.tests.seen))
