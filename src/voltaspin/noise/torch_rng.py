"""PyTorch's random numbers from a source, for code that does not know sources.

PyTorch offers no hook for a generator of one's own, so the draws are caught on their way to the kernels, in every
thread while a block is open (:mod:`voltaspin.noise.torch_block`) and in the processes that are started there. What a
source cannot serve is refused.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.noise import torch_block
from voltaspin.noise.base import SEQUENCE, BitSource
from voltaspin.noise.processes import Travels
from voltaspin.noise.torch_block import Place, Tally, place_in, put, tag_of
from voltaspin.noise.torch_draws import (
    SERVED,
    STILL,
    LeftToTorch,
    Numbers,
    UnservedDrawError,
    bound,
    seeds_a_compiled_function,
    switched_off,
)
from voltaspin.random.streams import derive_key

_REMEMBERED = 1 << 14  # generators whose place is known; each keeps 5 kB alive
_MARKS, _MARK_BYTES = 1 << 16, 1 << 28  # positions of the sequence that a block can go back to

_serving = threading.RLock()  # one draw at a time, whatever the thread
#: The last places of generators, for those that draw elsewhere between two blocks and then go on. PyTorch hands a mode
#: another Python object than the user's, but the same one as long as somebody keeps it.
_remembered: OrderedDict[torch.Generator, Place] = OrderedDict()


@final
class DrivenTorch(Travels, TorchDispatchMode):
    """Context in which PyTorch's random numbers come from a source.

    Served are the normal and uniform draws, ``randint``, ``random_``, ``randperm``, ``bernoulli``, ``exponential_``,
    ``geometric_``, ``log_normal_``, ``cauchy_``, ``multinomial``, the randomised leaky ReLU, dropout, and what PyTorch
    builds on them (``torch.nn.init``, most of ``torch.distributions``, attention with dropout on the CPU, DataLoader),
    with the type, device, layout and strides that were asked for. Every other random operation raises InputError;
    those named in ``allow`` draw from PyTorch's own generator as ever and are counted in ``passed``.

    *Without a generator* a draw takes what comes next in the sequence of the source. *With a*
    ``torch.Generator``, an addressable source serves stream ``generator.initial_seed()``, at step 0 when the
    generator is newly seeded and one step further with every draw that any such block serves. So the list of generators
    that diffusers takes, one per image, gives each image the numbers ``source.normal((1, ...), streams=[seed],
    step=step)`` in any batch. A sequential source cannot be addressed: generator or not, it hands out what comes next.

    *Seeds and states.* The place among the source's numbers is kept in the generator's own state. So ``manual_seed``
    takes a generator back to step 0, and ``set_state`` to the step at which the state was got. The same holds for the
    default generator inside the block: ``torch.manual_seed(s)`` leads to step 0 of stream ``s``, and
    ``torch.set_rng_state``, ``torch.random.fork_rng`` and activation checkpointing draw the same numbers again. The
    last 65,536 places can be returned to (fewer for large arrays); an older one raises, and so does every return of a
    sequential source. At its end the block leaves PyTorch's default generator as it found it, and raises if somebody
    has drawn from it unseen.

    *Threads.* Draws of other threads are served too while the block is open, one after another; in which order
    depends on the scheduling, so that only draws with a generator are reproducible. One thread at a time can have
    blocks of its own open.

    *Processes* that are started inside the block (DataLoader workers, ``multiprocessing``, ``os.fork``; by fork, spawn
    or forkserver) draw from the same source: without a generator from a sequence of their own, which depends on the
    order in which the processes were started, with one from the stream and step, which do not. What they draw is
    counted here as soon as somebody looks. A sequential source refuses to draw there. Processes started before the
    block know nothing of it.

    A float64 or complex128 normal has the precision of the source's float32. Uniform numbers k / 2**d have the d
    digits of their type (8, 11, 24, 53 for bfloat16, float16, float32, float64), each the first d of its own 1, 2, 3
    or 7 bytes of ``source.bits``, so 1 does not occur. With a generator these bytes come from the sequence of a source
    that the seed, the stream and the step derive. The numbers fill a tensor in the order of its indices, whatever its
    strides. A probability of a dropout is exact to 2**-33.

    Blocks may be nested: the innermost serves, and counts. What the source raises arrives unchanged, and then
    no generator has moved. Functions of ``torch.compile`` run uncompiled inside the block, in threads of their own
    they are refused.

    Args:
        source: of the numbers.
        allow: names of operations that are left to PyTorch's own generator, as the error names them.

    Attributes:
        streams: draws served of each stream, in this process.
        passed: draws left to PyTorch's own generator, by the name of the operation, in this process.

    Raises:
        InputError: (by a draw) an operation that is not served, a generator that has drawn elsewhere before its first
            draw here or whose seed names no stream, a return that the source cannot make; (at the end of the block)
            PyTorch's own generator was drawn from.

    >>> from voltaspin.noise import PseudoSource
    >>> with PseudoSource(seed=1).drive_torch() as driven:
    ...     _ = torch.randn(2, 3)
    >>> driven.served, driven.numbers
    (1, 6)
    """

    def __init__(self, source: BitSource, *, allow: Collection[str] = ()) -> None:
        super().__init__()
        self.source = source
        self.allow = frozenset([allow] if isinstance(allow, str) else allow)
        for name in self.allow:
            if not hasattr(torch.ops.aten, name):
                raise InputError(
                    f"allow names {name!r}, which is no operation of PyTorch; give names such as 'poisson'"
                )
        self.streams: Counter[int] = Counter()
        self.passed: Counter[str] = Counter()
        self._tally = Tally(source.ledger)
        self._open = 0
        self._own: torch.Tensor | None = None  # state that PyTorch's default generator has outside
        self._allowed: torch.Tensor | None = None  # and that of the draws that are allowed
        self._number, self._tag = 0, 0  # of the place in the sequence; of this block in this process
        self._issued = 0
        self._marks: OrderedDict[int, Any] = OrderedDict()
        self._mark_bytes = 0
        self._cards: dict[int, bytes] = {}

    @property
    def served(self) -> int:
        """Draws served (calls, not numbers), those of other processes included."""
        return self._tally.read()[0]

    @property
    def numbers(self) -> int:
        """Numbers served, those of other processes included."""
        return self._tally.read()[1]

    @property
    def seconds(self) -> float:
        """Time of the source, that of other processes included [s]."""
        return self._tally.read()[2] * 1e-9

    def __str__(self) -> str:
        streams = f", {len(self.streams)} streams" if self.streams else ""
        elsewhere = self._tally.processes
        where = f" ({elsewhere} other processes included)" if elsewhere else ""
        lines = [f"{self.served:,} draws, {self.numbers:,} numbers{streams}{where} from {self.source.provenance}"]
        if self.passed:
            names = ", ".join(f"{name} ({n:,})" for name, n in sorted(self.passed.items()))
            lines.append(f"not served, drawn by PyTorch's own generator: {names}")
        return "\n".join(lines)

    def __enter__(self) -> DrivenTorch:
        with _serving:
            torch_block.opened(self)
            if not self._open:
                self._own = torch.default_generator.get_state()
                self._allowed = None
                self._cards = _card_states()
                self._begin()
            self._open += 1
        super().__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        super().__exit__(kind, error, trace)
        with _serving:
            torch_block.closed(self)
            self._open -= 1
            if self._open:
                return
            unseen = place_in(torch.default_generator) is None or (self._cards_moved() and not self._seeded)
            assert self._own is not None
            torch.default_generator.set_state(self._own)
            self._tally.read()
        if unseen and kind is None:
            raise InputError(
                "PyTorch's own generator has moved inside of drive_torch, by a draw that did not come through "
                "PyTorch's dispatcher or by a state from outside of the block, so the numbers of that draw did not "
                "come from the source; find it, or draw outside of the block"
            )

    def _begin(self) -> None:
        """Take over PyTorch's default generator in this process."""
        self._tag = tag_of(os.getpid(), time.time_ns(), id(self))
        self._marks.clear()
        self._mark_bytes = 0
        self._issued += 1
        self._number, self._seeded = self._issued, False
        put(torch.default_generator, self._here())

    def _here(self) -> Place:
        return Place(torch.default_generator.initial_seed(), self._number, "sequence", self._tag)

    # Other processes

    def _before_leaving(self) -> tuple[int, ...]:
        if self._open:
            self._tally.share()
        return super()._before_leaving()

    def _arrived(self, path: tuple[int, ...]) -> None:
        global _serving
        super()._arrived(path)
        _serving = threading.RLock()  # another thread may have held it at the fork
        _remembered.clear()
        self._tally.leave(self.source.ledger)
        if self._open:
            torch_block.arrived()
            self._begin()

    def __getstate__(self) -> dict[str, Any]:
        self._tally.share()
        return {"source": self.source, "allow": self.allow, "tally": self._tally}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        DrivenTorch.__init__(self, state["source"], allow=state["allow"])
        self._tally = state["tally"]

    # Draws

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if not _is_random(func) or torch_block.passing():
            return func(*args, **options)
        return self._answer(func, args, options, func)

    def _answer(self, func: Any, args: tuple[Any, ...], options: dict[str, Any], plain: Callable[..., Any]) -> Any:
        """Serve a draw, or refuse it; ``plain`` is PyTorch's own operation."""
        given = bound(func, args, options)
        if func.overloadpacket in STILL or switched_off(func, given):
            with torch_block.passed():
                return plain(*args, **options)
        with _serving:
            name = func.overloadpacket.__name__
            if name in self.allow:
                return self._pass_on(name, given.get("generator"), lambda: plain(*args, **options))
            serve = SERVED.get(func.overloadpacket)
            if serve is None:
                raise UnservedDrawError(name)
            if seeds_a_compiled_function(func, given):
                raise InputError(
                    "a compiled function draws from a generator of its own, which no source serves; call it in the "
                    "thread of the block, where it runs uncompiled, or compile it with torch._inductor.config."
                    "fallback_random = True"
                )
            generator = given.pop("generator", None)
            try:
                with torch_block.passed():
                    return self._serve(serve, func, given, generator)
            except LeftToTorch:
                with torch_block.passed():
                    return plain(*args, **options)

    def _serve(self, serve: Any, func: Any, given: dict[str, Any], generator: torch.Generator | None) -> Any:
        place = self._place(generator)
        numbers = Numbers(self._normals(place), self._bits(place))
        out = serve(func, given, numbers)
        if not numbers.used:
            return out
        if place is not None and place.kind == "stream":
            self.streams[place.seed % SEQUENCE] += 1
            moved = Place(place.seed, place.number + 1, "stream", tag_of(*self.source._path))
            chosen = torch.default_generator if generator is None else generator
            put(chosen, moved)
            _remembered[chosen] = moved
            _remembered.move_to_end(chosen)
            if len(_remembered) > _REMEMBERED:
                _remembered.popitem(last=False)
        else:
            self._issued += 1
            self._number = self._issued
            put(torch.default_generator, self._here())
        self._tally.add(numbers.used, numbers.seconds)
        return out

    def _place(self, generator: torch.Generator | None) -> Place | None:
        """Return the stream and step to serve; None for the sequence, which then stands where the generator asks."""
        place = None if generator is None else self._meet(generator)
        if place is not None and place.kind == "stream":
            return place if self.source.addressable else None
        state = place_in(torch.default_generator)
        if state is None:
            raise InputError(
                "PyTorch's default generator is in a state from outside of the block, which stands for no numbers of "
                "the source; seed it anew (torch.manual_seed), or get the state inside of the block"
            )
        if self._cards_moved() and (state.kind, state.number) != ("stream", 0):
            raise InputError(
                "torch.cuda.manual_seed and torch.cuda.set_rng_state lead nowhere inside of drive_torch; use "
                "torch.manual_seed, which seeds every device"
            )
        place = state if place is None else place
        if place.kind == "stream":
            if not self.source.addressable:
                self.source._mark()  # says that it cannot go back
            self._seeded, self._cards = True, _card_states()
            return self._seen_here(place)
        if place.tag != self._tag:
            raise InputError(
                "the state of this generator belongs to another drive_torch block; get it in the block that sets it"
            )
        if place.number != self._number:
            self._keep_mark()
            if place.number not in self._marks:
                raise InputError(
                    f"a state of the default generator of more than {_MARKS:,} draws ago was restored; draw less "
                    "between the two, or use a torch.Generator, whose seed and step lead anywhere"
                )
            self.source._return_to(self._marks[place.number])
            self._number = place.number
        elif self.source.addressable:
            self._keep_mark()
        return None

    def _keep_mark(self) -> None:
        """Remember where the sequence stands at the present number."""
        if self._number in self._marks:
            return
        mark = self.source._mark()
        self._marks[self._number] = mark
        self._mark_bytes += _bytes_of(mark)
        while self._marks and (len(self._marks) > _MARKS or self._mark_bytes > _MARK_BYTES):
            self._mark_bytes -= _bytes_of(self._marks.popitem(last=False)[1])

    def _meet(self, generator: torch.Generator) -> Place:
        seed, place = generator.initial_seed(), place_in(generator)
        if place is not None and place.kind == "sequence":
            return place
        if not self.source.addressable:
            return Place(seed)
        if place is None:
            place = _remembered.get(generator)
        if place is None or place.seed != seed:
            raise InputError(
                f"the generator of seed {seed} has drawn outside of drive_torch, so its step is unknown; seed it anew "
                f"(generator.manual_seed({seed})) or give a new torch.Generator"
            )
        if not 0 <= seed < SEQUENCE:
            raise InputError(f"a generator of seed {seed} names no stream; seed it with 0 to 2**63 - 1")
        return self._seen_here(place)

    def _seen_here(self, place: Place) -> Place:
        if place.number and place.tag != tag_of(*self.source._path):
            raise InputError(
                f"the generator of seed {place.seed} has drawn in another process, where its next numbers are drawn "
                f"too; seed it in each process (for example with the number of the item: generator.manual_seed(item))"
            )
        return place

    def _cards_moved(self) -> bool:
        """Return whether the default generator of a GPU is not where it was; what is served leaves it there."""
        now = _card_states()
        moved = any(now[i] != state for i, state in self._cards.items() if i in now)
        self._cards = {**now, **self._cards}  # those that came into use since
        return moved

    def _normals(self, place: Place | None) -> Callable[[tuple[int, ...]], NDArray[np.float32]]:
        if place is None:
            return self.source.normal
        stream = place.seed % SEQUENCE  # torch.seed() gives any 64 bits
        return lambda shape: self.source.normal((1, *shape), streams=[stream], step=place.number)[0]

    def _bits(self, place: Place | None) -> Callable[[int], NDArray[np.uint8]]:
        if place is None:
            return self.source.bits
        made: list[BitSource] = []

        def bits(n: int) -> NDArray[np.uint8]:
            if not self.source.addressable:
                raise InputError(
                    f"{self.source.name} has no uniform numbers of a stream; draw them without a generator, or use "
                    "MemorySource or PseudoSource"
                )
            if not made:
                source: Any = self.source  # every addressable source has a seed, and can be had with another
                made.append(source._with_seed(derive_key(source.seed, "uniform", place.seed % SEQUENCE, place.number)))
            packed = made[0].bits(n)
            _add_counts(self.source.ledger, made[0].ledger)
            made[0].ledger.counts.clear()
            return packed

        return bits

    def _pass_on(self, name: str, generator: torch.Generator | None, draw: Callable[[], Any]) -> Any:
        """Let PyTorch's own generator draw, from a state that the source's numbers do not touch."""
        self.passed[name] += 1
        if generator is not None:  # whose next draw here then has to be seeded
            with torch_block.passed():
                return draw()
        ours, seed = torch.default_generator.get_state(), torch.default_generator.initial_seed()
        if place_in(torch.default_generator) == Place(seed):  # newly seeded: so are the draws that are allowed
            self._allowed = ours
            put(torch.default_generator, Place(seed, 0, "stream", tag_of(*self.source._path)))
            ours = torch.default_generator.get_state()
        theirs = self._own if self._allowed is None else self._allowed
        assert theirs is not None
        torch.default_generator.set_state(theirs)
        try:
            with torch_block.passed():
                return draw()
        finally:
            self._allowed = torch.default_generator.get_state()
            torch.default_generator.set_state(ours)
            self._cards = _card_states()


@cache
def _is_random(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _card_states() -> dict[int, bytes]:
    """Return the states of the default generators of the GPUs in use."""
    if not torch.cuda.is_initialized():
        return {}
    return {i: g.get_state().numpy().tobytes() for i, g in enumerate(torch.cuda.default_generators)}


def _bytes_of(mark: Any) -> int:
    """Return about the memory that a position keeps; shared arrays are counted each time."""
    if isinstance(mark, tuple):
        return sum(map(_bytes_of, mark))
    return mark.nbytes if isinstance(mark, np.ndarray) else 32


def _add_counts(ledger: Ledger, other: Ledger) -> None:
    """Add what a source of its own has counted, but not what both count into the same array."""
    ledger.counts.update(other.counts)
    for name, child in other.children.items():
        if ledger.children.get(name) is not child:
            ledger.child(name).merge(child)
