"""The course of a training run: a table that grows with it."""

from __future__ import annotations

import time
from typing import Any

from voltaspin.core.folders import OutputFolder

FILE = "train.csv"
EVERY = 50  #: steps of a row
COLUMNS = ("step", "loss", "validation_loss", "examples_per_second", "learning_rate", "gradient_norm")


class TrainLog:
    """The table ``train.csv``: a row for every 50 steps and for every validation.

    A row's loss and gradient norm are means over the steps since the row before. What belongs to no row yet is part of
    a checkpoint, so that a run that was stopped writes the rows of one that was not, each once.

    Args:
        folder: of the run; None in a process that does not write.
        step: at which the run goes on; later rows are removed.
        state: from :meth:`state`, of that step.
    """

    def __init__(self, folder: OutputFolder | None, *, step: int, state: dict[str, float] | None = None) -> None:
        state = state or {}
        self._folder, self._since = folder, time.monotonic()
        self._loss, self._norm = state.get("loss", 0.0), state.get("norm", 0.0)
        self._steps, self._timed = int(state.get("steps", 0)), 0
        if folder is not None:
            folder.write_bytes(FILE, "".join(f"{line}\n" for line in self._kept(folder, step)).encode())

    @staticmethod
    def _kept(folder: OutputFolder, step: int) -> list[str]:
        """The header and the rows up to a step; a row that was cut is none."""
        path = folder.path / FILE
        there = path.read_text(encoding="utf-8").split("\n")[1:-1] if step and path.is_file() else []
        rows = [line.split(",") for line in there]
        own = [r for r in rows if len(r) == len(COLUMNS) and r[0].isdecimal() and int(r[0]) <= step]
        return [",".join(row) for row in (COLUMNS, *own)]

    def state(self) -> dict[str, float]:
        """Return the sums that belong to no row yet."""
        return {"loss": self._loss, "norm": self._norm, "steps": self._steps}

    def add(self, loss: float, norm: float) -> None:
        """Take one step into account."""
        self._loss, self._norm = self._loss + loss, self._norm + norm
        self._steps, self._timed = self._steps + 1, self._timed + 1

    def row(self, step: int, *, batch: int, rate: float, validation: float | None) -> None:
        """Write the row of the steps since the last one."""
        seconds = time.monotonic() - self._since
        speed = self._timed * batch / seconds if seconds > 0 else 0.0
        values: list[Any] = [self._loss / self._steps, validation, speed, rate, self._norm / self._steps]
        line = ",".join([str(step), *("" if v is None else f"{v:.6g}" for v in values)])
        if self._folder is not None:
            with (self._folder.path / FILE).open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        self._loss = self._norm = 0.0
        self._steps = self._timed = 0
        self._since = time.monotonic()
