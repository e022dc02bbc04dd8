"""Readers of all layouts but tables: characters, NumPy, MATLAB, HDF5, JSON. Nothing is unpickled."""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.files import parse_json
from voltaspin.noise.importer.content import most
from voltaspin.noise.importer.reading import Content, FileError, Reading, one_way

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


def is_nearly_bits(sample: bytes) -> bool:
    """Whether a text is of 0 and 1 but for one character in a hundred, and not of one number a field."""
    tokens = [token for token in re.split(rb"[\s,;]+", sample.strip(SEPARATORS)) if token]
    body = b"".join(tokens)
    others = len(body.translate(None, b"01"))
    return len(body) >= 16 and others <= max(1, len(body) // 100) and all(len(token) > 1 for token in tokens[:-1])


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
            yield from _unhex(data, at, file)
            at += len(data)
        left = left.translate(None, SEPARATORS)
        if len(left) % 2:
            raise FileError(f"{file} has an odd number of hexadecimal digits; it may be cut: two make a byte")
        yield from _unhex(left, at, file)

    return Reading("hex", blocks, "hexadecimal text", packed=True)


def _unhex(data: bytes, at: int, file: Content) -> Iterator[NDArray[np.uint8]]:
    try:
        yield np.frombuffer(binascii.unhexlify(data), np.uint8)
    except (binascii.Error, ValueError):
        bad = re.search(rb"[^0-9a-fA-F]", data)
        if bad:  # a stream has no other way to keep what stands before
            yield np.frombuffer(binascii.unhexlify(data[: bad.start() // 2 * 2]), np.uint8)
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


VALUES = 1 << 20  #: values read at once
_JSON_MOST = 64 << 20  # bytes of the largest JSON recording
_MAT_MOST = 512 << 20  # bytes of a variable in a MATLAB 5 file, which is read at once
_AXIS = re.compile(r"(?i)(?:t|time|times|timestamps?|index|x|x_axis|tstart|tinterval|fs)")
_TIME = re.compile(r"(?i)(?:t|times?|timestamps?)")
_STEP = re.compile(r"(?i)(?:dt|tinterval|x_?inc|x_?increment|delta_?x|sample_?interval)")
_RATE = re.compile(r"(?i)(?:fs|sampl(?:e|ing)_?rate)")


@contextmanager
def _careful(file: Content, kind: str) -> Iterator[None]:
    """Refuse a damaged file in one line: the readers of other packages raise anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileError:
        raise
    except Exception as error:
        if kind == "npy" and isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FileError(f"{file} is not a readable {kind} file ({reason}); it may be truncated or damaged") from None


def read_npy(file: Content) -> Reading:
    """Read a NumPy array of any shape row by row, or one field or one column of it with ``column``."""
    with _careful(file, "npy"):
        found = np.load(file.path, mmap_mode="r", allow_pickle=False)
    times = None
    array = file.member.removesuffix(".npy")  # its name in an .npz file
    column = None if array else file.options.column
    said, label = f"NumPy array{f' {array!r}' if array else ''}", array or None
    if found.dtype.names:
        field = file.options.column
        if not isinstance(field, str) or field not in found.dtype.names:
            raise FileError(f"{file} has the fields {', '.join(found.dtype.names)}; say which one with column=")
        axes = [n for n in found.dtype.names if n != field and (_TIME.fullmatch(n) or n == file.options.time_column)]
        times = found[axes[0]] if axes else None
        found, said, column, label = found[field], f"{said}, field {field!r}", None, field
    return _of_array(found, "npz" if array else "npy", said, file, column, label, times)


def _of_array(
    found: Any, kind: str, said: str, file: Content, column: str | int | None, label: str | None, times: Any = None
) -> Reading:
    if found.dtype.kind not in "buif":
        raise FileError(f"{file} holds {found.dtype}; give an array of 0 and 1, or of measured values")
    shape = "x".join(map(str, found.shape))
    timed = found.ndim == 2 and found.dtype.kind == "f" and len(found) >= 20 and found.shape[1] > 1
    timed = timed and one_way(found[:1000, 0].astype(float))
    if timed or (found.ndim == 2 and isinstance(file.options.time_column, int)):
        times = found[:, min(int(file.options.time_column or 0), found.shape[1] - 1)]
    if column is not None:
        number = int(column.lstrip("#")) if isinstance(column, str) and column.lstrip("#").isdecimal() else column
        if isinstance(number, str) or found.ndim != 2 or number >= found.shape[1]:
            raise FileError(
                f"{file} holds an array of {shape or 'one value'} and no column {column!r}; columns count from 0"
            )
        found, label = found[:, number], str(number)
        said += f", column {number}"
    elif timed:
        if found.shape[1] > 2:
            raise FileError(f"{file} holds {found.shape[1]} columns, the first of which is time; say one with column=")
        if found.shape[1] == 2:
            found, label = found[:, 1], "1"
            said += ", column 1 (column 0 is time)"
    said += f" of {found.dtype}, shape {'x'.join(map(str, found.shape)) or 'none'}"

    if times is not None and times.size != found.size:
        times = None
    return Reading(
        kind, lambda: _parts(found), said, column=label, times=None if times is None else lambda: _parts(times)
    )


def _parts(found: Any) -> Iterator[NDArray[Any]]:
    """Yield an array row by row in blocks."""
    # flat indexing copies one block only, whatever the order in memory
    flat = found.reshape(-1) if found.ndim < 2 or found.flags.c_contiguous else found.flat
    for i in range(0, found.size, VALUES):
        yield np.asarray(flat[i : i + VALUES])


def read_mat(file: Content) -> Reading:
    """Read a variable of a MATLAB 5 file (saved without ``-v7.3``)."""
    from scipy.io import loadmat, whosmat

    with _careful(file, "MATLAB"):
        sizes: dict[str, int] = {
            entry: prod(shape)
            for entry, shape, kind in whosmat(str(file.path))
            if kind in ("double", "single", "logical") or "int" in kind
        }
        chosen = _chosen(sizes, file, "variable")
        if sizes[chosen] * 8 > min(_MAT_MOST, max(most(file.path.stat().st_size), 1 << 20)):
            raise FileError(
                f"{file}: variable {chosen} has {sizes[chosen]} values; save it with -v7.3, which is read in blocks"
            )
        wanted = [n for n in sizes if n == chosen or sizes[n] == 1 or (n == _times_of(sizes, chosen, file))]
        every = loadmat(str(file.path), variable_names=wanted)
        found, axis = np.asarray(every[chosen]), _times_of(sizes, chosen, file)
        step = _step_of({n: every[n] for n in wanted if sizes[n] == 1})
    times = None if axis is None else np.asarray(every[axis], float)
    reading = _of_array(found, "mat", f"MATLAB variable {chosen!r}", file, None, chosen, times)
    return replace(reading, step=step)


def _times_of(sizes: dict[str, int], chosen: str, file: Content) -> str | None:
    """The array of times beside the chosen one: as many values, and the given name or one of time."""
    given = file.options.time_column
    for name, size in sizes.items():
        short = name.rpartition("/")[2]
        if name != chosen and size == sizes[chosen] and (given in (name, short) if given else _TIME.fullmatch(short)):
            return name
    return None


def _step_of(scalars: Mapping[str, Any]) -> float | None:
    """The time between samples [s] that stands beside a recording, as an interval or as a rate."""
    for name, given in scalars.items():
        value = np.asarray(given)
        if value.size == 1 and value.dtype.kind in "uif" and 0 < (number := float(value.reshape(-1)[0])) < np.inf:
            if _STEP.fullmatch(name.rpartition("/")[2]):
                return number
            if _RATE.fullmatch(name.rpartition("/")[2]):
                return 1 / number
    return None


def read_hdf5(file: Content) -> Reading:
    """Read a data set of an HDF5 file, MATLAB 7.3 files among them."""
    try:
        import h5py
    except ImportError:
        raise FileError(f"{file} is HDF5, which needs h5py: pip install 'voltaspin[lab]'") from None

    sizes: dict[str, int] = {}

    def visit(entry: str, node: Any) -> None:
        if not isinstance(node, h5py.Dataset) or entry.startswith("#") or node.dtype.kind not in "buif":
            return
        if node.ndim < 3 and not node.is_virtual and not node.external:  # these two lead to other files
            sizes[entry] = node.size or 0

    with _careful(file, "HDF5"):
        opened = h5py.File(file.path, "r")
        opened.visititems(visit)
        chosen = _chosen(sizes, file, "data set")
        data = opened[chosen]
        limit = most(file.path.stat().st_size)
        if data.size * data.dtype.itemsize > limit:
            raise FileError(
                f"{file}: data set {chosen} claims more than {limit} bytes, as no recording of this file size does"
            )
        matlab = "MATLAB_class" in data.attrs
        name = _times_of(sizes, chosen, file)
        scalars = {n: opened[n][()] for n, size in sizes.items() if size == 1 and n != chosen}
        step = _step_of({**scalars, **opened.attrs, **data.attrs})
    # MATLAB writes the transpose; both are read row by row as their program shows them
    axis = int(np.argmax(data.shape)) if 1 in data.shape else int(matlab and data.ndim == 2)

    def blocks(data: Any = data, axis: int = axis) -> Iterator[NDArray[Any]]:
        rows = data.shape[axis] if data.ndim else 1
        step = max(1, VALUES * rows // max(data.size, 1))
        for i in range(0, rows, step):
            with _careful(file, "HDF5"):
                part = data[(slice(None),) * axis + (slice(i, i + step),)] if data.ndim else data[()]
            yield np.asarray(part).T.reshape(-1) if axis else np.asarray(part).reshape(-1)

    said = f"{'MATLAB 7.3 variable' if matlab else 'HDF5 data set'} {chosen!r} of {data.dtype}"
    times = None
    if name is not None:
        clock = opened[name]
        times = partial(blocks, clock, int(np.argmax(clock.shape)))
    return Reading("mat" if matlab else "hdf5", blocks, said, column=chosen, times=times, step=step)


def _chosen(sizes: dict[str, int], file: Content, what: str) -> str:
    """The array that is meant: the one of that name, or the only one that is no time axis."""
    column = file.options.column
    if column is not None:
        found = [n for n in sizes if n == column or n.rpartition("/")[2] == column]
        found = [n for n in found if n == column] or found
    else:
        found = [n for n in sizes if sizes[n] > 1 and not _AXIS.fullmatch(n.rpartition("/")[2])] or list(sizes)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(list(sizes)[:8]) + (", ..." if len(sizes) > 8 else "") or "none"
    if column is not None:
        raise FileError(f"{file} has {len(found) or 'no'} {what} {column!r}; its arrays of numbers are {listed}")
    raise FileError(f"{file} holds {len(found)} arrays of numbers ({listed}); say which one with column=")


def read_json(file: Content) -> Reading:
    """Read numbers or truth values in a list, lists of them row by row, a text of 0 and 1, or one of these by name."""
    if file.path.stat().st_size > _JSON_MOST:
        raise FileError(f"{file} is JSON of more than {_JSON_MOST} bytes; save the bits as .npy or as text of 0 and 1")
    try:
        data = parse_json(file.path.read_bytes()[file.mark :].decode(file.encoding), where=str(file))
    except UnicodeDecodeError as error:
        raise FileError(f"{file} is not readable JSON ({error}); it may be truncated") from None
    column = None
    if isinstance(data, dict):
        column, data = _entry(data, file)
    if isinstance(data, str):
        if set(data) - set("01" + SEPARATORS.decode()):
            raise FileError(f"{file} holds the text {data[:40]!r}; give a list of 0 and 1, or of numbers")
        values = np.frombuffer(data.encode().translate(None, SEPARATORS), np.uint8) ^ np.uint8(48)
    else:
        values = np.array(_flat(data, file, []))
        if isinstance(data, list) and data and all(isinstance(row, list) for row in data):
            width = len(data[0])
            if width and all(len(row) == width for row in data) and values.size == width * len(data):
                values = values.reshape(-1, width)
    said = "JSON list" + (f" {column!r}" if column else "")
    return _of_array(values, "json", said, file, None if column else file.options.column, column)


def _entry(data: dict[str, Any], file: Content) -> tuple[str, Any]:
    lists, column = {key: value for key, value in data.items() if isinstance(value, list)}, file.options.column
    if isinstance(column, str) and column in data:
        return column, data[column]
    if column is not None or len(lists) != 1:
        listed = ", ".join(list(lists)[:8]) or "none"
        why = f"no list {column!r}" if column is not None else f"{len(lists)} lists"
        raise FileError(f"{file} is a JSON object with {why}; its lists are {listed}: say one with column=")
    return next(iter(lists.items()))


def _flat(data: Any, file: Content, out: list[float]) -> list[float]:
    """The numbers of nested lists, added to ``out``; the reader of JSON bounds their depth."""
    if not isinstance(data, list):
        raise FileError(f"{file} holds a JSON {type(data).__name__}; give a list of 0 and 1, or of numbers")
    for item in data:
        if isinstance(item, list):
            _flat(item, file, out)
        elif not isinstance(item, int | float):
            raise FileError(f"{file}: entry {len(out)} of the list is {item!r:.40}, which is no number")
        elif abs(item) > 1e300:
            raise FileError(f"{file}: entry {len(out)} of the list is too large for a measured value")
        else:
            out.append(item)
    return out
