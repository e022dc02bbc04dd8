"""The ready junctions by name: two of this project, and published ones to compare them with."""

from __future__ import annotations

from functools import cache

from voltaspin.device.junction import Junction
from voltaspin.device.preset_tables import PRESETS, Numbers, entry

__all__ = ["entry", "generator", "get", "names", "sources", "storage"]


def names() -> tuple[str, ...]:
    """Return the names of the presets: the two of this project, then the published ones by year."""
    return tuple(PRESETS)


@cache
def get(name: str) -> Junction:
    """Return the preset of that name; raises InputError with the list of names."""
    return Junction.of(entry(name).name)


def sources(name: str) -> Numbers:
    """Return every parameter of a preset with its source and grade; raises InputError with the list of names."""
    return dict(entry(name).numbers)


generator: Junction = get("generator")
storage: Junction = get("storage")
