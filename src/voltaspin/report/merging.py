"""One folder of images from parts of one run that were made in folders of their own, on whatever machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object
from voltaspin.core.folders import RECORD, OutputFolder
from voltaspin.core.ledger import Ledger
from voltaspin.diffusion.grids import grid_png
from voltaspin.diffusion.pictures import image_name, progress_name, stretches
from voltaspin.report.images import GRID, GRID_LIMIT, Batch, read_png
from voltaspin.report.sampling import SampleRecord

#: Arguments in which the parts of one set may differ.
_SPLIT = ("first", "count", "shards")
_FACTS = ("steps", "precision", "normals_per_image")


@dataclass(frozen=True)
class Piece:
    """The images of one folder.

    Args:
        folder: of them.
        arguments: of the run.
        ids: numbers of the images that are there and finished.
        counts: of the ledger; seconds, noise_seconds: of the work.
        facts: of the run that only its batches know.
    """

    folder: Path
    arguments: dict[str, Any]
    ids: tuple[int, ...]
    counts: Counter[str]
    seconds: float
    noise_seconds: float
    facts: dict[str, Any]

    @classmethod
    def of(cls, folder: Path) -> Piece:
        """Read a folder; raises InputError for one that ``sample`` did not write."""
        record = read_object(folder / RECORD)
        arguments = record.get("arguments")
        if record.get("command") != "sample" or not isinstance(arguments, dict) or "sampler" not in arguments:
            raise InputError(
                f"{folder} is no part of a run of a Gaussian model, so it cannot be merged; give folders that `sample` "
                "wrote"
            )
        if arguments.get("compute") != "digital":
            raise InputError(f"{folder}: images of a network in arrays are made in one folder; sample them there")
        if record.get("finished"):
            made = range(arguments["first"], arguments["first"] + arguments["count"])
            return cls(
                folder, arguments, tuple(made), Counter(record["ledger"]), record["seconds"], record["noise_seconds"],
                {k: record[k] for k in _FACTS},
            )  # fmt: skip
        n = int(arguments.get("shards", 1))
        jobs = ["run"] if n == 1 else [f"{k}-of-{n}" for k in range(1, n + 1)]
        batches = [
            Batch.from_line(line, str(path))
            for path in (folder / progress_name(job) for job in jobs) if path.is_file()
            for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")
        ]  # fmt: skip
        counts: Counter[str] = Counter()
        for batch in batches:
            counts.update(Ledger.from_dict(batch.ledger).totals())
        ids = tuple(sorted(i for batch in batches for i in batch.ids))
        return cls(
            folder, arguments, ids, counts, sum(b.seconds for b in batches), sum(b.noise_seconds for b in batches),
            dict(batches[0].facts) if batches else {},
        )  # fmt: skip


def merged(parts: Sequence[Path], out: Path, *, force: bool = False) -> SampleRecord:
    """Copy the images of all parts into a folder, with a grid and the sum of what they cost.

    Args:
        parts: folders of one run's shards, or of its stretches (``first``).
        out: new folder; the parts stay as they are.
        force: use one that is not empty.

    Raises:
        InputError: parts of different runs, images that two of them have or that none has; nothing is written then.
    """
    if len(parts) < 2:
        raise InputError("give at least two folders to merge")
    pieces = [Piece.of(Path(p)) for p in parts]
    _one_run(pieces)
    owner: dict[int, Piece] = {}
    for piece in pieces:
        if twice := [i for i in piece.ids if i in owner]:
            raise InputError(
                f"{owner[twice[0]].folder} and {piece.folder} overlap: both hold images {stretches(twice)}; leave one "
                "of them out, or sample with other shards"
            )
        owner |= dict.fromkeys(piece.ids, piece)
    split = max(int(p.arguments.get("shards", 1)) for p in pieces) > 1
    first = min(int(p.arguments["first"]) for p in pieces)
    last = max(int(p.arguments["first"]) + int(p.arguments["count"]) for p in pieces)
    if missing := [i for i in range(first, last) if i not in owner]:
        raise InputError(
            f"images {stretches(missing)} of {first} to {last - 1} are in none of the parts"
            f"{_absent(pieces) if split else ''}; sample them, and merge again"
        )
    for i, piece in owner.items():
        if not (piece.folder / image_name(i)).is_file():
            raise InputError(f"{piece.folder} lacks {image_name(i)}, which it lists; sample that part again")
    arguments = pieces[0].arguments | {"first": first, "count": last - first, "shards": 1}
    with OutputFolder.claim(out, command="sample", arguments=arguments, force=force) as folder:
        return _written(folder, owner, pieces, arguments)


def _one_run(pieces: Sequence[Piece]) -> None:
    """Refuse parts that differ in what decides their images."""
    whole = pieces[0]
    for piece in pieces[1:]:
        for name in sorted(whole.arguments.keys() | piece.arguments.keys()):
            mine, other = (json.dumps(p.arguments.get(name), sort_keys=True) for p in (whole, piece))
            if mine != other and name not in (*_SPLIT, "batch"):
                raise InputError(
                    f"{whole.folder} and {piece.folder} are of different runs: {name} is {mine[:60]} and {other[:60]}; "
                    "merge parts of one run"
                )


def _absent(pieces: Sequence[Piece]) -> str:
    n = max(int(p.arguments.get("shards", 1)) for p in pieces)
    there = {k for p in pieces for k in range(1, n + 1) if (p.folder / progress_name(f"{k}-of-{n}")).is_file()}
    absent = [f"{k}/{n}" for k in range(1, n + 1) if k not in there]
    return f" (shard {', '.join(absent)} is missing)" if absent else " (a shard is not finished)"


def _written(
    folder: OutputFolder, owner: dict[int, Piece], pieces: Sequence[Piece], arguments: dict[str, Any]
) -> SampleRecord:
    ids = sorted(owner)
    folder.plan([*(image_name(i) for i in ids), GRID])
    for i in ids:
        folder.write_bytes(image_name(i), (owner[i].folder / image_name(i)).read_bytes())
    shown = np.stack([read_png(folder.path / image_name(i)) for i in ids[:GRID_LIMIT]])
    folder.write_bytes(GRID, grid_png(shown, columns=min(10, len(shown))))
    counts: Counter[str] = Counter()
    for piece in pieces:
        counts.update(piece.counts)
    known = SampleRecord.model_fields
    record = SampleRecord(
        **{k: v for k, v in arguments.items() if k in known and k not in ("model", "steps", *_FACTS)},
        **next(p.facts for p in pieces if p.facts), model={"folder": "", "sha256": arguments["model"]},
        images=len(ids), seconds=sum(p.seconds for p in pieces), noise_seconds=sum(p.noise_seconds for p in pieces),
        ledger=dict(counts),
    )  # fmt: skip
    folder.finish(record.to_json())
    return SampleRecord.from_json(folder.read(), where=str(folder.path / RECORD))
