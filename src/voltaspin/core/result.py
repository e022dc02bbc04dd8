"""Results: every computation returns one, and command line, page, figure and study show it.

A result is frozen, strict data with a kind and a schema version. A field says its unit, so that a summary, a page and
a JSON schema need no table of their own::

    class FairPulse(Result):
        KIND: ClassVar[str] = "fair-pulse"
        voltage: Annotated[float, Unit("V")]
        p01: Estimate

"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from voltaspin.core.display import table_html
from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object
from voltaspin.core.quantity import Estimate, Sourced
from voltaspin.core.spec import Spec, environment
from voltaspin.core.units import format_quantity

Boundary = Literal["cell", "cell+line", "macro"]
Provenance = Literal["simulated", "recorded", "instrument", "operating system", "pseudo"]
Numbers = tuple[float, ...]

_SHORT = 6  #: values that a result shows in one line


class Unit:
    """The unit of a field, as metadata of its annotation: ``width: Annotated[float, Unit("s")]``."""

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> Any:
        return handler(core_schema) | {"unit": self.unit}


def _frozen(values: ArrayLike) -> NDArray[Any]:
    """A read-only copy; ``null`` of a file is a gap, NaN."""
    made = np.array(values)
    if made.dtype == object:
        made = np.array(values, dtype=float)
    made.setflags(write=False)
    return made


def _with_gaps(values: NDArray[Any]) -> Any:
    """Nested lists; a value that is not finite is ``null``, since JSON has none."""
    if values.dtype.kind != "f":
        return values.tolist()
    made = values.astype(object)
    made[~np.isfinite(values)] = None
    return made.tolist()


if TYPE_CHECKING:
    Array = NDArray[Any]
else:
    #: A numpy array as a field: read-only, nested lists in JSON, where a gap (NaN) is ``null``.
    Array = Annotated[
        Any,
        BeforeValidator(_frozen),
        PlainSerializer(_with_gaps, when_used="json"),
        WithJsonSchema({"type": "array", "items": {}}),
    ]


class Part(Spec):
    """A piece of a result: frozen, closed to unknown fields, finite numbers only."""

    KIND: ClassVar[str] = "part"
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def summary(self) -> list[tuple[str, str]]:
        """Return rows of (name, value with its unit) for people; arrays by their shape and range."""
        return [(name, text) for name, text, _ in _rows(self)]

    def __repr__(self) -> str:
        rows = [f"{name}={text}" for name, text, nested in _rows(self) if not nested]
        more = ", ..." if len(rows) > _SHORT else ""
        return f"{type(self).__name__}({', '.join(rows[:_SHORT])}{more})"

    def __str__(self) -> str:
        rows = self.summary()
        wide = max((len(name) for name, _ in rows), default=0)
        return "\n".join(f"{name:<{wide}}  {text}" for name, text in rows)

    def _repr_html_(self) -> str:
        return table_html(type(self).__name__, self.summary())


class Result(Part):
    """The answer of one computation, with the versions that made it.

    A subclass sets ``KIND``, raises ``VERSION`` whenever a field changes its meaning, and gives every field its unit.
    ``plots`` registers the figure of a kind.
    """

    KIND: ClassVar[str] = "result"
    VERSION: ClassVar[int] = 1

    environment: dict[str, str] = Field(default_factory=environment, repr=False)

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """As :meth:`Spec.from_json`; a file that does not name its versions has none."""
        return super().from_json({"environment": {}} | as_object(data, where=where), where=where)

    def plot(self, ax: Any = None) -> Any:
        """Draw into ``ax`` (a Matplotlib ``Axes``; a new one where absent), and return it.

        Raises:
            InputError: no figure is registered for this kind.
        """
        figures = _figures()
        if self.KIND not in figures:
            raise InputError(f"a result of kind {self.KIND!r} has no figure; these have: {', '.join(sorted(figures))}")
        return figures[self.KIND](self, ax=ax)

    @classmethod
    def schema_of(cls) -> dict[str, Any]:
        """Return the JSON schema of :meth:`to_json`."""
        schema = cls.model_json_schema(mode="serialization")
        head = {"kind": {"const": cls.KIND}, "schema_version": {"const": cls.VERSION}}
        schema["properties"] = head | schema["properties"]
        schema["required"] = [*head, *schema.get("required", [])]
        return schema


class RunRecord(Result):
    """``run.json`` of an output folder: the command that made it, and its files.

    Args:
        argv: the command line.
        command, arguments: what decides the files.
        files: that belong to the command, by their names in the folder.
        finished: false where the command was stopped.
    """

    KIND: ClassVar[str] = "run"

    argv: tuple[str, ...] = Field(default_factory=lambda: ("voltaspin", *sys.argv[1:]))
    command: str | None = None
    arguments: dict[str, Any] | None = None
    files: tuple[str, ...] | None = None
    finished: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON data."""
        return {name: value for name, value in super().to_json().items() if value is not None}


def kinds() -> dict[str, type[Result]]:
    """Return every kind of result whose module was imported."""
    found: dict[str, type[Result]] = {}
    left: list[type[Result]] = [Result]
    while left:
        left += (kind := left.pop()).__subclasses__()
        if kind.KIND != Result.KIND:
            found[kind.KIND] = kind
    return dict(sorted(found.items()))


@lru_cache
def _figures() -> dict[str, Callable[..., Any]]:
    """The figures by kind, which the package of the views lists: nothing below it imports it before one is drawn."""
    return dict(import_module("voltaspin.plots").FIGURES)


def _rows(part: Part) -> Iterator[tuple[str, str, bool]]:
    """(name, text, whether it belongs to a nested part) of every field that is set."""
    for field, info in type(part).model_fields.items():
        value = getattr(part, field)
        name = info.title or field.replace("_", " ")
        unit = next((x.unit for x in info.metadata if isinstance(x, Unit)), "")
        if field == "environment" or value is None or (isinstance(value, str | Mapping) and not value):
            continue
        if isinstance(value, Part):
            yield from ((f"{name}: {inner}", text, True) for inner, text in value.summary())
        elif isinstance(value, tuple) and value and isinstance(value[0], Part):
            for i, one in enumerate(value):
                yield from ((f"{name} {i + 1}: {inner}", text, True) for inner, text in one.summary())
        else:
            yield name, _text(value, unit), False


def _text(value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Estimate | Sourced):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" + (f" {unit}" if unit else "")
    if isinstance(value, float):
        return format_quantity(value, unit)
    if isinstance(value, np.ndarray):
        ends = f", {format_quantity(np.nanmin(value), unit)} to {format_quantity(np.nanmax(value), unit)}"
        return f"shape {value.shape}" + (ends if value.size and value.dtype.kind in "iuf" else "")
    if isinstance(value, Mapping):
        parts = [(str(name).replace("_", " "), x) for name, x in value.items() if x not in (None, "", {}, [], ())]
        return ", ".join(
            f"{name} ({_text(x, unit)})" if _nested(x) else f"{name} {_text(x, unit)}" for name, x in parts
        )
    if isinstance(value, tuple | list) and not any(_nested(x) for x in value):
        return ", ".join(_text(x, unit) for x in value[:_SHORT]) + (", ..." if len(value) > _SHORT else "")
    if isinstance(value, tuple | list):
        return f"{len(value)} entries"
    return str(value)


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | tuple | list)
