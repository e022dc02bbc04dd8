"""Versioned specifications: what a run was asked to do, as data that can be read again."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Collection
from dataclasses import fields
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from voltaspin.core.display import short, table_html
from voltaspin.core.errors import InputError, nearest
from voltaspin.core.files import as_object, read_object, write_json

T = TypeVar("T")


class Spec(BaseModel):
    """Base of all specifications: frozen, closed to unknown fields, with a kind and a schema version.

    A subclass sets ``KIND`` and raises ``VERSION`` whenever a field changes its meaning.
    """

    KIND: ClassVar[str] = "spec"
    VERSION: ClassVar[int] = 1
    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.KIND, "schema_version": self.VERSION, **self.model_dump(mode="json")}

    def __repr__(self) -> str:
        """The fields that differ from their defaults; a long value is cut."""
        fields = type(self).model_fields.items()
        values = [(name, getattr(self, name), info.get_default(call_default_factory=True)) for name, info in fields]
        given = [f"{name}={short(value)}" for name, value, default in values if value != default]
        return f"{type(self).__name__}({', '.join(given)})"

    def _repr_html_(self) -> str:
        return table_html(type(self).__name__, ((name, short(getattr(self, name))) for name in type(self).model_fields))

    def save(self, path: Path | str) -> None:
        write_json(path, self.to_json())

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """Build from :meth:`to_json` data, strictly: a text is no number, a number no truth value.

        Raises:
            InputError: no object, another kind or version, an unknown field, or a value that does not fit.
        """
        data = without_head(data, cls.KIND, cls.VERSION, where=where)
        made = cls.__new__(cls)
        # Into an instance, so that no constructor of a subclass is in between.
        _strictly(partial(cls.__pydantic_validator__.validate_json, self_instance=made), data, where, cls.model_fields)
        return made

    @classmethod
    def load(cls, path: Path | str) -> Self:
        return cls.from_json(read_object(path), where=str(path))


def complaint(error: ValidationError, kind: str) -> str:
    """Return the first complaint about a specification: field, value and reason, or the reason alone."""
    first = error.errors()[0]
    reason = str(first["msg"]).removeprefix("Value error, ")
    name = ".".join(map(str, first["loc"]))
    return f"{kind}: {name} = {first['input']!r}: {reason}" if name else reason


def without_head(data: Any, kind: str, schema_version: int, *, where: str) -> dict[str, Any]:
    """Return an object's data without ``kind`` and ``schema_version``; raises InputError where they are others."""
    data = dict(as_object(data, where=where))
    found, ver = data.pop("kind", None), data.pop("schema_version", None)
    if found != kind or ver != schema_version or isinstance(ver, bool):
        raise InputError(
            f"{where} is {shown(found)} version {shown(ver)}, not {kind!r} version {schema_version}; "
            "write it again with this version of voltaspin"
        )
    return data


def built(kind: type[T], data: Any, *, where: str) -> T:
    """A dataclass from JSON data, as strictly as :meth:`Spec.from_json`.

    Raises:
        InputError: no object, an unknown or missing field, a value of another type, a number that no quantity in SI
            has, or what ``kind`` itself refuses.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    _check_magnitudes(data, where, least=1e-30, most=1e40)  # else powers and ratios overflow
    if unknown := sorted(set(as_object(data, where=where)) - known):
        raise InputError(
            f"{where}: field {shown(unknown[0])} is unknown; {kind.__name__} has {', '.join(sorted(known))}"
        )
    return cast(T, _strictly(TypeAdapter(kind).validate_json, data, where))


def _check_magnitudes(data: Any, where: str, *, least: float = 0.0, most: float = sys.float_info.max) -> None:
    """Refuse numbers that do not lie between these sizes; by default, whole numbers that no float can hold."""
    if isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            _check_magnitudes(value, where, least=least, most=most)
    elif isinstance(data, int | float) and data != 0 and not least <= abs(data) <= most:
        raise InputError(
            f"{where}: the number {shown(data)} is not finite, or not of the size of any quantity in SI; correct it"
        )


def _strictly(validate: Callable[..., Any], data: Any, where: str, known: Collection[str] = ()) -> Any:
    """Validate data as JSON, where strict pydantic takes lists for tuples and whole numbers for floats."""
    _check_magnitudes(data, where)
    try:
        return validate(json.dumps(data, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = str(first["msg"]).removeprefix("Value error, ")
        field = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            listed = nearest(field, known) if len(first["loc"]) == 1 else ""
            raise InputError(f"{where}: field {shown(field)} is unknown{listed or '; leave it out'}") from None
        raise InputError(f"{where}: {f'field {shown(field)}: ' if field else ''}{reason}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON data ({error}); give finite numbers, texts, lists and objects") from None


def shown(value: Any) -> str:
    """Return a value of a file for a message, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write out the longest ones
        return f"of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-15:]}"


def environment() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return dict(_versions())


@lru_cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": sys.platform}
    for name in ("voltaspin", "numpy", "scipy", "numba", "torch", "diffusers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
