"""Analogue traces of an oscilloscope or a digitiser: levels, bits, and the statistics of telegraph signals.

``trace.py`` reads a file through :mod:`voltaspin.noise.importer`, ``levels.py`` finds the threshold, ``states.py``
follows the trace through its hysteresis, ``dwell.py`` makes rates of that, ``instants.py`` and ``bits.py`` take bits.
``analysis.py`` does all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.noise.waveform.analysis import Sampling as Sampling
    from voltaspin.noise.waveform.analysis import Waveform as Waveform
    from voltaspin.noise.waveform.analysis import read_waveform as read_waveform
    from voltaspin.noise.waveform.bits import SampledBits as SampledBits
    from voltaspin.noise.waveform.bits import sample_bits as sample_bits
    from voltaspin.noise.waveform.dwell import Telegraph as Telegraph
    from voltaspin.noise.waveform.dwell import telegraph_statistics as telegraph_statistics
    from voltaspin.noise.waveform.instants import Clock as Clock
    from voltaspin.noise.waveform.instants import Triggered as Triggered
    from voltaspin.noise.waveform.instants import recovered_clock as recovered_clock
    from voltaspin.noise.waveform.levels import Levels as Levels
    from voltaspin.noise.waveform.levels import find_levels as find_levels
    from voltaspin.noise.waveform.states import States as States
    from voltaspin.noise.waveform.trace import Trace as Trace
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
