"""Reports: pages of a demo, a junction, a study and a specification. Names load when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.cost.comparison import compare as compare
    from voltaspin.cost.pricing import CellPulse as CellPulse
    from voltaspin.cost.pricing import price as price
    from voltaspin.cost.table import CostTable as CostTable
    from voltaspin.diffusion.grids import grid_png as grid_png
    from voltaspin.diffusion.grids import strip_png as strip_png
    from voltaspin.metrics.distance import Score as Score
    from voltaspin.plots.fit import fit_overlay as fit_overlay
    from voltaspin.report.demo_page import pictures_of as charts  # noqa: F401  # the name of 0.1.0
    from voltaspin.report.demo_page import pictures_of as pictures_of
    from voltaspin.report.demo_page import summary_table as summary_table
    from voltaspin.report.demo_page import write_page as write_page
    from voltaspin.report.demo_results import DemoResults as DemoResults
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
