"""The training loop that every kind of diffusion shares.

A run that was killed continues to the same weights, bit for bit. For that, everything random in a step is a function
of (seed, step): which images, which time steps, dropped activations, and the numbers of an addressable source. An
objective keeps the rest in the checkpoint (:mod:`voltaspin.diffusion.train_state`).
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
import torch
from pydantic import Field

from voltaspin.core.capacity import memory_errors
from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.core.files import check_ways, read_object
from voltaspin.core.folders import RECORD, OutputFolder
from voltaspin.core.result import Result, Unit
from voltaspin.core.stopping import Stopped, on_signal
from voltaspin.diffusion import checkpoints, train_log
from voltaspin.diffusion.backend import check_compiler, keep_freed_memory
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.objective import Objective
from voltaspin.diffusion.ranks import Ranks
from voltaspin.diffusion.recipe import TrainSpec
from voltaspin.diffusion.train_state import TrainState
from voltaspin.diffusion.validation import GRIDS

_LOGS = (train_log.FILE, "log.jsonl")  # the second is of runs of 0.1.0
_BEFORE_FIRST_CHECKPOINT = {"train.json", *_LOGS, GRIDS, RECORD}  #: all that a run leaves which was stopped early


S = TypeVar("S", bound=TrainSpec)


class TrainResult(Result):
    """The outcome of a training run.

    Args:
        folder: the model (moving-average weights) with ``train.json`` and ``train.csv``.
        step: optimizer steps done in all.
        finished: False after an interrupt; ``resume=True`` continues.
        loss: mean loss over the last steps of this call, None if there were none.
        validation_loss: the last one of held-out images in this call.
        seconds: wall time of this call.
        signum: of the signal that stopped the run, if one did.
        input: what a recorded file was read as, where its bits were the noise.
        processes: that trained together.
        ledger: what the noise of all steps has cost, all processes and calls together.
    """

    KIND: ClassVar[str] = "train-result"
    folder: Path
    step: int
    finished: bool
    loss: float | None
    seconds: Annotated[float, Unit("s")]
    signum: int | None = None
    input: dict[str, Any] | None = None
    validation_loss: float | None = None
    processes: int = 1
    ledger: dict[str, int] = Field(default_factory=dict)

    def __str__(self) -> str:
        loss = "nothing left to do" if self.loss is None else f"mean loss of the last 50 {self.loss:.4f}"
        held_out = "" if self.validation_loss is None else f", of held-out images {self.validation_loss:.4f}"
        together = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"{self.folder}: {self.step} steps, {loss}{held_out}, {self.seconds:.0f} s{together}"


def run(
    objective: Objective,
    images: ImageSet,
    out: Path | str,
    folder: OutputFolder | None,
    *,
    spec: TrainSpec,
    ranks: Ranks,
    progress: Callable[[int, int, float], None] | None = None,
    held_out: ImageSet | None = None,
) -> TrainResult:
    """Train ``objective`` and leave its model in a folder.

    Args:
        objective: made with ``spec``.
        images: uint8 (n, channels, size, size).
        out: of the run; where it holds a checkpoint, the run goes on from there.
        folder: from :func:`entered_together`; None in a process that does not write.
        spec: from there.
        ranks: the processes that train together.
        progress: called as ``progress(step, steps, loss)`` after each step.
        held_out: images of which the loss is taken at intervals.

    Returns:
        A :class:`TrainResult`; ``finished`` is False if SIGINT, SIGTERM or SIGHUP stopped the run (its checkpoint is
        saved).

    Raises:
        InputError: images that do not fit the model; a batch that does not fit into memory; chance that several
            processes cannot share; torch.compile where it cannot run.
        OSError: a write failed (full disk); the last checkpoint stays whole.
    """
    keep_freed_memory()
    if ranks.count > 1:
        objective.together(ranks.count)
    _check_parts(spec, ranks)
    if spec.compile:
        check_compiler()
    _, channels, size, _ = images.images.shape
    state = TrainState(objective, images, Path(out), folder, spec=spec, ranks=ranks, held_out=held_out)
    model = state.prepare(channels=channels, size=size)
    started, losses = time.monotonic(), list[float]()
    stop: list[int] = []  # the signal that asked for it: a step is finished and saved, a second signal ends at once
    halted = False
    remedy = f"use a smaller batch than {spec.batch}"
    with on_signal(stop.append), memory_errors(what="a training step", remedy=remedy):
        while state.step < spec.steps and not (halted if ranks.count > 1 else stop):
            try:
                loss = state.gradient(model)
            except Stopped:
                if not stop:
                    raise
                break  # a step that waited for its noise; it is done again
            except NoiseStoppedError as stopped:
                if not state.step:
                    raise
                state.save()
                stopped.args = (
                    f"{stopped}; step {state.step} of {spec.steps} is saved in {out}; continue with resume=True "
                    "once the source delivers again",
                )
                raise
            loss, asked = ranks.mean([loss, float(bool(stop))])
            halted = asked > 0
            losses.append(loss)
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} at step {state.step + 1}: lower learning_rate={spec.learning_rate}, or check "
                    f"the noise source; the last checkpoint in {out} is untouched"
                )
            state.update(model, loss)
            if progress is not None:
                progress(state.step, spec.steps, loss)
            if state.step % spec.checkpoint_every == 0 and state.step < spec.steps:
                state.save()
        spent = state.save()
    finished = state.step >= spec.steps
    if folder is not None:
        record = {"kind": "train-run", "schema_version": 1, "step": state.step, "processes": ranks.count}
        counted = {"ledger": spent.totals(), "validation_ledger": objective.trial.ledger.totals()}
        folder.finish(record | counted, finished=finished)
    return TrainResult(
        folder=Path(out),
        step=state.step,
        finished=finished,
        loss=float(np.mean(losses[-50:])) if losses else None,
        seconds=time.monotonic() - started,
        signum=int(stop[0]) if stop else None,
        validation_loss=state.validation_loss,
        processes=ranks.count,
        ledger=spent.totals(),
    )


@contextmanager
def entered_together(
    spec: S, images: ImageSet, out: Path | str, *, ranks: Ranks, **how: Any
) -> Iterator[tuple[S, OutputFolder | None]]:
    """:func:`entered` in the first process; the others wait for it, get its specification, and no folder.

    Raises:
        InputError: as :func:`entered`, in every process.
    """
    if not ranks.first:
        refused, found = ranks.told(None)
        if refused:
            raise InputError(refused)
        yield type(spec).from_json(found, where=str(out)), None
        return
    with contextlib.ExitStack() as held:
        try:
            resolved, folder = held.enter_context(entered(spec, images, out, **how))
        except BaseException as error:
            ranks.told((str(error) or type(error).__name__, None))
            raise
        ranks.told(("", resolved.to_json()))
        yield resolved, folder


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
    check_ways(resume=resume, force=force)
    out = Path(out)
    if resume and not (out / "train.json").is_file() and checkpoints.latest(out) is None:
        raise InputError(f"{out} has no run to resume; start it without resume=True")
    if not (resume or force):
        there = {p.name for p in out.iterdir()} if out.is_dir() else set()
        if {name for name in there if not name.startswith(".")} - _BEFORE_FIRST_CHECKPOINT:
            raise InputError(f"{out} is not empty; choose another folder, or continue that run with resume=True")
    # A run of 0.1.0 listed no files: these are its own.
    adopt = ["train.json", *_LOGS, *objective.EXPORTS] if _is_training(out) else []
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


def _check_parts(spec: TrainSpec, ranks: Ranks) -> None:
    """Refuse a batch that does not divide into equal parts for all processes."""
    parts = ranks.count * spec.accumulate
    if spec.batch % parts:
        raise InputError(
            f"batch = {spec.batch} does not divide into {spec.accumulate} part(s) for each of {ranks.count} processes; "
            f"give a multiple of {parts}"
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
    return recorded.model_copy(update={"validate_every": spec.validate_every, "sample_every": spec.sample_every})
