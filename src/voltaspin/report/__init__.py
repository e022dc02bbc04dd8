"""The report room: cost, figures, one page. Names load when first used, so that matplotlib can wait."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "CellPulse": "cost",
    "CostTable": "cost",
    "price": "cost",
    "compare": "comparison",
    "DemoResults": "results",
    "Score": "results",
    "charts": "figures",
    "grid_png": "figures",
    "strip_png": "figures",
    "summary_table": "page",
    "write_page": "page",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'voltaspin.report' has no attribute {name!r}")
    return getattr(import_module(f"voltaspin.report.{_HOME[name]}"), name)
