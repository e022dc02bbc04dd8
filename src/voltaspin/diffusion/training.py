"""Training of a DDPM (Ho et al. 2020) whose forward noise comes from a NoiseSource.

The model, the schedule and the moving average are diffusers'; the source of the noise and the loop are ours
(:mod:`voltaspin.diffusion.loop`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.context import RunContext
from voltaspin.core.errors import NoiseExhaustedError, NoReplayError
from voltaspin.diffusion import loop
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.loop import LoopSpec, TrainResult
from voltaspin.noise import NoiseSource

#: First stream of training examples: far from the image numbers that sampling draws from, so that no model has
#: seen the latents that it is later given.
FIRST_STREAM = 2**60
BACKGROUND = 0.2  #: share of exactly black pixels from which a set of images has a black background


class TrainSpec(LoopSpec):
    """Everything that decides the weights of a training run, beside the images and the noise source."""

    KIND: ClassVar[str] = "train"
    VERSION: ClassVar[int] = 2
    # Of a recorded source the hash is compared. A run that goes on keeps its recorded margin: version 0.1.0 gave one to
    # every set of images.
    FREE: ClassVar[frozenset[str]] = LoopSpec.FREE | {"noise", "saturation_margin"}

    noise: str = "software"
    num_train_timesteps: int = Field(default=1000, gt=1)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "squaredcos_cap_v2"
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    # Of sets with a black background; train() takes 0 for others.
    saturation_margin: float = Field(default=0.05, ge=0, lt=1)


Spec = TypeVar("Spec", bound=TrainSpec)


def make_model(spec: TrainSpec, *, channels: int, size: int) -> UNet2DModel:
    """The UNet of a specification with weights from its seed; raises InputError for a size it cannot halve."""
    return loop.make_unet(spec, inputs=channels, outputs=channels, size=size)


def make_scheduler(spec: TrainSpec) -> DDPMScheduler:
    return DDPMScheduler(
        num_train_timesteps=spec.num_train_timesteps,
        beta_schedule=spec.beta_schedule,
        prediction_type=spec.prediction_type,
        timestep_spacing="trailing",
        variance_type="fixed_small",
        clip_sample_range=1 + spec.saturation_margin,
    )


def encode(images: NDArray[np.uint8], *, margin: float) -> NDArray[np.float32]:
    """Levels as the network sees them: [-1, 1], but black and white pixels lie ``margin`` further out.

    Every decoder clamps to [-1, 1], so what the last step leaves of the noise on a black background (about 1 %)
    is clamped to black as well, instead of showing as a faint grain that no real image has. The margin is for images
    with such a background (:func:`has_black_background`). In colour a pixel is black or white if all its channels are:
    a saturated colour stays where it is.

    Args:
        images: uint8 (n, channels, h, w), or grey levels of any shape with fewer dimensions.
        margin: how far black and white lie beyond -1 and 1.
    """
    x = images.astype(np.float32) / 127.5 - 1
    for level, outward in ((0, -margin), (255, margin)):
        there = images == level
        if images.ndim == 4:
            there = np.broadcast_to(there.all(axis=1, keepdims=True), images.shape)
        x[there] += outward
    return x


def has_black_background(images: NDArray[np.uint8]) -> bool:
    """Return whether at least a fifth of all pixels of uint8 (n, channels, h, w) are exactly black.

    Half the pixels of Fashion-MNIST are and four fifths of MNIST, but few of photographs, which have nothing to gain
    from the margin of :func:`encode`.
    """
    black = sum(int((part == 0).all(axis=1).sum()) for part in np.array_split(images, max(1, len(images) // 1000)))
    return black >= BACKGROUND * (images.size / images.shape[1])


class NoisePrediction:
    """The objective of a Gaussian diffusion: see :func:`diffusion_loss`.

    Args:
        spec: resolved.
        source: of the noise; stream ``FIRST_STREAM + step * batch + slot`` belongs to one training example.
        say: told that a run goes on with new numbers; without it, a source that cannot go back is refused.
    """

    EXPORTS: ClassVar[tuple[str, ...]] = ("model_index.json", "scheduler/scheduler_config.json", *loop.NETWORK)

    def __init__(self, spec: TrainSpec, source: NoiseSource, say: Callable[[str], None] | None = None) -> None:
        self.say = say
        self.spec, self.source, self.scheduler = spec, source, make_scheduler(spec)
        self.alpha_bar = self.scheduler.alphas_cumprod

    def network(self, *, channels: int, size: int) -> UNet2DModel:
        return make_model(self.spec, channels=channels, size=size)

    def check(self, steps: int, *, channels: int, size: int) -> None:
        source = self.source
        need = steps * self.spec.batch * channels * size * size * source.bits_per_normal
        source.expect(need)
        if source.bits_left is not None and source.bits_left < need:
            raise NoiseExhaustedError(
                f"{steps} training steps need {need} bits and {source.name} has {source.bits_left} left; "
                f"record more, or train at most {source.bits_left // (need // steps)} steps"
            )

    def loss(self, model: torch.nn.Module, images: NDArray[np.uint8], step: int, device: torch.device) -> torch.Tensor:
        spec = self.spec
        x0 = torch.from_numpy(encode(images, margin=spec.saturation_margin)).to(device)
        context = RunContext(images=tuple(FIRST_STREAM + step * spec.batch + slot for slot in range(spec.batch)))
        noise = torch.from_numpy(
            self.source.normal(
                tuple(x0.shape), streams=context.images, step=context.step if self.source.addressable else None
            )
        ).to(device)
        t = torch.from_numpy(loop.timesteps(spec, step, spec.num_train_timesteps)).to(device)
        return diffusion_loss(model, x0, noise, t, self.alpha_bar.to(device), spec.prediction_type)

    def state(self) -> dict[str, Any]:
        return {"noise": {"name": self.source.name, "state": self.source.state_dict()}}

    def save(self, folder: Path) -> None:
        """Nothing beside ``state.json``."""

    def load(self, folder: Path, record: dict[str, Any]) -> None:
        try:
            self.source.load_state_dict(record["noise"]["state"])
        except NoReplayError:
            if self.say is None:
                raise
            self.say(f"{self.source.name} cannot go back: the steps that are left get new numbers")

    def export(self, folder: Path, model: UNet2DModel) -> None:
        DDPMPipeline(unet=model, scheduler=self.scheduler).save_pretrained(folder)


def train(
    images: ImageSet,
    source: NoiseSource,
    out: Path | str,
    *,
    spec: TrainSpec,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train a diffusion model and leave it in ``out`` as a diffusers pipeline folder.

    Args:
        images: uint8 (n, channels, size, size); see :func:`encode` for their scale.
        source: where the forward process gets its noise. Stream ``FIRST_STREAM + step * batch + slot`` of an
            addressable source belongs to one training example, so no two share numbers, and none shares them with
            sampling. A memory therefore starts every example from a reset.
        out: output folder; must be empty or new unless ``resume`` or ``force``. It is locked meanwhile.
        spec: the configuration; ``precision="auto"`` is resolved here and recorded, and so is a ``saturation_margin``
            of 0 for images without a black background.
        resume: continue from the last whole checkpoint in ``out``, which must be of the same configuration, or
            from the start where the run was stopped before its first.
        force: begin in a folder that is not empty; the files of a training that it holds are removed, others stay.
        progress: called as ``progress(step, steps, loss)`` after each step.
        say: told where a run that goes on gets new numbers, because its source cannot go back; None refuses that.

    Returns:
        A :class:`TrainResult`; ``finished`` is False if a signal stopped the run (its checkpoint is saved).

    Raises:
        InputError: ``out`` holds another run, or nothing to resume; images that do not fit the model.
        NoiseStoppedError: an alarm, or a source that ended; the steps before it are saved.
        OSError: a write failed (full disk); the last checkpoint stays whole.
    """
    return train_objective(
        NoisePrediction, images, out, spec=spec, make=lambda resolved: NoisePrediction(resolved, source, say),
        resume=resume, force=force, progress=progress,
    )  # fmt: skip


def train_objective(
    kind: type[loop.Objective],
    images: ImageSet,
    out: Path | str,
    *,
    spec: Spec,
    make: Callable[[Spec], loop.Objective],
    resume: bool,
    force: bool,
    progress: Callable[[int, int, float], None] | None,
) -> TrainResult:
    """Train any objective of a Gaussian schedule; see :func:`train` for what is not listed.

    Args:
        kind: of the objective, which says what files its model has.
        make: the objective of the specification that is trained with, in which nothing is left to decide.
    """
    if not has_black_background(images.images):
        spec = spec.model_copy(update={"saturation_margin": 0.0})
    with loop.entered(spec, images, out, objective=kind, resume=resume, force=force) as (resolved, folder):
        return loop.run(make(resolved), images, folder, spec=resolved, progress=progress)


def diffusion_loss(
    model: torch.nn.Module,
    x0: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
    alpha_bar: torch.Tensor,
    prediction_type: str,
) -> torch.Tensor:
    """Mean squared error of the prediction at x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise.

    Args:
        x0, noise: float32 (batch, channels, h, w).
        t: int64 (batch,).
        alpha_bar: float32 (num_train_timesteps,).
    """
    x_t = alpha_bar[t].sqrt()[:, None, None, None] * x0 + (1 - alpha_bar[t]).sqrt()[:, None, None, None] * noise
    return prediction_loss(model, x_t, x0, noise, t, alpha_bar, prediction_type)


def prediction_loss(
    model: torch.nn.Module,
    x_t: torch.Tensor,
    x0: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
    alpha_bar: torch.Tensor,
    prediction_type: str,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared error of the prediction at ``x_t``, however that was made.

    Args:
        x_t, x0, noise: float32 (batch, channels, h, w), with x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise.
        t, alpha_bar: as in :func:`diffusion_loss`.
        weight: of each image, (batch,); 1 where absent.
    """
    signal_scale = alpha_bar[t].sqrt()[:, None, None, None]
    noise_scale = (1 - alpha_bar[t]).sqrt()[:, None, None, None]
    target = {
        "epsilon": lambda: noise,
        "v_prediction": lambda: signal_scale * noise - noise_scale * x0,
        "sample": lambda: x0,
    }[prediction_type]()
    output = model(x_t, t).sample.float()
    if weight is None:
        return torch.nn.functional.mse_loss(output, target)
    return (weight[:, None, None, None] * (output - target) ** 2).mean()
