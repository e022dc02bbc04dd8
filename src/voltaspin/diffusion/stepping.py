"""A network in the loop of any schedule of diffusers that discretises the diffusion it was trained for.

The loop is the one that diffusers documents: scale the input, evaluate the network, let the schedule step. A schedule
is known to fit a DDPM's network where it is built from the same betas; the others need a network of another kind.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.utils.torch_utils import randn_tensor

from voltaspin.diffusion.pipelines import shape_of

#: Schedules of diffusers that step a DDPM's network; the tests compare each with diffusers' loop.
STEPPED = (
    "DDIMParallelScheduler", "DDPMParallelScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler",
    "PNDMScheduler", "SASolverScheduler", "UniPCMultistepScheduler",
)  # fmt: skip

_DISTILLED = "steps a network that was distilled for it"
_SIGMA = "steps a network that is told sigma, not the time step of a DDPM"
_FLOW = "steps a network that predicts a velocity, not the noise of a DDPM"
_INVERSE = "goes from an image to noise"
#: Why others do not.
_REASONS = {
    "CMStochasticIterativeScheduler": "steps a consistency model, which is saved as a ConsistencyModelPipeline",
    "DDIMInverseScheduler": _INVERSE,
    "DPMSolverMultistepInverseScheduler": _INVERSE,
    "EDMDPMSolverMultistepScheduler": _SIGMA,
    "EDMEulerScheduler": _SIGMA,
    "FlowMatchEulerDiscreteScheduler": _FLOW,
    "FlowMatchHeunDiscreteScheduler": _FLOW,
    "FlowMatchLCMScheduler": _FLOW,
    "IPNDMScheduler": "has betas of its own, which are not those of the training",
    "LCMScheduler": _DISTILLED,
    "TCDScheduler": _DISTILLED,
    "ScoreSdeVeScheduler": "steps a network that is told sigma, which is saved as a ScoreSdeVePipeline",
}


def why_not(schedule: str) -> str:
    """Return why a schedule of that name does not step a DDPM's network; empty where it does."""
    return "" if schedule in STEPPED else _REASONS.get(schedule, "is not known to step the network of a DDPM")


@dataclass
class SteppedPipeline:
    """The loop of diffusers' unconditional pipelines, for every schedule of :data:`STEPPED`.

    Args:
        unet: in evaluation mode.
        scheduler: of diffusers.
    """

    unet: UNet2DModel
    scheduler: Any

    @torch.no_grad()
    def __call__(
        self, *, batch_size: int, generator: Any, num_inference_steps: int, output_type: str = "np"
    ) -> SimpleNamespace:
        """Images in [0, 1]: ``images`` is float32 (batch_size, height, width, channels)."""
        scheduler = copy.deepcopy(self.scheduler)  # multistep methods keep what they have seen
        scheduler.set_timesteps(num_inference_steps)
        shape = (batch_size, *shape_of(self.unet))
        device = self.unet.device
        x = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32) * scheduler.init_noise_sigma
        takes = inspect.signature(scheduler.step).parameters
        options = {"generator": generator} if "generator" in takes else {}
        for t in scheduler.timesteps:
            output = self.unet(scheduler.scale_model_input(x, t), t).sample
            x = scheduler.step(output, t, x, **options).prev_sample
        return SimpleNamespace(images=(x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy())
