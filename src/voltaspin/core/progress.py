"""Progress of long work: bars on a terminal and in a notebook, and a line now and then in a log.

Every long call takes ``progress=`` and calls it as ``progress(done, total)``. Work with parts gives a name of the part
before these two numbers, and some work says more behind them. ``total`` is None where nobody knows it. :func:`progress`
makes something that takes all of these.
"""

from __future__ import annotations

import html
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

from voltaspin.core.context import waits_told_to

EVERY = 10.0  #: seconds between two lines of a log, at least; in long work a fiftieth of the time that it has taken
_REDRAW = 0.25  # seconds between two pictures of a notebook's bars


def progress(title: str = "", *, per: float = 1, unit: str = "", quiet: bool = False) -> ProgressDisplay:
    """Return a ``progress`` that shows itself: bars in a notebook and on a terminal, elsewhere a line now and then.

    In a ``with`` block it also shows waits that nobody asked for by name, such as pulses that are solved on the first
    use of a junction. Bars and lines go to standard error, in a notebook below the cell.

    Args:
        title: of work without parts. What the work says beyond its numbers is formatted into it, or follows it.
        per: how much of ``unit`` one step is, for the pace: images of a training step, for example.
        unit: of the pace, such as ``"images"``.
        quiet: show nothing.

    >>> import voltaspin
    >>> with voltaspin.progress("train, loss {:.4f}") as progress:  # doctest: +SKIP
    ...     voltaspin.train(images, source, "model", spec=spec, progress=progress)
    """
    return ProgressDisplay(title, per=per, unit=unit, quiet=quiet)


class Pace:
    """How fast work goes, since it was first heard of.

    Args:
        per, unit: as in :func:`progress`.
        clock: seconds since any moment; the machine's where absent.
    """

    def __init__(self, *, per: float = 1, unit: str = "", clock: Callable[[], float] | None = None) -> None:
        self._per, self._unit, self._clock = per, unit, clock or time.monotonic
        self._began: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        """Time since the work was first heard of [s]."""
        return 0.0 if self._began is None else self._clock() - self._began[0]

    def at(self, done: float, total: float | None) -> str:
        """Return pace and time left, such as ``"12 images a second, 3 min 5 s left"``; nothing in the first second."""
        from voltaspin.core.format import duration, number  # here: NumPy, which help does without

        if self._began is None or done < self._began[1]:
            self._began = self._clock(), done
        made, seconds = done - self._began[1], self.seconds
        if total is not None and done >= total:
            said = [f"took {duration(seconds)}"] if seconds >= 1 else []
        elif seconds < 1:
            return ""
        elif not made:
            return "nothing new meanwhile"
        else:
            said = [] if total is None else [f"{duration((total - done) * seconds / made)} left"]
        if made and seconds >= 1:
            said.insert(0, f"{number(made * self._per / seconds)}{f' {self._unit}' * bool(self._unit)} a second")
        return ", ".join(said)


class ProgressDisplay:
    """What :func:`progress` returns: call it, and use it as a ``with`` block if you like."""

    def __init__(self, title: str = "", *, per: float = 1, unit: str = "", quiet: bool = False) -> None:
        self._title, self._per, self._unit = title, per, unit
        self._view: _View = _Nothing() if quiet else _view()
        self._parts: dict[str, Pace] = {}
        self._finished: set[str] = set()
        self._waits: AbstractContextManager[None] | None = None

    def __call__(self, *said: Any) -> None:
        """Show ``(done, total, ...)`` or ``(part, done, total, ...)``."""
        part, done, total, *more = said if isinstance(said[0], str) else (self._title, *said)
        self._show(part, _words(part, more), done, total)

    def _show(self, part: str, text: str, done: float, total: float | None) -> None:
        pace = self._parts.setdefault(part, Pace(per=self._per, unit=self._unit))
        ended = total is not None and done >= total
        if ended and part in self._finished:
            return
        self._finished.add(part) if ended else self._finished.discard(part)
        self._view.show(part, text, done, total, pace.at(done, total), pace.seconds)
        if self._waits is None and len(self._finished) == len(self._parts):  # nobody will say that it is over
            self._view.close()
            self._parts, self._finished = {}, set()

    def say(self, text: str) -> None:
        """Print a line on standard error, above the bars."""
        self._view.say(text)

    def __enter__(self) -> ProgressDisplay:
        self._waits = waits_told_to(lambda what, done, total: self._show(what, what, done, total))
        self._waits.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._waits is not None
        self._waits.__exit__(kind, error, trace)
        self._waits = None
        self._view.close()


def _words(title: str, more: list[Any]) -> str:
    """A title with what the work says of itself: in its places, else behind it."""
    if more and "{" in title:
        return title.format(*more)
    said = [x if isinstance(x, str) else f"{x:.4g}" if isinstance(x, float) else str(x) for x in more]
    return ", ".join(filter(None, [title, *said]))


class _View(Protocol):
    """Where progress is seen."""

    def show(self, part: str, text: str, done: float, total: float | None, pace: str, seconds: float) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


def _view() -> _View:
    if _in_notebook():
        return _Notebook()
    from rich.console import Console

    console = Console(stderr=True)
    return _Bars(console) if console.is_terminal else _Log()


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows HTML and replaces it."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return ask is not None and hasattr(ask(), "kernel")


class _Nothing:
    def show(self, part: str, text: str, done: float, total: float | None, pace: str, seconds: float) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class _Log:
    """A line on standard error now and then, and when work that took long ends."""

    def __init__(self) -> None:
        self._last: float | None = None

    def show(self, part: str, text: str, done: float, total: float | None, pace: str, seconds: float) -> None:
        self._last = time.monotonic() if self._last is None else self._last  # what came before was no work of ours
        now, ended = time.monotonic(), total is not None and done >= total
        if now - self._last < max(EVERY, seconds / 50) and not (ended and seconds >= EVERY):
            return
        self._last = now
        place = f"step {done}" if total is None else f"{done} of {total}"
        self.say(", ".join(filter(None, [f"{text}: {place}" if text else place, pace])))

    def say(self, text: str) -> None:
        print(f"voltaspin: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing: every line is whole."""


class _Bars:
    """A bar for each part on a terminal."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bars = Progress(
            TextColumn("{task.description:<34}", markup=False), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}", markup=False, style="progress.remaining"), console=console,
        )  # fmt: skip
        self._tasks: dict[str, Any] = {}
        self._running = False

    def show(self, part: str, text: str, done: float, total: float | None, pace: str, seconds: float) -> None:
        if not self._running:  # stopped with this object too, where an error keeps it from being closed
            self._bars.start()
            self._running, self._end = True, weakref.finalize(self, self._bars.stop)
        if part not in self._tasks:
            self._tasks[part] = self._bars.add_task("", total=total, pace="")
        self._bars.update(self._tasks[part], completed=done, total=total, description=text, pace=pace)

    def say(self, text: str) -> None:
        self._bars.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        if self._running:
            self._end()
            for task in self._tasks.values():  # printed, and not to be printed again
                self._bars.remove_task(task)
            self._running, self._tasks = False, {}


class _Notebook:
    """A table below the cell, whose rows are a text and a bar for each part."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._rows: dict[str, str] = {}
        self._drawn = -_REDRAW

    def show(self, part: str, text: str, done: float, total: float | None, pace: str, seconds: float) -> None:
        place = f"step {done}" if total is None else f"{done} of {total}"
        share = "" if total is None else f' value="{done}" max="{max(total, 1e-9)}"'
        title, said = html.escape(text), html.escape(", ".join(filter(None, [place, pace])))
        self._rows[part] = (
            f'<tr><td style="text-align:left">{title}</td><td><progress{share} aria-label="{title or "progress"}">'
            f'</progress></td><td style="text-align:left">{said}</td></tr>'
        )
        ended = total is not None and done >= total
        if ended or time.monotonic() - self._drawn >= _REDRAW:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML, display

        table = HTML(f"<table>{''.join(self._rows.values())}</table>")
        if self._handle is None:
            self._handle = display(table, display_id=True)
        else:
            self._handle.update(table)
        self._drawn = time.monotonic()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._rows:
            self._draw()
        self._handle, self._rows = None, {}
