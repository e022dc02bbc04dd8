"""The profile of an instrument: where it is, how it is asked for bits, and how it pulses a junction.

A profile is a TOML file; ``voltaspin template instrument`` prints one with every key and its meaning. Durations are
texts with a unit.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from string import Formatter
from typing import Any, Literal, Self

from voltaspin.core.errors import InputError, unknown
from voltaspin.core.spec import built, shown
from voltaspin.core.units import CURRENT, FIELD, RESISTANCE, TIME, VOLTAGE, Dimension, parse_quantity, require_positive

BitsFormat = Literal["csv", "text", "bytes", "samples", "packed"]
State = Literal["P", "AP"]

TEMPLATE = Path(__file__).parents[1] / "data" / "instrument.toml"
_MOST = 1 << 20  # bytes of a profile
_MEASURED: dict[str, Dimension] = {"ohm": RESISTANCE, "V": VOLTAGE, "A": CURRENT}


def _quantity(dimension: Dimension, default: Any) -> Any:
    """A field that stands in a file as a text with a unit."""
    return field(default=default, metadata={"dimension": dimension})


@dataclass(frozen=True, kw_only=True)
class Bits:
    """How an instrument is asked for bits, and what its answers mean.

    Args:
        query: that gives some.
        format: ``"csv"`` (ASCII numbers with commas, semicolons or spaces between them), ``"text"`` (characters 0 and
            1), or a binary block of ``"bytes"`` (one bit a byte), ``"samples"`` (numbers of ``sample_type``) or
            ``"packed"`` bits.
        block: whether binary data stand in an IEEE 488.2 block of definite length; bare ones need ``values``.
        values: that an answer must have (of packed ones, bits); None takes any number.
        fields, field: an answer repeats so many numbers, of which the one with this index, from 0, is used.
        threshold, unit, sample_type, byte_order, bit_order: as :class:`voltaspin.noise.FileOptions` has them; numbers
            need a threshold.

    Raises:
        InputError: a key that is missing or does not apply.
    """

    query: str
    format: BitsFormat = "csv"
    block: bool = True
    values: int | None = None
    fields: int = 1
    field: int = 0
    threshold: str | float | None = None
    unit: str | None = None
    sample_type: str | None = None
    byte_order: str | None = None
    bit_order: str | None = None

    def __post_init__(self) -> None:
        _check_command("query", self.query)
        if self.format not in (known := ("csv", "text", "bytes", "samples", "packed")):
            raise unknown("format", self.format, known)
        numbers = self.format in ("csv", "samples")
        if numbers and self.threshold is None:
            raise InputError(
                f"answers of format={self.format!r} need a threshold, above which a bit is 1: threshold='5.4kohm'"
            )
        if (self.format == "samples") != (self.sample_type is not None) or self.sample_type == "packed":
            raise InputError(
                f"format={self.format!r} with sample_type={self.sample_type!r}: samples need a type, such as "
                "sample_type='int16', and nothing else has one"
            )
        other = {
            "threshold": numbers, "unit": numbers, "byte_order": self.format == "samples",
            "bit_order": self.format == "packed",
        }  # fmt: skip
        for name, applies in other.items():
            if getattr(self, name) is not None and not applies:
                raise InputError(
                    f"{name}={getattr(self, name)!r} is nothing that format={self.format!r} has; leave it out"
                )
        if self.values is not None and (self.values < 1 or (self.format == "packed" and self.values % 8)):
            raise InputError(f"values={self.values} must be 1 or more, and a multiple of 8 where the bits are packed")
        if self.format in ("csv", "text") and not self.block:
            raise InputError(f"block=False is of binary data, and format={self.format!r} is text; leave it out")
        if not self.block and self.values is None:
            raise InputError("block=False needs values=, since bare bytes do not say how many they are")
        if not 0 <= self.field < self.fields or (self.fields > 1 and not numbers):
            raise InputError(
                f"field={self.field} of fields={self.fields}: the index of a number, from 0, below the number of fields"
            )
        if self.values is not None and self.values % self.fields:
            raise InputError(f"values={self.values} is no multiple of fields={self.fields}; correct one of them")


@dataclass(frozen=True, kw_only=True)
class Pulses:
    """How an instrument pulses a junction and reads its state.

    Args:
        set_width, set_voltage: commands with the places ``{width}`` and ``{voltage}``; both may stand in
            ``set_voltage``, and ``set_width`` is empty then.
        width_unit, voltage_unit: in which they are sent.
        reset_P, reset_AP: commands that bring the junction into the parallel and the antiparallel state.
        trigger: the command that sends the pulse; read: the query for the state.
        threshold: between the states, with its unit (``"5.4kohm"``); None where the answer is 0 for P and 1 for AP.
        above: state of an answer above the threshold.
        unit: of the answers; by default ohm, V or A, as the threshold has it.
        check_reset: whether the state is read after every reset too, so that a stuck junction is noticed.
        B_x, B_z: applied fields [T]; rise, fall: edges of the pulse [s]; relax: from its end to the read [s]. What is
            given is written into the table.

    Raises:
        InputError: a command that is empty or lacks its place, or a unit that is none.
    """

    set_width: str = ""
    set_voltage: str
    width_unit: str = "s"
    voltage_unit: str = "V"
    reset_P: str = ""
    reset_AP: str = ""
    trigger: str
    read: str
    threshold: str | None = None
    above: State = "AP"
    unit: str | None = None
    check_reset: bool = True
    B_x: float | None = _quantity(FIELD, None)
    B_z: float | None = _quantity(FIELD, None)
    rise: float | None = _quantity(TIME, None)
    fall: float | None = _quantity(TIME, None)
    relax: float | None = _quantity(TIME, None)

    def __post_init__(self) -> None:
        for name in ("set_voltage", "trigger", "read"):
            _check_command(name, getattr(self, name))
        in_width, in_voltage = _places("set_width", self.set_width), _places("set_voltage", self.set_voltage)
        if "voltage" not in in_voltage:
            raise InputError(
                f"set_voltage={self.set_voltage!r} has no place {{voltage}}; write it where the number goes"
            )
        if "width" not in (in_width if self.set_width else in_voltage):
            raise InputError(f"set_width={self.set_width!r} has no place {{width}}; write it where the number goes")
        for name in ("reset_P", "reset_AP", "trigger", "read"):
            if "{width}" in (text := getattr(self, name)) or "{voltage}" in text:
                raise InputError(f"{name}={text!r}: only set_width and set_voltage are filled; write the place there")
        for name, dimension in (("width_unit", TIME), ("voltage_unit", VOLTAGE)):
            if (unit := getattr(self, name)) not in dimension.units:
                raise unknown(name, unit, list(dimension.units)[:9])
        if self.above not in ("P", "AP"):
            raise unknown("above", self.above, ("P", "AP"))
        if self.threshold is None and (self.unit is not None or self.above != "AP"):
            raise InputError("unit= and above= are of measured states, which need a threshold, such as '5.4kohm'")
        _ = self.level, self.factor

    @property
    def level(self) -> float | None:
        """The threshold in SI."""
        if self.threshold is None:
            return None
        return parse_quantity(self.threshold, _MEASURED[self._si], name="threshold", signed=True)

    @property
    def factor(self) -> float:
        """That makes SI of an answer."""
        if self.unit is None or self.threshold is None:
            return 1.0
        units = _MEASURED[self._si].units
        if self.unit not in units:
            raise unknown(f"threshold={self.threshold!r} is in {self._si}, and the unit", self.unit, list(units)[:9])
        return units[self.unit]

    @property
    def _si(self) -> str:
        word = str(self.threshold).strip().lstrip("+-−0123456789.eE ").strip()
        for si, dimension in _MEASURED.items():
            if word in dimension.units:
                return si
        raise InputError(
            f"threshold={self.threshold!r} is no resistance, voltage or current; give such as 5.4kohm, 0.35V or 3uA"
        )

    def commands(self, *, voltage: float, width: float) -> tuple[str, ...]:
        """Return the commands that set a pulse.

        Args:
            voltage: [V]; width: [s].
        """
        values = {
            "voltage": f"{voltage / VOLTAGE.units[self.voltage_unit]:.9g}",
            "width": f"{width / TIME.units[self.width_unit]:.9g}",
        }
        return tuple(text.format(**values) for text in (self.set_width, self.set_voltage) if text)

    def reset(self, state: State) -> str:
        """Return the command that resets to a state; raises InputError where the profile has none."""
        command = self.reset_P if state == "P" else self.reset_AP
        if not command.strip():
            raise InputError(f"the profile has no reset_{state}; add it to measure switches that begin in {state}")
        return command

    def state_of(self, value: float) -> State | None:
        """Return the state that an answer means; None where it means none."""
        if self.level is None:
            return {0.0: "P", 1.0: "AP"}.get(value)  # type: ignore[return-value]
        below: State = "P" if self.above == "AP" else "AP"
        return self.above if value * self.factor > self.level else below


@dataclass(frozen=True, kw_only=True)
class Profile:
    """An instrument; :data:`TEMPLATE` is a file of one, with every key.

    Args:
        address: as VISA has it, ``TCPIP0::lab::5025::SOCKET``.
        backend: of PyVISA: ``""`` (a vendor's library where one is installed, else pyvisa-py), ``"@py"``, ``"@ivi"`` or
            the path of a library.
        timeout: of one answer [s].
        retries: how often an instrument that is silent or whose connection is lost is opened and asked again.
        settling: pause after every command that is no query [s].
        write_termination, read_termination: that end a command and an answer; an empty one leaves it to the interface.
        identity: query that names the instrument, ``*IDN?``; empty for none.
        errors: query that takes one entry from its error queue, ``SYST:ERR?``; empty for none.
        initial: commands after every opening; final: before it is closed, whatever happened.
        bits, sweep: for bits and for pulses.

    Raises:
        InputError: a value that is out of range, or a command that is empty.
    """

    address: str
    backend: str = ""
    timeout: float = _quantity(TIME, 5.0)
    retries: int = 2
    settling: float = _quantity(TIME, 0.0)
    write_termination: str = "\n"
    read_termination: str = "\n"
    identity: str = ""
    errors: str = ""
    initial: tuple[str, ...] = ()
    final: tuple[str, ...] = ()
    bits: Bits | None = None
    sweep: Pulses | None = None

    def __post_init__(self) -> None:
        if not self.address.strip():
            raise InputError("address is empty; give that of the instrument, such as TCPIP0::lab::5025::SOCKET")
        require_positive("timeout", self.timeout, "s", "give the time that an answer may take, e.g. 5s")
        require_positive("settling", self.settling, "s", "give zero for none", zero=True)
        if not 0 <= self.retries <= 1000:
            raise InputError(f"retries={self.retries} must be 0 to 1000")
        for name in ("initial", "final"):
            for command in getattr(self, name):
                _check_command(name, command)
        if self.read_termination and self.read_termination[-1] in self.read_termination[:-1]:
            raise InputError(f"read_termination={self.read_termination!r} repeats its last character; give it once")

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a profile.

        Raises:
            InputError: no such file, no TOML, an unknown key, or a value that does not fit; the message names it.
        """
        path = Path(path)
        try:
            if not path.is_file():
                raise InputError(f"{path} does not exist or is no file; give the profile of an instrument, a TOML file")
            with path.open("rb") as file:
                data = tomllib.loads(file.read(_MOST).decode())
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} is not readable as TOML ({error}); `voltaspin template instrument` prints one"
            ) from None
        return built(cls, _in_si(cls, data, f"{path}: "), where=str(path))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON data."""
        return asdict(self)


_SECTIONS: dict[str, type] = {"bits": Bits, "sweep": Pulses}


def _in_si(kind: type, data: Any, where: str) -> dict[str, Any]:
    """Return the data of a file with quantities as numbers; raises InputError for a key that is unknown."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where}{shown(data)} is no table of keys")
    known = {f.name: f for f in fields(kind)}
    found = {}
    for name, value in data.items():
        if name not in known:
            raise unknown(f"{where}the key", name, known)
        dimension = known[name].metadata.get("dimension")
        if dimension is not None:
            value = parse_quantity(str(value), dimension, name=f"{where}{name} =", signed=dimension is FIELD)
        elif kind is Profile and name in _SECTIONS:
            value = _in_si(_SECTIONS[name], value, f"{where}[{name}] ")
        found[name] = value
    return found


def _check_command(name: str, command: str) -> None:
    if not command.strip():
        raise InputError(f"{name} is empty; give the command that the instrument understands")


def _places(name: str, template: str) -> set[str]:
    """Return the places of a command that numbers fill; raises InputError where it has another one."""
    try:
        found = [(place, spec, how) for _, place, spec, how in Formatter().parse(template) if place is not None]
    except ValueError as error:
        raise InputError(f"{name}={template!r} has a brace that is no place ({error}); double it") from None
    for place, spec, how in found:
        if place not in ("width", "voltage") or spec or how:
            raise InputError(f"{name}={template!r}: {{{place}}} is no place; use {{width}} and {{voltage}} as they are")
    return {place for place, _, _ in found}
