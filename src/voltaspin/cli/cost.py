"""``voltaspin cost``: what a junction's random bits cost, and the published factor."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from voltaspin.cli.device import JUNCTION_HELP, chosen_junction
from voltaspin.cli.options import AsJson, Changes, Force, Model, Seed, Voltage, Width, count, word
from voltaspin.cli.terminal import remark, show
from voltaspin.core.errors import InputError
from voltaspin.core.extras import MissingPackageError, missing_package
from voltaspin.core.files import write_bytes
from voltaspin.core.folders import claimed_file


def cost(
    junction: Annotated[str, typer.Option("--junction", help=JUNCTION_HELP)] = "generator",
    changes: Changes = None,
    voltage: Voltage = None,
    width: Width = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Key of a generator in the cost table, repeatable; default: all."),
    ] = None,
    cells_per_bit: Annotated[
        int,
        count("--cells-per-bit", most=16, why="the most that are priced",
              help="Cells combined by XOR into a bit; more where the pulse needs it."),
    ] = 2,
    reset: Annotated[
        bool | None,
        typer.Option("--reset/--no-reset", help="Whether a write precedes every pulse; default: unless it waits."),
    ] = None,
    samples: Annotated[
        int,
        count("--samples", least=100, most=10**6, why="which take hours",
              help="Draws of the Monte Carlo over the grades."),
    ] = 1000,
    seed: Seed = 0,
    model: Model = None,
    image_steps: Annotated[
        int | None, count("--steps", help="Network evaluations per image; default: 50.")
    ] = None,
    training_steps: Annotated[
        int | None,
        count("--training-steps", help="Of a training run; default: the model's own, else 12000."),
    ] = None,
    batch: Annotated[
        int | None,
        count("--batch", help="Images at once in training; default: the model's own, else 64."),
    ] = None,
    measure: Annotated[
        Literal["auto", "always", "never"] | None,
        word(
            "--measure", words=("auto", "always", "never"),
            help="Software's random numbers: auto, the default (counters where there are any, else rates timed here), "
            "always (refuse without counters), never (the cost table alone).",
        ),
    ] = None,
    work: Annotated[
        bool | None,
        typer.Option(
            "--work/--no-work",
            help="Whether an image and a training run are priced too; default: where the extra diffusion is installed.",
        ),
    ] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="PNG of every ratio, and of an image.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Energy, area, energy x area and energy / area of a random bit, with ranges, beside conventional generators;
    and what an image and a training run take of them, beside a CPU's and a GPU's random numbers.

    Example: [bold]voltaspin cost --junction generator --against intel-14[/bold]
    """
    of_work = {"steps": image_steps, "training_steps": training_steps, "batch": batch}
    asked = [k for k, v in {**of_work, "model": model}.items() if v is not None]
    given = asked + ["measure"] * (measure is not None)
    if work is False and given:
        raise InputError(f"--no-work prices no image; leave out --{given[0].replace('_', '-')}")
    from voltaspin.cost.merit import figure_of_merit
    from voltaspin.cost.pricing import Prices
    from voltaspin.cost.table import Draws
    from voltaspin.device import Pulse, fair_pulse

    chosen = chosen_junction(junction, changes)
    if (voltage is None) != (width is None):
        raise InputError("--voltage and --width make a pulse together; give both or neither")
    if voltage is not None and width is not None:
        pulse = Pulse(voltage=voltage, width=width)
    else:
        pulse = fair_pulse(chosen).pulse
    reset = pulse.voltage != 0 if reset is None else reset
    with contextlib.nullcontext() if figure is None else claimed_file(figure, force=force, suffix=".png"):
        prices = Prices.of(chosen, pulse, draws=Draws(samples=samples, seed=seed))
        found = figure_of_merit(
            chosen, pulse, cells_per_bit=cells_per_bit, reset=reset, against=tuple(against or ()), prices=prices
        )
        if work is not False:
            from voltaspin.cost.jobs import workload_of_model

            assert found.cells_per_bit is not None
            try:
                priced = workload_of_model(
                    model, prices, image_steps=image_steps or 50, training_steps=training_steps, batch=batch,
                    cells_per_bit=found.cells_per_bit, resets=float(reset), measure=measure or "auto",
                )  # fmt: skip
                found = found.model_copy(update={"work": priced})
            except MissingPackageError as missing:
                if work or asked:
                    raise
                why = missing_package(missing, "the price of an image")
                remark(f"voltaspin: only the random bit is priced; {why}")
        if figure is not None:
            from voltaspin.plots.cost import image_energies, ratios
            from voltaspin.plots.drawing import stacked

            write_bytes(figure, stacked((ratios, found), *([(image_energies, found.work)] if found.work else [])))
    show(found, as_json)
