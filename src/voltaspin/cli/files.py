"""The options of recorded files and streams, the same for every command, and the line that says what was read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from voltaspin.cli.options import count, quantity
from voltaspin.cli.terminal import remark
from voltaspin.core import units
from voltaspin.core.errors import InputError

if TYPE_CHECKING:
    from voltaspin.noise import NoiseSource

#: By its name in :class:`voltaspin.noise.RecordedSource`: text or, with its least value, a count; option; help.
_OPTIONS: dict[str, tuple[str | int, str, str]] = {
    "format": ("text", "--file-format", "packed, bytes, text, hex, base64, json, csv, npy, npz, mat, hdf5, wav or "
               "samples; default: recognised by content."),
    "bit_order": ("text", "--bit-order", "Of packed bytes: msb (the first bit is the highest, the default) or lsb."),
    "threshold": ("text", "--threshold", "Above which a bit is 1: 5.4kohm, 0.35V, -20mV, a number in SI, or fit."),
    "unit": ("text", "--unit", "Of the values, such as kohm or mV, where the file does not say it."),
    "column": ("text", "--column", "Of a table: name, or number from 0; of a file of arrays: name."),
    "n_cells": (1, "--n-cells", "Cells that were read in turn."),
    "leave_out": ("text", "--leave-out", "Cells whose bits are skipped: 3,17,40-47, or the file of `cells --out`."),
    "sample_type": ("text", "--sample-type", "Of raw converter words: int16, uint8, float32, ...; packed: the numbers "
                    "of a table or array are bytes of eight bits."),
    "byte_order": ("text", "--byte-order", "Of raw converter words: little (default) or big."),
    "channels": (1, "--channels", "Of raw converter words: channels that take turns; --column says which."),
    "header_bytes": (0, "--header-bytes", "Of raw converter words: bytes before the first one."),
    "delimiter": ("text", "--delimiter", "Of a table: comma, semicolon, tab or space."),
    "decimal": ("text", "--decimal", "Decimal sign of a table: . or ,"),
    "skip_rows": (0, "--skip-rows", "Lines of a table above its first row of numbers."),
}  # fmt: skip
_PANEL = "Recorded files and streams (the content is recognised; these options say what it leaves open)"
_STREAM_PANEL = "Streams"
_STREAM: dict[str, Any] = {
    "record": Annotated[
        str | None,
        typer.Option("--record", rich_help_panel=_STREAM_PANEL,
                     help="File for what arrives, from which the run can be replayed; FILE.json describes it."),
    ],
    "timeout": Annotated[
        float | None,
        quantity("--timeout", dimension=units.TIME.within(1e-3, 1e8), bare="s", panel=_STREAM_PANEL,
                 help="Without a byte after which a stream is given up, 30s or 10min; default: 5min."),
    ],
}  # fmt: skip
SPELLED = {name: spelling for name, (_, spelling, _) in _OPTIONS.items()}  #: each option by its name there

Given = dict[str, Any]  #: the options that were given, by their names in RecordedSource


@dataclass
class Streaming:
    """The options of a stream, and the streams that a command opened, which are closed at its end.

    Args:
        options: those that were given, by their names in :class:`voltaspin.noise.StreamSource`.
        opened: closes them.
    """

    options: dict[str, Any]
    opened: ExitStack


def file_options(command: Callable[..., None], *, without: Collection[str] = ()) -> Callable[..., None]:
    """Give a command the options of a recorded file; it gets those that were given as ``recording``.

    One that takes ``streaming`` gets the options of a stream too.

    Args:
        command: whose argument ``recording`` they become.
        without: names of those that it does not take.
    """
    of_file = {name: option for name, option in _OPTIONS.items() if name not in without}
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    own = [p for name, p in parameters.items() if name not in ("recording", "streaming")]
    streams = _STREAM if "streaming" in parameters else {}

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        def given(names: Iterable[str], prefix: str) -> dict[str, Any]:
            found = {name: values.pop(f"{prefix}{name}") for name in names}
            return {name: value for name, value in found.items() if value is not None}

        recording = given(of_file, "file_")
        if not streams:
            command(**values, recording=recording)
            return
        options = given(streams, "")
        with ExitStack() as opened:
            command(**values, recording=recording, streaming=Streaming(options, opened))

    more = [
        inspect.Parameter(
            f"file_{name}", inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=_annotation(kind, spelling, text),
        )
        for name, (kind, spelling, text) in of_file.items()
    ]  # fmt: skip
    more += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in streams.items()
    ]
    with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints.get(p.name, p.annotation)) for p in own] + more
    )
    with_options.__annotations__ = {p.name: hints.get(p.name) for p in own} | {p.name: p.annotation for p in more}
    return with_options


def _annotation(kind: str | int, spelling: str, text: str) -> Any:
    """The option of a recorded file: a text, or a count from ``kind`` on."""
    if isinstance(kind, str):
        return Annotated[str | None, typer.Option(spelling, help=text, rich_help_panel=_PANEL)]
    most = count(spelling, least=kind, most=2**52, why="more than any file has", help=text, panel=_PANEL)
    return Annotated[int | None, most]


def check_recording(noise: str, recording: Given) -> None:
    """Refuse the options of a recorded file for any source of ``--noise`` that is none."""
    from voltaspin.noise.grammar import ALIASES, LIVE, WORDS

    word = noise.partition(":")[0].partition("|")[0].strip()
    if word not in ("recorded", *LIVE) and word in {**WORDS, **ALIASES}:
        refuse_recording(recording, f"--noise {noise} has none")


def refuse_recording(recording: Given, what: str) -> None:
    """Refuse the options of a recorded file where there is none."""
    if recording:
        names = ", ".join(SPELLED[name] for name in recording)
        raise InputError(
            f"{names}: of a recorded file, and {what}; leave {'it' if len(recording) == 1 else 'them'} out"
        )


def refuse_streaming(streaming: Streaming, noise: str) -> None:
    """Refuse the options of a stream for a source that is none."""
    for name in streaming.options:
        raise InputError(f"--{name}: of a stream, and {noise} is none; leave it out")


def input_of(source: NoiseSource) -> dict[str, Any] | None:
    """Return how a recorded file or a stream was read, also behind conditioners; None for a source of another kind."""
    inner = _read_in(source)
    if inner is None:
        return None
    said: dict[str, Any] = inner.understood.to_json()
    return {"stream": inner.name, **said} if hasattr(inner, "taken") else {"file": inner.path.name, **said}


def _read_in(source: NoiseSource) -> Any:
    """The source of a recording or a stream behind conditioners; None where there is none."""
    inner: Any = source
    while inner is not None and not hasattr(inner, "understood"):
        inner = getattr(inner, "source", None)
    return inner


def is_live(source: NoiseSource) -> bool:
    """Whether the bits of a source come from a stream."""
    return hasattr(_read_in(source), "taken")


def say_read(source: NoiseSource) -> None:
    """Print on standard error what a recording or stream was read as; called when nothing can be refused any more."""
    if (found := input_of(source)) is not None:
        name = "".join(c if c.isprintable() else "?" for c in found.get("file") or found["stream"])
        taken = f", {_read_in(source).taken} bits taken" if is_live(source) else ""
        remark(f"{name}: read as {found['sentence']}{taken}")
