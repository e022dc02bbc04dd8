"""Numbers for people: digits, prefixes, durations and ranges, in the one way that every page, figure and table uses."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PREFIXES = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
_YEAR = 3.156e7


class Interval(Protocol):
    """Anything with a value and an interval: an ``Estimate`` or a score."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def number(value: float, digits: int = 3) -> str:
    """Return ``digits`` significant digits, with a true minus, grouped thousands and a readable power of ten."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits}g}")
    if 1e-5 <= abs(rounded) < 1e6:
        places = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)
        text = f"{rounded:,.{places}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPT)}"
    return text.replace("-", "−")


def times(ratio: float) -> str:
    """Return a ratio: ``"1,280×"``, ``"0.021×"``."""
    return f"{number(ratio, 3 if 100 <= ratio < 1e6 else 2)}×"


def prefixed(values: ArrayLike, unit: str) -> tuple[NDArray[np.float64], str]:
    """Return values in the unit whose prefix fits the largest: ``([5e-10], "s")`` becomes ``([500], "ps")``."""
    array = np.asarray(values, float)
    largest = float(f"{np.max(np.abs(array), initial=0.0):.3g}")
    power = 3 * math.floor(math.log10(largest * (1 + 1e-12)) / 3) if largest > 0 else 0
    power = min(max(power, min(_PREFIXES)), max(_PREFIXES))
    return array / 10.0**power, _PREFIXES[power] + unit


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """Return a value in SI with its prefix: ``quantity(7.2e-14, "J")`` is ``"72 fJ"``."""
    (scaled,), name = prefixed([value], unit)
    return f"{number(float(scaled), digits)} {name}"


def energy(pJ: float | None) -> str:
    """Return an energy with the prefix that reads best: ``energy(0.072)`` is ``"72 fJ"``; a dash for None."""
    return "–" if pJ is None else quantity(pJ * 1e-12, "J")


def ends(low: float, high: float) -> str:
    """Return the ends of a range, ``"4.1 to 45"``: two digits, three where two do not tell them apart; "" for none."""
    for digits in (2, 3):
        texts = number(low, digits), number(high, digits)
        if texts[0] != texts[1]:
            return f"{texts[0]} to {texts[1]}"
    return ""


def stretch(low: str, high: str) -> str:
    """Return what runs from one text to another, ``"40× to 42×"``; one of them where they read the same."""
    return low if low == high else f"{low} to {high}"


def energy_parts(e: Interval) -> tuple[str, str, str]:
    """Return an energy in pJ as its value, its unit and its range in that unit: ``("12.1", "pJ", "4.1 to 45")``."""
    (shown,), unit = prefixed([e.value * 1e-12], "J")
    scale = shown / e.value if e.value else 1.0
    return number(float(shown)), unit, ends(e.low * scale, e.high * scale)


def energies(e: Interval | None) -> str:
    """Return an energy in pJ with its range, ``"12.1 (4.1 to 45) pJ"``; a dash for None."""
    if e is None:
        return "–"
    value, unit, range_ = energy_parts(e)
    return f"{value} ({range_}) {unit}" if range_ else f"{value} {unit}"


def spread(e: Interval, factor: float = 1.0, unit: str = "") -> str:
    """Return a plain number times ``factor`` with its range: ``"3,400 (700 to 19,000)"``."""
    range_ = ends(factor * e.low, factor * e.high)
    return f"{number(factor * e.value)}{f' ({range_})' if range_ else ''} {unit}".rstrip()


def value_and_range(e: Interval) -> tuple[str, str]:
    """Return value and ``"(low to high)"`` with as many places as the width of the interval deserves."""
    width = e.high - e.low
    scale = width if width > 0 else max(abs(e.value), 1e-12)
    places = min(max(1 - math.floor(math.log10(scale)), 0), 7)
    value, low, high = (f"{x:.{places}f}".replace("-", "−") for x in (e.value, e.low, e.high))
    return value, f"({low} to {high})"


def interval(e: Interval) -> str:
    """Return ``"0.0021 (0.0015 to 0.0027)"``."""
    return " ".join(value_and_range(e))


def duration(seconds: float) -> str:
    """Return a time in the unit that reads best: ``"300 ps"``, ``"42 s"``, ``"3 min 5 s"``, ``"4.1 d"``, ``"10 y"``."""
    if seconds < 1:
        return quantity(seconds, "s")
    if seconds < 99.5:
        return f"{number(seconds)} s"
    if seconds < 5400:
        return f"{int(seconds + 0.5) // 60} min {int(seconds + 0.5) % 60} s"
    limits = (("h", 172800.0, 3600.0), ("d", _YEAR, 86400.0), ("y", math.inf, _YEAR))
    name, unit = next((name, unit) for name, limit, unit in limits if seconds < limit)
    return f"{number(seconds / unit)} {name}"
