"""Training of a DDPM (Ho et al. 2020) whose forward noise comes from a NoiseSource.

The model, the schedule and the moving average are diffusers'; what is ours is where the noise comes from
and that a run which was killed continues to the same weights, bit for bit. For that, everything random in
a step is a function of (seed, step): which images, which time steps, and the noise of an addressable source.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.context import RunContext
from voltaspin.diffusion import checkpoints
from voltaspin.diffusion.backend import bf16_is_faster, keep_freed_memory
from voltaspin.diffusion.data import ImageSet
from voltaspin.errors import InputError, NoiseExhaustedError
from voltaspin.noise import NoiseSource
from voltaspin.specs import Spec, environment, read_json, write_json
from voltaspin.streams import Stream, derive_key

#: First stream of training examples: far from the image numbers that sampling draws from, so that no model has
#: seen the latents that it is later given.
FIRST_STREAM = 2**60
_BEFORE_FIRST_CHECKPOINT = {"train.json", "log.jsonl"}  #: all that a run leaves which was stopped early


class TrainSpec(Spec):
    """Everything that decides the weights of a training run, beside the images and the noise source."""

    KIND: ClassVar[str] = "train"
    VERSION: ClassVar[int] = 2

    data: str = "fashion-mnist"
    noise: str = "software"
    seed: int = Field(0, ge=0)
    steps: int = Field(12000, gt=0)
    batch: int = Field(64, gt=0)
    learning_rate: float = Field(1.5e-3, gt=0)
    warmup: int = Field(250, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.9995, gt=0, lt=1)
    channels: tuple[int, ...] = (32, 64, 96)
    layers_per_block: int = Field(1, gt=0)
    norm_groups: int = Field(16, gt=0)
    num_train_timesteps: int = Field(1000, gt=1)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "squaredcos_cap_v2"
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    saturation_margin: float = Field(0.05, ge=0, lt=1)
    precision: Literal["auto", "bf16", "float32"] = "auto"
    checkpoint_every: int = Field(500, gt=0)

    def resolved(self) -> TrainSpec:
        """The same with ``auto`` decided for this machine, so that a resumed run cannot change its mind."""
        if self.precision != "auto":
            return self
        return self.model_copy(
            update={
                "precision": "bf16" if bf16_is_faster("cuda" if torch.cuda.is_available() else "cpu") else "float32"
            }
        )


@dataclass(frozen=True)
class TrainResult:
    """What :func:`train` leaves behind.

    Args:
        folder: a diffusers pipeline folder (moving-average weights) with ``train.json`` and ``log.jsonl``.
        step: optimizer steps done in all.
        finished: False after an interrupt; ``resume=True`` continues.
        loss: mean loss over the last steps of this call, None if there were none.
        seconds: wall time of this call.
    """

    folder: Path
    step: int
    finished: bool
    loss: float | None
    seconds: float


def make_model(spec: TrainSpec, *, channels: int, size: int) -> UNet2DModel:
    """The UNet of a specification with weights from its seed; raises InputError for a size it cannot halve."""
    halvings = 2 ** (len(spec.channels) - 1)
    if size % halvings:
        raise InputError(
            f"images of {size}x{size} pixels cannot be halved {len(spec.channels) - 1} times; "
            f"resize them to a multiple of {halvings}"
        )
    with torch.random.fork_rng():
        torch.manual_seed(derive_key(spec.seed, "weights") >> 1)
        return UNet2DModel(
            sample_size=size,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=spec.channels,
            down_block_types=("DownBlock2D",) * len(spec.channels),
            up_block_types=("UpBlock2D",) * len(spec.channels),
            layers_per_block=spec.layers_per_block,
            norm_num_groups=spec.norm_groups,
            attention_head_dim=min(32, spec.channels[-1]),
        )


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
    """Grey levels as the network sees them: [-1, 1], but black and white lie ``margin`` further out.

    Every decoder clamps to [-1, 1], so what the last step leaves of the noise on a black background (about 1 %)
    is clamped to black as well, instead of showing as a faint grain that no real image has.

    Args:
        images: uint8, any shape.
        margin: how far 0 and 255 lie beyond -1 and 1.
    """
    x = images.astype(np.float32) / 127.5 - 1
    x[images == 0] -= margin
    x[images == 255] += margin
    return x


def train(
    images: ImageSet,
    source: NoiseSource,
    out: Path | str,
    *,
    spec: TrainSpec,
    resume: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainResult:
    """Train a diffusion model and leave it in ``out`` as a diffusers pipeline folder.

    Args:
        images: uint8 (n, channels, size, size); see :func:`encode` for their scale.
        source: where the forward process gets its noise. Stream ``FIRST_STREAM + step * batch + slot`` of an
            addressable source belongs to one training example, so no two share numbers, and none shares them with
            sampling. A memory therefore starts every example from a reset.
        out: output folder; must be empty or new unless ``resume``.
        spec: the configuration; ``precision="auto"`` is resolved here and recorded.
        resume: continue from the last whole checkpoint in ``out``, which must be of the same configuration, or
            from the start where the run was stopped before its first.
        progress: called as ``progress(step, steps, loss)`` after each step.

    Returns:
        A :class:`TrainResult`; ``finished`` is False if SIGINT stopped the run (its checkpoint is saved).

    Raises:
        InputError: ``out`` holds another run, or nothing to resume; images that do not fit the model.
        OSError: a write failed (full disk); the last checkpoint stays whole.
    """
    keep_freed_memory()
    out = Path(out)
    n, channels, height, width = images.images.shape
    if height != width:
        raise InputError(f"images of {images.name} are {width}x{height} pixels; crop or pad them to a square")
    if n < spec.batch:
        raise InputError(f"{images.name} has {n} images, fewer than the batch of {spec.batch}; use a smaller batch")
    checkpoint = checkpoints.latest(out)
    if resume and checkpoint is not None:
        spec = _same_run(spec, read_json(checkpoint / "state.json"), images, out)
    elif resume and not (out / "train.json").is_file():
        raise InputError(f"{out} has no run to resume; start it without --resume")
    elif checkpoint is not None or (out.exists() and {p.name for p in out.iterdir()} - _BEFORE_FIRST_CHECKPOINT):
        raise InputError(f"{out} is not empty; choose another folder, or continue that run with --resume")
    else:  # new, or stopped before its first checkpoint: nothing is lost by beginning again
        spec = spec.resolved()

    from accelerate import Accelerator

    # accelerate keeps its precision for the whole process; autocast here lets two runs in one process differ.
    accelerator = Accelerator(mixed_precision="no")
    model = make_model(spec, channels=channels, size=height)
    scheduler = make_scheduler(spec)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=spec.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=spec.weight_decay,
        foreach=True,
    )
    ema = EMAModel(model.parameters(), decay=spec.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    names = [name for name, _ in model.named_parameters()]
    step = 0 if checkpoint is None else checkpoints.load(checkpoint, model, optimizer, ema, names, source)
    examples = (spec.steps - step) * spec.batch
    if source.bits_left is not None and source.bits_left < (
        need := examples * channels * height * width * source.bits_per_normal
    ):
        raise NoiseExhaustedError(
            f"{spec.steps - step} training steps need {need} bits and {source.name} has {source.bits_left} left; "
            f"record more, or train at most {source.bits_left // (need // (spec.steps - step))} steps"
        )
    if checkpoint is None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "log.jsonl").unlink(missing_ok=True)
        write_json(out / "train.json", spec.to_json() | {"environment": environment(), "data_sha256": images.sha256})
    unwrapped = model
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    ema.to(accelerator.device)
    alpha_bar = scheduler.alphas_cumprod.to(accelerator.device)

    def save() -> None:
        if not (out / checkpoints.checkpoint_name(step)).exists():
            checkpoints.save(out, step, unwrapped, optimizer.optimizer, ema, names, source, spec, images.sha256)
        checkpoints.export(out, unwrapped, scheduler, ema)

    started, losses = time.monotonic(), []
    with _interruptible() as stop, (out / "log.jsonl").open("a", encoding="utf-8") as log:
        while step < spec.steps and not stop.is_set():
            x0 = torch.from_numpy(_batch(images.images, spec, step)).to(accelerator.device)
            context = RunContext(images=tuple(FIRST_STREAM + step * spec.batch + slot for slot in range(spec.batch)))
            noise = torch.from_numpy(
                source.normal(
                    tuple(x0.shape), streams=context.images, step=context.step if source.addressable else None
                )
            ).to(accelerator.device)
            t = torch.from_numpy(_timesteps(spec, step)).to(accelerator.device)
            with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=spec.precision == "bf16"):
                loss = diffusion_loss(model, x0, noise, t, alpha_bar, spec.prediction_type)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(spec, step)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), spec.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            ema.step(unwrapped.parameters())
            step += 1
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise InputError(
                    f"the loss is {losses[-1]} at step {step}: lower learning_rate={spec.learning_rate}, or check "
                    f"the noise source; the last checkpoint in {out} is untouched"
                )
            if progress is not None:
                progress(step, spec.steps, losses[-1])
            if step % 50 == 0 or step == spec.steps:
                recent = float(np.mean(losses[-50:]))
                log.write(json.dumps({"step": step, "loss": recent, "seconds": time.monotonic() - started}) + "\n")
                log.flush()
            if step % spec.checkpoint_every == 0 and step < spec.steps:
                save()
        save()
    return TrainResult(
        folder=out,
        step=step,
        finished=step >= spec.steps,
        loss=float(np.mean(losses[-50:])) if losses else None,
        seconds=time.monotonic() - started,
    )


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
    signal_scale = alpha_bar[t].sqrt()[:, None, None, None]
    noise_scale = (1 - alpha_bar[t]).sqrt()[:, None, None, None]
    x_t = signal_scale * x0 + noise_scale * noise
    target = {
        "epsilon": lambda: noise,
        "v_prediction": lambda: signal_scale * noise - noise_scale * x0,
        "sample": lambda: x0,
    }[prediction_type]()
    return torch.nn.functional.mse_loss(model(x_t, t).sample.float(), target)


def learning_rate(spec: TrainSpec, step: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < spec.warmup:
        return spec.learning_rate * (step + 1) / spec.warmup
    done = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    return spec.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _batch(images: NDArray[np.uint8], spec: TrainSpec, step: int) -> NDArray[np.float32]:
    """The images of one step: each epoch is a permutation of its own, the incomplete last batch is dropped."""
    per_epoch = len(images) // spec.batch
    epoch, slot = divmod(step, per_epoch)
    order = np.random.Generator(np.random.Philox(key=derive_key(spec.seed, "shuffle", epoch))).permutation(len(images))
    chosen = images[np.sort(order[slot * spec.batch : (slot + 1) * spec.batch])]
    return encode(chosen, margin=spec.saturation_margin)


def _timesteps(spec: TrainSpec, step: int) -> NDArray[np.int64]:
    """One time step per image, stratified over the schedule, which lowers the gradient's variance."""
    u = Stream.of(spec.seed, "timesteps").uniforms(2 * spec.batch, start=2 * spec.batch * step)
    strata = np.argsort(u[spec.batch :])
    return ((strata + u[: spec.batch]) / spec.batch * spec.num_train_timesteps).astype(np.int64)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """SIGINT sets the event, so that a step is finished and saved; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = signal.getsignal(signal.SIGINT)

    def on_interrupt(signum: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def _same_run(spec: TrainSpec, record: dict[str, Any], images: ImageSet, out: Path) -> TrainSpec:
    """The specification to go on with: the recorded one, which may only differ in what changes no weight."""
    recorded = TrainSpec.from_json(record["spec"], where=str(out))
    asked = spec.model_copy(update={"precision": recorded.precision if spec.precision == "auto" else spec.precision})
    for field in type(spec).model_fields:
        # The data and a recorded file are compared by hash below: their paths may be written in another way.
        if field not in ("checkpoint_every", "data", "noise") and getattr(asked, field) != getattr(recorded, field):
            raise InputError(
                f"{out} was trained with {field}={getattr(recorded, field)!r}, not {getattr(asked, field)!r}; "
                "resume with the recorded value, or start in another folder"
            )
    if record["data_sha256"] != images.sha256:
        raise InputError(f"{out} was trained on other images than {images.name} holds now; start in another folder")
    if record["threads"] != torch.get_num_threads():
        warnings.warn(
            f"{out} was trained with {record['threads']} threads and goes on with {torch.get_num_threads()}: the "
            "weights will differ in rounding from those of an uninterrupted run; set OMP_NUM_THREADS to get the same",
            stacklevel=3,
        )
    return recorded
