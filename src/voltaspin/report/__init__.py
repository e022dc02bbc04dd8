"""Reports: cost, figures, one page. Names load when first used, so that matplotlib can wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.cost.comparison import compare as compare
    from voltaspin.cost.table import CellPulse as CellPulse
    from voltaspin.cost.table import CostTable as CostTable
    from voltaspin.cost.table import price as price
    from voltaspin.diffusion.grids import grid_png as grid_png
    from voltaspin.diffusion.grids import strip_png as strip_png
    from voltaspin.plots.demo import charts as charts
    from voltaspin.plots.fit import fit_overlay as fit_overlay
    from voltaspin.report.page import summary_table as summary_table
    from voltaspin.report.page import write_page as write_page
    from voltaspin.report.results import DemoResults as DemoResults
    from voltaspin.report.results import Score as Score
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
