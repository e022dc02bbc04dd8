"""How long work takes and how much memory, said before it begins."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Annotated, ClassVar, TypeVar

from voltaspin.core.context import waits_told_to
from voltaspin.core.format import duration
from voltaspin.core.result import Result, Unit

T = TypeVar("T")


class Forecast(Result):
    """Time and memory of work that was not begun.

    Args:
        work: what it is, with its numbers.
        seconds: that it takes in one process of this machine, about; None where nobody can say.
        memory: that one process takes at most, about.
        note: what else is to be known.
    """

    KIND: ClassVar[str] = "forecast"
    work: str
    seconds: Annotated[float | None, Unit("s")]
    memory: Annotated[float, Unit("byte")]
    note: str = ""

    def __str__(self) -> str:
        time = "for an unknown time" if self.seconds is None else f"about {duration(max(self.seconds, 1.0))}"
        note = f"; {self.note}" if self.note else ""
        return f"{self.work}: {time} in one process of this machine, {self.memory / 1e9:.2g} GB of memory{note}"


def memory_now() -> float:
    """Return the most memory that this process has taken so far [byte]."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


class _Enough(BaseException):
    """The pace of a wait is known."""


def foreseen_wait(make: Callable[[], T]) -> tuple[T | None, str, float]:
    """Do something, but stop where it begins to wait for something long, as soon as the pace of that is known.

    Args:
        make: does it; its waits are told as :func:`voltaspin.core.context.progress_of_wait` says.

    Returns:
        What it made, and nothing of a wait; or None, the wait and how long that is in one thread [s].
    """
    begun: dict[str, tuple[float, int]] = {}
    found: list[tuple[str, float]] = []

    def listen(what: str, done: int, total: int) -> None:
        began, first = begun.setdefault(what, (time.process_time(), done))
        if done > first and total > done:
            found.append((what, (time.process_time() - began) / (done - first) * (total - first)))
            raise _Enough

    try:
        with waits_told_to(listen):
            return make(), "", 0.0
    except _Enough:
        return None, *found[0]
