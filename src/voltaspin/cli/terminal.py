"""The output of every command: progress and remarks on standard error, its result on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from voltaspin.cli.options import OptionError
from voltaspin.core.context import waits_told_to
from voltaspin.core.errors import nearest

if TYPE_CHECKING:
    from rich.progress import Progress


QUIET_WORD = "--quiet"
VERDICT = 3  #: exit status where --fail-on names what a verdict says
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Leave out progress and remarks on standard error; errors stay."""
    global _quiet
    _quiet = quiet


def remark(text: str) -> None:
    """Print a line on standard error, unless the command is quiet."""
    if not _quiet:
        print(text, file=sys.stderr, flush=True)


def check_fail_on(asked: str | None, words: Mapping[str, str]) -> None:
    """Refuse a word of --fail-on that a command does not know, before any work.

    Raises:
        OptionError: with the words that it knows and what they mean.
    """
    if asked is not None and asked not in words:
        known = "; ".join(f"{word}: {meaning}" for word, meaning in words.items())
        raise OptionError(f"--fail-on {asked!r} is unknown{nearest(asked, words)}; give {known}")


def end_on(asked: str | None, verdicts: Mapping[str, bool]) -> None:
    """End with status :data:`VERDICT` where --fail-on names what holds."""
    if asked is not None and verdicts[asked]:
        raise typer.Exit(VERDICT)


def progress_bars() -> Progress:
    """Return the bars of a terminal; elsewhere, and where the command is quiet, they are disabled."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=(console := Console(stderr=True)),
        disable=_quiet or not console.is_terminal,
    )


def bar_per_part(bars: Progress, title: str = "") -> Callable[..., None]:
    """Return ``report([part,] done, total, ...)``, which adds a bar when a part first reports.

    Args:
        bars: where.
        title: of work without parts; what it reports beyond ``done`` and ``total`` is formatted into it.
    """
    tasks: dict[str, Any] = {}

    def report(*said: Any) -> None:
        part, done, total, *more = said if isinstance(said[0], str) else (title, *said)
        if part not in tasks:
            tasks[part] = bars.add_task("", total=total)
        bars.update(tasks[part], completed=done, total=total, description=part.format(*more))

    return report


@contextmanager
def progress_of(title: str = "") -> Iterator[Callable[..., None]]:
    """:func:`bar_per_part` of a piece of work, whose bars end with the block; waits inside get bars too."""
    with progress_bars() as bars, waits_shown(bars):
        yield bar_per_part(bars, title)


@contextmanager
def waits_shown(bars: Progress) -> Iterator[None]:
    """A bar for every wait inside, or a line now and then where standard error is no terminal."""
    report, say = bar_per_part(bars), now_and_then()
    begun: dict[str, tuple[float, int]] = {}

    def listener(what: str, done: int, total: int) -> None:
        since, first = begun.setdefault(what, (time.monotonic(), done))
        seconds, made = time.monotonic() - since, done - first
        report(what.replace("{", "{{").replace("}", "}}"), done, total)
        pace = ""
        if seconds >= 1:
            left = f"{seconds * (total - done) / made:.0f} s left" if made else "nothing came meanwhile"
            speed = made / seconds
            pace = f", {f'{speed:,.0f}' if speed >= 10 else f'{speed:.2g}'} a second, {left}"
        say(f"{what}: {done} of {total}{pace}")

    with waits_told_to(listener):
        yield


def now_and_then(every: float = 5.0) -> Callable[[str], None]:
    """Return ``say(text)``: a line on standard error every few seconds where that is no terminal, which has bars."""
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= every and not sys.stderr.isatty():
            last = time.monotonic()
            remark(f"voltaspin: {text}")

    return say


def show(result: Any, as_json: bool, *more: str) -> None:
    """Print a result: its JSON, or its text and further lines."""
    if as_json:
        print_json(result.to_json())
        return
    print(result)
    for line in more:
        print(line)


def run_record() -> dict[str, Any]:
    """Return the fields of ``run.json`` beside its command, arguments and files."""
    from voltaspin.core.result import RunRecord

    return RunRecord().to_json()


def print_json(data: Any) -> None:
    """Print data as JSON."""
    print(json.dumps(data, indent=1, allow_nan=False))
