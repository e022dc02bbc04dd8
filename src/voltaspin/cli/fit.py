"""``voltaspin device fit``: tables of measurements in; a junction, its errors and a picture of the fit out."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltaspin.cli.device import JUNCTION_HELP, chosen_junction
from voltaspin.cli.options import AsJson, Changes, DryRun, Force, Out, SpinTorque, count
from voltaspin.cli.terminal import check_fail_on, end_on, progress_of, remark, run_record, show
from voltaspin.core.errors import InputError
from voltaspin.core.files import write_bytes
from voltaspin.core.folders import OutputFolder
from voltaspin.core.spec import environment
from voltaspin.core.stopping import Stopped
from voltaspin.device.fit.kinds import KINDS, MODEL_WORDS

_OTHER_SECONDS, _MEMORY = 4.0, 0.4e9  # of tables, one figure and start; of fits, at most [byte]: estimated

if TYPE_CHECKING:
    from voltaspin.device.fit.devices import DeviceFits
    from voltaspin.device.fit.likelihood import FitResult
    from voltaspin.device.fit.model import FittedModel
    from voltaspin.device.fit.record import FitRecord, Fitted
    from voltaspin.device.fit.tables import BadDevice, Measurements
    from voltaspin.device.junction import Junction


def fit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Measurements: CSV or HDF5.")],
    out: Out,
    kind: Annotated[
        str | None, typer.Option("--kind", help=f"{', '.join(KINDS)}; default: what the columns tell.")
    ] = None,
    junction: Annotated[str | None, typer.Option("--junction", help=f"Where the fit starts. {JUNCTION_HELP}")] = None,
    changes: Changes = None,
    free: Annotated[
        str | None, typer.Option("--free", help="Parameters to fit, with commas: xi,Delta,B_x. The others stay.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="QUANTITY=COLUMN or QUANTITY=COLUMN:UNIT, repeated: --column width=t_pulse:ns. A column called "
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
    model: Annotated[
        str,
        typer.Option(
            "--switching-model",
            help=f"Of a switching fit: {', '.join(MODEL_WORDS)}, several with commas, or all: their comparison.",
        ),
    ] = "vcma",
    picture: Annotated[
        Path | None,
        typer.Option("--figure", help="PNG of data and fit: of several devices a panel each, at most 24, worst first."),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="misfit: end with status 3 where the model does not describe a device's data, or one has no fit.",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Parameters of a junction from measurements, with their errors.

    switching: P_sw or flips against voltage or current, width, B_x, B_z; trials; initial or direction (AP->P, 0->1).
    resistance: R and state (P or AP), or R_P and R_AP, against voltage; error.
    tmr: TMR against voltage; error.
    field: switching fields up_to_down and down_to_up; ramp_rate; voltages for xi.
    spread: R_P and R_AP of many devices.

    A column device (device_id, die, ...) makes a fit for each device, and the spread between devices.
    The fit starts at the junction with its changes.
    Writes junction.json (the fitted junction), fit.json (all numbers), fit.png; of several devices devices/NAME.json.

    Example: [bold]voltaspin device fit sweep.csv --junction generator --fixed trials=1000 --out fitted[/bold]
    """
    check_fail_on(fail_on, {"misfit": "the model does not describe the data of a device, or there is no fit"})
    from voltaspin.device.fit.compare import DESCRIBES, chosen_models
    from voltaspin.device.fit.devices import DeviceFits
    from voltaspin.device.fit.tables import Measurements, read_devices

    start = chosen_junction(junction or "generator", changes)
    models = chosen_models(model)
    found = read_devices(files, kind=kind, columns=columns or (), fixed=fixed or (), junction=start)
    of_kind = next(one.kind for one in found if isinstance(one, Measurements))
    if of_kind == "spread" and (junction is not None or changes):
        option = "--set" if changes else "--junction"
        raise InputError(f"{option}: a fit of a spread starts at no junction and gives none; leave it out")
    if of_kind == "spread" and (out / "junction.json").exists():
        raise InputError(f"{out} holds the junction of another fit, and a spread gives none; choose another --out")
    if picture is not None:
        if picture.exists() and not force:
            raise InputError(f"--figure {picture} exists; choose another name, or give --force")
        if len(found) > 1 and of_kind != "switching":
            raise InputError(
                f"--figure: panels of many devices show switching probabilities, and these are of {of_kind}; leave it "
                "out, or fit one device at a time"
            )
    asked = _Asked(
        picture=picture, start=start, models=models,
        free=None if free is None else tuple(part.strip() for part in free.split(",")), degree=degree,
        spin_torque=spin_torque, quick=quick, fixed=tuple(fixed or ()),
    )  # fmt: skip
    if dry_run:
        from voltaspin.core.forecast import Forecast

        points = sum(one.points for one in found if isinstance(one, Measurements))
        seconds = _OTHER_SECONDS + sum(asked.seconds(one) for one in found if isinstance(one, Measurements))
        show(Forecast(work=f"fits of {len(found)} device(s), {points} rows", seconds=seconds, memory=_MEMORY), as_json)
        return
    arguments = {
        "sha256": sorted({file["sha256"] for one in found if isinstance(one, Measurements) for file in one.files}),
        "kind": of_kind, "preset": junction or "generator", "set": changes, "free": free, "columns": columns,
        "fixed": fixed, "degree": degree, "spin_torque": spin_torque, "quick": quick, "model": model,
    }  # fmt: skip
    with OutputFolder.claim(out, command="device fit", arguments=arguments, force=force) as folder:
        if len(found) == 1:
            assert isinstance(found[0], Measurements)  # a single bad device is an error
            result: FitRecord | DeviceFits = _fit_one(folder, found[0], asked)
        else:
            result = _fit_many(folder, found, asked)
    made = [f"junction: {(out / 'junction.json').resolve()}"] if (out / "junction.json").exists() else []
    made += [f"fits: {(out / 'devices').resolve()}"] if (out / "devices").is_dir() else []
    made += [f"overlay: {picture.resolve()}"] if picture is not None else []
    show(result, as_json, *made, f"picture: {(out / 'fit.png').resolve()}")
    each = result.devices if isinstance(result, DeviceFits) else (result,)
    misfit = any(one.p_value is not None and one.p_value < DESCRIBES for one in each)
    end_on(fail_on, {"misfit": misfit or (isinstance(result, DeviceFits) and bool(result.failed))})


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the command was told about every fit."""

    start: Junction
    models: tuple[str, ...]
    free: tuple[str, ...] | None
    degree: int | None
    spin_torque: bool
    quick: bool
    fixed: tuple[str, ...]
    picture: Path | None = None

    def fitted(self, found: Measurements, **reports: Any) -> tuple[Fitted, FitRecord]:
        """Fit one device; its notes are those of the data and the warnings of the fit."""
        from voltaspin.device.fit.record import FitRecord, fit_measurements

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            of_switching: dict[str, Any] = {"degree": self.degree, "spin_torque": self.spin_torque, "quick": self.quick}
            made = fit_measurements(found, self.start, free=self.free, models=self.models, **of_switching, **reports)
        warned = [str(one.message) for one in told if str(one.message) not in made.result.notes]
        of_model = "vcma: " if made.comparison is not None else ""
        notes = dict.fromkeys([*found.notes, *made.result.notes, *(of_model + text for text in warned)])
        return made, FitRecord.of(
            made, found, self.start, notes=list(notes), fixed=self.fixed, degree=self.degree,
            spin_torque=self.spin_torque, command=("voltaspin", *sys.argv[1:]), environment=environment(),
        )  # fmt: skip

    def seconds(self, found: Measurements) -> float:
        """Processor time of a fit [s]; zero where it is short."""
        from voltaspin.device.fit import switching

        if found.kind != "switching" or self.quick or "vcma" not in self.models:
            return 0.0
        parameters = len(self.free or switching.DEFAULT)
        return switching.expected_seconds(found.sets, self.start, self.degree, parameters=parameters)


def _fit_one(folder: OutputFolder, found: Measurements, asked: _Asked) -> FitRecord:
    """Fit one device, and write its junction, numbers and picture."""
    from voltaspin.device.fit.parameters import in_short
    from voltaspin.plots.drawing import png
    from voltaspin.plots.fit import fit_overlay

    folder.plan(["fit.json", "fit.png"])
    with progress_of() as progress:
        rough, begun = "", time.process_time()
        if (seconds := asked.seconds(found)) > 60:
            progress.say(f"the fit may take {seconds:.0f} s of one core; --quick ends before")

        def show_step(done: int, total: int | None, left: float) -> None:
            there = f", {left**0.5:.2g} sigma to go" if math.isfinite(left) else ""
            if seconds > 60:  # a step may take minutes
                there += f", {time.process_time() - begun:.0f} of about {seconds:.0f} s"
            progress("fit{}", done, total, there + rough)

        def show_quick(answer: FitResult) -> None:
            nonlocal rough
            rough = f"; approximately {in_short(answer)}"

        def show_model(word: str, made: FittedModel | None) -> None:
            if made is not None and len(asked.models) > 1 and sys.stderr.isatty():
                progress.say(f"{word}: {in_short(made.result)}")

        made, record = asked.fitted(found, on_fit=show_model, progress=show_step, on_quick=show_quick)
        if record.junction is not None:
            folder.write_json("junction.json", record.junction)
        folder.write_json("fit.json", record.to_json())
        progress("figure", 0, 1)
        predict = None if made.model is None or made.model.word == "vcma" else made.model.predict
        picture = png(
            fit_overlay(made.result, made.data, degree=asked.degree, spin_torque=asked.spin_torque, predict=predict)
        )
        progress("figure", 1, 1)
    folder.write_bytes("fit.png", picture)
    if asked.picture is not None:
        write_bytes(asked.picture, picture)
    folder.finish(run_record())
    return record


def _fit_many(folder: OutputFolder, found: Sequence[Measurements | BadDevice], asked: _Asked) -> DeviceFits:
    """Fit each device and keep its fit at once; a run that was stopped goes on with the devices that are left."""
    from voltaspin.core.files import read_object
    from voltaspin.device.fit.devices import DeviceFits, file_names
    from voltaspin.device.fit.record import FitRecord
    from voltaspin.device.fit.tables import BadDevice
    from voltaspin.plots.drawing import png
    from voltaspin.plots.fit_devices import device_fits

    names = file_names([str(one.device) for one in found])
    goes_on = folder.same_run and not folder.record.get("finished", True)
    kept = {n for n in names.values() if goes_on and folder.owns(n) and (folder.path / n).is_file()}
    folder.plan(["fit.json", "fit.png", *names.values()])
    records: dict[str, FitRecord] = {}
    failed: dict[str, str] = {}
    try:
        with progress_of("devices") as report:
            seconds = sum(asked.seconds(one) for one in found if not isinstance(one, BadDevice))
            if seconds > 60:
                remark(f"voltaspin: {len(found)} fits may take {seconds:.0f} s of one core; --quick ends before, and a "
                      "run that is stopped goes on when it is started again")  # fmt: skip
            for done, one in enumerate(found):
                report(done, len(found))
                device, name = str(one.device), names[str(one.device)]
                if isinstance(one, BadDevice):
                    failed[device] = one.reason
                elif name in kept:
                    records[name] = FitRecord.from_json(read_object(folder.path / name), where=str(folder.path / name))
                else:
                    try:
                        _, records[name] = asked.fitted(one)
                        folder.write_json(name, records[name].to_json())
                    except InputError as error:
                        failed[device] = str(error)
            report(len(found), len(found))
    except Stopped as stopped:
        folder.finish(run_record(), finished=False)
        stopped.kept = (
            f"{len(records)} of {len(found)} devices are in {folder.path / 'devices'}; start it again to go on"
        )
        raise
    if not records:
        raise InputError(
            f"none of the {len(found)} devices could be fitted; {next(iter(failed))}: {next(iter(failed.values()))}"
        )
    result = DeviceFits.of(records, failed, command=("voltaspin", *sys.argv[1:]), environment=environment())
    folder.forget([name for name in names.values() if name not in records])
    folder.write_bytes("fit.png", png(device_fits(result)))
    if asked.picture is not None:
        _draw_overlays(asked.picture, found, records, asked)
    folder.write_json("fit.json", result.to_json())
    folder.finish(run_record())
    return result


def _draw_overlays(
    path: Path, found: Sequence[Measurements | BadDevice], records: Mapping[str, FitRecord], asked: _Asked
) -> None:  # fmt: skip
    """Write the picture of every device's data and fit, those that are described worst first."""
    from voltaspin.device.fit.record import prediction
    from voltaspin.device.fit.tables import Measurements
    from voltaspin.plots.drawing import png
    from voltaspin.plots.fit import MOST_PANELS, Panel, device_overlays

    data = {one.device: one for one in found if isinstance(one, Measurements)}
    ordered = sorted(records.values(), key=lambda one: 1.0 if one.p_value is None else one.p_value)
    panels = [
        Panel(str(one.device), data[one.device].sets, prediction(one, data[one.device], asked.start), one.p_value)
        for one in ordered[:MOST_PANELS]
    ]
    if len(ordered) > len(panels):
        remark(f"voltaspin: {path} shows the {len(panels)} of {len(ordered)} devices with the lowest probability")
    write_bytes(path, png(device_overlays(panels)))
