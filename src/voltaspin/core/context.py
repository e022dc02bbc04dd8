"""The context of a computation: its present place, and who is told of a wait deep inside it.

The place says which images, at which step, in which layer. Noise per image, converter ranges per time step and the
ledger per layer all need to know; one small frozen object travels with the work instead of three arguments each.

A wait is work that a caller did not ask for by name, such as pulses that are solved on the first use of a junction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial


@dataclass(frozen=True)
class RunContext:
    """Position of the work.

    Args:
        images: identifiers of the images in the batch, in order; each owns one noise stream.
        step: how many sampler (or training) steps came before this one.
        layer: name of the layer, empty outside a network.
    """

    images: tuple[int, ...]
    step: int = 0
    layer: str = ""

    def at_step(self, step: int) -> RunContext:
        return replace(self, step=step)

    def in_layer(self, layer: str) -> RunContext:
        return replace(self, layer=layer)


_current: ContextVar[RunContext | None] = ContextVar("voltaspin_run", default=None)


def current() -> RunContext | None:
    """Return the present place, where it was given with :func:`running`."""
    return _current.get()


@contextmanager
def running(context: RunContext) -> Iterator[None]:
    """Everything inside is computed for ``context``: converted layers draw its images' own read noise."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


_listener: ContextVar[Callable[[str, int, int], None] | None] = ContextVar("voltaspin_waits", default=None)


@contextmanager
def waits_told_to(listener: Callable[[str, int, int], None]) -> Iterator[None]:
    """Report every wait inside, in this thread, as ``listener(what, done, total)``.

    >>> with waits_told_to(print):
    ...     progress_of_wait("solve the pulses")(1, 8)
    solve the pulses 1 8
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def progress_of_wait(what: str) -> Callable[[int, int], None] | None:
    """Return ``progress(done, total)`` of a wait; None where nobody listens."""
    listener = _listener.get()
    return None if listener is None else partial(listener, what)
