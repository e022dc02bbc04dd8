"""``voltaspin cost``: what a junction's random bits cost, and the published factor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voltaspin.cli_device import Changes, chosen_junction
from voltaspin.terminal import at_least, print_json, write_whole


def cost(
    junction: Annotated[
        str, typer.Option("--junction", help="A preset; `voltaspin device list` names them.")
    ] = "generator",
    changes: Changes = None,
    voltage: Annotated[float | None, typer.Option("--voltage", help="Of the pulse, V.")] = None,
    width: Annotated[float | None, typer.Option("--width", help="Of the pulse, ns.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Key of a generator in the cost table, repeatable; default: all."),
    ] = None,
    cells_per_bit: Annotated[int, typer.Option("--cells-per-bit", help="Cells combined by XOR into a bit.")] = 2,
    reset: Annotated[bool, typer.Option("--reset/--no-reset", help="Whether a write precedes every pulse.")] = True,
    samples: Annotated[int, typer.Option("--samples", help="Draws of the Monte Carlo over the grades.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="A figure of every ratio.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Energy, area, energy x area and energy / area of a random bit, with ranges, beside conventional generators.

    Example: [bold]voltaspin cost --junction generator --against intel-14[/bold]
    """
    at_least(1, cells_per_bit=cells_per_bit)
    at_least(100, samples=samples)
    from voltaspin.device import Pulse, SwitchingModel
    from voltaspin.errors import InputError
    from voltaspin.report.claim import claim, claim_png

    chosen = chosen_junction(junction, changes)
    shipped = SwitchingModel.shipped()
    if (voltage is None) != (width is None):
        raise InputError("--voltage and --width make a pulse together; give both or neither")
    if voltage is not None and width is not None:
        pulse = Pulse(voltage=voltage, width=width * 1e-9)
    elif junction == "generator" and not changes:
        assert shipped.pulse is not None
        pulse = shipped.pulse
    else:
        raise InputError(
            f"no pulse is known for {chosen.name}; give --voltage and --width, which "
            f"'voltaspin device characterise --preset {junction}' finds"
        )
    found = claim(
        chosen,
        pulse,
        cells_per_bit=cells_per_bit,
        reset=reset,
        against=tuple(against or ()),
        samples=samples,
        seed=seed,
    )
    if out is not None:
        write_whole(out, claim_png(found))
    if as_json:
        print_json(found.to_json())
    else:
        print(found)
