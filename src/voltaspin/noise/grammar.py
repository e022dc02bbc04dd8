"""Noise sources and their conditioning by name: ``noise.build("memory:k=2 | health:0.9 | von-neumann")``.

A description is a source and the stages behind it, joined by ``|``. Each is a word, and after a colon its parameters,
joined by commas: ``name=value``, a value alone for the word's first parameter, or a name alone for a switch. Quantities
have units (``threshold=5.4kohm``).

A further source or conditioner is one class and one entry in :data:`WORDS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from voltaspin.core.errors import InputError
from voltaspin.core.units import COUNT, FIELD, NUMBER, PULSE_WIDTH, RATIO, VOLTAGE, Dimension, parse_quantity
from voltaspin.noise.checked import HealthChecked
from voltaspin.noise.extractors import Peres, VonNeumann, Xor
from voltaspin.noise.file_options import BitOrder, ByteOrder, Format, SampleType
from voltaspin.noise.hashing import Sha256, Toeplitz
from voltaspin.noise.looped import LoopedSource
from voltaspin.noise.mapping import Mapping as CellMapping
from voltaspin.noise.memory_source import MemorySource
from voltaspin.noise.pseudo import PseudoSource
from voltaspin.noise.recorded import RecordedSource
from voltaspin.noise.source import NoiseSource
from voltaspin.noise.stabilised import Actuator, Stabilised
from voltaspin.noise.system import SystemSource

if TYPE_CHECKING:
    from voltaspin.device import Junction, SwitchingModel
    from voltaspin.memory import Imperfections, MagnetoelectricMemory

#: How the text of a parameter is read: a quantity, an integer, a switch, one of some words, or a text or number.
Kind = Dimension | type | tuple[str, ...]


@dataclass(frozen=True)
class Word:
    """One source or conditioner of the grammar.

    Args:
        help: one line.
        build: takes the parameters by name; a conditioner takes its source first.
        parameters: of the text, each with how it is read; the first may be given without its name.
        objects: further parameters, of Python alone.
        required: parameters without a default.
        source: whether it is a source; else it is a conditioner.
    """

    help: str
    build: Callable[..., NoiseSource]
    parameters: Mapping[str, Kind] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    source: bool = False

    def read(self, word: str, text: str) -> dict[str, Any]:
        """Return the parameters that a text gives, read; raises InputError."""
        found: dict[str, Any] = {}
        for at, part in enumerate(text.split(",") if text.strip() else []):
            name, equals, value = (x.strip() for x in part.partition("="))
            if not equals and self.parameters.get(name) is bool:
                value = "yes"
            elif not equals and at == 0 and self.parameters and name not in self.parameters:
                name, value = next(iter(self.parameters)), name
            self.check(word, name)
            if name in found or name in self.objects or not value:
                how = "give it once, with a value" if name in self.parameters else "give it in Python"
                raise InputError(f"{word}: parameter {part.strip()!r}: {how}")
            found[name] = _read(f"{word}: {name}", value, self.parameters[name])
        return found

    def check(self, word: str, name: str) -> None:
        """Raise InputError where a parameter does not apply."""
        known = [*self.parameters, *self.objects]
        if name not in known:
            raise InputError(
                f"{word}: {name!r} is no parameter of it; "
                + (f"it takes {', '.join(known)}{_nearest(name, known)}" if known else "it takes none")
            )


def _read(name: str, text: str, kind: Kind) -> Any:
    if isinstance(kind, Dimension):
        return parse_quantity(text, kind, name=name, signed=kind in (VOLTAGE, FIELD))
    if isinstance(kind, tuple):
        if text not in kind:
            raise InputError(f"{name} {text!r} is unknown; use one of {', '.join(kind)}{_nearest(text, kind)}")
    elif kind is bool:
        if text not in ("yes", "no", "true", "false"):
            raise InputError(f"{name} {text!r}: give yes or no")
        return text in ("yes", "true")
    elif kind is int:
        if text.isdecimal():
            return int(text)  # seeds may be larger than any count
        count = parse_quantity(text, COUNT, name=name)
        if count != int(count):
            raise InputError(f"{name} {text} must be a whole number")
        return int(count)
    return text


def _nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _pseudo(*, precision: str | int = "full", seed: int = 0) -> NoiseSource:
    if isinstance(precision, str) and precision != "full":
        precision = _read("pseudo: precision", precision, int)
    return PseudoSource(seed=seed, precision=precision)  # type: ignore[arg-type]


def _memory(
    *, seed: int = 0, normals: int = 0, memory: MagnetoelectricMemory | None = None, rows: int | None = None,
    columns: int | None = None, K_eff_spread: float | None = None, stray_field_spread: float | None = None,
    stuck: float = 0.0, model: SwitchingModel | str | None = None, junction: Junction | str | None = None,
    voltage: float | None = None, width: float | None = None, imperfect: bool = False,
    imperfections: Imperfections | None = None, **options: Any,
) -> NoiseSource:  # fmt: skip
    from voltaspin.memory import Imperfections, MagnetoelectricMemory

    array: dict[str, Any] = {
        "rows": rows, "columns": columns, "K_eff_spread": K_eff_spread, "stray_field_spread": stray_field_spread,
             "stuck": stuck or None, "model": _model(model, junction, voltage, width)}  # fmt: skip
    given = {name: value for name, value in array.items() if value is not None}
    if memory is None:
        side = 256
        while not (rows or columns) and side * side < normals * options.get("bits", 16) * options.get("k", 2):
            side *= 2
        memory = MagnetoelectricMemory(**{"rows": side, "columns": side, "seed": seed, **given})
    elif given:
        raise InputError(f"memory: {', '.join(given)} belong to an array that is made here; leave memory= out")
    if imperfect:
        imperfections = Imperfections()
    return MemorySource(memory=memory, seed=seed, imperfections=imperfections, **options)


def _model(
    model: SwitchingModel | str | None, junction: Junction | str | None, voltage: float | None, width: float | None
) -> SwitchingModel | None:
    from voltaspin.device import Pulse, SwitchingModel, presets

    if junction is None:
        if voltage is not None or width is not None:
            raise InputError("memory: voltage and width are of the pulse of a junction; give junction as well")
        return SwitchingModel.load(model) if isinstance(model, str) else model
    if model is not None:
        raise InputError("memory: model and junction both say what a cell does; give one of them")
    cell = presets.get(junction) if isinstance(junction, str) else junction
    fair = SwitchingModel.shipped()
    if cell == fair.junction and voltage is None and width is None:
        return fair
    if width is None:
        raise InputError("memory: the width of the junction's pulse is missing; give width=0.3ns")
    return SwitchingModel.from_fokker_planck(cell, Pulse(voltage=cell.V_c if voltage is None else voltage, width=width))


def _assessed(of: type[Sha256] | type[Toeplitz]) -> Callable[..., NoiseSource]:
    """Return a builder whose min-entropy may be the word ``assessed``."""

    def build(source: NoiseSource, *, H_min: float | str, **options: Any) -> NoiseSource:
        if isinstance(H_min, str):
            H_min = None if H_min == "assessed" else parse_quantity(H_min, RATIO, name="H_min")  # type: ignore[assignment]
        return of(source, H_min=H_min, **options)  # type: ignore[arg-type]

    return build


_NUMBERS: dict[str, Kind] = {"shaping": ("inverse_cdf", "popcount")}
WORDS: dict[str, Word] = {
    "software": Word(
        "pseudo-random numbers (Philox); precision: full, or bits per number", _pseudo,
        {"precision": str, "seed": int}, source=True,
    ),
    "memory": Word(
        "the simulated array; k: cells combined by XOR into a bit (default: 2, or 1 in front of a conditioner)",
        _memory,
        {
            "k": int, "bits": int, **_NUMBERS, "seed": int, "mapping": get_args(CellMapping), "reset": bool,
            "settled": bool, "imperfect": bool, "rows": int, "columns": int, "K_eff_spread": RATIO,
            "stray_field_spread": FIELD, "stuck": RATIO, "junction": str, "voltage": VOLTAGE, "width": PULSE_WIDTH,
            "model": str,
        },
        objects=("memory", "imperfections", "normals"), source=True,
    ),
    "recorded": Word(
        "a file of bits recorded from a device (docs/recordings.md)", RecordedSource,
        {
            "path": str, "format": get_args(Format), "bit_order": get_args(BitOrder), "threshold": str, "unit": str,
            "column": str, "n_cells": int, "sample_type": get_args(SampleType), "byte_order": get_args(ByteOrder),
            "delimiter": str, "decimal": (".", ","), "skip_rows": int, "precision": int, **_NUMBERS,
        },
        required=("path",), source=True,
    ),
    "system": Word(
        "the operating system's random bits, which cannot be replayed", SystemSource,
        {"precision": int, **_NUMBERS}, source=True,
    ),
    "periodic": Word(
        "fair bits that repeat after a period (a control)", LoopedSource,
        {"period": int, "draws": int, "bits": int, "seed": int, **_NUMBERS}, required=("period",), source=True,
    ),
    "feedback": Word(
        "hold the memory's share of ones at one half by adjusting its pulse", Stabilised,
        {"gain": NUMBER, "actuator": get_args(Actuator)},
    ),
    "health": Word(
        "health tests of SP 800-90B at a min-entropy per bit (default 0.9); an alarm stops the source", HealthChecked,
        {"H": RATIO, "a": NUMBER, "window": int},
    ),
    "xor": Word("XOR of k bits of different cells (default 2)", Xor, {"k": int, "independent": bool}),
    "von-neumann": Word("von Neumann's pairs, cell by cell", VonNeumann),
    "peres": Word("von Neumann's procedure repeated to a depth (default 5)", Peres, {"depth": int, "block": int}),
    "toeplitz": Word(
        "Toeplitz hash of bits of a min-entropy per bit, or assessed", _assessed(Toeplitz),
        {"H_min": str, "n_in": int, "n_out": int, "epsilon": NUMBER, "seed": int}, required=("H_min",),
    ),
    "sha256": Word(
        "SHA-256 of bits of a min-entropy per bit, or assessed", _assessed(Sha256),
        {"H_min": str, "n_in": int}, required=("H_min",),
    ),
}  # fmt: skip

#: Further names, each with the description that it stands for; those of 0.1.0 among them.
ALIASES = {
    "pseudo": "software", "software-16": "software:16", "memory-raw": "memory:1", "memory-xor": "memory:2",
    "looped": "periodic", "stabilise": "feedback",
}  # fmt: skip
_HIDE_CELLS = ("von-neumann", "peres", "toeplitz", "sha256")  # bits behind them come from no cell in particular

Stage = tuple[str, dict[str, Any]]


def vocabulary(*, sources: bool) -> str:
    """Return the words of sources or of conditioners with their help and parameters, one line each."""
    return "\n".join(
        f"{name}: {word.help}" + (f" [{', '.join(word.parameters)}]" if word.parameters else "")
        for name, word in WORDS.items()
        if word.source is sources
    )


def _stage(text: str, *, source: bool) -> Stage:
    """Return the word of one stage and its parameters."""
    head, _, rest = text.partition(":")
    given = head.strip()
    word, _, preset = ALIASES.get(given, given).partition(":")
    known = [name for name, entry in WORDS.items() if entry.source is source]
    if word not in known:
        if source and Path(text.strip()).is_file():
            return "recorded", {"path": text.strip()}
        if word in WORDS:
            where = "begins a description" if WORDS[word].source else "stands behind a source"
            raise InputError(f"{text.strip()!r}: {given} {where}, such as memory:k=2 | health:0.9 | von-neumann")
        what = "noise" if source else "conditioner"
        also = " and no file of recorded bits" if source else ""
        raise InputError(
            f"{what} {text.strip()!r} is unknown{also}; use {', '.join(known)}"
            + _nearest(given, known + [a for a, of in ALIASES.items() if of.partition(":")[0] in known])
        )  # fmt: skip
    entry = WORDS[word]
    own = entry.read(given, rest)
    return word, {**{name: value for name, value in entry.read(word, preset).items() if name not in own}, **own}


def _conditioners(text: str) -> list[Stage]:
    """Return the stages of a conditioning, joined by ``|``, or by commas as in 0.1.0."""
    if text.strip() in ("", "none"):
        return []
    begins = "|".join(re.escape(w) for w in [*WORDS, *ALIASES])
    parts = re.split(rf"\||,(?=\s*(?:{begins})\s*(?:[:,|]|$)|\s*[\w-]+:)", text)
    return [_stage(part, source=False) for part in parts]


def build(
    description: str, /, *, conditioning: str = "", seed: int = 0, normals: int = 0, **parameters: Any
) -> NoiseSource:
    """Return the source that a description names, behind its conditioners.

    Args:
        description: such as ``"memory:k=2 | health:0.9 | von-neumann"``, ``"recorded:lab.csv,threshold=5.4k"``,
            ``"pseudo:seed=3,precision=16"`` or ``"system"``. The path of a file stands for ``recorded:PATH``.
        conditioning: further stages, such as ``"health:0.9 | xor:2"``.
        seed: of a source that has one, where its description does not say it.
        normals: numbers that one draw takes; a simulated array is doubled until one pulse gives them.
        parameters: of the source, by name: those of its description, and objects, such as ``memory=``, ``model=``,
            ``junction=``, ``imperfections=`` and ``shaping=``.

    Raises:
        InputError: an unknown word, a parameter that does not apply, is given twice or has a bad value, or stages in an
            order that makes no sense.

    >>> build("software:16", seed=3).normal((2, 3), streams=[5, 6], step=0).shape
    (2, 3)
    """
    first, *rest = [description] if Path(description).is_file() else description.split("|")
    word, given = _stage(first, source=True)
    stages = [_stage(part, source=False) for part in rest] + _conditioners(conditioning)
    entry = WORDS[word]
    for name, value in parameters.items():
        entry.check(word, name)
        if name in given:
            raise InputError(f"{word}: {name} is given twice, as {given[name]!r} and as {value!r}; give it once")
        text = isinstance(value, str) and name in entry.parameters
        given[name] = _read(f"{word}: {name}", value, entry.parameters[name]) if text else value
    for name, value in (("seed", seed), ("normals", normals)):
        if name in entry.parameters or name in entry.objects:
            given.setdefault(name, value)
    if word == "memory" and stages:
        given.setdefault("k", 1)
        if stages[0][0] == "feedback" and not given.get("imperfect"):
            from voltaspin.memory import Imperfections

            given.setdefault("imperfections", Imperfections.none())
    _check_required(word, given)
    return _behind(entry.build(**given), stages, of=word)


def conditioned(source: NoiseSource, conditioning: str) -> NoiseSource:
    """Return a source behind the conditioners that a text names, such as ``"health:0.9 | xor:2"``.

    Args:
        source: of raw bits.
        conditioning: the stages of a description (:func:`build`); ``none`` or nothing changes nothing.

    Raises:
        InputError: as :func:`build`.
    """
    return _behind(source, _conditioners(conditioning), of=source.name)


def _behind(source: NoiseSource, stages: list[Stage], *, of: str) -> NoiseSource:
    before = [of]
    for word, given in stages:
        _check_required(word, given)
        if word == "feedback" and len(before) > 1:
            raise InputError(f"feedback behind {before[-1]}: it adjusts the memory's pulse; put it behind memory")
        if word == "health" and (hides := [w for w in before if w in _HIDE_CELLS]):
            raise InputError(f"health behind {hides[0]}: its output hides a cell that fails; put health before it")
        source = WORDS[word].build(source, **given)
        before.append(word)
    return source


def _check_required(word: str, given: Mapping[str, Any]) -> None:
    if missing := [name for name in WORDS[word].required if name not in given]:
        also = " or assessed" if missing == ["H_min"] else ""
        raise InputError(f"{word} needs a value of {missing[0]}{also}: {word}:{missing[0]}=...")
