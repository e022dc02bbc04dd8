"""Sampling of a diffusion model with the noise of any source, at every draw.

diffusers' DDPM step draws its own noise; ours takes it as an argument and is tested against theirs on
identical noise. Draw 0 of an image's stream is its first latent, draw i + 1 the noise after network
evaluation i; the last step adds none (unless the schedule says ``fixed_large``).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.context import RunContext, running
from voltaspin.core.errors import InputError, NoiseExhaustedError, NoiseStoppedError
from voltaspin.core.result import Array, Result, Unit
from voltaspin.diffusion.backend import bf16_is_faster, keep_freed_memory
from voltaspin.diffusion.classes import Told
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.soundness import check_output, first_line
from voltaspin.noise import NoiseSource


class Samples(Result):
    """Generated images and the record of their making.

    Args:
        images: uint8 (n, channels, h, w).
        ids: the noise stream of each image.
        steps: network evaluations per image.
        draws: Gaussian numbers per image, the first latent included.
        seconds: wall time; ``noise_seconds`` of it in the noise source.
        noise: the source's provenance, JSON-able.
        precision: of the network, ``bf16`` or ``float32``.
        unaddressed: draws per batch that a pipeline made for no image in particular, so that an image depends on the
            batch it was made in; 0 for our own sampler.
    """

    KIND: ClassVar[str] = "samples"
    images: Array
    ids: tuple[int, ...]
    steps: int
    draws: int
    seconds: Annotated[float, Unit("s")]
    noise_seconds: Annotated[float, Unit("s")]
    noise: dict[str, Any] = Field(default_factory=dict)
    precision: str = "float32"
    unaddressed: int = 0


def in_batches(
    make: Callable[[range], NDArray[np.uint8]],
    source: NoiseSource,
    *,
    count: int,
    batch: int,
    first: int,
    record: Callable[[], dict[str, Any]],
    where: Callable[[], str] = lambda: "",
) -> Samples:
    """Make images batch by batch, and keep the finished ones where the noise stops.

    Args:
        make: the pixels of the images of these numbers, uint8 (n, channels, h, w).
        source: of the noise.
        count, batch, first: as in :func:`sample`.
        record: the fields of :class:`Samples` that ``make`` knows.
        where: at which draw the work stands.

    Raises:
        InputError: a count or a batch below 1.
        NoiseStoppedError: ``finished`` holds the batches before, or None.
    """
    for name, value in (("count", count), ("batch", batch)):
        if value < 1:
            raise InputError(f"{name}={value}: give at least 1 image")
    keep_freed_memory()
    pixels: list[NDArray[np.uint8]] = []
    started = time.monotonic()

    def finished() -> Samples:
        images = np.concatenate(pixels)
        return Samples(
            images=images, ids=tuple(range(first, first + len(images))), seconds=time.monotonic() - started,
            noise=source.provenance.to_json(), **record(),
        )  # fmt: skip

    for start in range(0, count, batch):
        images = range(first + start, first + min(start + batch, count))
        try:
            pixels.append(make(images))
        except NoiseStoppedError as error:
            before = f"; {start} images before them are finished" if start else ""
            stopped = type(error)(
                f"{error}. The sampling stopped at images {images[0]} to {images[-1]}{where()}{before}"
            )
            stopped.finished = finished() if pixels else None
            raise stopped from error
    return finished()


def time_steps(scheduler: DDPMScheduler, steps: int) -> list[int]:
    """Return the descending time steps of ``steps`` network evaluations, as diffusers spaces them."""
    total = scheduler.config.num_train_timesteps
    if not 1 <= steps <= total:
        raise InputError(f"{steps} sampling steps: give 1 to {total}, the number of steps of the schedule")
    try:
        scheduler.set_timesteps(steps)
    except ValueError as error:
        raise InputError(f"{steps} sampling steps: the schedule refuses them ({first_line(error)})") from None
    times = [int(t) for t in scheduler.timesteps]
    falling = all(before > after for before, after in itertools.pairwise(times))
    if len(times) != steps or not falling or not 0 <= times[-1] <= times[0] < total:
        raise InputError(
            f"{steps} sampling steps: the schedule spaces them from t = {times[0]} to {times[-1]}, and they must fall "
            f"inside of 0 to {total - 1}; check steps_offset and timestep_spacing in scheduler_config.json"
        )
    return times


def predict_x0(
    output: torch.Tensor, x: torch.Tensor, alpha_bar: float, scheduler: DDPMScheduler
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the clean image (clipped as the schedule asks) and noise that a network output stands for at ``x``."""
    signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        x0, epsilon = (x - noise * output) / signal, output
    elif kind == "v_prediction":
        x0, epsilon = signal * x - noise * output, signal * output + noise * x
    else:
        x0, epsilon = output, (x - signal * output) / noise
    if scheduler.config.clip_sample:
        limit = scheduler.config.clip_sample_range
        x0 = x0.clamp(-limit, limit)
    return x0, epsilon


def ddpm_step(
    output: torch.Tensor,
    x: torch.Tensor,
    z: torch.Tensor | None,
    t: int,
    t_prev: int,
    scheduler: DDPMScheduler,
    arithmetic: float = 0.0,
) -> torch.Tensor:
    """One ancestral step x_t -> x_prev; Ho et al. 2020, eq. 7, for any spacing of the steps.

    Args:
        output: the network's at (x, t); float32 (batch, channels, h, w), like ``x`` and ``z``.
        z: standard normals, or None at a step that adds no noise (:func:`step_adds_noise`).
        arithmetic: variance of x_prev that comes from the network's own noise and is taken off the step's, as
            far as that reaches; :func:`voltaspin.diffusion.arithmetic.variance_per_step` measures it.
    """
    now, before = _alpha_bar(scheduler, t), _alpha_bar(scheduler, t_prev)
    ratio = now / before
    x0, _ = predict_x0(output, x, now, scheduler)
    mean = (before**0.5 * (1 - ratio) / (1 - now)) * x0 + (ratio**0.5 * (1 - before) / (1 - now)) * x
    if z is None:
        return mean
    variance = 1 - ratio
    if scheduler.config.variance_type == "fixed_small":
        variance *= (1 - before) / (1 - now)
    return mean + max(variance - arithmetic, 0.0) ** 0.5 * z


def ddim_step(
    output: torch.Tensor,
    x: torch.Tensor,
    z: torch.Tensor | None,
    t: int,
    t_prev: int,
    scheduler: DDPMScheduler,
    eta: float,
) -> torch.Tensor:
    """One DDIM step; Song et al. 2021, eq. 12. ``eta`` scales the noise, 0 needs no ``z``."""
    now, before = _alpha_bar(scheduler, t), _alpha_bar(scheduler, t_prev)
    sigma = eta * ((1 - before) / (1 - now) * (1 - now / before)) ** 0.5
    x0, epsilon = predict_x0(output, x, now, scheduler)
    direction = max(0.0, 1 - before - sigma**2) ** 0.5 * epsilon
    stepped = before**0.5 * x0 + direction
    return stepped if z is None else stepped + sigma * z


def _renoised(x: torch.Tensor, z: torch.Tensor, t: int, later: int, scheduler: DDPMScheduler) -> torch.Tensor:
    """The image at a noisier time: forward diffusion from t; T. Karras et al., NeurIPS 2022 (churn)."""
    ratio = _alpha_bar(scheduler, later) / _alpha_bar(scheduler, t)
    return ratio**0.5 * x + (1 - ratio) ** 0.5 * z


def _alpha_bar(scheduler: DDPMScheduler, t: int) -> float:
    return float(scheduler.alphas_cumprod[t]) if t >= 0 else 1.0


def step_adds_noise(scheduler: DDPMScheduler, t: int, t_prev: int, *, sampler: str, eta: float) -> bool:
    """Return whether the step ``t`` to ``t_prev`` draws; DDPM's last one only with ``fixed_large``, never at t = 0."""
    if sampler == "ddim":
        return eta > 0 and t_prev >= 0
    return t > 0 and (t_prev >= 0 or scheduler.config.variance_type == "fixed_large")


def drawing_steps(
    pipeline: Pipeline, *, steps: int, sampler: Literal["ddpm", "ddim"], eta: float = 0.0, churn: int | None = None
) -> list[bool]:
    """Return which steps draw; the arguments are those of :func:`sample`.

    Raises:
        InputError: churn of more steps than there are, or together with the noise of the sampler.
    """
    pairs = itertools.pairwise([*time_steps(pipeline.scheduler, steps), -1])
    if churn is None:
        return [step_adds_noise(pipeline.scheduler, t, before, sampler=sampler, eta=eta) for t, before in pairs]
    if sampler != "ddim" or eta:
        raise InputError(f"churn = {churn} is of sampler = 'ddim' without eta, which draws nothing else; leave one out")
    if not 0 <= churn < steps:
        raise InputError(f"churn = {churn}: give 0 to {steps - 1}, the steps that have one before them")
    # The first step has no noisier one to go back to.
    chosen = {1 + (2 * k + 1) * (steps - 1) // (2 * churn) for k in range(churn)}
    return [i in chosen for i in range(steps)]


def normals_per_image(
    pipeline: Pipeline, *, steps: int, sampler: Literal["ddpm", "ddim"], eta: float = 0.0, churn: int | None = None
) -> int:
    """Return the number of Gaussian numbers of one image: the first latent, then one per pixel for each noisy step."""
    drawing = drawing_steps(pipeline, steps=steps, sampler=sampler, eta=eta, churn=churn)
    return (1 + sum(drawing)) * int(np.prod(pipeline.image_shape))


@torch.no_grad()
def sample(
    pipeline: Pipeline,
    source: NoiseSource,
    *,
    count: int,
    steps: int = 50,
    batch: int = 64,
    first: int = 0,
    sampler: Literal["ddpm", "ddim"] = "ddpm",
    eta: float = 0.0,
    churn: int | None = None,
    precision: Literal["auto", "bf16", "float32"] = "float32",
    arithmetic: Sequence[float] | None = None,
    rows: int | None = None,
    told: Told | None = None,
    observe: Callable[[int, torch.Tensor], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """Generate images whose every Gaussian number comes from ``source``.

    Args:
        pipeline: from :func:`load_pipeline`.
        source: image i draws from stream ``first + i``, so its noise is the same in any batch; a sequential
            source hands out its numbers in the order of the work instead.
        count, steps: images, and network evaluations for each.
        batch: images at a time; changes the pixels by float rounding only.
        sampler: ``ddpm`` (ancestral, noise at every step) or ``ddim`` (``eta`` 0: only the first latent).
        churn: of ``ddim`` without ``eta``, so many steps, evenly spread, begin with fresh noise that takes the image
            back to the time of the step before, and go from there.
        precision: of the network; the sampler's state is float32 always.
        arithmetic: for a network in noisy arrays, the variance that its noise adds at each step, which is taken
            off sigma_t^2 (``ddpm`` only); see :mod:`voltaspin.diffusion.arithmetic`.
        rows: the network sees exactly so many images at once, each at the place of its number, so that the pixels do
            not depend on ``batch``, ``first`` or ``count`` (:func:`rows_for`); None: it sees the batch.
        told: the class of each image, for a model that is told one; without it, none where the model knows that.
        observe: called as ``observe(t, x)`` with the state of each batch before each evaluation.
        progress: called as ``progress(image_steps_done, image_steps_in_all)``.

    Raises:
        InputError: a count, step or batch number that makes no sense.
        NoiseExhaustedError: a recorded source with fewer bits than the work needs (checked before it starts), or
            a conditioned one that ran dry on the way.
        NoiseHealthError: a health alarm on the way. This error and the last say at which images the work stopped;
            their ``finished`` holds the Samples of the batches that were complete, or None.
    """
    if not 0 <= eta <= 1:
        raise InputError(f"eta={eta}: give 0 (deterministic) to 1 (as noisy as DDPM)")
    if arithmetic is not None and (sampler != "ddpm" or len(arithmetic) != steps or min(arithmetic) < 0):
        raise InputError(
            f"arithmetic holds {len(arithmetic)} variances for {steps} steps of {sampler}; give one that is not "
            "negative for each step of ddpm, as variance_per_step measures them"
        )
    scheduler = pipeline.scheduler
    if told is None:
        told = Told.of(pipeline.classes, None, None)
    times = time_steps(scheduler, steps)
    drawing = drawing_steps(pipeline, steps=steps, sampler=sampler, eta=eta, churn=churn)
    per_image = (1 + sum(drawing)) * int(np.prod(pipeline.image_shape))
    check_bits(source, images=count, per_image=per_image, steps=steps)
    device = pipeline.unet.device
    bf16 = precision == "bf16" or (precision == "auto" and bf16_is_faster(device.type))
    context, in_noise = RunContext(images=()), 0.0

    def draw() -> torch.Tensor:
        nonlocal in_noise
        begin = time.monotonic()
        shape = (len(context.images), *pipeline.image_shape)
        z = source.normal(shape, streams=context.images, step=context.step if source.addressable else None)
        in_noise += time.monotonic() - begin
        return torch.from_numpy(z).to(device)

    def make(images: range) -> NDArray[np.uint8]:
        nonlocal context
        context = RunContext(images=tuple(images))
        x = draw()
        for i, (t, t_prev) in enumerate(itertools.pairwise([*times, -1])):
            if churn is not None and drawing[i]:
                x, t = _renoised(x, draw(), t, times[i - 1], scheduler), times[i - 1]
            if observe is not None:
                observe(t, x)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16), running(context):
                output = _evaluated(pipeline.unet, x, t, images[0], rows, told)
            check_output(output, f"step {i + 1} of {steps} (t = {t}) of images {images[0]} to {images[-1]}")
            context = context.at_step(i + 1)
            z = draw() if drawing[i] and churn is None else None
            if sampler == "ddpm":
                x = ddpm_step(output.float(), x, z, t, t_prev, scheduler, arithmetic[i] if arithmetic else 0.0)
            else:
                x = ddim_step(output.float(), x, z, t, t_prev, scheduler, eta)
            if progress is not None:
                progress((images[0] - first) * steps + len(images) * (i + 1), count * steps)
        return to_uint8(x)

    def record() -> dict[str, Any]:
        used = "bf16" if bf16 else "float32"
        return {"steps": steps, "draws": per_image, "noise_seconds": in_noise, "precision": used}

    return in_batches(
        make, source, count=count, batch=batch, first=first, record=record,
        where=lambda: f", draw {context.step} of each",
    )  # fmt: skip


def check_bits(source: NoiseSource, *, images: int, per_image: int, steps: int) -> None:
    """Raise NoiseExhaustedError where a source has fewer bits than so many images need."""
    left, each = source.bits_at_most, source.bits_per_normal
    source.expect(images * per_image * each)
    if left is not None and left < images * per_image * each:
        raise NoiseExhaustedError(
            f"{images} images of {steps} steps need {images * per_image * each} bits and {source.name} has {left} "
            f"left; record more, or ask for at most {left // (per_image * each)} images"
        )


def rows_for(shape: tuple[int, int, int]) -> int:
    """Return how many images the network should see at once, so that the pixels depend on no split of a run.

    Libraries choose their kernels by the number of rows, and other kernels round differently. Four small images at
    once cost 8 % more than 64 (measured on one core); a large one gains nothing from company.
    """
    return 4 if int(np.prod(shape)) <= 3 * 32 * 32 else 1


def _evaluated(
    unet: UNet2DModel, x: torch.Tensor, t: int, first: int, rows: int | None, told: Told | None
) -> torch.Tensor:
    """The network's output for images ``first`` onwards, in pieces of ``rows`` that begin at multiples of it."""

    def output(x: torch.Tensor, first: int) -> torch.Tensor:
        return unet(x, t).sample if told is None else told.output(unet, x, t, first)

    if rows is None:
        return output(x, first)
    found, at = [], 0
    while at < len(x):
        place = (first + at) % rows
        n = min(rows - place, len(x) - at)
        piece = x[at : at + n]
        if n < rows:
            piece = torch.zeros(rows, *x.shape[1:], dtype=x.dtype, device=x.device)
            piece[place : place + n] = x[at : at + n]
        found.append(output(piece, first + at - place)[place : place + n])
        at += n
    return torch.cat(found)


def to_uint8(x: torch.Tensor) -> NDArray[np.uint8]:
    """Convert [-1, 1] to grey levels, rounded as diffusers rounds them."""
    scaled = ((x / 2 + 0.5).clamp(0, 1) * 255).round()
    return np.asarray(scaled.to(torch.uint8).cpu().numpy())
