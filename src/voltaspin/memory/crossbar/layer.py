"""A layer of a torch model whose weights lie in crossbars.

Two routes lead to the same numbers. The *direct* one is the layer's own operation (a convolution, say) with the
effective weights, and a second one with the variances: one product more than the plain layer, one draw per output.
The *columns* route unfolds the inputs and goes tile by tile and slice by slice, as the hardware does; it is needed
where every conversion is made exactly.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.memory.crossbar.context import CrossbarContext
from voltaspin.memory.crossbar.normals import ReadNoise
from voltaspin.memory.crossbar.periphery import (
    charge,
    converter_step,
    fixed_range,
    gaussian_loss,
    loading,
    phase_weight,
    phase_weight_inside,
    phases_of,
    read_noise,
    sensing,
)
from voltaspin.memory.crossbar.program import Programmed, program, quantise_weights
from voltaspin.memory.crossbar.programmed import (
    LARGE,
    Conversion,
    State,
    moments_of,
    power_of_two,
    require_finite,
    turns_of,
)
from voltaspin.memory.crossbar.spec import ArraySpec

_MISREADS = 1e-6  # of digital sensing, up to which they are left out
_COLUMNS = 32 << 20  # elements of unfolded inputs held at once
_LARGEST, _SMALLEST = 1e38, 1e-30  # that float32 holds with room for products
_SAMPLE = 1 << 14  # inputs kept per layer, bucket and batch for the choice of a range
_IMAGES, _POSITIONS = 16, 512  # whose positions, and how many of them, are kept for the ranges of converters

#: Layers that can go into memory.
KINDS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


class MemoryLayer(nn.Module):
    """A linear layer or convolution in crossbars.

    ``weight`` stays the float parameter that an optimiser trains; whenever it has changed, the cells are written
    again. Gradients go straight through rounding and noise, and stop where an input was clipped.

    Args:
        layer: one of :data:`KINDS`, with zero padding.
        spec: of the arrays.
        name: of the layer, which keys its cells.
        context: shared by the model.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    input_step: torch.Tensor
    adc_limit: torch.Tensor
    adc_gain: torch.Tensor
    adc_shift: torch.Tensor
    adc_loss: torch.Tensor
    clipped: torch.Tensor
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any
    output_padding: Any
    kernel: tuple[int, ...]

    def __init__(self, layer: Any, spec: ArraySpec, name: str, context: CrossbarContext) -> None:
        super().__init__()
        if not isinstance(layer, KINDS):
            raise InputError(f"layer {name!r} is a {type(layer).__name__}, which cannot go into memory")
        self.spec, self.name, self.context = spec, name, context
        self.kind = next(kind.__name__ for kind in KINDS if isinstance(layer, kind))
        source: Any = layer
        self.weight, self.bias = source.weight, source.bias
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        self.groups = 1 if isinstance(layer, nn.Linear) else int(source.groups)
        if not isinstance(layer, nn.Linear):
            if layer.padding_mode != "zeros":
                raise InputError(f"layer {name!r}: padding_mode={layer.padding_mode!r}; only zeros are supported")
            self.stride, self.dilation, self.padding = source.stride, source.dilation, source.padding
            self.output_padding = source.output_padding
            self.kernel = tuple(source.kernel_size)
        require_finite(self.weight, f"layer {name!r}: its weight")
        if spec.mode == "digital" and (error := sensing(spec).error) > _MISREADS:
            raise InputError(
                f"layer {name!r}: a cell that is sensed alone would be misread with a probability of {error:.2g}; "
                f"digital arrays are modelled up to {_MISREADS:g}: lower read_noise or raise the TMR"
            )
        self.register_buffer("input_step", torch.zeros(spec.time_buckets, dtype=torch.float32))
        self.register_buffer("adc_limit", torch.zeros(spec.time_buckets, spec.slices, dtype=torch.float32))
        for kept in ("adc_gain", "adc_shift", "adc_loss"):  # of each output, see ranges.settle
            self.register_buffer(kept, torch.zeros(spec.time_buckets, self.out_features, dtype=torch.float32))
        self.register_buffer("clipped", torch.zeros(spec.time_buckets, dtype=torch.float32))
        self.seen: dict[int, list[tuple[torch.Tensor, torch.Tensor, float]]] = {}
        self._noise = ReadNoise(spec.seed, name)
        self._state: State | None = None
        for kept in ("in_channels", "out_channels", "kernel_size", "padding_mode"):  # that a model may ask for
            if hasattr(layer, kept):
                setattr(self, kept, getattr(source, kept))

    # -- the shape of the layer ------------------------------------------------------------------------------------

    @property
    def in_features(self) -> int:
        return self._matrix(self.weight).shape[2]

    @property
    def out_features(self) -> int:
        return self._matrix(self.weight).shape[1] * self.groups

    def _channels(self, weight: torch.Tensor) -> torch.Tensor:
        """Weights with one row per output channel."""
        if self.transposed:
            i, o, *_k = weight.shape
            split = weight.reshape(self.groups, i // self.groups, o, -1)
            return split.permute(0, 2, 1, 3).reshape(self.groups * o, -1)
        return weight.reshape(weight.shape[0], -1)

    def _matrix(self, weight: torch.Tensor) -> torch.Tensor:
        """Weights as matrices (groups, outputs, inputs)."""
        if self.transposed:
            i = weight.shape[0]
            return weight.reshape(self.groups, i // self.groups, -1).transpose(1, 2)
        return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)

    def _shaped(self, matrix: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`_matrix`."""
        if self.transposed:
            matrix = matrix.transpose(1, 2)
        return matrix.reshape(self.weight.shape)

    def _apply_weight(self, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        if self.kind == "Linear":
            return F.linear(x, w, b)
        if self.transposed:
            return F.conv_transpose2d(
                x, w, b, self.stride, self.padding, self.output_padding, self.groups, self.dilation
            )
        of = F.conv1d if self.kind == "Conv1d" else F.conv2d
        return of(x, w, b, self.stride, self.padding, self.dilation, self.groups)

    # -- programming -----------------------------------------------------------------------------------------------

    @torch.inference_mode(False)
    @torch.no_grad()
    def program(self) -> State:
        """Write the weights into the cells, unless they are there already.

        The weights themselves are compared with those that were written, since edits of ``weight.data``, of a tied
        parameter or of another copy of it leave no other trace.
        """
        weight = self.weight.detach()
        if weight.is_meta:
            raise InputError(f"layer {self.name!r}: its weight lies on the meta device and holds no values")
        state = self._state
        if state is not None and state.spec is self.spec and state.source.device == weight.device:
            same = weight if weight.dtype == state.source.dtype else weight.to(state.source.dtype)
            if torch.equal(same, state.source):
                return state
        require_finite(weight, f"layer {self.name!r}: its weight")
        scale = power_of_two(float(weight.abs().amax()))
        source = weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True)
        values = (source / scale).float()
        integers, step = quantise_weights(self._channels(values), self.spec)
        if self.transposed:
            i, o = values.shape[:2]
            integers = integers.reshape(self.groups, o, i // self.groups, -1).transpose(2, 3)
        cells = program(integers.reshape(*self._matrix(values).shape), self.spec, self._noise)
        moved = state is not None and torch.equal(state.source.cpu(), source.cpu())
        self._state = State.of(cells, step, self, source, scale)
        if not moved:
            self.context.ledger.child(self.name).count("write", cells.bits.numel())
        return self._state

    @property
    def cells(self) -> Programmed:
        """What stands in the arrays now."""
        return self.program().cells

    # -- computing -------------------------------------------------------------------------------------------------

    def forward(self, input: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        """Compute as the plain layer does, in the input's own floating-point type.

        Raises:
            InputError: an input that the arrays cannot take: not floating point, not finite, of another shape, on the
                meta device, or negative where ``input_bits`` is 1; or an ``output_size``.
        """
        if output_size is not None:
            raise InputError(
                f"layer {self.name!r} is called with an output_size, which a layer in memory does not take; keep it "
                f'digital: ArraySpec(layers={{"{self.name}": "digital"}})'
            )
        if self.context.bypass:
            return self._apply_weight(input, self.weight, self.bias)
        self._check(input)
        x = input
        state = self.program()
        flat = x.dim() == (1 if self.kind == "Linear" else 2 if self.kind == "Conv1d" else 3)
        if flat:
            x = x[None]
        if not x.numel():
            with torch.autocast(x.device.type, enabled=False):
                bias = None if self.bias is None else self.bias.to(x.dtype)
                y = self._apply_weight(x, self.weight.to(x.dtype), bias)
            return y[0] if flat else y
        kept = x.dtype
        step, scale = self._range(x, state)
        whole = x
        x = (x if scale is None else (x / scale).clamp(-_LARGEST, _LARGEST)).float()
        if self.context.recording:
            self._record(x)
        with torch.autocast(x.device.type, enabled=False):
            if scale is None:
                y = self._compute(x, step, self.bias).to(kept)
            else:
                with torch.no_grad():
                    y = self._compute(x, step, None).double() * (scale.double() * state.scale)
                    y = (y if self.bias is None else y + state.aligned(self.bias).double()).to(kept)
                if self._trained(whole):  # the plain layer's gradients, in the input's own type
                    bias = None if self.bias is None else self.bias.to(kept)
                    ideal = self._apply_weight(whole, self.weight.to(kept), bias)
                    y = y + (ideal - ideal.detach())
        self._count(x, y)
        return y[0] if flat else y

    def _check(self, x: torch.Tensor) -> None:
        where = f"layer {self.name!r}: its input"
        if not torch.is_tensor(x) or x.layout != torch.strided or not x.is_floating_point():
            what = f"{x.dtype} in {x.layout} layout" if torch.is_tensor(x) else f"a {type(x).__name__}"
            how = "x.real and x.imag one after the other" if torch.is_tensor(x) and x.is_complex() else "e.g. x.float()"
            raise InputError(f"{where} is {what}; give a dense tensor of real floating-point numbers, {how}")
        if x.device != self.weight.device:
            raise InputError(f"{where} lies on {x.device}, its weights on {self.weight.device}; move one of them")
        dims = {"Linear": range(1, 99), "Conv1d": (2, 3)}.get(self.kind, (3, 4))
        if x.dim() not in dims or x.shape[-1 if self.kind == "Linear" else -len(self.kernel) - 1] != self._inputs:
            wanted = {"Linear": "(..., {})", "Conv1d": "(images, {}, length)"}.get(
                self.kind, "(images, {}, rows, columns)"
            )
            raise InputError(f"{where} has the shape {tuple(x.shape)}; give {wanted.format(self._inputs)}")
        if not bool(torch.isfinite(x.detach().sum(dtype=torch.float32))):
            require_finite(x, where)  # the sum may be infinite though no number is
        if self.spec.input_bits == 1 and x.numel() and bool((x.detach() < 0).any()):
            raise InputError(
                f"{where} is negative at places, and input_bits = 1 stands for 0 and 1 only; input_bits = 2 has "
                "-1, 0 and 1 and takes as many phases"
            )

    @property
    def _inputs(self) -> int:
        """Features or channels of an input."""
        return self.weight.shape[0] if self.transposed else self.weight.shape[1] * self.groups

    def _range(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Step of the inputs, and what brings each image and the weights into float32's range.

        The scale is None where every image and the weights lie well inside that range, and a power of two elsewhere.
        Without a calibrated range the step comes from each image's largest input; it is shaped to divide ``x``.
        """
        x = x.detach()
        fixed = self.input_step[self.context.bucket if self.spec.time_buckets > 1 else 0]
        if float(fixed):
            beyond = x.dtype == torch.float64 and float(x.abs().amax()) > _LARGEST
            return fixed, torch.ones((), device=x.device) if beyond or state.scale != 1 else None
        largest = x.abs().flatten(1).amax(1)
        odd = (largest > LARGE) | ((largest < 1 / LARGE) & (largest > 0))
        scale = None
        shape = (-1, *[1] * (x.dim() - 1))
        if bool(odd.any()) or state.scale != 1:
            power = torch.ldexp(torch.ones_like(largest, dtype=torch.float64), torch.frexp(largest.double())[1] - 1)
            scale = torch.where(odd, power, 1.0).view(shape)
            largest = largest / scale.view(-1)
        largest = largest.where(largest > 0, _SMALLEST).float()  # an image of zeros has no noise either
        return (largest / self.spec.input_top).view(shape), scale

    def _trained(self, x: torch.Tensor) -> bool:
        """Whether gradients are wanted."""
        wanted = x.requires_grad or self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)
        return wanted and torch.is_grad_enabled()

    @property
    def _now(self) -> State:
        return self._state if self._state is not None else self.program()

    def _compute(self, x: torch.Tensor, step: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        spec, state = self.spec, self._now
        bucket = self.context.bucket if spec.time_buckets > 1 else 0
        q = torch.fake_quantize_per_tensor_affine(x / step, 1.0, 0, spec.input_bottom, spec.input_top)
        if self._trained(x):
            ideal = (self.weight / state.scale).float() / state.step_shaped
            w = ideal + (state.weight - ideal).detach()
            linear = self._apply_weight(q, w)
            with torch.no_grad():
                hardware = self._columns(q, bucket) if self._needs_columns else self._noisy(q, bucket)
            y = linear + (hardware - linear).detach()
            scaled = y * (step * state.step_out)
            return scaled if bias is None else scaled + state.aligned(bias)
        if spec.mode == "digital":
            if state.exact:
                y = self._apply_weight(q, state.weight)
            else:
                y = self._apply_weight(q.double(), state.weight.double())
            scale = step * state.step_out
            if bias is None:
                return y * scale
            return torch.addcmul(state.aligned(bias).to(y.dtype), y, scale.to(y.dtype))
        if self._needs_columns:
            y = self._columns(q, bucket) * (step * state.step_out)
            return y if bias is None else y + state.aligned(bias)
        return self._noisy(q, bucket, step, bias)

    @property
    def _needs_columns(self) -> bool:
        spec = self.spec
        if spec.mode == "digital":
            return False
        return spec.adc_model == "exact" or (spec.dummies > 0 and not read_noise(spec).silent)

    def _noisy(
        self, q: torch.Tensor, bucket: int, step: torch.Tensor | None = None, add: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Direct route: in counts, or in the layer's own units with ``add`` where ``step`` is given."""
        spec, state = self.spec, self._now
        if spec.mode == "digital":
            y = self._apply_weight(q, state.weight) if state.exact else self._apply_weight(
                q.double(), state.weight.double()).float()  # fmt: skip
            return y
        conversion = self._conversion(q, bucket)
        if self.transposed and len(conversion.gain) > 1:  # taps of all images are converted alike
            conversion = Conversion(*(t.mean(0, keepdim=True) for t in conversion))
        y = self._apply_weight(q, state.weight).contiguous()
        variance = None
        if state.noise is not None:
            variance = self._apply_weight(charge(q, spec), state.noise, state.noise_always)
        if self.transposed:
            y, variance = self._converted_taps(q, y, variance, conversion)
            conversion = Conversion.none(len(y), state.step.numel(), y.device)
        counters = self._counters(len(y))
        per_channel = (lambda t: t[:, None, :]) if self.kind == "Linear" else (lambda t: t[:, :, None])
        rows = (len(y), -1, y.shape[-1]) if self.kind == "Linear" else (len(y), y.shape[1], -1)
        scale = torch.ones(len(y), state.step.numel(), device=y.device)
        bias = torch.zeros_like(scale[:1])
        if step is not None:
            scale = step.reshape(-1).expand(len(y))[:, None] * state.step
            bias = bias if add is None else add.detach().float()[None]
        bias = bias + scale * conversion.shift
        white = conversion.variance / conversion.gain**2
        host = [
            t.cpu().contiguous() for t in (y.view(*rows), *map(per_channel, (white, scale * conversion.gain, bias)))
        ]
        v = None if variance is None else variance.contiguous().view(*rows).cpu().numpy()
        y3, w3, s3, b3 = (t.numpy() for t in host)
        self._noise.finish(counters, y3, variance=v, white=w3, scale=s3, bias=b3)
        return host[0].view(y.shape).to(y.device)

    def _converted_taps(
        self, q: torch.Tensor, y: torch.Tensor, variance: torch.Tensor | None, conversion: Conversion
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and variance of a transposed convolution, whose taps are converted before they are added up."""
        state, inputs = self._now, q.shape[1] // self.groups

        def added(each: torch.Tensor) -> torch.Tensor:
            taps = self._shaped(each.view(self.groups, -1, 1).expand(-1, -1, inputs)).contiguous()
            return self._apply_weight(torch.ones_like(q[:1]), taps) / inputs

        if bool((conversion.gain != 1).any()):
            gain = self._shaped(conversion.gain.view(self.groups, -1, 1).expand(-1, -1, inputs))
            y = self._apply_weight(q, state.weight * gain) + added(conversion.shift)
        white = torch.cat([added(v) for v in conversion.variance])
        return y, (white.expand(y.shape) if variance is None else variance + white)

    def _counters(self, images: int) -> NDArray[np.uint64]:
        return self._noise.counters(*self.context.position(self.name, images))

    def _limits(self, q: torch.Tensor, bucket: int) -> torch.Tensor:
        """Range of the converters [counts]: (images or 1, slices)."""
        spec, state = self.spec, self._now
        if spec.adc_range is not None:
            return torch.full((1, spec.slices), spec.adc_range, device=q.device)
        if float(self.adc_limit[bucket, 0]) > 0:
            return self.adc_limit[bucket][None]
        first, second = moments_of(q, spec)
        rms2 = (second - first**2).clamp_min(0)[:, None] * state.tile_square + first[:, None] ** 2 * state.tile_sum
        return loading(spec.adc_bits) * rms2.sqrt().clamp_min(1e-6)

    def _conversion(self, q: torch.Tensor, bucket: int) -> Conversion:
        """What all conversions behind an output do to it: measured where the ranges were, else of Gaussian sums."""
        spec, state = self.spec, self._now
        if float(self.adc_limit[bucket, 0]) > 0:
            return Conversion(*(kept[bucket][None] for kept in (self.adc_gain, self.adc_shift, self.adc_loss)))
        if spec.adc_range is not None:
            return self._clipped(q)
        each = gaussian_loss(self._limits(q, bucket), spec.adc_bits)
        if state.whole:  # whole counts that meet a step of whole counts are rounded on a lattice
            each = (each - 1 / 12).clamp_min(0)
        four = torch.tensor([4.0**s for s in range(spec.slices)], device=q.device) * state.cells.used
        total = (each * four).sum(1) * math.ceil(self.in_features / spec.rows) * phase_weight(spec)
        none = Conversion.none(1, self.out_features, q.device)
        return none._replace(variance=total[:, None].expand(-1, self.out_features))

    def _clipped(self, q: torch.Tensor) -> Conversion:
        """What converters of a fixed range do to Gaussian sums of each output's own root mean square."""
        spec, state = self.spec, self._now
        assert spec.adc_range is not None
        first, second = (m[:, None, None] for m in moments_of(q, spec))
        square = (second - first**2).clamp_min(0) * state.output_square + first**2 * state.output_sum
        limit = torch.full_like(square, spec.adc_range)
        gain, shift, rest = fixed_range(limit, square.sqrt(), spec.adc_bits)
        if state.whole:
            rest = (rest - converter_step(limit, spec).clamp_max(1.0) ** 2 / 12).clamp_min(0)
        two = torch.tensor([2.0**s for s in range(spec.slices)], device=q.device)[:, None] * state.cells.used[:, None]
        power = two**2 * square
        whole = ((power * gain).sum(1) / power.sum(1).clamp_min(1e-30)).clamp_min(1e-6)
        rest = (two**2 * rest).sum(1) + (power * (gain - whole[:, None]) ** 2).sum(1)
        tiles = math.ceil(self.in_features / spec.rows)
        phases = sum(w for w, _ in phases_of(torch.zeros(1), spec))
        return Conversion(whole, (two * shift).sum(1) * tiles * phases, rest * tiles * phase_weight(spec))

    # -- the columns route -----------------------------------------------------------------------------------------

    def _unfold(self, q: torch.Tensor) -> torch.Tensor:
        """Inputs of the matrices: (images, groups, inputs, positions)."""
        if self.kind == "Linear":
            return q.reshape(len(q), 1, -1, q.shape[-1]).transpose(2, 3)
        if self.transposed:
            return q.reshape(len(q), self.groups, q.shape[1] // self.groups, -1)
        stride, dilation, kernel = self.stride, self.dilation, self.kernel
        padding = self.padding
        if isinstance(padding, str):
            lost = (
                [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)] if padding == "same" else [0] * len(kernel)
            )
            q = F.pad(q, [side for n in reversed(lost) for side in (n // 2, n - n // 2)])
            padding = (0,) * len(kernel)
        if self.kind == "Conv1d":
            q, kernel, stride = q[:, :, None], (1, *kernel), (1, *stride)
            dilation, padding = (1, *dilation), (0, *padding)
        columns = F.unfold(q, kernel, dilation, padding, stride)
        return columns.view(len(q), self.groups, -1, columns.shape[-1])

    def _fold(self, y: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """Outputs of the matrices (images, groups, outputs, positions) in the layer's own shape."""
        if self.kind == "Linear":
            return y[:, 0].transpose(1, 2).reshape(*q.shape[:-1], -1)
        y = y.reshape(len(y), -1, y.shape[-1])
        if not self.transposed:
            return y.view(len(y), -1, *self._size(q))
        size = self._size(q)
        channels = self.weight.shape[1] * self.groups
        return F.fold(y.view(len(y), channels * math.prod(self.kernel), -1), size, self.kernel, self.dilation,
                      self.padding, self.stride)  # fmt: skip

    def _size(self, q: torch.Tensor) -> tuple[int, ...]:
        with torch.device("meta"):
            x = torch.empty(q.shape)
            return tuple(self._apply_weight(x, torch.empty(self.weight.shape)).shape[2:])

    def _columns(self, q: torch.Tensor, bucket: int) -> torch.Tensor:
        """Every tile, slice and phase as the hardware computes them, in counts."""
        counters = self._counters(len(q))
        limits = self._limits(q, bucket)
        per_image = math.prod(q.shape[1:]) * (1 if self.transposed else math.prod(getattr(self, "kernel", (1,))))
        some = max(1, _COLUMNS // max(per_image * 2, 1))
        out = []
        for a in range(0, len(q), some):
            part = limits if len(limits) == 1 else limits[a : a + some]
            y = self._tiles(self._unfold(q[a : a + some]), part, counters[a : a + some])
            if self.spec.adc_model == "statistical":
                z = self._noise.normals(counters[a : a + some] + np.uint64(1 << 38), y[0].numel())
                of = [t.view(len(t), self.groups, -1, 1) for t in self._conversion(q[a : a + some], bucket)]
                y = y * of[0] + of[1] + of[2].sqrt() * torch.from_numpy(z).view(y.shape).to(y.device)
            out.append(self._fold(y, q[a : a + some]))
        return torch.cat(out)

    def _tiles(self, columns: torch.Tensor, limits: torch.Tensor, counters: NDArray[np.uint64]) -> torch.Tensor:
        spec, cells = self.spec, self._now.cells
        images, groups, inputs, positions = columns.shape
        S, outputs = cells.value.shape[0], cells.value.shape[2]
        noise = read_noise(spec)
        step = converter_step(limits, spec).expand(images, S).contiguous()
        two = np.array([2.0**s for s in range(S)], np.float32)
        total = torch.zeros(images, groups, outputs, positions)
        planes = phases_of(columns, spec)
        turn = 0
        for g in range(groups):
            sums = torch.zeros(images, outputs, positions)
            for weight, x in planes:
                for top in range(0, inputs, spec.rows):
                    rows = slice(top, min(top + spec.rows, inputs))
                    xs = x[:, g, rows]
                    value = cells.value[:, g, :, rows].reshape(S * outputs, -1)
                    y = torch.matmul(value, xs).view(images, S, outputs, positions)
                    key = counters + np.uint64((turn := turn + 1) << 40)
                    variance = None
                    if cells.slice_noise is not None:
                        drive = charge(xs, spec)
                        v = cells.slice_noise[:, g, :, rows].reshape(S * outputs, -1)
                        always = noise.always * phase_weight_inside(spec)
                        variance = torch.matmul(v, drive).view(y.shape) + always * v.sum(1).view(1, S, outputs, 1)
                        if cells.dummy_noise is not None:
                            d = cells.dummy_noise[:, g, rows]
                            spread = (torch.matmul(d, drive) + always * d.sum(1)[:, None]).clamp_min(0).sqrt()
                            z = self._noise.normals(key + np.uint64(1 << 39), spread[0].numel())
                            common = spread * torch.from_numpy(z).view(spread.shape).to(spread.device)
                            common = common.repeat_interleave(spec.outputs_per_tile, 1)[:, :outputs]
                            y = y - common[:, None] * cells.used.view(1, S, 1, 1)
                    if spec.adc_model == "statistical":
                        if variance is not None:
                            z = self._noise.normals(key, y[0].numel())
                            y = y + variance.clamp_min(0).sqrt() * torch.from_numpy(z).view(y.shape).to(y.device)
                        sums += weight * (y * torch.from_numpy(two).view(1, S, 1, 1).to(y.device)).sum(1).cpu()
                        continue
                    self._noise.convert(
                        key, y.cpu().contiguous().numpy(),
                        variance=None if variance is None else variance.cpu().contiguous().numpy(),
                        step=step.cpu().numpy(), bits=spec.adc_bits, weight=two * np.float32(weight),
                        out=sums.numpy(),
                    )  # fmt: skip
            total[:, g] = sums
        total = total.to(columns.device)
        if spec.offset:
            total -= spec.offset * columns.sum(2, keepdim=True)
        return total

    # -- ranges ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _record(self, x: torch.Tensor) -> None:
        size = x.abs()
        flat = size.reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLE)]
        some = x if self.kind == "Linear" else x[:: max(1, len(x) // _IMAGES)]
        columns = self._unfold(some).permute(1, 0, 3, 2).reshape(self.groups, -1, self.in_features)
        if columns.shape[1] > _POSITIONS:  # golden sections, so that no row or column of an image is preferred
            part = np.arange(_POSITIONS) * (5**0.5 - 1) / 2 % 1
            columns = columns[:, torch.from_numpy((part * columns.shape[1]).astype(np.int64)).to(columns.device)]
        self.seen.setdefault(self.context.bucket, []).append((sample, columns, float(size.amax())))

    # -- counting --------------------------------------------------------------------------------------------------

    def _count(self, x: torch.Tensor, y: torch.Tensor) -> None:
        if self.context.recording:
            return
        spec = self.spec
        inputs, outputs = self.in_features, self.out_features
        positions = x.numel() // x.shape[1] if self.transposed else y.numel() // self._channel_count
        phases = turns_of(spec)
        tiles = math.ceil(inputs / spec.rows)
        blocks = math.ceil(outputs // self.groups / spec.outputs_per_tile) * self.groups
        ledger = self.context.ledger_of(self.name)
        slices = int(self._now.cells.used.sum())
        products = positions * phases * inputs * outputs * slices * (spec.columns_per_output // spec.slices)
        ledger.count("product", products + positions * phases * inputs * blocks * spec.dummies)
        ledger.count("activation", positions * phases)
        ledger.count("drive", positions * phases * inputs * blocks)
        if spec.mode == "digital":
            ledger.count("add", products)
        else:
            conversions = positions * (phases if spec.inputs == "bit-serial" else 1) * tiles * outputs * slices
            ledger.count("conversion", conversions)
            ledger.count("add", conversions)
        ledger.count("byte", math.ceil(x.numel() * spec.input_bits / 8) + 2 * y.numel())

    @property
    def size(self) -> tuple[int, int]:
        """Cells that hold the weights, dummies included, and the tiles that these lie in."""
        spec, outputs = self.spec, self.out_features // self.groups
        blocks = math.ceil(outputs / spec.outputs_per_tile)
        columns = outputs * spec.columns_per_output + blocks * spec.dummies
        cells = self.groups * self.in_features * columns
        return cells, self.groups * blocks * math.ceil(self.in_features / spec.rows)

    @property
    def _channel_count(self) -> int:
        return self.weight.shape[0] if not self.transposed else self.weight.shape[1] * self.groups

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

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_state": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> MemoryLayer:
        import copy

        new = self.__class__.__new__(self.__class__)
        memo[id(self)] = new
        new.__dict__.update({k: None if k == "_state" else copy.deepcopy(v, memo) for k, v in self.__dict__.items()})
        return new

    def extra_repr(self) -> str:
        s = self.spec
        return f"{self.kind}, {self.out_features} x {self.in_features}, {s.mode}, {s.weight_bits}-bit weights"


def context_of(model: nn.Module) -> CrossbarContext:
    """What the converted layers of ``model`` share, its ledger among it; raises InputError where it has none."""
    for module in model.modules():
        if isinstance(module, MemoryLayer):
            return module.context
    raise InputError(f"this {type(model).__name__} has no layer in memory; convert(model, spec) makes one")
