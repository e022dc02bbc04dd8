"""Noise sources and their conditioning by name: ``noise.build("memory:k=2 | health:0.9 | von-neumann")``.

A description is a source and the stages behind it, joined by ``|``. Each is a word, and after a colon its parameters,
joined by commas: ``name=value``, a value alone (the file of ``recorded``, the first parameter of a conditioner), or a
name alone for a switch. Quantities have units (``threshold=5.4kohm``). The parameters are those of the class.

A further source or conditioner is one class and one entry in :data:`WORDS`.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

from voltaspin.core.context import progress_of_wait
from voltaspin.core.errors import InputError, nearest
from voltaspin.core.units import (
    FIELD,
    NUMBER,
    PULSE_WIDTH,
    RATIO,
    TIME,
    VOLTAGE,
    Dimension,
    parse_count,
    parse_quantity,
)
from voltaspin.device import Junction, Pulse, SwitchingModel, fair_pulse
from voltaspin.memory import Imperfections, MagnetoelectricMemory
from voltaspin.noise.conditioning import Peres, VonNeumann, Xor
from voltaspin.noise.endpoint import is_address
from voltaspin.noise.feedback import Feedback
from voltaspin.noise.hashing import Sha256, Toeplitz
from voltaspin.noise.health import HealthChecked
from voltaspin.noise.instrument import instrument_source
from voltaspin.noise.memory_source import MemorySource
from voltaspin.noise.periodic import PeriodicSource
from voltaspin.noise.recorded import RecordedSource
from voltaspin.noise.software import PseudoSource
from voltaspin.noise.source import NoiseSource
from voltaspin.noise.stream import StreamSource
from voltaspin.noise.system import SystemSource


@dataclass(frozen=True)
class Word:
    """One source or conditioner of the grammar.

    Args:
        help: one line.
        build: takes the parameters by name; a conditioner takes its source first.
        units: of those parameters that are quantities.
        of: whose signatures list the parameters; ``build`` itself where absent.
        source: whether it is a source; else it is a conditioner.
    """

    help: str
    build: Callable[..., NoiseSource]
    units: Mapping[str, Dimension] = field(default_factory=dict)
    of: tuple[Callable[..., Any], ...] = ()
    source: bool = False

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Parameters with their types; objects (those that no text can give) included."""
        found: dict[str, inspect.Parameter] = {}
        for call in self.of or (self.build,):
            hints = get_type_hints(call.__init__ if isinstance(call, type) else call)  # type: ignore[misc]
            for name, parameter in inspect.signature(call).parameters.items():
                if name in hints and name != "source" and parameter.kind is not parameter.VAR_KEYWORD:
                    found.setdefault(name, parameter.replace(annotation=hints[name]))
        return found

    @property
    def first(self) -> str:
        """Parameter that needs no name: the first one of a conditioner, or the one that a source requires; or none."""
        return next((n for n, p in self.parameters.items() if p.default is p.empty or not self.source), "")

    def make(self, word: str, given: Mapping[str, Any], *source: NoiseSource) -> NoiseSource:
        """Return the source, or the conditioner behind one; raises InputError where a parameter is missing."""
        for name, parameter in self.parameters.items():
            if parameter.default is parameter.empty and name not in given:
                also = " or assessed" if name == "H_min" else ""
                raise InputError(f"{word} needs a value of {name}{also}: {word}:{name}=...")
        return self.build(*source, **given)

    def check(self, word: str, names: Iterable[str]) -> None:
        """Raise InputError where a parameter does not apply."""
        known = list(self.parameters)
        for name in names:
            if name not in known:
                raise InputError(
                    f"{word}: {name!r} is no parameter of it; "
                    + (f"it takes {', '.join(known)}{nearest(name, known)}" if known else "it takes none")
                )

    def read(self, word: str, text: str) -> dict[str, Any]:
        """Return the parameters that a text gives, read; raises InputError."""
        found: dict[str, Any] = {}
        for at, part in enumerate(text.split(",") if text.strip() else []):
            name, equals, value = (x.strip() for x in part.partition("="))
            if not equals and name in self.parameters and self.parameters[name].annotation is bool:
                value = "yes"
            elif not equals and at == 0 and name not in self.parameters and self.first:
                name, value = self.first, name
            self.check(word, [name])
            if name in found or not value:
                raise InputError(f"{word}: parameter {part.strip()!r}: give it once, with a value")
            found[name] = self.value(word, name, value)
        return found

    def value(self, word: str, name: str, text: str) -> Any:
        """Return the value of a parameter from a text, by the parameter's unit or type."""
        where = f"{word}: {name}"
        kinds, words = _kinds(self.parameters[name].annotation)
        if text in words:
            return text
        if bool in kinds:
            if text not in ("yes", "no", "true", "false"):
                raise InputError(f"{where} {text!r}: give yes or no")
            return text in ("yes", "true")
        if (dimension := self.units.get(name)) is not None:
            return parse_quantity(text, dimension, name=where, signed=dimension in (VOLTAGE, FIELD))
        if str in kinds:
            return text
        if float in kinds:
            return parse_quantity(text, NUMBER, name=where)
        if int in kinds:
            return int(text) if text.isdecimal() else parse_count(text, name=where, least=0, most=10**18)
        if words:
            raise InputError(f"{where} {text!r} is unknown; use one of {', '.join(words)}{nearest(text, words)}")
        raise InputError(f"{where} is an object: give it in Python")


_TERMS_SOLUTIONS = 128  # of a switching model with further terms, each a second or more


def _kinds(annotation: Any) -> tuple[set[type], list[str]]:
    """Return the types that a text can give and the words of an annotation; neither for one of objects."""
    parts = [annotation] if get_origin(annotation) is Literal else [*(get_args(annotation) or [annotation])]
    words = [w for part in parts if get_origin(part) is Literal for w in get_args(part)]
    return {part for part in parts if part in (bool, int, float, str)}, words


def _terms_pulse(cell: Junction, voltage: float | None, width: float | None) -> tuple[Pulse, bool]:
    """The pulse of a junction with further terms: as given, or its fair one, and whether that needs a reset."""
    if voltage is not None and width is not None:
        return Pulse(voltage=voltage, width=width), False
    if voltage is not None or width is not None:
        raise InputError("memory: voltage and width make a pulse together; give both, or neither for the fair pulse")
    fair = fair_pulse(cell)
    return fair.pulse, fair.reset


def _cell(
    *, model: SwitchingModel | str | None = None, junction: Junction | str | None = None, voltage: float | None = None,
    width: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the switching model of an array's cells, as an argument, where one is given, and ``reset`` if needed."""
    if junction is None:
        if voltage is not None or width is not None:
            raise InputError("memory: voltage and width are of the pulse of a junction; give junction as well")
        model = SwitchingModel.load(model) if isinstance(model, str) else model
        return {} if model is None else {"model": model}
    if model is not None:
        raise InputError("memory: model and junction both say what a cell does; give one of them")
    cell, fair = Junction.of(junction) if isinstance(junction, str) else junction, SwitchingModel.shipped()
    if cell == fair.junction and voltage is None and width is None:
        return {"model": fair}
    if cell.terms:
        pulse, reset = _terms_pulse(cell, voltage, width)
        model = SwitchingModel.from_fokker_planck(
            cell, pulse, solutions=_TERMS_SOLUTIONS, progress=progress_of_wait("solve the cells (once)")
        )
        return {"model": model} | ({"reset": True} if reset else {})
    if width is None:
        raise InputError("memory: the width of the junction's pulse is missing; give width=0.3ns")
    pulse = Pulse(voltage=cell.V_c if voltage is None else voltage, width=width)
    told = progress_of_wait("solve the cells (once)")
    return {"model": SwitchingModel.from_fokker_planck(cell, pulse, progress=told)}


def _memory(*, normals: int = 0, imperfect: bool = False, **given: Any) -> NoiseSource:
    """Return a memory source on an array that is given or made here, large enough for one draw of ``normals``."""

    def taken(call: Callable[..., Any]) -> dict[str, Any]:
        return {name: given.pop(name) for name in inspect.signature(call).parameters if name in given}

    seed = given["seed"]
    options, cell = taken(MemorySource), _cell(**taken(_cell))
    if cell.pop("reset", False) and not options.setdefault("reset", True):
        raise InputError("memory: the fair pulse of this junction takes a 0 to a 1 and not back; leave reset=no out")
    array = cell | given
    if imperfect:
        options["imperfections"] = Imperfections()
    if "memory" not in options:
        side, needed = 256, normals * options.get("bits_per_sample", 16) * options.get("k", 2)
        while not given.keys() & {"rows", "columns"} and side * side < needed:
            side *= 2
        options["memory"] = MagnetoelectricMemory(**{"rows": side, "columns": side, "seed": seed, **array})
    elif array:
        raise InputError(f"memory: {', '.join(array)} belong to an array that is made here; leave memory= out")
    return MemorySource(**options)


WORDS: dict[str, Word] = {
    "software": Word("pseudo-random numbers (Philox); precision: full, or bits per number", PseudoSource, source=True),
    "memory": Word(
        "the simulated array; k: cells combined by XOR into a bit (default: 2, or 1 in front of a conditioner)",
        _memory,
        {"K_eff_spread": RATIO, "stray_field_spread": FIELD, "stuck": RATIO, "voltage": VOLTAGE, "width": PULSE_WIDTH},
        of=(MemorySource, _memory, _cell, MagnetoelectricMemory), source=True,
    ),
    "stream": Word(
        "bits as they arrive: - (standard input), a FIFO, a device, tcp://HOST:PORT, unix:///PATH, serial:///PATH",
        StreamSource, {"timeout": TIME}, source=True,
    ),
    "instrument": Word(
        "bits of an instrument, asked through VISA as its profile says, a TOML file (docs/instruments.md)",
        instrument_source, {"timeout": TIME}, source=True,
    ),
    "recorded": Word("a file of bits recorded from a device (docs/recordings.md)", RecordedSource, source=True),
    "system": Word("the operating system's random bits, which cannot be replayed", SystemSource, source=True),
    "periodic": Word("fair bits that repeat after a period (a control)", PeriodicSource, source=True),
    "feedback": Word("hold the memory's share of ones at one half by adjusting its pulse", Feedback),
    "health": Word(
        "health tests of SP 800-90B at a min-entropy per bit (default 0.9); an alarm stops the source", HealthChecked,
        {"H": RATIO},
    ),
    "xor": Word("XOR of k bits of different cells (default 2)", Xor),
    "von-neumann": Word("von Neumann's pairs, cell by cell", VonNeumann),
    "peres": Word("von Neumann's procedure repeated to a depth (default 5)", Peres),
    "toeplitz": Word("Toeplitz hash of bits of a min-entropy per bit, or assessed", Toeplitz, {"H_min": RATIO}),
    "sha256": Word("SHA-256 of bits of a min-entropy per bit, or assessed", Sha256, {"H_min": RATIO}),
}  # fmt: skip

#: Further names, each with the description that it stands for; those of 0.1.0 among them.
ALIASES = {
    "pseudo": "software", "software-16": "software:precision=16", "memory-raw": "memory:k=1",
    "memory-xor": "memory:k=2", "looped": "periodic", "stabilise": "feedback",
}  # fmt: skip
LIVE = ("stream", "instrument")  #: sources whose bits arrive at a pace of their own
_HIDE_CELLS = ("von-neumann", "peres", "toeplitz", "sha256")  # bits behind them come from no cell in particular

_Stage = tuple[str, dict[str, Any]]


def vocabulary(*, sources: bool) -> str:
    """Return the words of sources or of conditioners with their help and parameters, one line each."""
    lines = []
    for name, word in WORDS.items():
        if word.source is sources:
            given = [n for n, p in word.parameters.items() if any(_kinds(p.annotation))]
            lines.append(f"{name}: {word.help}" + (f" [{', '.join(given)}]" if given else ""))
    return "\n".join(lines)


def _is_file(text: str) -> bool:
    return os.path.isfile(text)  # noqa: PTH113 - false for a text that is too long for a name


def names_stream(description: str) -> bool:
    """Whether a description begins with a stream or an instrument, whose bits arrive at a pace of their own."""
    first = description.partition("|")[0].strip()
    word = first.partition(":")[0]
    return word in LIVE or (word not in {**WORDS, **ALIASES} and is_address(first))


def _stage(text: str, *, source: bool) -> _Stage:
    """Return the word of one stage and its parameters."""
    head, _, rest = text.partition(":")
    given = head.strip()
    word, _, preset = ALIASES.get(given, given).partition(":")
    known = [name for name, entry in WORDS.items() if entry.source is source]
    if word not in known:
        if source and _is_file(text.strip()):
            return "recorded", {"path": text.strip()}
        if source and is_address(text.strip()):
            return "stream", {"address": text.strip()}
        if word in WORDS:
            where = "begins a description" if WORDS[word].source else "stands behind a source"
            raise InputError(f"{text.strip()!r}: {given} {where}, such as memory:k=2 | health:0.9 | von-neumann")
        what = "noise" if source else "conditioner"
        also = " and no file of recorded bits" if source else ""
        raise InputError(
            f"{what} {text.strip()!r} is unknown{also}; use {', '.join(known)}"
            + nearest(given, known + [a for a, of in ALIASES.items() if of.partition(":")[0] in known])
        )  # fmt: skip
    entry = WORDS[word]
    own = entry.read(given, rest)
    return word, {**{name: value for name, value in entry.read(word, preset).items() if name not in own}, **own}


def _conditioners(text: str) -> list[_Stage]:
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
            ``"pseudo:seed=3,precision=16"`` or ``"system"``. The path of a file stands for ``recorded:PATH``,
            and ``-``, the path of a FIFO or device, or the address of a socket or serial port for ``stream:ADDRESS``.
        conditioning: further stages, such as ``"health:0.9 | xor:2"``.
        seed: of a source that has one, where its description does not say it.
        normals: numbers that one draw takes; a simulated array is doubled until one pulse gives them.
        parameters: of the source, by name: those of its description, and objects, such as ``memory=``, ``model=``,
            ``junction=``, ``imperfections=`` and ``transform=``.

    Raises:
        InputError: an unknown word, a parameter that does not apply, is given twice or has a bad value, or stages in an
            order that makes no sense.

    >>> build("software:precision=16", seed=3).normal((2, 3), streams=[5, 6], step=0).shape
    (2, 3)
    """
    (word, given), *stages = stages_of(description)
    stages += _conditioners(conditioning)
    entry = WORDS[word]
    entry.check(word, parameters)
    for name, value in parameters.items():
        if name in given:
            raise InputError(f"{word}: {name} is given twice, as {given[name]!r} and as {value!r}; give it once")
        given[name] = entry.value(word, name, value) if isinstance(value, str) else value
    for name, value in (("seed", seed), ("normals", normals)):
        if name in entry.parameters:
            given.setdefault(name, value)
    if word == "memory" and stages:
        given.setdefault("k", 1)
        if stages[0][0] == "feedback" and not given.get("imperfect"):
            given.setdefault("imperfections", Imperfections.none())
    return _behind(entry.make(word, given), stages, of=word)


def stages_of(description: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the words of a description with the parameters that it gives, read; its source is the first.

    Raises:
        InputError: a description that does not read.

    >>> stages_of("memory-xor | health:0.9")
    [('memory', {'k': 2}), ('health', {'H': 0.9})]
    """
    of_a_path = _is_file(description) or (is_address(description) and "://" not in description)
    first, *rest = [description] if of_a_path else description.split("|")
    return [_stage(first, source=True), *(_stage(part, source=False) for part in rest)]


def words_of(description: str) -> list[str]:
    """Return the words of a description, its source first; raises InputError for one that does not read."""
    return [word for word, _ in stages_of(description)]


def conditioned(source: NoiseSource, conditioning: str) -> NoiseSource:
    """Return a source behind the conditioners that a text names, such as ``"health:0.9 | xor:2"``.

    Args:
        source: of raw bits.
        conditioning: the stages of a description (:func:`build`); ``none`` or nothing changes nothing.

    Raises:
        InputError: as :func:`build`.
    """
    return _behind(source, _conditioners(conditioning), of=source.name)


def _behind(source: NoiseSource, stages: list[_Stage], *, of: str) -> NoiseSource:
    before = [of]
    for word, given in stages:
        if word == "feedback" and len(before) > 1:
            raise InputError(f"feedback behind {before[-1]}: it adjusts the memory's pulse; put it behind memory")
        if word == "health" and (hides := [w for w in before if w in _HIDE_CELLS]):
            raise InputError(f"health behind {hides[0]}: its output hides a cell that fails; put health before it")
        source = WORDS[word].make(word, given, source)
        before.append(word)
    return source
