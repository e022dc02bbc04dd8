"""Put the layers of a torch model into crossbars, and report what was done.

Attention gets layers of its own for its projections first, so that each can lie in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.memory.crossbar.counting import (
    OTHER,
    Count,
    CrossbarContext,
    DigitalCount,
    as_found,
    counted,
    device_of,
    first_tensor,
    on_device,
    own_example,
    refuse_no_image,
)
from voltaspin.memory.crossbar.coverage import Coverage, LayerCoverage
from voltaspin.memory.crossbar.layer import MemoryLayer
from voltaspin.memory.crossbar.layers import Layers, kept_digital, layers_of, refuse_nothing
from voltaspin.memory.crossbar.plain import compare, outputs_differ, refuse_empty
from voltaspin.memory.crossbar.projections import split_projections
from voltaspin.memory.crossbar.ranges import calibrate
from voltaspin.memory.crossbar.spec import ArraySpec

_SAME = 1e-3  # relative difference of the outputs up to which an ideal converted model is the float one


def convert(
    model: nn.Module,
    spec: ArraySpec,
    *,
    example: Any = None,
    calibration: Callable[[nn.Module], object] | Iterable[Any] | None = None,
    inplace: bool = False,
) -> tuple[nn.Module, Coverage]:
    """Put every layer that allows it into crossbars.

    Linear, Conv1d, Conv2d and ConvTranspose2d go into memory, and the projections of ``nn.MultiheadAttention``, which
    becomes a module with a layer for each. A subclass goes in where its forward gives the plain layer's numbers on
    the example. The first and the last of them stay digital (a model of one or two has no inside, so all of it goes
    in), and so does the time embedding of a diffusers UNet; ``spec.layers`` decides otherwise by name. Everything
    that stays digital is listed with the reason.

    A layer that stands under several names is converted once and shared. The keys of ``state_dict`` stay, those of a
    ``nn.MultiheadAttention`` excepted (``q``, ``k``, ``v`` and ``out`` take the place of its packed projections); each
    layer in memory adds its ranges. ``load_state_dict`` also takes the float model's own.

    Args:
        model: any torch model. It is copied unless ``inplace``.
        spec: of the arrays.
        example: arguments of one call (a tensor, a tuple of arguments or a dict of keywords), best for one image. The
            share of multiply-accumulates is known only with it. The converted model without imperfections is
            compared with the float one on it. A diffusers ``UNet2DModel`` says its own input, so that it needs none.
        calibration: fixes the ranges, see :func:`calibrate`. Without it each image's inputs are scaled by
            their own largest value, and the converters' range follows from the mean square.

    Returns:
        The converted model and the coverage report.

    Raises:
        InputError: nothing can be converted, a layer holds NaN or no values, a pattern of ``spec.layers`` matches
            nothing, or the converted model would not compute what the float one does.
    """
    spec = ArraySpec(**spec.model_dump())  # a copy with an update was not checked
    if not isinstance(model, nn.Module):
        raise InputError(
            f"a {type(model).__name__} is no torch.nn.Module; put what it computes into a module's forward"
        )
    refuse_empty(model)
    if any(isinstance(m, MemoryLayer) for m in model.modules()):
        raise InputError("the model has layers in memory already; convert the float model")
    if not inplace:
        try:
            model = _copied(model)
        except Exception as error:
            raise InputError(
                f"the model cannot be copied ({_line(error)}); convert(..., inplace=True) needs no copy"
            ) from None
    given = example is not None
    example = on_device(own_example(model) if example is None else example, device_of(model))
    compared: dict[nn.Module, str] = {}
    output: Any = None
    refuse_no_image(example)
    if example is not None:
        try:
            with as_found(model):
                compared, output = compare(model, example)
        except Exception as error:
            if given:
                raise InputError(f"the model does not take the example: {_line(error)}") from error
            example = None
    model = split_projections(model, compared)
    found = layers_of(model, compared)
    layers, blocked, kind = found.fitting, found.blocked, type(model).__name__
    reasons = kept_digital(list(layers), spec, model=kind)
    refuse_nothing(list(layers), {**reasons, **blocked}, model=kind)
    context = CrossbarContext(Ledger("compute"), time_steps=spec.time_steps, time_buckets=spec.time_buckets)
    chosen = {}
    for name, layer in layers.items():
        if name not in reasons:
            own = spec.of_layer(name)
            assert own is not None
            chosen[name] = MemoryLayer(layer, own, name or "model", context)
            chosen[name].train(layer.training)
    converted = _swapped(model, {layers[n]: new for n, new in chosen.items()})
    count = None
    if example is not None:
        count, result = _bypassed(converted, context, example)
        for name in [n for n in chosen if not count.of(n)]:
            reasons[name] = "the model computes with it without calling it"
            converted = _swapped(converted, {chosen.pop(name): layers[name]})
        refuse_nothing(list(layers), {**reasons, **blocked}, model=kind)
        if (far := outputs_differ(output, result)) > _SAME and _repeats(converted, context, example, result):
            raise InputError(
                f"without any imperfection the converted {type(model).__name__} differs from the float one by "
                f"{far:.2g} on the example; keep the layers that the model uses in a way of its own digital, by the "
                "layers of the ArraySpec"
            )
    report = []
    for name, layer in layers.items():
        macs = None if count is None else count.of(name)
        weights = layer.weight.numel()
        if name in reasons:
            report.append(_covered(name, layer, macs, weights, reasons[name]))
            layer.register_forward_hook(DigitalCount(context, name))
        else:
            new = chosen[name]
            new.program()
            cells, tiles = new.crossbar.readout.size(new.crossbar.geometry.shape)
            report.append(_covered(name, layer, macs, weights, cells=cells, tiles=tiles))
    modules = dict(converted.named_modules())
    for name, reason in blocked.items():
        module = modules[name]
        macs = None if count is None else found.blocked_macs(name, count)
        report.append(_covered(name, module, macs, found.blocked_weights(module), reason))
        if macs:
            context.fixed[name or "the model itself"] = macs
    coverage = _coverage(report, found, converted, count, example, spec)
    # every call counts the work that no hook sees, in proportion to the size of its input
    if coverage.other_macs:
        context.fixed[OTHER] = coverage.other_macs
    x = first_tensor(example)
    context.size = 1 if x is None else max(x.numel(), 1)
    for module in converted.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and any(isinstance(m, MemoryLayer) for m in module.modules()):
            module.activation_relu_or_gelu = 0  # torch's fused kernel would compute with the float weights
    converted.register_forward_pre_hook(context.begin, with_kwargs=True)
    if calibration is not None:
        calibrate(converted, calibration)
    return converted, coverage


def _copied(model: nn.Module) -> nn.Module:
    # torch does not copy tensors that were computed and are kept as attributes, such as weights under weight_norm
    kept = [t for m in model.modules() for t in vars(m).values() if torch.is_tensor(t) and not t.is_leaf]
    return copy.deepcopy(model, {id(t): t.detach().clone() for t in kept})


def _bypassed(model: nn.Module, context: CrossbarContext, example: Any) -> tuple[Count, Any]:
    """Count one call and return its result, with layers in memory that compute as the float ones."""
    context.bypass = True
    try:
        with as_found(model):
            return counted(model, example)
    except Exception as error:
        raise InputError(
            f"the converted {type(model).__name__} fails where the float one runs ({_line(error)}); keep the layers "
            "that the model uses in a way of its own digital, by the layers of the ArraySpec"
        ) from error
    finally:
        context.bypass = False


def _repeats(model: nn.Module, context: CrossbarContext, example: Any, result: Any) -> bool:
    """Whether a second call gives the same; a model with a memory or chance of its own does not."""
    return outputs_differ(_bypassed(model, context, example)[1], result) <= _SAME


def _swapped(model: nn.Module, new: dict[Any, nn.Module]) -> nn.Module:
    """The model with modules replaced wherever they stand, or what replaces it."""
    for owner in list(model.modules()):
        for key, child in owner._modules.items():
            if child is not None and child in new:
                owner._modules[key] = new[child]
                if key in vars(owner):  # a container that keeps its children as attributes as well
                    vars(owner)[key] = new[child]
    return new.get(model, model)


def _covered(
    name: str, module: nn.Module, macs: int | None, weights: int, reason: str = "", *, cells: int = 0, tiles: int = 0
) -> LayerCoverage:
    return LayerCoverage(name=name, kind=type(module).__name__, in_memory=not reason, reason=reason, macs=macs,
                         weights=weights, cells=cells, tiles=tiles)  # fmt: skip


def _coverage(
    report: list[LayerCoverage], found: Layers, model: nn.Module, count: Count | None, example: Any, spec: ArraySpec
) -> Coverage:
    if count is None:
        return Coverage.of(report, other=None, counted="no example", rows=spec.rows, columns=spec.columns)
    x = first_tensor(example)
    images = 1 if x is None else max(len(x), 1)
    how = f"{'one image' if images == 1 else f'{images} images'}, everything that the model computes"
    return Coverage.of(
        report, other=found.other(dict(model.named_modules()), count), counted=how, rows=spec.rows,
        columns=spec.columns, images=images, uncounted=tuple(sorted(count.uncounted)),
    )  # fmt: skip


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
