"""From the columns of a bench to those of switching data: direction words, counts, currents and slips of the unit."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.spec import shown
from voltaspin.core.units import JUNCTION_VOLTAGE, PULSE_WIDTH, TIME, VOLTAGE
from voltaspin.device.fit.reading import Floats, RowError
from voltaspin.device.junction import Junction, Well

#: States of the free layer: the reference layer points up, so that up is parallel, and it stores the bit 0.
_STATES: dict[str, Well] = {
    **dict.fromkeys(("p", "parallel", "up", "u", "0"), "up"),
    **dict.fromkeys(("ap", "antiparallel", "down", "dn", "d", "1"), "down"),
}  # fmt: skip
_STATE = "|".join(sorted(_STATES, key=len, reverse=True))
_ALONE = re.compile(_STATE)
_PAIR = re.compile(rf"({_STATE})\s*(?:[-=_]*>|[-_/:]|to|2)\s*({_STATE})")
DIRECTIONS = {"up": "P->AP", "down": "AP->P"}  #: the direction of a switch, by the well that it leaves
UNCOUNTED = (
    "no column tells how many pulses there were: errors come from the scatter around the model, and chi-squared cannot "
    "judge whether the model is right; give the number as trials"
)
WEIGHT = 1000  #: stands for the number of pulses where nobody knows it; the errors then come from the scatter


def transition(word: str, *, starts: bool, set_is: Well | None = None) -> Well:
    """Return the well in which a pulse begins, from a word for the direction or for the state.

    ``AP->P``, ``AP-P``, ``ap2p``, ``1->0`` and ``down->up`` begin in ``"down"``; ``P->AP``, ``0->1`` and ``up->down``
    in ``"up"``.

    Args:
        word: in upper or lower case.
        starts: whether a state alone, such as ``up`` or ``AP``, is known to be the one in which the pulse begins.
        set_is: the well that ``set`` leaves, and ``reset`` reaches; None where nobody said it.

    Raises:
        InputError: a word that is unknown or may mean either.
    """
    plain = unicodedata.normalize("NFKC", word).strip().casefold().replace("→", "->")
    plain = re.sub(r"anti[-_ ]?parallel", "ap", plain)
    if plain in ("set", "reset"):
        if set_is is None:
            raise InputError(f"{shown(word)} has no common meaning; say fixed='set=p2ap' or fixed='set=ap2p'")
        return set_is if (plain == "set") else ("down" if set_is == "up" else "up")
    if pair := _PAIR.fullmatch(plain):
        begin, end = (_STATES[part] for part in pair.groups())
        if begin == end:
            raise InputError(f"{shown(word)} begins and ends in the same state; write the state before the pulse first")
        return begin
    if not _ALONE.fullmatch(plain):
        raise InputError(
            f"{shown(word)} is no direction; write AP->P or P->AP (up is parallel and stores 0), set or reset"
        )
    if not starts:
        raise InputError(
            f"{shown(word)} may be the state before or after the pulse; if it is the one before, say "
            "columns='initial=COLUMN', else write AP->P or P->AP"
        )
    return _STATES[plain]


def switching_columns(
    given: Mapping[str, Any], n: int, *, starts: bool, stated: Mapping[str, str], junction: Junction | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the columns that :class:`voltaspin.device.fit.data.SwitchingData` takes, and what a reader must know.

    Args:
        given: quantities in SI and words, each a column (n,) or one value.
        n: rows.
        starts: as :func:`transition`.
        stated: the unit of each quantity that came in a column, empty where it was not stated.
        junction: whose conductance makes a voltage of a current where ``resistance`` is ``"junction"``.

    Raises:
        InputError: a row that cannot be, or quantities from which no probability or no voltage follows.
    """
    out, notes = dict(given), []
    words, set_word = out.get("initial"), out.pop("set", None)
    set_is = None if set_word is None else transition(str(set_word), starts=False)
    if isinstance(words, str):
        out["initial"] = transition(words, starts=True, set_is=set_is)
    elif words is not None:
        known: dict[str, Well] = {}
        for row, word in enumerate(words):
            if word not in known:
                try:
                    known[word] = transition(word, starts=starts, set_is=set_is)
                except InputError as error:
                    raise RowError("", (row,), f"has the direction {error}" if word else "has no direction") from None
        out["initial"] = np.array([known[word] for word in words])
    else:
        notes.append("no column tells the direction: all pulses are taken to begin up (parallel)")
    notes += _slips(out, stated)
    notes += _counts(out, n)
    _voltage(out, n, junction)
    return out, notes


def _refuse(bad: Any, n: int, say: Callable[[int], tuple[str, str]]) -> None:
    """Raise a RowError for the first row that is bad; ``say`` gives what stands before and after its line."""
    rows = np.flatnonzero(np.broadcast_to(bad, n))
    if len(rows):
        before, after = say(int(rows[0]))
        raise RowError(before, (int(rows[0]),), after)


def _slips(given: Mapping[str, Any], stated: Mapping[str, str]) -> list[str]:
    """Refuse what no junction has where the unit was not stated, and shares that look like percent; and the reverse."""
    for name, unit, usual, possible in (
        ("width", "s", PULSE_WIDTH, TIME.within(1e-15, 1e7)), ("voltage", "V", JUNCTION_VOLTAGE, VOLTAGE)
    ):  # fmt: skip
        limits = possible if stated.get(name, "?") else usual  # a unit that was stated is believed, within reason
        x = np.abs(np.atleast_1d(given.get(name, limits.low)))
        odd = np.flatnonzero((x > limits.high) | ((x > 0) & (x < limits.low)))
        if len(odd):
            raise RowError(
                f"{name} = {x[odd[0]]:g} {unit} in", (int(odd[0]),),
                f"is outside the {limits.low:g} to {limits.high:g} {unit} of pulses; state its unit with "
                f"columns='{name}=COLUMN:UNIT', or exchange swapped columns",
            )  # fmt: skip
    if "P_sw" in given:
        P = np.atleast_1d(given["P_sw"])
        remedy = "give a share of pulses"
        if not stated.get("P_sw", "?") and (P >= 0).all() and (P <= 100).all():
            remedy += ", or say that it is percent with columns='P_sw=COLUMN:%'; is the column swapped with another?"
        else:
            remedy += ", not percent or counts; is the column swapped with another?"
        _refuse((P < 0) | (P > 1), len(P), lambda row: (f"P_sw = {P[row]:g} in", f"must be from 0 to 1; {remedy}"))
        if stated.get("P_sw") == "%" and 0 < P.max() <= 0.01:
            return ["P_sw never exceeds 1 %; if its column holds fractions, give that column the unit 1"]
    return []


def _counts(out: dict[str, Any], n: int) -> list[str]:
    """Make P_sw of flips and trials, in place, and say what is odd about the counts."""
    notes, flips = [], out.pop("flips", None)
    if flips is not None:
        if "trials" not in out:
            raise InputError("flips need the number of pulses; name its column with columns='trials=COLUMN', or give "
                             "fixed='trials=VALUE'")  # fmt: skip
        k, trials = (np.broadcast_to(x, n) for x in (flips, out["trials"]))
        _refuse((k < 0) | (k != np.round(k)), n, lambda row: (f"flips = {k[row]:g} in", "must be a whole number"))
        _refuse(trials < 1, n, lambda row: (f"trials = {trials[row]:g} in", "must be a whole number from 1 on; "
                "leave the row out"))  # fmt: skip
        _refuse(k > trials, n, lambda row: (f"flips = {k[row]:g} in", f"are more than the {trials[row]:g} pulses; "
                "are the columns swapped?"))  # fmt: skip
        if "P_sw" in out:
            P = np.broadcast_to(out["P_sw"], n)
            off = np.abs(P - k / trials) > 0.005 + 0.5 / trials
            _refuse(off, n, lambda row: (f"P_sw = {P[row]:g} in", f"is not {k[row]:g} flips of {trials[row]:g}; leave "
                                         "one of the columns out"))  # fmt: skip
        out["P_sw"] = k / trials
    if "P_sw" in out and "trials" not in out:
        out["trials"], out["counted"] = WEIGHT, False
        return [UNCOUNTED]
    if "P_sw" in out and np.max(out["trials"]) < 1e15:
        k, trials = (np.broadcast_to(x, n) for x in (out["P_sw"] * np.asarray(out["trials"]), out["trials"]))
        between = (k > 0.5) & (k < trials - 0.5)
        whole = np.round(k[between]).astype(np.int64)
        pulses = np.round(trials[between]).astype(np.int64)
        step = int(np.gcd.reduce(np.concatenate([whole, pulses]))) if len(whole) else 1
        exact = len(whole) > 0 and np.abs(k[between] - whole).max() < 1e-6 * trials.max()
        if exact and step > 1 and step ** -float(len(whole)) < 1e-3:  # by chance once in a thousand files
            notes.append(f"all counts and numbers of pulses are multiples of {step}: if there were {step} times fewer "
                         f"pulses than stated, the errors are {math.sqrt(step):.2g} times too small")  # fmt: skip
    return notes


def _voltage(out: dict[str, Any], n: int, junction: Junction | None) -> None:
    """Make the voltage of a current, in place."""
    current, R = out.pop("current", None), out.pop("resistance", None)
    if current is None:
        if R is not None:
            raise InputError("a resistance is of a current, and these data have a voltage; leave the resistance out")
        return
    if "voltage" in out:
        raise InputError("these data have a voltage and a current; leave one of the columns out, or rename it")
    if R is None:
        raise InputError(
            "a current needs a resistance to be a voltage; name its column with columns='resistance=COLUMN:ohm', give "
            "its value with fixed='resistance=1.2kohm', or say fixed='resistance=junction' for the conductance of the "
            "junction at which the fit starts"
        )
    I = np.broadcast_to(current, n)  # noqa: E741
    if not isinstance(R, str):
        _refuse(~(np.asarray(R) > 0), n, lambda row: (
            f"resistance = {np.broadcast_to(R, n)[row]:g} ohm in", "must be positive"))  # fmt: skip
        out["voltage"] = I * np.asarray(R)
        return
    if R != "junction" or junction is None:
        raise InputError(f"resistance = {R!r}: give ohms, e.g. 1.2kohm, or junction for that of the starting junction")
    wells = np.broadcast_to(out.get("initial", "up"), n)
    out["voltage"] = own_voltages(junction, I, wells)


def own_voltages(junction: Junction, current: Floats, wells: Sequence[Any] | Any) -> Floats:
    """Return the voltage at which the junction carries a current in the state before the pulse [V].

    Args:
        junction: its conductance at m_z = 1 in the well ``"up"``, -1 in ``"down"``; tilts by fields are left out.
        current: [A], (n,).
        wells: ``"up"`` or ``"down"``, (n,).
    """
    from scipy.optimize import brentq

    found: dict[tuple[float, str], float] = {}
    for one in zip(current.tolist(), map(str, wells), strict=True):
        if one not in found:
            I, well = one  # noqa: E741
            m_z = 1.0 if well == "up" else -1.0
            # The resistance lies between R_P and that of the other state at zero voltage, and falls with the voltage.
            low, high = sorted((I * junction.R_P * (1 - 1e-9), I * junction.R_P * (1 + junction.TMR(0.0)) * (1 + 1e-9)))

            def excess(V: float, m_z: float = m_z, I: float = I) -> float:  # noqa: E741
                return V * float(junction.conductance(m_z, V)) - I

            found[one] = brentq(excess, low, high, xtol=1e-12) if I else 0.0
    return np.array([found[one] for one in zip(current.tolist(), map(str, wells), strict=True)])
