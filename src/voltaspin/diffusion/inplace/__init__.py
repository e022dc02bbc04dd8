"""Diffusion in place: a pixel is a population of cells, and its grey level the number of ones among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.diffusion.inplace.array import CellSpec as CellSpec
    from voltaspin.diffusion.inplace.array import PixelArray as PixelArray
    from voltaspin.diffusion.inplace.array import forward_path as forward_path
    from voltaspin.diffusion.inplace.plan import choose as choose
    from voltaspin.diffusion.inplace.process import Process as Process
    from voltaspin.diffusion.inplace.pulses import Drive as Drive
    from voltaspin.diffusion.inplace.sampling import CELLS_PER_PIXEL as CELLS_PER_PIXEL
    from voltaspin.diffusion.inplace.sampling import InPlaceOptions as InPlaceOptions
    from voltaspin.diffusion.inplace.sampling import InPlaceSamples as InPlaceSamples
    from voltaspin.diffusion.inplace.sampling import sample as sample
    from voltaspin.diffusion.inplace.training import InPlaceSpec as InPlaceSpec
    from voltaspin.diffusion.inplace.training import InPlaceTrainSpec as InPlaceTrainSpec
    from voltaspin.diffusion.inplace.training import train as train
    from voltaspin.diffusion.inplace.training import trained_for as trained_for
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
