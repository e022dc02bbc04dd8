"""What a word line does to a pulse on its way along the cells: it loses voltage and its edges go round."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.device import Junction, Pulse

Floats = NDArray[np.float64]
_NODES = 5  # places along the line where the pulse is solved


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
        """What is added to the logits of p01 and p10 of each column, solved at five places along the line."""
        from voltaspin.memory.programmable import answer

        cell = 1 / float(junction.conductance(0.0, pulse.voltage))
        droop, delay = self.droop(columns, cell), self.delay(columns)
        at = np.unique(np.linspace(0, columns - 1, min(_NODES, columns)).round().astype(int))
        here = []
        for i in at:
            # linear edges of the variance of the low-pass's, which are solved a hundred times faster
            edge = min(math.sqrt(12) * float(delay[i]), pulse.width)
            rise, fall = math.hypot(pulse.rise, edge), math.hypot(pulse.fall, edge)
            seen = replace(pulse, voltage=pulse.voltage * (1 - droop[i]), rise=rise, fall=fall)
            here.append(answer(junction, seen, ()))
        base = answer(junction, pulse, ()).logits[:, 0]
        moved = np.array([a.logits[:, 0] - base for a in here])
        if len(at) == 1:
            return np.full(columns, moved[0, 0]), np.full(columns, moved[0, 1])
        from scipy.interpolate import PchipInterpolator

        curve = PchipInterpolator(at, moved)(np.arange(columns))
        return np.asarray(curve[:, 0]), np.asarray(curve[:, 1])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
