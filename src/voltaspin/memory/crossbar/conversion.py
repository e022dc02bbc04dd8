"""Put the layers of a torch model into crossbars, and report what was done.

Attention gets layers of its own for its projections first, so that each can lie in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
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
    first_tensor,
)
from voltaspin.memory.crossbar.coverage import Coverage, LayerCoverage
from voltaspin.memory.crossbar.layer import MemoryLayer
from voltaspin.memory.crossbar.plain import compare, kind_of, obstacle, outputs_differ, refuse_empty
from voltaspin.memory.crossbar.ranges import calibrate
from voltaspin.memory.crossbar.spec import ArraySpec


class ProjectedAttention(nn.Module):
    """``nn.MultiheadAttention`` with its packed projections split into four linear layers.

    It takes the same arguments and gives the same results; ``state_dict`` has other names, ``load_state_dict`` takes
    either. The products of queries and keys, and of weights and values, stay digital.

    Args:
        source: whose weights are taken over.
    """

    in_proj_bias = None  # tells torch's transformer layers to call this module and not the fused kernel

    def __init__(self, source: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.batch_first = source.embed_dim, source.num_heads, source.batch_first
        self.dropout, self.add_zero_attn = source.dropout, source.add_zero_attn
        self.bias_k, self.bias_v = source.bias_k, source.bias_v
        if source.in_proj_weight is not None:
            parts = source.in_proj_weight.detach().chunk(3)
        else:
            parts = tuple(getattr(source, f"{n}_proj_weight").detach() for n in "qkv")
        biases = (None,) * 3 if source.in_proj_bias is None else source.in_proj_bias.detach().chunk(3)
        self.q, self.k, self.v = (_linear(w, b) for w, b in zip(parts, biases, strict=True))
        out = source.out_proj
        self.out = _linear(out.weight.detach(), None if out.bias is None else out.bias.detach())
        self.train(source.training)
        self.register_load_state_dict_pre_hook(_unpacked)

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None, need_weights: bool = True,
        attn_mask: torch.Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
        """As ``nn.MultiheadAttention``; ``is_causal`` wants its mask given as well."""
        flat = query.dim() == 2
        if flat:
            query, key, value = (x[None] if self.batch_first else x[:, None] for x in (query, key, value))
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self.q(query), self.k(key), self.v(value)
        for name, at in (("bias_k", "k"), ("bias_v", "v")):
            extra = getattr(self, name)
            if extra is not None:
                grown = torch.cat([k if at == "k" else v, extra.expand(len(k), 1, -1)], 1)
                k, v = (grown, v) if at == "k" else (k, grown)
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        if self.add_zero_attn:
            k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        more = k.shape[2] - key.shape[1]
        for mask, shape in ((attn_mask, None), (key_padding_mask, (len(k), 1, 1, -1))):
            if mask is None:
                continue
            if mask.dim() == 3:
                mask = mask.view(len(k), self.num_heads, *mask.shape[-2:])
            seen = mask if shape is None else (mask[None] if flat else mask).view(*shape)
            seen = F.pad(seen, (0, more)) if more else seen
            scores = scores.masked_fill(seen, -torch.inf) if seen.dtype == torch.bool else scores + seen
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        y = self.out((weights @ v).transpose(1, 2).flatten(2))
        y = y if self.batch_first else y.transpose(0, 1)
        shown: Any = None
        if need_weights:
            shown = weights.mean(1) if average_attn_weights else weights
            shown = shown[0] if flat else shown
        return (y.squeeze(0 if self.batch_first else 1) if flat else y), shown


def _unpacked(module: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    """Give the tensors of a ``nn.MultiheadAttention`` the names of the four layers."""
    for ending in ("weight", "bias"):
        if f"{prefix}in_proj_{ending}" in state:
            parts = state.pop(f"{prefix}in_proj_{ending}").chunk(3)
            state.update({f"{prefix}{n}.{ending}": part for n, part in zip("qkv", parts, strict=True)})
        if f"{prefix}out_proj.{ending}" in state:
            state[f"{prefix}out.{ending}"] = state.pop(f"{prefix}out_proj.{ending}")
    for n in "qkv":
        if f"{prefix}{n}_proj_weight" in state:
            state[f"{prefix}{n}.weight"] = state.pop(f"{prefix}{n}_proj_weight")


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")  # draws no numbers
    made.weight = nn.Parameter(weight.clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.clone())
    return made


def split_projections(model: nn.Module, compared: dict[nn.Module, str] | None = None) -> nn.Module:
    """Every plain ``nn.MultiheadAttention`` of the model replaced, in place; returns the model, or what replaces it.

    Args:
        compared: modules that were compared with the plain layer; those of the projections follow theirs.
    """
    new: dict[nn.Module, nn.Module] = {}
    for module in list(model.modules()):
        if _plain(module):
            new[module] = ProjectedAttention(module)  # type: ignore[arg-type]
            if compared is not None:
                compared.pop(module.out_proj, None)  # type: ignore[arg-type]
    for owner in list(model.modules()):
        for name, child in owner._modules.items():
            if child is not None and child in new:
                owner._modules[name] = new[child]
    return new.get(model, model)


def _plain(module: nn.Module) -> bool:
    """Whether a module is a MultiheadAttention that computes as torch's own."""
    if type(module) is not nn.MultiheadAttention or "forward" in vars(module):
        return False
    parts = (module, module.out_proj)
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in parts)
    changed = any(hasattr(m, "parametrizations") for m in parts)
    return not hooked and not changed and not any(p.is_complex() for p in module.parameters())


#: Modules whose weights form one piece with those of their children.
_UNITS = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
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
    example = _to(_own_example(model) if example is None else example, _device(model))
    compared: dict[nn.Module, str] = {}
    output: Any = None
    if example is not None:
        try:
            with as_found(model):
                compared, output = compare(model, example)
        except Exception as error:
            if given:
                raise InputError(f"the model does not take the example: {_line(error)}") from error
            example = None
    model = split_projections(model, compared)
    layers, blocked, pieces = _layers(model, compared)
    reasons = _reasons(model, spec, layers)
    _refuse_nothing(model, layers, {**reasons, **blocked})
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
        _refuse_nothing(model, layers, {**reasons, **blocked})
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
    for name, reason in blocked.items():
        module = converted.get_submodule(name)
        macs = None if count is None else sum(
            n for (at, _), n in count.macs.items()
            if at == name or (f"{name}." in pieces and at.startswith(f"{name}."))
        )  # fmt: skip
        parameters = module.parameters(recurse=isinstance(module, _UNITS) or kind_of(module) is not None)
        report.append(_covered(name, module, macs, sum(p.numel() for p in parameters), reason))
        if macs:
            context.fixed[name or "the model itself"] = macs
    coverage = _coverage(report, converted, count, example, spec, pieces)
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


def _layers(model: nn.Module, compared: dict[nn.Module, str]) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    """Layers that can go into memory; modules with matrices that cannot, with the reason; and which of these form one
    piece with their children."""
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
    return found, blocked, tuple(f"{name}." for name in inside if name)


def _refuse_nothing(model: nn.Module, layers: dict[str, Any], reasons: dict[str, str]) -> None:
    if any(name not in reasons for name in layers):
        return
    why = "; ".join(f"{n or 'the model'}: {r}" for n, r in list(reasons.items())[:8])
    raise InputError(
        f"no layer of this {type(model).__name__} can go into memory "
        f"({why or 'it has no linear layer or convolution'}); Linear, Conv1d, Conv2d and "
        "ConvTranspose2d can, unless digital_ends or layers of the ArraySpec keep them digital"
    )


def _reasons(model: nn.Module, spec: ArraySpec, layers: dict[str, Any]) -> dict[str, str]:
    from fnmatch import fnmatchcase

    for pattern in spec.layers:
        if layers and not any(fnmatchcase(name, pattern) for name in layers):
            raise InputError(f"the pattern {pattern!r} of layers matches none of {', '.join(list(layers)[:8])} ...")
    reasons = {}
    names = list(layers)
    for name in names:
        chosen = spec.override(name)
        if chosen == "digital":
            reasons[name] = "kept digital by the specification"
        elif chosen is None and spec.digital_ends and len(names) > 2 and name in (names[0], names[-1]):
            reasons[name] = "first layer" if name == names[0] else "last layer"
        elif chosen is None and name.startswith("time_embedding.") and type(model).__name__.startswith("UNet"):
            reasons[name] = "time embedding"
    return reasons


def _covered(
    name: str, module: nn.Module, macs: int | None, weights: int, reason: str = "", *, cells: int = 0, tiles: int = 0
) -> LayerCoverage:
    return LayerCoverage(name=name, kind=type(module).__name__, in_memory=not reason, reason=reason, macs=macs,
                         weights=weights, cells=cells, tiles=tiles)  # fmt: skip


def _coverage(
    report: list[LayerCoverage], model: nn.Module, count: Count | None, example: Any, spec: ArraySpec,
    pieces: tuple[str, ...],
) -> Coverage:  # fmt: skip
    if count is None:
        return Coverage.of(report, other=None, counted="no example", rows=spec.rows, columns=spec.columns)
    listed = {layer.name for layer in report}
    other: dict[str, int] = {}
    for (at, operation), macs in count.macs.items():
        if at in listed or at.startswith(pieces):
            continue
        key = f"{at or 'the model itself'} ({type(model.get_submodule(at)).__name__}), {operation}"
        other[key] = other.get(key, 0) + macs
    x = first_tensor(example)
    images = 1 if x is None else max(len(x), 1)
    how = f"{'one image' if images == 1 else f'{images} images'}, everything that the model computes"
    return Coverage.of(
        report, other=other, counted=how, rows=spec.rows, columns=spec.columns, images=images,
        uncounted=tuple(sorted(count.uncounted)),
    )  # fmt: skip


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _own_example(model: nn.Module) -> Any:
    """The input of one image, of a model that says which it takes: a diffusers ``UNet2DModel``."""
    import sys

    diffusers: Any = sys.modules.get("diffusers")  # a model of it cannot be here without it
    if diffusers is None or not isinstance(model, diffusers.UNet2DModel):
        return None
    c: Any = model.config
    size = c["sample_size"] or 32
    height, width = (size, size) if isinstance(size, int) else size
    image = torch.zeros(1, c["in_channels"], height, width, dtype=next(model.parameters()).dtype)
    labels = torch.zeros(1, dtype=torch.long) if c.get("num_class_embeds") else None
    return (image, 1) if labels is None else (image, 1, labels)


def _to(batch: Any, device: torch.device) -> Any:
    if torch.is_tensor(batch):
        return batch.to(device)
    if isinstance(batch, dict):
        return {k: _to(v, device) for k, v in batch.items()}
    return tuple(_to(v, device) for v in batch) if isinstance(batch, tuple | list) else batch


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
