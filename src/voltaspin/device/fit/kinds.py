"""The kinds of measurements that a junction is fitted to: their quantities, units and marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from voltaspin.core import units
from voltaspin.core.units import Dimension

_TIME, _VOLTAGE, _FIELD, _RATE = units.TIME, units.VOLTAGE, units.FIELD, units.FIELD_RATE
_RESISTANCE, _RATIO, _COUNT = units.RESISTANCE, units.RATIO, units.COUNT
_ATTEMPT = units.TIME.within(1e-14, 1e-5)  # a time between attempts or of damping

#: Names of columns that mean a quantity beside its own, in any case unless they are one letter; a hyphen or a space
#: may stand for the underscore.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "voltage": ("V", "V_pulse", "V_p", "V_write", "pulse_voltage", "write_voltage"),
    "current": ("I", "I_pulse", "I_p", "I_write", "pulse_current", "write_current"),
    "width": ("t_p", "t_pulse", "t_w", "pulse_width", "pulse_duration", "duration", "pulse_length"),
    "P_sw": ("Psw", "P_switch", "switching_probability", "switch_probability", "probability"),
    "flips": ("k", "n_sw", "n_switched", "switched", "switches", "n_flips", "n_switches"),
    "trials": ("n", "N", "n_reps", "reps", "repetitions", "n_trials", "n_pulses", "pulses", "cycles", "attempts"),
    "initial": ("initial_state", "start_state", "from_state", "state_before"),
    "device": ("device_id", "device_name", "dut", "dut_id", "die", "die_id", "chip", "chip_id", "junction", "mtj"),
}  # fmt: skip
#: Names of columns with a direction, in which a state alone may be the one before or after the pulse.
DIRECTION_COLUMNS = ("direction", "switching_direction", "transition")


#: Sizes in SI between which a bare number is believed, zero aside, and the usual one. Whoever measures beyond them
#: writes the unit in the cells or states it with the column; otherwise the unit of the column is taken for a slip.
BELIEVED: Mapping[str, tuple[float, float, float]] = {
    "voltage": (0.0, 50.0, 0.5), "current": (0.0, 0.1, 1e-4), "width": (1e-12, 0.05, 1e-9),
    "rise": (1e-14, 0.05, 1e-10), "fall": (1e-14, 0.05, 1e-10), "relax": (1e-13, 10.0, 1e-8),
    "resistance": (0.1, 1e12, 1e3), **dict.fromkeys(("R", "R_P", "R_AP"), (1.0, 1e12, 1e4)),
    **dict.fromkeys(("B_x", "B_z", "up_to_down", "down_to_up"), (0.0, 5.0, 0.02)),
}  # fmt: skip

#: Words of the models in :mod:`voltaspin.device.fit.models`, here for those who need the words alone.
MODEL_WORDS = ("thermal", "thermal-field", "sot", "stt", "vcma")
#: Quantities that no column has: what the word ``set`` means, and the times of models.
STATED = ("set", "tau_0", "tau_D")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The quantities of one kind of measurement.

    Args:
        data: class in :mod:`voltaspin.device.fit.data`.
        units: of every quantity that is a number; the first one is SI.
        texts: quantities that are words.
        made_of: quantities from which those of the data set are made.
        marks: sets of quantities, one of which tells the kind.
        shared: quantities with one value in a data set; a column of them makes several.
        free: whether a fit has a choice of parameters.
        devices: whether a column may tell several devices apart, each with a fit of its own.
    """

    data: str
    units: Mapping[str, Dimension]
    texts: tuple[str, ...] = ()
    made_of: tuple[str, ...] = ()
    marks: tuple[frozenset[str], ...]
    shared: tuple[str, ...] = ()
    free: bool = True
    devices: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.units, *self.texts, *(("device",) if self.devices else ()))


KINDS = {
    "switching": Kind(
        data="SwitchingData",
        units={
            "voltage": _VOLTAGE, "width": _TIME, "P_sw": _RATIO, "trials": _COUNT, "B_x": _FIELD, "B_z": _FIELD,
            "rise": _TIME, "fall": _TIME, "relax": _TIME, "flips": _COUNT, "current": units.CURRENT,
            "resistance": _RESISTANCE, "tau_0": _ATTEMPT, "tau_D": _ATTEMPT,
        },
        texts=("initial", "set"),
        made_of=("flips", "current", "resistance", *STATED),
        marks=(frozenset({"P_sw"}), frozenset({"flips", "trials"})),
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
        devices=False,
    ),
}  # fmt: skip
