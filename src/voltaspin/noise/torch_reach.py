"""Reach of a drive_torch block: draws outside of the thread that opened it.

A mode of PyTorch acts in one thread. So while a block is open, the kernels of random operations are wrapped at a level
of the dispatcher that every thread passes, and processes that ``multiprocessing`` starts are given the block.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import cache
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from voltaspin.core.errors import InputError
from voltaspin.noise.processes import parts_for_process, rebuilt
from voltaspin.noise.torch_draws import REFUSED, SERVED

Block = Any  #: a :class:`voltaspin.noise.torch_rng.DrivenTorch`, which builds on this module
_LEVEL = "BackendSelect"
_open: list[tuple[int, Block]] = []
_library: Any = None
_start: Callable[..., Any] = BaseProcess.start
_here = threading.local()


def opened(block: Block) -> None:
    """Take note of a block that this thread opens.

    Raises:
        InputError: another thread has another block open.
    """
    me = threading.get_ident()
    if any(thread != me and other is not block for thread, other in _open):
        raise InputError(
            "another thread has a drive_torch block open, and PyTorch's default generator can follow one only; open "
            "one block around all threads, whose draws it serves"
        )
    if not _open:
        _wrap()
    _open.append((me, block))


def closed(block: Block) -> None:
    """Take note that this thread closes a block."""
    me = threading.get_ident()
    for at in range(len(_open) - 1, -1, -1):
        if _open[at] == (me, block):
            del _open[at]
            break
    if not _open:
        _unwrap()


def arrived() -> None:
    """Called in a forked process: of all threads only this one is left."""
    me = threading.get_ident()
    _open[:] = [(thread, block) for thread, block in _open if thread == me]


@contextlib.contextmanager
def passed() -> Iterator[None]:
    """Let draws inside go to PyTorch."""
    before = passing()
    _here.passing = True
    try:
        yield
    finally:
        _here.passing = before


def passing() -> bool:
    """Return whether draws of this thread go to PyTorch."""
    return getattr(_here, "passing", False)


def _wrap() -> None:
    global _library
    _library = torch.library.Library("aten", "IMPL")
    for op in _wrapped():
        _library.impl(op, _kernel(op), _LEVEL, with_keyset=True)
    BaseProcess.start = _start_with_block  # type: ignore[method-assign, assignment]


def _unwrap() -> None:
    global _library
    if _library is not None:
        _library._destroy()
        _library = None
    BaseProcess.start = _start  # type: ignore[method-assign]


@cache
def _wrapped() -> list[Any]:
    """Return the random operations with kernels of their own, in which all the others end."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    found = []
    for packet in (*SERVED, *REFUSED):
        for overload in packet.overloads():
            op = getattr(packet, overload)
            name = op.name()
            random = torch.Tag.nondeterministic_seeded in op.tags
            if random and (has(name, "CPU") or has(name, "CUDA")) and not has(name, _LEVEL):
                found.append(op)
    return found


def _kernel(op: Any) -> Callable[..., Any]:
    below = torch._C._dispatch_keyset_full_after(getattr(torch._C.DispatchKey, _LEVEL))

    def kernel(keys: Any, *args: Any, **options: Any) -> Any:
        def plain(*args: Any, **options: Any) -> Any:
            return op.redispatch(keys & below, *args, **options)

        if not _open or passing():
            return plain(*args, **options)
        return _open[-1][1]._answer(op, args, options, plain)

    return kernel


# Processes


class _Block:
    """A block on its way into a process that multiprocessing starts; it opens when it is unpickled."""

    def __init__(self, block: Block) -> None:
        self._block = block

    def __reduce__(self) -> Any:
        state = self._block.__getstate__() | {"source": None}
        return _opened_there, (type(self._block), state, *parts_for_process(self._block.source))


def _opened_there(kind: type[Any], state: dict[str, Any], *parts: Any) -> _Block:
    block = object.__new__(kind)
    block.__setstate__(state | {"source": rebuilt(*parts)})
    block._arrived(block.source._path)
    block.__enter__()  # until the process ends
    return _Block(block)


def _start_with_block(process: BaseProcess) -> None:
    mine = [block for thread, block in _open if thread == threading.get_ident()] or [b for _, b in _open]
    if mine:
        process._voltaspin = _Block(mine[-1])  # type: ignore[attr-defined]
    try:
        _start(process)
    finally:
        if mine:
            del process._voltaspin  # type: ignore[attr-defined]
