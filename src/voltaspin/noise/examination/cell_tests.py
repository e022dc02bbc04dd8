"""Counts of cells that are read in turn, and what follows from them: estimates, intervals and tests of every cell.

Everything is an array over the cells. A test asks whether a cell's bits show it beyond a limit; its P-value holds for a
cell that lies at the limit, and Holm's correction makes a decision of the P-values of all cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.quantity import Z95, Estimate
from voltaspin.noise.examination.cell_result import CellCriteria
from voltaspin.noise.examination.entropy import Z

LAGS = 4  #: autocorrelations of each cell
STRETCHES = 32  #: of the recording, at most, in which ones are counted for the drift
_SMOOTH = 3  # polynomials of a slow drift: a slope, a bow and a swing
_LEAST_ONES = 100  # of the rarer bit, as independent ones, from which on a drift is judged
_SHOWN = 1e-3  # P-value of a memory that counts as shown, and widens the intervals of the bias

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CellCounts:
    """What was counted of each cell, and what follows from it alone.

    Args:
        n_bits: read in all.
        ones, heads, history, both, beside: as :func:`voltaspin.noise.examination.kernels.cell_pairs` counts them.
        stretches: ones in each stretch: int64 (stretches, n_cells); sizes: whole rounds in each: int64 (stretches,).
    """

    n_bits: int
    ones: NDArray[np.int64]
    heads: NDArray[np.uint64]
    history: NDArray[np.uint64]
    both: NDArray[np.int64]
    beside: NDArray[np.int64]
    stretches: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def n_cells(self) -> int:
        return self.ones.size

    @cached_property
    def n(self) -> NDArray[np.int64]:
        """Bits of each cell."""
        rounds, rest = divmod(self.n_bits, self.n_cells)
        return rounds + (np.arange(self.n_cells) < rest).astype(np.int64)

    @cached_property
    def p(self) -> Floats:
        return self.ones / self.n

    def ends(self, lag: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ones among the first and among the last ``lag`` bits of each cell, which has that many."""
        mask = np.uint64((1 << lag) - 1)
        first = self.heads >> np.maximum(np.minimum(self.n, LAGS) - lag, 0).astype(np.uint64)
        return _ones_of(first & mask), _ones_of(self.history & mask)

    def pairs(self, lag: int) -> tuple[NDArray[np.int64], ...]:
        """Pairs of bits at a lag: all, with a one before, with a one after, with both: int64 (n_cells,) each."""
        first, last = self.ends(lag)
        return np.maximum(self.n - lag, 0), self.ones - last, self.ones - first, self.both[:, lag - 1]

    @cached_property
    def changes(self) -> NDArray[np.int64]:
        """How often a bit of a cell differs from the one before."""
        _, before, after, both = self.pairs(1)
        return before + after - 2 * both

    @cached_property
    def stuck(self) -> NDArray[np.bool_]:
        """Cells that gave one value only."""
        return (self.ones == 0) | (self.ones == self.n)

    @cached_property
    def memory(self) -> Floats:
        """Lag-1 correlation as far as it is shown: the cell's own, or what all have in common, or none.

        It is taken about the mean of each quarter of the recording, so that a drift is hardly any memory.
        """
        quarters = [slice(part[0], part[-1] + 1) for part in np.array_split(np.arange(self.sizes.size), 4) if part.size]
        size = np.array([self.sizes[part].sum() for part in quarters])[:, None]
        p = np.array([self.stretches[part].sum(axis=0) for part in quarters]) / size
        inside = (p * (1 - p) * np.where(size > 1, size**2 / np.maximum(size - 1, 1), 0)).sum(axis=0)
        expected = 2 * inside / max(1, int(size[size > 1].sum())) * np.maximum(self.n - 1, 0)  # changes without memory
        changing = ~self.stuck & (expected > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(changing & (self.run_p < _SHOWN), 1 - self.changes / expected, 0.0)
        total = float(expected[changing].sum())
        common = 1 - float(self.changes[changing].sum()) / total if total else 0.0
        common *= abs(common) * np.sqrt(float(self.n[changing].sum())) > 3.3
        return np.clip(np.where(own != 0, own, common), -0.99, 0.99)

    @cached_property
    def longer(self) -> Floats:
        """Correlated bits that amount to one independent bit, (1 + rho) / (1 - rho) of the memory, at least 1."""
        rho = np.maximum(self.memory, 0.0)
        return (1 + rho) / (1 - rho)

    @cached_property
    def run_p(self) -> Floats:
        """P-values of the number of runs of ones among the arrangements of the cell's bits, exact and two-sided.

        Source: W. L. Stevens, Annals of Eugenics 9, 10 (1939).
        """
        k, n = np.where(self.stuck, 1, self.ones), np.maximum(self.n, 2)
        runs = np.where(self.stuck, 1, self.ones - self.both[:, 0])
        return np.where(self.stuck, 1.0, _hypergeometric(runs, n, n - k + 1, k))


def _hypergeometric(x: NDArray[np.int64], *of: NDArray[np.int64]) -> Floats:
    """Two-sided P-value."""
    from scipy.stats import hypergeom

    return np.minimum(1.0, 2 * np.minimum(hypergeom.cdf(x, *of), hypergeom.sf(x - 1, *of)))


def _ones_of(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.bitwise_count(words).astype(np.int64)


def bias_interval(found: CellCounts, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the ends of Clopper and Pearson's interval of P(1) - 1/2."""
    from scipy.special import betaincinv

    n, tail = found.n / found.longer, (1 - level) / 2
    ones = found.p * n
    low = np.where(found.ones == 0, 0.0, betaincinv(np.maximum(ones, 1e-12), n - ones + 1, tail))
    high = np.where(found.ones == found.n, 1.0, betaincinv(ones + 1, np.maximum(n - ones, 1e-12), 1 - tail))
    return np.fmin(low, found.p) - 0.5, np.fmax(high, found.p) - 0.5


def autocorrelation(found: CellCounts, lag: int, z: float = Z95) -> tuple[Floats, Floats, Floats]:
    """Return the autocorrelation of each cell at a lag, and the ends of its interval; NaN where a cell never changes.

    It is what :func:`voltaspin.noise.examination.statistics.bit_statistics` defines. The interval is that of the
    difference between the shares of ones after a one and after a zero.

    Source: R. G. Newcombe, Statistics in Medicine 17, 873 (1998), method 10.
    """
    m, before, after, both = found.pairs(lag)
    known = ~found.stuck & (m > 1) & (before > 0) & (before < m)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = _products(found, lag) / (found.n * found.p * (1 - found.p)) + 1 / (found.n - 1)
        one, zero = both / before, (after - both) / (m - before)
        low_1, high_1 = _wilson(one, before, z)
        low_0, high_0 = _wilson(zero, m - before, z)
        wider = np.sqrt((1 + found.memory**2) / (1 - found.memory**2)) if lag > 1 else 1.0  # Bartlett, at most
        down = wider * np.hypot(one - low_1, high_0 - zero)
        up = wider * np.hypot(high_1 - one, zero - low_0)
        value = np.clip(value, -1, 1)
    low, high = np.clip(value - down, -1, 1), np.clip(value + up, -1, 1)
    return _where(known, value, low, high)


def _products(found: CellCounts, lag: int) -> Floats:
    """Sum of the products of the deviations from the cell's mean, as of so many pairs as there are bits."""
    m, before, after, both = found.pairs(lag)
    with np.errstate(divide="ignore", invalid="ignore"):
        made: Floats = (both - found.p * (before + after) + m * found.p**2) * (found.n / m)
    return made


def pooled_correlation(found: CellCounts, chosen: NDArray[np.bool_]) -> Estimate | None:
    """Return the lag-1 correlation of all chosen cells together; None where no cell among them changes.

    The interval comes from the differences between the cells, as in
    :func:`voltaspin.noise.examination.statistics.bit_statistics`; that of one cell is its own.
    """
    from scipy.stats import t

    if int(chosen.sum()) == 1:
        value, low, high = (float(x[chosen][0]) for x in autocorrelation(found, 1))
        return None if np.isnan(value) else Estimate(value, low, high)
    use = chosen & (found.n > 1)
    square = (found.n * found.p * (1 - found.p))[use]
    total, cells = float(square.sum()), square.size
    if cells < 2 or not total:
        return None
    products = _products(found, 1)[use]
    r = float(products.sum()) / total
    error = np.sqrt(cells / (cells - 1) * ((products - r * square) ** 2).sum()) / total
    half = float(t.ppf(0.975, cells - 1) * error)
    r += 1 / (float(found.n[use].mean()) - 1)
    return Estimate(r, r - half, r + half)


def _wilson(share: Floats, n: NDArray[np.int64], z: float) -> tuple[Floats, Floats]:
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def neighbour(found: CellCounts, z: float = Z95) -> tuple[Floats, Floats, Floats]:
    """Return the correlation with the cell before in the same round, and its interval by Fisher's transformation."""
    rounds, here, before, both = _with_neighbour(found)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = here / rounds, before / rounds
        r = np.clip((both / rounds - a * b) / np.sqrt(a * (1 - a) * b * (1 - b)), -1, 1)
        half = z * _neighbour_error(found)
        low, high = (np.tanh(np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)) + s * half) for s in (-1, 1))
    known = np.isfinite(r) & (rounds > 3)
    return _where(known, r, np.fmin(low, r), np.fmax(high, r))


def _where(known: NDArray[np.bool_], value: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats, Floats]:
    return np.where(known, value, np.nan), np.where(known, low, np.nan), np.where(known, high, np.nan)


def _neighbour_error(found: CellCounts) -> Floats:
    """Standard error of Fisher's transform; two cells that both remember seem alike more often (Bartlett)."""
    both = found.memory * np.roll(found.memory, 1)
    return np.sqrt((1 + both) / (1 - both) / np.maximum(found.n - 3, 1))


def _with_neighbour(found: CellCounts) -> tuple[NDArray[np.int64], ...]:
    """Rounds with both, ones here, ones of the cell before in these, and ones of both; no rounds for cell 0."""
    rounds = found.n.copy()
    rounds[0] = 0
    before = np.zeros_like(found.ones)
    extra = found.n[:-1] - found.n[1:]  # one bit more, of the last round, that has no neighbour
    before[1:] = found.ones[:-1] - extra * (found.history[:-1] & np.uint64(1)).astype(np.int64)
    return rounds, np.where(rounds > 0, found.ones, 0), before, found.beside


def most_common_value(found: CellCounts) -> Floats:
    """Min-entropy of each cell by its more frequent bit (SP 800-90B 6.3.1)."""
    p = np.maximum(found.p, 1 - found.p)
    return -np.log2(np.minimum(1.0, p + Z * np.sqrt(p * (1 - p) / np.maximum(found.n - 1, 1)))) + 0.0


def markov(found: CellCounts) -> Floats:
    """Min-entropy of each cell by the likeliest path of 128 bits of a Markov chain (SP 800-90B 6.3.3)."""
    m, before, after, both = found.pairs(1)
    pairs = np.array([[m - before - after + both, after - both], [before - both, both]])
    with np.errstate(divide="ignore"):
        t = np.log2(pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1))
        p = np.log2(np.array([1 - found.p, found.p]))
    paths = [
        p[0] + 127 * t[0, 0], p[0] + 64 * t[0, 1] + 63 * t[1, 0], p[0] + t[0, 1] + 126 * t[1, 1],
        p[1] + t[1, 0] + 126 * t[0, 0], p[1] + 64 * t[1, 0] + 63 * t[0, 1], p[1] + 127 * t[1, 1],
    ]  # fmt: skip
    return np.minimum(1.0, -np.max(paths, axis=0) / 128) + 0.0


def drift(found: CellCounts, limit: float = 0.0) -> tuple[Floats, Floats]:
    """Return the root mean square of the slow drift of each cell's bias, and P-values of one at a limit.

    The ones of the stretches are compared with three orthogonal polynomials of time, which hold 86 % of the square of
    a step in the middle and nearly all of a slow change. Without a drift the share of the variance that they explain
    is as in a regression on three variables; at a limit the chi-square is not central. NaN where bits are too few:
    fewer than 100 of the rarer value, or than as many correlated ones as amount to 100.
    """
    from scipy.special import betainc
    from scipy.stats import ncx2

    rounds = int(found.sizes.sum())
    k = found.stretches.sum(axis=0)
    known = np.minimum(k, rounds - k) >= _LEAST_ONES * found.longer
    if not known.any():
        return np.full(known.size, np.nan), np.full(known.size, np.nan)
    sizes = found.sizes.astype(np.float64)
    place = (np.cumsum(sizes) - sizes / 2) / rounds - 0.5
    powers = np.vander(place, _SMOOTH + 1, increasing=True) * np.sqrt(sizes)[:, None]
    basis = np.linalg.qr(powers)[0][:, 1:] / np.sqrt(sizes)[:, None]
    sums = basis.T @ found.stretches  # the polynomials are orthogonal to a constant, so that they are about zero
    noise = np.where(known, k / rounds * (1 - k / rounds), 0.25)
    square, longer = (sums**2).sum(axis=0), found.longer
    ratio, n = square / (noise * longer), rounds / longer
    amplitude = np.sqrt(np.maximum(0.0, square - _SMOOTH * noise * longer) / rounds)
    p = betainc(np.maximum(n - 1 - _SMOOTH, 1) / 2, _SMOOTH / 2, np.clip(1 - ratio / n, 0, 1))
    if limit:
        p = np.maximum(p, ncx2.sf(ratio, _SMOOTH, n * limit**2 / noise))
    return np.where(known, amplitude, np.nan), np.where(known, p, np.nan)


def p_values(found: CellCounts, criteria: CellCriteria) -> dict[str, Floats]:
    """P-value of each criterion and cell: how probable bits as far out are of a cell that just keeps the limit."""
    n = found.n
    p = {"stuck": np.where(found.stuck, 2.0 ** (1.0 - n), 1.0)}
    if criteria.max_bias is not None:
        p["bias"] = _share_beyond(found.p * n / found.longer, n / found.longer, criteria.max_bias)
    if criteria.min_entropy is not None:
        p["entropy"] = _entropy_below(found, criteria.min_entropy)
    if criteria.max_correlation is not None:
        p["correlation"] = _correlation_beyond(found, criteria.max_correlation)
        p["neighbour"] = _neighbour_beyond(found, criteria.max_correlation)
    if criteria.max_drift is not None:
        p["drift"] = drift(found, criteria.max_drift)[1]
    return {name: np.where(np.isnan(x), 1.0, x) for name, x in p.items()}


def _share_beyond(ones: Floats, n: Floats, limit: float) -> Floats:
    """Of abs(p - 1/2) at a limit: both tails of the binomial, whose numbers need not be whole."""
    most = np.maximum(ones, n - ones)
    return np.minimum(1.0, _tail(most, n, 0.5 + limit) + _tail(most, n, 0.5 - limit))


def _tail(most: Floats, n: Floats, p: float) -> Floats:
    """The probability of ``most`` or more of ``n``."""
    from scipy.special import betainc

    return np.where(most > 0, betainc(np.maximum(most, 1e-12), n - most + 1, p), 1.0)


def _entropy_below(found: CellCounts, limit: float) -> Floats:
    """Of a Markov chain whose min-entropy is at a limit: no share and no chance to stay or alternate exceeds it."""
    most = 2.0**-limit
    m, before, after, both = (x.astype(np.float64) for x in found.pairs(1))
    zero = m - before
    n = found.n / found.longer
    stay_0, stay_1 = _tail(zero - (after - both), zero, most), _tail(both, before, most)
    alternate = np.maximum(_tail(after - both, zero, most), _tail(before - both, before, most))
    bias = _share_beyond(found.p * n, n, most - 0.5)
    return np.minimum(1.0, 4 * np.minimum.reduce([bias, stay_0, stay_1, alternate]))


def _correlation_beyond(found: CellCounts, limit: float) -> Floats:
    """Of a memory at a limit, and of none: the exact test of the runs guards the normal one where ones are rare."""
    from scipy.special import ndtr

    r = autocorrelation(found, 1)[0]
    with np.errstate(invalid="ignore"):
        p, signed = np.clip(found.p, 1e-9, 1 - 1e-9), np.where(r < 0, -limit, limit)
        one, zero = np.clip(p + (1 - p) * signed, 0, 1), np.clip(p - p * signed, 0, 1)  # shares of ones after each
        error = np.sqrt((one * (1 - one) / p + zero * (1 - zero) / (1 - p)) / found.n)
        z = (np.abs(r) - limit) / np.maximum(error, np.sqrt((1 - limit**2) / found.n))
        return np.maximum(np.minimum(1.0, (2 if limit == 0 else 1) * ndtr(-z)), found.run_p)


def _neighbour_beyond(found: CellCounts, limit: float) -> Floats:
    """Of a correlation with the cell before at a limit, and of none: Fisher's exact test guards the normal one."""
    from scipy.special import ndtr

    rounds, here, before, both = _with_neighbour(found)
    r = neighbour(found)[0]
    with np.errstate(invalid="ignore"):
        z = (np.arctanh(np.clip(np.abs(r), 0, 1 - 1e-12)) - np.arctanh(limit)) / _neighbour_error(found)
        normal = np.minimum(1.0, (2 if limit == 0 else 1) * ndtr(-z))
    known = np.isfinite(r)
    x, *of = (np.where(known, v, 1) for v in (both, rounds, here, before))
    return np.where(known, np.maximum(normal, _hypergeometric(x, *of)), 1.0)


def holm(p: Floats, level: float) -> NDArray[np.bool_]:
    """Return which hypotheses are refused: none that holds, in at least ``1 - level`` of all cases.

    Source: S. Holm, Scandinavian Journal of Statistics 6, 65 (1979).
    """
    order = np.argsort(p, kind="stable")
    refused = p[order] <= level / (p.size - np.arange(p.size))
    first = p.size if refused.all() else int(np.argmin(refused))
    out = np.zeros(p.size, bool)
    out[order[:first]] = True
    return out
