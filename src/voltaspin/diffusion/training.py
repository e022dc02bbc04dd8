"""Training of a DDPM (Ho et al. 2020) whose forward noise comes from a NoiseSource.

The model, the schedule and the moving average are diffusers'; the source of the noise and the loop are ours
(:mod:`voltaspin.diffusion.loop`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError, NoReplayError
from voltaspin.core.ledger import Ledger
from voltaspin.diffusion import loop
from voltaspin.diffusion.classes import FILE as CLASSES
from voltaspin.diffusion.classes import ClassSpec, Told
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.loop import TrainResult
from voltaspin.diffusion.objective import NETWORK, Batch, Objective
from voltaspin.diffusion.pipelines import Pipeline, load_pipeline, shape_of
from voltaspin.diffusion.ranks import Ranks
from voltaspin.diffusion.recipe import TrainSpec, loss_weights, make_model, make_scheduler, timesteps
from voltaspin.diffusion.sampling import sample
from voltaspin.diffusion.validation import divided, trial_source
from voltaspin.noise import NoiseSource

#: First stream of training examples: far from the image numbers that sampling draws from, so that no model has
#: seen the latents that it is later given.
FIRST_STREAM = 2**60
BACKGROUND = 0.2  #: share of exactly black pixels from which a set of images has a black background


Spec = TypeVar("Spec", bound=TrainSpec)


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
        source: of the noise; stream ``FIRST_STREAM + step * batch + slot`` belongs to one training example, or with
            ``streams = "slot"`` the draw ``step`` of stream ``FIRST_STREAM + slot``.
        say: told that a run goes on with new numbers; without it, a source that cannot go back is refused.
    """

    EXPORTS: ClassVar[tuple[str, ...]] = ("model_index.json", "scheduler/scheduler_config.json", *NETWORK)

    def __init__(self, spec: TrainSpec, source: NoiseSource, say: Callable[[str], None] | None = None) -> None:
        self.say = say
        self.spec, self.source, self.scheduler = spec, source, make_scheduler(spec)
        self.alpha_bar = self.scheduler.alphas_cumprod
        weights = loss_weights(spec, self.alpha_bar.double().numpy())
        self.weights = None if spec.weighting == "uniform" else torch.from_numpy(weights).float()
        self.trial = trial_source(spec.seed)
        if spec.streams == "slot" and not source.addressable:
            raise InputError(
                f"streams = 'slot': {source.name} hands out one sequence, and its cells are never reset between two "
                "examples; leave it out"
            )

    @property
    def ledger(self) -> Ledger:
        return self.source.ledger

    def together(self, count: int) -> None:
        if not self.source.addressable:
            raise InputError(
                f"{self.source.name} hands out one sequence, which {count} processes cannot share; train in one "
                "process, or use noise = 'memory' or 'software'"
            )

    def network(self, *, channels: int, size: int, classes: int = 0) -> UNet2DModel:
        return network_of(self.spec, channels=channels, size=size, classes=classes)

    def check(self, steps: int, *, channels: int, size: int) -> None:
        source = self.source
        need = steps * self.spec.batch * channels * size * size * source.bits_per_normal
        source.expect(need)
        if source.bits_left is not None and source.bits_left < need:
            raise NoiseExhaustedError(
                f"{steps} training steps need {need} bits and {source.name} has {source.bits_left} left; "
                f"record more, or train at most {source.bits_left // (need // steps)} steps"
            )

    def loss(self, model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
        spec = self.spec
        first, at = (0, batch.step) if spec.streams == "slot" else (batch.step * spec.batch, 0)
        noise = self.source.normal(
            batch.images.shape, streams=[FIRST_STREAM + first + int(slot) for slot in batch.slots],
            step=at if self.source.addressable else None,
        )  # fmt: skip
        t = timesteps(spec, batch.step, self.alpha_bar.double().numpy())[batch.slots]
        return self._loss(model, batch.images, noise, t, batch.labels, device)

    def held_out_loss(
        self, model: UNet2DModel, images: NDArray[np.uint8], t: NDArray[np.int64], first: int,
        labels: NDArray[np.int64] | None,
    ) -> torch.Tensor:  # fmt: skip
        noise = self.trial.normal(images.shape, streams=range(first, first + len(images)), step=0)
        return self._loss(model, images, noise, t, labels, model.device)

    def samples(self, model: UNet2DModel, *, count: int, steps: int) -> NDArray[np.uint8]:
        classes = class_spec(model, self.spec)
        pipeline = Pipeline(model, self.scheduler, Path(), "", classes)
        told = None if classes is None else Told(classes, "all")
        return sample(pipeline, self.trial, count=count, steps=steps, first=FIRST_STREAM, told=told).images

    def _loss(
        self, model: torch.nn.Module, images: NDArray[np.uint8], noise: NDArray[np.float32], at: NDArray[np.int64],
        labels: NDArray[np.int64] | None, device: torch.device,
    ) -> torch.Tensor:  # fmt: skip
        x0 = torch.from_numpy(encode(images, margin=self.spec.saturation_margin)).to(device)
        z, t = torch.from_numpy(noise).to(device), torch.from_numpy(at).to(device)
        weight = None if self.weights is None else self.weights.to(device)[t]
        return diffusion_loss(
            model, x0, z, t, self.alpha_bar.to(device), self.spec.prediction_type,
            weight=weight, labels=on_device(labels, device),
        )  # fmt: skip

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
        export_pipeline(folder, model, self.spec, self.scheduler)


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
    held_out: ImageSet | None = None,
) -> TrainResult:
    """Train a diffusion model and leave it in ``out`` as a diffusers pipeline folder.

    In several processes of one launcher (``torchrun``) each takes its own part of every batch and the first one
    writes; what is learned differs from one process by rounding.

    Args:
        images: uint8 (n, channels, size, size); see :func:`encode` for their scale.
        source: where the forward process gets its noise. Stream ``FIRST_STREAM + step * batch + slot`` of an
            addressable source belongs to one training example, so no two share numbers, and none shares them with
            sampling. A memory therefore starts every example from a reset, unless the recipe says
            ``streams = "slot"``.
        out: output folder; must be empty or new unless ``resume`` or ``force``. It is locked meanwhile.
        spec: the configuration; ``precision="auto"`` is resolved here and recorded, and so is a ``saturation_margin``
            of 0 for images without a black background.
        resume: continue from the last whole checkpoint in ``out``, which must be of the same configuration, or
            from the start where the run was stopped before its first.
        force: begin in a folder that is not empty; the files of a training that it holds are removed, others stay.
        progress: called as ``progress(step, steps, loss)`` after each step; :func:`voltaspin.progress` makes one
            that shows itself.
        say: told where a run that goes on gets new numbers, because its source cannot go back; None refuses that.
        held_out: images to validate with, where the recipe asks for that and holds out none of ``images``.

    Returns:
        A :class:`TrainResult`; ``finished`` is False if a signal stopped the run (its checkpoint is saved).

    Raises:
        InputError: ``out`` holds another run, or nothing to resume; images that do not fit the model.
        NoiseStoppedError: an alarm, or a source that ended; the steps before it are saved.
        OSError: a write failed (full disk); the last checkpoint stays whole.
    """
    return train_objective(
        NoisePrediction, images, out, spec=spec, make=lambda resolved: NoisePrediction(resolved, source, say),
        resume=resume, force=force, progress=progress, held_out=held_out,
    )  # fmt: skip


def started(spec: Spec, out: Path) -> Spec:
    """Return the recipe with all that the model decides from which it starts: network, schedule and prediction.

    Raises:
        InputError: no such model, one in the folder of the run, or another schedule or prediction than asked for.
    """
    if not spec.start:
        return spec
    if Path(spec.start).resolve() == out.resolve():
        raise InputError(f"start = {spec.start!r} is the folder of the run; give the run another folder")
    pipeline = load_pipeline(spec.start, told=True)
    config, network = pipeline.scheduler.config, pipeline.unet.config
    usual = type(spec).model_fields
    found = {"prediction_type": config.prediction_type, "num_train_timesteps": config.num_train_timesteps,
             "beta_schedule": config.beta_schedule}  # fmt: skip
    for name, value in found.items():
        if getattr(spec, name) not in (value, usual[name].default):
            raise InputError(
                f"{name} = {getattr(spec, name)!r}, and {spec.start} was trained with {value!r}; leave it out"
            )
    made = spec.model_copy(
        update=found
        | {
            "channels": tuple(network.block_out_channels), "layers_per_block": network.layers_per_block,
            "norm_groups": network.norm_num_groups, "start_sha256": pipeline.sha256,
            "attention": tuple(k for k, kind in enumerate(network.down_block_types) if kind.startswith("Attn")),
        }
    )  # fmt: skip
    if not torch.equal(make_scheduler(made).alphas_cumprod, pipeline.scheduler.alphas_cumprod):
        raise InputError(
            f"{spec.start} has a schedule of other betas than {config.beta_schedule} by default; train anew"
        )
    return made


def network_of(spec: TrainSpec, *, channels: int, size: int, classes: int) -> UNet2DModel:
    """Return the network that a run begins with: new, or that of the model from which it starts."""
    if not spec.start:
        return make_model(spec, channels=channels, size=size, classes=classes)
    pipeline = load_pipeline(spec.start, told=True)
    model, held = pipeline.unet, pipeline.classes.classes if pipeline.classes else 0
    there = shape_of(model)
    if there != (channels, size, size) or held != classes:
        told = f" and {held} classes" if held else ""
        raise InputError(
            f"{spec.start} is of images of {there[2]}x{there[1]} pixels in {there[0]} channel(s){told}, and these are "
            f"{size}x{size} in {channels}{f' and {classes} classes' if classes else ''}; give images that fit, or "
            "leave start out"
        )
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = spec.dropout
    return model


def export_pipeline(folder: Path, model: UNet2DModel, spec: TrainSpec, scheduler: DDPMScheduler) -> None:
    """Leave a model as diffusers loads it, and its classes beside it."""
    DDPMPipeline(unet=model, scheduler=scheduler).save_pretrained(folder)
    if (classes := class_spec(model, spec)) is not None:
        classes.save(folder / CLASSES)


def class_spec(model: UNet2DModel, spec: TrainSpec) -> ClassSpec | None:
    """Return the classes of a model of that recipe; None for one that is told none."""
    if not spec.labels:
        return None
    return ClassSpec(classes=model.config.num_class_embeds - 1, unconditional=spec.label_dropout > 0)


def on_device(labels: NDArray[np.int64] | None, device: torch.device) -> torch.Tensor | None:
    """Return the labels of a batch as a tensor."""
    return None if labels is None else torch.from_numpy(labels).to(device)


def train_objective(
    kind: type[Objective],
    images: ImageSet,
    out: Path | str,
    *,
    spec: Spec,
    make: Callable[[Spec], Objective],
    resume: bool,
    force: bool,
    progress: Callable[[int, int, float], None] | None,
    held_out: ImageSet | None = None,
) -> TrainResult:
    """Train any objective of a Gaussian schedule; see :func:`train` for what is not listed.

    Args:
        kind: of the objective, which says what files its model has.
        make: the objective of the specification that is trained with, in which nothing is left to decide.
    """
    ranks = Ranks.here()
    spec = started(spec, Path(out))
    if not has_black_background(images.images):
        spec = spec.model_copy(update={"saturation_margin": 0.0})
    trained, kept = divided(images, spec, held_out)
    with loop.entered_together(
        spec, trained, out, objective=kind, resume=resume, force=force, ranks=ranks
    ) as (resolved, folder):  # fmt: skip
        objective = make(resolved)
        return loop.run(objective, trained, out, folder, spec=resolved, ranks=ranks, progress=progress, held_out=kept)


def diffusion_loss(
    model: torch.nn.Module,
    x0: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
    alpha_bar: torch.Tensor,
    prediction_type: str,
    weight: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared error of the prediction at x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise.

    Args:
        x0, noise: float32 (batch, channels, h, w).
        t: int64 (batch,).
        alpha_bar: float32 (num_train_timesteps,).
        weight, labels: as in :func:`prediction_loss`.
    """
    x_t = alpha_bar[t].sqrt()[:, None, None, None] * x0 + (1 - alpha_bar[t]).sqrt()[:, None, None, None] * noise
    return prediction_loss(model, x_t, x0, noise, t, alpha_bar, prediction_type, weight, labels)


def prediction_loss(
    model: torch.nn.Module,
    x_t: torch.Tensor,
    x0: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
    alpha_bar: torch.Tensor,
    prediction_type: str,
    weight: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared error of the prediction at ``x_t``, however that was made.

    Args:
        x_t, x0, noise: float32 (batch, channels, h, w), with x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise.
        t, alpha_bar: as in :func:`diffusion_loss`.
        weight: of each image, (batch,); 1 where absent.
        labels: int64 (batch,), of a network that is told the class.
    """
    signal_scale = alpha_bar[t].sqrt()[:, None, None, None]
    noise_scale = (1 - alpha_bar[t]).sqrt()[:, None, None, None]
    target = {
        "epsilon": lambda: noise,
        "v_prediction": lambda: signal_scale * noise - noise_scale * x0,
        "sample": lambda: x0,
    }[prediction_type]()
    output = (model(x_t, t) if labels is None else model(x_t, t, class_labels=labels)).sample.float()
    if weight is None:
        return torch.nn.functional.mse_loss(output, target)
    return (weight[:, None, None, None] * (output - target) ** 2).mean()
