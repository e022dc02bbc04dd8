"""A layer of a torch model whose weights lie in a crossbar: geometry, ranges and gradients around one."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.memory.crossbar.converters import Conversion
from voltaspin.memory.crossbar.counting import CrossbarContext
from voltaspin.memory.crossbar.geometry import KINDS, geometry_of
from voltaspin.memory.crossbar.matrix import Crossbar
from voltaspin.memory.crossbar.program import Programmed, Written, require_finite
from voltaspin.memory.crossbar.readout import Measured
from voltaspin.memory.crossbar.spec import ArraySpec

_SAMPLE = 1 << 14  # inputs kept per layer, bucket and batch for the choice of a range
_IMAGES, _POSITIONS = 16, 512  # whose positions, and how many of them, are kept for the ranges of converters
_KEPT = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "output_padding", "groups",
         "padding_mode")  # fmt: skip  # attributes of the layer that a model may ask for


def _uncompiled(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A method that ``torch.compile`` leaves as it is: what draws numbers and counts must run each time."""

    @functools.wraps(forward)
    def run(*args: Any, **options: Any) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            return forward(*args, **options)
        return torch.compiler.disable(forward)(*args, **options)

    return run


def _transform(x: torch.Tensor) -> str | None:
    """What follows a tensor instead of computing with its numbers; None for nothing."""
    if torch.jit.is_tracing():
        return "torch.jit.trace"
    if torch.autograd.forward_ad.unpack_dual(x).tangent is not None:
        return "forward-mode differentiation"
    try:
        x.data_ptr()  # wrapped tensors hold none
    except RuntimeError:
        return "a transform of torch.func (vmap, grad, jvp), or by torch.export"
    return None


class MemoryLayer(nn.Module):
    """A linear layer or convolution in a crossbar.

    ``weight`` stays the float parameter that an optimiser trains; whenever it has changed, the cells are written
    again. Gradients go straight through rounding and noise, and stop where an input was clipped.

    Args:
        layer: one of ``KINDS``, with zero padding.
        spec: of the arrays.
        name: of the layer, which keys its cells.
        context: shared by the layers of the model.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    input_step: torch.Tensor
    adc_limit: torch.Tensor
    adc_gain: torch.Tensor
    adc_shift: torch.Tensor
    adc_loss: torch.Tensor
    clipped: torch.Tensor

    def __init__(self, layer: Any, spec: ArraySpec, name: str, context: CrossbarContext) -> None:
        super().__init__()
        if not isinstance(layer, KINDS):
            raise InputError(f"layer {name!r} is a {type(layer).__name__}, which cannot go into memory")
        if getattr(layer, "padding_mode", "zeros") != "zeros":
            raise InputError(f"layer {name!r}: padding_mode={layer.padding_mode!r}; only zeros are supported")
        source: Any = layer
        self.weight, self.bias = source.weight, source.bias
        self.crossbar = Crossbar(self.weight, spec, name=name, geometry=geometry_of(layer), context=context)
        for kept in _KEPT:
            if hasattr(layer, kept):
                setattr(self, kept, getattr(source, kept))
        each = (self.out_features,)
        sizes = {"input_step": (), "adc_limit": (spec.slices,), "adc_gain": each, "adc_shift": each, "adc_loss": each}
        for kept, size in (*sizes.items(), ("clipped", ())):  # see ranges.choose_ranges
            self.register_buffer(kept, torch.zeros(spec.time_buckets, *size, dtype=torch.float32))
        self.seen: dict[int, list[tuple[torch.Tensor, torch.Tensor, float]]] = {}

    @property
    def spec(self) -> ArraySpec:
        """The specification of the arrays."""
        return self.crossbar.spec

    @property
    def name(self) -> str:
        """The name that keys the cells."""
        return self.crossbar.name

    @property
    def context(self) -> CrossbarContext:
        """The context shared by the layers of the model."""
        return self.crossbar.context

    @property
    def in_features(self) -> int:
        """Inputs of a matrix."""
        return self.crossbar.geometry.shape[2]

    @property
    def out_features(self) -> int:
        """Outputs of all matrices."""
        groups, outputs, _ = self.crossbar.geometry.shape
        return groups * outputs

    def program(self) -> Written:
        """Write the weights into the cells, unless they are there already."""
        return self.crossbar.program(self.weight)

    @property
    def cells(self) -> Programmed:
        """The cells as they stand in the arrays now."""
        return self.program().cells

    @_uncompiled
    def forward(self, input: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        """Compute as the plain layer does, in the input's own floating-point type.

        Raises:
            InputError: an input that the arrays cannot take: not floating point, not finite, of another shape, on the
                meta device, or negative where ``input_bits`` is 1; an ``output_size``; or a call by a transform of
                ``torch.func``, by ``torch.export`` or by ``torch.jit.trace``.
        """
        if output_size is not None:
            raise InputError(
                f"layer {self.name!r} is called with an output_size, which a layer in memory does not take; keep it "
                f'digital: ArraySpec(layers={{"{self.name}": "digital"}})'
            )
        plain = self.crossbar.geometry.apply
        if self.context.bypass:
            return plain(input, self.weight, self.bias)
        self._check(input)
        self.program()
        flat = input.dim() == self.crossbar.geometry.dims.start
        x = input[None] if flat else input
        with torch.autocast(x.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.to(x.dtype)
            if not x.numel():
                y = plain(x, self.weight.to(x.dtype), bias)
                return y[0] if flat else y
            fixed = self.input_step[self._bucket]
            inputs, step, scale = self.crossbar.prepared(x, fixed if float(fixed) else None)
            if self.context.recording:
                self._record(inputs)
            if self._trained(x) and scale is None:
                y = self._straight_through(inputs, step).to(x.dtype)
            elif self._trained(x):
                with torch.no_grad():
                    y = self.crossbar.product(inputs, step, scale, self.bias, self._measured).to(x.dtype)
                ideal = plain(x, self.weight.to(x.dtype), bias)  # the plain layer's gradients, in the input's own type
                y = y + (ideal - ideal.detach())
            else:
                y = self.crossbar.product(inputs, step, scale, self.bias, self._measured).to(x.dtype)
        if not self.context.recording:
            self.crossbar.count(inputs, y)
        return y[0] if flat else y

    def _straight_through(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """The readout's values with the gradients of the layer of quantised weights and inputs."""
        bar, state = self.crossbar, self.program()
        q = bar.quantised(x, step)
        ideal = (self.weight / state.scale).float() / state.step_weight
        linear = bar.geometry.apply(q, ideal + (state.weight - ideal).detach())
        with torch.no_grad():
            counts = bar.readout.counts(bar.call(self._measured), q)
        y = (linear + (counts - linear).detach()) * (step * state.step_out)
        return y if self.bias is None else y + bar.geometry.per_output(self.bias)

    def _check(self, x: torch.Tensor) -> None:
        where = f"layer {self.name!r}: its input"
        if not torch.is_tensor(x) or x.layout != torch.strided or not x.is_floating_point():
            what = f"{x.dtype} in {x.layout} layout" if torch.is_tensor(x) else f"a {type(x).__name__}"
            how = "x.real and x.imag one after the other" if torch.is_tensor(x) and x.is_complex() else "e.g. x.float()"
            raise InputError(f"{where} is {what}; give a dense tensor of real floating-point numbers, {how}")
        if x.device != self.weight.device:
            raise InputError(f"{where} lies on {x.device}, its weights on {self.weight.device}; move one of them")
        g = self.crossbar.geometry
        if x.dim() not in g.dims or x.shape[g.axis] != g.channels:
            raise InputError(f"{where} has the shape {tuple(x.shape)}; give {g.wanted.format(g.channels)}")
        if (word := _transform(x)) is not None:
            raise InputError(
                f"layer {self.name!r} is called by {word}, and one in memory draws noise, counts and chooses ranges by "
                "the numbers themselves; call the model on a batch, take gradients with backward() or torch.autograd, "
                "and transform, export or trace the plain model"
            )
        if not bool(torch.isfinite(x.detach().sum(dtype=torch.float32))):
            require_finite(x, where)  # the sum may be infinite though no number is

    def _trained(self, x: torch.Tensor) -> bool:
        """Whether gradients are wanted."""
        wanted = x.requires_grad or self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)
        return wanted and torch.is_grad_enabled()

    @property
    def _bucket(self) -> int:
        return self.context.bucket if self.spec.time_buckets > 1 else 0

    @property
    def _measured(self) -> Measured | None:
        """The converters of this part of the time axis, where a calibration set them."""
        b = self._bucket
        if not float(self.adc_limit[b, 0]) > 0:
            return None
        effect = Conversion(self.adc_gain[b][None], self.adc_shift[b][None], self.adc_loss[b][None])
        return Measured(self.adc_limit[b], effect)

    @torch.no_grad()
    def _record(self, x: torch.Tensor) -> None:
        size = x.abs()
        flat = size.reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLE)]
        geometry = self.crossbar.geometry
        some = x[:: max(1, len(x) // _IMAGES)] if geometry.trailing else x
        columns = geometry.unfold(some).permute(1, 0, 3, 2).reshape(geometry.shape[0], -1, self.in_features)
        if columns.shape[1] > _POSITIONS:  # golden sections, so that no row or column of an image is preferred
            part = np.arange(_POSITIONS) * (5**0.5 - 1) / 2 % 1
            columns = columns[:, torch.from_numpy((part * columns.shape[1]).astype(np.int64)).to(columns.device)]
        self.seen.setdefault(self.context.bucket, []).append((sample, columns, float(size.amax())))

    def get_extra_state(self) -> torch.Tensor:
        text = json.dumps({"spec": self.spec.to_json(), "name": self.name}, sort_keys=True)
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).clone()

    def set_extra_state(self, state: torch.Tensor) -> None:
        saved = json.loads(bytes(state.cpu().numpy().tobytes()).decode())
        theirs = ArraySpec.from_json(saved["spec"], where=f"the saved array of layer {self.name!r}").to_json()
        mine = self.spec.to_json()
        if theirs != mine:
            differs = sorted(k for k in mine if theirs.get(k) != mine[k])
            raise InputError(
                f"layer {self.name!r} was saved with another array ({', '.join(differs)} differ); convert with the "
                "ArraySpec of the saved model"
            )

    def _apply(self, fn: Any, recurse: bool = True) -> MemoryLayer:
        kept = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in kept.items():  # ranges are float32 whatever the weights are
            moved = self._buffers[name]
            if buffer is not None and moved is not None and moved.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(moved.device)
        return self

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing_keys: list[str], *rest: Any
    ) -> None:
        """A float layer's state has no ranges: those of this layer stay."""
        plain = not any(k.startswith(prefix) and k[len(prefix) :] not in ("weight", "bias") for k in state_dict)
        before = len(missing_keys)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, *rest)
        if plain:
            missing_keys[before:] = [k for k in missing_keys[before:] if k[len(prefix) :] in ("weight", "bias")]

    def extra_repr(self) -> str:
        return self.crossbar.extra_repr()


def context_of(model: nn.Module) -> CrossbarContext:
    """Return the context that the converted layers of ``model`` share; raises InputError where it has none."""
    for module in model.modules():
        if isinstance(module, MemoryLayer):
            return module.context
    raise InputError(f"this {type(model).__name__} has no layer in memory; convert(model, spec) makes one")
