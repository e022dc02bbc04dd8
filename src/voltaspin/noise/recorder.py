"""Record the bits of any source, so that they can be drawn again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError, NoiseStoppedError
from voltaspin.core.files import replacing
from voltaspin.noise.importer.bit_file import Recording
from voltaspin.noise.recorded import RecordedSource
from voltaspin.noise.source import NoiseSource, checked_count

_BLOCK = 1 << 23  # bits drawn at once


def blocks(source: NoiseSource, count: int | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The next bits in blocks: (how many, packed).

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
    digest, done = hashlib.sha256(), 0
    stopped: NoiseStoppedError | None = None
    with replacing(path) as part:
        with part.open("wb") as file:
            try:
                for n, packed in blocks(source, bits):
                    data = packed.tobytes()
                    digest.update(data)
                    file.write(data)
                    done += n
                    if progress is not None:
                        progress(done, bits)
            except NoiseStoppedError as error:
                if not done:
                    raise
                stopped = error
        # The description first: without it, or with an old file under it, the recording is refused by its hash.
        recording = Recording(bits=done, sha256=digest.hexdigest(), origin=origin, **(about or {}))
        recording.save(Recording.beside(path))
    made = RecordedSource(path, format="packed")
    if stopped is not None:
        stopped.finished = made
        raise stopped
    return made
