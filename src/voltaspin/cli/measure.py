"""``voltaspin device measure``: a switching sweep of an instrument, point by point into a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from voltaspin.cli.options import AsJson, Force, Resume, count, quantities
from voltaspin.cli.terminal import progress_of, show
from voltaspin.core import units


def measure(
    profile: Annotated[Path, typer.Option("--profile", help="TOML file of the instrument (docs/instruments.md).")],
    widths: Annotated[
        Any,  # numbers
        quantities("--widths", dimension=units.PULSE_WIDTH, help="Of the pulses: 0.1:1.5:0.05ns, or 0.2,0.3,1ns."),
    ],
    voltages: Annotated[
        Any,  # numbers
        quantities("--voltages", dimension=units.JUNCTION_VOLTAGE, signed=True, help="Of the pulses: 1.0:1.6:0.1V."),
    ],
    out: Annotated[Path, typer.Option("--out", help="CSV file, which `device fit` reads.")],
    direction: Annotated[str, typer.Option("--direction", help="P->AP, AP->P, or both: P->AP,AP->P.")] = "P->AP",
    repeats: Annotated[int, count("--repeats", help="Pulses of each point and direction.")] = 100,
    resume: Resume = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Switching probabilities of a junction on the bench: pulses of every width and voltage.

    Each point is written as soon as it is measured. What a stopped sweep lacks is measured with --resume.

    Example: [bold]voltaspin device measure --profile lab.toml --widths 0.1:1.5:0.05ns --voltages 1.0:1.6:0.1V --out
    sweep.csv[/bold]
    """
    from voltaspin.lab import Profile
    from voltaspin.lab import measure as run

    directions: Any = [word.strip() for word in direction.split(",")]  # which measure() checks
    with progress_of():
        found = run(
            Profile.load(profile), out, widths=widths, voltages=voltages, directions=directions, repeats=repeats,
            resume=resume, overwrite=force, inputs=[profile],
        )  # fmt: skip
    show(found, as_json)
