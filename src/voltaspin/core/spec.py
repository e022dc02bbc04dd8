"""Versioned specifications: what a run was asked to do, as data that can be read again."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object, write_json


class Spec(BaseModel):
    """Base of all specifications: frozen, closed to unknown fields, with a kind and a schema version.

    A subclass sets ``KIND`` and raises ``VERSION`` whenever a field changes its meaning.
    """

    KIND: ClassVar[str] = "spec"
    VERSION: ClassVar[int] = 1
    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.KIND, "schema_version": self.VERSION, **self.model_dump(mode="json")}

    def save(self, path: Path | str) -> None:
        write_json(path, self.to_json())

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """Build from :meth:`to_json` data; raises InputError on another kind, version or field."""
        data = dict(data)
        kind, ver = data.pop("kind", None), data.pop("schema_version", None)
        if kind != cls.KIND or ver != cls.VERSION:
            raise InputError(
                f"{where} is {kind!r} version {ver!r}, not {cls.KIND!r} version {cls.VERSION}; "
                "write it again with this version of voltaspin"
            )
        try:
            return cls(**data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise InputError(f"{where}: field {field!r}: {first['msg']}") from None

    @classmethod
    def load(cls, path: Path | str) -> Self:
        return cls.from_json(read_object(path), where=str(path))


def environment() -> dict[str, str]:
    """Versions that a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": sys.platform}
    for name in ("voltaspin", "numpy", "scipy", "numba", "torch", "diffusers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
