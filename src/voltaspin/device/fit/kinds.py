"""The kinds of measurements that a junction is fitted to: their quantities, units and marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from voltaspin.core import units
from voltaspin.core.units import Dimension

_TIME, _VOLTAGE, _FIELD, _RATE = units.TIME, units.VOLTAGE, units.FIELD, units.FIELD_RATE
_RESISTANCE, _RATIO, _COUNT = units.RESISTANCE, units.RATIO, units.COUNT


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The quantities of one kind of measurement.

    Args:
        data: class in :mod:`voltaspin.device.fit.data`.
        units: of every quantity that is a number; the first one is SI.
        texts: quantities that are words.
        marks: sets of quantities, one of which tells the kind.
        shared: quantities with one value in a data set; a column of them makes several.
        free: whether a fit has a choice of parameters.
    """

    data: str
    units: Mapping[str, Dimension]
    texts: tuple[str, ...] = ()
    marks: tuple[frozenset[str], ...]
    shared: tuple[str, ...] = ()
    free: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.units, *self.texts)


KINDS = {
    "switching": Kind(
        data="SwitchingData",
        units={
            "voltage": _VOLTAGE, "width": _TIME, "P_sw": _RATIO, "trials": _COUNT, "B_x": _FIELD, "B_z": _FIELD,
            "rise": _TIME, "fall": _TIME, "relax": _TIME,
        },
        texts=("initial",),
        marks=(frozenset({"P_sw"}),),
        shared=("initial", "rise", "fall", "relax"),
    ),
    "resistance": Kind(
        data="ResistanceData",
        units={"voltage": _VOLTAGE, **dict.fromkeys(("R", "R_P", "R_AP", "error", "error_P", "error_AP"), _RESISTANCE)},
        texts=("state",),
        marks=(frozenset({"R"}), frozenset({"R_P", "voltage"}), frozenset({"R_AP", "voltage"})),
    ),
    "tmr": Kind(
        data="TMRData",
        units={"voltage": _VOLTAGE, "TMR": _RATIO, "error": _RATIO},
        marks=(frozenset({"TMR"}),),
        free=False,
    ),
    "field": Kind(
        data="SwitchingFieldData",
        units={"up_to_down": _FIELD, "down_to_up": _FIELD, "ramp_rate": _RATE, "voltage": _VOLTAGE},
        marks=(frozenset({"up_to_down"}), frozenset({"down_to_up"})),
        shared=("ramp_rate", "voltage"),
    ),
    "spread": Kind(
        data="ResistanceSpread",
        units={"R_P": _RESISTANCE, "R_AP": _RESISTANCE, "voltage": _VOLTAGE},
        marks=(frozenset({"R_P", "R_AP"}),),
        shared=("voltage",),
        free=False,
    ),
}  # fmt: skip
