"""Failures that are known and not mended yet: an area, and a pattern of :func:`test_fuzz.kind_of`. Best empty."""

KNOWN: dict[str, str] = {}
