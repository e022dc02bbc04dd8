"""A folder of generated images that grows while they are made: one PNG each, at the end a grid and ``run.json``.

A run may be split over processes, each of which does some of its images. What a process has finished stands in a file
of its own (``.progress-JOB.jsonl``), a line for each batch: its images, and what they have cost. The process that
finds that all images are there writes the grid and the sum.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import parse_json
from voltaspin.core.folders import OutputFolder
from voltaspin.core.ledger import Ledger
from voltaspin.diffusion.grids import grid_png
from voltaspin.diffusion.pictures import image_name, progress_name

GRID_LIMIT = 100
GRID = "grid.png"


@dataclass(frozen=True)
class Batch:
    """Images that were finished together.

    Args:
        ids: their numbers.
        ledger: what they have cost, as ``Ledger.to_dict``.
        seconds: wall time; ``noise_seconds`` of it in the noise source.
        facts: of the run that only a batch knows (numbers per image, precision, ...).
        state: from which the next batch goes on; None where it depends on nothing.
    """

    ids: range
    ledger: dict[str, Any]
    seconds: float
    noise_seconds: float
    facts: dict[str, Any]
    state: dict[str, Any] | None = None

    def to_line(self) -> str:
        return json.dumps({**self.__dict__, "ids": [self.ids.start, self.ids.stop]}, allow_nan=False) + "\n"

    @classmethod
    def from_line(cls, line: str, where: str) -> Batch:
        data = parse_json(line, where=where)
        return cls(**{**data, "ids": range(*data["ids"])})


class ImageRun:
    """The images of one run in one folder.

    Args:
        folder: claimed for this process's job.
        ids: numbers of all images of the run.
        groups: those of this job, in the batches in which they are made.
        job: its name, as in a file.
        resume: keep what is finished; otherwise this job begins again.
        in_order: whether a batch depends on those before it, so that the run goes on where the first is missing.
    """

    def __init__(
        self, folder: OutputFolder, ids: range, groups: Sequence[range], *, job: str, resume: bool, in_order: bool
    ) -> None:
        self.folder, self.ids = folder, ids
        self._progress = progress_name(job)
        mine = [i for group in groups for i in group]
        self.done: list[Batch] = self._whole(self._progress) if resume else []
        if in_order:
            begun = next((k for k, (g, b) in enumerate(zip(groups, self.done, strict=False)) if g != b.ids), None)
            self.done = self.done[:begun]
        known = {batch.ids for batch in self.done}
        self.todo = [group for group in groups if group not in known]
        folder.plan([*(image_name(i) for i in mine), GRID, self._progress])
        if self.done:
            folder.write_bytes(self._progress, "".join(batch.to_line() for batch in self.done).encode())
        else:
            (folder.path / self._progress).unlink(missing_ok=True)

    @property
    def state(self) -> dict[str, Any] | None:
        """From which the first batch of ``todo`` goes on."""
        return self.done[-1].state if self.done else None

    def keep(self, images: NDArray[np.uint8], batch: Batch) -> None:
        """Write a batch's images, each whole or not at all, and then that it is finished.

        Args:
            images: uint8 (n, channels, h, w).
            batch: whose they are.
        """
        for i, image in zip(batch.ids, images, strict=True):
            self.folder.write_bytes(image_name(i), png_of(image))
        with (self.folder.path / self._progress).open("a", encoding="utf-8") as file:
            file.write(batch.to_line())
        self.done.append(batch)

    @property
    def images(self) -> int:
        """Number of images that this job has finished."""
        return sum(len(batch.ids) for batch in self.done)

    def finish(self, record: Callable[[Sequence[Batch]], dict[str, Any]]) -> dict[str, Any] | None:
        """Write the grid and ``run.json`` if all images of the run are there.

        Args:
            record: what ``run.json`` holds, of all batches.

        Returns:
            That, or None while other jobs have work left.
        """
        with self.folder.only_one():
            batches = sorted(
                (b for file in self._all_progress() for b in self._whole(file)), key=lambda batch: batch.ids.start
            )
            if {i for batch in batches for i in batch.ids} != set(self.ids):
                return None
            self.folder.plan([*(image_name(i) for i in self.ids), *self._all_progress()])
            return self._written(record(batches), self.ids, finished=True)

    def stop(self, record: Callable[[Sequence[Batch]], dict[str, Any]]) -> None:
        """Write grid and ``run.json`` of what this job has finished, where no more can follow."""
        ids = [i for batch in self.done for i in batch.ids]
        if ids:
            self._written(record(self.done), ids, finished=False)

    def _written(self, record: dict[str, Any], ids: Sequence[int], *, finished: bool) -> dict[str, Any]:
        shown = np.stack([read_png(self.folder.path / image_name(i)) for i in ids[:GRID_LIMIT]])
        self.folder.write_bytes(GRID, grid_png(shown, columns=min(10, len(shown))))
        progress = self._all_progress() if finished else []
        self.folder.forget(progress)
        self.folder.finish(record, finished=finished)
        for name in progress:
            (self.folder.path / name).unlink(missing_ok=True)
        return self.folder.read()

    def _all_progress(self) -> list[str]:
        found = sorted(p.name for p in self.folder.path.glob(".progress-*.jsonl"))
        return [name for name in found if self.folder.owns(name)]

    def _whole(self, name: str) -> list[Batch]:
        """The batches that a job has finished and whose images are all there; a line that was cut is none."""
        path = self.folder.path / name
        found: list[Batch] = []
        if not path.is_file() or not self.folder.owns(name):
            return found
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(InputError, TypeError, KeyError):
                batch = Batch.from_line(line, str(path))
                inside = self.ids.start <= batch.ids.start < batch.ids.stop <= self.ids.stop
                if inside and all((self.folder.path / image_name(i)).is_file() for i in batch.ids):
                    found.append(batch)
        return found


def png_of(image: NDArray[np.uint8]) -> bytes:
    """A PNG of uint8 (channels, h, w)."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def read_png(path: Path) -> NDArray[np.uint8]:
    """Read a file of :func:`png_of`: uint8 (channels, h, w)."""
    from PIL import Image

    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def summed(batches: Sequence[Batch]) -> Ledger:
    """The ledger of all batches."""
    run = Ledger.from_dict(batches[0].ledger)
    for batch in batches[1:]:
        run.merge(Ledger.from_dict(batch.ledger))
    return run
