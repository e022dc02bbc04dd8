"""Pulses, their way along a word line, and the response of cells to them.

A driver has a few voltages and a clock, so there are finitely many pulses. Each is solved for the nominal cell and
for the few that fix a polynomial of the logits of p01 and p10 in a cell's deviations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import cached
from voltaspin.core.spec import environment
from voltaspin.core.units import gamma_e
from voltaspin.device import Junction, Pulse
from voltaspin.device.junction import Well
from voltaspin.device.response import logistic, logit, nominal
from voltaspin.device.torque import oxide_voltage

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
Halves = tuple[tuple[str, float], ...]  # (quantity, half range), in the order of the polynomials

VOLTAGES = np.array([0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4])  #: over V_c: three bits of a driver [assumed]
CLOCK = 10e-12  #: steps of the width [s] [assumed]
_TOLERANCE = 0.02  # farthest from what was asked for
_LINE_NODES = 5  # places along a word line where the pulse is solved


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
        u = [(np.asarray(cells[q], float) - nominal(q)) / half for q, half in self.halves]
        terms = [1.0 if not used else math.prod(u[k] for k in used) for used in _orders(self.halves)]
        p01, p10 = (logistic(np.asarray(sum(c * t for c, t in zip(row, terms, strict=True)))) for row in self.logits)
        return p01, p10


#: What ``MagnetoelectricMemory.pulse`` takes: a probability, exact in ideal cells, or a pulse of the library.
Driven = float | PulseResponse


def pulse_name(pulse: Pulse) -> str:
    """``"1.418 V 230 ps"``"""
    return f"{pulse.voltage:.3f} V {pulse.width * 1e12:.0f} ps"


def _orders(halves: Halves) -> list[tuple[int, ...]]:
    """Return the quantities of each term: powers up to 4 of one (2 of the field, which is small), products of two."""
    n = len(halves)
    powers = [(k,) * order for k in range(n) for order in range(1, 3 if halves[k][0] == "B_z" else 5)]
    return [(), *powers, *itertools.combinations(range(n), 2)]


def _terms(halves: Halves) -> list[tuple[str, ...]]:
    return [tuple(halves[k][0] for k in used) for used in _orders(halves)]


def _gauss(halves: Halves, spreads: Mapping[str, float]) -> list[tuple[float, Floats]]:
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


def _designs(halves: Halves) -> list[dict[str, float]]:
    """The same cells by name."""
    return [{q: nominal(q) + s * half for s, (q, half) in zip(place, halves, strict=True)} for place in _places(halves)]


def _coefficients(values: Floats, halves: Halves) -> Floats:
    """Polynomials through ``values`` (designs, ...) at the designs: (terms, ...)."""
    places = _places(halves)
    terms = np.stack([np.prod(places[:, list(used)], axis=1) for used in _orders(halves)], 1)
    return np.asarray(np.tensordot(np.linalg.inv(terms), values, (1, 0)))


@lru_cache(maxsize=64)
def response(junction: Junction, pulse: Pulse, halves: Halves) -> PulseResponse:
    """Solve the response of a junction's cells to a pulse: some Fokker-Planck solutions, a second or so."""
    from voltaspin.device.fokker_planck import switching_probability

    wells: tuple[Well, Well] = ("up", "down")
    p = [[switching_probability(junction.with_variation(**cell), pulse, initial=w).value for w in wells]
         for cell in _designs(halves)]  # fmt: skip
    return PulseResponse(pulse, halves, _coefficients(logit(p), halves).T)


def _save(path: Path, values: Floats) -> None:
    with path.open("wb") as file:  # np.save would add a suffix to a path
        np.save(file, values)


@dataclass(frozen=True)
class PulseLibrary:
    """The pulses that a driver can give to a junction.

    Args:
        voltages: [V], (n,).
        widths: [s], (m,).
        halves: see :class:`PulseResponse`.
        logits: float64 (n, m, 2, terms).
    """

    voltages: Floats
    widths: Floats
    halves: Halves
    logits: Floats

    @classmethod
    def of(
        cls, junction: Junction, halves: Halves, *, voltages: Floats | None = None, widths: Floats | None = None,
        progress: Progress | None = None,
    ) -> PulseLibrary:  # fmt: skip
        """Solve all pulses of a driver, half a minute; kept in the user's cache folder.

        Args:
            junction: with an in-plane field, about which a pulse turns the bit.
            halves: quantities in which cells differ, with half their range.
            voltages: [V]; eight from 0.7 to 1.4 V_c where absent.
            widths: [s]; steps of 10 ps up to half a precession period where absent.
            progress: called with (done, total) maps, first with 0 done; not at all where the pulses are kept.

        Raises:
            InputError: a junction without an in-plane field.
        """
        if junction.terms:
            raise InputError(
                f"a pulse library flips both bits with any probability, by VCMA alone, and {junction.name} has "
                f"{', '.join(junction.terms)}; take a junction without, such as 'generator'"
            )
        if junction.B_in_plane == 0:
            raise InputError("in-plane field = 0 T: a VCMA pulse turns the bit about it; set B_bias")
        V: Any = VOLTAGES * junction.V_c if voltages is None else np.asarray(voltages, float)
        half_period = np.pi / (gamma_e * junction.B_in_plane)
        w: Any = np.arange(1, int(half_period / CLOCK) + 1) * CLOCK if widths is None else np.asarray(widths, float)

        def solved() -> Floats:
            from voltaspin.device.fokker_planck import switching_map

            designs = _designs(halves)
            # without a field along z the flips of a 1 at B_z are those of a 0 at -B_z
            symmetric = junction.B_bias[2] == 0
            wells: tuple[Well, ...] = ("up",) if symmetric else ("up", "down")
            values = np.empty((len(designs), len(V), len(w), len(wells)))
            if progress is not None:
                progress(0, len(wells) * len(designs))
            for i, cell in enumerate(designs):
                for j, well in enumerate(wells):
                    found = switching_map(junction.with_variation(**cell), voltages=V, widths=w, initial=well)
                    values[i, :, :, j] = logit(found.P_sw)
                    if progress is not None:
                        progress(len(wells) * i + j + 1, len(wells) * len(designs))
            logits = np.moveaxis(_coefficients(values, halves), 0, -1)
            if symmetric:
                mirrored = np.array([1 - 2 * (sum(q == "B_z" for q in term) % 2) for term in _terms(halves)])
                logits = np.concatenate([logits, logits * mirrored], 2)
            return logits

        inputs = [asdict(junction), halves, V.tolist(), w.tolist(), environment()["voltaspin"]]
        logits = cached("pulses", inputs, suffix=".npy", read=np.load, make=solved, write=_save)
        return cls(V, w, halves, logits)

    @property
    def nominal(self) -> Floats:
        """(p01, p10) of the nominal cell for each pulse: float64 (n, m, 2)."""
        return logistic(self.logits[..., 0])

    def at(self, i: int, j: int) -> PulseResponse:
        """Return the response of cells to voltage ``i`` and width ``j``."""
        pulse = Pulse(voltage=float(self.voltages[i]), width=float(self.widths[j]))
        return PulseResponse(pulse, self.halves, self.logits[i, j])

    def over_cells(self, spreads: Mapping[str, float]) -> tuple[Floats, Floats]:
        """Cells that stand for all those of an array: weights (k,), and (p01, p10) of each pulse (k, n, m, 2).

        Args:
            spreads: standard deviation of the quantities in which cells differ.
        """
        nodes = _gauss(self.halves, spreads)
        return np.array([w for w, _ in nodes]), np.stack([logistic(self.logits @ cell) for _, cell in nodes])

    def moments(self, spreads: Mapping[str, float], *, of_mean: bool = False) -> tuple[Floats, Floats]:
        """Mean and variance, over the cells of an array, of the flip probabilities of each pulse.

        Args:
            spreads: standard deviation of the quantities in which cells differ.
            of_mean: take the mean of a cell's p01 and p10 as its flip probability.

        Returns:
            float64 (n, m, 2), p01 and p10 apart, or (n, m) with ``of_mean``.
        """
        weights, p = self.over_cells(spreads)
        if of_mean:
            p = p.mean(-1)
        mean = np.tensordot(weights, p, 1)
        return mean, np.tensordot(weights, (p - mean) ** 2, 1)

    def choose(self, probability: float, spreads: Mapping[str, float]) -> PulseResponse:
        """The pulse whose flips come nearest to ``probability`` in the mean square over cells and both directions.

        Args:
            probability: wanted of p01 and p10.
            spreads: standard deviation of the quantities in which cells differ.

        Raises:
            InputError: the nearest pulse is more than 0.02 away in the nominal cell; the message names it.
        """
        p = self.nominal
        weights, cells = self.over_cells(spreads)
        wrong = np.tensordot(weights, ((cells - probability) ** 2).mean(-1), 1)
        i, j = (int(k) for k in np.unravel_index(int(wrong.argmin()), wrong.shape))
        chosen = self.at(i, j)
        if max(abs(chosen.p01 - probability), abs(chosen.p10 - probability)) > _TOLERANCE:
            distance = np.abs(p - probability).max(-1)
            i, j = (int(k) for k in np.unravel_index(int(distance.argmin()), distance.shape))
            if distance[i, j] > _TOLERANCE:
                raise InputError(
                    f"no pulse of this junction flips with a probability of {probability:g}; the nearest, "
                    f"{self.voltages[i]:.3g} V for {self.widths[j] * 1e9:.3g} ns, flips a 0 with {p[i, j, 0]:.3f} and "
                    f"a 1 with {p[i, j, 1]:.3f}"
                )
            return self.at(i, j)
        return chosen


@dataclass(frozen=True, kw_only=True)
class Line:
    """A word line that drives the cells of one row from column 0.

    Args:
        resistance: from one cell to the next [ohm].
        capacitance: per cell [F].
        driver: output resistance of the driver [ohm].

    Raises:
        InputError: a negative value.
    """

    resistance: float = 1.0
    capacitance: float = 0.2e-15
    driver: float = 0.0

    def __post_init__(self) -> None:
        for name, unit in (("resistance", "ohm"), ("capacitance", "F"), ("driver", "ohm")):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise InputError(f"line {name} = {value} {unit} must be finite and not negative")

    def droop(self, columns: int, cell: float) -> Floats:
        """Share of the voltage that is lost at each cell of a row whose cells all conduct: float64 (columns,).

        Args:
            columns: cells of the row.
            cell: resistance of one [ohm].
        """
        if self.resistance == 0:
            drop = self.driver * columns / cell
            return np.full(columns, drop / (1 + drop))
        from scipy.linalg import solveh_banded

        # Kirchhoff's laws of the ladder; without a driver's resistance the first node is the source
        wire = self.resistance
        diagonal = np.full(columns, 2 / wire + 1 / cell)
        diagonal[-1] -= 1 / wire
        feed = 1 / (wire + self.driver)
        diagonal[0] += feed - 1 / wire
        bands = np.vstack([np.full(columns, -1 / wire), diagonal])
        source = np.zeros(columns)
        source[0] = feed
        return np.asarray(1 - solveh_banded(bands, source))

    def delay(self, columns: int) -> Floats:
        """Elmore delay to each cell [s], the time constant of the low-pass that the pulse has passed there.

        Source: W. C. Elmore, J. Appl. Phys. 19, 55 (1948).
        """
        downstream = (columns - np.arange(columns)) * self.capacitance
        return np.asarray(self.driver * columns * self.capacitance + np.cumsum(self.resistance * downstream))

    def shifts(self, junction: Junction, pulse: Pulse, columns: int) -> tuple[Floats, Floats]:
        """Return the shift of the logits of p01 and p10 of each column, solved at five places along the line."""
        across = oxide_voltage(junction, pulse.voltage)
        cell = junction.R_series + 1 / float(junction.conductance(0.0, across))
        if junction.line is not None:  # which the pulse drives; what its gate adds is left out
            cell = junction.line.resistance
        droop, delay = self.droop(columns, cell), self.delay(columns)
        at = np.unique(np.linspace(0, columns - 1, min(_LINE_NODES, columns)).round().astype(int))
        here = []
        for i in at:
            # linear edges of the variance of the low-pass's, which are solved a hundred times faster
            edge = min(math.sqrt(12) * float(delay[i]), pulse.width)
            rise, fall = math.hypot(pulse.rise, edge), math.hypot(pulse.fall, edge)
            seen = replace(pulse, voltage=pulse.voltage * (1 - droop[i]), rise=rise, fall=fall)
            here.append(response(junction, seen, ()))
        base = response(junction, pulse, ()).logits[:, 0]
        moved = np.array([a.logits[:, 0] - base for a in here])
        if len(at) == 1:
            return np.full(columns, moved[0, 0]), np.full(columns, moved[0, 1])
        from scipy.interpolate import PchipInterpolator

        curve = PchipInterpolator(at, moved)(np.arange(columns))
        return np.asarray(curve[:, 0]), np.asarray(curve[:, 1])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
