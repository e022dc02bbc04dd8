"""Trace one evaluation of a network: every matrix, how many vectors meet it, and the work that belongs to no layer.

A trace depends on the network alone and on no array. Whatever an array does for a layer follows from the shape of its
matrices and from its positions, so that a trace says enough for coverage and for counts of any array.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.utils._pytree import tree_leaves

from voltaspin.core.errors import InputError
from voltaspin.core.result import Part, Result
from voltaspin.memory.crossbar.converted import readout_of
from voltaspin.memory.crossbar.counting import (
    Count,
    as_found,
    counted,
    device_of,
    first_tensor,
    on_device,
    own_example,
    refuse_no_image,
)
from voltaspin.memory.crossbar.coverage import Coverage, LayerCoverage
from voltaspin.memory.crossbar.geometry import geometry_of
from voltaspin.memory.crossbar.layer import MemoryLayer
from voltaspin.memory.crossbar.layers import Layers, kept_digital, layers_of, refuse_nothing
from voltaspin.memory.crossbar.plain import Calls, difference, kind_of, normals, refuse_lazy
from voltaspin.memory.crossbar.projections import split_projections
from voltaspin.memory.crossbar.spec import ArraySpec

_LARGEST = 8  # layers, and operations of no layer, that a summary names
_SHAPES = "from shapes alone; no weight was read"
_NUMBERS = "by running the model"
_NO_NUMBERS = "its class has a forward of its own, which only its weights can compare with the plain layer"
_NOT_CALLED = "the model computes with it without calling it"


class LayerTrace(Part):
    """One module with matrices, in one evaluation of one image.

    Args:
        name, kind: as in the model; a ``nn.MultiheadAttention`` has a layer for each projection.
        place: of the module among those of the trace, in the order in which the model defines them.
        shape: of its matrices (groups, outputs, inputs); None for a module whose matrices have no such shape.
        positions: vectors that meet the matrices, all calls together; 0 where ``shape`` is None.
        numbers_in, numbers_out: of the layer's inputs and outputs, all calls together; 0 where ``shape`` is None.
        calls: how often the evaluation calls it.
        macs: multiply-accumulates.
        weights: numbers in its matrices.
        reason: why it cannot go into a crossbar; empty where it can.
    """

    name: str
    kind: str
    place: int
    shape: tuple[int, int, int] | None
    positions: int
    numbers_in: int
    numbers_out: int
    calls: int
    macs: int
    weights: int
    reason: str = ""


class NetworkTrace(Result):
    """What one evaluation of a network computes for one image, whatever computes it.

    Args:
        model: name of its class.
        layers: modules with matrices, in the order of execution; those that are not called come last.
        other: multiply-accumulates of no layer, such as attention products, by module and operation.
        uncounted: operations that ran and whose matrix work cannot be counted.
        counted: how it was counted.
        assumed: what the example takes for granted, in words.
    """

    KIND: ClassVar[str] = "network-trace"
    model: str
    layers: tuple[LayerTrace, ...] = Field(repr=False)
    other: dict[str, int] = Field(default_factory=dict, repr=False)
    uncounted: tuple[str, ...] = ()
    counted: str
    assumed: tuple[str, ...] = ()

    @property
    def fitting(self) -> tuple[LayerTrace, ...]:
        """The layers that can go into a crossbar, in the order in which the model defines them."""
        return tuple(sorted((w for w in self.layers if not w.reason), key=lambda w: w.place))

    @property
    def weights(self) -> int:
        """Numbers in all matrices."""
        return sum(w.weights for w in self.layers)

    @property
    def other_macs(self) -> int:
        """Multiply-accumulates of no layer."""
        return sum(self.other.values())

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates in all; None where an operation could not be counted."""
        return None if self.uncounted else self.other_macs + sum(w.macs for w in self.layers)

    def digital(self, spec: ArraySpec) -> dict[str, str]:
        """Return why each layer that stays digital does, by name, as ``convert`` decides it.

        Args:
            spec: of the arrays; it may keep layers digital that could go into a crossbar.

        Raises:
            InputError: a pattern of ``spec.layers`` matches no layer.
        """
        kept = kept_digital([w.name for w in self.fitting], spec, model=self.model)
        return kept | {w.name: w.reason for w in self.layers if w.reason}

    def coverage(self, spec: ArraySpec) -> Coverage:
        """Return the report that ``convert`` would give for the network in arrays of ``spec``.

        Raises:
            InputError: no layer is left for memory, or a pattern of ``spec.layers`` matches no layer.
        """
        digital = self.digital(spec)
        refuse_nothing([w.name for w in self.fitting], digital, model=self.model)
        report = []
        for w in sorted(self.layers, key=lambda w: (bool(w.reason), w.place)):
            cells, tiles = 0, 0
            if w.name not in digital:
                own = spec.of_layer(w.name)
                assert own is not None
                assert w.shape is not None
                cells, tiles = readout_of(own, where=f"layer {w.name!r}").size(w.shape)
            report.append(LayerCoverage(
                name=w.name, kind=w.kind, in_memory=w.name not in digital, reason=digital.get(w.name, ""), macs=w.macs,
                weights=w.weights, cells=cells, tiles=tiles,
            ))  # fmt: skip
        return Coverage.of(
            report, other=self.other, counted="one image, everything that the model computes", rows=spec.rows,
            columns=spec.columns, uncounted=self.uncounted, assumed=self.assumed,
        )  # fmt: skip

    def summary(self) -> list[tuple[str, str]]:
        """Return the totals and the largest layers, for people."""
        inside = sum(w.macs for w in self.fitting)
        rows = [("model", self.model), ("counted", f"one evaluation of one image, {self.counted}")]
        if self.macs is None:
            rows.append(("multiply-accumulates", f"unknown, since {', '.join(self.uncounted)} cannot be counted"))
        else:
            share = f"{inside / max(self.macs, 1):.2%} in layers that crossbars can hold"
            rows.append(("multiply-accumulates", f"{self.macs:,}, {share}"))
        rows += [
            ("weights", f"{self.weights:,} in {len(self.layers)} layers"),
            ("activations", f"{sum(w.numbers_in for w in self.layers):,} numbers into layers, "
             f"{sum(w.numbers_out for w in self.layers):,} out of them"),
        ]  # fmt: skip
        for w in sorted(self.layers, key=lambda w: -w.macs)[:_LARGEST]:
            size = "" if w.shape is None else f" {' x '.join(f'{n:,}' for n in w.shape)} at {w.positions:,} positions"
            why = f" ({w.reason})" if w.reason else ""
            rows.append((f"layer {w.name or 'the model itself'}", f"{w.kind}{size}, {w.macs:,}{why}"))
        most = sorted(self.other.items(), key=lambda item: -item[1])
        rows += [(f"no layer: {name}", f"{macs:,}") for name, macs in most[:_LARGEST]]
        return rows + [("assumed", text) for text in self.assumed]


def trace(model: nn.Module, *args: Any, **kwargs: Any) -> NetworkTrace:
    """Trace one evaluation of a model.

    The model is followed by the shapes of its tensors on PyTorch's meta device: no weight is read, and a model without
    weights will do. A model that looks at its numbers runs once with them, unchanged.

    Args:
        model: any torch model. It is left as it is.
        args, kwargs: of one call, best for one image. The first axis of the first tensor counts the images. A diffusers
            ``UNet2DModel`` says its own input, so that it needs none.

    Returns:
        Counts for one image.

    Raises:
        InputError: the model does not take the arguments, is not initialised or cannot be copied, or its counts are
            no multiples of the number of images.
    """
    refuse_lazy(model)
    if any(isinstance(m, MemoryLayer) for m in model.modules()):
        raise InputError("the model has layers in memory already; trace the float model")
    example: Any = (args, kwargs)
    if not args and not kwargs and (own := own_example(model)) is not None:
        example = (own, {})
    refuse_no_image(example)
    copied, calls, count, counted_how = _evaluated(model, example)
    # by hand, since a compiled model has no get_submodule
    modules, given = dict(copied.named_modules()), dict(model.named_modules())
    names = {module: name for name, module in modules.items()}

    def differs(module: nn.Module) -> str:
        layer: Any = given[names[module]]
        if layer.weight.is_meta:
            return _NO_NUMBERS
        seen = calls.inputs[module]
        return difference(layer, normals(torch.empty(seen.shape, dtype=seen.dtype, device=layer.weight.device), "x"))

    found = layers_of(copied, calls.reasons(differs))
    first = first_tensor(example)
    images = 1 if first is None else max(len(first), 1)
    order = {name: i for i, name in enumerate(count.calls)}
    traced = [
        _traced(modules, found, calls, count, name, place, images)
        for place, name in enumerate(n for n in modules if n in found.fitting or n in found.blocked)
    ]
    other = {name: _each(macs, images, name) for name, macs in found.other(modules, count).items()}
    traced.sort(key=lambda w: (order.get(w.name, len(order)), w.place))
    return NetworkTrace(
        model=type(copied).__name__, layers=tuple(traced), other=other, uncounted=tuple(sorted(count.uncounted)),
        counted=counted_how,
    )  # fmt: skip


def _traced(
    modules: dict[str, nn.Module], found: Layers, calls: Calls, count: Count, name: str, place: int, images: int
) -> LayerTrace:
    module = modules[name]
    reason = found.blocked.get(name, "")
    if reason:
        macs, weights = found.blocked_macs(name, count), found.blocked_weights(module)
    else:
        macs, weights = count.of(name), found.fitting[name].weight.numel()
        reason = "" if macs else _NOT_CALLED
    shape, positions, given, made = None, 0, 0, 0
    if kind_of(module) is not None and not isinstance(module, torch.jit.ScriptModule):
        geometry = geometry_of(module)
        shape = geometry.shape
        for sizes in calls.uses.get(module, ()):
            flat = len(sizes[0]) == geometry.dims.start
            x, y = (torch.empty((1, *size) if flat else size, device="meta") for size in sizes)
            positions, given, made = positions + geometry.positions(x, y), given + x.numel(), made + y.numel()
    positions, given, made, macs = (_each(n, images, f"layer {name!r}") for n in (positions, given, made, macs))
    return LayerTrace(
        name=name, kind=type(module).__name__, place=place, shape=shape, positions=positions, numbers_in=given,
        numbers_out=made, calls=count.calls[name], macs=macs, weights=weights, reason=reason,
    )  # fmt: skip


def _each(number: int, images: int, where: str) -> int:
    """A count of one of several images."""
    if number % images:
        raise InputError(
            f"{where}: its {number:,} is no multiple of the {images} images of the example, which the first axis of "
            "the first tensor counts; give an example of one image"
        )
    return number // images


def _evaluated(model: nn.Module, example: Any) -> tuple[nn.Module, Calls, Count, str]:
    """A copy of the model after one counted call, by shapes alone where that counts everything."""
    empty = any(p.is_meta for p in model.parameters())
    ways = [(True, False), (True, True)] + ([] if empty else [(False, False)])
    best, why = None, ""
    for shapes, factories in ways:
        copied = _copied(model, shapes)
        device = torch.device("meta") if shapes else device_of(model)
        args, kwargs = on_device(example, device)
        try:
            with as_found(copied), Calls(copied) as calls:
                if factories:
                    with device:
                        count, _ = counted(copied, args, **kwargs)
                else:
                    count, _ = counted(copied, args, **kwargs)
        except Exception as error:  # the model's own code
            why = " ".join(str(error).split())[:200] or type(error).__name__
            continue
        best = copied, calls, count, _SHAPES if shapes else _NUMBERS
        if not count.uncounted:
            break
    if best is None:
        more = "; it has no weights, and without them only shapes are followed" if empty else ""
        raise InputError(f"the model does not take the example: {why}{more}")
    return best


def _copied(model: nn.Module, shapes: bool) -> nn.Module:
    """The model with attention split and with other modules around the same tensors, or around shapes alone."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for leaf in tree_leaves(vars(module)):
            if torch.is_tensor(leaf):
                memo[id(leaf)] = _shape_of(leaf) if shapes else leaf
    try:
        return split_projections(copy.deepcopy(model, memo))
    except Exception as error:
        raise InputError(
            f"the model cannot be copied ({' '.join(str(error).split())[:200] or type(error).__name__}); "
            "give one that copy.deepcopy takes"
        ) from None


def _shape_of(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized:
        return tensor
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
