"""Diffusion models in diffusers folders: read strictly, with nothing unpickled and nothing downloaded."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DDPMScheduler, UNet2DModel

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_json
from voltaspin.diffusion.classes import FILE as CLASSES
from voltaspin.diffusion.classes import ClassSpec, classes_of_model
from voltaspin.diffusion.hub import PICKLES, WEIGHTS
from voltaspin.diffusion.soundness import (
    check_network,
    check_schedule,
    check_schedule_config,
    check_weights,
    diffusers_silent,
    not_loaded,
)


@dataclass(frozen=True, repr=False)
class Pipeline:
    """A diffusion model read from a diffusers folder.

    Args:
        unet: in evaluation mode.
        scheduler: holds alpha_bar, the kind of prediction and the spacing of the time steps.
        folder: where it was read.
        sha256: of the weights file.
        classes: that the network is told; None for an unconditional one.
    """

    unet: UNet2DModel
    scheduler: DDPMScheduler
    folder: Path
    sha256: str
    classes: ClassSpec | None = None

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.image_shape))
        steps = self.scheduler.config.num_train_timesteps
        told = "" if self.classes is None else f", {self.classes.classes} classes"
        return (
            f"Pipeline({self.folder.name}: images of {size}, {sum(p.numel() for p in self.unet.parameters()):,} "
            f"parameters, {steps} time steps, predicts {self.scheduler.config.prediction_type}{told})"
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return shape_of(self.unet)


def shape_of(unet: UNet2DModel) -> tuple[int, int, int]:
    """Return channels, height and width of a network's input."""
    size = unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return unet.config.in_channels, height, width


def shipped_model() -> Path:
    """Folder of the model that ships with the package: unconditional Fashion-MNIST."""
    return Path(__file__).parents[1] / "data" / "model-fashion-mnist"


def load_pipeline(folder: Path | str, *, learned_variance: bool = False, told: bool = False) -> Pipeline:
    """Read a DDPM or DDIM pipeline folder; nothing is unpickled and nothing is downloaded.

    Args:
        folder: holds ``unet`` and ``scheduler``, or the files of both side by side as the first models of the hub.
        learned_variance: take models that learned one too, for a sampler that leaves it out.
        told: take models that are told a class and say so in ``classes.json``, for a caller who tells it.

    Raises:
        InputError: no such folder, not a pipeline, pickled or truncated weights.
    """
    folder = Path(folder)
    check_folder(folder)
    unet, sha256 = load_part(folder, "unet", UNet2DModel)
    classes = classes_of_model(folder)
    if (unet.config.num_class_embeds or unet.config.class_embed_type) and not (told and classes):
        raise InputError(
            f"{folder} holds a model of classes; here only an unconditional UNet2DModel is taken (sampling with "
            "a label and start= take one that was trained here)"
        )
    if classes is not None and unet.config.num_class_embeds != classes.classes + 1:
        raise InputError(
            f"{folder}: {CLASSES} says {classes.classes} classes, and the network has others; copy it anew"
        )
    if unet.config.sample_size is None:
        raise InputError(f"{folder}: unet/config.json does not say the size of the images; add sample_size")
    named = _object(part_home(folder, "scheduler") / "scheduler_config.json", folder).get("_class_name")
    if str(named) not in ("None", "DDPMScheduler", "DDIMScheduler"):
        raise InputError(
            f"{folder} has a {named}, and another schedule would not give its images; sample it with "
            "'voltaspin sample', or save the model with a DDPMScheduler or DDIMScheduler"
        )
    scheduler = load_schedule(folder)
    if reason := unsupported(scheduler, learned_variance=learned_variance):
        raise InputError(f"{folder}: {reason}")
    return Pipeline(unet.eval(), scheduler, folder, sha256, classes)


def check_folder(folder: Path) -> None:
    """Refuse what is no folder; raises InputError with what to give instead."""
    if folder.suffix in PICKLES:
        raise InputError(f"{folder} is a pickle, which can run code when it is read; convert it to safetensors first")
    if folder.is_file():
        raise InputError(
            f"{folder} is a file; give the pipeline folder that holds model_index.json, unet and scheduler"
        )
    if (folder / "bitflip.json").is_file():
        raise InputError(
            f"{folder} holds a network for the bit planes of version 0.1.0, which made worse images than populations "
            "of cells (docs/log.md): train one with --diffusion in-place, or sample this one with 0.1.0"
        )
    if not folder.is_dir():
        raise InputError(f"model folder {folder} does not exist; check its name, or make it with 'voltaspin train'")


@diffusers_silent()
def load_part(folder: Path, name: str, kind: type[Any]) -> tuple[Any, str]:
    """Load a network of a pipeline folder, and the SHA-256 of its weights; nothing is random or unpickled.

    Args:
        folder: the pipeline's.
        name: of the part, ``unet`` for example.
        kind: its class in diffusers.

    Raises:
        InputError: pickled, missing, truncated or other weights, or another class.
    """
    home = part_home(folder, name)
    weights = home / WEIGHTS
    if not weights.is_file():
        pickles = [p for p in folder.rglob("*") if p.suffix in PICKLES]
        if pickles:
            raise InputError(
                f"{pickles[0]} is a pickle, which can run code when it is read; save the model with "
                "safe_serialization=True"
            )
        raise InputError(f"{folder} is no pipeline folder: {name}/{WEIGHTS} is missing")
    config = _object(home / "config.json", folder)
    if config.get("_class_name") != kind.__name__:
        raise InputError(
            f"{folder} holds a {config.get('_class_name')}; only an unconditional {kind.__name__} is sampled"
        )
    check_network(folder, config, kind, weights)
    try:
        model, info = kind.from_pretrained(
            home, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    except Exception as error:  # whatever diffusers makes of a damaged file
        raise InputError(not_loaded(folder, error)) from None
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    if wrong:
        raise InputError(not_loaded(folder, ValueError(f"{len(wrong)} weights do not fit, {wrong[0]} first")))
    check_weights(folder, model)
    return model.float(), hashlib.sha256(weights.read_bytes()).hexdigest()


@diffusers_silent()
def load_schedule(folder: Path, kind: type[Any] = DDPMScheduler) -> Any:
    """Load the schedule of a pipeline folder as one of ``kind``; raises InputError for a damaged one."""
    config = _object(part_home(folder, "scheduler") / "scheduler_config.json", folder)
    check_schedule_config(folder, config, kind)
    try:
        with warnings.catch_warnings():
            # diffusers hands tensors to NumPy in a way that NumPy 2 is about to give up
            warnings.simplefilter("ignore", DeprecationWarning)
            scheduler = kind.from_config(config)
    except Exception as error:
        raise InputError(not_loaded(folder, error)) from None
    check_schedule(folder, scheduler)
    return scheduler


def unsupported(scheduler: DDPMScheduler, *, learned_variance: bool = False) -> str:
    """Return the property of a schedule that our steps do not support, with the remedy; empty if they support all."""
    config = scheduler.config
    if config.prediction_type not in ("epsilon", "v_prediction", "sample"):
        return f"prediction_type={config.prediction_type!r} is not supported; use epsilon, v_prediction or sample"
    learned = ("learned", "learned_range") if learned_variance else ()
    if config.thresholding or config.variance_type not in ("fixed_small", "fixed_large", *learned):
        return (
            f"variance_type={config.variance_type!r}, thresholding={config.thresholding} is not supported; use "
            "fixed_small or fixed_large without thresholding"
        )
    return ""


def part_home(folder: Path, part: str) -> Path:
    """Return the folder of a part's files: its own, or that of all parts as in the first models of the hub."""
    return folder / part if (folder / part).is_dir() else folder


def _object(file: Path, folder: Path) -> dict[str, Any]:
    found = read_json(file, infinities=True)  # diffusers writes -Infinity for a bound that is none
    if not isinstance(found, dict):
        raise InputError(f"{folder}: {file.name} is no JSON object; fetch the model again")
    return found
