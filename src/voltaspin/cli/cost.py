"""``voltaspin cost``: what a junction's random bits cost, and the published factor."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from voltaspin.cli.device import JUNCTION_HELP, Changes, chosen_junction, voltage_of
from voltaspin.cli.terminal import Force, at_least, count, print_json, quantity
from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.files import write_bytes
from voltaspin.core.folders import claimed_file


def cost(
    junction: Annotated[str, typer.Option("--junction", help=JUNCTION_HELP)] = "generator",
    changes: Changes = None,
    voltage: Annotated[
        str | None,
        typer.Option("--voltage", help="Of the pulse, 1.5V; a number alone is in V; default: the fair pulse."),
    ] = None,
    width: Annotated[str | None, typer.Option("--width", help="Of the pulse, 0.3ns; a number alone is in ns.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Key of a generator in the cost table, repeatable; default: all."),
    ] = None,
    cells_per_bit: Annotated[int, typer.Option("--cells-per-bit", help="Cells combined by XOR into a bit.")] = 2,
    reset: Annotated[bool, typer.Option("--reset/--no-reset", help="Whether a write precedes every pulse.")] = True,
    samples: Annotated[str, typer.Option("--samples", help="Draws of the Monte Carlo over the grades.")] = "1000",
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Pipeline folder whose images are priced; default: the shipped model."),
    ] = None,
    image_steps: Annotated[
        int | None, typer.Option("--image-steps", help="Ancestral steps of an image; default: 50.")
    ] = None,
    training_steps: Annotated[
        int | None, typer.Option("--training-steps", help="Of a training run; default: the model's own, else 12000.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--training-batch", help="Images a training step; default: the model's own, else 64.")
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            "--measure",
            help="Software's random numbers: auto, the default (counters where there are any, else rates timed here), "
            "always (refuse without counters), never (the cost table alone).",
        ),
    ] = None,
    work: Annotated[
        bool, typer.Option("--work/--no-work", help="Whether an image and a training run are priced too.")
    ] = True,
    out: Annotated[Path | None, typer.Option("--out", help="A figure of every ratio, and of an image.")] = None,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Energy, area, energy x area and energy / area of a random bit, with ranges, beside conventional generators;
    and what an image and a training run take of them, beside a CPU's and a GPU's random numbers.

    Example: [bold]voltaspin cost --junction generator --against intel-14[/bold]
    """
    at_least(0, seed=seed)
    at_least(1, cells_per_bit=cells_per_bit)
    of_work = {"image_steps": image_steps, "training_steps": training_steps, "training_batch": batch}
    at_least(1, **{k: v for k, v in of_work.items() if v is not None})
    if not work:
        given = [k for k, v in {**of_work, "model": model, "measure": measure}.items() if v is not None]
        if given:
            raise InputError(f"--no-work prices no image; leave out --{given[0].replace('_', '-')}")
    draws_wanted = count("samples", samples, least=100, most=1_000_000, why="which take hours")
    from voltaspin.cost.claims import action_draws, claim, claim_text
    from voltaspin.cost.processors import MEASURES
    from voltaspin.cost.table import CostTable
    from voltaspin.device import Pulse, fair_pulse

    how = next((m for m in MEASURES if m == (measure or "auto")), None)
    if how is None:
        raise InputError(f"--measure {measure!r}: give {', '.join(MEASURES)}")
    chosen = chosen_junction(junction, changes)
    if (voltage is None) != (width is None):
        raise InputError("--voltage and --width make a pulse together; give both or neither")
    if voltage is not None and width is not None:
        V = voltage_of(voltage)
        assert V is not None
        pulse = Pulse(voltage=V, width=quantity("width", width, units.PULSE_WIDTH, bare="ns"))
    else:
        pulse = fair_pulse(chosen).pulse
    with contextlib.nullcontext() if out is None else claimed_file(out, force=force):
        table = CostTable.default()
        draws = action_draws(chosen, pulse, table=table, samples=draws_wanted, seed=seed)
        found = claim(
            chosen,
            pulse,
            cells_per_bit=cells_per_bit,
            reset=reset,
            against=tuple(against or ()),
            table=table,
            samples=draws_wanted,
            seed=seed,
            draws=draws,
        )
        if work:
            from voltaspin.cost.jobs import work_of_model

            priced = work_of_model(
                model, draws, table, image_steps=image_steps or 50, training_steps=training_steps, batch=batch,
                cells_per_bit=cells_per_bit, resets=float(reset), measure=how, seed=seed,
            )  # fmt: skip
            found = found.model_copy(update={"work": priced})
        if out is not None:
            from voltaspin.plots.cost import claim_png

            write_bytes(out, claim_png(found))
    if as_json:
        print_json(found.to_json() | {"verdicts": [r.verdict for r in found.readings]})
        return
    print(claim_text(found))
    if found.work is not None:
        from voltaspin.cost.jobs import work_text

        print(work_text(found.work))
