"""``voltaspin memory``: what arrays hold and compute."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voltaspin.cli.options import AsJson, Force, Out, Seed, count, quantity, ratio, word
from voltaspin.cli.terminal import check_fail_on, end_on, run_record, show
from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.files import write_bytes
from voltaspin.core.folders import OutputFolder, claimed_file

if TYPE_CHECKING:
    from voltaspin.core.quantity import Sourced
    from voltaspin.core.result import Result
    from voltaspin.cost.bill import ComputeCost
    from voltaspin.cost.macro import MacroSpec
    from voltaspin.diffusion.any_model import LoadedModel
    from voltaspin.diffusion.pipelines import Pipeline
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
    typer.Option(
        "--array", help="Array: digital, analog, analog-fine, resistance-sum, or a JSON file of an ArraySpec."
    ),
]


MacroOption = Annotated[
    str | None,
    typer.Option("--macro", help="What the arrays are built of: a JSON file of a MacroSpec; default: 28 nm."),
]


def field_of(text: str) -> tuple[str, Any]:
    """Read ``FIELD=VALUE``; a value that is no JSON is a text."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise InputError(f"--set {text!r}: give FIELD=VALUE, such as weight_bits=4")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def macro_spec(file: str | None) -> MacroSpec | None:
    """The macro of ``--macro``; None for the defaults."""
    from voltaspin.cost.macro import MacroSpec

    return None if file is None else MacroSpec.load(file)


def with_figure(result: Result, figure: Path | None, *, force: bool, as_json: bool) -> None:
    """Show a result, and draw its figure where ``--figure`` asks for it."""
    from voltaspin.plots.drawing import png

    if figure is not None:
        with claimed_file(figure, force=force, suffix=".png"):
            write_bytes(figure, png(result.plot()))
    show(result, as_json)


def priced(model: str | None, spec: str, macro: str | None, steps: int) -> ComputeCost:
    """Price a model in arrays whose cells are those of the storage preset."""
    from voltaspin.cost.network import compute_cost
    from voltaspin.cost.pricing import CellPulse, weight_pulse

    chosen, built = array_spec(spec), macro_spec(macro)
    write = CellPulse.of(*weight_pulse())
    return compute_cost(traced(model), chosen, built, evaluations=steps, write=write, array=spec)


def array_spec(text: str) -> ArraySpec:
    """The specification of ``--array``: a JSON file, or a preset's name."""
    from voltaspin.memory import ArraySpec

    return ArraySpec.load(text) if text.endswith(".json") or Path(text).is_file() else ArraySpec.preset(text)


def traced(model: str | None) -> NetworkTrace:
    """The trace of the model of ``--model``; of the shipped one where it is absent."""
    from voltaspin.diffusion.any_model import build
    from voltaspin.diffusion.pipelines import shipped_model

    return build(str(shipped_model()) if model is None else model).trace()


def pipeline_or_model(model: str | None) -> Pipeline | LoadedModel:
    """The pipeline of ``--model`` where it names one that voltaspin samples, else the model by its shapes."""
    from voltaspin.diffusion.any_model import build
    from voltaspin.diffusion.pipelines import load_pipeline, shipped_model

    if model is None:
        return load_pipeline(shipped_model())
    if (Path(model) / "model_index.json").is_file():
        with contextlib.suppress(InputError):  # shapes are enough but for images in place; the report says so
            return load_pipeline(model)
    return build(model)


@app.command()
def coverage(
    model: AnyModel = None,
    spec: SpecOption = "analog",
    as_json: AsJson = False,
) -> None:
    """Which share of a model's work crossbars can do, and which layers stay digital and why.

    Shapes are enough: a folder needs its configuration and no weights. FILE.py:FUNCTION runs that file.

    Example: [bold]voltaspin memory coverage --array analog[/bold]
    """
    chosen = array_spec(spec)
    show(traced(model).coverage(chosen), as_json)


@app.command()
def cost(
    model: AnyModel = None,
    spec: SpecOption = "analog",
    macro: MacroOption = None,
    steps: Annotated[int, count("--steps", help="Network evaluations per image.")] = 50,
    figure: Annotated[Path | None, typer.Option("--figure", help="PNG: energy and area by component.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Energy, time and area of an image in crossbars, by component and layer, and of a digital machine.

    Example: [bold]voltaspin memory cost --array analog --figure cost.png[/bold]
    """
    network = priced(model, spec, macro, steps)
    with_figure(network, figure, force=force, as_json=as_json)


@app.command("map")
def map_(
    model: AnyModel = None,
    spec: SpecOption = "analog",
    macro: MacroOption = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="PNG: the floor plan.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Which layer lies in which arrays: utilisation, copies and time of each, and a floor plan.

    Example: [bold]voltaspin memory map --array analog --figure plan.png[/bold]
    """
    mapping = priced(model, spec, macro, 1).mapping
    assert mapping is not None
    with_figure(mapping, figure, force=force, as_json=as_json)


@app.command()
def export(
    model: AnyModel = None,
    spec: SpecOption = "analog",
    macro: MacroOption = None,
    steps: Annotated[int, count("--steps", help="Network evaluations per image.")] = 50,
    out: Out = Path("macro-export"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a mapped network for other programs: tables of Accelergy 0.4, and CSV by layer, action and component.

    The energies are nominal values, which add up; `table.csv` has the ranges.

    Example: [bold]voltaspin memory export --array analog --out macro-export[/bold]
    """
    from voltaspin.cost.export import export_network
    from voltaspin.cost.pricing import CellPulse, weight_pulse

    chosen, built = array_spec(spec), macro_spec(macro)
    arguments = {"model": model, "spec": chosen.to_json(), "macro": None if built is None else built.to_json(),
                 "steps": steps}  # fmt: skip
    with OutputFolder.claim(out, command="memory export", arguments=arguments, force=force) as folder:
        write = CellPulse.of(*weight_pulse())
        made = export_network(traced(model), chosen, built, evaluations=steps, write=write, array=spec)
        texts = made.texts()
        folder.plan(texts)
        for name, text in texts.items():
            folder.write_bytes(name, text.encode())
        folder.finish(run_record())
    show(made, as_json, f"folder: {out.resolve()}")


@app.command()
def macro(
    preset: Annotated[
        str, typer.Option("--published", help="A published macro; `list` names them, `all` sets them side by side.")
    ] = "",
    spec: SpecOption = "analog",
    macro: MacroOption = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE of a published macro's arrays or circuits, repeated; in SI."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="PNG: the parts, or a published macro beside.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Energy, area and time of one array with all its circuits; of a published macro beside what was measured.

    Example: [bold]voltaspin memory macro --published mram-22-2025[/bold]
    """
    from voltaspin.cost.macro import macro_cost
    from voltaspin.cost.silicon import check_macro, silicon_macro, silicon_macros, silicon_table

    idle = {"--array": spec != "analog", "--macro": macro is not None}
    if preset in ("all", "list"):
        idle |= {"--set": bool(changes), "--figure": figure is not None, "--json": as_json}
    if preset and (said := next((option for option, given in idle.items() if given), "")):
        raise InputError(f"{said} has no effect with --published {preset}; leave it out")
    if preset == "all":
        print(silicon_table())
        return
    if preset == "list":
        for key, one in silicon_macros().items():
            print(f"{key:<18}{one.name}; {one.citation} ({one.made})")
        return
    if changes and not preset:
        raise InputError(
            "--set changes a published macro: give --published; other macros take --array and --macro files"
        )
    if preset:
        found: Result = check_macro(silicon_macro(preset), changes=dict(map(field_of, changes or [])))
    else:
        found = macro_cost(array_spec(spec), macro_spec(macro))
    with_figure(found, figure, force=force, as_json=as_json)


def endured(text: str) -> Sourced:
    """The endurance of ``--endurance``: a kind of memory, or a number."""
    from voltaspin.core.errors import nearest
    from voltaspin.core.quantity import Sourced
    from voltaspin.cost.endurance import LIMITS

    if text in LIMITS:
        return LIMITS[text]
    with contextlib.suppress(ValueError):
        if 1 <= (cycles := float(text)) < float("inf"):
            return Sourced(cycles, "1", "as given", "assumed", cycles, cycles)
    raise InputError(
        f"--endurance {text!r}: give {', '.join(LIMITS)}, or a number of cycles from 1 on, like 1e12"
        f"{nearest(text, LIMITS)}"
    )


@app.command()
def endurance(
    model: AnyModel = None,
    spec: SpecOption = "analog",
    macro: MacroOption = None,
    steps: Annotated[int, count("--steps", help="Network evaluations per image.")] = 50,
    endurance: Annotated[
        str,
        typer.Option("--endurance", help="Cycles a cell survives: vcma, stt-embedded, stt-fast, or a number."),
    ] = "vcma",
    images_per_day: Annotated[
        float | None,
        quantity("--images-per-day", dimension=units.COUNT, bare="", help="Default: as many as the chip makes."),
    ] = None,
    cells: Annotated[
        int, count("--n-cells", most=2**26, why="the cells of the largest array", help="Of the random-bit memory.")
    ] = 65536,
    mapping: Annotated[
        Literal["fixed", "rotated", "hashed"],
        word("--mapping", words=("fixed", "rotated", "hashed"), help="Which random-bit cells serve which pixel."),
    ] = "fixed",
    cells_per_pixel: Annotated[
        int, count("--cells-per-pixel", most=255, why="that a byte counts", help="Of an image in place.")
    ] = 31,
    training_steps: Annotated[
        int | None, count("--training-steps", help="Of a training run; default: the model's own, else 12000.")
    ] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="PNG: lifetimes against ten years.")] = None,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", help="wear: end with status 3 unless every kind of cells surely lasts ten years."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Cycles of each cell for an image, a day and a training run, and when the busiest cell is worn.

    Example: [bold]voltaspin memory endurance --array analog --figure lifetimes.png[/bold]
    """
    from voltaspin.cost.endurance import model_endurance

    check_fail_on(fail_on, {"wear": "a kind of cells may be worn within ten years"})
    limit, chosen, built = endured(endurance), array_spec(spec), macro_spec(macro)
    found = model_endurance(
        pipeline_or_model(model), chosen, built, steps=steps, images_per_day=images_per_day, limit=limit, cells=cells,
        mapping=mapping, cells_per_pixel=cells_per_pixel, training_steps=training_steps,
    )  # fmt: skip
    with_figure(found, figure, force=force, as_json=as_json)
    end_on(fail_on, {"wear": any(one.lasts != "yes" for one in found.cases)})


@app.command()
def store(
    image: Annotated[Path, typer.Argument(help="A picture with 8 bit per pixel; colour becomes grey.")],
    out: Annotated[Path, typer.Option("--out", help="The picture of what was read back.")] = Path("store.png"),
    years: Annotated[
        float,
        quantity(
            "--time",
            dimension=units.DURATION,
            bare="y",
            help="Time that the storage preset waits, 10y or 30d; a number alone is in years.",
            shown="10y",
        ),
    ] = 10 * units.year,
    celsius: Annotated[
        float,
        quantity(
            "--temperature",
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
    with claimed_file(out, force=force, suffix=".png", inputs=[image]):
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
            "--retention",
            dimension=units.DURATION,
            bare="s",
            help="Retention that is asked for, 1min or 10y; a number alone is in seconds.",
        ),
    ] = 60.0,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="PNG: sigma plots of p01 and of the retention.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Number of cells of a generator array that are fair and keep their bit.

    Example: [bold]voltaspin memory yield --K-eff-spread 0.03 --figure yield.png[/bold]
    """
    if rows * columns > 2**26:
        raise InputError(
            f"--rows {rows} --columns {columns}: {rows * columns:,} cells take {rows * columns * 134 / 1e9:.3g} GB "
            f"of memory; give {2**26:,} cells at most"
        )
    from voltaspin.memory import MagnetoelectricMemory
    from voltaspin.plots.drawing import png
    from voltaspin.plots.memory import spread_of_cells

    with contextlib.nullcontext() if figure is None else claimed_file(figure, force=force, suffix=".png"):
        memory = MagnetoelectricMemory(rows=rows, columns=columns, K_eff_spread=K_eff_spread, seed=seed)
        found = memory.yields(eps=eps, seconds=seconds)
        if figure is not None:
            write_bytes(figure, png(spread_of_cells(memory, eps=eps, seconds=seconds)))
    show(found, as_json)
