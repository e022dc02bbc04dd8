"""``voltaspin study``: a file of conditions, done and judged."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from voltaspin.terminal import at_least, print_json, progress_bars, write_whole


def study(
    file: Annotated[Path, typer.Argument(help="JSON of a study: conditions or a grid, seeds, and the margin.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of results; finished runs in it are not repeated.")],
    shard: Annotated[str, typer.Option("--shard", help="Do only part i/N of the runs, on this machine.")] = "",
    workers: Annotated[int, typer.Option("--workers", help="Processes on this machine.")] = 1,
    scheduler: Annotated[str, typer.Option("--scheduler", help="Address of a dask scheduler, to run there.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON on standard output.")] = False,
) -> None:
    """Train, sample and score every condition with every seed, once, and compare each with the baseline.

    Example: [bold]voltaspin study study.json --out results --workers 2[/bold]
    """
    at_least(1, workers=workers)
    from voltaspin.specs import write_json
    from voltaspin.study.judgement import judge, page, table_csv, to_json, verdicts_png
    from voltaspin.study.runner import execute, finished, shard_of
    from voltaspin.study.specification import StudySpec
    from voltaspin.study.work import do

    spec = StudySpec.load(file)
    runs = spec.runs()
    mine = shard_of(runs, shard) if shard else runs
    work = partial(do, out.resolve())
    with progress_bars() as bars:
        for what, jobs in (("train", [t for r in mine if (t := r.training) is not None]), ("sample", mine)):
            if not jobs:
                continue
            bar = bars.add_task(what, total=len(jobs))
            execute(
                jobs, out, work=work, workers=workers, scheduler=scheduler or None,
                progress=lambda done, total, name, bar=bar: bars.update(  # type: ignore[misc]
                    bar, completed=done, total=total, description=name or "study"
                ),
            )  # fmt: skip
    left = sum(not finished(out, r) for r in runs)
    if left:
        print(
            f"{out}: {len(runs) - left} of {len(runs)} runs are done; the other shards have the rest", file=sys.stderr
        )
        return
    verdicts = judge(spec, out)
    if verdicts:
        write_whole(out / "verdicts.csv", table_csv(verdicts).encode())
        write_whole(out / "verdicts.png", verdicts_png(spec, verdicts))
    command = " ".join(["voltaspin", *sys.argv[1:]])
    write_whole(out / "index.html", page(spec, verdicts, out, command).encode())
    write_json(out / "verdicts.json", to_json(spec, verdicts))
    if as_json:
        print_json(to_json(spec, verdicts))
        return
    for v in verdicts:
        print(f"{v.name}: KID less {spec.baseline} {1e3 * v.difference:.2f}e-3 ({1e3 * v.low:.2f} to "
              f"{1e3 * v.high:.2f}), {v.said}, power {v.power:.0%}")  # fmt: skip
    print(f"{out / 'index.html'}: {len(runs)} runs")
