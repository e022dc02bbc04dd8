"""Ranges of inputs and converters, chosen from what a layer has seen."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from voltaspin.memory.periphery import adc_step, loading, phases_of

if TYPE_CHECKING:
    from voltaspin.memory.layers import MemoryLayer


class ClippingWarning(UserWarning):
    """A range clips more than the specification admits."""


@torch.no_grad()
def settle(layer: MemoryLayer) -> float:
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
        if spec.mode != "digital":
            layer.clipped[bucket] = _settle_converters(layer, q, bucket)
    missing = [b for b in range(spec.time_buckets) if b not in layer.seen]
    for b in missing:
        near = min(layer.seen, key=lambda k: abs(k - b))
        layer.input_step[b], layer.adc_limit[b] = layer.input_step[near], layer.adc_limit[near]
    layer.seen = {}
    return float(layer.clipped.max())


def _settle_converters(layer: MemoryLayer, q: torch.Tensor, bucket: int) -> float:
    spec = layer.spec
    clipped = 0.0
    for s in range(spec.slices):
        sums = []
        for _, x in phases_of(q[:, None].transpose(0, 1).transpose(2, 3), spec):
            for top in range(0, layer.in_features, spec.rows):
                value = layer.cells.value[s, :, :, top : top + spec.rows]
                sums.append(torch.matmul(value, x[0, :, top : top + spec.rows]).reshape(-1))
        y = torch.cat(sums)
        limit = spec.adc_range or loading(spec.adc_bits) * float((y.double() ** 2).mean().sqrt())
        layer.adc_limit[bucket, s] = max(limit, 1e-6)
        reach = float(adc_step(torch.tensor(limit), spec.adc_bits)) * 2 ** (spec.adc_bits - 1)
        clipped = max(clipped, float((y.abs() > reach).float().mean()))
    if clipped > spec.clip_share:
        warnings.warn(
            f"layer {layer.name!r}: {clipped:.1%} of the conversions are clipped, more than clip_share = "
            f"{spec.clip_share:.1%}; widen adc_range or give the converter more bits",
            ClippingWarning, stacklevel=2,
        )  # fmt: skip
    return clipped
