"""Capacitance of word and bit lines, the same for pulses, reads and products, in simulations and in prices.

A line is as long as its cells are many: wire by pitch, and the load of a transistor for each cell. The numbers are
those of the cost table that ships; ``cost`` draws them over their ranges, and this file takes the middle values.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.files import read_object

_UNITS = {"fF/um": 1e-9, "fF": 1e-15, "F^2": 1.0, "nm": 1e-9}
Number = TypeVar("Number", float, NDArray[np.float64])


def line_capacitance(cells: float, *, wire: Number, load: Number, pitch: Number | float) -> Number:
    """Return the capacitance [F] of a line.

    Args:
        cells: that it passes.
        wire: capacitance for each length [F/m].
        load: of each cell's transistor [F].
        pitch: from cell to cell [m].
    """
    return cells * (wire * pitch + load)


def bit_line(rows: float) -> float:
    """Return the capacitance [F] of a bit line past so many rows of the table's cells, at the table's node."""
    table = _table()
    pitch = math.sqrt(_si(table["cell_area"])) * _si(table["feature_size"])
    wire, load = (_si(table["circuits"][name]["number"]) for name in ("wire", "drain load"))
    return line_capacitance(rows, wire=wire, load=load, pitch=pitch)


@cache
def _table() -> dict[str, Any]:
    return read_object(str(files("voltaspin") / "data" / "cost-table.json"))


def _si(number: dict[str, Any]) -> float:
    return float(number["value"]) * _UNITS[number["unit"]]
