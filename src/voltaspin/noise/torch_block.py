"""The needs of a drive_torch block beside its draws: reach, places in generators, and counts of several processes.

*Reach.* A mode of PyTorch acts in one thread. So while a block is open, the kernels of random operations are wrapped at
a level of the dispatcher that every thread passes, and processes that ``multiprocessing`` starts are given the block.

*Places.* A generator that is newly seeded names a stream at step 0. After a draw that a source served, four words of
that newly seeded state are replaced by the place, so that a state that is saved, restored, copied or forked
(``get_state``, ``set_state``, ``torch.random.fork_rng``, activation checkpointing) takes the place with it. Any other
state belongs to a generator that has drawn from PyTorch's own numbers.

*Counts.* Every process writes its own counts into a small file of a temporary folder at each draw, so nothing is lost
when a worker is killed. The first process reads them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import ACTIONS, Ledger
from voltaspin.noise.processes import parts_for_process, rebuilt
from voltaspin.noise.torch_draws import REFUSED, SERVED

# Reach

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


# Places

Kind = Literal["stream", "sequence"]

#: The state of a CPU generator: 24 bytes of seed and counters, then 624 words of the Mersenne Twister, 8 bytes each.
_WORDS, _AT = slice(24, 24 + 8 * 624), slice(616, 621)
_MARKS: dict[Kind, int] = {"stream": 0x564F4C54, "sequence": 0x5350494E}

#: On another device the state is (seed, offset); offsets of that size are reached by no draws.
_FAR, _STEP_BITS, _TAG_BITS = 0x5A << 53, 34, 16


_last_put: tuple[bytes, Place] | None = None


@dataclass(frozen=True)
class Place:
    """A place among the numbers of a source.

    Args:
        seed: of the generator; of a stream, its name.
        number: of the next draw: the step of a stream, or the number of a position of a sequence.
        kind: a stream of any source, or the sequence of one block.
        tag: of the process that drew from a stream (0: the first of its tree), or of the block that serves a sequence.
    """

    seed: int
    number: int = 0
    kind: Kind = "stream"
    tag: int = 0


def tag_of(*parts: object) -> int:
    """Return 64 bits that stand for some values; 0 for none."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little") if parts else 0


def place_in(generator: torch.Generator) -> Place | None:
    """Return the place that the state of a generator names; None for one that has drawn elsewhere."""
    seed, state = generator.initial_seed(), generator.get_state().numpy()
    if _last_put is not None and state.tobytes() == _last_put[0]:
        return _last_put[1]  # almost always: nobody has touched it since; saves a third of the time of a small draw
    if state.size == 16:
        return _far_place(seed, int(state.view(np.uint64)[1]))
    fresh = _fresh(seed, str(generator.device))
    if state.tobytes() == fresh:
        return Place(seed)
    if state.size < _WORDS.stop:
        return None
    mark, low, high, tag_low, tag_high = (int(w) for w in state[_WORDS].view(np.uint64)[_AT])
    for kind, own in _MARKS.items():
        if mark == own:
            place = Place(seed, low | high << 32, kind, tag_low | tag_high << 32)
            return place if state.tobytes() == _state_at(place, fresh).tobytes() else None
    return None


def put(generator: torch.Generator, place: Place) -> None:
    """Write a place into a generator; its seed stays.

    Raises:
        InputError: a device whose generators cannot carry one.
    """
    global _last_put
    fresh = _fresh(place.seed, str(generator.device))
    if len(fresh) == 16:
        state = np.frombuffer(fresh, np.uint8).copy()
        tag = place.tag & ((1 << _TAG_BITS) - 1)
        state.view(np.uint64)[1] = _FAR | tag << _STEP_BITS + 2 | (place.number + 1) << 2
    elif len(fresh) >= _WORDS.stop:
        state = _state_at(place, fresh)
    else:
        raise InputError(
            f"a torch.Generator on {generator.device} cannot be driven; give one on the CPU, or none, as in PyTorch"
        )
    generator.set_state(torch.from_numpy(state))
    _last_put = (state.tobytes(), place)


def _state_at(place: Place, fresh: bytes) -> NDArray[np.uint8]:
    state = np.frombuffer(fresh, np.uint8).copy()
    half = 0xFFFFFFFF
    state[_WORDS].view(np.uint64)[_AT] = (
        _MARKS[place.kind], place.number & half, place.number >> 32, place.tag & half, place.tag >> 32,
    )  # fmt: skip
    return state


def _far_place(seed: int, offset: int) -> Place | None:
    if offset == 0:
        return Place(seed)
    if offset >> 53 != _FAR >> 53 or offset & 3:
        return None
    inner = (offset & ((1 << 53) - 1)) >> 2
    return Place(seed, (inner & ((1 << _STEP_BITS) - 1)) - 1, "stream", inner >> _STEP_BITS)


@lru_cache(maxsize=1024)
def _fresh(seed: int, device: str) -> bytes:
    """Return the state of a generator that is newly seeded."""
    return torch.Generator(device=device).manual_seed(seed).get_state().numpy().tobytes()


# Counts


_HEAD = 3  # draws, numbers and nanoseconds stand in front of the counts of the ledger


class Tally:
    """Draws, numbers and nanoseconds of a block, here and in the processes that were started inside it.

    Args:
        ledger: of the source; what other processes count is added to it when this process reads.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._own = np.zeros(_HEAD, np.int64)
        self._folder: Path | None = None
        self._names: list[str] = []
        self._merged: dict[str, NDArray[np.int64]] = {}
        self._page: NDArray[np.int64] | None = None  # of a process that reports to another
        self._reports = False
        self._base: NDArray[np.int64] | None = None

    def add(self, numbers: int, seconds: float) -> None:
        """Count one draw."""
        self._own += (1, numbers, round(seconds * 1e9))
        if self._reports:
            self._report()

    def read(self) -> list[int]:
        """Return all draws, numbers and nanoseconds so far; add the new counts of other processes to the ledger."""
        if self._folder is None or self._reports:
            return self._own.tolist()
        for file in sorted(self._folder.glob("*.counts")):
            with contextlib.suppress(OSError):
                page = np.fromfile(file, np.int64)
                if page.size == _HEAD + len(self._names) * len(ACTIONS):
                    before = self._merged.get(file.name, np.zeros_like(page))
                    _add(self._ledger, self._names, (page - before)[_HEAD:])
                    self._merged[file.name] = page
        return np.sum([self._own, *(page[:_HEAD] for page in self._merged.values())], axis=0).tolist()

    @property
    def processes(self) -> int:
        """Other processes that have drawn."""
        self.read()
        return len(self._merged)

    def share(self) -> None:
        """Make the folder that other processes report in."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="voltaspin-counts-"))
            self._names = [path for path, _ in self._ledger.walk()]
            weakref.finalize(self, _remove, self._folder, os.getpid())

    def leave(self, ledger: Ledger) -> None:
        """Called in another process, whose source counts into ``ledger``: report from now on, from 0."""
        self._own[:], self._ledger, self._page = 0, ledger, None
        self._reports = self._folder is not None
        self._merged = {}
        self._base = _counts(ledger, self._names)

    def _report(self) -> None:
        assert self._folder is not None
        assert self._base is not None
        if self._page is None:
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".counts")
            os.close(handle)
            size = _HEAD + self._base.size
            self._page = np.memmap(name, np.int64, "w+", shape=(size,))
        self._page[_HEAD:] = _counts(self._ledger, self._names) - self._base
        self._page[:_HEAD] = self._own

    def __getstate__(self) -> dict[str, Any]:
        return {"ledger": self._ledger, "folder": self._folder, "names": self._names}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        Tally.__init__(self, state["ledger"])
        self._folder, self._names = state["folder"], state["names"]


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _counts(ledger: Ledger, names: list[str]) -> NDArray[np.int64]:
    """The counts of each node in the order of ``names``; those of nodes that came later stand with the first."""
    out = np.zeros((len(names), len(ACTIONS)), np.int64)
    at = {name: i for i, name in enumerate(names)}
    for name, counts in ledger.walk():
        if names:
            out[at.get(name, 0)] += [counts[action] for action in ACTIONS]
    return out.reshape(-1)


def _add(ledger: Ledger, names: list[str], counts: NDArray[np.int64]) -> None:
    nodes = dict(ledger.walk())
    for name, row in zip(names, counts.reshape(len(names), -1), strict=True):
        nodes[name].update({action: int(n) for action, n in zip(ACTIONS, row, strict=True) if n > 0})
