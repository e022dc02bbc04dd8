"""Studies: many conditions times seeds, each run once, kept, and judged together."""

from __future__ import annotations

from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "Condition": "specification",
    "Run": "specification",
    "StudySpec": "specification",
    "execute": "runner",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
