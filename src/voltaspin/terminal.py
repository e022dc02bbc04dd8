"""What every command shares: checks before hours of work, progress on standard error, JSON on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltaspin.core.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Overwrite the file, or use a folder that is not empty: of its files only those are replaced that its "
        "run.json lists.",
    ),
]


def at_least(least: float, **options: float) -> None:
    """Raise InputError for the first option below ``least``; the message names option and value."""
    for name, value in options.items():
        if value < least:
            raise InputError(f"--{name.replace('_', '-')} {value:g}: give at least {least:g}")


def progress_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=(console := Console(stderr=True)),
        disable=not console.is_terminal,
    )


def bar_per_part(bars: Progress) -> Callable[[str, int, int], None]:
    """``show(part, done, total)``: a bar for each part, added when the part first reports."""
    tasks: dict[str, Any] = {}

    def show(part: str, done: int, total: int) -> None:
        if part not in tasks:
            tasks[part] = bars.add_task(part, total=total)
        bars.update(tasks[part], completed=done, total=total)

    return show


def run_record() -> dict[str, Any]:
    """What ``run.json`` holds of a run beside its command, arguments and files."""
    from voltaspin.core.spec import environment

    return {"kind": "run", "schema_version": 1, "argv": ["voltaspin", *sys.argv[1:]], "environment": environment()}


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, allow_nan=False))
