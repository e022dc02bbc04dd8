"""Keywords of 0.1.0 that have another name now."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from voltaspin.core.errors import InputError

T = TypeVar("T")


def renamed(**names: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator by which a class still takes keywords by their old names.

    Args:
        names: old name to new name.
    """

    def decorate(kind: type[T]) -> type[T]:
        init: Any = kind.__init__

        @functools.wraps(init)
        def with_old_names(self: T, *args: Any, **given: Any) -> None:
            for old, new in names.items():
                if old in given:
                    if new in given:
                        raise InputError(f"{kind.__name__}: {old} is the old name of {new}; give {new} alone")
                    given[new] = given.pop(old)
            init(self, *args, **given)

        kind.__init__ = with_old_names  # type: ignore[assignment]
        return kind

    return decorate
