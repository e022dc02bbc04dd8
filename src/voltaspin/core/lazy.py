"""Names of a package that load their module when they are first used, so that importing a room costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def resolve(package: str, home: Mapping[str, str], name: str) -> Any:
    """The object ``name`` of ``package``, from the module that ``home`` names; a module itself where both are equal.

    Raises:
        AttributeError: the package has no such name.
    """
    if name not in home:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module = import_module(f"{package}.{home[name]}")
    return module if home[name] == name else getattr(module, name)
