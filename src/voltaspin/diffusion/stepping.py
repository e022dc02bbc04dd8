"""A network in the loop of any schedule of diffusers that discretises the diffusion it was trained for.

The loop is the one that diffusers documents: scale the input, evaluate the network, let the schedule step. A schedule
is known to fit a DDPM's network where it is built from the same betas; the others need a network of another kind.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.utils.torch_utils import randn_tensor

from voltaspin.core.errors import InputError
from voltaspin.diffusion.classes import Told
from voltaspin.diffusion.pipelines import shape_of
from voltaspin.diffusion.soundness import first_line

#: Schedules of diffusers that step a DDPM's network; the tests compare each with diffusers' loop.
STEPPED = (
    "DDIMParallelScheduler", "DDPMParallelScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler",
    "PNDMScheduler", "SASolverScheduler", "UniPCMultistepScheduler",
)  # fmt: skip

#: Schedules that split the noise of a step's end into what stays and what is drawn anew, by a difference of squares.
_ANCESTRAL = ("EulerAncestralDiscreteScheduler",)
#: Schedules that average the slopes at both ends of a step, and the error that is too large for a step of theirs. Of
#: the shipped model, whose first of 20 steps goes from 2e4 to 13 and errs by 61 times the noise, they made images with
#: a KID of 1.4 where others have 0.1.
_AVERAGED, _STEEPEST = ("HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler"), 2.0

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


#: Samplers by name: the schedule of diffusers, its settings that differ, and its evaluations for n steps as (a, b) of
#: a n + b. Of our own, ``ddpm`` and ``ddim`` are not listed.
SAMPLERS: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "euler": ("EulerDiscreteScheduler", {}, (1, 0)),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", {}, (1, 0)),
    "heun": ("HeunDiscreteScheduler", {"use_karras_sigmas": True}, (2, -1)),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}, (1, 0)),
    "dpm++-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, (1, 0)),
    "unipc": ("UniPCMultistepScheduler", {}, (1, 0)),
}  # fmt: skip


#: Samplers whose step is not written for every kind of prediction.
_NOT_FOR = {"euler-ancestral": ("sample",)}


def check_prediction(sampler: str, prediction_type: str) -> None:
    """Refuse a sampler that cannot step a network of that kind of prediction."""
    if prediction_type in _NOT_FOR.get(sampler, ()):
        raise InputError(
            f"sampler = {sampler!r} cannot step a network that predicts {prediction_type!r}; use euler, dpm++ or ddpm"
        )


def steps_for(sampler: str, evaluations: int) -> int:
    """Return how many steps of a named sampler take so many evaluations of the network.

    Raises:
        InputError: no whole number of steps takes that many.
    """
    a, b = SAMPLERS[sampler][2]
    steps, left = divmod(evaluations - b, a)
    if left or steps < 1:
        raise InputError(
            f"{evaluations} evaluations: {sampler} takes {a} n {b:+d} for n steps; give {a * max(steps, 1) + b} or "
            f"{a * (max(steps, 1) + 1) + b}"
        )
    return steps


def stepped(unet: UNet2DModel, scheduler: Any, sampler: str, told: Told | None = None) -> SteppedPipeline:
    """Return a network in the loop of a named sampler with the betas and the prediction of its schedule.

    ``told`` is the class of each image, of a network that is told one.

    Raises:
        InputError: a network that learned a variance, a kind of prediction or a schedule that the sampler refuses.
    """
    import diffusers

    name, settings, _ = SAMPLERS[sampler]
    if unet.config.out_channels != unet.config.in_channels:
        raise InputError(f"sampler = {sampler!r} takes no learned variance; use ddpm")
    check_prediction(sampler, scheduler.config.prediction_type)
    kind = getattr(diffusers, name)
    taken = inspect.signature(kind.__init__).parameters
    config = {k: v for k, v in scheduler.config.items() if k in taken and k != "timestep_spacing"}
    # A step that ends at the image itself: alpha_bar of the last time is far from 1 for few evaluations.
    spacing = {"timestep_spacing": "trailing"} if "timestep_spacing" in taken else {}
    try:
        with warnings.catch_warnings():
            # diffusers hands tensors to NumPy in a way that NumPy 2 is about to give up
            warnings.simplefilter("ignore", DeprecationWarning)
            return SteppedPipeline(unet, kind.from_config({**config, **spacing, **settings}), told)
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"sampler = {sampler!r}: {name} refuses this model's schedule ({first_line(error)})") from None


def check_steps(scheduler: Any, steps: int) -> None:
    """Refuse a schedule whose averaged slopes do not carry over its first step, or whose noise is lost in rounding.

    A step of averaged slopes from sigma to sigma' errs by the difference of its two predictions of the image, which is
    of order one, times sigma / (2 sigma'), and what it leaves is noise of size sigma'.

    Raises:
        InputError: the first of ``steps`` errs by more than ``_STEEPEST`` of that noise, or an ancestral step takes the
            root of a difference that float32 rounds below zero; the message names the remedy.
    """
    kind = type(scheduler).__name__
    if bad := _lost_step(scheduler, steps):
        near = sorted(range(max(1, steps - 5), steps + 6), key=lambda n: abs(n - steps))
        other = next((n for n in near if not _lost_step(scheduler, n)), None)
        remedy = "take another schedule" if other is None else f"give {other} steps, or take another schedule"
        raise InputError(
            f"step {bad[0]} of {steps} of {kind} goes from sigma {bad[1]:.3g} to {bad[2]:.3g}, where float32 rounds "
            f"the square of its part without noise below zero: {remedy}"
        )
    if kind not in _AVERAGED:
        return
    sigmas = [float(s) for s in _with_steps(scheduler, steps).sigmas]
    second = next((s for s in sigmas if s < sigmas[0]), sigmas[0])
    if sigmas[0] > 2 * _STEEPEST * second**2:
        closer = "give more steps, or "
        if kind == "HeunDiscreteScheduler" and not scheduler.config.get("use_karras_sigmas"):
            closer = "set use_karras_sigmas to true in scheduler_config.json, or "
        raise InputError(
            f"the first of {steps} steps of {kind} goes from sigma {sigmas[0]:.3g} to {second:.3g}, and the average of "
            f"two slopes does not hold over it: {closer}take DPMSolverMultistepScheduler or EulerDiscreteScheduler"
        )


def _with_steps(scheduler: Any, steps: int) -> Any:
    """Return a copy with so many steps; multistep methods keep what they have seen."""
    scheduler = copy.deepcopy(scheduler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as above
        scheduler.set_timesteps(steps)
    return scheduler


def _lost_step(scheduler: Any, steps: int) -> tuple[int, float, float] | None:
    """Return the first ancestral step whose part without noise is no number in float32: its place and both sigmas."""
    if type(scheduler).__name__ not in _ANCESTRAL:
        return None
    for k, (start, end) in enumerate(pairwise(_with_steps(scheduler, steps).sigmas)):
        # One at a time, as the scheduler itself computes them: here its rounding is the point.
        up = (end**2 * (start**2 - end**2) / start**2) ** 0.5
        if torch.isnan((end**2 - up**2) ** 0.5):
            return k + 1, float(start), float(end)
    return None


def why_not(schedule: str) -> str:
    """Return why a schedule of that name does not step a DDPM's network; empty where it does."""
    return "" if schedule in STEPPED else _REASONS.get(schedule, "is not known to step the network of a DDPM")


@dataclass
class SteppedPipeline:
    """The loop of diffusers' unconditional pipelines, for every schedule of :data:`STEPPED`.

    Args:
        unet: in evaluation mode.
        scheduler: of diffusers.
        told: the class of each image, of a network that is told one.
    """

    unet: UNet2DModel
    scheduler: Any
    told: Told | None = None

    @torch.no_grad()
    def __call__(
        self, *, batch_size: int, generator: Any, num_inference_steps: int, output_type: str = "np", first: int = 0
    ) -> SimpleNamespace:
        """Images in [0, 1] from number ``first`` on: ``images`` is float32 (batch_size, height, width, channels)."""
        check_steps(self.scheduler, num_inference_steps)
        scheduler = _with_steps(self.scheduler, num_inference_steps)
        shape = (batch_size, *shape_of(self.unet))
        device = self.unet.device
        x = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32) * scheduler.init_noise_sigma
        takes = inspect.signature(scheduler.step).parameters
        options = {"generator": generator} if "generator" in takes else {}
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(x, t)
            output = self.unet(scaled, t).sample if self.told is None else self.told.output(self.unet, scaled, t, first)
            x = scheduler.step(output, t, x, **options).prev_sample
        return SimpleNamespace(images=(x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy())
