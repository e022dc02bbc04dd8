"""``voltaspin memory``: what arrays hold and compute."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voltaspin.cli.options import AsJson, Force, Model, Seed, count, quantity, ratio
from voltaspin.cli.terminal import show
from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.files import write_bytes
from voltaspin.core.folders import claimed_file

if TYPE_CHECKING:
    from voltaspin.memory import ArraySpec, NetworkTrace

app = typer.Typer(name="memory", help="Arrays that store and compute.", no_args_is_help=True, add_completion=False)

AnyModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A folder of diffusers, of a pipeline or of one network; or FILE.py:FUNCTION or MODULE:FUNCTION, which "
        "runs that file: the function returns the torch model or (model, example input). Default: the shipped "
        "Fashion-MNIST model.",
    ),
]
SpecOption = Annotated[
    str,
    typer.Option("--spec", help="Array: digital, analog, analog-fine, resistance-sum, or a JSON file of an ArraySpec."),
]


def array_spec(text: str) -> ArraySpec:
    """The specification of ``--spec``: a JSON file, or a preset's name."""
    from voltaspin.memory import ArraySpec

    return ArraySpec.load(text) if text.endswith(".json") or Path(text).is_file() else ArraySpec.preset(text)


def traced(model: str | None) -> NetworkTrace:
    """The trace of the model of ``--model``; of the shipped one where it is absent."""
    from voltaspin.diffusion.any_model import build
    from voltaspin.diffusion.pipelines import shipped_model

    return build(str(shipped_model()) if model is None else model).trace()


@app.command()
def coverage(
    model: AnyModel = None,
    spec: SpecOption = "analog",
    as_json: AsJson = False,
) -> None:
    """Which share of a model's work crossbars can do, and which layers stay digital and why.

    Shapes are enough: a folder needs its configuration and no weights. FILE.py:FUNCTION runs that file.

    Example: [bold]voltaspin memory coverage --spec analog[/bold]
    """
    chosen = array_spec(spec)
    show(traced(model).coverage(chosen), as_json)


@app.command()
def cost(
    model: Model = None,
    spec: SpecOption = "analog",
    steps: Annotated[int, count("--steps", help="Network evaluations per image.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Energy, time and area per image in crossbars, by layer and by kind of action, and on a digital machine.

    Example: [bold]voltaspin memory cost --spec analog[/bold]
    """
    chosen = array_spec(spec)
    from voltaspin.core.units import gamma_e
    from voltaspin.cost.network import priced_network
    from voltaspin.cost.pricing import CellPulse
    from voltaspin.device import Pulse, presets
    from voltaspin.diffusion.pipelines import load_pipeline, shipped_model

    pipeline = load_pipeline(shipped_model() if model is None else model)
    # the weights lie in storage cells, turned over by half a precession
    junction = presets.get("storage")
    turn = Pulse(voltage=junction.V_c, width=math.pi / (gamma_e * junction.B_in_plane))
    network, _ = priced_network(pipeline, chosen, steps=steps, array=spec, write=CellPulse.of(junction, turn))
    show(network.result, as_json)


@app.command()
def store(
    image: Annotated[Path, typer.Argument(help="A picture with 8 bit per pixel; colour becomes grey.")],
    out: Annotated[Path, typer.Option("--out", help="The picture of what was read back.")] = Path("store.png"),
    years: Annotated[
        float,
        quantity(
            "--years",
            dimension=units.DURATION,
            bare="y",
            help="Time that the storage preset waits, 10y or 30d; a number alone is in years.",
            shown="10y",
        ),
    ] = 10 * units.year,
    celsius: Annotated[
        float,
        quantity(
            "--celsius",
            dimension=units.TEMPERATURE,
            bare="degC",
            help="Temperature at which it waits, 85degC or 350K; a number alone is in Celsius.",
            shown="85degC",
        ),
    ] = 358.15,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Store a picture, let time pass, and read it back: storage preset beside the generator after one minute.

    Example: [bold]voltaspin memory store garment.png --out store.png[/bold]
    """
    from voltaspin.diffusion.pictures import read_pictures
    from voltaspin.memory.stored_image import StoredImages, retention_demo
    from voltaspin.plots.drawing import png
    from voltaspin.plots.memory import stored_images

    if not image.is_file():
        raise InputError(f"{image} does not exist; give a PNG or another picture")
    picture = read_pictures(image.parent, [image])[0]
    grey = picture[0] if len(picture) == 1 else (picture.transpose(1, 2, 0) @ [0.299, 0.587, 0.114]).round()
    grey = grey.astype("uint8")
    with claimed_file(out, force=force):
        storage = retention_demo(grey, "storage", seconds=years, temperature=celsius, seed=seed)
        generator = retention_demo(grey, "generator", seconds=60.0, temperature=None, seed=seed)
        write_bytes(out, png(stored_images(grey, [storage, generator])))
    show(StoredImages(picture=str(out), kept=(storage, generator)), as_json)


@app.command("yield")
def yield_(
    rows: Annotated[
        int, count("--rows", most=2**26, why="the cells of the largest array", help="Such as 256 or 2k.")
    ] = 256,
    columns: Annotated[
        int, count("--columns", most=2**26, why="the cells of the largest array", help="Such as 256 or 2k.")
    ] = 256,
    K_eff_spread: Annotated[
        float, ratio("--K-eff-spread", help="Standard deviation over the mean: 0.05 or 5%.")
    ] = 0.05,
    eps: Annotated[
        float, ratio("--eps", high=0.5, help="Allowed distance of p01 and p10 from 1/2: 0.01 or 1%.")
    ] = 0.01,
    seconds: Annotated[
        float,
        quantity(
            "--seconds",
            dimension=units.DURATION,
            bare="s",
            help="Retention that is asked for, 1min or 10y; a number alone is in seconds.",
        ),
    ] = 60.0,
    out: Annotated[
        Path | None, typer.Option("--out", help="A figure: sigma plots of p01 and of the retention.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Number of cells of a generator array that are fair and keep their bit.

    Example: [bold]voltaspin memory yield --K-eff-spread 0.03 --out yield.png[/bold]
    """
    if rows * columns > 2**26:
        raise InputError(
            f"--rows {rows} --columns {columns}: {rows * columns:,} cells take {rows * columns * 134 / 1e9:.3g} GB "
            f"of memory; give {2**26:,} cells at most"
        )
    from voltaspin.memory import MagnetoelectricMemory
    from voltaspin.plots.drawing import png
    from voltaspin.plots.memory import spread_of_cells

    with contextlib.nullcontext() if out is None else claimed_file(out, force=force):
        memory = MagnetoelectricMemory(rows=rows, columns=columns, K_eff_spread=K_eff_spread, seed=seed)
        found = memory.yields(eps=eps, seconds=seconds)
        if out is not None:
            write_bytes(out, png(spread_of_cells(memory, eps=eps, seconds=seconds)))
    show(found, as_json)
