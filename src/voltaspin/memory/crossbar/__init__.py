"""Crossbars: matrices of magnetic cells, and models of torch whose layers lie in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.memory.crossbar.conversion import convert as convert
    from voltaspin.memory.crossbar.counting import CrossbarContext as CrossbarContext
    from voltaspin.memory.crossbar.coverage import Coverage as Coverage
    from voltaspin.memory.crossbar.layer import MemoryLayer as MemoryLayer
    from voltaspin.memory.crossbar.matrix import Crossbar as Crossbar
    from voltaspin.memory.crossbar.normals import ReadNoise as ReadNoise
    from voltaspin.memory.crossbar.ranges import ClippingWarning as ClippingWarning
    from voltaspin.memory.crossbar.ranges import calibrate as calibrate
    from voltaspin.memory.crossbar.spec import ArraySpec as ArraySpec
    from voltaspin.memory.crossbar.trace import NetworkTrace as NetworkTrace
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
