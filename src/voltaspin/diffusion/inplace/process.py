"""Diffusion in place: a pixel is held in N equal cells, and its grey level is the number of ones among them.

Forward, every cell flips independently, so that the count is an Ehrenfest urn; for many cells it is the
Ornstein-Uhlenbeck process. Any Gaussian schedule is taken over at equal signal to noise, so that a network of a
Gaussian model sees what it knows. Backward, the count of a step has the mean and the variance of the urn's posterior.

The time of a step is that of the Gaussian schedule: 0 to T - 1, and -1 for the clean image.

Source: P. and T. Ehrenfest, Phys. Z. 8, 311 (1907); J. Sohl-Dickstein et al., ICML 2015, arXiv 1503.03585 (binomial
diffusion); L. Winkler et al., arXiv 2405.03549 (the urn with networks of Gaussian models). All of the posterior is
checked by enumeration in ``tests/diffusion/test_inplace_process.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from voltaspin.core.errors import InputError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

MOST_CELLS = 255  #: for a pixel; a count is kept in a byte


class Process:
    """The urn of a Gaussian schedule.

    Args:
        alpha_bar: of the schedule, falling, (T,).
        cells: N of a pixel, 1 to 255.

    Raises:
        InputError: another number of cells, or numbers that are no such schedule.

    >>> Process([0.9, 0.5], cells=3).kept(1)
    0.5
    """

    def __init__(self, alpha_bar: Sequence[float] | Floats, cells: int) -> None:
        if not isinstance(cells, int | np.integer) or not 1 <= cells <= MOST_CELLS:
            raise InputError(f"cells = {cells!r} of a pixel: give a whole number from 1 to {MOST_CELLS}")
        self.cells = int(cells)
        self.alpha_bar = np.array(alpha_bar, np.float64)
        falling = self.alpha_bar.ndim == 1 and len(self.alpha_bar) and bool((np.diff(self.alpha_bar) <= 0).all())
        if not falling or not (self.alpha_bar[0] <= 1 and self.alpha_bar[-1] >= 0):
            raise InputError("alpha_bar must fall from at most 1 to at least 0, one number for each step")

    def __len__(self) -> int:
        return len(self.alpha_bar)

    def kept(self, t: int) -> float:
        """Correlation kappa_t of a cell with its clean bit after the steps up to ``t``, from 1 (clean) to 0."""
        a = self._alpha_bar(t)
        return math.sqrt(a / (a + self.cells * (1 - a)))

    def flip_probability(self, t: int) -> float:
        """Probability that a cell differs from its clean bit at ``t``."""
        return (1 - self.kept(t)) / 2

    def scale(self, t: int) -> float:
        """The number that makes the network's input of a level: x_t = scale (2 n / N - 1).

        Its mean is sqrt(alpha_bar) x_0 and its variance 1 - alpha_bar, as those of the Gaussian process.
        """
        a = self._alpha_bar(t)
        return math.sqrt(a + self.cells * (1 - a))

    def clean_counts(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The number of ones of each grey level, rounded: uint8 in the images' shape."""
        return np.round(images.astype(np.float64) * (self.cells / 255)).astype(np.uint8)

    def marginal(self, k: int, t: int) -> Floats:
        """Law of the count at ``t`` of a pixel that began with ``k`` ones: (N + 1,)."""
        n, p = self.cells, self.flip_probability(t)
        if not 0 <= k <= n:
            raise InputError(f"k = {k} ones of {n} cells: give 0 to {n}")
        return np.convolve(binom.pmf(np.arange(k + 1), k, 1 - p), binom.pmf(np.arange(n - k + 1), n - k, p))

    def posterior_mean(self, counts: ArrayLike, clean: ArrayLike, t: int, u: int) -> Floats:
        """Mean of the count at ``u``, given that at ``t`` and the clean pixel; arguments as in :meth:`posterior`."""
        n, m = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(clean, np.float64))
        keeps, turns = self._holds_clean_bit(t, u)
        k = self._clean_count(m)
        mean = n * (keeps - turns) + k * (keeps + turns - 1) + self.cells * (1 - keeps)
        return np.clip(mean, 0, self.cells)

    def extrapolated(self, clean: Floats, before: Floats, s: int, t: int, u: int) -> Floats:
        """Return the clean pixel for a step from ``t`` to ``u`` by a solver of second order.

        Args:
            clean: predicted at ``t``, from -1 to 1; before: predicted at ``s``, one step earlier.
            s, t, u: falling times of the schedule, ``u`` at least 0.

        Returns:
            The predictions drawn on to the middle of the step, in log(SNR), and clipped to -1 to 1.

        Raises:
            InputError: times that do not fall.

        Source: C. Lu et al., arXiv 2211.01095, DPM-Solver++(2M).
        """
        if not len(self) > s > t > u >= 0:
            raise InputError(f"steps from s = {s} to t = {t} to u = {u}: give falling times from {len(self) - 1} to 0")
        a = np.clip(self.alpha_bar[[s, t, u]], 1e-300, 1 - 1e-16)
        last, this = np.diff(np.log(a) - np.log1p(-a))
        return np.asarray(np.clip(clean + (clean - before) * this / (2 * last), -1, 1))

    def posterior(
        self, counts: ArrayLike, clean: ArrayLike, t: int, u: int, *, uncertainty: ArrayLike = 0.0
    ) -> tuple[Floats, Floats]:
        """Mean and variance of the count at ``u``, given that at ``t`` and what is known of the clean pixel.

        Args:
            counts: at ``t``, 0 to N.
            clean: mean of the clean pixel, from -1 to 1, not only the N + 1 levels that counts can say.
            t: now; u: before it, at least -1.
            uncertainty: variance of the clean pixel, given all that is known at ``t``; at most 1 - clean^2.

        Returns:
            float64 arrays in the common shape. The mean is exact. The variance is exact for a level without
            uncertainty. Between levels it is interpolated, and an uncertain pixel is taken for one of two values of its
            mean and variance.
        """
        n, m, s2 = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (counts, clean, uncertainty)))
        k, slope = self._clean_count(m), sum(self._holds_clean_bit(t, u)) - 1  # of the mean, per clean one
        s2 = np.clip(s2 * self.cells**2 / 4, 0, k * (self.cells - k))
        # The two values lie sqrt(s2) below and above, or one of them at the end of the range.
        below = np.minimum(np.sqrt(s2), k)
        above = np.minimum(np.divide(s2, below, out=np.zeros(k.shape), where=below > 0), self.cells - k)
        below = np.divide(s2, above, out=np.zeros(k.shape), where=above > 0)
        share = np.divide(below, below + above, out=np.zeros(k.shape), where=above > 0)  # of the upper one
        table, at = self.variances(t, u), n.astype(np.int64)
        within = (1 - share) * _between(table, k - below, at) + share * _between(table, k + above, at)
        return self.posterior_mean(n, m, t, u), within + slope**2 * s2

    def average_variance(self, t: int, u: int) -> float:
        """The variance of a step on average over the counts at ``t``: that of the Gaussian posterior.

        It is right for every pixel alike when there are many cells; :meth:`posterior` gives the one of each count.
        """
        now, before = self.kept(t), self.kept(u)
        ratio = self._ratio(t, u)
        return self.cells / 4 * (1 - before**2) * (1 - ratio**2) / max(1 - now**2, 1e-300)

    def variances(self, t: int, u: int) -> Floats:
        """Variance of the count at ``u`` for each clean count k and each count n at ``t``: (N + 1, N + 1)."""
        keeps, turns = self._holds_clean_bit(t, u)
        differ = _expected_to_differ(self.cells, self.flip_probability(t))
        return np.asarray((self.cells - differ) * keeps * (1 - keeps) + differ * turns * (1 - turns))

    def _holds_clean_bit(self, t: int, u: int) -> tuple[float, float]:
        """P(a cell holds its clean bit at ``u``), for one that does at ``t``, and for one that does not.

        The probability that it is a one is linear in n and k, since a cell that agrees and one that differs each have
        a single number.
        """
        if not -1 <= u < t < len(self):
            raise InputError(f"a step from t = {t} to u = {u}: give -1 <= u < t < {len(self)}")
        now, before, ratio = self.kept(t), self.kept(u), self._ratio(t, u)
        keeps = (1 + before) * (1 + ratio) / (2 * (1 + now))
        return keeps, (1 + before) * (1 - ratio) / (2 * (1 - now)) if now < 1 else 1.0

    def _clean_count(self, level: Floats) -> Floats:
        """Ones of a clean pixel of this level, which is clipped to -1 to 1; not only whole numbers."""
        return np.asarray(self.cells * (1 + np.clip(level, -1, 1)) / 2)

    def _ratio(self, t: int, u: int) -> float:
        """Correlation of a cell at ``t`` with itself at ``u``; 0 where neither knows the clean bit."""
        before = self.kept(u)
        return self.kept(t) / before if before > 0 else 0.0

    def _alpha_bar(self, t: int) -> float:
        if not isinstance(t, int | np.integer) or not -1 <= t < len(self):
            raise InputError(f"t = {t!r} is no time of this process; give -1 (clean) to {len(self) - 1}")
        return 1.0 if t == -1 else float(self.alpha_bar[t])


def _between(table: Floats, k: Floats, n: Counts) -> Floats:
    """The table (N + 1, N + 1) at clean counts ``k``, which lie between its rows, by linear interpolation."""
    k = np.clip(k, 0, len(table) - 1)
    low = np.minimum(k.astype(np.int64), len(table) - 2)
    return np.asarray((low + 1 - k) * table[low, n] + (k - low) * table[low + 1, n])


@lru_cache(maxsize=512)
def _expected_to_differ(cells: int, p: float) -> Floats:
    """Expected number of cells that differ from their clean bits, of each k (rows) and n (columns)."""
    from scipy.special import gammaln

    k, n, i = np.ogrid[: cells + 1, : cells + 1, : cells + 1]  # i: ones that stayed
    there = (i <= k) & (i <= n) & (n - i <= cells - k)
    moved = np.where(there, k + n - 2 * i, 0)

    def choose(a: NDArray[np.int64], b: NDArray[np.int64]) -> Floats:
        b = np.where(there, b, 0)
        return np.asarray(gammaln(a + 1) - gammaln(b + 1) - gammaln(a - b + 1))

    odds = math.log(p / (1 - p)) if p > 0 else -1e6  # without flips only k = n can be, with none that differ
    log = np.where(there, choose(k, i) + choose(cells - k, n - i) + moved * odds, -np.inf)
    weight = np.exp(log - log.max(-1, keepdims=True))
    return np.asarray((weight * moved).sum(-1) / weight.sum(-1))
