"""``voltaspin sample``: images from models."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltaspin.cli.device import JUNCTION_HELP
from voltaspin.cli.files import (
    Given,
    Streaming,
    check_recording,
    file_options,
    input_of,
    say_read,
)
from voltaspin.cli.memory import array_spec
from voltaspin.cli.noise import Chain, Noise, make_source, stand_in
from voltaspin.cli.options import AsJson, DryRun, Force, Out, Resume, Seed, count, ratio, word
from voltaspin.cli.terminal import progress_of, remark, show
from voltaspin.core.errors import InputError
from voltaspin.core.units import parse_share

if TYPE_CHECKING:
    from voltaspin.noise import NoiseSource
    from voltaspin.report.sampling import SampleRun

MOST_AT_ONCE = 4096  # images; the shipped network takes 6 MB for each in training, 2 MB in sampling (measured)
Batch = Annotated[
    int,
    count("--batch", most=MOST_AT_ONCE, why="which the network cannot hold in memory at once", help="Images at once."),
]
CellsPerPixel = Annotated[
    int | None,
    count("--cells-per-pixel", most=255, why="and a count is kept in a byte",
          help="Of images in place: cells that hold a pixel; default: those of the model's training, else 31."),
]  # fmt: skip
JunctionOfCells = Annotated[
    str | None,
    typer.Option("--junction", help=f"Of the cells of images in place; default: generator. ideal, or: {JUNCTION_HELP}"),
]


def refuse_cells(cells_per_pixel: int | None, cells: str | None, where: str) -> None:
    """Refuse the options of images in place for others."""
    if cells_per_pixel is not None or cells is not None:
        option = "--cells-per-pixel" if cells_per_pixel is not None else "--junction"
        raise InputError(f"{option} is of {where} and has no effect without it; leave it out")


@file_options
def sample(
    out: Out,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Folder, or name on the hub (owner/name), of an unconditional diffusers pipeline; default: the "
            "shipped Fashion-MNIST model. A folder of `train --diffusion in-place` is sampled in its array.",
        ),
    ] = "",
    noise: Noise = "memory",
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place", help="Let the pixels diffuse in an array of cells: any Gaussian model. Bits of another "
            "--noise stand for the coins of ideal cells.",
        ),
    ] = False,
    cells_per_pixel: CellsPerPixel = None,
    cells: JunctionOfCells = None,
    order: Annotated[
        int | None,
        count("--order", most=2, why="the highest",
              help="Of images in place: 2 draws each step on along the last two predictions, so that fewer evaluations "
              "do; default: 1."),
    ] = None,
    images: Annotated[int, count("--count", most=10**8, help="Images, such as 64 or 10k.")] = 64,
    steps: Annotated[int, count("--steps", most=10**6, help="Network evaluations per image.")] = 50,
    sampler: Annotated[
        str,
        word(
            "--sampler",
            words=("ddpm", "ddim", "euler", "euler-ancestral", "heun", "dpm++", "dpm++-sde", "unipc"),
            help="ddpm (ancestral, the default), ddim, or of diffusers euler, euler-ancestral, heun, dpm++, "
            "dpm++-sde, unipc; none for a pipeline that is sampled in its own loop, with every draw served.",
        ),
    ] = "",
    eta: Annotated[
        float | None, ratio("--eta", low=0.0, help="Noise of --sampler ddim, 0 to 1 or in %; default: 0.")
    ] = None,
    churn: Annotated[
        int | None,
        count("--churn", least=0, most=10**6, help="Of --sampler ddim: steps that begin with fresh noise."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="Of a model of classes (train --set labels=true): number of a class, or all: the "
                     "classes in turn; default: of no class."),
    ] = None,
    guidance: Annotated[
        float | None, ratio("--guidance", low=0.0, high=100.0, help="Towards the class of --label: 1, none, to 100.")
    ] = None,
    batch: Batch = 64,
    condition: Chain = "",
    compute: Annotated[
        str,
        word("--compute", words=("digital", "memory"),
             help="Where the network computes: digital, or memory (its crossbars)."),
    ] = "digital",
    spec: Annotated[
        str,
        typer.Option(
            "--array", help="Of --compute memory: digital, analog, analog-fine, resistance-sum or a JSON file."
        ),
    ] = "",
    seed: Seed = 0,
    first: Annotated[
        int, count("--first", least=0, most=2**52, help="Number of the first image: a part of a larger run.")
    ] = 0,
    shard: Annotated[
        str, typer.Option("--shard", help="Make only part i/N of the images; all parts go into one --out.")
    ] = "",
    resume: Resume = False,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
    streaming: Streaming,
) -> None:  # fmt: skip
    """Generate images: one PNG each as soon as it is finished, at the end a grid, and run.json that says how.

    Example: [bold]voltaspin sample --noise memory --count 64 --steps 50 --out images[/bold]

    A published model: [bold]voltaspin sample --model google/ddpm-cifar10-32 --steps 100 --out images[/bold]
    """
    check_recording(noise, recording)
    part = parse_share(shard or "1/1", name="shard")
    if eta is not None and sampler != "ddim":
        raise InputError(f"--eta {eta:g} is of --sampler ddim and has no effect on any other; leave it out")
    if spec and compute != "memory":
        raise InputError(f"--array {spec!r} is of --compute memory; give both or neither")
    from voltaspin.report.sampling import Share, sample_into
    from voltaspin.report.sampling_runs import GaussianRun, InPlaceRun

    share = Share(first, images, batch, part, resume, force)
    from voltaspin.diffusion.inplace import CellSpec, trained_for
    from voltaspin.diffusion.pipelines import shipped_model
    from voltaspin.diffusion.published import open_model

    in_place = in_place or (Path(model).is_dir() and trained_for(model) is not None)
    pipeline = open_model(model or shipped_model(), in_place=in_place)
    source: NoiseSource | None = None
    if not in_place or noise != "memory":
        make = partial(
            make_source, seed=seed, condition=condition, force=force, numbers=math.prod(pipeline.image_shape)
        )
        of_file: dict[str, Any] = {"recording": recording, "streaming": streaming}
        source = stand_in(make, noise, **of_file) if dry_run else make(noise, **of_file)
    settings: dict[str, Any] = {"noise": noise, "condition": condition, "recording": recording}
    if source is not None:
        settings["input"] = input_of(source)
    run: SampleRun
    if in_place:
        others = {
            "sampler": sampler, "eta": eta, "churn": churn is not None and str(churn),
            "compute": compute != "digital" and compute,
        }  # fmt: skip
        if source is None:
            others["conditioning"] = condition
        elif cells is not None:
            others["junction"] = cells
        if given := next((f"--{name} {value}" for name, value in others.items() if value), ""):
            raise InputError(f"{given} has no effect on images in place, whose steps the array decides; leave it out")
        run = InPlaceRun(
            share, pipeline=pipeline, folder=model, steps=steps, seed=seed, cells_per_pixel=cells_per_pixel,
            cells=None if cells is None else CellSpec(junction=cells), order=2 if order == 2 else 1, source=source,
            settings=settings, label=label, guidance=guidance,
        )  # fmt: skip
    else:
        refuse_cells(cells_per_pixel, cells, "--in-place")
        if order is not None:
            raise InputError(f"--order {order} is of images in place; give --in-place, or a --sampler of another order")
        assert source is not None, "a Gaussian model draws from a source"
        run = GaussianRun(
            share, pipeline=pipeline, source=source, steps=steps, sampler=sampler, eta=eta or 0.0,
            spec=array_spec(spec or "analog") if compute == "memory" else None, folder=model,
            settings={**settings, "seed": seed}, label=label, guidance=guidance, churn=churn,
        )  # fmt: skip
    if dry_run:
        from voltaspin.diffusion.classes import Told
        from voltaspin.diffusion.published import unet_of
        from voltaspin.study.size import forecast_of_sampling

        told = Told.of(getattr(pipeline, "classes", None), label, guidance)
        passes = 1 if told is None else told.passes  # of the network for an evaluation, whatever the sampler
        found = forecast_of_sampling(
            unet_of(pipeline), images=sum(map(len, run.groups)), steps=passes * steps, batch=batch,
            crossbars=compute == "memory",
        )  # fmt: skip
        show(found, as_json)
        return
    with progress_of() as progress:
        result = sample_into(out, run, progress=progress, say=remark)
    if source is not None:
        say_read(source)
    show(result, as_json)
