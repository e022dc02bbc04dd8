"""The recipe of a training run: network, prediction, schedule, optimiser and images, as versioned data.

The defaults are the recipe of the shipped model, and :data:`RECIPES` holds others by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from numpy.typing import NDArray
from pydantic import Field, model_validator

from voltaspin.core.errors import InputError, unknown
from voltaspin.core.spec import Spec
from voltaspin.diffusion.backend import bf16_is_faster
from voltaspin.random.streams import Stream, derive_key

Floats = NDArray[np.float64]


class TrainSpec(Spec):
    """Everything that decides the weights of a training run, beside the images and the noise source.

    Args:
        data: name or path of the images, see :func:`voltaspin.diffusion.load_images`.
        seed: of weights, order of the images, times, flips and dropped labels.
        steps: of the optimiser; batch: images of each.
        learning_rate: after ``warmup`` steps, over which it rises; then it falls as ``learning_rate_schedule`` says.
        weight_decay, betas: of AdamW.
        clip: largest norm of the gradient.
        ema_decay: of the moving average of the weights, which is the model that is left.
        channels: of the network, one number for each resolution; each is half of the one before.
        layers_per_block, norm_groups: of the network.
        attention: resolutions with attention, 0 for that of the images; the middle always has it.
        head_channels: of one head of attention; at most 32 where absent.
        dropout: share of the activations that are dropped.
        precision: of the network; ``auto`` decides by the machine.
        accumulate: parts into which a batch is divided, each of which must fit into memory.
        flips: mirror half of the images.
        labels: tell the network the class of each image; label_dropout: share of images whose class is withheld, for
            guidance.
        checkpoint_every: steps between checkpoints.
        noise: the source, in words; num_train_timesteps, beta_schedule, prediction_type: of the schedule.
        weighting: of the squared error; ``min-snr`` bounds the signal-to-noise ratio in it by ``snr_bound``.
        times: ``uniform`` over the steps of the schedule, or ``log-normal`` in the noise over the signal, with mean and
            standard deviation of its logarithm in ``log_sigma``. With ``v_prediction`` that is the training of EDM for
            images of unit variance, whose preconditioned output is v.
        saturation_margin: see :func:`voltaspin.diffusion.training.encode`.
        start: folder of a model that is trained on; start_sha256: of its weights, filled in.
        held_out: images, evenly spread over the set and its classes, that are not trained on but validated with.
        validate_every: steps between two losses of held-out images; 0 for none. Without ``held_out`` they are those of
            the test split.
        sample_every: steps between two grids of samples; 0 for none.
        compile: let torch.compile translate the network; its rounding differs.
        streams: of the noise: one for every ``example``, so that a memory is found as after a reset; or one for every
            ``slot`` of the batch, so that its cells keep the state in which the step before has left them.

    Source: J. Ho et al., NeurIPS 2020 (DDPM); T. Salimans and J. Ho, ICLR 2022 (v); T. Hang et al., ICCV 2023
    (min-SNR); T. Karras et al., NeurIPS 2022 (EDM).
    """

    KIND: ClassVar[str] = "train"
    VERSION: ClassVar[int] = 2
    #: Fields that change no weight. The data, a recorded source and a model to start from are compared by hash: their
    #: path may be written in another way. A run that goes on keeps its recorded margin: version 0.1.0 gave one to every
    #: set of images.
    FREE: ClassVar[frozenset[str]] = frozenset(
        {"checkpoint_every", "data", "noise", "saturation_margin", "start", "validate_every", "sample_every"}
    )

    data: str = "fashion-mnist"
    seed: int = Field(default=0, ge=0)
    steps: int = Field(default=12000, gt=0, le=10**9)
    batch: int = Field(default=64, gt=0, le=10**6)
    learning_rate: float = Field(default=1.5e-3, gt=0, lt=1e3)
    warmup: int = Field(default=250, ge=0)
    weight_decay: float = Field(default=0.01, ge=0, lt=1e3)
    clip: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.9995, gt=0, lt=1)
    channels: tuple[int, ...] = (32, 64, 96)
    layers_per_block: int = Field(default=1, gt=0, le=16)
    norm_groups: int = Field(default=16, gt=0)
    precision: Literal["auto", "bf16", "float32"] = "auto"
    checkpoint_every: int = Field(default=500, gt=0)
    noise: str = "software"
    num_train_timesteps: int = Field(default=1000, gt=1, le=10**5)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "squaredcos_cap_v2"
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    # Of sets with a black background; train() takes 0 for others.
    saturation_margin: float = Field(default=0.05, ge=0, lt=1)
    attention: tuple[int, ...] = ()
    head_channels: int | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    learning_rate_schedule: Literal["cosine", "constant"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.99)
    accumulate: int = Field(default=1, gt=0)
    flips: bool = False
    labels: bool = False
    label_dropout: float = Field(default=0.1, ge=0, lt=1)
    weighting: Literal["uniform", "min-snr"] = "uniform"
    snr_bound: float = Field(default=5.0, gt=0)
    times: Literal["uniform", "log-normal"] = "uniform"
    log_sigma: tuple[float, float] = (-1.2, 1.2)
    start: str = ""
    start_sha256: str = ""
    held_out: int = Field(default=0, ge=0)
    validate_every: int = Field(default=0, ge=0)
    sample_every: int = Field(default=0, ge=0)
    compile: bool = False
    streams: Literal["example", "slot"] = "example"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.channels:
            raise ValueError("channels is empty; give one number for each resolution, such as (32, 64, 96)")
        if min(self.channels) < 1:
            raise ValueError(f"channels = {self.channels}: each is at least 1, such as (32, 64, 96)")
        if wrong := [level for level in self.attention if not 0 <= level < len(self.channels)]:
            raise ValueError(
                f"attention = {self.attention}: resolution {wrong[0]} is none of 0 to {len(self.channels) - 1}, "
                "one for each number of channels"
            )
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate = {self.accumulate} does not divide the batch of {self.batch} into equal parts"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {self.betas} must lie from 0 to below 1, such as (0.9, 0.99)")
        if not self.log_sigma[1] > 0:
            raise ValueError(f"log_sigma = {self.log_sigma}: the standard deviation must be positive, such as 1.2")
        return self

    def to_json(self) -> dict[str, Any]:
        """Leave out the fields that came later where they have their defaults, so that older runs go on."""
        later = {name: type(self).model_fields[name].default for name in _LATER}
        return {k: v for k, v in super().to_json().items() if k not in later or _listed(later[k]) != v}

    def every_field(self) -> dict[str, Any]:
        """Return the data of :meth:`to_json` with every field that a person may set, for a file to be edited."""
        return {k: v for k, v in super().to_json().items() if k != "start_sha256"}

    def resolved(self) -> Self:
        """The same with ``auto`` decided for this machine, so that a resumed run cannot change its mind."""
        if self.precision != "auto":
            return self
        return self.model_copy(
            update={
                "precision": "bf16" if bf16_is_faster("cuda" if torch.cuda.is_available() else "cpu") else "float32"
            }
        )


#: Fields that came after the first runs of schema version 2.
_LATER = (
    "attention", "head_channels", "dropout", "learning_rate_schedule", "betas", "accumulate", "flips", "labels",
    "label_dropout", "weighting", "snr_bound", "times", "log_sigma", "start", "start_sha256",
    "held_out", "validate_every", "sample_every", "compile", "streams",
)  # fmt: skip


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


#: Recipes by name. ``cifar10`` is that of Ho et al. 2020 (35.7 million parameters, 800,000 steps of 128 images); the
#: others are this project's, ``cifar10-small`` for a processor without a GPU.
RECIPES: dict[str, TrainSpec] = {
    "fashion-mnist-small": TrainSpec(),
    "cifar10": TrainSpec(
        data="cifar10", steps=800_000, batch=128, learning_rate=2e-4, warmup=5000, weight_decay=0.0,
        learning_rate_schedule="constant", betas=(0.9, 0.999), ema_decay=0.9999, channels=(128, 256, 256, 256),
        layers_per_block=2, norm_groups=32, attention=(1,), head_channels=256, dropout=0.1, flips=True,
        beta_schedule="linear", prediction_type="epsilon", checkpoint_every=5000,
    ),
    "cifar10-small": TrainSpec(
        data="cifar10", steps=40_000, channels=(48, 96, 144), layers_per_block=2, attention=(2,), flips=True,
        learning_rate=1e-3, weighting="min-snr",
    ),
}  # fmt: skip


def recipe(name: str) -> TrainSpec:
    """Return the recipe of that name; raises InputError with the list of names."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


# --- what follows from a recipe ------------------------------------------------------------------------


def make_model(spec: TrainSpec, *, channels: int, size: int, classes: int = 0) -> UNet2DModel:
    """Return the UNet of a recipe with weights from its seed.

    Args:
        spec: the recipe.
        channels, size: of the images.
        classes: that the network is told, beside one for an image without; 0 for none.

    Raises:
        InputError: a size that it cannot halve, or channels that do not divide into ``norm_groups``.
    """
    if any(c <= 0 or c % spec.norm_groups for c in spec.channels):
        fitting = tuple(spec.norm_groups * (k + 2) for k in range(3))
        raise InputError(
            f"channels = {spec.channels} must each be a multiple of norm_groups = {spec.norm_groups}, such as {fitting}"
        )
    halvings = 2 ** (len(spec.channels) - 1)
    if size % halvings:
        raise InputError(
            f"images of {size}x{size} pixels cannot be halved {len(spec.channels) - 1} times; "
            f"resize them to a multiple of {halvings}, or give fewer channels than {spec.channels}"
        )
    levels = range(len(spec.channels))
    down = ["AttnDownBlock2D" if level in spec.attention else "DownBlock2D" for level in levels]
    up = ["AttnUpBlock2D" if level in spec.attention else "UpBlock2D" for level in reversed(levels)]
    with seeded(spec.seed, "weights"):
        return UNet2DModel(
            sample_size=size,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=spec.channels,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            layers_per_block=spec.layers_per_block,
            norm_num_groups=spec.norm_groups,
            attention_head_dim=spec.head_channels or min(32, spec.channels[-1]),
            dropout=spec.dropout,
            num_class_embeds=classes + 1 if classes else None,
        )


@contextmanager
def seeded(seed: int, *path: str | int) -> Iterator[None]:
    """Let PyTorch's own generator begin at a seed and a path of names: for weights and dropped activations."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_key(seed, *path) >> 1)
        yield


def make_scheduler(spec: TrainSpec) -> DDPMScheduler:
    """Return the schedule of a recipe."""
    return DDPMScheduler(
        num_train_timesteps=spec.num_train_timesteps,
        beta_schedule=spec.beta_schedule,
        prediction_type=spec.prediction_type,
        timestep_spacing="trailing",
        variance_type="fixed_small",
        clip_sample_range=1 + spec.saturation_margin,
    )


def learning_rate(spec: TrainSpec, step: int) -> float:
    """Return the rate of a step: a linear warm-up, then a cosine to zero, or a constant."""
    if step < spec.warmup:
        return spec.learning_rate * (step + 1) / spec.warmup
    if spec.learning_rate_schedule == "constant":
        return spec.learning_rate
    done = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    return spec.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def timesteps(spec: TrainSpec, step: int, alpha_bar: Floats) -> NDArray[np.int64]:
    """Return a time step for each image, stratified over their law, which lowers the gradient's variance.

    Args:
        spec: the recipe.
        step: of the optimiser.
        alpha_bar: float64 (times,), falling.
    """
    u = Stream.of(spec.seed, "timesteps").uniforms(2 * spec.batch, start=2 * spec.batch * step)
    return _stratified(spec, u, alpha_bar)


def held_out_timesteps(spec: TrainSpec, count: int, alpha_bar: Floats) -> NDArray[np.int64]:
    """Return the time step of each of ``count`` held-out images, by the same law and always the same: int64."""
    return _stratified(spec, Stream.of(spec.seed, "validation").uniforms(2 * count), alpha_bar)


def _stratified(spec: TrainSpec, u: Floats, alpha_bar: Floats) -> NDArray[np.int64]:
    """Time steps from two uniform numbers for each."""
    count = len(u) // 2
    share = (np.argsort(u[count:]) + u[:count]) / count
    if spec.times == "uniform":
        return (share * len(alpha_bar)).astype(np.int64)
    from scipy.special import ndtri

    mean, std = spec.log_sigma
    log_sigma = 0.5 * (np.log1p(-alpha_bar) - np.log(alpha_bar))
    wanted = mean + std * ndtri(np.clip(share, 1e-12, 1 - 1e-12))
    return np.rint(np.interp(wanted, log_sigma, np.arange(len(alpha_bar)))).astype(np.int64)


def loss_weights(spec: TrainSpec, alpha_bar: Floats) -> Floats:
    """Return the weight of the squared error of the network's output at each time, float64 (times,).

    ``min-snr`` weighs the error of the clean image by min(SNR, bound); of an output of another kind that is its weight
    over the SNR (epsilon) or over SNR + 1 (v).

    Source: T. Hang et al., ICCV 2023.
    """
    if spec.weighting == "uniform":
        return np.ones(len(alpha_bar))
    snr = alpha_bar / (1 - alpha_bar)
    over = {"epsilon": snr, "v_prediction": snr + 1, "sample": np.ones_like(snr)}[spec.prediction_type]
    return np.asarray(np.minimum(snr, spec.snr_bound) / over)
