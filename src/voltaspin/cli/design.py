"""``voltaspin design``: explore designs of arrays, macros and samplers."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from voltaspin.cli.options import AsJson, DryRun, Force, count
from voltaspin.cli.study import Certificates
from voltaspin.cli.terminal import print_json, progress_of, remark, run_record, show
from voltaspin.core.errors import InputError
from voltaspin.core.folders import RECORD, OutputFolder

FILES = ("points.csv", "points.parquet", "pareto.png", "index.html", "design.json", "space.json", "kid/index.html")


def design(
    space: Annotated[Path, typer.Argument(help="JSON of a design space: what is fixed, what varies, objectives.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of results; what is finished in it is not repeated.")],
    workers: Annotated[int, count("--workers", most=1024, why="more than any machine has", help="Processes here.")] = 1,
    scheduler: Annotated[str, typer.Option("--scheduler", help="Address of a dask scheduler, to run there.")] = "",
    tls: Certificates = None,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Explore designs: output error, energy, time and area of an image over arrays, macros and samplers.

    A space of few designs is tried point by point; a larger one is searched (NSGA-II, needs optuna). Then the survivors
    of the fronts make images and get a KID. A space in which a value belongs to no design is refused first.

    Example: [bold]voltaspin design examples/design.json --out designs --workers 2[/bold]
    """
    if workers > 1 and scheduler:
        raise InputError("--workers are processes here and --scheduler has its own; give one of them")
    from voltaspin.design.feasible import check_space
    from voltaspin.design.kid import KID, study_of, with_kid
    from voltaspin.design.result import survivors
    from voltaspin.design.search import check_search, explore, forecast
    from voltaspin.design.size import DesignSize
    from voltaspin.design.space import DesignSpace
    from voltaspin.plots.drawing import png
    from voltaspin.report.design_page import NO_PARQUET, design_page, table_csv, table_parquet
    from voltaspin.report.study_page import page
    from voltaspin.study.equivalence import judge
    from voltaspin.study.runner import Certificates as Pem
    from voltaspin.study.runner import crew_of

    asked = DesignSpace.load(space)
    check_search(asked)
    reasons = check_space(asked)
    if dry_run:
        seconds, memory = forecast(asked)
        size = DesignSize.of(asked, reasons).model_copy(update={"seconds": seconds, "memory": memory})
        show(size, as_json)
        return
    pages = partial(
        OutputFolder.claim, out, command="design", arguments={}, force=force, resume=True, among=_ours(out), wait=True
    )  # fmt: skip
    with pages() as folder:
        folder.plan(FILES)  # refuses what is not of an exploration before the work, not after it
    with progress_of() as progress, crew_of(workers, scheduler or None, None if tls is None else Pem(*tls)) as crew:
        result = explore(asked, out, crew=crew, progress=progress)
        if asked.survivors:
            result = with_kid(result, out, crew=crew, progress=progress)
    command = " ".join(["voltaspin", *sys.argv[1:]])
    with pages() as folder:
        folder.write_bytes("points.csv", table_csv(result).encode())
        if (parquet := table_parquet(result)) is not None:
            folder.write_bytes("points.parquet", parquet)
        else:
            remark(f"voltaspin: {NO_PARQUET}")
        folder.write_bytes("pareto.png", png(result.plot()))
        folder.write_bytes("index.html", design_page(result, command).encode())
        folder.write_json("design.json", result.to_json())
        folder.write_json("space.json", asked.to_json())
        if asked.survivors:
            study = study_of(asked, survivors(result.points, asked.survivors))
            folder.write_bytes(
                f"{KID}/index.html", page(study, judge(study, out / KID).verdicts, out / KID, command).encode()
            )
        folder.finish(run_record())
    if as_json:
        print_json(result.to_json())
        return
    print(result)
    print(f"{out / 'index.html'}: {len(result.points)} designs")


def _ours(out: Path) -> bool:
    """Whether the folder holds nothing but an exploration that was stopped before its first page, or begins now.

    Its ``run.json`` may be a plan that another process of the same work takes back before the lock is ours.
    """
    from voltaspin.design.kid import KID
    from voltaspin.design.search import EVALUATIONS

    known = (EVALUATIONS, KID, RECORD)
    return not out.is_dir() or all(p.name in known or p.name.startswith(".") for p in out.iterdir())
