"""Find the modules that behave as the plain layer of their kind, so that crossbars can take their place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from voltaspin.core.errors import InputError
from voltaspin.memory.crossbar.counting import as_found, call
from voltaspin.memory.crossbar.geometry import KINDS, geometry_of
from voltaspin.random.streams import Stream

_SAME = 1e-4  # relative difference up to which a forward is the plain layer's, in float32; 1e-2 in half precision
_UNKNOWN = "its class has a forward of its own; give convert an example to compare it with the plain layer"


def kind_of(module: nn.Module) -> type[nn.Module] | None:
    """The plain layer that a module is or derives from; None for any other module."""
    return next((kind for kind in KINDS if isinstance(module, kind)), None)


def obstacle(module: nn.Module, compared: dict[nn.Module, str]) -> str:
    """Why crossbars cannot take the place of a module of one of the :data:`KINDS`; empty where they can.

    Args:
        compared: what :func:`compare` found.
    """
    kind = kind_of(module)
    assert kind is not None
    layer: Any = module
    if parametrize.is_parametrized(layer):
        return (
            f"its {', '.join(layer.parametrizations)} is parametrised; "
            "torch.nn.utils.parametrize.remove_parametrizations makes it plain"
        )
    if any(getattr(layer, f"_{n}") for n in ("forward_hooks", "forward_pre_hooks", "backward_hooks",
                                             "backward_pre_hooks")):  # fmt: skip
        return "it has hooks, which may change what it computes; remove them first"
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return f"padding_mode={layer.padding_mode!r} is not supported"
    weight = layer.weight
    if not isinstance(weight, nn.Parameter):
        return f"its weight is a {type(weight).__name__}, not a parameter"
    if weight.is_complex():
        return "its weights are complex; give real and imaginary parts layers of their own"
    if not weight.is_floating_point() or weight.layout != torch.strided:
        return f"its weights are {weight.dtype} in {weight.layout} layout, not floating point"
    if not weight.numel():
        return "it holds no weights"
    own = {n for n, _ in (*layer.named_parameters(), *layer.named_buffers(), *layer.named_children())}
    if extra := sorted(own - {"weight", "bias"}):
        return f"it holds {', '.join(extra[:4])} beside weight and bias"
    if module in compared:
        return compared[module]
    return _UNKNOWN if overrides(module) else ""


def overrides(module: nn.Module) -> bool:
    """Whether a layer may compute anything else than the plain layer that it derives from."""
    kind, own = kind_of(module), type(module)
    assert kind is not None
    names = ("forward", "_conv_forward", "__call__", "_call_impl", "__getattr__", "_output_padding", "weight", "bias")
    nothing = object()
    return any(getattr(own, n, nothing) is not getattr(kind, n, nothing) or n in vars(module) for n in names)


def refuse_lazy(model: nn.Module) -> None:
    """Raise InputError where a parameter has no shape yet."""
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise InputError(f"{name} is not initialised; call the lazy model once, then convert it")


def refuse_empty(model: nn.Module) -> None:
    """Raise InputError where a parameter holds no values: lazy modules, the meta device."""
    refuse_lazy(model)
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise InputError(f"{name} lies on the meta device and holds no values; load the weights, then convert it")


def compare(model: nn.Module, example: Any) -> tuple[dict[nn.Module, str], Any]:
    """Run the example and compare every layer whose class has a forward of its own with the plain layer.

    The comparison takes the example's own input, other numbers in its place, and other weights, in evaluation and
    in training mode.

    Returns:
        Why a layer is not plain, or an empty string, for the layers that needed a look; and the model's output.
    """
    with Calls(model) as calls:
        output = call(model, example)
    return calls.reasons(lambda module: difference(module, calls.inputs[module])), output


class Calls:
    """Notice, while open, every call of the layers of a model that crossbars may hold.

    Args:
        model: any torch model.

    Attributes:
        inputs: the last input of each layer that was called with one tensor and returned one.
        uses: shapes of input and output of every such call, in the order of execution.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = [
            m for m in model.modules() if kind_of(m) is not None and not isinstance(m, torch.jit.ScriptModule)
        ]
        self._odd: dict[nn.Module, str] = {}
        self.inputs: dict[nn.Module, torch.Tensor] = {}
        self.uses: dict[nn.Module, list[tuple[torch.Size, torch.Size]]] = {}

    def __enter__(self) -> Calls:
        self._handles = [m.register_forward_hook(self._look, with_kwargs=True) for m in self._layers]
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _look(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        rest = {k: v for k, v in kwargs.items() if k != "input"}
        x = args[0] if len(args) == 1 else kwargs.get("input")
        if len(args) > 1 or rest or not torch.is_tensor(x):
            self._odd[module] = "the model calls it with more than one tensor, such as output_size"
        elif not torch.is_tensor(output):
            self._odd[module] = f"it returns a {type(output).__name__}, not a tensor"
        else:
            self.inputs[module] = x.detach()
            self.uses.setdefault(module, []).append((x.shape, output.shape))

    def reasons(self, differs: Callable[[nn.Module], str]) -> dict[nn.Module, str]:
        """Return why layers are not plain, or an empty string, for those that needed a look.

        Args:
            differs: says why a layer with a forward of its own is not plain; empty where it is.
        """
        found = dict(self._odd)
        for module in self._layers:
            if module in found:
                continue
            if module not in self.inputs:
                found[module] = "the model does not call it on the example"
            elif overrides(module) and not parametrize.is_parametrized(module):
                found[module] = differs(module)
        return found


def difference(module: nn.Module, x: torch.Tensor) -> str:
    """Why a layer with a forward of its own is not the plain layer; empty where both give the same numbers."""
    kind = kind_of(module)
    assert kind is not None
    try:
        trial: Any = copy.deepcopy(module)
        with as_found(trial):
            for training in (False, True):
                trial.train(training)
                for other in (x, normals(x, "input")):
                    for _ in range(2):
                        if (
                            far := _distance(trial(other), geometry_of(trial).apply(other, trial.weight, trial.bias))
                        ) > _tolerance(x):
                            return f"its own forward differs from {kind.__name__}'s by {far:.2g} on the example"
                        trial.weight.add_(normals(trial.weight, "weight") * trial.weight.std(correction=0))
    except Exception as error:
        return f"its own forward could not be compared with {kind.__name__}'s ({_line(error)})"
    return ""


def normals(like: torch.Tensor, purpose: str) -> torch.Tensor:
    """Return fixed numbers of a normal distribution, in the shape and type of ``like``, for a purpose."""
    numbers = Stream.of(0, "plain layer", purpose).normals(like.numel())
    return torch.from_numpy(numbers).to(like).view(like.shape)


def outputs_differ(a: Any, b: Any) -> float:
    """Largest relative difference of the tensors in two results; infinite where their shapes differ."""
    one, two = tensors_in(a), tensors_in(b)
    if len(one) != len(two):
        return float("inf")
    return max((_distance(x, y) / (_tolerance(x) / _SAME) for x, y in zip(one, two, strict=True)), default=0.0)


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Floating-point tensors in a result: tuples, dicts, dataclasses and objects with attributes, in order."""
    if torch.is_tensor(value):
        return [value] if value.is_floating_point() or value.is_complex() else []
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors_in(v)]
    if isinstance(value, tuple | list):
        return [t for v in value for t in tensors_in(v)]
    if hasattr(value, "__dict__") and not isinstance(value, nn.Module | type):
        return [t for v in vars(value).values() for t in tensors_in(v)]
    return []


def _distance(a: Any, b: torch.Tensor) -> float:
    if not torch.is_tensor(a) or a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    wide = torch.complex128 if a.is_complex() else torch.float64
    size = float(b.to(wide).abs().max()) if b.numel() else 0.0
    far = float((a.to(wide) - b.to(wide)).abs().max()) if b.numel() else 0.0
    return far / size if size else far


def _tolerance(x: torch.Tensor) -> float:
    return 100 * _SAME if x.dtype in (torch.float16, torch.bfloat16) else _SAME


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
