"""``voltaspin device``: one junction by itself. Without a command: derived values and one pulse."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voltaspin.cli.options import AsJson, Changes, DryRun, Force, Out, Seed, SpinTorque, Voltage, Width, count, word
from voltaspin.cli.terminal import check_fail_on, end_on, progress_of, remark, run_record, show
from voltaspin.core.errors import InputError
from voltaspin.core.files import opened_whole
from voltaspin.core.folders import OutputFolder, claimed_file

if TYPE_CHECKING:
    from voltaspin.device.junction import Junction

app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich", add_completion=False)

_MEMORY = 0.5e9  # of a characterisation, at most [byte]: estimated
JUNCTION_HELP = (
    "A preset (`voltaspin device list` names them), a file of `device fit` or `device export --format json`, or either "
    "with changes: 'generator, t_F=1.2nm'."
)
ChosenJunction = Annotated[str, typer.Option("--junction", help=JUNCTION_HELP)]


def chosen_junction(text: str, changes: list[str] | None) -> Junction:
    """The junction of ``--junction`` with the changes of ``--set``."""
    from voltaspin.device import Junction

    return Junction.of(", ".join([text, *(text.strip() for text in changes or ())]))


@app.callback()
def device(
    context: typer.Context,
    junction: ChosenJunction = "generator",
    voltage: Voltage = None,
    width: Width = 0.6e-9,
    devices: Annotated[int, count("--devices", most=10**21, help="Trajectories, such as 20k.")] = 20000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """One junction: derived values and its switching probability under one pulse, or one of the commands below.

    Example: [bold]voltaspin device --junction generator --width 0.6ns[/bold]
    """
    if context.invoked_subcommand is not None:
        for name in context.params:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                option = "json" if name == "as_json" else name
                raise InputError(f"--{option} stands before {context.invoked_subcommand}; write it behind")
        return
    assert width is not None
    from voltaspin.device.overview import overview

    show(overview(junction, voltage=voltage, width=width, devices=devices, seed=seed), as_json)


@app.command()
def characterise(
    out: Out,
    junction: ChosenJunction = "generator",
    changes: Changes = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Coarse grids, pulses from the map: seconds, not minutes.")
    ] = False,
    spin_torque: SpinTorque = False,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", help="coin: end with status 3 where no pulse is fair within the tolerance."),
    ] = None,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Everything about one junction: pulses, error rates, retention, energy, sensitivities, astroid.

    Writes device.json, one PNG per figure, and index.html that shows them.

    Example: [bold]voltaspin device characterise --junction generator --set B_x=20mT --out generator[/bold]
    """
    check_fail_on(fail_on, {"coin": "no pulse is fair within the tolerance"})
    cell = chosen_junction(junction, changes)
    from voltaspin.core.format import duration
    from voltaspin.device.characterise import QUICK, Effort, expected_seconds
    from voltaspin.device.characterise import characterise as run
    from voltaspin.memory.lines import bit_line
    from voltaspin.report.device_page import device_charts, device_page

    arguments = {"preset": junction, "set": changes, "quick": quick, "spin_torque": spin_torque}
    effort = QUICK if quick else Effort()
    seconds = expected_seconds(cell, effort=effort, spin_torque=spin_torque)  # refuses what takes hours
    if dry_run:
        from voltaspin.core.forecast import Forecast

        show(Forecast(work=f"characterisation of {cell.name}", seconds=seconds, memory=_MEMORY), as_json)
        return
    with OutputFolder.claim(out, command="device characterise", arguments=arguments, force=force) as folder:
        folder.plan(["device.json", "index.html"])
        if seconds >= 2:
            remark(f"about {duration(seconds)} on one core")
        with progress_of() as progress:
            result = run(
                cell,
                effort=effort,
                spin_torque=spin_torque,
                line_capacitance=bit_line(256),
                progress=progress,
            )
        pictures = device_charts(result)
        for name, picture in pictures.items():
            folder.write_bytes(f"{name}.png", picture)
        folder.write_bytes("index.html", device_page(result, pictures).encode())
        folder.write_json("device.json", result.to_json())
        folder.finish(run_record())
    show(result, as_json, f"page: {(out / 'index.html').resolve()}")
    end_on(fail_on, {"coin": result.coin is None or not result.coin.fair})


@app.command(name="list")
def list_presets(as_json: AsJson = False) -> None:
    """The presets: what they are and what follows from their numbers.

    Example: [bold]voltaspin device list[/bold]
    """
    from voltaspin.device.overview import preset_list

    show(preset_list(), as_json)


@app.command()
def export(
    format: Annotated[
        str,
        word(
            "--format", words=("ngspice", "verilog-a", "json"), help="ngspice, verilog-a, or json (the parameters, SI)."
        ),
    ],
    out: Annotated[str, typer.Option("--out", help="File, or - for standard output.")],
    junction: ChosenJunction = "generator",
    changes: Changes = None,
    name: Annotated[str, typer.Option("--name", help="Of the subcircuit or module.")] = "VCMTJ",
    initial: Annotated[
        Literal["up", "down"],
        word("--initial", words=("up", "down"), help="Well that a circuit starts in: up (bit 0) or down (bit 1)."),
    ] = "up",
    spin_torque: SpinTorque = False,
    force: Force = False,
) -> None:
    """A junction for a circuit simulator, or as a file of parameters.

    Example: [bold]voltaspin device export --junction storage --format ngspice --out cell.sp[/bold]
    """
    cell = chosen_junction(junction, changes)
    target = Path(out)
    if out != "-" and (not out or target.is_dir()):
        raise InputError(f"--out {out!r} is a folder or empty; give the name of a file, or - for standard output")
    if format == "json":
        if name != "VCMTJ" or initial != "up" or spin_torque:
            raise InputError("--name, --initial and --spin-torque are of a circuit; leave them out of --format json")
        text = json.dumps(cell.to_json(), indent=1, allow_nan=False) + "\n"
    else:
        from voltaspin.device import circuit

        write = circuit.ngspice if format == "ngspice" else circuit.verilog_a
        text = write(cell, name=name, spin_torque=spin_torque, initial=initial)
    if out == "-":
        sys.stdout.write(text)
        return
    with claimed_file(target, force=force), opened_whole(target) as file:
        file.write(text.encode())
