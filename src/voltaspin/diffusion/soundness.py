"""Checks of a model folder before it is loaded or sampled: sizes that make a network, and finite numbers.

A damaged or hostile folder is refused by one sentence before anything large is allocated or computed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from voltaspin.core.errors import InputError

_MOST_STEPS = 1_000_000  #: of a schedule; published ones have 1000 to 4000
_MOST_LAYERS = 64  #: of one block, and blocks of one network
_MOST_PIXELS = 1 << 28  #: of one image, all channels

#: What diffusers itself writes as infinite: no bound.
_UNBOUNDED = {"lambda_min_clipped"}


@contextmanager
def diffusers_silent() -> Iterator[None]:
    """Keep what diffusers says of a configuration off the terminal: what does not fit is an error here."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def check_network(folder: Path, config: Mapping[str, Any], kind: type[Any], weights: Path) -> None:
    """Refuse a network's configuration that no such network fits, or that the weights do not fill.

    The network is built and evaluated without memory (PyTorch's meta device), so that a size that does not fit shows
    here and not in the middle of the sampling.

    Raises:
        InputError: the message names the field or repeats what diffusers says.
    """
    from safetensors import SafetensorError, safe_open

    def refuse(why: str) -> InputError:
        return InputError(
            f"{folder} cannot be loaded: config.json of the network does not fit, {why}; fetch the model again"
        )

    for name, value in config.items():
        if name.endswith("layers_per_block") and not _is_count(value, _MOST_LAYERS):
            raise refuse(f"{name} is {_shown(value)}, not a whole number of 1 to {_MOST_LAYERS}")
        if name.endswith("_channels") and not all(_is_count(v, 1 << 20) for v in _listed(value)):
            raise refuse(f"{name} is {_shown(value)}, not whole numbers of at least 1")
        if isinstance(value, list) and len(value) > _MOST_LAYERS:
            raise refuse(f"{name} lists {len(value)} things; {_MOST_LAYERS} are the most")
        if isinstance(value, float) and not math.isfinite(value):
            raise refuse(f"{name} is {value}, no number")
    size = config.get("sample_size")
    sides: list[Any] = size if isinstance(size, list) else [size, size]
    if size is not None and (len(sides) != 2 or not all(_is_count(side, 1 << 16) for side in sides)):
        raise refuse(f"sample_size is {_shown(size)}, not the side of a square image or [height, width] in pixels")
    channels = config.get("in_channels", 3)
    if size is not None and isinstance(channels, int) and channels * sides[0] * sides[1] > _MOST_PIXELS:
        raise refuse(f"an image of {channels} channels and {sides[0]} x {sides[1]} pixels is larger than 2**28 numbers")
    try:
        with torch.device("meta"):
            network = kind.from_config(dict(config)).eval()
            shape = (1, network.config.in_channels, *sides) if size is not None else None
            if shape is not None and "sample_size" in network.config and kind.__name__ == "UNet2DModel":
                more = {}
                if network.config.num_class_embeds or network.config.class_embed_type:
                    more["class_labels"] = torch.zeros(1, dtype=torch.long)
                with torch.no_grad():
                    made = network(torch.empty(shape), torch.zeros(1, dtype=torch.long), **more).sample
                if made.shape[2:] != shape[2:]:
                    raise ValueError(f"an image of {sides[0]} x {sides[1]} pixels comes out as {tuple(made.shape[2:])}")
    except Exception as error:  # whatever diffusers makes of sizes that fit nothing
        raise refuse(f"it makes no {kind.__name__} ({first_line(error)})") from None
    needed = sum(p.numel() for p in network.state_dict().values())
    try:
        with safe_open(weights, "pt") as file:
            held = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(not_loaded(folder, error)) from None
    if needed > 2 * held + 1024:
        raise InputError(
            f"{folder}: config.json describes a network of {needed:,} numbers and the weights file holds {held:,}; "
            "they are of different models"
        )


def check_weights(folder: Path, model: torch.nn.Module) -> None:
    """Refuse weights that are not all finite numbers; raises InputError with the first such tensor."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            wrong = int((~torch.isfinite(tensor)).sum())
            raise InputError(
                f"{folder}: {wrong} of {tensor.numel()} weights of {name} are NaN or infinite; the file is damaged or "
                "the training diverged"
            )


def check_schedule_config(folder: Path, config: Mapping[str, Any], kind: type[Any]) -> None:
    """Refuse numbers of a schedule that make none, before it is built.

    Raises:
        InputError: the message names the field.
    """

    def refuse(name: str, why: str) -> InputError:
        return InputError(
            f"{folder} cannot be loaded: scheduler_config.json has {name} = {_shown(config[name])}, {why}"
        )

    for name, value in config.items():
        unbounded = name in _UNBOUNDED and value == -math.inf
        for number in _listed(value):
            if isinstance(number, float) and not math.isfinite(number) and not unbounded:
                raise refuse(name, "which is no finite number")
    for name, argument in inspect.signature(kind.__init__).parameters.items():
        if name in config and argument.default is not argument.empty and argument.default is not None:
            wanted = type(argument.default)
            fits = isinstance(config[name], int | float if wanted is float else wanted)
            if not fits or (isinstance(config[name], bool) and wanted is not bool):
                raise refuse(name, f"not of the kind of its default, {argument.default!r}")
    total = config.get("num_train_timesteps", 1000)
    if not _is_count(total, _MOST_STEPS):
        raise refuse("num_train_timesteps", f"not a whole number of 1 to {_MOST_STEPS}")
    for name in ("clip_sample_range", "sample_max_value", "dynamic_thresholding_ratio", "beta_start", "beta_end"):
        value = config.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise refuse(name, "not a positive number")
        if value is not None and value > 1e6:
            raise refuse(name, "far beyond the range of a pixel")
    betas = config.get("trained_betas")
    if betas is not None:
        if not isinstance(betas, list) or not all(isinstance(b, int | float) for b in betas):
            raise refuse("trained_betas", "not a list of numbers")
        if len(betas) != total:
            raise refuse(
                "trained_betas", f"{len(betas)} numbers for num_train_timesteps = {total}; one is for each step"
            )


def check_schedule(folder: Path, scheduler: Any) -> None:
    """Refuse a schedule whose numbers are not finite, or whose alpha_bar does not fall from 1 towards 0.

    Raises:
        InputError: the message names the numbers.
    """
    for name in ("betas", "alphas", "alphas_cumprod", "sigmas", "timesteps"):
        values = getattr(scheduler, name, None)
        if values is None:
            continue
        values = torch.as_tensor(values, dtype=torch.float64)
        if not bool(torch.isfinite(values).all()):
            raise InputError(f"{folder}: {name} of its schedule are NaN or infinite; check scheduler_config.json")
    alpha_bar = getattr(scheduler, "alphas_cumprod", None)
    if alpha_bar is None:
        return
    alpha_bar = torch.as_tensor(alpha_bar, dtype=torch.float64)
    total = scheduler.config.get("num_train_timesteps")
    if total is not None and len(alpha_bar) != total:
        raise InputError(
            f"{folder}: its schedule has {len(alpha_bar)} steps and num_train_timesteps = {total}; they must be equal"
        )
    if bool((alpha_bar < 0).any() or (alpha_bar > 1).any() or (alpha_bar.diff() > 0).any()):
        raise InputError(
            f"{folder}: alpha_bar of its schedule does not fall from 1 towards 0 (it goes from "
            f"{float(alpha_bar[0]):.3g} to {float(alpha_bar[-1]):.3g}); every beta must lie between 0 and 1"
        )
    if float(alpha_bar[-1]) == 0 and scheduler.config.get("prediction_type") == "epsilon":
        raise InputError(
            f"{folder}: its schedule ends at alpha_bar = 0, where a predicted noise (prediction_type epsilon) says "
            "nothing about the image; such a schedule needs v_prediction or sample"
        )


def check_output(output: torch.Tensor, where: str) -> None:
    """Stop a sampling whose network gives no numbers; ``where`` names the step. Raises InputError."""
    if not bool(torch.isfinite(output).all()):
        raise InputError(
            f"the network's output is NaN or infinite at {where}; the weights or the schedule are damaged, or its "
            "arithmetic overflows"
        )


def not_loaded(folder: Path, error: Exception) -> str:
    """Return one line for a library's error about a file that it cannot load."""
    return f"{folder} cannot be loaded ({first_line(error)}); it is truncated, damaged or of another model"


def first_line(error: BaseException) -> str:
    """The first line of an error, or its class where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
