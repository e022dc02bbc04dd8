"""The report room: cost, figures, one page. Names load when first used, so that matplotlib can wait."""

from __future__ import annotations

from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "CellPulse": "cost",
    "CostTable": "cost",
    "price": "cost",
    "compare": "comparison",
    "DemoResults": "results",
    "Score": "results",
    "charts": "figures",
    "fit_overlay": "measurement_figures",
    "grid_png": "figures",
    "strip_png": "figures",
    "summary_table": "page",
    "write_page": "page",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
