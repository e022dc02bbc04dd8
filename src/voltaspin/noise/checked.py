"""A source that is watched: after an alarm of a health test it delivers nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import NoiseHealthError
from voltaspin.core.ledger import Ledger
from voltaspin.noise.gaussian import Shaping
from voltaspin.noise.health import START_UP, Alarm, HealthTests
from voltaspin.noise.sequential import SequentialSource
from voltaspin.noise.source import NoiseSource, Provenance, aligned

_BLOCK = 1 << 23  # bits drawn and tested at once


@final
class HealthChecked(SequentialSource):
    """Passes the bits of a source on once they are tested.

    The first draw begins with the start-up test: 1024 bits, and of every lane as many as show that it is stuck, are
    tested and thrown away. From then on every bit is tested before it is handed out; a draw in which an alarm is
    raised hands out nothing, and so does every later one until :meth:`reset`, after which the start-up test is
    repeated. The bits of that draw which stand before the one that raised the alarm passed the tests; :meth:`rest`
    hands them out. The position of an alarm counts the raw bits from the first one that was drawn here.

    Args:
        source: of raw bits; conditioned ones hide what the tests look for.
        H: min-entropy per bit that the source is said to have, see :func:`entropy.estimate`.
        a: false alarms at a rate of ``2**-a`` per bit; None as :class:`voltaspin.noise.health.HealthTests`.
        window: bits of the adaptive proportion test.
        shaping: how bits become numbers; None takes the 16-bit inverse CDF.
    """

    def __init__(
        self,
        source: NoiseSource,
        *,
        H: float = 0.9,
        a: float | None = None,
        window: int = 1024,
        shaping: Shaping | None = None,
    ) -> None:
        super().__init__(shaping)
        self.source = source
        self.tests = HealthTests(H=H, a=a, window=window, lanes=source.lanes)
        self.name = f"{source.name}, health-checked"
        self.ledger = Ledger(self.name)
        self.ledger.children[source.ledger.name] = source.ledger
        self._started = False
        self._drawn = 0  # raw bits, those of the start-up test included
        self._good = (np.empty(0, np.uint8), 0)  # tested bits of a draw that an alarm ended, and how many

    @property
    def lanes(self) -> int:
        return self.source.lanes

    @property
    def can_alarm(self) -> bool:
        return True

    @property
    def alarm(self) -> Alarm | None:
        """What forbids further delivery, if anything does."""
        return self.tests.alarm

    @property
    def bits_left(self) -> int | None:
        return self._after_start_up(self.source.bits_left)

    @property
    def bits_at_most(self) -> int | None:
        return self._after_start_up(self.source.bits_at_most)

    def _after_start_up(self, left: int | None) -> int | None:
        return None if left is None else max(0, left - (0 if self._started else self._start_up_bits))

    @property
    def _start_up_bits(self) -> int:
        # Whole rows of lanes, so that the lanes stay where they are, and enough of them to see a lane that is stuck.
        rows = max(-(-START_UP // self.lanes), min(START_UP, self.tests.cutoffs[0] + 1))
        return rows * self.lanes

    @property
    def provenance(self) -> Provenance:
        inner = self.source.provenance
        about = {"H": self.tests.H, "a": self.tests.a, "window": self.tests.window}
        return Provenance(inner.kind, f"{inner.description}, health-checked", {**inner.details, "health": about})

    def reset(self) -> None:
        """Forget an alarm; the next draw repeats the start-up test."""
        self.tests.reset()
        self._started = False
        self._good = (np.empty(0, np.uint8), 0)

    def on_demand(self) -> Alarm | None:
        """Test fresh bits of the source, which are thrown away; an alarm stands as any other does."""
        return self._tested_start()

    def _tested_start(self) -> Alarm | None:
        n = self._start_up_bits
        packed = self.source.take(n)
        self.tests.start_up(packed, n)
        self._place_alarm(self._drawn)
        self._drawn += n
        return self.tests.alarm

    def _place_alarm(self, begin: int) -> None:
        """Count the position of a new alarm from the first raw bit; ``begin`` bits came before those it counts."""
        if self.tests.alarm is not None:
            self.tests.alarm = replace(self.tests.alarm, position=begin + self.tests.alarm.position)

    def _packed(self, n: int) -> NDArray[np.uint8]:
        if self.tests.alarm is None and not self._started:
            self._tested_start()
            self._started = self.tests.alarm is None
        out = np.empty(-(-n // 8), np.uint8)
        for at in range(0, n, _BLOCK):
            if self.tests.alarm is None:
                size = min(_BLOCK, n - at)
                packed = self.source.take(size)
                seen = self.tests.seen
                self.tests.feed(packed, size)
                out[at // 8 : at // 8 + packed.size] = packed
                if self.tests.alarm is not None:
                    good = at + self.tests.alarm.position - seen
                    self._good = (aligned(out, 0, good), good)
                    self._place_alarm(self._drawn - seen)
                self._drawn += size
        if self.tests.alarm is not None:
            raise NoiseHealthError(
                f"{self.source.name} raised a health alarm, {self.tests.alarm}; nothing more is delivered: find the "
                "cause, then call reset()"
            )
        return out

    def _rest(self) -> tuple[NDArray[np.uint8], int]:
        if self.tests.alarm is None:
            return super()._rest()
        good, self._good = self._good, (np.empty(0, np.uint8), 0)
        return good

    def state_dict(self) -> dict[str, Any]:
        own = {
            "started": self._started,
            "drawn": self._drawn,
            "tests": self.tests.state_dict(),
            "source": self.source.state_dict(),
        }
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.source.load_state_dict(state["source"])
        self.tests.load_state_dict(state["tests"])
        self._started = bool(state["started"])
        # A state of 0.1.0 does not say it: after the start-up test and what was seen since, if there was no reset.
        begun = self._start_up_bits if self._started else 0
        self._drawn = int(state.get("drawn", begun + self.tests.seen))
