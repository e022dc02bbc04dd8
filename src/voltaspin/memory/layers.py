"""A layer of a torch model whose weights lie in crossbars.

Two routes lead to the same numbers. The *direct* one is the layer's own operation (a convolution, say) with the
effective weights, and a second one with the variances: one product more than the plain layer, one draw per output.
The *columns* route unfolds the inputs and goes tile by tile and slice by slice, as the hardware does; it is needed
where every conversion is made exactly.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.memory.chance import Chance
from voltaspin.memory.machine import Machine
from voltaspin.memory.periphery import (
    adc_step,
    charge,
    gaussian_loss,
    loading,
    phase_weight,
    phase_weight_inside,
    phases_of,
    read_noise,
    sensing,
)
from voltaspin.memory.programming import Programmed, program, quantise_weights
from voltaspin.memory.specification import ArraySpec

_MISREADS = 1e-6  # of digital sensing, up to which they are left out
_EXACT = 2.0**24  # integers up to here are exact in float32, and so is any sum of them that stays below
_COLUMNS = 32 << 20  # elements of unfolded inputs held at once
_SAMPLE = 1 << 14  # inputs kept per layer, bucket and batch for the choice of a range
_IMAGES, _POSITIONS = 16, 512  # whose positions, and how many of them, are kept for the ranges of converters

#: Layers that can go into memory.
KINDS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


class Conversion(NamedTuple):
    """What all conversions behind an output do to it: ``gain`` y + ``shift`` + noise of ``variance``; in counts.

    Each (images or 1, outputs). What clipping and rounding take from a sum is correlated with it; the part that is
    goes into gain and shift, the rest into the variance.

    Source: J. J. Bussgang, MIT RLE Technical Report 216 (1952).
    """

    gain: torch.Tensor
    shift: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def none(cls, images: int, outputs: int, device: torch.device) -> Conversion:
        zero = torch.zeros(images, outputs, device=device)
        return cls(zero + 1, zero, zero)


class MemoryLayer(nn.Module):
    """A linear layer or convolution in crossbars.

    ``weight`` stays the float parameter that an optimiser trains; whenever it has changed, the cells are written
    again. Gradients go straight through rounding and noise, and stop where an input was clipped.

    Args:
        layer: one of :data:`KINDS`, with zero padding.
        spec: of the arrays.
        name: of the layer, which keys its cells.
        machine: shared by the model.
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

    def __init__(self, layer: Any, spec: ArraySpec, name: str, machine: Machine) -> None:
        super().__init__()
        if not isinstance(layer, KINDS):
            raise InputError(f"layer {name!r} is a {type(layer).__name__}, which cannot go into memory")
        self.spec, self.name, self.machine = spec, name, machine
        self.kind = type(layer).__name__
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
        _finite(self.weight, f"layer {name!r}: its weight")
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
        self._chance = Chance(spec.seed, name)
        self._state: _State | None = None

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

    @torch.no_grad()
    def program(self) -> _State:
        """Write the weights into the cells, unless they are there already."""
        version = (self.weight._version, self.weight.data_ptr(), self.weight.device)
        if self._state is not None and self._state.version == version:
            return self._state
        _finite(self.weight, f"layer {self.name!r}: its weight")
        weight = self.weight.detach().float()
        integers, step = quantise_weights(self._channels(weight), self.spec)
        if self.transposed:
            i, o = weight.shape[:2]
            integers = integers.reshape(self.groups, o, i // self.groups, -1).transpose(2, 3)
        cells = program(integers.reshape(*self._matrix(weight).shape), self.spec, self._chance)
        self._state = _State.of(cells, step, self, version)
        self.machine.ledger.child(self.name).count("write", cells.bits.numel())
        return self._state

    @property
    def cells(self) -> Programmed:
        """What stands in the arrays now."""
        return self.program().cells

    # -- computing -------------------------------------------------------------------------------------------------

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not bool(torch.isfinite(x.detach().sum(dtype=torch.float32))):
            _finite(x, f"layer {self.name!r}: its input")
        flat = x.dim() == (1 if self.kind == "Linear" else 2 if self.kind == "Conv1d" else 3)
        if flat:
            x = x[None]
        kept, x = x.dtype, x.float()
        if self.machine.recording:
            self._record(x)
        with torch.autocast(x.device.type, enabled=False):
            y = self._compute(x)
        y = y.to(kept)
        self._count(x, y)
        return y[0] if flat else y

    def _compute(self, x: torch.Tensor) -> torch.Tensor:
        spec, state = self.spec, self.program()
        bucket = self.machine.bucket if spec.time_buckets > 1 else 0
        step = self.input_step[bucket]
        if float(step) == 0:
            step = _steps(x.detach(), spec)
        q = torch.fake_quantize_per_tensor_affine(x / step, 1.0, 0, spec.input_bottom, spec.input_top)
        training = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if training:
            ideal = self.weight.float() / state.step_shaped
            w = ideal + (state.weight - ideal).detach()
            linear = self._apply_weight(q, w)
            with torch.no_grad():
                hardware = self._columns(q, bucket) if self._needs_columns else self._noisy(q, bucket)
            y = linear + (hardware - linear).detach()
            scaled = y * (step * state.step_out)
            return scaled if self.bias is None else scaled + state.aligned(self.bias)
        if spec.mode == "digital":
            if state.exact:
                y = self._apply_weight(q, state.weight)
            else:
                y = self._apply_weight(q.double(), state.weight.double())
            scale = step * state.step_out
            if self.bias is None:
                return y * scale
            return torch.addcmul(state.aligned(self.bias).to(y.dtype), y, scale.to(y.dtype))
        if self._needs_columns:
            y = self._columns(q, bucket) * (step * state.step_out)
            return y if self.bias is None else y + state.aligned(self.bias)
        return self._noisy(q, bucket, step)

    @property
    def _needs_columns(self) -> bool:
        spec = self.spec
        if spec.mode == "digital":
            return False
        return spec.adc_model == "exact" or (spec.dummies > 0 and not read_noise(spec).silent)

    def _noisy(self, q: torch.Tensor, bucket: int, step: torch.Tensor | None = None) -> torch.Tensor:
        """Direct route: in counts, or in the layer's own units with the bias where ``step`` is given."""
        spec, state = self.spec, self.program()
        if spec.mode == "digital":
            y = self._apply_weight(q, state.weight) if state.exact else self._apply_weight(
                q.double(), state.weight.double()).float()  # fmt: skip
            return y
        conversion = self._conversion(q, bucket)
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
            bias = bias if self.bias is None else self.bias.detach().float()[None]
        bias = bias + scale * conversion.shift
        white = conversion.variance / conversion.gain**2
        host = [
            t.cpu().contiguous() for t in (y.view(*rows), *map(per_channel, (white, scale * conversion.gain, bias)))
        ]
        v = None if variance is None else variance.contiguous().view(*rows).cpu().numpy()
        y3, w3, s3, b3 = (t.numpy() for t in host)
        self._chance.finish(counters, y3, variance=v, white=w3, scale=s3, bias=b3)
        return host[0].view(y.shape).to(y.device)

    def _converted_taps(
        self, q: torch.Tensor, y: torch.Tensor, variance: torch.Tensor | None, conversion: Conversion
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and variance of a transposed convolution, whose taps are converted before they are added up."""
        state, inputs = self.program(), q.shape[1] // self.groups

        def added(each: torch.Tensor) -> torch.Tensor:
            taps = self._shaped(each.view(self.groups, -1, 1).expand(-1, -1, inputs)).contiguous()
            return self._apply_weight(torch.ones_like(q[:1]), taps) / inputs

        if bool((conversion.gain != 1).any()):
            gain = self._shaped(conversion.gain.view(self.groups, -1, 1).expand(-1, -1, inputs))
            y = self._apply_weight(q, state.weight * gain) + added(conversion.shift)
        white = torch.cat([added(v) for v in conversion.variance])
        return y, (white.expand(y.shape) if variance is None else variance + white)

    def _counters(self, images: int) -> NDArray[np.uint64]:
        return self._chance.counters(*self.machine.position(self.name, images))

    def _limits(self, q: torch.Tensor, bucket: int) -> torch.Tensor:
        """Range of the converters [counts]: (images or 1, slices)."""
        spec, state = self.spec, self.program()
        if spec.adc_range is not None:
            return torch.full((1, spec.slices), spec.adc_range, device=q.device)
        if float(self.adc_limit[bucket, 0]) > 0:
            return self.adc_limit[bucket][None]
        first, second = _moments(q, spec)
        rms2 = (second - first**2).clamp_min(0)[:, None] * state.tile_square + first[:, None] ** 2 * state.tile_sum
        return loading(spec.adc_bits) * rms2.sqrt().clamp_min(1e-6)

    def _conversion(self, q: torch.Tensor, bucket: int) -> Conversion:
        """What all conversions behind an output do to it: measured where the ranges were, else of Gaussian sums."""
        spec, state = self.spec, self.program()
        if float(self.adc_limit[bucket, 0]) > 0:
            return Conversion(*(kept[bucket][None] for kept in (self.adc_gain, self.adc_shift, self.adc_loss)))
        limits = self._limits(q, bucket)
        each = gaussian_loss(limits, spec.adc_bits)
        if spec.adc_range is not None:  # of which sums is not known: rounding alone
            each = adc_step(limits, spec.adc_bits) ** 2 / 12
        if state.whole:  # whole counts that meet a step of whole counts are rounded on a lattice
            each = (each - 1 / 12).clamp_min(0)
        four = torch.tensor([4.0**s for s in range(spec.slices)], device=q.device)
        total = (each * four).sum(1) * math.ceil(self.in_features / spec.rows) * phase_weight(spec)
        none = Conversion.none(1, self.out_features, q.device)
        return none._replace(variance=total[:, None].expand(-1, self.out_features))

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
                z = self._chance.normals(counters[a : a + some] + np.uint64(1 << 38), y[0].numel())
                of = [t.view(len(t), self.groups, -1, 1) for t in self._conversion(q[a : a + some], bucket)]
                y = y * of[0] + of[1] + of[2].sqrt() * torch.from_numpy(z).view(y.shape).to(y.device)
            out.append(self._fold(y, q[a : a + some]))
        return torch.cat(out)

    def _tiles(self, columns: torch.Tensor, limits: torch.Tensor, counters: NDArray[np.uint64]) -> torch.Tensor:
        spec, cells = self.spec, self.program().cells
        images, groups, inputs, positions = columns.shape
        S, outputs = cells.value.shape[0], cells.value.shape[2]
        noise = read_noise(spec)
        step = adc_step(limits, spec.adc_bits).expand(images, S).contiguous()
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
                            z = self._chance.normals(key + np.uint64(1 << 39), spread[0].numel())
                            common = spread * torch.from_numpy(z).view(spread.shape).to(spread.device)
                            common = common.repeat_interleave(spec.outputs_per_tile, 1)[:, :outputs]
                            y = y - common[:, None]
                    if spec.adc_model == "statistical":
                        if variance is not None:
                            z = self._chance.normals(key, y[0].numel())
                            y = y + variance.clamp_min(0).sqrt() * torch.from_numpy(z).view(y.shape).to(y.device)
                        sums += weight * (y * torch.from_numpy(two).view(1, S, 1, 1).to(y.device)).sum(1).cpu()
                        continue
                    self._chance.convert(
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
        self.seen.setdefault(self.machine.bucket, []).append((sample, columns, float(size.amax())))

    def settle(self) -> float:
        """Choose the ranges from what was recorded; returns the largest share of clipped conversions."""
        from voltaspin.memory.ranges import settle

        return settle(self)

    # -- counting --------------------------------------------------------------------------------------------------

    def _count(self, x: torch.Tensor, y: torch.Tensor) -> None:
        spec = self.spec
        inputs, outputs = self.in_features, self.out_features
        positions = x.numel() // x.shape[1] if self.transposed else y.numel() // self._channel_count
        phases = _turns(spec)
        tiles = math.ceil(inputs / spec.rows)
        blocks = math.ceil(outputs // self.groups / spec.outputs_per_tile) * self.groups
        ledger = self.machine.ledger_of(self.name)
        products = positions * phases * inputs * outputs * spec.columns_per_output
        ledger.count("product", products + positions * phases * inputs * blocks * spec.dummies)
        ledger.count("turn", positions * phases)
        ledger.count("drive", positions * phases * inputs * blocks)
        if spec.mode == "digital":
            ledger.count("add", products)
        else:
            conversions = positions * (phases if spec.inputs == "bit-serial" else 1) * tiles * outputs * spec.slices
            ledger.count("conversion", conversions)
            ledger.count("add", conversions)
        ledger.count("byte", math.ceil(x.numel() * spec.input_bits / 8) + 2 * y.numel())

    @property
    def _channel_count(self) -> int:
        return self.weight.shape[0] if not self.transposed else self.weight.shape[1] * self.groups

    def get_extra_state(self) -> torch.Tensor:
        text = json.dumps({"spec": self.spec.to_json(), "name": self.name}, sort_keys=True)
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).clone()

    def set_extra_state(self, state: torch.Tensor) -> None:
        saved = json.loads(bytes(state.cpu().numpy().tobytes()).decode())
        ArraySpec.from_json(saved["spec"], where=f"the saved array of layer {self.name!r}")
        mine = json.loads(json.dumps(self.spec.to_json()))
        if saved["spec"] != mine:
            differs = sorted(k for k in mine if saved["spec"].get(k) != mine[k])
            raise InputError(
                f"layer {self.name!r} was saved with another array ({', '.join(differs)} differ); convert with the "
                "ArraySpec of the saved model"
            )

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


@dataclass
class _State:
    """Programmed cells in the shapes that the layer computes with."""

    cells: Programmed
    version: tuple[Any, ...]
    weight: torch.Tensor
    noise: torch.Tensor | None
    noise_always: torch.Tensor | None
    step: torch.Tensor
    step_shaped: torch.Tensor
    step_out: torch.Tensor
    exact: bool
    whole: bool
    tile_square: torch.Tensor
    tile_sum: torch.Tensor
    trailing: int

    @classmethod
    def of(cls, cells: Programmed, step: torch.Tensor, layer: MemoryLayer, version: tuple[Any, ...]) -> _State:
        spec = layer.spec
        weight = layer._shaped(cells.weight).contiguous()
        noise = always = None
        if cells.noise is not None:
            r = read_noise(spec)
            noise = layer._shaped(cells.noise).contiguous()
            per = cells.noise.sum(2) * r.always * phase_weight_inside(spec) * phase_weight(spec)
            if layer.transposed:  # one term per tap that meets an input; to within the border
                per = per.view(layer.groups, -1, math.prod(layer.kernel)).sum(2) / math.prod(layer.stride)
            always = per.reshape(-1)
        trailing = 0 if layer.kind == "Linear" else 1 if layer.kind == "Conv1d" else 2
        out = step.view(-1, *[1] * trailing)
        if layer.transposed:
            shaped = step.view(layer.groups, 1, -1).expand(layer.groups, weight.shape[0] // layer.groups, -1)
            shaped = shaped.reshape(weight.shape[0], weight.shape[1], 1, 1)
        else:
            shaped = step.view(-1, *[1] * (weight.dim() - 1))
        largest = float(cells.weight.abs().sum(2).max()) * spec.input_top
        value, rows = cells.value, spec.rows
        tops = range(0, value.shape[-1], rows)
        square = torch.stack([(value[..., t : t + rows] ** 2).sum(-1).mean((1, 2)) for t in tops]).mean(0)
        total = torch.stack([(value[..., t : t + rows].sum(-1) ** 2).mean((1, 2)) for t in tops]).mean(0)
        whole = spec.mode != "digital" and not spec.resistance_spread and noise is None and not spec.wire_resistance
        return cls(cells, version, weight, noise, always, step, shaped, out, largest < _EXACT, whole, square, total,
                   trailing)  # fmt: skip

    def aligned(self, bias: torch.Tensor) -> torch.Tensor:
        return bias.view(-1, *[1] * self.trailing)


def _finite(x: torch.Tensor, what: str) -> None:
    bad = ~torch.isfinite(x.detach())
    if bool(bad.any()):
        raise InputError(
            f"{what} holds {int(bad.sum())} values that are NaN or infinite; an array stores and takes finite numbers "
            "only: look for the step that made them"
        )


def _steps(x: torch.Tensor, spec: ArraySpec) -> torch.Tensor:
    """Step of the inputs of each image, from its largest; shaped to divide ``x``."""
    largest = x.abs().flatten(1).amax(1).clamp_min(1e-12)
    return (largest / spec.input_top).view(-1, *[1] * (x.dim() - 1))


def _turns(spec: ArraySpec) -> int:
    """How often the rows are driven for one input."""
    return spec.phases if spec.inputs == "bit-serial" or spec.mode == "resistance_sum" else 1


def _moments(q: torch.Tensor, spec: ArraySpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and mean square of what drives a row in one phase: (images,) each."""
    if spec.inputs == "multilevel":
        flat = q.flatten(1)
        return flat.mean(1), (flat**2).mean(1)
    planes = torch.stack([x.flatten(1) for _, x in phases_of(q, spec)])
    return planes.mean((0, 2)), (planes**2).mean((0, 2))
