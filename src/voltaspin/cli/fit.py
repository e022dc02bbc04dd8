"""``voltaspin device fit``: tables of measurements in; a junction, its errors and a picture of the fit out."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voltaspin.cli.device import chosen_junction
from voltaspin.cli.options import AsJson, Changes, Force, Out, SpinTorque, count
from voltaspin.cli.terminal import now_and_then, progress_bars, run_record, show
from voltaspin.core.errors import InputError
from voltaspin.core.folders import OutputFolder
from voltaspin.device.fit.kinds import KINDS

if TYPE_CHECKING:
    from voltaspin.device.fit.likelihood import FitResult


def fit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Measurements: CSV or HDF5.")],
    out: Out,
    kind: Annotated[
        str | None, typer.Option("--kind", help=f"{', '.join(KINDS)}; default: what the columns tell.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Where the fit starts; `voltaspin device list` names the presets.")
    ] = None,
    changes: Changes = None,
    free: Annotated[
        str | None, typer.Option("--free", help="Parameters to fit, with commas: xi,Delta,B_x. The others stay.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            help="QUANTITY=COLUMN or QUANTITY=COLUMN:UNIT, repeated: --columns width=t_pulse:ns. A column called "
            "like its quantity is found without: width, width_ns, width (ns). No unit means SI.",
        ),
    ] = None,
    fixed: Annotated[
        list[str] | None,
        typer.Option("--fixed", help="QUANTITY=VALUE, repeated, where no column has it: --fixed trials=1000."),
    ] = None,
    degree: Annotated[
        int | None,
        count(
            "--degree",
            most=10_000,
            why="which no fit resolves",
            help="Harmonics of a switching fit; default: by the barrier.",
        ),
    ] = None,
    spin_torque: SpinTorque = False,
    force: Force = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Of a switching fit: stop at the approximate answer of the first seconds."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Parameters of a junction from measurements, with their errors.

    switching: P_sw against voltage, width, B_x, B_z; trials; initial (up or down).
    resistance: R and state (P or AP), or R_P and R_AP, against voltage; error.
    tmr: TMR against voltage; error.
    field: switching fields up_to_down and down_to_up; ramp_rate; voltages for xi.
    spread: R_P and R_AP of many devices.

    The fit starts at the preset with its changes.
    Writes junction.json (the fitted junction), fit.json (all numbers), fit.png.

    Example: [bold]voltaspin device fit sweep.csv --preset generator --fixed trials=1000 --out fitted[/bold]
    """
    from voltaspin.core.spec import environment
    from voltaspin.device.fit import switching
    from voltaspin.device.fit.record import FitRecord, fit_measurements, in_short
    from voltaspin.device.fit.tables import read_measurements

    start = chosen_junction(preset or "generator", changes)
    found = read_measurements(files, kind=kind, columns=columns or (), fixed=fixed or (), junction=start)
    if found.kind == "spread" and (preset is not None or changes):
        option = "--set" if changes else "--preset"
        raise InputError(f"{option}: a fit of a spread starts at no junction and gives none; leave it out")
    if found.kind == "spread" and (out / "junction.json").exists():
        raise InputError(f"{out} holds the junction of another fit, and a spread gives none; choose another --out")
    parameters = None if free is None else [part.strip() for part in free.split(",")]
    arguments = {
        "sha256": sorted(file["sha256"] for file in found.files), "kind": found.kind, "preset": preset or "generator",
        "set": changes, "free": free, "columns": columns, "fixed": fixed, "degree": degree, "spin_torque": spin_torque,
        "quick": quick,
    }  # fmt: skip
    with OutputFolder.claim(out, command="device fit", arguments=arguments, force=force) as folder:
        folder.plan(["fit.json", "fit.png"])
        with progress_bars() as bars, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            bar, say, rough = bars.add_task("fit", total=None), now_and_then(), ""
            if found.kind == "switching" and not quick:
                seconds = switching.expected_seconds(
                    found.sets, start, degree, parameters=len(parameters or switching.DEFAULT)
                )
                if seconds > 60:
                    line = f"the fit may take {seconds:.0f} s of one core; --quick ends before"
                    bars.console.print(line, highlight=False)

            def show_step(done: int, left: float) -> None:
                there = f"fit, step {done}" + (f", {left**0.5:.2g} sigma to go" if math.isfinite(left) else "")
                bars.update(bar, completed=done, description=there)
                say(there + rough)

            def show_quick(answer: FitResult) -> None:
                nonlocal rough
                rough = f"; approximately {in_short(answer)}"
                if bars.console.is_terminal:
                    bars.console.print(rough[2:], highlight=False)

            result, drawn = fit_measurements(
                found, start, free=parameters, degree=degree, spin_torque=spin_torque, quick=quick, progress=show_step,
                on_quick=show_quick,
            )  # fmt: skip
            bars.update(bar, total=1, completed=1, description="fit")
            say("fit done, the picture follows")
            from voltaspin.plots.drawing import png
            from voltaspin.plots.fit import fit_overlay

            bar = bars.add_task("figure", total=1)
            picture = png(fit_overlay(result, drawn, degree=degree, spin_torque=spin_torque))
            bars.update(bar, completed=1)
        notes = dict.fromkeys([*found.notes, *result.notes, *(str(one.message) for one in told)])
        record = FitRecord.of(
            result, found, start, notes=list(notes),
            fixed=tuple(fixed or ()), degree=degree, spin_torque=spin_torque, command=("voltaspin", *sys.argv[1:]),
            environment=environment(),
        )  # fmt: skip
        if record.junction is not None:
            folder.write_json("junction.json", record.junction)
        folder.write_bytes("fit.png", picture)
        folder.write_json("fit.json", record.to_json())
        folder.finish(run_record())
    made = [] if record.junction is None else [f"junction: {(out / 'junction.json').resolve()}"]
    show(record, as_json, *made, f"picture: {(out / 'fit.png').resolve()}")
