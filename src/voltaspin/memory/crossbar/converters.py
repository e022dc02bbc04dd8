"""Converters of column sums: how they round and clip, and how that acts on Gaussian sums; all in counts."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.memory.crossbar.spec import ArraySpec

Floats = NDArray[np.float64]


class Conversion(NamedTuple):
    """The effect of all conversions behind an output: ``gain`` y + ``shift`` + noise of ``variance``, in counts.

    Each is (images or 1, outputs). Clipping and rounding take a part from a sum that is correlated with it: that part
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


@cache
def _best(bits: int) -> tuple[float, float]:
    """The best range of a uniform converter for Gaussian sums, and the mean square it loses, both of unit variance."""
    from scipy.optimize import minimize_scalar
    from scipy.special import ndtri

    x = ndtri((np.arange(40_000) + 0.5) / 40_000)
    half = 2 ** (bits - 1)

    def loss(limit: float) -> float:
        step = limit / half
        return float(np.mean((x - step * np.clip(np.rint(x / step), -half, half - 1)) ** 2))

    found = minimize_scalar(loss, bounds=(0.3, 5.0), method="bounded", options={"xatol": 1e-3})
    return float(found.x), float(found.fun)


def loading(bits: int) -> float:
    """Range of a uniform converter over the standard deviation of a Gaussian that loses least by it.

    Found by minimising the mean square of rounding and clipping. A converter of two's complement codes: from
    ``-2**(bits-1)`` to ``2**(bits-1) - 1``, 0 being one of them.

    Source: J. Max, IRE Trans. Inf. Theory 6, 7 (1960), whose even quantiser has no level at 0.
    """
    return _best(bits)[0]


def gaussian_loss(limit: torch.Tensor, bits: int) -> torch.Tensor:
    """Mean square [counts^2] that rounding and clipping lose of Gaussian sums whose best range is ``limit``."""
    best, loss = _best(bits)
    clipping = loss * (limit / best) ** 2
    step = adc_step(limit, bits)
    return clipping.where(step > 1, step**2 / 12)


@cache
def _clipping(bits: int) -> tuple[Floats, Floats]:
    """Ranges over the standard deviation, and gain, shift and residual variance (3, ranges) of Gaussian sums there."""
    from scipy.special import ndtri

    x = ndtri((np.arange(20_000) + 0.5) / 20_000)
    x /= np.sqrt((x**2).mean())
    half = 2 ** (bits - 1)
    ratios = np.geomspace(1e-4, 1e5, 271)
    found = []
    for ratio in ratios:
        step = ratio / half
        y = step * np.clip(np.rint(x / step), -half, half - 1)
        gain, shift = float((x * y).mean()), float(y.mean())
        found.append((gain, shift, float(((y - gain * x - shift) ** 2).mean())))
    return ratios, np.array(found).T


def fixed_range(limit: torch.Tensor, rms: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the effect of a converter of range ``±limit`` on Gaussian sums of root mean square ``rms``, in counts.

    Returns:
        Gain [1], shift and variance of the rest, shaped like ``rms``. Sums far above the range are clipped to its
        ends, so that the gain falls; sums far below one step are lost, and the gain falls as well.

    Source: J. J. Bussgang, MIT RLE Technical Report 216 (1952).
    """
    ratios, known = _clipping(bits)
    sums = rms.clamp_min(1e-30)
    at = torch.log(limit / sums).clamp(float(np.log(ratios[0])), float(np.log(ratios[-1])))
    place = (at - np.log(ratios[0])) / (np.log(ratios[-1]) - np.log(ratios[0])) * (len(ratios) - 1)
    low = place.floor().clamp(0, len(ratios) - 2).long()
    share = place - low
    table = torch.from_numpy(known).to(rms)
    gain, shift, rest = (row[low] * (1 - share) + row[low + 1] * share for row in table)
    return gain, shift * rms, rest * rms**2


def converter_step(limit: torch.Tensor, spec: ArraySpec) -> torch.Tensor:
    """Step of the converters of a specification [counts]: of the range that it fixes, or of :func:`adc_step`."""
    return limit / 2 ** (spec.adc_bits - 1) if spec.adc_range is not None else adc_step(limit, spec.adc_bits)


def adc_step(limit: torch.Tensor, bits: int) -> torch.Tensor:
    """Step of a converter of range ``±limit`` [counts]; at least one count, finer would resolve nothing."""
    return (limit / 2 ** (bits - 1)).clamp_min(1.0)


def adc(y: torch.Tensor, step: torch.Tensor, bits: int) -> torch.Tensor:
    """``y`` rounded to a code of two's complement and clipped, times the step; all in counts."""
    half = 2 ** (bits - 1)
    return (y / step).round().clamp(-half, half - 1) * step
