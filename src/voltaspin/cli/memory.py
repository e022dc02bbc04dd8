"""``voltaspin memory``: what arrays hold and compute."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voltaspin.cli.terminal import Force, at_least, count, print_json, quantity
from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.files import write_bytes
from voltaspin.core.folders import claimed_file

if TYPE_CHECKING:
    from voltaspin.memory import ArraySpec

app = typer.Typer(name="memory", help="Arrays that store and compute.", no_args_is_help=True, add_completion=False)

SpecOption = Annotated[
    str,
    typer.Option("--spec", help="Array: digital, analog, analog-fine, resistance-sum, or a JSON file of an ArraySpec."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def array_spec(text: str) -> ArraySpec:
    """The specification of ``--spec``: a JSON file, or a preset's name."""
    from voltaspin.memory import ArraySpec

    return ArraySpec.load(text) if text.endswith(".json") or Path(text).is_file() else ArraySpec.preset(text)


@app.command()
def coverage(
    model: Annotated[
        Path | None, typer.Option("--model", help="Pipeline folder; default: the shipped Fashion-MNIST model.")
    ] = None,
    spec: SpecOption = "analog",
    as_json: AsJson = False,
) -> None:
    """Which share of a diffusion model's work crossbars can do, and which layers stay digital and why.

    Example: [bold]voltaspin memory coverage --spec analog[/bold]
    """
    chosen = array_spec(spec)
    from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
    from voltaspin.memory import convert

    _, report = convert(load_pipeline(shipped_model() if model is None else model).unet, chosen, inplace=True)
    if as_json:
        print_json(report.to_json())
    else:
        print(report)


@app.command()
def cost(
    model: Annotated[
        Path | None, typer.Option("--model", help="Pipeline folder; default: the shipped Fashion-MNIST model.")
    ] = None,
    spec: SpecOption = "analog",
    steps: Annotated[int, typer.Option("--steps", help="Network evaluations per image.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Energy, time and area per image in crossbars, by layer and by kind of action, and on a digital machine.

    Example: [bold]voltaspin memory cost --spec analog[/bold]
    """
    at_least(1, steps=steps)
    chosen = array_spec(spec)
    from voltaspin.core.units import gamma_e
    from voltaspin.cost.network import cost_of_images
    from voltaspin.cost.table import CellPulse, CostTable, action_energies
    from voltaspin.device import Pulse, presets
    from voltaspin.diffusion.pipelines import load_pipeline, shipped_model

    pipeline = load_pipeline(shipped_model() if model is None else model)
    # the weights lie in storage cells, turned over by half a precession
    junction = presets.get("storage")
    turn = Pulse(voltage=junction.V_c, width=math.pi / (gamma_e * junction.B_in_plane))
    table = CostTable.default()
    write, _ = action_energies(pulses={"write": CellPulse.of(junction, turn)}, boundary="macro", table=table)["write"]
    found, _ = cost_of_images(pipeline, chosen, steps=steps, write_energy=write)
    if as_json:
        print_json(found.to_json())
    else:
        print(found)


@app.command()
def store(
    image: Annotated[Path, typer.Argument(help="A picture with 8 bit per pixel; colour becomes grey.")],
    out: Annotated[Path, typer.Option("--out", help="The picture of what was read back.")] = Path("store.png"),
    years: Annotated[
        str, typer.Option("--years", help="Time that the storage preset waits, 10y or 30d; a number alone is in years.")
    ] = "10",
    celsius: Annotated[
        str,
        typer.Option("--celsius", help="Temperature at which it waits, 85degC or 350K; a number alone is in Celsius."),
    ] = "85",
    seed: Annotated[int, typer.Option("--seed", help="Of variation and chance.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Store a picture, let time pass, and read it back: storage preset beside the generator after one minute.

    Example: [bold]voltaspin memory store garment.png --out store.png[/bold]
    """
    at_least(0, seed=seed)
    waited = quantity("years", years, units.DURATION, bare="y")
    kelvin = quantity("celsius", celsius, units.TEMPERATURE, bare="degC")
    from voltaspin.diffusion.pictures import read_pictures
    from voltaspin.memory.keeping import keep
    from voltaspin.plots.memory import kept_png

    if not image.is_file():
        raise InputError(f"{image} does not exist; give a PNG or another picture")
    picture = read_pictures(image.parent, [image])[0]
    grey = picture[0] if len(picture) == 1 else (picture.transpose(1, 2, 0) @ [0.299, 0.587, 0.114]).round()
    grey = grey.astype("uint8")
    with claimed_file(out, force=force):
        storage = keep(grey, "storage", seconds=waited, temperature=kelvin, seed=seed)
        generator = keep(grey, "generator", seconds=60.0, temperature=None, seed=seed)
        write_bytes(out, kept_png(grey, [storage, generator]))
    if as_json:
        print_json({"picture": str(out), "kept": [k.to_json() for k in (storage, generator)]})
    else:
        print(f"{storage}\n{generator}\n{out}")


@app.command("yield")
def yield_(
    rows: Annotated[str, typer.Option("--rows", help="Of the array, such as 256 or 2k.")] = "256",
    columns: Annotated[str, typer.Option("--columns", help="Of the array, such as 256 or 2k.")] = "256",
    K_eff_spread: Annotated[
        str, typer.Option("--K-eff-spread", help="Standard deviation over the mean: 0.05 or 5%.")
    ] = "0.05",
    eps: Annotated[str, typer.Option("--eps", help="Allowed distance of p01 and p10 from 1/2: 0.01 or 1%.")] = "0.01",
    seconds: Annotated[
        str, typer.Option("--seconds", help="Retention that is asked for, 1min or 10y; a number alone is in seconds.")
    ] = "60",
    out: Annotated[
        Path | None, typer.Option("--out", help="A figure: sigma plots of p01 and of the retention.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the variation.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """How many cells of a generator array are fair and keep their bit.

    Example: [bold]voltaspin memory yield --K-eff-spread 0.03 --out yield.png[/bold]
    """
    at_least(0, seed=seed)
    height, width = (count(name, text, most=2**26) for name, text in (("rows", rows), ("columns", columns)))
    if height * width > 2**26:
        raise InputError(
            f"--rows {rows} --columns {columns}: {height * width:,} cells take {height * width * 134 / 1e9:.3g} GB "
            f"of memory; give {2**26:,} cells at most"
        )
    spread = quantity("K-eff-spread", K_eff_spread, units.RATIO.within(1e-9, 1), bare="")
    allowed = quantity("eps", eps, units.RATIO.within(1e-9, 0.5), bare="")
    time = quantity("seconds", seconds, units.DURATION, bare="s")
    from voltaspin.memory import MagnetoelectricMemory
    from voltaspin.plots.memory import sigma_png

    with contextlib.nullcontext() if out is None else claimed_file(out, force=force):
        memory = MagnetoelectricMemory(rows=height, columns=width, K_eff_spread=spread, seed=seed)
        found = memory.yields(eps=allowed, seconds=time)
        if out is not None:
            write_bytes(out, sigma_png(memory, eps=allowed, seconds=time))
    if as_json:
        print_json(found.to_json())
    else:
        print(found)
