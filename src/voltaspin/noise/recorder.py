"""Write the bits of any source, as a stream or as a recording that can be drawn again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError, NoiseStoppedError
from voltaspin.core.files import opened_whole, replacing
from voltaspin.core.result import Result
from voltaspin.noise.importer.bit_file import Recording
from voltaspin.noise.recorded import RecordedSource
from voltaspin.noise.source import NoiseSource, checked_count

_BLOCK = 1 << 23  # bits drawn at once

Format = Literal["packed", "bytes", "text"]
FORMATS: tuple[Format, ...] = get_args(Format)


class BitsWritten(Result):
    """Bits of a source that were written into a file.

    Args:
        file: its path; ``bits``: how many.
        input: what a recorded file was read as, where the source is one.
        noise: provenance of the source; ``ledger``: what they cost.
    """

    KIND: ClassVar[str] = "bits"

    file: str
    bits: int
    input: dict[str, Any] | None = None
    noise: dict[str, Any]
    ledger: dict[str, int]


class _Writable(Protocol):
    def write(self, data: bytes, /) -> Any: ...


def blocks(source: NoiseSource, count: int | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the next bits in blocks: (how many, packed).

    Args:
        source: any.
        count: how many; None for all that a finite source has, and no end of another.

    Raises:
        NoiseStoppedError: an alarm, or a source that ran dry before ``count``; the bits before it were given.
    """
    left = count
    while left is None or left > 0:
        n = _BLOCK if left is None else min(_BLOCK, left)
        try:
            packed = source.bits(n)
        except NoiseStoppedError as stopped:
            packed, n = source.rest()
            if n:
                yield n, packed
            if count is None and isinstance(stopped, NoiseExhaustedError):
                return
            raise
        yield n, packed
        left = None if left is None else left - n


def write_bits(
    source: NoiseSource,
    file: _Writable,
    *,
    count: int | None,
    format: Format = "packed",
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the next bits of a source into an open file.

    Args:
        source: any; count: how many bits, None as in :func:`blocks`.
        file: open for bytes.
        format: ``"packed"`` (first bit highest), ``"bytes"`` (0 or 1 each) or ``"text"`` (``0`` or ``1`` each).
        progress: called with the number of bits written.

    Returns:
        How many were written.

    Raises:
        NoiseStoppedError: as :func:`blocks`; its ``finished`` is the number of bits written before.
    """
    done = 0
    try:
        for n, packed in blocks(source, count):
            data = packed if format == "packed" else np.unpackbits(packed, count=n) + (48 if format == "text" else 0)
            file.write(data.astype(np.uint8, copy=False).tobytes())
            done += n
            if progress is not None:
                progress(done)
    except NoiseStoppedError as stopped:
        stopped.finished = done
        raise
    return done


def write_file(
    source: NoiseSource,
    path: Path | str,
    *,
    count: int,
    format: Format = "packed",
    progress: Callable[[int], None] | None = None,
) -> None:
    """:func:`write_bits` into a file that appears whole or not at all.

    Args:
        source, count, format, progress: as :func:`write_bits`.
        path: of the file, a device or a FIFO.

    Raises:
        NoiseStoppedError: as :func:`write_bits`; the file holds the bits before it, where there were any.
    """
    stopped: NoiseStoppedError | None = None
    with opened_whole(path) as file:
        try:
            write_bits(source, file, count=count, format=format, progress=progress)
        except NoiseStoppedError as error:
            if not error.finished:
                raise
            stopped = error
    if stopped is not None:
        raise stopped


class _Hashed:
    """A file whose SHA-256 is taken while it is written."""

    def __init__(self, file: _Writable) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes, /) -> None:
        self.digest.update(data)
        self.file.write(data)


def record(
    source: NoiseSource,
    path: Path | str,
    *,
    bits: int,
    progress: Callable[[int, int], None] | None = None,
    about: Mapping[str, Any] | None = None,
) -> RecordedSource:
    """Write the next bits of a source into a file, and its provenance beside it.

    The file appears whole or not at all: an interrupt or a full disk leaves what was there before. After an alarm, or
    where the source runs dry, the file holds the bits before it, and the error's ``finished`` is that recording.

    Args:
        source: any.
        path: of packed bits; ``PATH.json`` says how many they are and where they come from.
        bits: how many.
        progress: called with (bits done, in all).
        about: ``command`` and ``arguments`` for the description.

    Returns:
        The recording, at its beginning.

    Raises:
        InputError: no bits, or a folder that does not exist.
        NoiseStoppedError: an alarm, or a source that ran dry.
    """
    path, bits = Path(path), checked_count(bits, "number of bits")
    if bits < 1 or not path.parent.is_dir() or path.is_dir():
        raise InputError(
            f"cannot record {bits} bits into {path}; give at least 1 bit and a file in a folder that exists"
        )
    left = source.bits_at_most
    if left is not None and left < bits:
        raise InputError(f"{source.name} has {left} bits left, fewer than {bits}; ask for at most as many")
    origin = source.provenance.to_json()
    stopped: NoiseStoppedError | None = None
    with replacing(path) as part:
        with part.open("wb") as file:
            hashed = _Hashed(file)
            show = None if progress is None else lambda done: progress(done, bits)
            try:
                done = write_bits(source, hashed, count=bits, progress=show)
            except NoiseStoppedError as error:
                if not isinstance(error.finished, int) or not error.finished:
                    raise
                stopped, done = error, error.finished
        # The description first: without it, or with an old file under it, the recording is refused by its hash.
        recording = Recording(bits=done, sha256=hashed.digest.hexdigest(), origin=origin, **(about or {}))
        recording.save(Recording.beside(path))
    made = RecordedSource(path, format="packed")
    if stopped is not None:
        stopped.finished = made
        raise stopped
    return made
