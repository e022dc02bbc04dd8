"""The options of a recorded file, the same for every command that takes one, and the line that says what was read."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from voltaspin.core.errors import InputError

if TYPE_CHECKING:
    from voltaspin.noise import NoiseSource

#: Name in :class:`voltaspin.noise.FileOptions`, option, further spellings, help.
_OPTIONS: dict[str, tuple[type, tuple[str, ...], str]] = {
    "format": (str, ("--file-format",), "packed, bytes, text, hex, base64, json, csv, npy, npz, mat, hdf5, wav or "
               "samples; default: recognised by content."),
    "bit_order": (str, ("--bit-order",), "Of packed bytes: msb (the first bit is the highest, the default) or lsb."),
    "threshold": (str, ("--threshold",), "Above which a bit is 1: 5.4kohm, 0.35V, -20mV, a number in SI, or fit."),
    "unit": (str, ("--unit",), "Of the values, such as kohm or mV, where the file does not say it."),
    "column": (str, ("--column",), "Of a table: name, or number from 0; of a file of arrays: name."),
    "n_cells": (int, ("--n-cells", "--lanes"), "Cells that were read in turn."),
    "sample_type": (str, ("--sample-type",), "Of raw converter words: int16, uint8, float32, ...; packed: the numbers "
                    "of a table or array are bytes of eight bits."),
    "byte_order": (str, ("--byte-order",), "Of raw converter words: little (default) or big."),
    "channels": (int, ("--channels",), "Of raw converter words: channels that take turns; --column says which."),
    "header_bytes": (int, ("--header-bytes",), "Of raw converter words: bytes before the first one."),
    "delimiter": (str, ("--delimiter",), "Of a table: comma, semicolon, tab or space."),
    "decimal": (str, ("--decimal",), "Decimal sign of a table: . or ,"),
    "skip_rows": (int, ("--skip-rows",), "Lines of a table above its first row of numbers."),
}  # fmt: skip
_PANEL = "Recorded files (the content is recognised; these options say what it leaves open)"
SPELLED = {name: spellings[0] for name, (_, spellings, _) in _OPTIONS.items()}  #: each option by its name there

Given = dict[str, Any]  #: the options that were given, by their names in FileOptions


def file_options(command: Callable[..., None], *, without: Collection[str] = ()) -> Callable[..., None]:
    """Give a command the options of a recorded file; it gets those that were given as ``recording``.

    Args:
        command: whose argument ``recording`` they become.
        without: names of those that it does not take.
    """
    options = {name: option for name, option in _OPTIONS.items() if name not in without}
    hints = get_type_hints(command, include_extras=True)
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "recording"]

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        given = {name: values.pop(f"file_{name}") for name in options}
        command(**values, recording={name: value for name, value in given.items() if value is not None})

    more = [
        inspect.Parameter(
            f"file_{name}", inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=Annotated[type_ | None, typer.Option(*spellings, help=text, rich_help_panel=_PANEL)],
        )
        for name, (type_, spellings, text) in options.items()
    ]  # fmt: skip
    with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints.get(p.name, p.annotation)) for p in own] + more
    )
    with_options.__annotations__ = {p.name: hints.get(p.name) for p in own} | {p.name: p.annotation for p in more}
    return with_options


def check_recording(noise: str, recording: Given) -> None:
    """Refuse the options of a recorded file for any source of ``--noise`` that is none."""
    from voltaspin.noise.grammar import ALIASES, WORDS

    word = noise.partition(":")[0].partition("|")[0].strip()
    if word != "recorded" and word in {**WORDS, **ALIASES}:
        refuse_recording(recording, f"--noise {noise} has none")


def refuse_recording(recording: Given, what: str) -> None:
    """Refuse the options of a recorded file where there is none."""
    if recording:
        names = ", ".join(SPELLED[name] for name in recording)
        raise InputError(
            f"{names}: of a recorded file, and {what}; leave {'it' if len(recording) == 1 else 'them'} out"
        )


def input_of(source: NoiseSource) -> dict[str, Any] | None:
    """Return how a recorded file was read, also behind conditioners; None for a source of another kind."""
    from voltaspin.noise import RecordedSource

    inner: Any = source
    while not isinstance(inner, RecordedSource):
        inner = getattr(inner, "source", None)
        if inner is None:
            return None
    return {"file": inner.path.name, **inner.understood.to_json()}


def say_read(source: NoiseSource) -> None:
    """Print on standard error what a recorded file was read as; called when nothing can be refused any more."""
    if (found := input_of(source)) is not None:
        name = "".join(c if c.isprintable() else "?" for c in found["file"])
        print(f"{name}: read as {found['sentence']}", file=sys.stderr)
