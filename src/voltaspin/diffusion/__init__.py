"""Training and sampling of diffusion models whose noise all comes from a NoiseSource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.diffusion import bitflip as bitflip
    from voltaspin.diffusion import inplace as inplace
    from voltaspin.diffusion.data import ImageSet as ImageSet
    from voltaspin.diffusion.data import load_images as load_images
    from voltaspin.diffusion.pipelines import load_pipeline as load_pipeline
    from voltaspin.diffusion.pipelines import shipped_model as shipped_model
    from voltaspin.diffusion.published import open_model as open_model
    from voltaspin.diffusion.published import sample_unmodified as sample_unmodified
    from voltaspin.diffusion.recipe import TrainSpec as TrainSpec
    from voltaspin.diffusion.sampling import Samples as Samples
    from voltaspin.diffusion.sampling import sample as sample
    from voltaspin.diffusion.training import train as train
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
