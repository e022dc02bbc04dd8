"""Figures: every function draws what it is given into an ``Axes`` and returns it, and computes nothing.

Without an ``Axes`` a function makes one in the package's style. ``plots.drawing.png`` turns it into a PNG.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def _lazily(module: str, name: str) -> Callable[..., Any]:
    def draw(result: Any, *, ax: Any = None) -> Any:
        return getattr(import_module(f"voltaspin.plots.{module}"), name)(result, ax=ax)

    return draw


#: The figure of each kind of result, as :meth:`voltaspin.core.result.Result.plot` draws it.
FIGURES: dict[str, Callable[..., Any]] = {
    kind: _lazily(*where)
    for kind, where in {
        "cell-examination": ("cells", "map_of_cells"),
        "condition-comparison": ("quality", "scores"),
        "cost": ("cost", "energies_per_bit"),
        "cost-claim": ("cost", "ratios"),
        "design": ("design", "pareto"),
        "compute-cost": ("macro", "network_breakdown"),
        "endurance": ("macro", "lifetimes"),
        "macro-check": ("macro", "published"),
        "macro-cost": ("macro", "breakdown"),
        "memory-mapping": ("macro", "floor_plan"),
        "workload": ("cost", "image_energies"),
        "frontier": ("frontier", "quality_and_energy"),
        "device-characterisation": ("device", "switching_curves"),
        "device-fits": ("fit_devices", "device_fits"),
        "noise-specification": ("requirements", "every_axis"),
        "randomness": ("noise", "examined_bits"),
        "inplace-samples": ("images", "grid_of_images"),
        "samples": ("images", "grid_of_images"),
        "switching-map": ("device", "switching_map"),
        "switching-view": ("explorer", "switching_curve"),
        "telegraph": ("waveform", "dwell_times"),
        "waveform": ("waveform", "trace_and_levels"),
    }.items()
}
