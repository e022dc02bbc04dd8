"""Published compute-in-memory macros, each set up as its publication allows, beside what this package predicts.

Nothing here is fitted: what a publication does not say is marked as assumed, and where a prediction is further away
than a factor of two in energy or three in area, the assumption that carries the difference is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from voltaspin.core.errors import InputError, nearest
from voltaspin.core.files import read_object
from voltaspin.core.format import number, quantity
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Part, Result
from voltaspin.core.spec import Spec
from voltaspin.cost.macro import MacroCost, MacroSpec, macro_cost
from voltaspin.cost.table import Draws
from voltaspin.memory import ArraySpec

#: Factors within which a prediction is good: of energies, times and areas, and of what is over an area.
GOOD: dict[str, float] = {
    "tops_per_watt": 2.0, "bit_tops_per_watt": 2.0, "time": 2.0, "area_total": 3.0, "tops_per_mm2": 3.0,
    "bit_tops_per_mm2": 3.0,
}  # fmt: skip
_FIELDS = sorted({*ArraySpec.model_fields, *MacroSpec.model_fields})
WORDS = {
    "tops_per_watt": "efficiency", "bit_tops_per_watt": "efficiency in 1-bit operations", "time": "time of one input",
    "area_total": "area", "tops_per_mm2": "density", "bit_tops_per_mm2": "density in 1-bit operations",
}  # fmt: skip


class Published(Spec):
    """One figure of a publication.

    Args:
        quantity: field of :class:`MacroCost` that it is.
        low, high: its range in ``unit``; equal for one number.
        source: where it was read; grade: as everywhere.
    """

    KIND: ClassVar[str] = "published-figure"
    quantity: Literal["tops_per_watt", "bit_tops_per_watt", "tops_per_mm2", "bit_tops_per_mm2", "area_total", "time"]
    low: float
    high: float
    unit: str
    source: str
    grade: Literal["measured", "derived", "recalled"]


class Instead(Spec):
    """Another value of an assumption, with which a prediction is made again.

    Args:
        words: the value, for people.
        array, macro: fields that differ.
        circuits: numbers of the cost table's circuits that differ, in the units of the table.
    """

    KIND: ClassVar[str] = "other-assumption"
    words: str
    array: dict[str, Any] = Field(default_factory=dict)
    macro: dict[str, Any] = Field(default_factory=dict)
    circuits: dict[str, float] = Field(default_factory=dict)

    def drawn(self, draws: Draws) -> Draws:
        """Return draws of a table with these numbers."""
        if not self.circuits:
            return draws
        known = dict(draws.table.circuits)
        for name, value in self.circuits.items():
            exact = replace(known[name].number, value=value, low=value, high=value)
            known[name] = known[name].model_copy(update={"number": exact})
        return Draws(draws.table.model_copy(update={"circuits": known}), samples=draws.samples, seed=draws.seed)


class SiliconMacro(Spec):
    """A published macro as a design of this package.

    Args:
        key, name, citation: of the publication.
        made: whether a chip was measured.
        array: fields of its :class:`ArraySpec`; macro: of its :class:`MacroSpec`.
        given: what the publication says; assumed: what stands for the rest.
        published: its figures.
        valid: lowest and highest value of fields of either, for which the publication stands.
        difference: the assumption that carries what a prediction is off.
        instead: the value of that assumption with which nothing is off.
    """

    KIND: ClassVar[str] = "silicon-macro"
    key: str
    name: str
    citation: str
    made: Literal["silicon", "simulation"]
    array: dict[str, Any]
    macro: dict[str, Any]
    given: tuple[str, ...]
    assumed: tuple[str, ...]
    published: tuple[Published, ...]
    valid: dict[str, tuple[float, float]]
    difference: str = ""
    instead: Instead | None = None

    def built(self, changes: Mapping[str, Any]) -> tuple[ArraySpec, MacroSpec, tuple[str, ...]]:
        """Return its arrays, what they are built of, and warnings, with fields of either changed.

        Raises:
            InputError: a field that neither has, or a value that it cannot take.
        """
        array, macro, said = dict(self.array), dict(self.macro), []
        for name, value in changes.items():
            owner = next((d for d, k in ((array, ArraySpec), (macro, MacroSpec)) if name in k.model_fields), None)
            if owner is None:
                raise InputError(f"{name!r} is no field of an array or a macro{nearest(name, _FIELDS)}")
            owner[name] = value
            low, high = self.valid.get(name, (math.nan, math.nan))
            if not math.isnan(low) and isinstance(value, int | float) and not low <= value <= high:
                said.append(f"{name} = {value:g} lies outside what {self.citation} covers, {low:g} to {high:g}")
        return ArraySpec(**array), MacroSpec(**macro), tuple(said)


class Comparison(Part):
    """A published figure beside the prediction.

    Args:
        quantity: of the figure, in words.
        published: its range.
        predicted: the prediction.
        ratio: predicted over published, at the nearer end of a published range; 1 inside it.
        within: the factor that counts as good; good: whether the ratio lies within it.
        source: of the figure.
    """

    quantity: str
    published: Estimate
    predicted: Estimate
    ratio: float
    within: float
    good: bool
    source: str

    @property
    def range(self) -> str:
        """The published figure with its unit."""
        return span(self.published)


class MacroCheck(Result):
    """A published macro, predicted.

    Args:
        key, name, citation, made: of the publication, and whether a chip was measured.
        given, assumed: what its set-up takes from the publication, and what stands for the rest.
        comparisons: figure by figure.
        difference: the assumption that carries what is off; empty where nothing is.
        instead: another value of that assumption, in words; with_instead: the same comparisons with it.
        warnings: where fields were changed beyond what the publication covers.
        cost: the prediction in full.
    """

    KIND: ClassVar[str] = "macro-check"
    key: str
    name: str
    citation: str
    made: Literal["silicon", "simulation"]
    given: tuple[str, ...]
    assumed: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    difference: str
    instead: str = ""
    with_instead: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()
    cost: MacroCost = Field(repr=False)

    @property
    def carried(self) -> str:
        """What the other value of the assumption makes of the comparisons, in words."""
        found = ", ".join(f"{c.quantity} {c.ratio:.2g} times" for c in self.with_instead)
        return f"{self.instead}: {found}"

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: figures beside predictions, then the set-up and the prediction's parts."""
        rows = [("macro", f"{self.name} ({self.made}); {self.citation}")]
        rows += [
            (c.quantity, f"predicted {span(c.predicted)}, published {c.range}: {c.ratio:.2g} times"
             + ("" if c.good else f", outside a factor of {c.within:g}"))
            for c in self.comparisons
        ]  # fmt: skip
        rows += [("outside its source", text) for text in self.warnings]
        if self.difference:
            rows.append(("what carries the difference", self.difference))
        if self.instead:
            rows.append(("with another assumption", self.carried))
        rows += [("given", text) for text in self.given] + [("assumed", text) for text in self.assumed]
        return rows + self.cost.summary()


def span(e: Estimate) -> str:
    """Return an estimate for people: times with their prefix, powers of millimetres in print; a bound by its ends."""
    if e.unit == "s":
        low, value, high = (quantity(x, "s") for x in (e.low, e.value, e.high))
        unit = ""
    else:
        unit = " " + e.unit.replace("^2", "\N{SUPERSCRIPT TWO}")
        low, value, high = (number(x) for x in (e.low, e.value, e.high))
    if e.low == e.high:
        return value + unit
    return f"{low} to {high}{unit}" if e.level == 1 else f"{value} ({low} to {high}){unit}"


@cache
def silicon_macros() -> dict[str, SiliconMacro]:
    """Return the published macros by their keys."""
    data = read_object(str(files("voltaspin") / "data" / "macros.json"))
    made = [SiliconMacro.from_json({"kind": "silicon-macro", "schema_version": 1, **m}) for m in data["macros"]]
    return {m.key: m for m in made}


def silicon_macro(key: str) -> SiliconMacro:
    """Return one published macro; raises InputError for a key that is not there."""
    known = silicon_macros()
    if key not in known:
        raise InputError(f"macro {key!r} is not among the published ones; use {', '.join(known)}")
    return known[key]


def check_macro(
    macro: SiliconMacro, draws: Draws | None = None, *, changes: Mapping[str, Any] | None = None
) -> MacroCheck:
    """Predict a published macro and set each of its figures beside the prediction.

    Args:
        macro: of :func:`silicon_macros`.
        draws: of the cost table; a thousand of the package's own where None.
        changes: fields of its arrays or of what they are built of. A changed macro is another one, beside which no
            published figure stands; where it lies outside its source, a warning says so.

    Raises:
        InputError: an unknown field, or a value that it cannot take.
    """
    draws = draws or Draws()
    array, built, warnings = macro.built(changes or {})
    cost, instead = macro_cost(array, built, draws), None if changes else macro.instead
    other: tuple[Comparison, ...] = ()
    if instead is not None:
        there, circuits, _ = macro.built(instead.array | instead.macro)
        other = _compared(macro, macro_cost(there, circuits, instead.drawn(draws)))
    return MacroCheck(
        key=macro.key, name=macro.name, citation=macro.citation, made=macro.made, given=macro.given,
        assumed=macro.assumed, comparisons=() if changes else _compared(macro, cost),
        difference="" if changes else macro.difference, instead="" if instead is None else instead.words,
        with_instead=other, warnings=warnings, cost=cost,
    )  # fmt: skip


def _compared(macro: SiliconMacro, cost: MacroCost) -> tuple[Comparison, ...]:
    compared = []
    for figure in macro.published:
        predicted: Estimate = getattr(cost, figure.quantity)
        ratio = predicted.value / float(np.clip(predicted.value, figure.low, figure.high))
        good = GOOD[figure.quantity]
        middle = (figure.low * figure.high) ** 0.5
        compared.append(Comparison(
            quantity=WORDS[figure.quantity], predicted=predicted, ratio=ratio, within=good,
            published=Estimate(min(max(middle, figure.low), figure.high), figure.low, figure.high, level=1.0,
                               unit=figure.unit),
            good=1 / good <= ratio <= good, source=figure.source,
        ))  # fmt: skip
    return tuple(compared)


def silicon_table() -> str:
    """Return every published figure beside its prediction as a table in Markdown, then what carries differences."""
    checks = [check_macro(m) for m in silicon_macros().values()]
    lines = [
        "| macro | figure | published | predicted (90 % range) | times | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for check in checks:
        name = f"`{check.key}`, {check.name}" + ("" if check.made == "silicon" else " (simulated, no chip)")
        for c in check.comparisons:
            verdict = f"within {c.within:g}" if c.good else f"**outside {c.within:g}**"
            lines.append(f"| {name} | {c.quantity} | {c.range} | {span(c.predicted)} | {c.ratio:.2g} | {verdict} |")
            name = ""
    lines += ["", "What carries the differences, and what another value of that assumption makes of them:", ""]
    return "\n".join(lines + [f"- `{c.key}`: {c.difference}. {c.carried}." for c in checks if c.difference])
