"""What a layer in memory computes with: its programmed cells, and what its converters do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from voltaspin.core.errors import InputError
from voltaspin.memory.crossbar.periphery import phase_weight, phase_weight_inside, phases_of, read_noise
from voltaspin.memory.crossbar.program import Programmed
from voltaspin.memory.crossbar.spec import ArraySpec

_EXACT = 2.0**24  # integers up to here are exact in float32, and so is any sum of them that stays below
LARGE = 2.0**60  #: beyond which, or below the inverse of which, numbers are scaled before float32 takes them


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


@dataclass
class State:
    """Programmed cells in the shapes that the layer computes with."""

    cells: Programmed
    spec: ArraySpec
    source: torch.Tensor
    scale: float
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
    output_square: torch.Tensor
    output_sum: torch.Tensor
    trailing: int

    @classmethod
    def of(cls, cells: Programmed, step: torch.Tensor, layer: Any, source: torch.Tensor, scale: float) -> State:
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
        squares = [(value[..., t : t + rows] ** 2).sum(-1) for t in tops]
        totals = [value[..., t : t + rows].sum(-1) ** 2 for t in tops]
        square, total = (torch.stack([each.mean((1, 2)) for each in t]).mean(0) for t in (squares, totals))
        own_square, own_total = (torch.stack(t).mean(0).flatten(1) for t in (squares, totals))
        whole = spec.mode != "digital" and not spec.resistance_spread and noise is None and not spec.wire_resistance
        return cls(cells, spec, source, scale, weight, noise, always, step, shaped, out, largest < _EXACT, whole,
                   square, total, own_square, own_total, trailing)  # fmt: skip

    def aligned(self, bias: torch.Tensor) -> torch.Tensor:
        return bias.view(-1, *[1] * self.trailing)


def require_finite(x: torch.Tensor, what: str) -> None:
    bad = ~torch.isfinite(x.detach())
    if bool(bad.any()):
        raise InputError(
            f"{what} holds {int(bad.sum())} values that are NaN or infinite; an array stores and takes finite numbers "
            "only: look for the step that made them"
        )


def power_of_two(largest: float) -> float:
    """What brings ``largest`` near 1 where it lies far from it; 1 elsewhere."""
    return 2.0 ** (math.frexp(largest)[1] - 1) if largest > LARGE or 0 < largest < 1 / LARGE else 1.0


def turns_of(spec: ArraySpec) -> int:
    """How often the rows are driven for one input."""
    return spec.phases if spec.inputs == "bit-serial" or spec.mode == "resistance_sum" else 1


def moments_of(q: torch.Tensor, spec: ArraySpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and mean square of what drives a row in one phase: (images,) each."""
    if spec.inputs == "multilevel":
        flat = q.flatten(1)
        return flat.mean(1), (flat**2).mean(1)
    planes = torch.stack([x.flatten(1) for _, x in phases_of(q, spec)])
    return planes.mean((0, 2)), (planes**2).mean((0, 2))
