"""``voltaspin device``: one junction by itself. Without a command: derived values and one pulse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voltaspin.cli.options import AsJson, Changes, Force, Out, Seed, SpinTorque, Voltage, Width, count
from voltaspin.cli.terminal import print_json, progress_of, run_record
from voltaspin.core.errors import InputError
from voltaspin.core.files import opened_whole
from voltaspin.core.folders import OutputFolder, claimed_file

if TYPE_CHECKING:
    from voltaspin.device.characterise import Characterisation
    from voltaspin.device.junction import Junction

app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich", add_completion=False)

JUNCTION_HELP = (
    "A preset (`voltaspin device list` names them), a file of `device fit` or `device export --format json`, or either "
    "with changes: 'generator, t_F=1.2nm'."
)
Preset = Annotated[str, typer.Option("--preset", "--junction", help=JUNCTION_HELP)]
_BYTES, _MOST_DEVICES = 100, 20_000_000  #: memory of a trajectory (measured: 84 to 156), and the most of them


def chosen_junction(preset: str, changes: list[str] | None) -> Junction:
    """The junction of ``--junction`` with the changes of ``--set``."""
    from voltaspin.device import Junction

    return Junction.of(", ".join([preset, *(text.strip() for text in changes or ())]))


@app.callback()
def device(
    context: typer.Context,
    preset: Preset = "generator",
    voltage: Voltage = None,
    width: Width = 0.6e-9,
    devices: Annotated[int, count("--devices", most=10**21, help="Trajectories, such as 20k.")] = 20000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """One junction: derived values and its switching probability under one pulse, or one of the commands below.

    Example: [bold]voltaspin device --preset generator --width 0.6ns[/bold]
    """
    if context.invoked_subcommand is not None:
        for name in context.params:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                option = "json" if name == "as_json" else name
                raise InputError(f"--{option} stands before {context.invoked_subcommand}; write it behind")
        return
    assert width is not None
    from voltaspin.device import Junction, Pulse, llg

    junction = Junction.of(preset)
    pulse = Pulse(voltage=junction.V_c if voltage is None else voltage, width=width)
    result: dict[str, Any] = {
        "preset": preset,
        "Delta": junction.Delta(),
        "barrier": junction.barrier(),
        "V_c_V": junction.V_c,
        "B_k_mT": junction.B_k() * 1e3,
        "K_eff_J_per_m3": junction.K_eff(),
        "R_P_ohm": junction.R_P,
        "pulse": {"voltage_V": pulse.voltage, "width_ns": float(f"{width * 1e9:.12g}")},
        "seed": seed,
    }
    wells: tuple[tuple[str, Literal["up", "down"]], ...] = (("p01", "up"), ("p10", "down"))
    for name, initial in wells:
        found = llg.switching_probability(junction, pulse, initial=initial, n_devices=devices, seed=seed)
        result[name] = {"value": found.value, "error": found.error, "n": devices}
    if as_json:
        print_json(result)
        return
    print(
        f"{preset}: Delta {result['Delta']:.1f}, barrier with the in-plane field {result['barrier']:.1f} k_B T, "
        f"V_c {junction.V_c:.3f} V, B_k {result['B_k_mT']:.1f} mT, R_P {junction.R_P / 1e3:.0f} kOhm"
    )
    for name in ("p01", "p10"):
        value = result[name]
        print(f"{name} = {value['value']:.4f} +- {value['error']:.4f} at {pulse.voltage:.3f} V, {width * 1e9:g} ns")


@app.command()
def characterise(
    out: Out,
    preset: Preset = "generator",
    changes: Changes = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Coarse grids, pulses from the map: seconds, not minutes.")
    ] = False,
    spin_torque: SpinTorque = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Everything about one junction: pulses, error rates, retention, energy, sensitivities, astroid.

    Writes device.json, one PNG per figure, and index.html that shows them.

    Example: [bold]voltaspin device characterise --preset generator --set B_x=20mT --out generator[/bold]
    """
    junction = chosen_junction(preset, changes)
    from voltaspin.cost.table import CostTable, si
    from voltaspin.device.characterise import QUICK, Effort
    from voltaspin.device.characterise import characterise as run
    from voltaspin.report.device_page import device_charts, device_page

    arguments = {"preset": preset, "set": changes, "quick": quick, "spin_torque": spin_torque}
    with OutputFolder.claim(out, command="device characterise", arguments=arguments, force=force) as folder:
        folder.plan(["device.json", "index.html"])
        with progress_of() as progress:
            result = run(
                junction,
                effort=QUICK if quick else Effort(),
                spin_torque=spin_torque,
                line_capacitance=si(CostTable.default().line_capacitance),
                progress=progress,
            )
        pictures = device_charts(result)
        for name, picture in pictures.items():
            folder.write_bytes(f"{name}.png", picture)
        folder.write_bytes("index.html", device_page(result, pictures).encode())
        folder.write_json("device.json", result.to_json())
        folder.finish(run_record())
    if as_json:
        print_json(result.to_json())
        return
    for line in _summary(result):
        print(line)
    print(f"page: {(out / 'index.html').resolve()}")


def _summary(result: Characterisation) -> list[str]:
    from voltaspin.core.format import duration, number

    d = result.derived
    lines = [f"{result.junction.name}: Delta {d.Delta:.1f}, barrier with the in-plane field {d.barrier:.1f} k_B T"]
    if d.V_c is not None:
        lines[0] += f", V_c {d.V_c:.3f} V"
    for name, pulse in (("write", result.write), ("coin", result.coin)):
        if pulse is not None:
            lines.append(f"{name}: {pulse.verdict}")
    if result.retention is not None and result.retention.life is not None:
        lines.append(f"a bit lives {duration(result.retention.life)} on average")
    if result.read is not None:
        lines.append(f"read errors {number(result.read.error)} at {result.read.voltage:g} V")
    lines += [f"no {part}: {reason}" for part, reason in result.reasons.items()]
    return lines


@app.command(name="list")
def list_presets(as_json: AsJson = False) -> None:
    """The presets: what they are and what follows from their numbers.

    Example: [bold]voltaspin device list[/bold]
    """
    from voltaspin.device import presets

    rows = []
    for name in presets.names():
        entry, junction = presets.entry(name), presets.get(name)
        rows.append(
            {
                "name": name,
                "title": entry.title,
                "citation": entry.citation,
                "Delta": junction.Delta(),
                "barrier": junction.barrier(),
                "V_c_V": junction.V_c if junction.xi else None,
                "R_P_ohm": junction.R_P,
                "grades": dict.fromkeys(sorted(n.grade for n in entry.numbers.values()), 0),
            }
        )
        for number in entry.numbers.values():
            rows[-1]["grades"][number.grade] += 1  # type: ignore[index]
    if as_json:
        print_json(rows)
        return
    print(f"{'preset':<14}{'Delta':>6}{'barrier':>9}{'V_c (V)':>9}{'R_P (ohm)':>11}  what it is")
    for row in rows:
        V_c = "-" if row["V_c_V"] is None else f"{row['V_c_V']:.2f}"
        numbers = f"{row['Delta']:>6.1f}{row['barrier']:>9.1f}{V_c:>9}{row['R_P_ohm']:>11.3g}"
        print(f"{row['name']:<14}{numbers}  {row['title']}")


@app.command()
def export(
    format: Annotated[str, typer.Option("--format", help="ngspice, verilog-a, or json (the parameters, SI).")],
    out: Annotated[str, typer.Option("--out", help="File, or - for standard output.")],
    preset: Preset = "generator",
    changes: Changes = None,
    name: Annotated[str, typer.Option("--name", help="Of the subcircuit or module.")] = "VCMTJ",
    initial: Annotated[str, typer.Option("--initial", help="Well that a circuit starts in: up or down.")] = "up",
    spin_torque: SpinTorque = False,
    force: Force = False,
) -> None:
    """A junction for a circuit simulator, or as a file of parameters.

    Example: [bold]voltaspin device export --preset storage --format ngspice --out cell.sp[/bold]
    """
    junction = chosen_junction(preset, changes)
    target = Path(out)
    if out != "-" and (not out or target.is_dir()):
        raise InputError(f"--out {out!r} is a folder or empty; give the name of a file, or - for standard output")
    text = _exported(junction, format, name, initial, spin_torque)
    if out == "-":
        sys.stdout.write(text)
        return
    with claimed_file(target, force=force), opened_whole(target) as file:
        file.write(text.encode())


def _exported(junction: Junction, format: str, name: str, initial: str, spin_torque: bool) -> str:
    if format == "json":
        if name != "VCMTJ" or initial != "up" or spin_torque:
            raise InputError("--name, --initial and --spin-torque are of a circuit; leave them out of --format json")
        import json

        return json.dumps(junction.to_json(), indent=1, allow_nan=False) + "\n"
    from voltaspin.device import circuit

    writers = {"ngspice": circuit.ngspice, "verilog-a": circuit.verilog_a}
    if format not in writers:
        raise InputError(f"--format {format} is unknown; use {', '.join(writers)} or json")
    if initial not in ("up", "down"):
        raise InputError(f"--initial {initial} is unknown; use up (parallel, bit 0) or down (bit 1)")
    well: Literal["up", "down"] = "up" if initial == "up" else "down"
    return writers[format](junction, name=name, spin_torque=spin_torque, initial=well)
