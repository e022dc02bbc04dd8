"""``voltaspin study``: a file of conditions, done and judged; ``voltaspin spec``: what follows from one."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltaspin.cli.device import JUNCTION_HELP, chosen_junction
from voltaspin.cli.files import (
    Given,
    Streaming,
    file_options,
    input_of,
    is_live,
    refuse_recording,
    refuse_streaming,
    say_read,
)
from voltaspin.cli.noise import Chain, chosen_source, make_source
from voltaspin.cli.options import AsJson, Changes, DryRun, Force, Voltage, Width, count, quantity, ratio
from voltaspin.cli.terminal import (
    check_fail_on,
    end_on,
    print_json,
    progress_of,
    remark,
    run_record,
    show,
)
from voltaspin.core import units
from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.folders import OutputFolder
from voltaspin.core.units import parse_assignment

if TYPE_CHECKING:
    from voltaspin.device import Junction, Pulse

_MOST_BITS = 2**26  # of a recording that are looked at, one a byte
_DEVIATIONS = {
    "voltage": units.RATIO.within(1e-9, 1), "width": units.RATIO.within(1e-9, 1), "B_z": units.FIELD,
    "temperature": units.TEMPERATURE_CHANGE,
}  # fmt: skip

Certificates = Annotated[
    tuple[Path, Path, Path] | None,
    typer.Option("--tls", help="Of a tls:// scheduler: PEM files of the authority, the certificate and its key."),
]


def study(
    file: Annotated[Path, typer.Argument(help="JSON of a study: conditions or a grid, seeds, and the margin.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of results; finished runs in it are not repeated.")],
    shard: Annotated[str, typer.Option("--shard", help="Do only part i/N of the runs, on this machine.")] = "",
    workers: Annotated[int, count("--workers", most=1024, why="more than any machine has", help="Processes here.")] = 1,
    scheduler: Annotated[str, typer.Option("--scheduler", help="Address of a dask scheduler, to run there.")] = "",
    tls: Certificates = None,
    dry_run: DryRun = False,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="different, not-equivalent or controls: end with status 3 where a condition is found "
            "different, is not shown equivalent, or a control is not found different.",
        ),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train, sample and score every condition with every seed, once, and compare each with the baseline.

    The study is checked as one piece first: every condition is built, and a field that does not act on its condition is
    refused. An open dask scheduler runs the code of anyone who reaches it; use tls:// outside a network of your own.

    Example: [bold]voltaspin study study.json --out results --workers 2[/bold]
    """
    if workers > 1 and scheduler:
        raise InputError("--workers are processes here and --scheduler has its own; give one of them")
    from voltaspin.report.study_page import page, summary, table_csv, verdicts_png
    from voltaspin.study import runner
    from voltaspin.study.check import check
    from voltaspin.study.equivalence import judge
    from voltaspin.study.runner import PAGES, execute, finished, pages_before, prepare, shard_of
    from voltaspin.study.specification import StudySpec
    from voltaspin.study.work import do, seconds_of

    spec = StudySpec.load(file)
    runs = spec.runs()
    if dry_run or not all(finished(out, run) for run in runs):  # what is done needs no network that fits today
        size = check(spec)
    if dry_run:
        seconds = seconds_of(size.work)
        show(size.model_copy(update={"seconds": seconds}), as_json)
        return
    mine = shard_of(runs, shard) if shard else runs
    work = partial(do, out.resolve())
    # The runs are those of any study in this folder; the pages are of the one that was asked for last.
    pages = partial(
        OutputFolder.claim, out, command="study", arguments={}, force=force, resume=True, among=True, wait=True
    )  # fmt: skip
    with pages(adopt=pages_before(out)) as folder:
        folder.plan(PAGES)  # refuses what is not of a study before the work, not after it
        prepare(out, force=force)
    with progress_of() as progress:
        for what, jobs in (("train", [t for r in mine if (t := r.training) is not None]), ("sample", mine)):
            if not jobs:
                continue
            execute(
                jobs, out, work=work, workers=workers, scheduler=scheduler or None,
                certificates=None if tls is None else runner.Certificates(*tls),
                progress=lambda done, total, name, what=what: progress(  # type: ignore[misc]
                    f"{what}{{}}", done, total, name and f": {name}"
                ),
            )  # fmt: skip
    left = sum(not finished(out, r) for r in runs)
    if left:
        remark(f"{out}: {len(runs) - left} of {len(runs)} runs are done; the other shards have the rest")
        return
    result = judge(spec, out)
    command = " ".join(["voltaspin", *sys.argv[1:]])
    with pages(adopt=pages_before(out)) as folder:
        each = result.verdicts
        if each:
            folder.write_bytes("verdicts.csv", table_csv(each).encode())
            folder.write_bytes("verdicts.png", verdicts_png(spec, each))
        folder.write_bytes("index.html", page(spec, each, out, command).encode())
        folder.write_bytes("summary.md", summary(spec, each, out, command).encode())
        folder.write_json("verdicts.json", result.to_json())
        folder.finish(run_record())
    if as_json:
        print_json(result.to_json())
    else:
        if text := str(result):
            print(text)
        print(f"{out / 'index.html'}: {len(runs)} runs")
    judged = [v for v in result.verdicts if v.name not in (*spec.controls, spec.yardstick)]
    end_on(fail_on, {
        "different": any(v.said == "different" for v in judged),
        "not-equivalent": any(v.said != "equivalent" for v in judged),
        "controls": not all(v.detected for v in result.verdicts if v.name in spec.controls),
    })  # fmt: skip


def frontier(
    file: Annotated[Path, typer.Argument(help="JSON of a study.")],
    results: Annotated[
        Path, typer.Option("--results", help="Its folder of results; unfinished conditions are left out.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for frontier.json, frontier.png and frontier.md.")],
    macro: Annotated[
        str | None,
        typer.Option("--macro", help="What arrays are built of: a JSON file of a MacroSpec; default: 28 nm."),
    ] = None,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Leave out the CPU, which is timed here.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Quality against energy: every finished condition of a study as a design, priced for a whole image.

    Example: [bold]voltaspin frontier examples/frontier.json --results build/frontier --out build/frontier-figure[/bold]
    """
    from voltaspin.cost.macro import MacroSpec
    from voltaspin.plots.drawing import png
    from voltaspin.study.frontier import frontier as place
    from voltaspin.study.specification import StudySpec

    spec, built = StudySpec.load(file), None if macro is None else MacroSpec.load(macro)
    arguments = {"study": str(file), "macro": None if macro is None else str(macro)}
    with OutputFolder.claim(out, command="frontier", arguments=arguments, force=force) as folder:
        folder.plan(["frontier.json", "frontier.png", "frontier.md"])
        found = place(spec, results, macro=built, timed=not no_timing)
        folder.write_json("frontier.json", found.to_json())
        folder.write_bytes("frontier.png", png(found.plot()))
        folder.write_bytes("frontier.md", (found.table() + "\n").encode())
        folder.finish(run_record())
    show(found, as_json)


@file_options
def spec(
    file: Annotated[
        str | None, typer.Argument(help="File of raw bits or stream, - for standard input; or give --junction.")
    ] = None,
    junction: Annotated[str, typer.Option("--junction", help=JUNCTION_HELP)] = "",
    bits: Annotated[
        int | None,
        count("--bits", most=_MOST_BITS, why="the bits that are judged", help="How many; default: all of a file."),
    ] = None,
    changes: Changes = None,
    voltage: Voltage = None,
    width: Width = None,
    spread: Annotated[float | None, ratio("--spread", help="Of K_eff over its mean, cell to cell: 5%.")] = None,
    stray: Annotated[
        float | None,
        quantity("--stray-field", dimension=units.FIELD, bare="mT", help="Spread of it, 1mT; a number alone is in mT."),
    ] = None,
    drift: Annotated[
        float | None,
        quantity(
            "--drift",
            dimension=units.TEMPERATURE_CHANGE,
            bare="K",
            help="Of the common temperature, rms, 2K; a number alone is in K.",
        ),
    ] = None,
    deviations: Annotated[
        list[str] | None,
        typer.Option(
            "--deviation", help="To tolerate, repeated: voltage=5%, width=5%, B_z=1mT, temperature=20K (defaults)."
        ),
    ] = None,
    reset: Annotated[
        bool,
        typer.Option("--reset", help="The cells are reset before every pulse, as the fair pulse of a torque needs."),
    ] = False,
    specification: Annotated[
        Path | None, typer.Option("--specification", help="Another one than the package's: JSON.")
    ] = None,
    condition: Chain = "",
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", help="raw or xor: end with status 3 unless raw bits, or their XOR, meet it."),
    ] = None,
    as_json: AsJson = False,
    force: Force = False,
    *,
    recording: Given,
    streaming: Streaming,
) -> None:
    """Whether a junction or recorded bits meet the specification of a noise device, and where they fail first.

    A verdict ends with status 0 whatever it says, unless --fail-on names it; bad input, such as too few bits, with 2.

    Example: [bold]voltaspin spec --junction generator --set B_x=20mT --voltage 1.5 --width 0.28[/bold], or
    [bold]voltaspin spec bits.bin --n-cells 64[/bold], or of a stream
    [bold]nc lab 5000 | voltaspin spec - --bits 8M --n-cells 64[/bold]
    """
    check_fail_on(fail_on, {"raw": "raw bits do not meet it", "xor": "the XOR of two cells does not"})
    if bool(junction) == (file is not None):
        raise InputError("give either a file of bits or --junction")
    from voltaspin.requirements.specification import NoiseSpecification

    kept = NoiseSpecification.shipped() if specification is None else NoiseSpecification.load(specification)
    from voltaspin.requirements.bits import judge_bits
    from voltaspin.requirements.compliance import Compliance
    from voltaspin.requirements.junction import OperatingConditions, judge_junction

    found: Compliance
    if file is not None:
        of_junction = (changes, voltage, width, spread, stray, drift, deviations, reset or None)
        if any(x is not None for x in of_junction):
            raise InputError(
                "a file of bits takes the options of recorded files; the other options are a junction's: leave them out"
            )
        import numpy as np

        from voltaspin.noise.endpoint import is_address

        if bits is None and is_address(file):
            raise InputError(f"{file} is a stream and has no end; say with --bits how many are taken")
        # a file that does not exist is said to be none, whatever its name
        noise, path = (chosen_source(file, None), {}) if is_address(file) else ("recorded", {"path": file})
        source = make_source(
            noise, seed=0, condition=condition, recording={**recording, **path}, streaming=streaming, force=force
        )
        there = source.bits_at_most
        if bits is not None and there is not None and there < bits:
            raise InputError(f"--bits {bits}: {source.name} has {there} bits; ask for at most as many")
        n = bits or min(there or 0, _MOST_BITS)
        cut = f"; the first {n} bits are judged" if there != n else ""
        try:
            with progress_of() if is_live(source) else contextlib.nullcontext():
                source.expect(n)
                packed = source.take(n)
        except NoiseExhaustedError:
            if is_live(source) or bits is not None:
                raise
            packed, n = source.rest()  # of a conditioner whose rate varies it is known only now how many it made
        subject = str(source.provenance) + cut
        found = judge_bits(kept, np.unpackbits(packed, count=n), n_cells=source.n_cells, subject=subject)
        say_read(source)
        read = {"input": input_of(source)}
    else:
        refuse_recording(recording, "--junction has none: they belong to a file of bits")
        refuse_streaming(streaming, "--junction")
        if bits is not None or force:
            raise InputError("--bits and --force belong to a file of bits; leave them out")
        if condition:
            raise InputError(f"--conditioning {condition} is of recorded bits; --junction takes none, so leave it out")
        read = {}
        cell = chosen_junction(junction, changes)
        given = dict(parse_assignment(text, _DEVIATIONS, name="deviations") for text in deviations or ())
        pulse, needed = _pulse_of(cell, voltage, width)
        reset = reset or needed
        around: dict[str, Any] = {
            **given, "reset": reset,
            "K_eff_spread": spread, "stray_field_spread": stray, "temperature_drift": drift,
        }  # fmt: skip
        conditions = OperatingConditions(**{name: value for name, value in around.items() if value is not None})
        found = judge_junction(kept, cell, pulse, around=conditions)
    show(found.model_copy(update=read), as_json)
    if kept.reduced and not as_json:
        remark("the specification is a trial of few images and steps: no result")
    end_on(fail_on, {name: not verdict.meets for name, verdict in found.treatments.items()})


def _pulse_of(junction: Junction, voltage: float | None, width: float | None) -> tuple[Pulse, bool]:
    """The pulse of the options, with that of the fair pulse for what they leave out, and whether it needs a reset."""
    from voltaspin.device import Pulse, fair_pulse

    stated = {k: v for k, v in {"voltage": voltage, "width": width}.items() if v is not None}
    if len(stated) == 2:
        return Pulse(**stated), False
    found = fair_pulse(junction)
    return replace(found.pulse, **stated), found.reset
