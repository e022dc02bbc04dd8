"""Find the layers of a torch model that crossbars can hold, and the reason for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.memory.crossbar.counting import Count
from voltaspin.memory.crossbar.plain import kind_of, obstacle
from voltaspin.memory.crossbar.projections import ProjectedAttention
from voltaspin.memory.crossbar.spec import ArraySpec

#: Modules whose weights form one piece with those of their children.
_UNITS = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


@dataclass(frozen=True)
class Layers:
    """The modules of a model that hold matrices.

    Args:
        fitting: layers that can go into memory, by name, in the order of the model.
        blocked: why each other module with matrices cannot, by name.
        pieces: beginnings of the names of modules that form one piece with a blocked one.
    """

    fitting: dict[str, Any]
    blocked: dict[str, str]
    pieces: tuple[str, ...]

    def blocked_macs(self, name: str, count: Count) -> int:
        """Return the multiply-accumulates of a blocked module and of its piece."""
        inside = f"{name}."
        whole = inside in self.pieces
        return sum(n for (at, _), n in count.macs.items() if at == name or (whole and at.startswith(inside)))

    def blocked_weights(self, module: nn.Module) -> int:
        """Return how many numbers a blocked module and its piece hold."""
        whole = isinstance(module, _UNITS) or kind_of(module) is not None
        return sum(p.numel() for p in module.parameters(recurse=whole))

    def other(self, modules: Mapping[str, nn.Module], count: Count) -> dict[str, int]:
        """Return the multiply-accumulates of no layer, by module and operation."""
        other: dict[str, int] = {}
        for (at, operation), macs in count.macs.items():
            if at in self.fitting or at in self.blocked or at.startswith(self.pieces):
                continue
            key = f"{at or 'the model itself'} ({type(modules[at]).__name__}), {operation}"
            other[key] = other.get(key, 0) + macs
        return other


def layers_of(model: nn.Module, compared: dict[nn.Module, str]) -> Layers:
    """Return the layers of a model whose attention was split.

    Args:
        model: after :func:`split_projections`.
        compared: why a layer is not plain, or an empty string, for those that needed a look.
    """
    found: dict[str, Any] = {}
    blocked: dict[str, str] = {}
    inside: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in inside):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            if any(p.dim() > 1 for p in module.parameters()):
                blocked[name] = "it is compiled by TorchScript; convert the Python module"
            inside.append(name)
        elif isinstance(module, _UNITS):
            blocked[name] = f"{type(module).__name__} is not supported"
            if isinstance(module, nn.MultiheadAttention):
                blocked[name] = "a MultiheadAttention with a forward, hooks or parametrisations of its own"
            inside.append(name)
        elif kind_of(module) is not None:
            if reason := obstacle(module, compared):
                blocked[name] = reason
                inside.append(name)
            else:
                found[name] = module
        elif not isinstance(module, ProjectedAttention):
            matrices = [n for n, p in module.named_parameters(recurse=False) if p.dim() > 1]
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                blocked[name] = "a table that is looked up"
            elif type(module).__module__.startswith("torch.nn.modules") and matrices:
                blocked[name] = f"{type(module).__name__} is not supported"
            elif matrices:
                blocked[name] = f"it computes with {', '.join(matrices[:3])} in a forward of its own"
            elif ".quantized." in type(module).__module__:
                blocked[name] = "it is quantised already; convert the float model"
                inside.append(name)
    return Layers(found, blocked, tuple(f"{name}." for name in inside if name))


def kept_digital(names: list[str], spec: ArraySpec, *, model: str) -> dict[str, str]:
    """Return why layers that could go into memory stay digital all the same, by name.

    Args:
        names: of the layers that can, in the order of the model.
        spec: of the arrays.
        model: name of the model's class; a diffusers UNet keeps its time embedding digital.

    Raises:
        InputError: a pattern of ``spec.layers`` matches none of the names.
    """
    for pattern in spec.layers:
        if names and not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"the pattern {pattern!r} of layers matches none of {', '.join(names[:8])} ...")
    reasons = {}
    for name in names:
        chosen = spec.override(name)
        if chosen == "digital":
            reasons[name] = "kept digital by the specification"
        elif chosen is None and spec.digital_ends and len(names) > 2 and name in (names[0], names[-1]):
            reasons[name] = "first layer" if name == names[0] else "last layer"
        elif chosen is None and name.startswith("time_embedding.") and model.startswith("UNet"):
            reasons[name] = "time embedding"
    return reasons


def refuse_nothing(names: list[str], reasons: dict[str, str], *, model: str) -> None:
    """Raise InputError where no layer is left for memory.

    Args:
        names: of the layers that can go into memory.
        reasons: why layers and other modules stay digital.
        model: name of the model's class.
    """
    if any(name not in reasons for name in names):
        return
    why = "; ".join(f"{n or 'the model'}: {r}" for n, r in list(reasons.items())[:8])
    raise InputError(
        f"no layer of this {model} can go into memory ({why or 'it has no linear layer or convolution'}); Linear, "
        "Conv1d, Conv2d and ConvTranspose2d can, unless digital_ends or layers of the ArraySpec keep them digital"
    )
