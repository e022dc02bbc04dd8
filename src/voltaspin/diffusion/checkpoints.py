"""Checkpoints of a training run: a folder renamed into place when it is whole, so that its name promises its content.

Weights, moving average and optimizer state are safetensors, the rest is JSON: nothing is pickled.
"""

from __future__ import annotations

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
from voltaspin.core.files import read_json, write_json
from voltaspin.core.spec import environment


def checkpoint_name(step: int) -> str:
    """Name of the folder of one step; in the order of steps, names are sorted."""
    return f"checkpoint-{step:08d}"


def latest(out: Path) -> Path | None:
    """The last whole checkpoint in ``out``, if there is one."""
    found = sorted(p for p in out.glob("checkpoint-*") if (p / "state.json").is_file())
    return found[-1] if found else None


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
        part.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for old in sorted(out.glob("checkpoint-*"))[:-1]:
        shutil.rmtree(old, ignore_errors=True)


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
    record = read_json(checkpoint / "state.json")
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
    return dict(record)


def export(out: Path, model: UNet2DModel, ema: EMAModel, write: Callable[[Path, UNet2DModel], None]) -> None:
    """The moving-average weights as ``write`` leaves them in a folder, each file renamed into place."""
    part = out / ".export.part"
    shutil.rmtree(part, ignore_errors=True)
    ema.store(model.parameters())
    try:
        ema.copy_to(model.parameters())
        with _disk_errors(out):
            write(part, model)
        for file in sorted(part.rglob("*.json")) + sorted(part.rglob("*.safetensors")):
            target = out / file.relative_to(part)
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
    finally:
        ema.restore(model.parameters())
        shutil.rmtree(part, ignore_errors=True)
