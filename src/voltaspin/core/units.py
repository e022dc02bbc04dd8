"""Constants (CODATA, through scipy), multipliers, and how quantities with units are read and written.

Everything inside the package is SI: ``Junction(t_F=1.1 * nm)`` reads as it is written in a paper, and the stored value
is in metres. :func:`parse_quantity` is the only place where a text becomes a quantity.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from voltaspin.core.errors import InputError, unknown

if TYPE_CHECKING:
    k_B: float  #: Boltzmann constant [J/K]
    mu_0: float  #: vacuum permeability [T m/A]
    e_charge: float  #: elementary charge [C]
    hbar: float  #: reduced Planck constant [J s]
    gamma_e: float  #: electron gyromagnetic ratio [rad/(s T)]
else:
    _CONSTANTS = {
        "k_B": "Boltzmann constant",
        "mu_0": "vacuum mag. permeability",
        "e_charge": "elementary charge",
        "hbar": "reduced Planck constant",
        "gamma_e": "electron gyromag. ratio",
    }

    def __getattr__(name: str) -> float:
        """A constant of CODATA by its symbol; scipy is imported only where one is used."""
        if name not in _CONSTANTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from scipy.constants import physical_constants

        return globals().setdefault(name, float(physical_constants[_CONSTANTS[name]][0]))


nm = 1e-9
um = 1e-6
ps = 1e-12
ns = 1e-9
fJ = 1e-15
pJ = 1e-12
fF = 1e-15
mT = 1e-3
fJ_per_Vm = 1e-15  #: unit of the VCMA coefficient xi, [J/(V m)]
ohm_um2 = 1e-12  #: unit of a resistance-area product, [ohm m^2]
year = 365.25 * 86400.0  #: Julian [s]

_PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18}
_LARGE = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its units, and the range outside of which a value is no such quantity of a junction.

    Args:
        name: in a message, e.g. ``"time"``.
        units: each unit with its value in SI; the first one is SI.
        low, high: magnitudes in SI between which anything physical here lies; zero always passes.
        bare: unit that a number without one has, if a number without one is taken.
        offsets: SI value of zero in those units whose zero is another one, as of degrees Celsius.
    """

    name: str
    units: dict[str, float]
    low: float = 0.0
    high: float = math.inf
    bare: str | None = None
    offsets: dict[str, float] = field(default_factory=dict)

    def within(self, low: float, high: float) -> Dimension:
        """The same units with another range of what is plausible."""
        return replace(self, low=low, high=high)


def _with_prefixes(unit: str, prefixes: dict[str, float], **more: float) -> dict[str, float]:
    return {f"{prefix}{unit}": value for prefix, value in prefixes.items()} | more


_OHMS = {f"{p}{unit}": v for unit in ("ohm", "Ohm", "Ω", "Ω") for p, v in (_LARGE | {"m": 1e-3}).items()}

TIME = Dimension(
    "time", _with_prefixes("s", _PREFIXES) | {"min": 60.0, "h": 3600.0, "d": 86400.0, "a": year, "y": year}, 1e-18, 1e12
)
VOLTAGE = Dimension("voltage", _with_prefixes("V", _PREFIXES | {"k": 1e3}), 1e-9, 1e3)
CURRENT = Dimension("current", _with_prefixes("A", _PREFIXES), 1e-18, 10.0)
FIELD = Dimension("field", _with_prefixes("T", _PREFIXES) | {"G": 1e-4, "Oe": 1e-4, "kOe": 0.1}, 1e-12, 100.0)
LENGTH = Dimension("length", _with_prefixes("m", _PREFIXES) | {"Å": 1e-10, "A": 1e-10, "cm": 1e-2}, 1e-12, 1.0)
RESISTANCE = Dimension("resistance", _OHMS, 1e-3, 1e15)
TEMPERATURE_CHANGE = Dimension("difference of temperature", {"K": 1.0, "mK": 1e-3}, 1e-6, 1e4)
TEMPERATURE = Dimension(
    "temperature", {"K": 1.0, "mK": 1e-3, "degC": 1.0, "°C": 1.0, "C": 1.0}, 1e-3, 1e4,
    offsets=dict.fromkeys(("degC", "°C", "C"), 273.15),
)  # fmt: skip
MAGNETISATION = Dimension("magnetisation", _with_prefixes("A/m", _LARGE), 1e2, 1e8)
AREAL_ENERGY = Dimension("energy per area", _with_prefixes("J/m^2", _PREFIXES), 1e-8, 1.0)
VCMA = Dimension(
    "VCMA coefficient", {f"{p}J/{u}": v for u in ("(V m)", "Vm", "(Vm)") for p, v in _PREFIXES.items()}, 1e-17, 1e-10
)
RESISTANCE_AREA = Dimension(
    "resistance-area product",
    {"ohm m^2": 1.0}
    | {
        f"{ohm} {area}": f * s
        for ohm, f in _OHMS.items()
        for area, s in (("um^2", 1e-12), ("um2", 1e-12), ("m^2", 1.0))
    },
    1e-16,
    1e-3,
)
FIELD_RATE = Dimension("field rate", {f"{unit}/s": value for unit, value in FIELD.units.items()}, 1e-9, 1e12)
RATIO = Dimension("ratio", {"": 1.0, "%": 1e-2})
NUMBER = Dimension("number", {"": 1.0})
COUNT = Dimension("count", _with_prefixes("", _LARGE | {"T": 1e12}), 1.0, 1e18)
SAMPLE_RATE = Dimension(
    "sample rate",
    {f"{p}{unit}": v for unit in ("Hz", "S/s", "Sa/s") for p, v in (_LARGE | {"m": 1e-3}).items()},
    1e-6,
    1e15,
)
#: What a junction and its pulses can have; a value far outside is a slip of the unit.
PULSE_WIDTH = TIME.within(1e-12, 1e-3)
JUNCTION_VOLTAGE = VOLTAGE.within(1e-6, 20.0)
JUNCTION_LENGTH = LENGTH.within(1e-11, 1e-4)
RESISTIVITY = Dimension(
    "resistivity", {"ohm m": 1.0, "uohm cm": 1e-8, "µohm cm": 1e-8, "Ω m": 1.0, "µΩ cm": 1e-8}, 1e-10, 1.0
)
THERMAL_RESISTANCE = Dimension("thermal resistance", _with_prefixes("K/W", _LARGE), 1.0, 1e12)
ENERGY_DENSITY = Dimension("energy density", _with_prefixes("J/m^3", _LARGE), 1e-3, 1e9)
DURATION = TIME.within(1e-12, 1e12)

_NUMBER = re.compile(r"([-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*)", re.DOTALL)


def parse_quantity(
    text: str, dimension: Dimension, *, name: str, bare: str | None = None, signed: bool = False, zero: bool = True
) -> float:
    """Read ``"0.6ns"``, ``"20 mT"`` or ``"1.2 V"`` as a number in SI.

    Args:
        text: a number and a unit.
        dimension: which units there are, and what is plausible.
        name: of the argument, for the message.
        bare: unit of a number without one; ``dimension.bare`` where not given, and refused where neither is.
        signed: whether a negative value is one; zero: whether zero is.

    Returns:
        The value in SI.

    Raises:
        InputError: no such number or unit, a number without unit where one is needed, a value that is not finite, or
            one that is off by orders of magnitude from anything physical; the message says what to write.
    """
    bare = dimension.bare if bare is None else bare
    match = _NUMBER.fullmatch(text.strip())
    listed = listed_units(dimension)
    example = f"give a number with its unit ({listed})" if listed else "give a number"
    if match is None:
        raise InputError(f"{name} {_shown(text)} is no {dimension.name}: {example}")
    number, unit = float(match[1].replace("−", "-")), match[2].strip()
    if not unit and "" not in dimension.units:
        if bare is None:
            raise InputError(f"{name} {text} has no unit: {example}")
        unit = bare
    if unit not in dimension.units:
        raise InputError(f"{name} {_shown(text)}: {_shown(unit)} is no unit of {dimension.name}; {example}")
    value = number * dimension.units[unit] + dimension.offsets.get(unit, 0.0)
    size = abs(value)
    if not math.isfinite(value) or (value != 0 and not dimension.low <= size <= dimension.high):
        si = next(iter(dimension.units))
        raise InputError(
            f"{name} {text} is {value:g} {si}".rstrip()
            + f", which is no {dimension.name} of this kind ({dimension.low:g} to {dimension.high:g} {si}".rstrip()
            + (f"; a number without unit is in {bare}" if bare and not match[2].strip() else "")
            + f"); {example}"
        )
    if value < 0 and not signed:
        raise InputError(f"{name} {text} is negative; {example}, {'zero or more' if zero else 'more than zero'}")
    if value == 0 and not zero:
        raise InputError(f"{name} {text} is zero; {example}, more than zero")
    return value


def parse_range(
    text: str, dimension: Dimension, *, name: str, bare: str | None = None, signed: bool = False, most: int = 10_000
) -> tuple[float, ...]:
    """Read ``"0.1:1.5:0.05ns"`` (start, stop and step) or ``"0.2,0.3,1ns"``, or both mixed, as numbers in SI.

    A number without a unit has that of the next one that has one. The stop is among the values where whole steps reach
    it. Steps are counted in decimals, so that 0.1:0.3:0.1 is 0.1, 0.2 and 0.3.

    Args:
        text, name, bare, signed: as :func:`parse_quantity`; dimension: whose units have one zero.
        most: how many values there may be.

    Returns:
        The values, in the order of the text.

    Raises:
        InputError: a part that is no quantity or range, a step that leads nowhere, too many values, or the same twice.
    """
    parts = [part.split(":") for part in text.split(",")]
    unit = bare or ""
    for part in reversed(parts):
        for i in reversed(range(len(part))):
            found = _NUMBER.fullmatch(part[i].strip())
            unit = (found[2].strip() if found else "") or unit
            part[i] = part[i].strip() + (unit if found and not found[2].strip() else "")
    values: list[float] = []
    for part in parts:
        for i, x in enumerate(part):
            parse_quantity(x, dimension, name=name, bare=bare, signed=signed or i == 2)
        if len(part) == 1:
            values.append(float(_exact(part[0], dimension)))
            continue
        if len(part) != 3:
            raise InputError(f"{name} {_shown(text)}: a range is START:STOP:STEP, such as 0.1:1.5:0.05")
        start, stop, step = (_exact(x, dimension) for x in part)
        if step == 0 or (stop - start) / step < 0:
            raise InputError(f"{name} {_shown(text)}: steps of {part[2]} do not lead from {part[0]} to {part[1]}")
        if (steps := int((stop - start) / step)) >= most:
            raise InputError(f"{name} {_shown(text)} has {steps + 1} values, more than {most}; take larger steps")
        values += [float(start + i * step) for i in range(steps + 1)]
    if len(values) > most:
        raise InputError(f"{name} {_shown(text)} has {len(values)} values, more than {most}; give fewer")
    if len(set(values)) < len(values):
        raise InputError(f"{name} {_shown(text)} has a value twice; give each once")
    return tuple(values)


def _exact(text: str, dimension: Dimension) -> Fraction:
    """The SI value of a quantity that was read before, as the decimals that stand there."""
    match = _NUMBER.fullmatch(text)
    assert match is not None, "it was read before"
    factor = Fraction(repr(dimension.units[match[2].strip()]))
    return Fraction(match[1].replace("−", "-")) * factor


def parse_assignment(text: str, known: Mapping[str, Dimension], *, name: str = "") -> tuple[str, float]:
    """Read ``"t_F=1.2nm"`` as the name of a quantity and its value in SI; a number alone is in SI.

    Args:
        text: NAME=VALUE; known: the names, each with its units; name: of the argument, for the message, if it has one.

    Raises:
        InputError: an unknown name, or a value that is no quantity of that kind.
    """
    word, equals, value = (part.strip() for part in text.partition("="))
    where = f"{name}='{text}'" if name else repr(text)
    if not equals:
        raise InputError(f"{where}: give NAME=VALUE with one of the names {', '.join(known)}")
    if word not in known:
        raise unknown(f"{where}: the name", word, known)
    si, prefix = next(iter(known[word].units)), f"{name}=" if name else ""
    return word, parse_quantity(value, known[word], name=f"{prefix}{word} =", bare=si, signed=True)


def require_positive(name: str, value: float, unit: str, remedy: str, *, zero: bool = False) -> None:
    """Raise InputError unless ``value`` is finite and positive (or zero where ``zero`` admits it)."""
    if value > 0 and not 1e-30 < value < 1e30:  # also infinity
        raise InputError(f"{name} = {value:g} {unit}".rstrip() + f" is not of the size of anything physical; {remedy}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        allowed = "zero or positive" if zero else "positive"
        raise InputError(f"{name} = {value!r} {unit}".rstrip() + f" must be finite and {allowed}; {remedy}")


def require_voltage(name: str, value: float) -> None:
    """Raise InputError unless ``value`` [V] is finite and below 1e12, where a field no longer overflows."""
    if not abs(value) < 1e12:
        raise InputError(f"{name} = {value!r} V must be finite, and of the size of a voltage; give volts, e.g. 1.2")


def require_count(name: str, value: float, *, least: int = 1, most: int = 2**62) -> None:
    """Raise InputError unless ``value`` is a whole number from ``least`` to ``most``."""
    if not least <= value <= most or value != round(value):
        raise InputError(f"{name} = {value!r} must be a whole number from {least} to {most:,}")


def parse_count(text: str, *, name: str, least: int = 1, most: int, why: str = "") -> int:
    """Read ``"8000"``, ``"20k"`` or ``"8M"`` as a whole number.

    Args:
        text: the number; name: of the argument, for the message.
        least, most: that are taken; why: not more, for the message.

    Raises:
        InputError: no whole number, or one outside the limits.
    """
    value = parse_quantity(text, COUNT.within(0, math.inf), name=name, signed=True)
    if value != round(value):
        raise InputError(f"{name} {_cut(text)}: give a whole number, such as 8000, 20k or 8M")
    if value < least:
        raise InputError(f"{name} {_cut(text)}: give at least {least}")
    if value > most:
        raise InputError(f"{name} {_cut(text)} is more than {most:,}" + (f", {why}" if why else "") + "; give fewer")
    return int(value)


def parse_share(text: str, *, name: str) -> tuple[int, int]:
    """Read ``"2/4"``, a part of a divided work, as (i, N) with i from 1 to N.

    Raises:
        InputError: a text that is no such part; ``name`` is the argument, for the message.
    """
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise InputError(f"{name}={text!r}: give i/N, with i from 1 to N, e.g. 2/4")
    return int(i), int(n)


def format_quantity(value: float, unit: str, *, digits: int = 4) -> str:
    """Write an SI value with the prefix that keeps it readable: ``6e-10, "s"`` as ``600 ps``."""
    if value == 0 or not math.isfinite(value) or not unit:
        return f"{value:.{digits}g} {unit}".rstrip()
    prefixes = {
        1e-18: "a",
        1e-15: "f",
        1e-12: "p",
        1e-9: "n",
        1e-6: "u",
        1e-3: "m",
        1.0: "",
        1e3: "k",
        1e6: "M",
        1e9: "G",
    }
    rounded = abs(float(f"{value:.{digits}g}"))
    scale = max((s for s in prefixes if s <= rounded * (1 + 1e-12)), default=None)
    if scale is None or rounded >= 1e12:
        return f"{value:.{digits}g} {unit}"
    return f"{value / scale:.{digits}g} {prefixes[scale]}{unit}"


def listed_units(dimension: Dimension) -> str:
    """The units of a dimension for a message, the first eight of them."""
    return ", ".join(u for u in list(dimension.units)[:8] if u and not u.startswith(("µ", "μ")))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _shown(text: str) -> str:
    return repr(_cut(text))
