"""The training loop that every kind of diffusion shares.

A run that was killed continues to the same weights, bit for bit. For that, everything random in a step is a function
of (seed, step): which images, which time steps, and the numbers of an addressable source. An objective keeps the rest
in the checkpoint. An :class:`Objective` defines the loss and the source of its randomness.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray

from voltaspin.core.capacity import check_memory, memory_errors
from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.core.files import read_object
from voltaspin.core.folders import RECORD, OutputFolder
from voltaspin.core.result import Result, Unit
from voltaspin.core.spec import environment
from voltaspin.core.stopping import Stopped, on_signal
from voltaspin.diffusion import checkpoints
from voltaspin.diffusion.backend import keep_freed_memory, outputs_per_image
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.recipe import TrainSpec, learning_rate
from voltaspin.random.streams import Stream, derive_key

_BEFORE_FIRST_CHECKPOINT = {"train.json", "log.jsonl", RECORD}  #: all that a run leaves which was stopped early
NETWORK = ("unet/config.json", "unet/diffusion_pytorch_model.safetensors")  #: files of an exported network


S = TypeVar("S", bound=TrainSpec)


class TrainResult(Result):
    """The outcome of a training run.

    Args:
        folder: the model (moving-average weights) with ``train.json`` and ``log.jsonl``.
        step: optimizer steps done in all.
        finished: False after an interrupt; ``resume=True`` continues.
        loss: mean loss over the last steps of this call, None if there were none.
        seconds: wall time of this call.
        signum: of the signal that stopped the run, if one did.
        input: what a recorded file was read as, where its bits were the noise.
    """

    KIND: ClassVar[str] = "train-result"
    folder: Path
    step: int
    finished: bool
    loss: float | None
    seconds: Annotated[float, Unit("s")]
    signum: int | None = None
    input: dict[str, Any] | None = None

    def __str__(self) -> str:
        loss = "nothing left to do" if self.loss is None else f"mean loss of the last 50 {self.loss:.4f}"
        return f"{self.folder}: {self.step} steps, {loss}, {self.seconds:.0f} s"


@dataclass(frozen=True)
class Batch:
    """The images of one step of the optimiser, or a part of them.

    Args:
        images: uint8 (n, channels, size, size), mirrored where the recipe says so.
        step: of the optimiser.
        slots: int64 (n,), the place of each in the whole batch, which names its random numbers.
        labels: int64 (n,), the class of each, and one more than the last class where it is withheld; None without.
    """

    images: NDArray[np.uint8]
    step: int
    slots: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls, images: NDArray[np.uint8], spec: TrainSpec, step: int, labels: NDArray[np.int64] | None = None
    ) -> Batch:
        """Return the batch of a step: each epoch is a permutation of its own, the incomplete last batch is dropped.

        Args:
            images: uint8 (all, channels, size, size).
            spec: the recipe.
            step: of the optimiser.
            labels: int64 (all,), where the recipe has labels.
        """
        epoch, slot = divmod(step, len(images) // spec.batch)
        rng = np.random.Generator(np.random.Philox(key=derive_key(spec.seed, "shuffle", epoch)))
        at = np.sort(rng.permutation(len(images))[slot * spec.batch : (slot + 1) * spec.batch])
        chosen, begin = images[at], spec.batch * step
        if spec.flips:
            mirrored = Stream.of(spec.seed, "flips").uniforms(spec.batch, start=begin) < 0.5
            chosen[mirrored] = chosen[mirrored][..., ::-1]
        told = None
        if spec.labels and labels is not None:
            withheld = Stream.of(spec.seed, "labels").uniforms(spec.batch, start=begin) < spec.label_dropout
            told = np.where(withheld, labels.max() + 1, labels[at])
        return cls(chosen, step, np.arange(spec.batch), told)

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch in ``count`` equal parts."""
        for slots in np.split(self.slots, count):
            labels = None if self.labels is None else self.labels[slots]
            yield Batch(self.images[slots], self.step, slots, labels)


class Objective(Protocol):
    """The quantity that is learned, and the source of its randomness."""

    EXPORTS: ClassVar[tuple[str, ...]]  #: the files of its model

    def network(self, *, channels: int, size: int, classes: int) -> UNet2DModel:
        """The network to begin with; raises InputError for images that do not fit it."""

    def check(self, steps: int, *, channels: int, size: int) -> None:
        """Raise InputError where the chance cannot last for ``steps`` more steps."""

    def loss(self, model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
        """Of one batch, or of a part of one."""

    def state(self) -> dict[str, Any]:
        """Return its part of ``state.json``."""

    def save(self, folder: Path) -> None:
        """Files of a checkpoint beside it."""

    def load(self, folder: Path, record: dict[str, Any]) -> None:
        """Go on from a checkpoint, whose ``state.json`` holds ``record``."""

    def export(self, folder: Path, model: UNet2DModel) -> None:
        """Write the model as others load it."""


def run(
    objective: Objective,
    images: ImageSet,
    folder: OutputFolder,
    *,
    spec: TrainSpec,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainResult:
    """Train ``objective`` and leave its model in a folder.

    Args:
        objective: made with ``spec``.
        images: uint8 (n, channels, size, size).
        folder: from :func:`entered`; where it holds a checkpoint, the run goes on from there.
        spec: from :func:`entered`.
        progress: called as ``progress(step, steps, loss)`` after each step.

    Returns:
        A :class:`TrainResult`; ``finished`` is False if SIGINT, SIGTERM or SIGHUP stopped the run (its checkpoint is
        saved).

    Raises:
        InputError: images that do not fit the model; a batch that does not fit into memory.
        OSError: a write failed (full disk); the last checkpoint stays whole.
    """
    keep_freed_memory()
    out = folder.path
    _, channels, size, _ = images.images.shape
    checkpoint = checkpoints.latest(out)

    from accelerate import Accelerator

    # accelerate keeps its precision for the whole process; autocast here lets two runs in one process differ.
    accelerator = Accelerator(mixed_precision="no")
    model = objective.network(channels=channels, size=size, classes=classes_of(images, spec))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=spec.learning_rate,
        betas=spec.betas,
        weight_decay=spec.weight_decay,
        foreach=True,
    )
    ema = EMAModel(model.parameters(), decay=spec.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    names = [name for name, _ in model.named_parameters()]
    step = 0
    if checkpoint is not None:
        record = checkpoints.load(checkpoint, model, optimizer, ema, names)
        objective.load(checkpoint, record)
        step = int(record["step"])
    objective.check(spec.steps - step, channels=channels, size=size)
    _check_batch(model, spec, size=size)
    folder.plan(["train.json", "log.jsonl", *objective.EXPORTS])
    if checkpoint is None:
        (out / "log.jsonl").unlink(missing_ok=True)
        folder.write_json("train.json", spec.to_json() | {"environment": environment(), "data_sha256": images.sha256})
    unwrapped = model
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    ema.to(accelerator.device)

    def save() -> None:
        if not (out / checkpoints.checkpoint_name(step)).exists():
            record = {"step": step, "spec": spec.to_json(), "data_sha256": images.sha256, **objective.state()}
            checkpoints.save(out, step, unwrapped, optimizer.optimizer, ema, names, record, objective.save)
        checkpoints.export(folder, unwrapped, ema, objective.export)

    started, losses = time.monotonic(), []
    stop: list[int] = []  # the signal that asked for it: a step is finished and saved, a second signal ends at once
    remedy = f"use a smaller batch than {spec.batch}"
    with (
        on_signal(stop.append),
        memory_errors(what="a training step", remedy=remedy),
        (out / "log.jsonl").open("a", encoding="utf-8") as log,
    ):
        while step < spec.steps and not stop:
            whole, total = Batch.of(images.images, spec, step, images.labels), 0.0
            try:
                for part in whole.parts(spec.accumulate):
                    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=spec.precision == "bf16"):
                        loss = objective.loss(model, part, accelerator.device) / spec.accumulate
                    accelerator.backward(loss)
                    total += loss.item()
            except Stopped:
                if not stop:
                    raise
                break  # a step that waited for its noise; it is done again
            except NoiseStoppedError as stopped:
                if not step:
                    raise
                save()
                stopped.args = (
                    f"{stopped}; step {step} of {spec.steps} is saved in {out}; continue with resume=True "
                    "once the source delivers again",
                )
                raise
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(spec, step)
            accelerator.clip_grad_norm_(model.parameters(), spec.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            ema.step(unwrapped.parameters())
            step += 1
            losses.append(total)
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
    finished = step >= spec.steps
    folder.finish({"kind": "train-run", "schema_version": 1, "step": step}, finished=finished)
    return TrainResult(
        folder=out,
        step=step,
        finished=finished,
        loss=float(np.mean(losses[-50:])) if losses else None,
        seconds=time.monotonic() - started,
        signum=int(stop[0]) if stop else None,
    )


@contextmanager
def entered(
    spec: S, images: ImageSet, out: Path | str, *, objective: type[Objective], resume: bool, force: bool
) -> Iterator[tuple[S, OutputFolder]]:
    """The folder of a run, locked until the block ends, and the specification to train with.

    Args:
        spec: that was asked for.
        images: of the run.
        out: output folder; must be empty or new unless ``resume`` or ``force``.
        objective: whose files the run will write.
        resume: continue from the last whole checkpoint in ``out``, which must be of the same configuration, or
            from the start where the run was stopped before its first.
        force: begin in a folder that is not empty; the files of a training that it holds are removed, others stay.

    Returns:
        The recorded specification of a run that goes on, else ``spec`` with ``auto`` decided.

    Raises:
        InputError: ``out`` holds another run, or nothing to resume, or is being trained in; images that no square
            network of that batch takes.
    """
    n, _, height, width = images.images.shape
    if height != width:
        raise InputError(f"images of {images.name} are {width}x{height} pixels; crop or pad them to a square")
    if n < spec.batch:
        raise InputError(f"{images.name} has {n} images, fewer than the batch of {spec.batch}; use a smaller batch")
    if resume and force:
        raise InputError("resume goes on with a run and force begins it again; choose one of them")
    out = Path(out)
    if resume and not (out / "train.json").is_file() and checkpoints.latest(out) is None:
        raise InputError(f"{out} has no run to resume; start it without resume=True")
    if not (resume or force):
        there = {p.name for p in out.iterdir()} if out.is_dir() else set()
        if {name for name in there if not name.startswith(".")} - _BEFORE_FIRST_CHECKPOINT:
            raise InputError(f"{out} is not empty; choose another folder, or continue that run with resume=True")
    # A run of 0.1.0 listed no files: these are its own.
    adopt = ["train.json", "log.jsonl", *objective.EXPORTS] if _is_training(out) else []
    arguments = {k: v for k, v in spec.to_json().items() if k not in spec.FREE} | {"data_sha256": images.sha256}
    with OutputFolder.claim(
        out, command="train", arguments=arguments, force=force, resume=resume, adopt=adopt, among=resume
    ) as folder:
        if others := checkpoints.foreign(out):
            raise InputError(f"{out / others[0]} is no checkpoint of this product but has its name; move it away")
        checkpoints.sweep(out)
        if force:
            folder.clear()
            for checkpoint in checkpoints.checkpoints(out).values():
                checkpoints.remove(checkpoint)
        last = checkpoints.latest(out)
        if last is not None and not resume:
            raise InputError(f"{out} is not empty; choose another folder, or continue that run with resume=True")
        if last is not None:
            spec = _same_run(spec, read_object(last / "state.json"), images, out)
        # Else new, or stopped before its first checkpoint: nothing is lost by beginning again.
        yield spec.resolved(), folder


def _is_training(out: Path) -> bool:
    with contextlib.suppress(InputError):
        return str(read_object(out / "train.json").get("kind")).endswith("train")
    return False


def classes_of(images: ImageSet, spec: TrainSpec) -> int:
    """Return how many classes the network is told; raises InputError for labels that the images do not have."""
    if not spec.labels:
        return 0
    if images.labels is None:
        raise InputError(f"labels = true, and {images.name} has no labels; leave it out, or give images with classes")
    if not len(images.labels) or images.labels.min() < 0:
        raise InputError(f"{images.name} has a label below 0; number the classes from 0")
    return int(images.labels.max()) + 1


def _check_batch(model: UNet2DModel, spec: TrainSpec, *, size: int) -> None:
    """Refuse a batch whose activations, which the backward pass needs, surely do not fit into memory."""
    outputs, _ = outputs_per_image(model, (model.config.in_channels, size, size))
    per_image = outputs * (2 if spec.precision == "bf16" else 4)
    check_memory(
        per_image * spec.batch / spec.accumulate,
        what=f"a training step of {spec.batch // spec.accumulate} images of {size}x{size} pixels",
        remedy=f"use a smaller batch, or divide it with accumulate; an image takes about {per_image / 1e6:.1f} MB",
    )


def _same_run(spec: S, record: dict[str, Any], images: ImageSet, out: Path) -> S:
    """The specification to go on with: the recorded one, which may only differ in what changes no weight."""
    recorded = type(spec).from_json(record["spec"], where=str(out))
    asked = spec.model_copy(update={"precision": recorded.precision if spec.precision == "auto" else spec.precision})
    for field in type(spec).model_fields:
        if field not in spec.FREE and getattr(asked, field) != getattr(recorded, field):
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
