"""Names of a package that load their module when they are first used, and are typed all the same.

A package lists its public names once, as imports that only a type checker carries out::

    if TYPE_CHECKING:
        from voltaspin.noise.source import NoiseSource as NoiseSource
    else:
        __getattr__, __dir__, __all__ = attach(__name__, __file__)

A type checker sees the class itself; at run time the same lines say where the name comes from.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from voltaspin.core.extras import NeedsExtra


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package whose ``__init__`` lists its names for type checkers.

    Args:
        package: its ``__name__``.
        file: its ``__file__``.
    """
    home = listed_names(file)
    names = sorted(home)

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = home[name]
        with NeedsExtra(f"{package}.{name}"):
            if module == package:
                return import_module(f"{module}.{original}")
            home_of = import_module(module)
            return getattr(home_of, original) if hasattr(home_of, original) else import_module(f"{module}.{original}")

    return get, lambda: list(names), names


@lru_cache
def listed_names(file: str) -> dict[str, tuple[str, str]]:
    """Public name to (module, name there), from the ``if TYPE_CHECKING`` block of a package's ``__init__``."""
    found: dict[str, tuple[str, str]] = {}
    for block in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            for statement in block.body:
                if not isinstance(statement, ast.ImportFrom):
                    continue
                assert statement.module is not None, "imports are absolute"
                for alias in statement.names:
                    found[alias.asname or alias.name] = (statement.module, alias.name)
    return found
