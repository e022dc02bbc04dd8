"""What every command shares: checks before hours of work, progress on standard error, JSON on standard output."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltaspin.core.errors import InputError
from voltaspin.core.units import COUNT, Dimension, parse_quantity

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


def quantity(option: str, text: str, dimension: Dimension, *, bare: str, signed: bool = False) -> float:
    """The SI value of an option like ``--width 0.6ns``; ``bare`` is the unit of a number alone, as its help says.

    Raises:
        InputError: no such number or unit, not finite, negative without ``signed``, or far from anything physical.
    """
    return parse_quantity(text, dimension, name=f"--{option}", bare=bare, signed=signed)


def count(option: str, text: str, *, least: int = 1, most: int, why: str = "") -> int:
    """The number of an option like ``--devices 20k``.

    Args:
        option, text: as on the command line, without the dashes.
        least, most: that are taken.
        why: what more of them would need, for the message.

    Raises:
        InputError: no whole number, or one outside the limits.
    """
    value = parse_quantity(text, COUNT.within(0, math.inf), name=f"--{option}", signed=True)
    if value != round(value):
        raise InputError(f"--{option} {text}: give a whole number, such as 8000, 20k or 8M")
    if value < least:
        raise InputError(f"--{option} {text}: give at least {least}")
    if value > most:
        raise InputError(f"--{option} {text} is more than {most:,}" + (f", {why}" if why else "") + "; give fewer")
    return int(value)


def progress_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<34}", markup=False),
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


def now_and_then(every: float = 5.0) -> Callable[[str], None]:
    """``say(text)``: a line on standard error every few seconds where that is no terminal, which has bars instead."""
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= every and not sys.stderr.isatty():
            last = time.monotonic()
            print(f"voltaspin: {text}", file=sys.stderr, flush=True)

    return say


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, allow_nan=False))
