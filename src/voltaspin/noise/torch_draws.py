"""Each random operation of PyTorch, made of the normals and the bits of a source.

``SERVED`` holds one function per operation. It takes the operation's arguments by name and a :class:`Numbers`, and
returns what the operation returns. It raises :class:`LeftToTorch` where PyTorch refuses the arguments or draws nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from math import log2, prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.errors import InputError

_aten = torch.ops.aten


class LeftToTorch(Exception):  # no error: PyTorch has its own words for what it refuses
    """The operation draws nothing, or PyTorch refuses it."""


class Numbers:
    """The numbers of one operation.

    Args:
        normals: gives float32 of a shape.
        bits: gives the next n bits, packed.
    """

    def __init__(
        self, normals: Callable[[tuple[int, ...]], NDArray[np.float32]], bits: Callable[[int], NDArray[np.uint8]]
    ) -> None:
        self._normals = normals
        self._bits = bits
        self.used = 0  #: numbers that the operation asked for
        self.seconds = 0.0  #: time of the source

    def _timed(self, draw: Callable[[Any], NDArray[Any]], size: Any) -> NDArray[Any]:
        begin = time.monotonic()
        try:
            return draw(size)
        finally:
            self.seconds += time.monotonic() - begin

    def normals(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return self._timed(self._normals, shape)

    def uniforms(self, n: int, digits: int = 53) -> NDArray[np.float64]:
        """Return ``n`` numbers k / 2**digits from whole bytes: float64 (n,)."""
        size = -(-digits // 8)
        return np.asarray((self._whole(n, size) >> np.uint64(8 * size - digits)) * 2.0**-digits, np.float64)

    def integers(self, n: int, span: int) -> NDArray[np.uint64]:
        """Return ``n`` equally likely integers from 0 to ``span - 1``: uint64 (n,). Larger ones are drawn again."""
        width = max(1, (span - 1).bit_length())
        size = -(-width // 8)
        out = self._whole(n, size) >> np.uint64(8 * size - width)
        while (again := np.flatnonzero(out > np.uint64(span - 1))).size:
            out[again] = self._whole(again.size, size) >> np.uint64(8 * size - width)
        return out

    def exponentials(self, n: int) -> NDArray[np.float64]:
        """Return ``n`` numbers of mean 1, none of them 0: float64 (n,)."""
        return -np.log(self.open_uniforms(n))

    def open_uniforms(self, n: int) -> NDArray[np.float64]:
        """Return ``n`` numbers strictly between 0 and 1: float64 (n,)."""
        return self.uniforms(n, 52) + 2.0**-53

    def chances(self, shape: tuple[int, ...], p: Any) -> NDArray[np.bool_]:
        """True with probability ``p`` (a number or an array of that shape), exact to 2**-33, near 0 and 1 to 2**-53."""
        coarse = isinstance(p, float) and 2.0**-12 <= p <= 1 - 2.0**-12
        return self.uniforms(prod(shape), 32 if coarse else 53).reshape(shape) < p

    def _whole(self, n: int, size: int) -> NDArray[np.uint64]:
        columns = self._timed(self._bits, 8 * size * n).reshape(n, size).T
        whole = columns[0].astype(np.uint64)
        for column in columns[1:]:
            whole = whole << np.uint64(8) | column
        return whole


Drawn = Callable[[Any, dict[str, Any], Numbers], Any]


def _normal(func: Any, given: dict[str, Any], numbers: Numbers) -> torch.Tensor:
    packet = func.overloadpacket
    in_words = packet in (_aten.normal, _aten.normal_)
    mean, std = (given["mean"], given["std"]) if in_words else (0.0, 1.0)
    if isinstance(std, torch.Tensor):
        refused = std.is_complex() or (not std.is_meta and std.numel() > 0 and bool(std.min() < 0))
    else:
        refused = not std >= 0
    if refused:
        raise LeftToTorch
    out = _target(packet, given)
    parts = torch.view_as_real(out) if out.is_complex() else out
    if not parts.numel():
        return out
    z = torch.from_numpy(numbers.normals(tuple(parts.shape)))
    numbers.used += parts.numel()
    z = z.to(out.device, torch.promote_types(parts.dtype, torch.float32))
    if out.is_complex():
        z = torch.view_as_complex(z.mul_(0.5**0.5))  # so that |z|**2 has mean 1
    out.copy_(z.mul_(std).add_(mean))
    return out


def _uniform(func: Any, given: dict[str, Any], numbers: Numbers) -> torch.Tensor:
    packet = func.overloadpacket
    low, high = given.get("from", 0.0), given.get("to", 1.0)
    if not low <= high:
        raise LeftToTorch
    out = _target(packet, given)
    if packet is _aten.uniform_ and out.is_complex():
        raise LeftToTorch
    parts = torch.view_as_real(out) if out.is_complex() else out
    if not parts.numel():
        return out
    digits = 1 - int(log2(torch.finfo(parts.dtype).eps))
    u = numbers.uniforms(parts.numel(), digits).reshape(tuple(parts.shape))
    numbers.used += parts.numel()
    parts.copy_(torch.from_numpy(low + u * (high - low)))
    if (low, high) != (0.0, 1.0):
        parts.masked_fill_(parts >= high, low)  # the type may round up to the end that does not belong
    return out


def _target(packet: Any, given: dict[str, Any]) -> torch.Tensor:
    """Return the tensor to fill with normal or uniform numbers."""
    out: torch.Tensor
    options = {k: v for k, v in given.items() if k in ("dtype", "layout", "device", "pin_memory")}
    if packet in (_aten.normal_, _aten.uniform_):
        out = given["self"]
    elif packet in (_aten.randn_like, _aten.rand_like):
        like = given["self"]
        if given.get("out") is not None:
            out = given["out"].resize_(like.shape)
        else:
            out = torch.empty_like(like, **options, memory_format=given.get("memory_format"))
    else:
        size, like = (given["size"], None) if packet is not _aten.normal else _broadcast(given)
        if given.get("out") is not None:
            out = given["out"].resize_(size)
        elif like is None:
            out = torch.empty(size, **options)
        else:
            out = torch.empty(size, dtype=like.dtype, device=like.device)
    if out.is_meta or not (out.is_floating_point() or out.is_complex()):
        raise LeftToTorch
    return out


def _broadcast(given: dict[str, Any]) -> tuple[Any, torch.Tensor | None]:
    """Return the size of ``normal(mean, std)`` or ``normal(mean, std, size)``, and the tensor that gives its type."""
    tensors = [a for a in (given["mean"], given.get("std")) if isinstance(a, torch.Tensor)]
    if not tensors:
        return given["size"], None
    return torch.broadcast_shapes(*(t.shape for t in tensors)), tensors[0]


def _filled(values: Callable[[dict[str, Any], Numbers, tuple[int, ...], torch.Tensor], Any]) -> Drawn:
    """Serve an operation whose result ``values`` computes in float64 or integers.

    PyTorch itself checks the arguments and makes the result, with numbers that are thrown away.
    """

    def drawn(func: Any, given: dict[str, Any], numbers: Numbers) -> torch.Tensor:
        in_place = func._schema.name.endswith("_")
        target = given["self"] if in_place else given.get("out")
        tried = dict(given)
        if any(argument.name == "generator" for argument in func._schema.arguments):
            tried["generator"] = None
        if target is not None:
            if target.is_meta or (in_place and target.requires_grad and target.is_leaf and torch.is_grad_enabled()):
                raise LeftToTorch
            name = "self" if in_place else "out"
            tried[name] = torch.empty_like(target) if in_place else torch.empty(0, dtype=target.dtype).to(target.device)
        asked = next((v.device for v in given.values() if isinstance(v, torch.Tensor)), given.get("device"))
        device = torch.device("cpu" if asked is None else asked)
        if device.type == "meta":
            raise LeftToTorch
        with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
            made: torch.Tensor = func(**tried)
        if made.is_meta:
            raise LeftToTorch
        if made.numel():
            found = torch.as_tensor(values(given, numbers, tuple(made.shape), made))
            numbers.used += made.numel()
            made.copy_(found.reshape(made.shape))
        if target is None:
            return made
        if in_place:
            return target.copy_(made)
        return target.resize_(made.shape).copy_(made)

    return drawn


def _integers(given: dict[str, Any], numbers: Numbers, shape: tuple[int, ...], made: torch.Tensor) -> Any:
    if (low := given.get("low", given.get("from"))) is None:
        low = 0
    high = given.get("high", given.get("to"))
    if isinstance(high, torch.Tensor):
        high = int(high)
    if high is None:
        # the non-negative integers of the type, and of a floating one those below which it holds every integer
        kind = made.dtype
        digits = 1 - int(log2(torch.finfo(kind).eps)) if kind.is_floating_point else None
        high = 2**digits + 1 if digits is not None else 2 if kind == torch.bool else torch.iinfo(kind).max + 1
    drawn = numbers.integers(prod(shape), int(high) - int(low))
    return torch.from_numpy((drawn + np.uint64(int(low) % 2**64)).view(np.int64))


def _permutation(_: dict[str, Any], numbers: Numbers, shape: tuple[int, ...], __: torch.Tensor) -> Any:
    # the order of random words; two of n are equal with a probability below n**2 / 2**65
    return torch.from_numpy(np.argsort(numbers.integers(shape[0], 2**64), kind="stable"))


def _bernoulli(given: dict[str, Any], numbers: Numbers, shape: tuple[int, ...], _: torch.Tensor) -> Any:
    p = given.get("p")
    p = given["self"] if p is None else p
    if isinstance(p, torch.Tensor):
        p = p.detach().double().cpu().expand(shape).numpy()
    return torch.from_numpy(numbers.chances(shape, p))


def _exponential(given: dict[str, Any], numbers: Numbers, shape: tuple[int, ...], _: torch.Tensor) -> Any:
    return torch.from_numpy(numbers.exponentials(prod(shape)) / given["lambd"])


def _log_normal(given: dict[str, Any], numbers: Numbers, shape: tuple[int, ...], _: torch.Tensor) -> Any:
    z = numbers.normals(shape).astype(np.float64)
    return torch.from_numpy(np.exp(given["mean"] + given["std"] * z))


def _cauchy(given: dict[str, Any], numbers: Numbers, shape: tuple[int, ...], _: torch.Tensor) -> Any:
    turns = numbers.open_uniforms(prod(shape)) - 0.5
    return torch.from_numpy(given["median"] + given["sigma"] * np.tan(np.pi * turns))


def _geometric(given: dict[str, Any], numbers: Numbers, shape: tuple[int, ...], _: torch.Tensor) -> Any:
    p = float(given["p"])
    if p >= 1:
        return torch.ones(shape)
    return torch.from_numpy(np.ceil(numbers.exponentials(prod(shape)) / -np.log1p(-p)))


def _multinomial(given: dict[str, Any], numbers: Numbers, shape: tuple[int, ...], _: torch.Tensor) -> Any:
    p = given["self"].detach().double().cpu()
    p = p.reshape(-1, p.shape[-1])
    n = given["num_samples"]
    if given["replacement"]:
        total = p.cumsum(-1)
        u = torch.from_numpy(numbers.uniforms(p.shape[0] * n).reshape(-1, n))
        return torch.searchsorted(total, u * total[:, -1:], right=True)
    # the n shortest waits of independent exponential clocks of these rates are a draw without replacement
    waits = torch.from_numpy(numbers.exponentials(p.numel()).reshape(p.shape))
    return (p / waits).topk(n, dim=-1).indices


def _dropped(func: Any, given: dict[str, Any], numbers: Numbers) -> tuple[torch.Tensor, torch.Tensor]:
    x, fused = given.get("input", given.get("self")), func.overloadpacket is _aten._fused_dropout
    p = given["p"]
    keep = p if fused else 1 - p
    if x is None or x.is_meta or not 0 <= keep <= 1 or given.get("out0") is not None:
        raise LeftToTorch
    mask = torch.from_numpy(numbers.chances(tuple(x.shape), float(keep))).to(x.device)
    numbers.used += x.numel()
    kept = x * mask * (1 / keep if keep else 0.0)
    return kept, mask.to(torch.uint8) if fused else mask


def _rrelu(func: Any, given: dict[str, Any], numbers: Numbers) -> torch.Tensor:
    x, noise = given["self"], given["noise"]
    low, high = given["lower"], given["upper"]
    if x.is_meta or not low <= high or noise.shape != x.shape or given.get("out") is not None:
        raise LeftToTorch
    u = torch.from_numpy(low + (high - low) * numbers.uniforms(x.numel())).reshape(x.shape).to(x)
    numbers.used += x.numel()
    noise.copy_(torch.where(x <= 0, u, torch.ones_like(x)))
    return x.mul_(noise) if func._schema.name.endswith("_") else x * noise


#: Every random operation that is served, by its packet.
SERVED: dict[Any, Drawn] = {
    **dict.fromkeys((_aten.randn, _aten.randn_like, _aten.normal_, _aten.normal), _normal),
    **dict.fromkeys((_aten.rand, _aten.rand_like, _aten.uniform_), _uniform),
    **dict.fromkeys((_aten.randint, _aten.randint_like, _aten.random_, _aten.random), _filled(_integers)),
    _aten.randperm: _filled(_permutation),
    **dict.fromkeys((_aten.bernoulli, _aten.bernoulli_), _filled(_bernoulli)),
    **dict.fromkeys((_aten.exponential, _aten.exponential_), _filled(_exponential)),
    **dict.fromkeys((_aten.log_normal, _aten.log_normal_), _filled(_log_normal)),
    **dict.fromkeys((_aten.cauchy, _aten.cauchy_), _filled(_cauchy)),
    **dict.fromkeys((_aten.geometric, _aten.geometric_), _filled(_geometric)),
    _aten.multinomial: _filled(_multinomial),
    **dict.fromkeys((_aten.native_dropout, _aten._fused_dropout), _dropped),
    **dict.fromkeys((_aten.rrelu_with_noise, _aten.rrelu_with_noise_), _rrelu),
}


def _known(*names: str) -> tuple[Any, ...]:
    """Return those of the operations that this version of PyTorch has."""
    return tuple(getattr(_aten, name) for name in names if hasattr(_aten, name))


#: Operations that are random and not served, as far as a thread that never entered the block can reach them.
REFUSED = _known(
    "poisson", "binomial", "_standard_gamma", "_sample_dirichlet", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention", "_scaled_dot_product_cudnn_attention", "_efficient_attention_forward",
    "_flash_attention_forward", "_cudnn_rnn", "miopen_rnn", "rrelu_with_noise_functional", "uniform",
)  # fmt: skip

#: Operations with the tag of a random one that draw nothing.
STILL = _known("_fused_sdp_choice", "_nested_tensor_softmax_with_shape", "_cudnn_init_dropout_state")

#: Arguments that switch the chance of an operation off where they are 0 or False.
_SWITCHES = {"p", "dropout", "dropout_p", "train", "training"}
_SWITCHED = {_aten.native_dropout, _aten.rrelu_with_noise, _aten.rrelu_with_noise_, *REFUSED}


def bound(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operation by name, with defaults for those left out."""
    names, defaults = _names(func)
    return {**defaults, **dict(zip(names, args, strict=False)), **kwargs}


@cache
def _names(func: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    arguments = func._schema.arguments
    defaults = {a.name: a.default_value for a in arguments if isinstance(a.default_value, float | bool)}
    return tuple(a.name for a in arguments), defaults


def switched_off(func: Any, given: dict[str, Any]) -> bool:
    """Return whether an operation that can be random is not, as attention without dropout."""
    if func.overloadpacket in SERVED and func.overloadpacket not in _SWITCHED:
        return False
    for argument in func._schema.arguments:
        if argument.name in _SWITCHES:
            value = given.get(argument.name, argument.default_value)
            if value is not None and not isinstance(value, torch.Tensor) and not value:
                return True
    return False


def seeds_a_compiled_function(func: Any, given: dict[str, Any]) -> bool:
    """Return whether a draw only seeds the generator that a compiled function carries in itself."""
    low, high = given.get("low", given.get("from")), given.get("high", given.get("to"))
    return low == -(2**63) and high == 2**63 - 1 and func.overloadpacket in (_aten.randint, _aten.random_)


class UnservedDrawError(InputError):
    """A random operation that no source serves; ``operation`` is its name."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        super().__init__(
            f"torch draws by {operation}, which no source serves, so its numbers would not come from the source; draw "
            "outside of the block, or leave these draws to PyTorch's own generator with "
            f"drive_torch(allow=[{operation!r}])"
        )
