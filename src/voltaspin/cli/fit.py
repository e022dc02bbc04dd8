"""``voltaspin device fit``: tables of measurements in; a junction, its errors and a picture of the fit out."""

from __future__ import annotations

import contextlib
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltaspin.cli.device import chosen_junction
from voltaspin.cli.options import AsJson, Changes, Force, Out, SpinTorque, count
from voltaspin.cli.tables import KINDS, by_quantity, column_names, digests, joined, kind_of, measurements_of
from voltaspin.cli.terminal import now_and_then, print_json, progress_bars, run_record
from voltaspin.core.errors import InputError
from voltaspin.core.folders import OutputFolder

if TYPE_CHECKING:
    from voltaspin.device.fit.likelihood import FitResult
    from voltaspin.device.junction import Junction

#: Units in which results are printed, with the factor from SI.
_SHOWN = {
    "J/(V m)": ("fJ/(V m)", 1e15), "J/m^3": ("kJ/m^3", 1e-3), "T": ("mT", 1e3), "T/V": ("mT/V", 1e3),
    "ohm m^2": ("ohm um^2", 1e12), "ohm": ("kohm", 1e-3), "1": ("", 1.0),
}  # fmt: skip


# --- the command ---------------------------------------------------------------------------------------


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
    start = chosen_junction(preset or "generator", changes)
    asked, stated = by_quantity(columns), list(fixed or ())
    sha256 = digests(files)
    headers = {path: column_names(path) for path in files}
    name = kind_of(kind, headers, asked)
    if free is not None and not KINDS[name].free:
        raise InputError(f"--free {free}: a {name} fit has no choice of parameters; leave it out")
    if name != "switching" and (degree is not None or spin_torque or quick):
        option = "--degree" if degree is not None else "--spin-torque" if spin_torque else "--quick"
        raise InputError(f"{option} is of a switching fit, and this is one of {name}; leave it out")
    if name == "spread" and (preset is not None or changes):
        option = "--set" if changes else "--preset"
        raise InputError(f"{option}: a fit of a spread starts at no junction and gives none; leave it out")
    sets, read = measurements_of(KINDS[name], headers, asked, stated)
    parameters = None if free is None else [part.strip() for part in free.split(",")]
    if name == "spread" and (out / "junction.json").exists():
        raise InputError(f"{out} holds the junction of another fit, and a spread gives none; choose another --out")
    arguments = {
        "sha256": sorted(sha256.values()), "kind": name, "preset": preset or "generator", "set": changes, "free": free,
        "columns": columns, "fixed": fixed, "degree": degree, "spin_torque": spin_torque, "quick": quick,
    }  # fmt: skip
    with OutputFolder.claim(out, command="device fit", arguments=arguments, force=force) as folder:
        folder.plan(["fit.json", "fit.png"])
        with progress_bars() as bars, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            bar, say, rough = bars.add_task("fit", total=None), now_and_then(), ""
            if name == "switching" and not quick and (seconds := _long(sets, start, degree, parameters)):
                bars.console.print(
                    f"the fit may take {seconds:.0f} s of one core; --quick ends before", highlight=False
                )

            def show(done: int, left: float) -> None:
                there = f"fit, step {done}" + (f", {left**0.5:.2g} sigma to go" if math.isfinite(left) else "")
                bars.update(bar, completed=done, description=there)
                say(there + rough)

            def show_quick(found: FitResult) -> None:
                nonlocal rough
                parts = ", ".join(f"{row[0]} {row[1]} +- {row[2]} {row[4]}".rstrip() for row in _rows(found)[1:])
                rough = f"; approximately {parts}"
                if bars.console.is_terminal:
                    bars.console.print(rough[2:], highlight=False)

            with _advice_as_options():
                result, drawn = _fitted(name, sets, start, parameters, degree, spin_torque, quick, show, show_quick)
            bars.update(bar, total=1, completed=1, description="fit")
            say("fit done, the picture follows")
            from voltaspin.plots.drawing import png
            from voltaspin.plots.fit import fit_overlay

            bar = bars.add_task("figure", total=1)
            picture = png(fit_overlay(result, drawn, degree=degree, spin_torque=spin_torque))
            bars.update(bar, completed=1)
        notes = list(dict.fromkeys([*result.notes, *(str(one.message) for one in told)]))
        titled = ", ".join(path.name for path in files)
        made = None if result.junction is None else replace(result.junction, name=f"{start.name}, fitted to {titled}")
        record = _record(name, result, notes, start, made)
        record["points"] = sum(map(len, sets))
        record["files"] = [read[path] | {"sha256": sha256[path]} for path in files]
        record |= {"fixed": stated, "degree": degree, "spin_torque": spin_torque}
        from voltaspin.core.spec import environment
        from voltaspin.device.fit.record import FitRecord

        record |= {"command": ["voltaspin", *sys.argv[1:]], "environment": environment()}
        if made is not None:
            folder.write_json("junction.json", made.to_json())
        folder.write_bytes("fit.png", picture)
        fitted = FitRecord(**{k: v for k, v in record.items() if k not in ("kind", "schema_version")})
        folder.write_json("fit.json", fitted.to_json())
        folder.finish(run_record())
    if as_json:
        print_json(fitted.to_json())
        return
    for line in [*_table(result), *_verdict(result, record["points"]), *notes]:
        print(line)
    if made is not None:
        print(f"junction: {(out / 'junction.json').resolve()}")
    print(f"picture: {(out / 'fit.png').resolve()}")


def _long(sets: list[Any], start: Junction, degree: int | None, free: list[str] | None) -> float:
    """Processor time that the fit is expected to take [s], or 0 where it is below a minute."""
    from voltaspin.device.fit import switching

    seconds = switching.expected_seconds(sets, start, degree, parameters=len(free or switching.DEFAULT))
    return seconds if seconds > 60 else 0.0


def _fitted(
    kind: str, sets: list[Any], start: Junction, free: list[str] | None, degree: int | None, spin_torque: bool,
    quick: bool, progress: Callable[[int, float], None], on_quick: Callable[[FitResult], None],
) -> tuple[FitResult, Any]:  # fmt: skip
    """The fit, and its data as the overlay takes them."""
    from voltaspin.device.fit import field, resistance, switching

    chosen: dict[str, Any] = {} if free is None else {"free": free}
    if kind == "switching":
        found = switching.fit_switching(
            sets, start, degree=degree, spin_torque=spin_torque, quick=quick, progress=progress, on_quick=on_quick,
            **chosen,
        )  # fmt: skip
        return found, sets
    if kind == "resistance":
        return resistance.fit_resistance(sets, start, **chosen), sets
    if kind == "tmr":
        return resistance.fit_TMR(data := joined(sets), start), data
    if kind == "spread":
        return resistance.fit_spread(data := joined(sets)), data
    voltages = [joined([one for one in sets if one.voltage == V]) for V in sorted({one.voltage for one in sets})]
    if len(voltages) == 1:
        return field.fit_switching_fields(voltages[0], start, **chosen), voltages
    if free is not None:
        raise InputError(
            f"--free {','.join(free)}: fields at {len(voltages)} voltages fit xi and all that goes with it"
        )
    return field.fit_xi(voltages, start), voltages


@contextlib.contextmanager
def _advice_as_options() -> Iterator[None]:
    """Turn the list of parameters that a fit advises into this command's option, which takes them with commas."""
    try:
        yield
    except InputError as error:
        listed = re.sub(r"\bfree ?= ?\((.*?),?\)", lambda m: f"--free {_bare(m[1])}", str(error))
        raise InputError(listed) from None


def _bare(names: str) -> str:
    return re.sub("[' ]", "", names)


# --- results -------------------------------------------------------------------------------------------


def _record(
    kind: str, result: FitResult, notes: Sequence[str], start: Junction, made: Junction | None
) -> dict[str, Any]:  # fmt: skip
    return {
        "kind": "fit",
        "schema_version": 1,
        "measurement": kind,
        "parameters": {
            name: {"value": e.value, "error": e.std, "low": e.low, "high": e.high, "unit": e.unit}
            | ({} if result.numerical is None else {"numerical_error": result.numerical[name]})
            for name, e in result.parameters.items()
        },
        "approximate": result.approximate,
        "interval": "95 %",
        "covariance": result.covariance.tolist(),
        "correlation": result.correlation.tolist(),
        "chi2": result.chi2,
        "dof": result.dof,
        "p_value": result.p_value,
        "notes": list(notes),
        "start": start.to_json(),
        "junction": None if made is None else made.to_json(),
    }


def _rows(result: FitResult) -> list[tuple[str, ...]]:
    """The titles, then value, standard error, 95 % interval and unit of each parameter."""
    rows: list[tuple[str, ...]] = [("parameter", "value", "error", "95 % interval", "unit")]
    for name, estimate in result.parameters.items():
        unit, factor = _SHOWN.get(estimate.unit, (estimate.unit, 1.0))
        error = estimate.standard_error * factor
        places = min(max(0, 1 - math.floor(math.log10(error))), 12) if error > 0 else 3
        value, low, high = (f"{x * factor:.{places}f}" for x in (estimate.value, estimate.low, estimate.high))
        rows.append((name, value, f"{error:.{places}f}", f"{low} to {high}", unit))
    return rows


def _table(result: FitResult) -> list[str]:
    """One line for each parameter."""
    rows = _rows(result)
    wide = [max(len(row[k]) for row in rows) + 2 for k in range(4)]
    return [
        f"{row[0]:<{wide[0]}}{row[1]:>{wide[1]}}{row[2]:>{wide[2]}}{row[3]:>{wide[3]}}  {row[4]}".rstrip()
        for row in rows
    ]


def _verdict(result: FitResult, points: int) -> list[str]:
    if result.chi2 is None:
        return [f"{points} points; no errors in the data, so their scatter gives those of the parameters"]
    told = "" if result.p_value is None else f", probability {result.p_value:.2g}"
    return [f"{points} points; chi2 {result.chi2:.4g} for {result.dof} degrees of freedom{told}"]
