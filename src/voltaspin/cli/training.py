"""``voltaspin train``: a model from images, a recipe and a source of noise."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltaspin.cli.files import (
    Given,
    Streaming,
    check_recording,
    file_options,
    input_of,
    refuse_recording,
    refuse_streaming,
    say_read,
)
from voltaspin.cli.images import MOST_AT_ONCE, CellsPerPixel, JunctionOfCells, refuse_cells
from voltaspin.cli.noise import NOISE, Chain, make_source, stand_in
from voltaspin.cli.options import AsJson, Background, DryRun, Force, Out, Resume, count, word
from voltaspin.cli.terminal import progress_of, remark, show
from voltaspin.core.errors import InputError
from voltaspin.core.files import check_ways, read_object
from voltaspin.core.folders import check_writable
from voltaspin.core.stopping import Stopped

if TYPE_CHECKING:
    from voltaspin.diffusion import TrainSpec
    from voltaspin.noise import NoiseSource

_IN_PLACE, _GAUSSIAN = "in-place", "gaussian"


def recipe_of(config: str, changes: list[str], options: dict[str, Any], diffusion: str = "") -> TrainSpec:
    """Return the recipe of a run: a name or a file, then NAME=VALUE changes, then options that were given.

    Args:
        config: name of a recipe or a JSON file; empty for the usual one.
        changes: NAME=VALUE with a value in JSON, or a plain word; ``cells.junction=ideal`` reaches inside.
        options: by field; None where not given.
        diffusion: ``gaussian`` or ``in-place``, where it was given.

    Raises:
        InputError: an unknown recipe or field, a value that does not fit, or another kind than was asked for.
    """
    from voltaspin.diffusion import TrainSpec, inplace
    from voltaspin.diffusion.recipe import RECIPES, recipe

    kinds: dict[str, type[TrainSpec]] = {_GAUSSIAN: TrainSpec, _IN_PLACE: inplace.InPlaceTrainSpec}
    if config and config not in RECIPES and Path(config).is_file():
        data = read_object(config)
        named = next((word for word, kind in kinds.items() if data.get("kind") == kind.KIND), _GAUSSIAN)
        if diffusion and named != diffusion:
            raise InputError(f"{config} is a recipe of --diffusion {named}; give that, or leave --diffusion out")
        chosen = kinds[named]
    else:  # a name says nothing of the kind of diffusion, nor of its source
        known = recipe(config).to_json() if config else {}
        data = {name: value for name, value in known.items() if name not in ("kind", "schema_version", "noise")}
        chosen = kinds[diffusion or _GAUSSIAN]
    data = {"schema_version": chosen.VERSION, **data, "kind": chosen.KIND}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--set {change!r}: give NAME=VALUE, such as learning_rate=2e-4")
        _put(data, name.strip(), _value(text.strip()))
    for name, value in options.items():
        if value is not None:
            _put(data, name, value)
    return chosen.from_json(data, where=config or "the recipe")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        inner = data.setdefault(part, {})
        if not isinstance(inner, dict):
            raise InputError(f"--set {name}: {part} holds no fields; give --set {part}=VALUE")
        data = inner
    data[last] = value


@file_options
def train(
    out: Out,
    config: Annotated[
        str,
        typer.Option("--config", help="Recipe: fashion-mnist-small (the default), cifar10, cifar10-small, or a JSON "
                     "file (voltaspin template train)."),
    ] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE, repeated: a field of the recipe, such as --set learning_rate=2e-4 "
                     "--set flips=true --set channels=[64,128,128]."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Pipeline folder whose model is trained on, with its schedule and network."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="fashion-mnist, mnist, cifar10, a folder of images, a Parquet file or a folder of them, or a data set "
            "of the hub (owner/name); default: that of the recipe.",
        ),
    ] = None,
    background: Background = None,
    noise: Annotated[str | None, NOISE] = None,
    condition: Chain = "",
    diffusion: Annotated[
        str,
        word("--diffusion", words=(_GAUSSIAN, _IN_PLACE),
             help="gaussian, or in-place: on the counts of an array that holds each pixel in many cells; default: "
             "that of the recipe."),
    ] = "",
    cells_per_pixel: CellsPerPixel = None,
    cells: JunctionOfCells = None,
    steps: Annotated[
        int | None, count("--training-steps", help="Optimizer steps in all, such as 12k; default: those of the recipe.")
    ] = None,
    batch: Annotated[
        int | None,
        count("--batch", most=MOST_AT_ONCE, why="which the network cannot hold in memory at once",
              help="Images at once; default: those of the recipe."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Decides every simulated random number.")] = None,
    resume: Resume = False,
    checkpoint_every: Annotated[int | None, count("--checkpoint-every", help="Steps between checkpoints.")] = None,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
    streaming: Streaming,
) -> None:  # fmt: skip
    """Train a diffusion model with the noise of a source; leaves a diffusers pipeline folder.

    Example: [bold]voltaspin train --data fashion-mnist --noise memory --training-steps 12000 --out model[/bold]

    A recipe: [bold]voltaspin train --config cifar10-small --set dropout=0.1 --out model[/bold]; a model trained on:
    [bold]voltaspin train --from model --training-steps 4000 --out longer[/bold]

    In two processes: [bold]torchrun --nproc_per_node 2 -m voltaspin train --noise memory --out model[/bold]
    """
    given = {
        "data": data, "seed": seed, "steps": steps, "batch": batch, "checkpoint_every": checkpoint_every, "start": start
    }  # fmt: skip
    if cells_per_pixel is not None or cells is not None:
        given |= {"cells_per_pixel": cells_per_pixel, "cells.junction": cells}
        if diffusion != _IN_PLACE and not config:
            refuse_cells(cells_per_pixel, cells, "--diffusion in-place")
    spec = recipe_of(config, changes or [], given, diffusion)
    from voltaspin.diffusion import inplace, load_images
    from voltaspin.diffusion import train as run_training
    from voltaspin.diffusion.objective import classes_of
    from voltaspin.diffusion.ranks import Ranks

    in_place = isinstance(spec, inplace.InPlaceTrainSpec)
    if in_place:
        refuse_recording(recording, "--diffusion in-place draws in its own array")
        refuse_streaming(streaming, "--diffusion in-place")
        if condition or noise not in (None, "software", "memory"):
            said = f"--conditioning {condition}" if condition else f"--noise {noise}"
            raise InputError(f"{said}: with --diffusion in-place the array that holds the images draws")
    name = noise or spec.noise
    check_recording(name, recording)
    make = partial(make_source, seed=spec.seed, condition=condition, force=force)
    of_file: dict[str, Any] = {"recording": recording, "streaming": streaming}
    check_ways(resume=resume, force=force)
    if dry_run:
        from voltaspin.study.size import forecast_of_training

        if isinstance(spec, inplace.InPlaceTrainSpec):
            spec.cells.check_junction()
        else:
            stand_in(make, name, **of_file)
        show(forecast_of_training(spec), as_json)
        return
    check_writable(out)
    with progress_of("decode") as progress:
        images = load_images(spec.data, split="train", background=background, progress=progress)
        held_out = None
        if spec.validate_every and not spec.held_out:
            held_out = load_images(spec.data, split="test", background=background, progress=progress)
    classes_of(images, spec)  # before any work
    ranks = Ranks.here()
    source: NoiseSource | None = None
    with progress_of("train, loss {:.4f}", per=spec.batch, unit="images") as progress:
        shown = progress if ranks.first else None
        how: dict[str, Any] = {"resume": resume, "force": force, "progress": shown, "held_out": held_out}
        if isinstance(spec, inplace.InPlaceTrainSpec):
            result = inplace.train(images, out, spec=spec, **how)
        else:
            source = make(name, numbers=images.images[0].size, **of_file)
            spec = spec.model_copy(update={"noise": f"{name} | {condition}" if condition else name})
            result = run_training(images, source, out, spec=spec, say=remark, **how)
    if not result.finished:
        stopped = Stopped(result.signum or signal.SIGINT)
        stopped.kept = f"step {result.step} of {spec.steps} is saved in {out}; continue with --resume"
        raise stopped
    ranks.leave()
    if not ranks.first:
        return
    if source is not None:
        say_read(source)
    show(result.model_copy(update={"input": None if source is None else input_of(source)}), as_json)
