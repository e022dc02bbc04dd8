"""Readers of words of fixed length: one bit a byte, raw converter words, and WAV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.importer.reading import Content, FileError, Reading

_TYPES = {(1, 8): "uint8", (1, 16): "int16", (1, 24): "int24", (1, 32): "int32", (3, 32): "float32", (3, 64): "float64"}
_EXTENSIBLE = 0xFFFE  # the format stands in the first two bytes of an identifier


def width_of(kind: str | None) -> int:
    """Return the bytes of a word of a ``sample_type``; 0 of none."""
    if kind in (None, "packed"):
        return 0
    return 3 if kind == "int24" else np.dtype(kind).itemsize


@dataclass(frozen=True)
class _Words:
    """Words of one channel in a file.

    Args:
        kind: type of a word, as ``sample_type``; big: whether its highest byte comes first.
        channels: that take turns; channel: the one that is read.
        first: bytes in front of the words; frames: words of each channel.
    """

    file: Content
    kind: str
    big: bool = False
    channels: int = 1
    channel: int = 0
    first: int = 0
    frames: int | None = None

    @property
    def width(self) -> int:
        """Bytes of a word."""
        return width_of(self.kind)

    @property
    def limits(self) -> tuple[float, float] | None:
        """Lowest and highest word; None of floating-point words."""
        if self.kind == "int24":
            return -(2.0**23), 2.0**23 - 1
        if np.dtype(self.kind).kind == "f":
            return None
        return float(np.iinfo(self.kind).min), float(np.iinfo(self.kind).max)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the words in blocks."""
        frame, left, skip, rest = self.width * self.channels, self.frames, self.first, b""
        for arrived in self.file.raw():
            block = rest + arrived[skip:]
            skip = max(0, skip - len(arrived))
            whole = len(block) // frame if left is None else min(len(block) // frame, left)
            rest = block[whole * frame :]
            if whole:
                yield self._values(block[: whole * frame])[self.channel :: self.channels]
            if left is not None and (left := left - whole) <= 0:
                return

    def _values(self, block: bytes) -> NDArray[Any]:
        if self.kind != "int24":
            return np.frombuffer(block, np.dtype(self.kind).newbyteorder(">" if self.big else "<"))
        parts = np.frombuffer(block, np.uint8).reshape(-1, 3)[:, :: 1 if self.big else -1]
        padded = np.zeros((len(parts), 4), np.uint8)
        padded[:, :3] = parts  # the sign is then that of the whole word
        found: NDArray[np.int32] = padded.view(">i4")[:, 0].astype(np.int32) >> 8
        return found


def read_bytes(file: Content) -> Reading:
    """Read one bit a byte, 0 or 1."""
    return Reading("bytes", _Words(file, "uint8").blocks, "one bit a byte, 0 or 1")


def read_samples(file: Content) -> Reading:
    """Read raw words of a converter, one after the other, or one channel of several that take turns."""
    options = file.options
    kind, order, first = options.sample_type, options.byte_order or "little", options.header_bytes or 0
    if kind in (None, "packed"):
        raise FileError(f"{file}: raw converter words need sample_type=, such as sample_type='int16', and threshold=")
    channels = options.channels or 1
    found = _Words(file, kind, order == "big", channels, _channel(file, channels), first)
    size = 0 if file.follows else file.path.stat().st_size - first
    if size <= 0 and not file.follows:
        raise FileError(f"{file} has {size + first} bytes, none behind a header of {first}; give another header_bytes=")
    if size % (found.width * channels):
        many = f"{kind} words" if channels == 1 else f"{kind} words of {channels} channels"
        behind = f" behind its header of {first}" if first else ""
        raise FileError(
            f"{file} has {size} bytes{behind}, no whole number of {many}; it may be cut, or have another sample_type="
            + (", channels= or header_bytes=" if first or channels > 1 else " or a header (header_bytes=)")
        )
    said = f"raw {kind} words" + ("" if found.width == 1 else f", {order} end first")
    if channels > 1:
        said += f", channel {found.channel} of {channels}"
    if first:
        said += f", behind {first} bytes"
    label = str(found.channel) if channels > 1 else None
    return Reading("samples", found.blocks, said, words=True, limits=found.limits, column=label)


def read_wav(file: Content) -> Reading:
    """Read a channel of a WAV file: whole numbers of 8, 16, 24 or 32 bits, or floating-point numbers."""
    chunks = _chunks(file)
    about = chunks.get(b"fmt ")
    if about is None or about[1] < 16 or b"data" not in chunks:
        raise FileError(f"{file} is not a readable WAV file (no format or no data); it may be truncated or damaged")
    with file.path.open("rb") as raw:
        raw.seek(about[0])
        head = raw.read(40)
    form, channels = (int(x) for x in np.frombuffer(head[:4], "<u2"))
    rate, bits = int(np.frombuffer(head[4:8], "<u4")[0]), int(np.frombuffer(head[14:16], "<u2")[0])
    if form == _EXTENSIBLE and len(head) >= 26:
        form = int(np.frombuffer(head[24:26], "<u2")[0])
    if (form, bits) not in _TYPES or not channels:
        raise FileError(
            f"{file} is WAV of format {form} with {bits} bits and {channels} channels; save it as PCM of 8, 16, 24 or "
            "32 bits, or as floating-point numbers"
        )
    first, size = chunks[b"data"]
    kind = _TYPES[form, bits]
    words = _Words(file, kind, False, channels, 0, first)
    size = min(size, file.path.stat().st_size - first)  # of a recorder that was switched off
    frames = size // (words.width * channels)
    words = _Words(file, kind, False, channels, _channel(file, channels), first, frames)
    said = f"WAV, {kind} words, {rate} samples a second"
    label = None
    if channels > 1:
        said, label = f"{said}, channel {words.channel} of {channels}", str(words.channel)
    return Reading(
        "wav", words.blocks, said, words=True, limits=words.limits, column=label, step=1 / rate if rate else None
    )


def _channel(file: Content, channels: int) -> int:
    column = file.options.column
    if column is None:
        if channels > 1:
            raise FileError(f"{file} has {channels} channels; say which one with column=, from 0")
        return 0
    text = str(column).removeprefix("#")
    if not text.isdecimal() or int(text) >= channels:
        raise FileError(f"{file} has {channels} channel{'s' * (channels > 1)} and no column {column!r}; count from 0")
    return int(text)


def _chunks(file: Content) -> dict[bytes, tuple[int, int]]:
    """The parts of a RIFF file: name to (first byte, length)."""
    found: dict[bytes, tuple[int, int]] = {}
    total = file.path.stat().st_size
    with file.path.open("rb") as raw:
        at = 12
        while at + 8 <= total and b"data" not in found:
            raw.seek(at)
            head = raw.read(8)
            size = int(np.frombuffer(head[4:], "<u4")[0])
            if size == 0xFFFFFFFF:  # of an RF64 file, or of a stream whose end was not known
                size = total - at - 8
            found.setdefault(head[:4], (at + 8, size))
            at += 8 + size + size % 2
    return found
