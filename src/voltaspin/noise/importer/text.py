"""Bits in characters: 0 and 1, hexadecimal, base64."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.importer.options import FileError

_BLOCK = 1 << 20  # bytes read at once
_COMMENTS = b"#%!"
_SEPARATORS = b" \t\r\n\f\v\x1a,;"


@dataclass(frozen=True)
class Reading:
    """The content of a file, before it is bits.

    Args:
        format: as in :class:`voltaspin.noise.importer.options.FileOptions`.
        blocks: gives the values in blocks, from the beginning at every call; of packed bytes uint8, else any numbers.
        text: what was recognised, in words.
        uses: options that this content takes.
        packed: the blocks are bytes of eight bits.
        unit: SI unit of the values, empty where the file does not say it.
        factor: that makes SI of them.
        written: the unit as the file writes it.
        column: that is read.
        words: raw converter words: without a threshold they are no bits.
    """

    format: str
    blocks: Callable[[], Iterator[NDArray[Any]]]
    text: str
    uses: frozenset[str]
    packed: bool = False
    unit: str = ""
    factor: float = 1.0
    written: str = ""
    column: str | None = None
    words: bool = False


@dataclass(frozen=True)
class Text:
    """A text file: where it lies, its encoding, and the length of its byte order mark."""

    path: Path
    encoding: str
    mark: int

    def blocks(self) -> Iterator[bytes]:
        """The characters as ASCII in blocks; any other character is a question mark."""
        decoder = None if self.encoding == "utf-8" else codecs.getincrementaldecoder(self.encoding)(errors="replace")
        with self.path.open("rb") as file:
            file.seek(self.mark)
            while block := file.read(_BLOCK):
                yield block if decoder is None else decoder.decode(block).encode("ascii", "replace")

    @property
    def named(self) -> str:
        """How the encoding is said: nothing for plain text."""
        said = {"utf-8": "UTF-8 with a byte order mark"} if self.mark else {}
        return said.get(self.encoding, "" if self.encoding == "utf-8" else self.encoding[:-3].upper())


def without_comments(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Leave out the lines that begin with #, % or !, however long they are."""
    at_start, inside = True, False
    for block in blocks:
        if not inside and not any(c in block for c in _COMMENTS):
            if block:
                at_start = not block.rsplit(b"\n", 1)[-1].strip()
            yield block
            continue
        kept = []
        for line in block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").splitlines(keepends=True):
            if at_start and not inside and line.lstrip()[:1] and line.lstrip()[0] in _COMMENTS:
                inside = True
            if not inside:
                kept.append(line)
            ended = line.endswith(b"\n")
            at_start = ended or (at_start and not line.strip())
            inside = inside and not ended
        yield b"".join(kept)


def recognised(sample: bytes) -> str | None:
    """``text``, ``hex``, ``base64`` or ``json`` by the characters of a text; None where it is none of these.

    Args:
        sample: the beginning, comments left out.
    """
    if not (characters := set(sample) - set(_SEPARATORS)):
        return None
    if characters <= set(b"01"):
        return "text"
    if sample.lstrip()[:1] in (b"[", b"{"):
        return "json"
    if _hex_tokens(sample):
        return "hex"
    if _is_base64(sample):
        return "base64"
    return None


def _hex_tokens(sample: bytes) -> bool:
    tokens = sample.replace(b",", b" ").replace(b";", b" ").split()
    body = b"".join(re.sub(rb"^0[xX]", b"", t) for t in tokens)
    if not re.fullmatch(rb"(?:[0-9a-fA-F]{2}:)*[0-9a-fA-F:]*", body) or body.startswith(b":"):
        return False
    if not re.search(rb"[a-fA-F]", body) and not all(t[:2] in (b"0x", b"0X") for t in tokens):
        return False  # decimal numbers
    if all(map(_is_number, tokens)):  # 12e4 is a number too
        return False
    if all(re.fullmatch(rb"0[bB][01]+", t) for t in tokens):
        return False
    digits = [t.removeprefix(b"0x").removeprefix(b"0X").replace(b":", b"") for t in tokens]
    lines = len({len(d) for d in digits[:-1]}) <= 1 and len(digits[0]) >= 8
    letters = sum(re.search(rb"[a-fA-F]", d) is not None for d in digits)
    # 39 in 100 random bytes have no letter in hexadecimal; names above decimal numbers leave more
    return lines or (all(len(d) % 2 == 0 for d in digits) and 4 * letters >= len(digits))


def _is_number(token: bytes) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _is_base64(sample: bytes) -> bool:
    lines = sample.split()
    body = b"".join(lines)
    # words of letters are base64 too; random bytes have digits and both cases
    kinds = (rb"[A-Z]", rb"[a-z]", rb"[0-9]")
    return (
        len(body) >= 32
        and re.fullmatch(rb"[A-Za-z0-9+/_-]+={0,2}", body) is not None
        and all(re.search(k, body) for k in kinds)
        and len({len(line) for line in lines[:-1]}) <= 1
    )


_PACKED_USES = frozenset({"format", "bit_order", "n_cells"})


def read_bits(text: Text) -> Reading:
    """Characters 0 and 1."""

    def blocks() -> Iterator[NDArray[np.uint8]]:
        for block in without_comments(text.blocks()):
            # '0' is 48: any other character is left as a value that is no bit
            yield np.frombuffer(block.translate(None, _SEPARATORS), np.uint8) ^ np.uint8(48)

    said = "text of 0 and 1" + (f", {text.named}" if text.named else "")
    return Reading("text", blocks, said, frozenset({"format", "n_cells"}))


def read_hex(text: Text, name: str) -> Reading:
    """Hexadecimal digits, two a byte."""

    def blocks() -> Iterator[NDArray[np.uint8]]:
        left, at = b"", 0
        for block in without_comments(text.blocks()):
            data = left + block
            left = data[-1:] if data[-1:] == b"0" else b""  # perhaps of 0x
            data = data[: len(data) - len(left)]
            data = data.replace(b"0x", b"").replace(b"0X", b"").translate(None, _SEPARATORS + b":")
            odd = len(data) % 2
            left = (data[-1:] + left) if odd else left
            data = data[: len(data) - odd]
            yield _unhex(data, at, name)
            at += len(data)
        left = left.translate(None, _SEPARATORS)
        if len(left) % 2:
            raise FileError(f"{name} has an odd number of hexadecimal digits; it may be cut: two make a byte")
        yield _unhex(left, at, name)

    return Reading("hex", blocks, "hexadecimal text", _PACKED_USES, packed=True)


def _unhex(data: bytes, at: int, name: str) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(binascii.unhexlify(data), np.uint8)
    except (binascii.Error, ValueError):
        bad = re.search(rb"[^0-9a-fA-F]", data)
        where = (at + bad.start(), chr(data[bad.start()])) if bad else (at, "?")
        raise FileError(f"{name}: character {where[0]} is {where[1]!r}, which is no hexadecimal digit") from None


def read_base64(text: Text, name: str) -> Reading:
    """Base64, with lines of any length, in either alphabet."""

    def blocks() -> Iterator[NDArray[np.uint8]]:
        left, ended = b"", False
        for block in without_comments(text.blocks()):
            data = left + block.translate(bytes.maketrans(b"-_", b"+/"), _SEPARATORS)
            if ended and data:
                raise FileError(f"{name} goes on after the = that ends base64; give one recording")
            whole = len(data) // 4 * 4
            left, data = data[whole:], data[:whole]
            ended = b"=" in data
            yield _unbase64(data, name)
        if left:
            if len(left.rstrip(b"=")) == 1 or ended:
                raise FileError(f"{name} is no whole number of base64 groups; it may be cut")
            yield _unbase64(left.rstrip(b"=").ljust(4, b"="), name)

    return Reading("base64", blocks, "base64 text", _PACKED_USES, packed=True)


def _unbase64(data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(base64.b64decode(data, validate=True), np.uint8)
    except (binascii.Error, ValueError) as error:
        raise FileError(f"{name} is no readable base64 ({error}); it may be cut or damaged") from None
