"""The memory: an array of junctions that stores bits, draws random ones and computes in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.memory.array import MagnetoelectricMemory as MagnetoelectricMemory
    from voltaspin.memory.crossbar.conversion import convert as convert
    from voltaspin.memory.crossbar.coverage import Coverage as Coverage
    from voltaspin.memory.crossbar.layer import MemoryLayer as MemoryLayer
    from voltaspin.memory.crossbar.matrix import Crossbar as Crossbar
    from voltaspin.memory.crossbar.ranges import ClippingWarning as ClippingWarning
    from voltaspin.memory.crossbar.ranges import calibrate as calibrate
    from voltaspin.memory.crossbar.spec import ArraySpec as ArraySpec
    from voltaspin.memory.crossbar.trace import NetworkTrace as NetworkTrace
    from voltaspin.memory.crossbar.trace import trace as trace
    from voltaspin.memory.dynamics import Imperfections as Imperfections
    from voltaspin.memory.dynamics import Slopes as Slopes
    from voltaspin.memory.pulses import Line as Line
    from voltaspin.memory.pulses import PulseLibrary as PulseLibrary
    from voltaspin.memory.responses import PulsePair as PulsePair
    from voltaspin.memory.responses import PulseResponse as PulseResponse
    from voltaspin.memory.stored_image import StoredImage as StoredImage
    from voltaspin.memory.stored_image import retention_demo as retention_demo
    from voltaspin.memory.variation import Access as Access
    from voltaspin.memory.variation import Variation as Variation
    from voltaspin.memory.wear import Yield as Yield
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
