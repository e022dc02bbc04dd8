"""Checkpoints of a training run: a folder renamed into place when it is whole, so that its name promises its content.

Weights, moving average and optimizer state are safetensors, the rest is JSON: nothing is pickled.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object, write_json
from voltaspin.core.folders import OutputFolder
from voltaspin.core.spec import environment

EXPORT = ".export.part"  #: where a model is written before its files are moved
#: All that this product writes into a checkpoint.
_FILES = ("state.json", "model.safetensors", "ema.safetensors", "optimizer.safetensors", "memory.safetensors")


def checkpoint_name(step: int) -> str:
    """Name of the folder of one step."""
    return f"checkpoint-{step:08d}"


def checkpoints(out: Path) -> dict[int, Path]:
    """The whole checkpoints in ``out`` by their step, ascending.

    Only a folder that this product named and that holds its ``state.json`` of that step is one: a copy under another
    name, or somebody's own folder, is neither resumed from nor removed.

    Raises:
        InputError: a ``state.json`` cannot be read.
    """
    found: dict[int, Path] = {}
    for path in out.glob("checkpoint-*"):
        step = _step_of(path)
        if step is None or not (path / "state.json").is_file():
            continue
        record = read_object(path / "state.json")
        if record.get("step") == step and isinstance(record.get("spec"), dict):
            found[step] = path
    return dict(sorted(found.items()))


def latest(out: Path) -> Path | None:
    """The last whole checkpoint in ``out``, if there is one."""
    found = checkpoints(out)
    return found[max(found)] if found else None


def foreign(out: Path) -> list[str]:
    """Folders that stand where a checkpoint would be written, and are none of this product's."""
    own = set(checkpoints(out).values())
    return sorted(
        p.name for p in out.glob("checkpoint-*")
        if _step_of(p) is not None and p not in own and not _is_remnant(p)
    )  # fmt: skip


def remove(path: Path) -> None:
    """Remove a checkpoint, but no file in it that is not of this product."""
    if {p.name for p in path.iterdir()} <= set(_FILES):
        # Under another name first, so that a kill on the way leaves nothing that looks like a checkpoint.
        hidden = path.with_name(f".{path.name}.old")
        shutil.rmtree(hidden, ignore_errors=True)
        path.replace(hidden)
        path = hidden
    for name in _FILES:
        (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rmdir()


def sweep(out: Path) -> None:
    """Remove what killed processes left half written or half removed; the caller holds the folder's lock."""
    for path in out.glob(".checkpoint-*"):
        if path.suffix in (".part", ".old") and _step_of(path.with_name(path.name[1:]).with_suffix("")) is not None:
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(out / EXPORT, ignore_errors=True)


def _step_of(path: Path) -> int | None:
    digits = path.name.removeprefix("checkpoint-")
    if not (digits.isascii() and digits.isdecimal()) or path.name != checkpoint_name(int(digits[:18])):
        return None
    return int(digits)


def _is_remnant(path: Path) -> bool:
    """Return whether a checkpoint was half removed when its process was killed."""
    if path.is_symlink() or not path.is_dir():
        return False
    return {p.name for p in path.iterdir()} <= set(_FILES) - {"state.json"}


def save(
    out: Path,
    step: int,
    model: UNet2DModel,
    optimizer: torch.optim.Optimizer,
    ema: EMAModel,
    names: list[str],
    record: dict[str, Any],
    more: Callable[[Path], None],
) -> None:
    """Write a checkpoint whole or not at all, then remove the ones before it.

    Args:
        record: what ``state.json`` holds beside step of the average, threads and versions.
        more: writes what else belongs to the checkpoint into its folder.

    Raises:
        OSError: a write failed; the last checkpoint stays.
    """
    target = out / checkpoint_name(step)
    part = out / f".{target.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        moments: dict[str, torch.Tensor] = {}
        for name, parameter in zip(names, model.parameters(), strict=True):
            for key, value in optimizer.state[parameter].items():
                moments[f"{name}|{key}"] = value
        _write_tensors(part / "model.safetensors", dict(model.state_dict()))
        _write_tensors(part / "ema.safetensors", dict(zip(names, ema.shadow_params, strict=True)))
        _write_tensors(part / "optimizer.safetensors", moments)
        more(part)
        state = {"threads": torch.get_num_threads(), "ema_step": ema.optimization_step, "environment": environment()}
        write_json(part / "state.json", record | state)
        if _is_remnant(target):
            remove(target)
        part.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for before, old in checkpoints(out).items():
        if before < step:
            remove(old)


def _write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    with _disk_errors(path):
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """safetensors reports a full disk as an error of its own; here it is the OSError that it is."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(errno.ENOSPC, f"writing failed ({error})", str(path)) from None


def load(
    checkpoint: Path,
    model: UNet2DModel,
    optimizer: torch.optim.Optimizer,
    ema: EMAModel,
    names: list[str],
) -> dict[str, Any]:
    """Put a checkpoint's state into model, optimizer and average; what its ``state.json`` holds.

    Raises:
        InputError: a file is missing or damaged.
    """
    record = read_object(checkpoint / "state.json")
    try:
        model.load_state_dict(load_file(checkpoint / "model.safetensors"))
        shadow = load_file(checkpoint / "ema.safetensors")
        moments = load_file(checkpoint / "optimizer.safetensors")
    except (SafetensorError, RuntimeError, FileNotFoundError) as error:
        raise InputError(f"{checkpoint} is damaged ({error}); remove it and resume from the one before") from None
    ema.shadow_params = [shadow[name] for name in names]
    ema.optimization_step = record["ema_step"]
    for name, parameter in zip(names, model.parameters(), strict=True):
        optimizer.state[parameter] = {
            key.split("|")[1]: value for key, value in moments.items() if key.split("|")[0] == name
        }
    return record


def export(folder: OutputFolder, model: UNet2DModel, ema: EMAModel, write: Callable[[Path, UNet2DModel], None]) -> None:
    """The moving-average weights as ``write`` leaves them in a folder, each file renamed into place."""
    part = folder.path / EXPORT
    shutil.rmtree(part, ignore_errors=True)
    ema.store(model.parameters())
    try:
        ema.copy_to(model.parameters())
        with _disk_errors(folder.path):
            write(part, model)
        for file in sorted(part.rglob("*.json")) + sorted(part.rglob("*.safetensors")):
            with folder.replacing(file.relative_to(part).as_posix()) as target:
                file.replace(target)
    finally:
        ema.restore(model.parameters())
        shutil.rmtree(part, ignore_errors=True)
