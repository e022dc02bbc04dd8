"""The state of a training run: network, optimiser, moving average and log, from one checkpoint to the next."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel

from voltaspin.core.capacity import check_memory
from voltaspin.core.folders import OutputFolder
from voltaspin.core.ledger import Ledger
from voltaspin.core.spec import environment
from voltaspin.diffusion import checkpoints, train_log
from voltaspin.diffusion.backend import outputs_per_image
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.objective import Batch, Objective, classes_of
from voltaspin.diffusion.ranks import Ranks
from voltaspin.diffusion.recipe import TrainSpec, learning_rate, seeded
from voltaspin.diffusion.train_log import TrainLog
from voltaspin.diffusion.validation import GRIDS, Validation, averaged


class TrainState:
    """A run between two steps.

    Args:
        objective: what is learned.
        images: that are trained on.
        out: folder of the run; folder: the same, claimed, in the process that writes.
        spec: of the run.
        ranks: the processes that train together.
        held_out: images to validate with.
    """

    network: UNet2DModel  #: as it is saved
    step: int  #: of the optimiser, done
    validation_loss: float | None = None  #: the last one of this call

    def __init__(
        self, objective: Objective, images: ImageSet, out: Path, folder: OutputFolder | None, *, spec: TrainSpec,
        ranks: Ranks, held_out: ImageSet | None,
    ) -> None:  # fmt: skip
        self.objective, self.images, self.out, self.folder = objective, images, out, folder
        self.spec, self.ranks = spec, ranks
        self.validation = Validation(objective, held_out, spec)

    def prepare(self, *, channels: int, size: int) -> torch.nn.Module:
        """Make or load everything; what is returned is the network as it is trained."""
        from accelerate import Accelerator

        spec, checkpoint = self.spec, checkpoints.latest(self.out)
        # accelerate keeps its precision for the whole process; autocast here lets two runs in one process differ.
        together = {"cpu": not torch.cuda.is_available()} if self.ranks.count > 1 else {}
        self.accelerator = Accelerator(mixed_precision="no", **together)
        self.network = self.objective.network(channels=channels, size=size, classes=classes_of(self.images, spec))
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=spec.learning_rate,
            betas=spec.betas,
            weight_decay=spec.weight_decay,
            foreach=True,
        )
        self.ema = EMAModel(
            self.network.parameters(), decay=spec.ema_decay, use_ema_warmup=True, power=0.75, foreach=True
        )
        self._names = [name for name, _ in self.network.named_parameters()]
        self.step, self._spent, record = 0, Ledger("training"), dict[str, Any]()
        self._counted = self.objective.ledger.copy()
        if checkpoint is not None:
            record = checkpoints.load(checkpoint, self.network, optimizer, self.ema, self._names)
            self.objective.load(checkpoint, record)
            self.step = int(record["step"])
            if "ledger" in record:
                self._spent = Ledger.from_dict(record["ledger"])
        self.objective.check(spec.steps - self.step, channels=channels, size=size)
        _check_batch(self.network, spec, self.ranks, size=size)
        self._begin(new=checkpoint is None)
        self.log = TrainLog(self.folder, step=self.step, state=record.get("log"))
        model, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        model.train()
        self.ema.to(self.accelerator.device)
        return torch.compile(model) if spec.compile else model  # type: ignore[return-value]

    def _begin(self, *, new: bool) -> None:
        """Announce the files of the run, and say what it is."""
        folder = self.folder
        if folder is None:
            return
        before = [f"{GRIDS}/{path.name}" for path in (self.out / GRIDS).glob("*.png")]
        older = [name for name in ("log.jsonl", *before) if folder.owns(name) and not new]
        folder.plan(["train.json", train_log.FILE, *self.objective.EXPORTS, *older])
        if new:
            said = {"environment": environment(), "data_sha256": self.images.sha256, **self.validation.to_json()}
            folder.write_json("train.json", self.spec.to_json() | said)

    def gradient(self, model: torch.nn.Module) -> float:
        """Add up the gradient of one step, of this process's part of the batch, and return the loss of that part."""
        spec, ranks, total = self.spec, self.ranks, 0.0
        whole = Batch.of(self.images.images, spec, self.step, self.images.labels)
        parts = list(whole.parts(spec.accumulate * ranks.count))
        mine = parts[ranks.rank * spec.accumulate : (ranks.rank + 1) * spec.accumulate]
        device = self.accelerator.device
        for part in mine:
            # processes add their gradients up once, with the last part
            alone = contextlib.nullcontext() if part is mine[-1] else self.accelerator.no_sync(model)
            with alone, self._dropout(part):
                with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16"):
                    loss = self.objective.loss(model, part, device) / spec.accumulate
                self.accelerator.backward(loss)
                total += loss.item()
        return total

    def _dropout(self, part: Batch) -> contextlib.AbstractContextManager[None]:
        """Decide which activations a part drops, so that a run that goes on drops the same ones."""
        if not self.spec.dropout:
            return contextlib.nullcontext()
        return seeded(self.spec.seed, "dropout", self.step, int(part.slots[0]))

    def update(self, model: torch.nn.Module, loss: float) -> None:
        """Take the step of the gradient; then the losses, rows and grids that are due."""
        spec, rate = self.spec, learning_rate(self.spec, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = self.accelerator.clip_grad_norm_(model.parameters(), spec.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.network.parameters())
        self.step += 1
        self.log.add(loss, float(norm))
        lost, shown = self.validation.due(self.step)
        found = None
        if self.folder is not None and (lost or shown):
            with averaged(self.network, self.ema) as average:
                found = self.validation_loss = self.validation.loss(average) if lost else self.validation_loss
                if shown:
                    self.folder.write_bytes(f"{GRIDS}/{self.step:08d}.png", self.validation.grid(average))
        if lost or self.step % train_log.EVERY == 0 or self.step == spec.steps:
            self.log.row(self.step, batch=spec.batch, rate=rate, validation=found if lost else None)

    def save(self) -> Ledger:
        """Write a checkpoint and the model, and return what the noise has cost so far, in all processes together."""
        spent = self._spent.copy()
        for counts in self.ranks.all(self.objective.ledger.since(self._counted).to_dict()):
            spent.merge(Ledger.from_dict(counts))
        if self.folder is not None:
            if not (self.out / checkpoints.checkpoint_name(self.step)).exists():
                record = {
                    "step": self.step, "spec": self.spec.to_json(), "data_sha256": self.images.sha256,
                    "ledger": spent.to_dict(), "log": self.log.state(), "processes": self.ranks.count,
                    **self.objective.state(),
                }  # fmt: skip
                checkpoints.save(
                    self.out, self.step, self.network, self.optimizer.optimizer, self.ema, self._names, record,
                    self.objective.save,
                )  # fmt: skip
            checkpoints.export(self.folder, self.network, self.ema, self.objective.export)
        self.ranks.told(None)  # nobody goes on, or ends, before it is written
        return spent


def _check_batch(model: UNet2DModel, spec: TrainSpec, ranks: Ranks, *, size: int) -> None:
    """Refuse a batch whose activations, which the backward pass needs, surely do not fit into memory."""
    part = spec.batch // spec.accumulate // ranks.count
    outputs, _ = outputs_per_image(model, (model.config.in_channels, size, size))
    per_image = outputs * (2 if spec.precision == "bf16" else 4)
    check_memory(
        per_image * part,
        what=f"a training step of {part} images of {size}x{size} pixels",
        remedy=f"use a smaller batch, or divide it with accumulate; an image takes about {per_image / 1e6:.1f} MB",
    )
