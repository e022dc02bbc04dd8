"""The present place of a computation: which images, at which step, in which layer.

Noise per image, converter ranges per time step and the ledger per layer all need to know; one small
frozen object travels with the work instead of three arguments each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


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
