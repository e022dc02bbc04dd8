"""Copies of a source, or of an engine on one, in another process than the one that made it.

A forked process, and one that gets a pickled copy, would draw the very numbers that its parent and its siblings draw.
So every process tree numbers its processes: the n-th copy that leaves an object has the path ``(*path, n)``, and what
it draws in sequence comes from a source of its own that this path derives. Nothing else about the source changes: a
stream and a step name the same numbers in every process.
"""

from __future__ import annotations

import os
import weakref
from multiprocessing.reduction import ForkingPickler
from typing import Any


class Travels:
    """Mixin of objects that must not be copied into another process unchanged."""

    _path: tuple[int, ...] = ()  #: of the process, in the tree that began where the object was made
    _sent = 0  #: copies that have left for other processes

    def __new__(cls, *_: Any, **__: Any) -> Any:
        self = super().__new__(cls)
        _living[id(self)] = self
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # multiprocessing pickles with this table, and nobody else does: pickle.dumps and copy give equal copies.
        ForkingPickler.register(cls, _to_process)

    def _arrived(self, path: tuple[int, ...]) -> None:
        """Called in the other process; ``path`` is that of this copy."""
        self._path, self._sent = path, 0

    def _before_leaving(self) -> tuple[int, ...]:
        """Return the path of the next copy."""
        self._sent += 1
        return (*self._path, self._sent)


_living: weakref.WeakValueDictionary[int, Travels] = weakref.WeakValueDictionary()
_leaving: list[tuple[Travels, tuple[int, ...]]] = []


def parts_for_process(thing: Travels) -> tuple[Any, ...]:
    """Return the arguments of :func:`rebuilt` for the copy of a thing in another process."""
    reduced: Any = thing.__reduce_ex__(4)
    return reduced[0], reduced[1], reduced[2] if len(reduced) > 2 else None, thing._before_leaving()


def rebuilt(build: Any, arguments: Any, state: Any, path: tuple[int, ...]) -> Any:
    """Return the copy of a thing, in another process."""
    thing = build(*arguments)
    if state is not None:
        if hasattr(thing, "__setstate__"):
            thing.__setstate__(state)
        else:
            thing.__dict__.update(state)
    thing._arrived(path)
    return thing


def _to_process(thing: Travels) -> Any:
    return rebuilt, parts_for_process(thing)


def _before_fork() -> None:
    _leaving[:] = [(thing, thing._before_leaving()) for thing in list(_living.values())]


def _in_parent() -> None:
    _leaving.clear()


def _in_child() -> None:
    for thing, path in _leaving:
        thing._arrived(path)
    _leaving.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
