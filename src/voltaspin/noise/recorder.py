"""Record the bits of any source, so that they can be drawn again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from voltaspin.core.errors import InputError
from voltaspin.noise.bit_files import Recording
from voltaspin.noise.recorded import RecordedSource
from voltaspin.noise.source import NoiseSource, checked_count

_BLOCK = 1 << 23  # bits drawn at once


def record(
    source: NoiseSource, path: Path | str, *, bits: int, progress: Callable[[int, int], None] | None = None
) -> RecordedSource:
    """Write the next bits of a source into a file, and its provenance beside it.

    The file appears whole or not at all: an interrupt, a full disk, an alarm or a source that runs dry leaves
    what was there before.

    Args:
        source: any.
        path: of packed bits; ``PATH.json`` says how many they are and where they come from.
        bits: how many.
        progress: called with (bits done, in all).

    Returns:
        The recording, at its beginning.

    Raises:
        InputError: no bits, or a folder that does not exist.
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
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with part.open("wb") as file:
            for at in range(0, bits, _BLOCK):
                data = source.bits(min(_BLOCK, bits - at)).tobytes()
                digest.update(data)
                file.write(data)
                if progress is not None:
                    progress(min(at + _BLOCK, bits), bits)
        # The description first: without it, or with an old file under it, the recording is refused by its hash.
        Recording(bits=bits, sha256=digest.hexdigest(), origin=origin).save(Recording.beside(path))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return RecordedSource(path)
