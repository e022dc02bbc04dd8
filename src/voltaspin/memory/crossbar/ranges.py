"""Ranges of inputs and converters, chosen from the inputs that a layer has seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.memory.crossbar.converted import Converted
from voltaspin.memory.crossbar.converters import adc, adc_step, converter_step, loading
from voltaspin.memory.crossbar.counting import call
from voltaspin.memory.crossbar.layer import MemoryLayer, context_of

_SUMS = 1 << 16  # on which ranges are tried
_TRIALS = 25  # ranges
_STEP = 1 << 61  # from which on the choice of ranges draws its read noise
_LEAST_GAIN = 1e-3  # below which a converter's output hardly depends on its sum


class ClippingWarning(UserWarning):
    """A range clips more than the specification admits."""


def calibrate(model: nn.Module, run: Callable[[nn.Module], object] | Iterable[Any]) -> dict[str, float]:
    """Fix the ranges of inputs and converters from typical work, which the ledger does not count.

    Args:
        model: converted.
        run: calls the model (a function of it), or arguments to call it with, one batch after another. With several
            time buckets each must occur; one that does not takes its neighbour's ranges.

    Returns:
        Share of clipped conversions per layer; more than ``clip_share`` of the specification is a warning.
    """
    context = context_of(model)
    layers = [m for m in model.modules() if isinstance(m, MemoryLayer)]
    context.recording = True
    try:
        with torch.no_grad():
            if callable(run):
                run(model)
            else:
                for batch in run:
                    call(model, batch)
    finally:
        context.recording = False
    unseen = [layer.name for layer in layers if not layer.seen]
    if unseen:
        for layer in layers:
            layer.seen = {}
        raise InputError(f"the calibration never reached {', '.join(unseen[:5])}; run the whole model")
    return {layer.name: choose_ranges(layer) for layer in layers}


@torch.no_grad()
def choose_ranges(layer: MemoryLayer) -> float:
    """Choose the ranges from what was recorded; returns the largest share of clipped conversions."""
    spec = layer.spec
    for bucket, seen in layer.seen.items():
        sample = torch.cat([s for s, _, _ in seen])
        largest = max(m for _, _, m in seen)
        step = max(largest, 1e-12) / spec.input_top
        if spec.input_bits < 8:
            losses = {}
            for share in np.linspace(0.2, 1.0, 33).tolist():
                trial = step * share
                q = (sample / trial).round().clamp(spec.input_bottom, spec.input_top)
                losses[trial] = float(((q * trial - sample) ** 2).sum())
            step = min(losses, key=losses.__getitem__)
        layer.input_step[bucket] = step
        columns = torch.cat([c for _, c, _ in seen], 1)
        q = (columns / step).round().clamp(spec.input_bottom, spec.input_top)
        if isinstance(layer.crossbar.readout, Converted):
            layer.clipped[bucket] = _choose_converter_ranges(layer, layer.crossbar.readout, q, bucket)
    missing = [b for b in range(spec.time_buckets) if b not in layer.seen]
    for b in missing:
        near = min(layer.seen, key=lambda k: abs(k - b))
        for kept in (layer.input_step, layer.adc_limit, layer.adc_gain, layer.adc_shift, layer.adc_loss):
            kept[b] = kept[near]
    layer.seen = {}
    return float(layer.clipped.max())


def _choose_converter_ranges(layer: MemoryLayer, readout: Converted, q: torch.Tensor, bucket: int) -> float:
    """Choose each slice's range by the mean square that conversion loses of the recorded sums, and keep what all
    conversions together do to each output: the part of the loss that goes with the output, and the variance of the
    rest, with all correlations over phases, slices and tiles."""
    spec = layer.spec
    planes = readout.drive.planes(q.transpose(1, 2)[None])
    lost: torch.Tensor | float = 0.0
    clipped = 0.0
    for s in range(spec.slices):
        sums = [
            torch.stack([_sums(layer, readout, x[0, :, top : top + spec.rows], s, top, phase)
                         for top in range(0, layer.in_features, spec.rows)])
            for phase, (_, x) in enumerate(planes)
        ]  # fmt: skip
        limit = torch.tensor(spec.adc_range or _best_limit(torch.cat([y.reshape(-1) for y in sums]), spec.adc_bits))
        layer.adc_limit[bucket, s] = limit.clamp_min(1e-6)
        step = converter_step(limit, spec)
        reach = float(step) * 2 ** (spec.adc_bits - 1)
        clipped = max(clipped, float(torch.stack([(y.abs() > reach).float().mean() for y in sums]).mean()))
        for (weight, _), y in zip(planes, sums, strict=True):
            lost = lost + weight * 2.0**s * (adc(y, step, spec.adc_bits) - y).sum(0)
    assert torch.is_tensor(lost)
    gain, shift, rest = _regression(torch.matmul(layer.cells.weight, q.transpose(1, 2)), lost)
    layer.adc_gain[bucket] = (1 + gain).clamp_min(_LEAST_GAIN).reshape(-1)
    layer.adc_shift[bucket], layer.adc_loss[bucket] = shift.reshape(-1), rest.reshape(-1)
    if clipped > spec.clip_share:
        warnings.warn(
            f"layer {layer.name!r}: {clipped:.1%} of the conversions are clipped, more than clip_share = "
            f"{spec.clip_share:.1%}; widen adc_range or give the converter more bits",
            ClippingWarning, stacklevel=2,
        )  # fmt: skip
    return clipped


def _regression(y: torch.Tensor, lost: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Slope, intercept and mean square residual of ``lost`` over ``y``, along the last axis."""
    y0, l0 = y.mean(-1, keepdim=True), lost.mean(-1, keepdim=True)
    square = ((y - y0) ** 2).mean(-1)
    slope = torch.where(square > 0, ((y - y0) * (lost - l0)).mean(-1) / square.clamp_min(1e-30), 0.0)
    rest = (lost - l0 - slope[..., None] * (y - y0)).square().mean(-1)
    return slope, l0[..., 0] - slope * y0[..., 0], rest


def _sums(layer: MemoryLayer, readout: Converted, x: torch.Tensor, s: int, top: int, plane: int) -> torch.Tensor:
    """Sums of slice ``s`` in the tiles that begin at row ``top``, with read noise: (groups, outputs, positions)."""
    cells, noise = layer.cells, layer.crossbar.noise
    y = torch.matmul(cells.value[s, :, :, top : top + layer.spec.rows], x)
    if cells.slice_noise is None:
        return y
    own = cells.slice_noise[s, :, :, top : top + layer.spec.rows]
    always = readout.cell.always * readout.drive.read_power * own.sum(2, keepdim=True)
    variance = torch.matmul(own, readout.charge(x)) + always
    # numbers that no image of a run draws
    return y + variance.clamp_min(0).sqrt() * noise.like(y[None], noise.counters((top,), _STEP + (s << 8) + plane))[0]


def _best_limit(y: torch.Tensor, bits: int) -> float:
    """Range at which a converter's rounding and clipping lose least of ``y``."""
    y = y[:: max(1, y.numel() // _SUMS)]
    low, high = loading(2) * float((y.double() ** 2).mean().sqrt()) / 2, float(y.abs().max())
    trials = torch.from_numpy(np.geomspace(max(min(low, high), 1e-6), max(high, 1e-6), _TRIALS)).float()
    losses = [float(((adc(y, adc_step(limit, bits), bits) - y) ** 2).mean()) for limit in trials]
    return float(trials[int(np.argmin(losses))])
