"""The responses of cells to pulses: polynomials of the logits of p01 and p10 in a cell's deviations, and pairs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.device import Pulse
from voltaspin.device.response import logistic, nominal

Floats = NDArray[np.float64]
Halves = tuple[tuple[str, float], ...]  #: (quantity, half range), in the order of the polynomials


@dataclass(frozen=True)
class PulseResponse:
    """The response of the cells of an array to one pulse.

    Args:
        pulse: the pulse.
        halves: quantities of the polynomials and the distance from nominal that counts as 1.
        logits: coefficients for p01 and p10, float64 (2, terms): a constant, powers of each, products of two.
    """

    pulse: Pulse
    halves: Halves
    logits: Floats

    @property
    def name(self) -> str:
        """Of the part of a ledger that counts it."""
        return pulse_name(self.pulse)

    @property
    def p01(self) -> float:
        """Of the nominal cell."""
        return float(logistic(self.logits[0, :1])[0])

    @property
    def p10(self) -> float:
        """Of the nominal cell."""
        return float(logistic(self.logits[1, :1])[0])

    def probabilities(self, cells: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
        """(p01, p10) of the cells, in their shape; () where all are equal."""
        terms = terms_at(self.halves, cells)
        p01, p10 = (logistic(np.asarray(sum(c * t for c, t in zip(row, terms, strict=True)))) for row in self.logits)
        return p01, p10


@dataclass(frozen=True)
class PulsePair:
    """Two pulses, of which a cell gets the one for the bit that it holds: a torque of one sign flips only one of them.

    Args:
        zero: for cells that hold 0; its ``p01`` counts.
        one: for cells that hold 1; its ``p10`` counts.

    Whoever gives them knows the bits, or reads them first.
    """

    zero: PulseResponse
    one: PulseResponse

    @property
    def p01(self) -> float:
        """Of the nominal cell."""
        return self.zero.p01

    @property
    def p10(self) -> float:
        """Of the nominal cell."""
        return self.one.p10


#: What ``MagnetoelectricMemory.pulse`` takes: a probability, exact in ideal cells, or a pulse or pair of the library.
Driven = float | PulseResponse | PulsePair


def told_apart(pulses: Sequence[Driven], which: NDArray[Any], bits: NDArray[Any]) -> tuple[list[Driven], NDArray[Any]]:
    """Replace each pair by its two pulses, for cells that are taken to hold ``bits``: pulses and their numbers."""
    flat, first, pairs = list[Driven](), [0], [False]
    for pulse in pulses:
        first.append(len(flat) + 1)
        pairs.append(isinstance(pulse, PulsePair))
        flat += [pulse.zero, pulse.one] if isinstance(pulse, PulsePair) else [pulse]
    return flat, np.array(first)[which] + np.where(np.array(pairs)[which], np.asarray(bits) == 1, 0)


def pulse_name(pulse: Pulse) -> str:
    """``"1.418 V 230 ps"``"""
    return f"{pulse.voltage:.3f} V {pulse.width * 1e12:.0f} ps"


def _orders(halves: Halves) -> list[tuple[int, ...]]:
    """Return the quantities of each term: powers up to 4 of one (2 of the field, which is small), products of two."""
    n = len(halves)
    powers = [(k,) * order for k in range(n) for order in range(1, 3 if halves[k][0] == "B_z" else 5)]
    return [(), *powers, *itertools.combinations(range(n), 2)]


def terms_at(halves: Halves, cells: Mapping[str, Any]) -> list[Any]:
    """Return each term of the polynomials for cells, by the names of their quantities."""
    u = [(np.asarray(cells[q], float) - nominal(q)) / half for q, half in halves]
    return [1.0 if not used else math.prod(u[k] for k in used) for used in _orders(halves)]


def term_names(halves: Halves) -> list[tuple[str, ...]]:
    return [tuple(halves[k][0] for k in used) for used in _orders(halves)]


def gauss(halves: Halves, spreads: Mapping[str, float]) -> list[tuple[float, Floats]]:
    """Five Gaussian nodes along each quantity: (weight, terms of the polynomial) each."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    weights = weights / weights.sum()
    found = []
    for index in itertools.product(range(5), repeat=len(halves)):
        u = [nodes[k] * spreads.get(q, 0.0) / half for k, (q, half) in zip(index, halves, strict=True)]
        terms = np.array([math.prod(u[k] for k in used) for used in _orders(halves)])
        found.append((float(np.prod(weights[list(index)])), terms))
    return found


def _places(halves: Halves) -> Floats:
    """Cells that fix the polynomial, in units of the half ranges: (terms, quantities)."""
    n = len(halves)
    places = [np.zeros(n)]
    for k, (q, _) in enumerate(halves):
        places += [step * np.eye(n)[k] for step in ((1, -1) if q == "B_z" else (1, -1, 0.5, -0.5))]
    places += [0.5 * (np.eye(n)[i] + np.eye(n)[j]) for i, j in itertools.combinations(range(n), 2)]
    return np.array(places).reshape(len(places), n)


def designs_of(halves: Halves) -> list[dict[str, float]]:
    """The same cells by name."""
    return [{q: nominal(q) + s * half for s, (q, half) in zip(place, halves, strict=True)} for place in _places(halves)]


def coefficients(values: Floats, halves: Halves) -> Floats:
    """Polynomials through ``values`` (designs, ...) at the designs: (terms, ...)."""
    places = _places(halves)
    terms = np.stack([np.prod(places[:, list(used)], axis=1) for used in _orders(halves)], 1)
    return np.asarray(np.tensordot(np.linalg.inv(terms), values, (1, 0)))
