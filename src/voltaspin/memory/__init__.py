"""The memory: an array of junctions that stores bits, draws random ones and computes in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.memory.access import Access as Access
    from voltaspin.memory.array import MagnetoelectricMemory as MagnetoelectricMemory
    from voltaspin.memory.conversion import calibrate as calibrate
    from voltaspin.memory.conversion import convert as convert
    from voltaspin.memory.coverage import Coverage as Coverage
    from voltaspin.memory.crossbar import Crossbar as Crossbar
    from voltaspin.memory.imperfections import Imperfections as Imperfections
    from voltaspin.memory.imperfections import Slopes as Slopes
    from voltaspin.memory.layers import MemoryLayer as MemoryLayer
    from voltaspin.memory.lines import Line as Line
    from voltaspin.memory.programmable import PulseLibrary as PulseLibrary
    from voltaspin.memory.ranges import ClippingWarning as ClippingWarning
    from voltaspin.memory.specification import ArraySpec as ArraySpec
    from voltaspin.memory.variation import Variation as Variation
    from voltaspin.memory.yields import Yield as Yield
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
