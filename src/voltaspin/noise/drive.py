"""PyTorch's normal and uniform draws from a source, for code that knows nothing of sources.

PyTorch offers no hook for a generator of one's own, so the draws are caught on their way to the kernels. What is
caught is what a diffusion pipeline draws: normal and uniform numbers. Every other random operation goes on to
PyTorch's own generator and is counted by name, so that nothing random passes unseen.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from math import log2
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.noise.source import SEQUENCE, AddressableSource, NoiseSource
from voltaspin.streams import derive_key

_aten = torch.ops.aten
_NORMAL = {_aten.randn, _aten.randn_like, _aten.normal_, _aten.normal}
_UNIFORM = {_aten.rand, _aten.rand_like, _aten.uniform_}
_LIKE = {_aten.randn_like, _aten.rand_like}
_IN_PLACE = {_aten.normal_, _aten.uniform_}

#: Arguments that switch the chance of an operation off where they are 0 or False.
_SWITCHES = {"p", "dropout", "dropout_p", "train", "training"}

_REMEMBERED = 1 << 14  # generators whose place is known; each keeps 5 kB alive


@final
class DrivenTorch(TorchDispatchMode):
    """Context in which PyTorch's normal and uniform draws come from a source.

    Served are ``randn``, ``randn_like``, ``normal``, ``normal_``, ``rand``, ``rand_like`` and ``uniform_``, and what
    PyTorch builds on them (``torch.nn.init``), with the type, device, layout and strides that were asked for.
    Everything else that is random (``randint``, ``randperm``, ``bernoulli``, dropout, ``exponential_`` and so on) draws
    from PyTorch's own generator as ever and is counted in ``passed``.

    *Without a generator* a draw takes what comes next in the sequence of the source. *With a*
    ``torch.Generator``, an addressable source serves stream ``generator.initial_seed()``, at step 0 when the
    generator is newly seeded and one step further with every draw that any such block serves. So the list of generators
    that diffusers takes, one per image, gives each image the numbers ``source.normal((1, ...), streams=[seed],
    step=step)`` in any batch. As in PyTorch, the generator moves on with each draw, and ``manual_seed`` takes it
    back to step 0; ``set_state`` does not lead to an earlier step. A sequential source cannot be addressed:
    generator or not, it hands out what comes next.

    A float64 or complex128 normal has the precision of the source's float32. Uniform numbers k / 2**d have the d
    digits of their type (8, 11, 24, 53 for bfloat16, float16, float32, float64), each the first d of its own 1, 2, 3
    or 7 bytes of ``source.bits``, so 1 does not occur. With a generator these bytes come from the sequence of a source
    that the seed, the stream and the step derive. The numbers fill a tensor in the order of its indices, whatever its
    strides.

    Blocks may be nested: the innermost serves, and counts. The effect ends with the block and holds in the thread
    that entered it only, as with every mode of PyTorch. What the source raises arrives unchanged, and then
    no generator has moved.

    Attributes:
        served: draws served (calls, not numbers).
        numbers: numbers served.
        streams: draws served of each stream.
        seconds: wall time of the source.
        passed: draws left to PyTorch's own generator, by the name of the operation.

    Raises:
        InputError: (by a draw) a generator that has drawn elsewhere before its first draw here, or whose seed
            names no stream.

    >>> from voltaspin.noise import PseudoSource
    >>> with PseudoSource(seed=1).drive_torch() as driven:
    ...     _ = torch.randn(2, 3)
    >>> driven.served, driven.numbers
    (1, 6)
    """

    def __init__(self, source: NoiseSource) -> None:
        super().__init__()
        self.source = source
        self.served = 0
        self.numbers = 0
        self.streams: Counter[int] = Counter()
        self.passed: Counter[str] = Counter()
        self.seconds = 0.0

    def __str__(self) -> str:
        streams = f", {len(self.streams)} streams" if self.streams else ""
        lines = [f"{self.served:,} draws, {self.numbers:,} numbers{streams} from {self.source.provenance}"]
        if self.passed:
            names = ", ".join(f"{name} ({n:,})" for name, n in sorted(self.passed.items()))
            lines.append(f"not served, drawn by PyTorch's own generator: {names}")
        return "\n".join(lines)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if not _is_random(func) or _advancing():
            return func(*args, **options)
        packet = func.overloadpacket
        if packet in _NORMAL or packet in _UNIFORM:
            generator = options.pop("generator", None)
            out = _target(packet, args, options)
            if out is not None:
                self._fill(packet, out, args, generator)
                return out
            # PyTorch refuses (an integer type, a negative deviation) or draws nothing (a meta tensor)
            return func(*args, **dict(kwargs or {}))
        if not _switched_off(func, args, options):
            self.passed[packet.__name__] += 1
            if options.get("generator") is not None:
                _meet(options["generator"])
        return func(*args, **options)

    def _fill(self, packet: Any, out: torch.Tensor, args: tuple[Any, ...], generator: torch.Generator | None) -> None:
        parts = torch.view_as_real(out) if out.is_complex() else out
        if not parts.numel():
            return
        place = _place(generator) if generator is not None and self.source.addressable else None
        begin = time.monotonic()
        if packet in _NORMAL:
            z = torch.from_numpy(self._normals(tuple(parts.shape), place))
            self.seconds += time.monotonic() - begin
            z = z.to(out.device, torch.promote_types(parts.dtype, torch.float32))
            if out.is_complex():
                z = torch.view_as_complex(z.mul_(0.5**0.5))  # so that |z|**2 has mean 1
            mean, std = _mean_and_deviation(packet, args)
            out.copy_(z.mul_(std).add_(mean))
        else:
            low, high = (_at(args, 1, 0.0), _at(args, 2, 1.0)) if packet is _aten.uniform_ else (0.0, 1.0)
            digits = 1 - int(log2(torch.finfo(parts.dtype).eps))
            u = _uniforms(self._bits(place), parts.numel(), digits).reshape(parts.shape)
            self.seconds += time.monotonic() - begin
            parts.copy_(torch.from_numpy(low + u * (high - low)))
            if (low, high) != (0.0, 1.0):
                parts.masked_fill_(parts >= high, low)  # the type may round up to the end that does not belong
        self.served += 1
        self.numbers += parts.numel()
        if place is not None and generator is not None:
            self.streams[place.seed] += 1
            place.step += 1
            _advance(generator)

    def _normals(self, shape: tuple[int, ...], place: _Place | None) -> NDArray[np.float32]:
        if place is None:
            return self.source.normal(shape)
        return self.source.normal((1, *shape), streams=[place.seed], step=place.step)[0]

    def _bits(self, place: _Place | None) -> Callable[[int], NDArray[np.uint8]]:
        if place is None:
            return self.source.bits
        if not isinstance(self.source, AddressableSource):
            raise InputError(
                f"{self.source.name} has no uniform numbers of a stream; draw them without a generator, or use "
                "MemorySource or PseudoSource"
            )
        key = derive_key(self.source.seed, "uniform", place.seed, place.step)
        own, ledger = self.source._with_seed(key), self.source.ledger

        def bits(n: int) -> NDArray[np.uint8]:
            packed = own.bits(n)
            _add_counts(ledger, own.ledger)
            return packed

        return bits


@cache
def _is_random(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _switched_off(func: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    """Whether an operation that can be random is not, as attention without dropout."""
    for i, argument in enumerate(func._schema.arguments):
        if argument.name in _SWITCHES:
            given = args[i] if i < len(args) else options.get(argument.name, argument.default_value)
            if given is not None and not isinstance(given, torch.Tensor) and not given:
                return True
    return False


def _target(packet: Any, args: tuple[Any, ...], options: dict[str, Any]) -> torch.Tensor | None:
    """The tensor to fill; None where PyTorch would refuse, or has nothing to draw."""
    out: torch.Tensor
    if packet in _IN_PLACE:
        out = args[0]
    elif packet in _LIKE:
        out = options.pop("out", None)
        out = torch.empty_like(args[0], **options) if out is None else out.resize_(args[0].shape)
    else:
        size, like = (args[0], None) if packet is not _aten.normal else _broadcast(args)
        if "out" in options:
            out = options.pop("out").resize_(size)
        elif like is None:
            out = torch.empty(size, **options)
        else:
            out = torch.empty(size, dtype=like.dtype, device=like.device)
    if out.is_meta or not (out.is_floating_point() or out.is_complex()):
        return None
    if packet in _NORMAL:
        std = _mean_and_deviation(packet, args)[1]
        if isinstance(std, torch.Tensor):
            refused = std.is_complex() or (std.numel() > 0 and bool(std.min() < 0))
        else:
            refused = not std >= 0
    else:
        refused = packet is _aten.uniform_ and (out.is_complex() or not _at(args, 1, 0.0) <= _at(args, 2, 1.0))
    return None if refused else out


def _broadcast(args: tuple[Any, ...]) -> tuple[Any, torch.Tensor | None]:
    """Size of ``normal(mean, std)`` or ``normal(mean, std, size)``, and the tensor that it takes its type from."""
    tensors = [a for a in args[:2] if isinstance(a, torch.Tensor)]
    if not tensors:
        return args[2], None
    return torch.broadcast_shapes(*(t.shape for t in tensors)), tensors[0]


def _at(args: tuple[Any, ...], i: int, default: float) -> Any:
    return args[i] if i < len(args) else default


def _mean_and_deviation(packet: Any, args: tuple[Any, ...]) -> tuple[Any, Any]:
    if packet is _aten.normal:
        return args[0], _at(args, 1, 1.0)
    return (_at(args, 1, 0.0), _at(args, 2, 1.0)) if packet is _aten.normal_ else (0.0, 1.0)


def _uniforms(bits: Callable[[int], NDArray[np.uint8]], n: int, digits: int) -> NDArray[np.float64]:
    """``n`` numbers k / 2**digits from whole bytes: float64 (n,)."""
    size = -(-digits // 8)
    columns = bits(8 * size * n).reshape(n, size).T
    whole = columns[0].astype(np.uint64)
    for column in columns[1:]:
        whole = whole << 8 | column
    return (whole >> (8 * size - digits)) * 2.0**-digits


def _add_counts(ledger: Ledger, other: Ledger) -> None:
    """Add what a source of its own has counted, but not what both count into the same array."""
    ledger.counts.update(other.counts)
    for name, child in other.children.items():
        if ledger.children.get(name) is not child:
            ledger.child(name).merge(child)


class _Place:
    """The stream of a generator and its next step."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.step = 0


# PyTorch hands a mode another Python object than the user's, but the same one as long as somebody keeps it.
_places: OrderedDict[torch.Generator, _Place] = OrderedDict()
_places_lock = threading.Lock()
_here = threading.local()


def _meet(generator: torch.Generator) -> _Place | None:
    """The place of a generator; None for one that has drawn where we could not see it."""
    seed = generator.initial_seed()
    new = type(generator)(device=generator.device).manual_seed(seed)
    is_new = bytes(generator.get_state().numpy()) == bytes(new.get_state().numpy())
    with _places_lock:
        place = _Place(seed) if is_new else _places.get(generator)
        if place is None or place.seed != seed:
            return None
        _places[generator] = place
        _places.move_to_end(generator)
        if len(_places) > _REMEMBERED:
            _places.popitem(last=False)
    return place


def _place(generator: torch.Generator) -> _Place:
    place = _meet(generator)
    seed = generator.initial_seed()
    if place is None:
        raise InputError(
            f"the generator of seed {seed} has drawn outside of drive_torch, so its step is unknown; seed it anew "
            f"(generator.manual_seed({seed})) or give a new torch.Generator"
        )
    if not 0 <= seed < SEQUENCE:
        raise InputError(f"a generator of seed {seed} names no stream; seed it with 0 to 2**63 - 1")
    return place


def _advancing() -> bool:
    return getattr(_here, "advancing", False)


def _advance(generator: torch.Generator) -> None:
    """Let the generator itself draw once, so that seeding it again can be told from going on."""
    _here.advancing = True
    try:
        torch.empty(1, device=generator.device).uniform_(generator=generator)
    finally:
        _here.advancing = False
