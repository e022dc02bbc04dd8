"""Costs: counted actions times sourced energies, areas and times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.cost.bill import ComputeCost as ComputeCost
    from voltaspin.cost.comparison import Cost as Cost
    from voltaspin.cost.comparison import compare as compare
    from voltaspin.cost.endurance import Endurance as Endurance
    from voltaspin.cost.endurance import model_endurance as model_endurance
    from voltaspin.cost.export import NetworkExport as NetworkExport
    from voltaspin.cost.export import export_network as export_network
    from voltaspin.cost.images import ImageWork as ImageWork
    from voltaspin.cost.images import image_costs as image_costs
    from voltaspin.cost.jobs import Job as Job
    from voltaspin.cost.jobs import RngSource as RngSource
    from voltaspin.cost.jobs import Workload as Workload
    from voltaspin.cost.jobs import workload as workload
    from voltaspin.cost.macro import MacroCost as MacroCost
    from voltaspin.cost.macro import MacroSpec as MacroSpec
    from voltaspin.cost.macro import macro_cost as macro_cost
    from voltaspin.cost.mapping import Mapping as Mapping
    from voltaspin.cost.mapping import map_network as map_network
    from voltaspin.cost.merit import FigureOfMerit as FigureOfMerit
    from voltaspin.cost.merit import Ratio as Ratio
    from voltaspin.cost.merit import figure_of_merit as figure_of_merit
    from voltaspin.cost.network import compute_cost as compute_cost
    from voltaspin.cost.pricing import CellPulse as CellPulse
    from voltaspin.cost.pricing import Prices as Prices
    from voltaspin.cost.pricing import price as price
    from voltaspin.cost.processors import processor_rng as processor_rng
    from voltaspin.cost.silicon import MacroCheck as MacroCheck
    from voltaspin.cost.silicon import check_macro as check_macro
    from voltaspin.cost.silicon import silicon_macros as silicon_macros
    from voltaspin.cost.table import CostTable as CostTable
    from voltaspin.cost.table import Draws as Draws
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
