"""Diffusion in place: bits that flip in the array that stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.diffusion.bitflip.backward import reverse as reverse
    from voltaspin.diffusion.bitflip.levels import Levels as Levels
    from voltaspin.diffusion.bitflip.levels import Rounding as Rounding
    from voltaspin.diffusion.bitflip.model import BitModel as BitModel
    from voltaspin.diffusion.bitflip.model import CellSpec as CellSpec
    from voltaspin.diffusion.bitflip.model import is_bit_model as is_bit_model
    from voltaspin.diffusion.bitflip.model import load_model as load_model
    from voltaspin.diffusion.bitflip.model import make_array as make_array
    from voltaspin.diffusion.bitflip.process import Process as Process
    from voltaspin.diffusion.bitflip.process import from_planes as from_planes
    from voltaspin.diffusion.bitflip.process import to_planes as to_planes
    from voltaspin.diffusion.bitflip.sampling import BitSamples as BitSamples
    from voltaspin.diffusion.bitflip.sampling import sample as sample
    from voltaspin.diffusion.bitflip.schedules import Flips as Flips
    from voltaspin.diffusion.bitflip.schedules import PulseSchedule as PulseSchedule
    from voltaspin.diffusion.bitflip.schedules import ScheduleReport as ScheduleReport
    from voltaspin.diffusion.bitflip.training import BitTrainSpec as BitTrainSpec
    from voltaspin.diffusion.bitflip.training import train as train
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
