"""A signal to stop: the first unwinds the work, so that nothing half written stays; a second ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: Ctrl-C, what a cluster or an operating system sends before it kills, and a terminal that is gone.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the process to stop.

    Args:
        signum: of the signal.

    ``kept`` says in a few words what was finished and how to go on; the command line prints it. ``finished`` is as that
    of :class:`voltaspin.core.errors.NoiseStoppedError`.
    """

    finished: object = None

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.kept = ""

    @property
    def status(self) -> int:
        """Exit status, as shells have it."""
        return 128 + self.signum

    def __str__(self) -> str:
        said = "interrupted" if self.signum == signal.SIGINT else f"stopped by {signal.Signals(self.signum).name}"
        return f"{said}; {self.kept}" if self.kept else said


_asked: list[int] = []  # signals that a block of on_signal took and that its work has not answered yet


def end_wait() -> None:
    """Raise :class:`Stopped` in a wait for something outside if a signal asked the surrounding work to stop.

    Work that finishes a step before it stops, under :func:`on_signal`, cannot finish one that waits for ever.
    """
    if _asked:
        raise Stopped(_asked[-1])


@contextmanager
def on_signal(act: Callable[[int], None]) -> Iterator[None]:
    """Call ``act`` with the number of the first signal to stop that arrives in the block.

    The handlers from before are back when ``act`` is called, so that a second signal does what it did without this
    block. A signal that is ignored (``nohup``) stays ignored. Only the main thread can be asked; elsewhere nothing
    happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in SIGNALS}
    before = {s: handler for s, handler in before.items() if handler is not signal.SIG_IGN and handler is not None}

    def restore() -> None:
        for s, handler in before.items():
            signal.signal(s, handler)

    taken: list[int] = []

    def on_first(signum: int, frame: Any) -> None:
        restore()
        taken.append(signum)
        _asked.append(signum)
        act(signum)

    for s in before:
        signal.signal(s, on_first)
    try:
        yield
    finally:
        restore()
        for signum in taken:
            _asked.remove(signum)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`Stopped` in the block when a signal to stop arrives; the second one ends the process at once."""

    received: list[int] = []

    def stop(signum: int) -> None:
        received.append(signum)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise Stopped(signum)

    with on_signal(stop):
        try:
            yield
        except Exception:
            # Some libraries turn what a signal raises in them into an error of their own.
            if received:
                raise Stopped(received[0]) from None
            raise
