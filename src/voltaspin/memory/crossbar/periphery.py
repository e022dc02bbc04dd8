"""What surrounds the cells of a crossbar: drivers, converters, lines and their noise.

Sums of a column are counted in units of one cell at 1 minus one cell at 0, for one step of the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.units import e_charge, k_B
from voltaspin.memory.crossbar.spec import ArraySpec

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]


class _Best(NamedTuple):
    """The best range of a uniform converter for Gaussian sums, and the mean square it loses, both of unit variance."""

    loading: float
    loss: float


@cache
def _best(bits: int) -> _Best:
    from scipy.optimize import minimize_scalar
    from scipy.special import ndtri

    x = ndtri((np.arange(40_000) + 0.5) / 40_000)
    half = 2 ** (bits - 1)

    def loss(limit: float) -> float:
        step = limit / half
        return float(np.mean((x - step * np.clip(np.rint(x / step), -half, half - 1)) ** 2))

    found = minimize_scalar(loss, bounds=(0.3, 5.0), method="bounded", options={"xatol": 1e-3})
    return _Best(float(found.x), float(found.fun))


def loading(bits: int) -> float:
    """Range of a uniform converter over the standard deviation of a Gaussian that loses least by it.

    Found by minimising the mean square of rounding and clipping. A converter of two's complement codes: from
    ``-2**(bits-1)`` to ``2**(bits-1) - 1``, 0 being one of them.

    Source: J. Max, IRE Trans. Inf. Theory 6, 7 (1960), whose even quantiser has no level at 0.
    """
    return _best(bits).loading


def gaussian_loss(limit: torch.Tensor, bits: int) -> torch.Tensor:
    """Mean square [counts^2] that rounding and clipping lose of Gaussian sums whose best range is ``limit``."""
    clipping = _best(bits).loss * (limit / _best(bits).loading) ** 2
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
    """What a converter of range ``±limit`` makes of Gaussian sums of root mean square ``rms``, all in counts.

    Returns:
        Gain [1], shift and variance of the rest, shaped like ``rms``. Sums far above the range are clipped to its
        ends, so that the gain falls; sums far below one step are lost, and the gain falls as well.

    Source: J. J. Bussgang, MIT RLE Technical Report 216 (1952).
    """
    import torch

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


class CellNoise(NamedTuple):
    """Variance [counts^2] that one read of a cell of conductance g [counts] adds, at an input of ``q`` steps:
    ``relative**2 g**2 q**2 + g (per_step |q| + always)``."""

    relative: float
    per_step: float
    always: float

    @property
    def silent(self) -> bool:
        return not (self.relative or self.per_step or self.always)


def read_noise(spec: ArraySpec) -> CellNoise:
    """Read noise of one cell during one phase of the input.

    A number in the specification is a share of the cell's own current. Otherwise shot noise ``2 e I B`` and Johnson
    noise ``4 k T G B`` of each cell's current; in a resistance sum the Johnson voltage ``4 k T R B`` of each cell at
    the current ``cell_voltage / R_P``.
    """
    if spec.mode == "digital":
        return CellNoise(0.0, 0.0, 0.0)
    if spec.read_noise is not None:
        return CellNoise(spec.read_noise, 0.0, 0.0)
    bandwidth, thermal = spec.noise_bandwidth, 4 * k_B * spec.temperature
    if spec.mode == "resistance_sum":
        swing = spec.R_P * spec.TMR  # R_AP - R_P
        return CellNoise(0.0, 0.0, thermal * bandwidth / ((spec.cell_voltage / spec.R_P) ** 2 * swing))
    count = (1 - 1 / (1 + spec.TMR)) / spec.R_P  # G_P - G_AP
    step = spec.cell_voltage / (spec.input_top if spec.inputs == "multilevel" else 1)
    return CellNoise(0.0, 2 * e_charge * bandwidth / (step * count), thermal * bandwidth / (step**2 * count))


@dataclass(frozen=True)
class Sensing:
    """Digital sensing of one cell against a reference halfway between the two conductances.

    Args:
        margin: distance of either state from the reference [counts].
        noise: standard deviation of the state at 1, of the state at 0 [counts].
        error: probability that one read of a nominal cell is wrong, the mean of both.
    """

    margin: float
    noise: tuple[float, float]
    error: float


def sensing(spec: ArraySpec) -> Sensing:
    """How well one cell is sensed alone, at the full read voltage."""
    from scipy.special import ndtr

    alone = spec.model_copy(update={"mode": "analog", "inputs": "bit-serial"})
    r = read_noise(alone)
    g = np.array([(1 + spec.TMR) / spec.TMR, 1 / spec.TMR])
    sigma = np.sqrt((r.relative * g) ** 2 + g * (r.per_step + r.always))
    error = float(np.mean([ndtr(-0.5 / s) if s else 0.0 for s in sigma]))
    return Sensing(0.5, (float(sigma[0]), float(sigma[1])), error)


FIRST_ORDER = 0.7  #: largest loss of a line, over the current's share that arrives, for which the first order holds


def line_drop(g: torch.Tensor, resistance: float) -> torch.Tensor:
    """Share of a cell's current that arrives where the lines have resistance, to first order.

    Rows are driven from the left, columns are sensed at the bottom by an amplifier of no input resistance. What a
    line loses is taken from the currents that flow without any loss; ``1 / (1 + loss)`` instead of ``1 - loss``
    keeps a long line's share positive.

    Up to a loss of :data:`FIRST_ORDER` the currents of the columns lie within 1.5 % of the network's, and the
    differences of neighbouring columns within 5 % (``tests/memory/test_crossbar.py``).

    Args:
        g: conductances, (..., rows, columns).
        resistance: of a line between two cells, in units of 1 / (unit of g).
    """
    along = g.flip(-1).cumsum(-1).flip(-1).cumsum(-1)
    down = g.cumsum(-2).flip(-2).cumsum(-2).flip(-2)
    return 1 / (1 + resistance * (along + down))


def resistive_network(g: Floats, resistance: float) -> Floats:
    """Conductance from every row's driver to every column's amplifier, by Kirchhoff's laws: the oracle.

    Args:
        g: conductances of the cells (rows, columns).
        resistance: of a line between two cells, and from the driver to the first and the last to the amplifier.

    Returns:
        (rows, columns): current into column j for 1 V on row i and 0 V on all others.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    rows, columns = g.shape
    if resistance == 0:
        return g.copy()
    wire = 1 / resistance
    n = rows * columns
    top = np.arange(n).reshape(rows, columns)  # nodes of the row lines
    bottom = top + n
    a, b = [top.ravel()], [bottom.ravel()]
    value = [g.ravel()]
    for left, right in ((top[:, :-1], top[:, 1:]), (bottom[:-1], bottom[1:])):
        a.append(left.ravel())
        b.append(right.ravel())
        value.append(np.full(left.size, wire))
    i, j, v = (np.concatenate(part) for part in (a, b, value))
    diagonal = np.bincount(i, v, 2 * n) + np.bincount(j, v, 2 * n)
    np.add.at(diagonal, np.concatenate([top[:, 0], bottom[-1]]), wire)
    off = sparse.coo_matrix((-v, (i, j)), shape=(2 * n, 2 * n))
    matrix = (off + off.T + sparse.diags(diagonal)).tocsc()
    drive = np.zeros((2 * n, rows))
    drive[top[:, 0], np.arange(rows)] = wire
    potential = splu(matrix).solve(drive)
    return np.asarray(potential[bottom[-1]].T * wire)


def phases_of(x: torch.Tensor, spec: ArraySpec) -> list[tuple[float, torch.Tensor]]:
    """What drives the rows one after another, with its weight: signed bits, or the whole inputs at once."""
    if spec.inputs == "multilevel":
        return [(1.0, x)]
    size, sign = x.abs().int(), x.sign()
    return [(2.0**k, ((size >> k) & 1).float() * sign) for k in range(spec.phases)]


def phase_weight(spec: ArraySpec) -> float:
    """Sum of the squared weights of the conversions of one input."""
    return (4.0**spec.phases - 1) / 3 if spec.inputs == "bit-serial" else 1.0


def phase_weight_inside(spec: ArraySpec) -> float:
    """Sum of the squared weights of the reads ahead of one conversion."""
    return (4.0**spec.phases - 1) / 3 if spec.inputs == "multilevel" and spec.mode == "resistance_sum" else 1.0


def charge(q: torch.Tensor, spec: ArraySpec) -> torch.Tensor:
    """What multiplies a cell's read-noise variance: the input to the power that its noise goes with."""
    import torch

    r = read_noise(spec)
    if spec.inputs == "bit-serial" or spec.mode == "resistance_sum":
        size = q.abs().to(torch.int32)
        bits = torch.stack([((size >> k) & 1).float() * 4.0**k for k in range(spec.phases)]).sum(0)
        return bits if r.relative else bits * r.per_step
    return q * q if r.relative else q.abs() * r.per_step
