"""Two probabilities as polynomials of a cell's deviations: the form in which physics meets arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError

Floats = NDArray[np.float64]

#: What a cell can have of its own. The scales are over the nominal value [1], B_z is added [T].
Quantity = Literal["K_eff_scale", "B_z", "xi_scale", "diameter_scale", "RA_scale"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
_HIGHEST = 1000  # order or exponent, far above any that is fitted
UNITS: dict[str, str] = {"B_z": " T"}


def nominal(quantity: str) -> float:
    """Return the value of a quantity in the nominal cell."""
    return 0.0 if quantity == "B_z" else 1.0


@dataclass(frozen=True)
class Variable:
    """One axis of a response: a combination of quantities, scaled to -1..1 over the range it was built for.

    Args:
        name: for people.
        weights: (quantity, exponent, weight) each; the axis is the sum of weight * quantity^exponent.
        centre, half: of the range.
    """

    name: str
    weights: tuple[tuple[Quantity, int, float], ...]
    centre: float
    half: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.centre) and math.isfinite(self.half) and self.half > 0):
            raise InputError(f"variable {self.name!r}: centre {self.centre:g} and half {self.half:g} must be finite, "
                             "half a range positive")  # fmt: skip
        if not self.weights or any(abs(power) > _HIGHEST for _, power, _ in self.weights):
            raise InputError(f"variable {self.name!r} needs weights with exponents from -{_HIGHEST} to {_HIGHEST}")

    def __call__(self, cells: dict[Quantity, Floats]) -> Floats:
        total = sum(weight * cells[q] ** power for q, power, weight in self.weights)
        return np.asarray((total - self.centre) / self.half)


@dataclass(frozen=True)
class Response:
    """p01 and p10 as polynomials of some variables.

    Args:
        variables: the axes.
        terms: exponents, or orders of Chebyshev polynomials, one per axis.
        c01, c10: coefficients, in the order of ``terms``.
        basis: what the terms are made of.
        link: what the polynomial gives, the logit of a probability or the probability.

    Raises:
        InputError: the numbers of terms and coefficients differ, or an order is out of range.
    """

    variables: tuple[Variable, ...]
    terms: tuple[tuple[int, ...], ...]
    c01: tuple[float, ...]
    c10: tuple[float, ...]
    basis: Literal["power", "chebyshev"] = "power"
    link: Literal["identity", "logit"] = "logit"

    def __post_init__(self) -> None:
        if not len(self.terms) == len(self.c01) == len(self.c10) > 0:
            raise InputError(
                f"{len(self.terms)} terms need as many coefficients; got {len(self.c01)} for p01 and "
                f"{len(self.c10)} for p10"
            )
        if any(len(t) != len(self.variables) for t in self.terms):
            raise InputError(f"every term needs an order for each of the {len(self.variables)} variables")
        # The sum is compiled and checks no index.
        if any(not 0 <= order <= _HIGHEST for term in self.terms for order in term):
            raise InputError(f"an order of a term is not one from 0 to {_HIGHEST}")

    @property
    def quantities(self) -> set[Quantity]:
        """The quantities on which the response depends."""
        return {q for v in self.variables for q, _, _ in v.weights}

    def __call__(self, cells: dict[Quantity, Floats]) -> tuple[Floats, Floats]:
        """(p01, p10) of cells given by flat arrays of one length: float64 (n,) each."""
        n = len(next(iter(cells.values())))
        x = np.stack([v(cells) for v in self.variables]) if self.variables else np.empty((0, n))
        u01, u10 = np.empty(n), np.empty(n)
        terms = np.array(self.terms, np.int64).reshape(len(self.terms), len(self.variables))
        _sum(x, terms, np.array(self.c01), np.array(self.c10), self.basis == "chebyshev", u01, u10)
        return (u01, u10) if self.link == "identity" else (logistic(u01), logistic(u10))


def logistic(u: Floats) -> Floats:
    """Return 1 / (1 + exp(-u))."""
    from scipy.special import expit

    return np.asarray(expit(u))


def logit(p: ArrayLike) -> Floats:
    """Return ln(p / (1 - p)), of probabilities no nearer than 1e-12 to 0 and 1."""
    inside = np.clip(np.asarray(p, np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def design(x: Floats, terms: NDArray[np.int64]) -> Floats:
    """Chebyshev products of every term at every point: float64 (points, terms), for x (variables, points)."""
    out = np.ones((x.shape[1], len(terms)))
    for axis in range(len(x)):
        orders = np.polynomial.chebyshev.chebvander(x[axis], int(terms[:, axis].max(initial=0)))
        out *= orders[:, terms[:, axis]]
    return out


_LANES = 64  # points side by side, so that the inner loops vectorise


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sum(x, terms, c01, c10, chebyshev, u01, u10):  # type: ignore[no-untyped-def]
    axes, n = x.shape
    top = 0
    for t in range(terms.shape[0]):
        for a in range(axes):
            top = max(top, terms[t, a])
    powers = np.ones((axes, top + 1, _LANES))
    product = np.empty(_LANES)
    for start in range(0, n, _LANES):
        count = min(_LANES, n - start)
        for a in range(axes):
            for k in range(1, top + 1):
                before, here = powers[a, k - 1], powers[a, k]
                for i in range(count):
                    here[i] = x[a, start + i] * before[i]
                if chebyshev and k > 1:
                    last = powers[a, k - 2]
                    for i in range(count):
                        here[i] = 2 * here[i] - last[i]
        s01, s10 = u01[start : start + count], u10[start : start + count]
        s01[:], s10[:] = 0.0, 0.0
        for t in range(terms.shape[0]):
            product[:] = 1.0
            for a in range(axes):
                factor = powers[a, terms[t, a]]
                for i in range(_LANES):
                    product[i] *= factor[i]
            for i in range(count):
                s01[i] += c01[t] * product[i]
                s10[i] += c10[t] * product[i]
