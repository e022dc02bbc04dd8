"""Figures: every function draws what it is given into an ``Axes`` and returns it, and computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: The figure of each kind of result, as :meth:`voltaspin.core.result.Result.plot` draws it.
FIGURES: dict[str, Callable[..., Any]] = {}
