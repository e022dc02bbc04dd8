"""Pulses, their way along a word line, and the response of cells to them.

A driver has a few voltages and a clock, so there are finitely many pulses. Each is solved for the nominal cell and
for the few that fix a polynomial of the logits of p01 and p10 in a cell's deviations
(:mod:`voltaspin.memory.responses`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import cached
from voltaspin.core.spec import environment
from voltaspin.core.units import gamma_e
from voltaspin.device import Junction, Pulse
from voltaspin.device.protocol import USUAL, WELLS
from voltaspin.device.response import logistic, logit
from voltaspin.device.torque import oxide_voltage
from voltaspin.memory.lines import bit_line
from voltaspin.memory.responses import (
    Driven,
    Halves,
    PulsePair,
    PulseResponse,
    coefficients,
    designs_of,
    gauss,
    term_names,
)
from voltaspin.memory.term_pulses import CLOCK, VOLTAGES, one_pulse, term_pulses

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

_TOLERANCE = 0.02  # farthest from what was asked for
_LINE_NODES = 5  # places along a word line where the pulse is solved


@lru_cache(maxsize=64)
def response(junction: Junction, pulse: Pulse, halves: Halves) -> PulseResponse:
    """Solve the response of a junction's cells to a pulse: some Fokker-Planck solutions, a second or so."""
    from voltaspin.device.fokker_planck import switching_probability

    if junction.terms:
        return PulseResponse(pulse, halves, coefficients(one_pulse(junction, pulse, designs_of(halves)), halves).T)
    p = [[switching_probability(junction.with_variation(**cell), pulse, initial=w).value for w in WELLS]
         for cell in designs_of(halves)]  # fmt: skip
    return PulseResponse(pulse, halves, coefficients(logit(p), halves).T)


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
        apart: whether a cell at 0 and one at 1 get pulses of their own, as under a torque of one sign: the answers are
            then pairs (:class:`PulsePair`).
        error: root-mean-square error of a probability over all pulses, in cells of up to the half ranges that the
            polynomials have not seen; ``worst``: the largest; None where it was not measured (a junction without
            further terms).
    """

    voltages: Floats
    widths: Floats
    halves: Halves
    logits: Floats
    apart: bool = False
    error: float | None = None
    worst: float | None = None

    @classmethod
    def of(
        cls, junction: Junction, halves: Halves, *, voltages: Floats | None = None, widths: Floats | None = None,
        progress: Progress | None = None,
    ) -> PulseLibrary:  # fmt: skip
        """Solve all pulses of a driver, half a minute; kept in the user's cache folder.

        Args:
            junction: with an in-plane field, about which a pulse turns the bit, or with further terms: those solve
                some minutes (:mod:`voltaspin.memory.term_pulses`).
            halves: quantities in which cells differ, with half their range.
            voltages: [V]; eight from 0.7 to 1.4 V_c where absent; of a torque eight of either sign.
            widths: [s]; steps of 10 ps up to half a precession period where absent; of a torque up to three relaxation
                times.
            progress: called with (done, total) maps, first with 0 done; not at all where the pulses are kept.

        Raises:
            InputError: a junction without an in-plane field or a torque, or one that does not hold its bit.
        """
        if junction.terms:
            return cls(*term_pulses(junction, halves, voltages=voltages, widths=widths, progress=progress))
        if junction.B_in_plane == 0:
            raise InputError("in-plane field = 0 T: a VCMA pulse turns the bit about it; set B_bias")
        V: Any = VOLTAGES * junction.V_c if voltages is None else np.asarray(voltages, float)
        half_period = np.pi / (gamma_e * junction.B_in_plane)
        w: Any = np.arange(1, int(half_period / CLOCK) + 1) * CLOCK if widths is None else np.asarray(widths, float)

        def solved() -> Floats:
            from voltaspin.device.fokker_planck import switching_map

            designs = designs_of(halves)
            wells = USUAL.wells(junction)
            values = np.empty((len(designs), len(V), len(w), len(wells)))
            if progress is not None:
                progress(0, len(wells) * len(designs))
            for i, cell in enumerate(designs):
                for j, well in enumerate(wells):
                    found = switching_map(junction.with_variation(**cell), voltages=V, widths=w, initial=well)
                    values[i, :, :, j] = logit(found.P_sw)
                    if progress is not None:
                        progress(len(wells) * i + j + 1, len(wells) * len(designs))
            logits = np.moveaxis(coefficients(values, halves), 0, -1)
            if len(wells) == 1:
                mirrored = np.array([1 - 2 * (sum(q == "B_z" for q in term) % 2) for term in term_names(halves)])
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
        nodes = gauss(self.halves, spreads)
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

    def nearest(
        self, wanted: ArrayLike, spreads: Mapping[str, float], weight: float = 1.0
    ) -> tuple[list[Driven], Floats]:
        """The pulse, or pair, for each wanted flip probability: nearest in the mean square over cells.

        Args:
            wanted: probabilities (k,).
            spreads: standard deviation of the quantities in which cells differ.
            weight: of the variance over the cells, beside the square of the distance of their mean.

        Returns:
            The pulses, and the mean p01 and p10 over the cells that each gives, float64 (k, 2).
        """
        mean, variance = self.moments(spreads)
        if not self.apart:
            mean_of_both, variance_of_mean = self.moments(spreads, of_mean=True)
            asked = np.asarray(wanted, float)[:, None, None]
            cost = (mean_of_both - asked) ** 2 + weight * variance_of_mean
            rows, columns = np.unravel_index(cost.reshape(len(cost), -1).argmin(1), cost.shape[1:])
            return [self.at(int(i), int(j)) for i, j in zip(rows, columns, strict=True)], mean[rows, columns]
        pulses, reached = list[Driven](), np.empty((len(np.asarray(wanted)), 2))
        for k, p in enumerate(np.asarray(wanted, float)):
            cost = (mean - p) ** 2 + weight * variance
            places = [np.unravel_index(int(cost[..., s].argmin()), cost.shape[:2]) for s in (0, 1)]
            pulses.append(PulsePair(*(self.at(int(i), int(j)) for i, j in places)))
            reached[k] = [mean[*place, s] for s, place in enumerate(places)]
        return pulses, reached

    def choose(self, probability: float, spreads: Mapping[str, float]) -> PulseResponse | PulsePair:
        """The pulse whose flips come nearest to ``probability`` in the mean square over cells and both directions.

        Args:
            probability: wanted of p01 and p10.
            spreads: standard deviation of the quantities in which cells differ.

        Raises:
            InputError: the nearest pulse is more than 0.02 away in the nominal cell; the message names it.
        """
        p = self.nominal
        if self.apart:
            pair = self.nearest([probability], spreads)[0][0]
            assert isinstance(pair, PulsePair)
            off = [abs(found - probability) for found in (pair.p01, pair.p10)]
            if max(off) > _TOLERANCE:
                first = "a 0" if off[0] >= off[1] else "a 1"
                found, pulse = (pair.p01, pair.zero.pulse) if off[0] >= off[1] else (pair.p10, pair.one.pulse)
                raise InputError(
                    f"no pulse of this junction flips {first} with a probability of {probability:g}; the nearest, "
                    f"{pulse.voltage:.3g} V for {pulse.width * 1e9:.3g} ns, flips it with {found:.3f}"
                )
            return pair
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
        capacitance: per cell [F]; by default wire and transistor of the cost table's cell.
        driver: output resistance of the driver [ohm].

    Raises:
        InputError: a negative value.
    """

    resistance: float = 1.0
    capacitance: float = field(default_factory=partial(bit_line, 1))
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
