"""What it costs: counted actions times sourced energies, areas and times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.cost.comparison import compare as compare
    from voltaspin.cost.table import CellPulse as CellPulse
    from voltaspin.cost.table import CostTable as CostTable
    from voltaspin.cost.table import price as price
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
