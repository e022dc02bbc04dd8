"""Compliance of recorded bits with the specification of a noise device, and the number of bits that it takes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z95
from voltaspin.noise.examination.cell_period import stream_period
from voltaspin.noise.examination.entropy import SEGMENT, guess
from voltaspin.noise.examination.statistics import beyond_chance, bit_statistics
from voltaspin.noise.examination.whole_parts import LongLags
from voltaspin.requirements.cells import worst_cells
from voltaspin.requirements.compliance import (
    MAPPINGS,
    TREATMENTS,
    Compliance,
    Interval,
    Row,
    Said,
    absolute,
    row_of,
    signed_limit,
)
from voltaspin.requirements.specification import NoiseSpecification

BLOCKS = 16  #: of a recording, between which a drift is looked for
_PERIODIC = 2**22  # bits in which a period is looked for


def judge_bits(
    spec: NoiseSpecification,
    bits: NDArray[np.uint8],
    *,
    n_cells: int = 1,
    subject: str = "bits",
    lanes: int | None = None,
) -> Compliance:
    """Compare recorded bits with the specification.

    Compared: bias, lag-1 correlation of each cell's bits, spread of the bias over the cells and the worst cell (with
    two cells or more; where bits are too few for the worst cell, ``unjudged`` says so and it decides nothing), a common
    drift between 16 stretches of the recording, and a period, which only an exact repetition is. Not compared:
    defects that bits do not show, such as quantisation, or telegraph noise slower than the recording.

    Args:
        spec: the specification.
        bits: uint8 (n,), one bit a byte, raw; bit j comes from cell ``j % n_cells``.
        n_cells: cells that were read in turn.
        subject: a name for them.

    Defects that no axis covers are searched for, too: how well the bits can be guessed (the predictors of SP 800-90B)
    and the strongest correlation at any lag up to half a million. Where that is more than the axes compared explain,
    the bits are not shown to meet the specification, which has no limit for it.

    A period is judged as far as the recording shows one, half of its length; it decides nothing about how many bits
    are needed.

    A number of cells that the bits contradict is one row more, undecided: seen by a wrong number, cells look alike.

    Raises:
        InputError: too few for a verdict: more are needed for ideal bits to be shown within the other limits.
    """
    n_cells = n_cells if lanes is None else lanes  # the name in 0.1.0
    n = bits.size // n_cells * n_cells
    needed, why = bits_needed(spec, n_cells)
    if n < needed:
        raise InputError(
            f"{n} bits of {n_cells} cells are too few for a verdict: {needed} are needed, so that ideal bits could be "
            f"shown to keep {why}; record {needed} bits or more"
        )
    rows = bits[:n].reshape(-1, n_cells)
    found = bit_statistics(rows, lags=1)
    cycles = len(rows)
    r = found.autocorrelation[0]
    freedom = n_cells - 1
    numbers: dict[str, Interval] = {
        "bias": (found.bias.value, found.bias.low, found.bias.high), "correlation": (r.value, r.low, r.high),
    }  # fmt: skip

    if n_cells > 1:
        spread = beyond_chance(found.cell_bias_std**2, found.sampling_std**2, freedom)
        numbers["spread"] = (spread.value, spread.low, spread.high)
    whole = cycles // BLOCKS * BLOCKS
    means = rows[:whole].reshape(BLOCKS, -1).mean(axis=1)
    p, rho = 0.5 + found.bias.value, min(max(r.value, -0.999), 0.999)
    chance = p * (1 - p) / (whole * n_cells / BLOCKS) * (1 + rho) / (1 - rho)
    drift = beyond_chance(float(means.var(ddof=1)), chance, BLOCKS - 1)
    numbers["drift"] = (drift.value, drift.low, drift.high)
    repeats = period_of(bits[: min(n, _PERIODIC)])
    judged: list[Row] = []
    for t in TREATMENTS:
        for name in ("bias", "correlation"):
            limit = signed_limit(spec, name, numbers[name][0], t)
            if limit is not None:
                judged.append(row_of(limit, absolute(*numbers[name])))
        for name in (*((f"spread-{m}" for m in MAPPINGS) if n_cells > 1 else ()), "drift"):
            limit = spec.limit(name, t)
            if limit is not None:
                judged.append(row_of(limit, numbers[name.split("-")[0]]))
        # the XOR of two such streams has the same period
        limit = spec.limit("period", "raw")
        if limit is not None:
            seen = float(min(n, _PERIODIC) // 2)
            row = row_of(limit, (float(repeats),) * 3 if repeats else (seen, seen, math.inf))
            judged.append(row.model_copy(update={"treatment": t}))
    if repeats is None:
        explained = max(map(abs, numbers["bias"])) + max(map(abs, numbers["correlation"])) / 2
        explained += numbers["drift"][2] + (numbers["spread"][2] if n_cells > 1 else 0.0)
        judged += _dependence(bits[:n], n_cells, explained)
    assumed = (f"{n} bits, bit j from cell j % {n_cells}; XOR takes two cells that are independent and alike",)
    failed = {(r.axis.removesuffix("-negative"), r.treatment) for r in judged if r.said == "fails"}
    worst, unjudged = worst_cells(spec, bits[:n], n_cells, failed) if n_cells > 1 else ([], [])
    period = stream_period(bits[:n], n_cells) if n_cells > 1 else None  # of one cell a dependence says it
    if period is not None and not period.fits and repeats is None:
        unjudged.append(f"the cells are in doubt: {period.said}")
        judged += [
            Row(
                axis="number-of-cells", title="places after which the bits resemble themselves", unit="", per_unit=1.0,
                treatment=t, amplitude=period.period, low=period.period, high=period.period, said="undecided",
                limit=f"{n_cells} cells were given", margin_left=0.0,
            )
            for t in TREATMENTS
        ]  # fmt: skip
    return Compliance(subject=subject, rows=(*judged, *worst), assumed=assumed, unjudged=tuple(unjudged))


def _dependence(bits: NDArray[np.uint8], n_cells: int, explained: float) -> list[Row]:
    """Return rows for dependence that the axes do not cover: how much better than one half a bit is guessed.

    A bit of bias b is guessed with 1/2 + b, one of lag-1 correlation rho with 1/2 + rho / 2, and no better than by the
    sum where effects come together; the XOR of two such bits, each guessed with 1/2 + e, with 1/2 + 2 e**2.
    """
    from scipy.special import ndtri

    long = LongLags()
    right, n = np.zeros((2, 4)), np.zeros((2, 4))
    for i, order in enumerate((bits, bits.reshape(-1, n_cells).T.ravel()) if n_cells > 1 else (bits,)):
        for at in range(0, max(bits.size - SEGMENT // 2, 1), SEGMENT):
            part = order[at : at + SEGMENT]
            for j, g in enumerate(guess(part)):
                right[i, j] += g.right
                n[i, j] += g.n
            if i == 0 and (part.size == SEGMENT or at == 0):
                long.add(part)
    share, half = right / np.maximum(n, 1) - 0.5, 0.5 * -float(ndtri(1e-3 / 8)) / np.sqrt(np.maximum(n, 1))
    best = np.unravel_index(int((share - half).argmax()), share.shape)
    found, wide = float(share[best]), float(half[best])
    lag = long.found()
    if lag is not None:
        r, far = abs(lag.r) / 2, -float(ndtri(1e-3 / lag.lags)) / math.sqrt(lag.pairs) / 2
        if r - far > found - wide:
            found, wide = r, far
    low, found, high = (max(0.0, x) for x in (found - wide, found, found + wide))
    said: Said = "meets" if low <= explained else "undecided"
    left = math.inf if said == "meets" else explained / found
    rows = []
    for t in TREATMENTS:
        least, value, most, known = (
            (x if t == "raw" else 2 * x * x) for x in (low, found, high, explained)
        )  # fmt: skip
        rows.append(Row(
            axis="dependence", title="guesses right beyond one half", unit="", per_unit=1.0, treatment=t,
            amplitude=value, low=least, high=most, limit=f"not asked; the axes explain {known:.3g}", said=said,
            margin_left=left,
        ))  # fmt: skip
    return rows


def bits_needed(spec: NoiseSpecification, n_cells: int = 1) -> tuple[int, str]:
    """Return the minimum sample size that verifies an ideal device, and the limiting axis.

    Half the 95 % interval must be less than the amplitude that is surely tolerated (or, where not even the first one
    is, than that one): for the bias ``t / (2 sqrt(n))``, for the correlation ``t / sqrt(n)``, with Student's t of the
    cells; for a spread or a drift the upper end for no spread, from the chi-square of the cells or stretches.
    """
    from scipy.stats import chi2, t

    freedom = n_cells - 1
    z = float(t.ppf(0.975, freedom)) if n_cells > 1 else Z95
    found: list[tuple[float, str]] = [(float(BLOCKS * 4 * n_cells), "the number of stretches of a drift")]

    def upper(freedom: int) -> float:
        """Of a variance over its chance, less 1."""
        return float(freedom / chi2.ppf(0.025, freedom)) - 1

    for limit in spec.limits:
        if limit.treatment != "raw":
            continue
        at = limit.low if limit.low is not None else limit.amplitudes[0]
        name = limit.name.removesuffix("-negative")
        if name == "bias":
            n = (z / (2 * at)) ** 2
        elif name == "correlation":
            n = (z / at) ** 2
        elif name.startswith("spread-") and n_cells > 1:
            n = n_cells * upper(freedom) / (4 * at**2)
        elif name == "drift":
            n = BLOCKS * upper(BLOCKS - 1) / (4 * at**2)
        else:
            continue
        found.append((n, f"the axis {limit.name}"))
    most, why = max(found)
    return math.ceil(most / n_cells) * n_cells, why


def period_of(bits: NDArray[np.uint8]) -> int | None:
    """The smallest number of places after which the bits repeat exactly, up to half of them; None if they do not."""
    from scipy.fft import irfft, next_fast_len, rfft

    n = bits.size
    signs = 1.0 - 2.0 * bits
    size = next_fast_len(2 * n, real=True)
    power = np.abs(rfft(signs, size)) ** 2
    same = irfft(power, size)[1 : n // 2 + 1] / (n - np.arange(1, n // 2 + 1))
    for lag in np.flatnonzero(same > 0.999) + 1:
        if np.array_equal(bits[:-lag], bits[lag:]):
            return int(lag)
    return None
