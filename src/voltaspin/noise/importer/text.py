"""Bits in characters: 0 and 1, hexadecimal, base64."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.importer.options import FileError
from voltaspin.noise.importer.reading import Content, Reading

_COMMENTS = b"#%!"
SEPARATORS = b" \t\r\n\f\v\x1a,;"


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


# What each layout looks like in the first characters of a text, comments left out


def is_bits(sample: bytes) -> bool:
    """Whether a text is of 0 and 1."""
    return set(sample) - set(SEPARATORS) <= set(b"01")


def is_hex(sample: bytes) -> bool:
    """Whether a text is hexadecimal, and no decimal numbers."""
    tokens = re.split(rb"[\s,;]+", sample.strip(SEPARATORS))
    digits = [re.sub(rb"^0[xX]", b"", t) for t in tokens]
    body = b"".join(digits)
    if not re.fullmatch(rb"(?:[0-9a-fA-F]{2}:)*[0-9a-fA-F:]*", body) or body.startswith(b":"):
        return False
    if not re.search(rb"[a-fA-F]", body) and not all(t[:2] in (b"0x", b"0X") for t in tokens):
        return False  # decimal numbers
    if all(map(_is_number, tokens)):  # 12e4 is a number too
        return False
    if all(re.fullmatch(rb"0[bB][01]+", t) for t in tokens):
        return False
    digits = [d.replace(b":", b"") for d in digits]
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


def is_base64(sample: bytes) -> bool:
    """Whether a text is base64."""
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


# Readers


def read_bits(file: Content) -> Reading:
    """Read characters 0 and 1."""

    def blocks() -> Iterator[NDArray[np.uint8]]:
        for block in without_comments(file.characters()):
            # '0' is 48: any other character is left as a value that is no bit
            yield np.frombuffer(block.translate(None, SEPARATORS), np.uint8) ^ np.uint8(48)

    return Reading("text", blocks, "text of 0 and 1" + (f", {file.encoding_said}" if file.encoding_said else ""))


def read_hex(file: Content) -> Reading:
    """Read hexadecimal digits, two a byte."""

    def blocks() -> Iterator[NDArray[np.uint8]]:
        left, at = b"", 0
        for block in without_comments(file.characters()):
            data = left + block
            left = data[-1:] if data[-1:] == b"0" else b""  # perhaps of 0x
            data = data[: len(data) - len(left)]
            data = data.replace(b"0x", b"").replace(b"0X", b"").translate(None, SEPARATORS + b":")
            odd = len(data) % 2
            left = (data[-1:] + left) if odd else left
            data = data[: len(data) - odd]
            yield _unhex(data, at, file)
            at += len(data)
        left = left.translate(None, SEPARATORS)
        if len(left) % 2:
            raise FileError(f"{file} has an odd number of hexadecimal digits; it may be cut: two make a byte")
        yield _unhex(left, at, file)

    return Reading("hex", blocks, "hexadecimal text", packed=True)


def _unhex(data: bytes, at: int, file: Content) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(binascii.unhexlify(data), np.uint8)
    except (binascii.Error, ValueError):
        bad = re.search(rb"[^0-9a-fA-F]", data)
        where = (at + bad.start(), chr(data[bad.start()])) if bad else (at, "?")
        raise FileError(f"{file}: character {where[0]} is {where[1]!r}, which is no hexadecimal digit") from None


def read_base64(file: Content) -> Reading:
    """Read base64, with lines of any length, in either alphabet."""

    def blocks() -> Iterator[NDArray[np.uint8]]:
        left, ended = b"", False
        for block in without_comments(file.characters()):
            data = left + block.translate(bytes.maketrans(b"-_", b"+/"), SEPARATORS)
            if ended and data:
                raise FileError(f"{file} goes on after the = that ends base64; give one recording")
            complete = len(data) // 4 * 4
            left, data = data[complete:], data[:complete]
            ended = b"=" in data
            yield _unbase64(data, file)
        if left:
            if len(left.rstrip(b"=")) == 1 or ended:
                raise FileError(f"{file} is no whole number of base64 groups; it may be cut")
            yield _unbase64(left.rstrip(b"=").ljust(4, b"="), file)

    return Reading("base64", blocks, "base64 text", packed=True)


def _unbase64(data: bytes, file: Content) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(base64.b64decode(data, validate=True), np.uint8)
    except (binascii.Error, ValueError) as error:
        raise FileError(f"{file} is no readable base64 ({error}); it may be cut or damaged") from None
