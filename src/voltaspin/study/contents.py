"""The files that a condition of a study reads, by their contents: recipes, data, references, recordings, models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from voltaspin.core.errors import InputError
from voltaspin.core.extras import NeedsExtra
from voltaspin.core.files import read_object, sha256_of
from voltaspin.noise.grammar import stages_of


def recipe_fields(recipe: str, *, in_place: bool) -> dict[str, Any]:
    """Return the fields of a recipe, by its name or file, without those that a condition says."""
    with NeedsExtra("a recipe"):  # conditions without one need no PyTorch, and the specification of a device has none
        from voltaspin.diffusion.inplace import InPlaceTrainSpec
        from voltaspin.diffusion.recipe import RECIPES, TrainSpec
        from voltaspin.diffusion.recipe import recipe as named
    kind = InPlaceTrainSpec if in_place else TrainSpec
    if recipe in RECIPES or not Path(recipe).is_file():
        spec: TrainSpec = named(recipe)
    else:
        spec = kind.from_json(read_object(recipe), where=recipe)
    found = {k: v for k, v in spec.to_json().items() if k not in ("kind", "schema_version", "noise", "seed")}
    return found | {"steps": spec.steps, "channels": list(spec.channels)}


def contents(*, noises: Iterable[str], data: str = "", reference: str = "", start: str = "") -> dict[str, str]:
    """Return hashes of what is read from files, so that a key names their contents and not their paths."""
    given = [value for noise in noises for _, said in stages_of(noise) for value in said.values()]
    paths = {value for value in given if isinstance(value, str) and value}
    found = {Path(p).name: sha256_of(p) for p in sorted(paths) if Path(p).is_file()}
    if reference:
        if not Path(reference).is_file():
            raise InputError(f"reference {reference} does not exist; make statistics with `voltaspin reference DATA`")
        found["reference"] = sha256_of(reference)
    if data and Path(data).exists():
        found["data"] = _of_data(data)
    if start:
        found["start"] = weights_of(start)
    return found


@lru_cache(maxsize=64)
def _of_data(path: str) -> str:
    """Hash of the files of a data set; read once in a process."""
    home = Path(path)
    files = sorted(p for p in home.rglob("*") if p.is_file()) if home.is_dir() else [home]
    return _hash_of(tuple((str(f.relative_to(home)), str(f), f.stat().st_mtime_ns) for f in files))


def weights_of(folder: str) -> str:
    """Hash of all weights and configurations of a pipeline's folder; raises InputError where there are none."""
    files = [f for ext in ("json", "safetensors") for f in sorted(Path(folder).rglob(f"*.{ext}"))]
    if not (Path(folder) / "model_index.json").is_file():
        raise InputError(f"model {folder} is no folder of a pipeline, which has a model_index.json")
    return _hash_of(tuple((str(f.relative_to(folder)), str(f), f.stat().st_mtime_ns) for f in files))


@lru_cache(maxsize=64)
def _hash_of(files: tuple[tuple[str, str, int], ...]) -> str:
    return hashlib.sha256("".join(f"{name} {sha256_of(file)}\n" for name, file, _ in files).encode()).hexdigest()
