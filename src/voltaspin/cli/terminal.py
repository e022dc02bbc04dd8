"""The output of every command: progress and remarks on standard error, its result on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import typer

from voltaspin.cli.options import OptionError
from voltaspin.core.errors import nearest
from voltaspin.core.progress import ProgressDisplay, progress

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


def progress_of(title: str = "", *, per: float = 1, unit: str = "") -> ProgressDisplay:
    """:func:`voltaspin.core.progress.progress`, which a quiet command does not show."""
    return progress(title, per=per, unit=unit, quiet=_quiet)


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
