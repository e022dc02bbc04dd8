"""Published models: any unconditional image pipeline of diffusers, from a folder or from the hub.

Where our own steps know a model's schedule, it is sampled by them. Any other pipeline runs as it is, in its own loop
and with its own schedule, while ``drive_torch`` serves every draw; what it draws for an image comes from the image's
stream, so that the image does not depend on its batch.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DModel
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.core.files import read_json, read_object
from voltaspin.diffusion import hub
from voltaspin.diffusion.classes import FILE as CLASSES
from voltaspin.diffusion.pipelines import (
    Pipeline,
    check_folder,
    load_part,
    load_pipeline,
    load_schedule,
    part_home,
    shape_of,
    unsupported,
)
from voltaspin.diffusion.sampling import Samples, in_batches
from voltaspin.diffusion.soundness import check_output, first_line
from voltaspin.diffusion.stepping import STEPPED, SteppedPipeline, why_not
from voltaspin.noise import NoiseSource
from voltaspin.noise.torch_draws import UnservedDrawError

_OWN_PIPELINES = {"DDPMPipeline", "DDIMPipeline"}
_OWN_SCHEDULES = {"DDPMScheduler", "DDIMScheduler"}
_INDEX = "model_index.json"
_NEEDED = ("batch_size", "generator", "num_inference_steps", "output_type")
#: What a component of this class says about its pipeline.
_CONDITIONAL = {
    "UNet2DConditionModel": "its network needs a condition, such as a text",
    "UNet1DModel": "it makes sequences, such as sound, and no images",
}


@dataclass(frozen=True)
class Unmodified:
    """A diffusers pipeline that runs in its own loop.

    Args:
        pipeline: of diffusers.
        folder: where it was read.
        sha256: of the weights file, or of the hashes of several.
    """

    pipeline: Any
    folder: Path
    sha256: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what one draw fills: an image, or its latent."""
        return shape_of(self.pipeline.unet)

    @property
    def name(self) -> str:
        """Pipeline, or schedule where the pipeline's own does not matter."""
        kind = type(self.pipeline)
        return f"a {type(self.pipeline.scheduler).__name__}" if kind is SteppedPipeline else kind.__name__

    @property
    def sampler(self) -> str:
        """Pipeline and schedule, as a record names them."""
        kind, schedule = type(self.pipeline), type(self.pipeline.scheduler).__name__
        return f"loop of a {schedule}" if kind is SteppedPipeline else f"{kind.__name__} with {schedule}, unmodified"


def unet_of(model: Pipeline | Unmodified) -> Any:
    """Return the network of a model of :func:`open_model`."""
    return model.unet if isinstance(model, Pipeline) else model.pipeline.unet


def open_model(model: Path | str, *, in_place: bool = False) -> Pipeline | Unmodified:
    """A model by its folder or its name on the hub.

    Args:
        model: a pipeline folder of diffusers, or ``owner/name``.
        in_place: for :mod:`voltaspin.diffusion.inplace`, which needs the prediction and alpha_bar alone.

    Returns:
        A :class:`Pipeline` for our sampler, or an :class:`Unmodified` one for :func:`sample_unmodified`.

    Raises:
        InputError: no such model, out of reach, not unconditional, no images, pickled or damaged.
    """
    if hub.is_name(str(model)):
        folder = hub.model_folder(str(model), check_unconditional)
    else:
        folder = Path(model)
        check_folder(folder)
        if (folder / CLASSES).is_file():
            return load_pipeline(folder, told=True, learned_variance=in_place)
        if not (folder / _INDEX).is_file():
            return load_pipeline(folder, learned_variance=in_place)
    index = check_unconditional(folder)
    kind, schedule = index["_class_name"], index["scheduler"][1]
    ours = kind in _OWN_PIPELINES and schedule in _OWN_SCHEDULES
    if ours and in_place:
        return load_pipeline(folder, learned_variance=True)
    if kind in _OWN_PIPELINES and not ours:
        return _load_stepped(folder, schedule)
    if ours and not unsupported(load_schedule(folder)) and _ends_at_the_image(folder):
        return load_pipeline(folder)
    return _load_unmodified(folder, index)


def check_unconditional(folder: Path) -> dict[str, Any]:
    """The index of an unconditional image pipeline of diffusers; only JSON is read.

    Raises:
        InputError: it is something else; the message says what.
    """
    import diffusers

    if not (folder / _INDEX).is_file():
        raise InputError(f"{folder} has no {_INDEX}, so it is no pipeline of diffusers; give one that is")
    index = read_json(folder / _INDEX)
    if not isinstance(index, dict) or not isinstance(name := index.get("_class_name"), str):
        raise InputError(
            f"{folder}/{_INDEX} names no pipeline of diffusers, perhaps code of its own; give one that does"
        )
    parts = {key: part for key, part in index.items() if isinstance(part, list) and part != [None, None]}

    def refuse(why: str) -> InputError:
        return InputError(f"{folder} is a {name}: {why}; only unconditional image pipelines are sampled")

    for key, part in parts.items():
        if len(part) != 2 or not all(isinstance(word, str) for word in part):
            raise InputError(f"{folder}/{_INDEX}: {key} is {part!r}, not a library and a class; fetch the model again")
        if part[1] in _CONDITIONAL:
            raise refuse(_CONDITIONAL[part[1]])
        if part[0] == "transformers":
            raise refuse(f"it is conditioned by its {key}, a {part[1]}")
        if part[0] != "diffusers" or not hasattr(diffusers, part[1]):
            raise refuse(f"its {key} is a {part[1]} of {part[0]}, not a class of diffusers {diffusers.__version__}")
        if getattr(diffusers, part[1]).__module__.startswith("diffusers.utils.dummy"):
            raise InputError(
                f"{folder}: diffusers {diffusers.__version__} offers {part[1]} only where more packages are installed; "
                "pip install transformers"
            )
    kind = getattr(diffusers, name, None)
    if kind is None or not issubclass(kind, diffusers.DiffusionPipeline):
        raise refuse(f"no such pipeline is in diffusers {diffusers.__version__}")
    call = inspect.signature(kind.__call__).parameters
    required = [p.name for p in call.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    if required or not set(_NEEDED) <= set(call):
        lacks = ", ".join(sorted(set(_NEEDED) - set(call)))
        raise refuse(f"it needs {', '.join(required)}" if required else f"it does not take {lacks}")
    if parts.get("unet", ["", ""])[1] != UNet2DModel.__name__ or "scheduler" not in parts:
        raise refuse("it has no UNet2DModel with a scheduler")
    named = read_json(part_home(folder, "scheduler") / "scheduler_config.json", infinities=True)
    named = str(named.get("_class_name")) if isinstance(named, dict) else "None"
    if named not in ("None", parts["scheduler"][1]) and not {named, parts["scheduler"][1]} <= _OWN_SCHEDULES:
        raise InputError(
            f"{folder}: {_INDEX} names a {parts['scheduler'][1]} and scheduler_config.json a {named}; make them agree"
        )
    config = read_json(part_home(folder, "unet") / "config.json")
    if isinstance(config, dict) and (config.get("num_class_embeds") or config.get("class_embed_type")):
        raise refuse("its network is told a class (num_class_embeds or class_embed_type)")
    if not isinstance(config, dict) or config.get("sample_size") is None:
        raise InputError(f"{folder}: the network's config.json does not say the size of the images; add sample_size")
    return index


def _load_stepped(folder: Path, schedule: str) -> Unmodified:
    import diffusers

    if reason := why_not(schedule):
        fitting = ", ".join(sorted({*STEPPED, *_OWN_SCHEDULES}))
        raise InputError(f"{folder} has a {schedule}, which {reason}; a DDPM is sampled with one of {fitting}")
    unet, sha256 = load_part(folder, "unet", UNet2DModel)
    if unet.config.out_channels != unet.config.in_channels:
        raise InputError(
            f"{folder}: its network gives {unet.config.out_channels} channels for {unet.config.in_channels}, a learned "
            f"variance, which a {schedule} does not take; save it with a DDPMScheduler"
        )
    scheduler = load_schedule(folder, getattr(diffusers, schedule))
    return Unmodified(SteppedPipeline(unet.eval(), scheduler), folder, sha256)


def _ends_at_the_image(folder: Path) -> bool:
    """Return whether the last step of a DDIM schedule leads to alpha_bar = 1, as our DDIM step does."""
    config = read_object(part_home(folder, "scheduler") / "scheduler_config.json")
    return config.get("_class_name") != DDIMScheduler.__name__ or bool(config.get("set_alpha_to_one", True))


def _load_unmodified(folder: Path, index: dict[str, Any]) -> Unmodified:
    import diffusers

    parts: dict[str, Any] = {}
    hashes = []
    for key, part in sorted(index.items()):
        if not isinstance(part, list) or part == [None, None]:
            continue
        kind = getattr(diffusers, part[1])
        if issubclass(kind, torch.nn.Module):
            parts[key], sha256 = load_part(folder, key, kind)
            hashes.append(sha256)
        else:
            parts[key] = load_schedule(folder, kind)
    try:
        pipeline = getattr(diffusers, index["_class_name"])(**parts)
    except Exception as error:
        raise InputError(f"{folder} does not make a {index['_class_name']} ({error}); fetch the model again") from None
    for key, part in parts.items():
        if type(getattr(pipeline, key, None)) is not type(part):
            raise InputError(
                f"{folder}: a {index['_class_name']} puts a {type(getattr(pipeline, key, None)).__name__} in the place "
                f"of its {type(part).__name__}; save the model with a pipeline that uses the latter, such as a "
                "DDPMPipeline"
            )
    pipeline.set_progress_bar_config(disable=True)
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return Unmodified(pipeline, folder, whole)


def sample_unmodified(
    model: Unmodified,
    source: NoiseSource,
    *,
    count: int,
    steps: int = 50,
    batch: int = 64,
    first: int = 0,
    eta: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """Generate images in the pipeline's own loop, every draw of which ``source`` serves.

    Args:
        model: from :func:`open_model`.
        source: image i draws from stream ``first + i``, at step 0 its first latent, one step further with every draw
            that the pipeline makes for it; a sequential source hands out its numbers in the order of the work.
        count, steps: images, and steps as the pipeline counts them.
        batch: images at a time. The pixels depend on it by float rounding; and beyond that where a schedule couples
            the images of a batch (ScoreSdeVe scales its correction by the mean over the batch) or draws for no image
            in particular (``Samples.unaddressed`` counts that).
        eta: where the pipeline takes it.
        progress: called as ``progress(image_steps_done, image_steps_in_all)``.

    Returns:
        The images; ``steps`` are the network's evaluations per image, ``draws`` the numbers drawn per image.

    Raises:
        InputError: a number that makes no sense or that the pipeline refuses, a draw that no source can serve, or
            pixels that are no numbers.
        NoiseStoppedError: the source ran dry or raised an alarm; ``finished`` holds the batches before, or None.
    """
    if steps < 1:
        raise InputError(f"steps={steps}: give at least 1")
    pipeline, kind = model.pipeline, model.name
    most = pipeline.scheduler.config.get("num_train_timesteps")
    if most is not None and steps > most:
        raise InputError(f"{steps} sampling steps: give 1 to {most}, the number of steps of the schedule")
    options: dict[str, Any] = {}
    if "eta" in inspect.signature(pipeline.__call__).parameters:
        options["eta"] = eta
    elif eta:
        raise InputError(f"eta={eta}: {kind} takes no eta; leave it out")
    numbered = isinstance(pipeline, SteppedPipeline)
    calls, per_batch, draws, unaddressed, in_noise = 0, steps, 0, 0, 0.0
    images = range(0)

    def evaluated(_: Any, __: Any, output: Any) -> None:
        nonlocal calls
        calls += 1
        found: torch.Tensor = output[0] if isinstance(output, tuple) else output.sample
        check_output(found, f"evaluation {calls} of images {images[0]} to {images[-1]}")
        if progress is not None:
            done = (images[0] - first) * steps + len(images) * min(steps, steps * calls // per_batch)
            progress(done, count * steps)

    def make(now: range) -> NDArray[np.uint8]:
        nonlocal images, calls, per_batch, draws, unaddressed, in_noise
        images, calls = now, 0
        # Here a generator is only the name of a stream: drive_torch serves what is drawn with it.
        generators = [torch.Generator().manual_seed(i) for i in images]
        if numbered:
            options["first"] = now[0]
        try:
            with warnings.catch_warnings(), source.drive_torch() as driven:
                # diffusers hands tensors to NumPy in a way that NumPy 2 is about to give up
                warnings.simplefilter("ignore", DeprecationWarning)
                made = pipeline(
                    batch_size=len(images), generator=generators, num_inference_steps=steps, output_type="np", **options
                ).images
        except UnservedDrawError as error:
            raise InputError(
                f"{model.sampler}: it draws by {error.operation}, which no source serves, so its images would not "
                "come from the source alone; use another schedule"
            ) from None
        except (InputError, NoiseStoppedError, torch.OutOfMemoryError):
            raise
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
            # the code of diffusers, with numbers of a model folder that it was not tried with
            raise InputError(f"{kind} refuses {steps} steps: {first_line(error)}") from None
        draws = driven.numbers // len(images)
        unaddressed = driven.served - sum(driven.streams.values()) if source.addressable else 0
        in_noise += driven.seconds
        per_batch = calls
        return _to_uint8(made, model)

    def record() -> dict[str, Any]:
        return {"steps": per_batch, "draws": draws, "noise_seconds": in_noise, "unaddressed": unaddressed}

    hook = pipeline.unet.register_forward_hook(evaluated)
    try:
        return in_batches(make, source, count=count, batch=batch, first=first, record=record)
    finally:
        hook.remove()


def _to_uint8(made: NDArray[np.float32], model: Unmodified) -> NDArray[np.uint8]:
    """(n, h, w, channels) in [0, 1] to grey levels, rounded as diffusers rounds them."""
    if not np.isfinite(made).all():
        raise InputError(f"{model.sampler}: its pixels are no numbers; more steps, or another schedule, may help")
    return np.ascontiguousarray((made.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 3, 1, 2))
