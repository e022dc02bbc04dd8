"""Measurements on real junctions: tables in CSV or HDF5, and the four data sets that a fit takes.

A data set is one thing measured under stated conditions, in SI. :func:`load` reads it from a file by a mapping from
quantity to column (:mod:`voltaspin.device.fit.reading`); every row is checked on the way in, so that a fit never meets
a probability of 57.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.units import require_positive
from voltaspin.device.equilibrium import well_sign
from voltaspin.device.fit.reading import RowError
from voltaspin.device.fit.reading import load as load
from voltaspin.device.junction import Well

Floats = NDArray[np.float64]

# --- checks --------------------------------------------------------------------------------------------


def _column(name: str, values: ArrayLike, unit: str) -> Floats:
    """One-dimensional copy that cannot be written to; InputError where an entry is no finite number."""
    try:
        column = np.array(values, np.float64, ndmin=1)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds something that is no number; give numbers in {unit}") from None
    if column.ndim != 1 or not len(column):
        raise InputError(f"{name} has the shape {column.shape}; give a list of at least one value in {unit}")
    if not np.isfinite(column).all():
        row = int(np.flatnonzero(~np.isfinite(column))[0])
        raise RowError(f"{name} = {column[row]} {unit} in", (row,), "is not finite; leave that row out")
    column.setflags(write=False)
    return column


def _refuse(name: str, column: Floats, bad: NDArray[np.bool_], unit: str, limit: str, remedy: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise RowError(f"{name} = {column[row]:g} {unit}".rstrip() + " in", (row,), f"must be {limit}; {remedy}")


def _same_length(owner: str, columns: Mapping[str, NDArray[Any]]) -> int:
    """Common length of the columns, of which those of length 1 count for every row."""
    n = max(map(len, columns.values()))
    for name, column in columns.items():
        if len(column) not in (1, n):
            raise InputError(f"{owner}: {name} has {len(column)} values where others have {n}; give one per row")
    return n


# --- data sets -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SwitchingData:
    """Switching probabilities counted over pulses, all from the same initial state.

    A scalar stands for a column of equal values. Counts come from P_sw times trials, so a P_sw that was
    rounded coarser than 1 / trials carries that rounding.

    Args:
        voltage: of the pulses, with their sign [V], (n,).
        width: at half height [s], (n,).
        P_sw: share of the pulses after which the other state was read [1], (n,).
        trials: pulses per row, (n,).
        B_x, B_z: applied during pulse and relaxation, on top of the junction's own field [T], (n,).
        initial: ``"up"`` (parallel, bit 0) or ``"down"``.
        rise, fall: full durations of the linear edges [s].
        relax: from the end of the pulse to the read [s].
        counted: false where nobody knows how many pulses there were. Then ``trials`` are only weights: a fit takes its
            errors from the scatter, and cannot judge itself.

    Raises:
        InputError: an entry that is not finite or out of range, columns of different lengths, or the same
            pulse twice.
    """

    voltage: Floats
    width: Floats
    P_sw: Floats
    trials: Floats
    B_x: Floats = field(default_factory=lambda: np.zeros(1))
    B_z: Floats = field(default_factory=lambda: np.zeros(1))
    initial: Well = "up"
    rise: float = 0.0
    fall: float = 0.0
    relax: float = 10e-9
    counted: bool = True

    def __post_init__(self) -> None:
        units = {"voltage": "V", "width": "s", "P_sw": "", "trials": "", "B_x": "T", "B_z": "T"}
        columns = {name: _column(name, getattr(self, name), unit) for name, unit in units.items()}
        P, trials = columns["P_sw"], columns["trials"]
        _refuse("P_sw", P, (P < 0) | (P > 1), "", "from 0 to 1", "give a share of pulses, not percent or counts")
        _refuse("width", columns["width"], columns["width"] <= 0, "s", "positive", "give the width at half height")
        far = (columns["width"] < 1e-15) | (columns["width"] > 1e3)
        _refuse("width", columns["width"], far, "s", "of the size of a pulse", "give seconds, e.g. 0.5e-9")
        _refuse(
            "trials", trials, (trials < 1) | (trials != np.round(trials)) | (trials > 1e15), "",
            "a whole number from 1 on", "give the number of pulses behind the probability, at most 1e15",
        )  # fmt: skip
        well_sign(self.initial)
        for name in ("rise", "fall", "relax"):
            require_positive(name, getattr(self, name), "s", "give seconds, zero for none", zero=True)
        n = _same_length("switching data", columns)
        for name, column in columns.items():
            object.__setattr__(self, name, np.broadcast_to(column, n))
        _refuse(
            "width", self.width, (self.rise + self.fall) > 2 * self.width, "s",
            f"at least half of rise and fall together ({self.rise + self.fall:g} s)", "give the width at half height",
        )  # fmt: skip
        settings = np.stack([self.voltage, self.width, self.B_x, self.B_z], axis=1)
        _, first, counts = np.unique(settings, axis=0, return_index=True, return_counts=True)
        if (counts > 1).any():
            V, w, B_x, B_z = settings[first[int(np.argmax(counts > 1))]]
            rows = np.flatnonzero((settings == (V, w, B_x, B_z)).all(axis=1))
            raise RowError(
                "", (int(rows[0]), int(rows[1])),
                f"hold the same pulse ({V:g} V, {w:g} s, B_x {B_x:g} T, B_z {B_z:g} T); add repeated counts up in one "
                "row, or make two data sets of them",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.P_sw)

    @property
    def counts(self) -> Floats:
        """Flips per row [1]."""
        return self.P_sw * self.trials

    @property
    def error(self) -> Floats:
        """Binomial standard error of P_sw, (n,); with half a flip added to both outcomes, so that it is never 0."""
        p = (self.counts + 0.5) / (self.trials + 1)
        return np.asarray(np.sqrt(p * (1 - p) / self.trials))


@dataclass(frozen=True, kw_only=True)
class ResistanceData:
    """Resistance against voltage in known states: the R-V curves.

    Args:
        voltage: across the junction, with its sign [V], (n,).
        R: voltage over current [ohm], (n,); the leads taken off.
        state: ``"P"`` or ``"AP"``, one or (n,).
        error: standard error of R [ohm], one or (n,); None where it is unknown.

    Raises:
        InputError: an entry that is not finite or out of range, or columns of different lengths.
    """

    voltage: Floats
    R: Floats
    state: NDArray[np.str_]
    error: Floats | None = None

    def __post_init__(self) -> None:
        columns: dict[str, NDArray[Any]] = {"voltage": _column("voltage", self.voltage, "V")}
        columns["R"] = _column("R", self.R, "ohm")
        columns["state"] = np.char.upper(np.char.strip(np.array(self.state, dtype=str, ndmin=1)))
        if self.error is not None:
            columns["error"] = _column("error", self.error, "ohm")
        for name in {"R", "error"} & set(columns):
            _refuse(name, columns[name], columns[name] <= 0, "ohm", "positive", "give voltage over current in ohm")
        unknown = ~np.isin(columns["state"], ("P", "AP"))
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            raise RowError(f"state {str(columns['state'][row])!r} in", (row,), "is unknown; write P or AP")
        n = _same_length("resistance data", columns)
        for name, column in columns.items():
            object.__setattr__(self, name, np.broadcast_to(column, n))

    def __len__(self) -> int:
        return len(self.R)


@dataclass(frozen=True, kw_only=True)
class TMRData:
    """Tunnel magnetoresistance against voltage.

    Args:
        voltage: across the junction [V], (n,).
        TMR: (R_AP - R_P) / R_P at that voltage [1], (n,).
        error: its standard error [1], one or (n,); None where it is unknown.

    Raises:
        InputError: an entry that is not finite or out of range, or columns of different lengths.
    """

    voltage: Floats
    TMR: Floats
    error: Floats | None = None

    def __post_init__(self) -> None:
        columns = {"voltage": _column("voltage", self.voltage, "V"), "TMR": _column("TMR", self.TMR, "")}
        bad = (columns["TMR"] <= 0) | (columns["TMR"] > 10)
        _refuse("TMR", columns["TMR"], bad, "", "above 0 and at most 10", "give a ratio, not percent, e.g. 1.2")
        if self.error is not None:
            columns["error"] = _column("error", self.error, "")
            _refuse("error", columns["error"], columns["error"] <= 0, "", "positive", "give a ratio, not percent")
        n = _same_length("TMR data", columns)
        for name, column in columns.items():
            object.__setattr__(self, name, np.broadcast_to(column, n))

    def __len__(self) -> int:
        return len(self.TMR)


@dataclass(frozen=True, kw_only=True)
class SwitchingFieldData:
    """Fields along z at which the state switched while the field was ramped, one entry per ramp.

    Each ramp begins where the state is certain (at saturation) and its first switch counts. The field is the
    applied one; the stray field comes out of the fit.

    Args:
        up_to_down: fields of switches from parallel to antiparallel, on falling ramps [T], (n,) or none.
        down_to_up: fields of switches back, on rising ramps [T], (m,) or none.
        ramp_rate: magnitude of dB/dt [T/s].
        voltage: constant across the junction meanwhile [V].

    Raises:
        InputError: no switch at all, an entry that is not finite, or both kinds exchanged.
    """

    up_to_down: Floats = field(default_factory=lambda: np.zeros(0))
    down_to_up: Floats = field(default_factory=lambda: np.zeros(0))
    ramp_rate: float
    voltage: float = 0.0

    def __post_init__(self) -> None:
        require_positive("ramp_rate", self.ramp_rate, "T/s", "give the magnitude of dB/dt, e.g. 0.05")
        if not math.isfinite(self.voltage):
            raise InputError(f"voltage = {self.voltage!r} V must be finite; give volts, e.g. 0")
        for name in ("up_to_down", "down_to_up"):
            given = np.asarray(getattr(self, name))
            object.__setattr__(self, name, _column(name, given, "T") if given.size else np.zeros(0))
        if not len(self):
            raise InputError("no switching fields at all; give up_to_down, down_to_up or both in tesla")
        if len(self.up_to_down) and len(self.down_to_up):
            down, up = float(self.up_to_down.mean()), float(self.down_to_up.mean())
            if down >= up:
                raise InputError(
                    f"the mean field of switches to down, {down:g} T, is not below that of switches to up, {up:g} T; "
                    "exchange the two columns, or turn the sign of the field (up is parallel and grows with B_z)"
                )

    def __len__(self) -> int:
        return len(self.up_to_down) + len(self.down_to_up)


@dataclass(frozen=True, kw_only=True)
class ResistanceSpread:
    """Both resistances of many devices of one kind.

    Args:
        R_P, R_AP: of device i in row i [ohm], (n,).
        voltage: at which they were read [V].

    Raises:
        InputError: an entry that is not positive, different lengths, or a device whose R_AP is not above R_P.
    """

    R_P: Floats
    R_AP: Floats
    voltage: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.voltage):
            raise InputError(f"voltage = {self.voltage!r} V must be finite; give the read voltage, e.g. 0.1")
        for name in ("R_P", "R_AP"):
            column = _column(name, getattr(self, name), "ohm")
            _refuse(name, column, column <= 0, "ohm", "positive", "leave shorted devices out")
            object.__setattr__(self, name, column)
        if len(self.R_P) != len(self.R_AP):
            raise InputError(
                f"{len(self.R_P)} values of R_P and {len(self.R_AP)} of R_AP; give both of every device, in one row"
            )
        bad = self.R_AP <= self.R_P
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise RowError(
                f"R_AP = {self.R_AP[row]:g} ohm in", (row,),
                f"must be above R_P = {self.R_P[row]:g} ohm; leave broken devices out, or exchange the columns",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.R_P)
