"""Arrays: NumPy, MATLAB, HDF5, JSON, and raw words of a converter. Nothing is unpickled."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.files import parse_json
from voltaspin.noise.importer.containers import most
from voltaspin.noise.importer.options import FileError, FileOptions
from voltaspin.noise.importer.text import Reading, Text

VALUES = 1 << 20  #: values read at once
_JSON_MOST = 64 << 20  # bytes of the largest JSON recording
_MAT_MOST = 512 << 20  # bytes of a variable in a MATLAB 5 file, which is read as a whole
_AXIS = re.compile(r"(?i)(?:t|time|times|timestamps?|index|x|x_axis|tstart|tinterval|fs)")
_USES = frozenset({"format", "threshold", "unit", "column", "sample_type", "bit_order", "n_cells"})


def read_npy(path: Path, name: str, options: FileOptions, *, array: str = "") -> Reading:
    """A NumPy array: of any shape, read row by row; one field or one column of it with ``column``.

    Args:
        path: of the ``.npy`` file.
        name: of the file, for the messages.
        options: as they were given.
        array: its name in an ``.npz`` file.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the reader of the header raises anything on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:120]
        raise FileError(f"{name} is not a readable npy file ({reason}); it may be truncated") from None
    column = None if array else options.column
    kind = "npz" if array else "npy"
    said = f"NumPy array{f' {array!r}' if array else ''}"
    if found.dtype.names:
        if not isinstance(column, str) or column not in found.dtype.names:
            raise FileError(f"{name} has the fields {', '.join(found.dtype.names)}; say which one with ⟦column⟧")
        found, said, column = found[column], f"{said}, field {column!r}", None
        label = options.column
    else:
        label = array or None
    return _of_array(found, kind, said, name, column, None if label is None else str(label))


def _of_array(
    found: Any, kind: str, said: str, name: str, column: str | int | None, label: str | None
) -> Reading:  # fmt: skip
    if found.dtype.kind not in "buif":
        raise FileError(f"{name} holds {found.dtype}; give an array of 0 and 1, or of measured values")
    if column is not None:
        number = int(column.lstrip("#")) if isinstance(column, str) and column.lstrip("#").isdecimal() else column
        if isinstance(number, str) or found.ndim != 2 or number >= found.shape[1]:
            shape = "x".join(map(str, found.shape)) or "one value"
            raise FileError(f"{name} holds an array of {shape} and no column {column!r}; columns count from 0")
        found, label = found[:, number], str(number)
        said += f", column {number}"
    elif found.ndim == 2 and found.shape[1] > 1 and found.dtype.kind == "f":
        first = np.asarray(found[:1000, 0], np.float64)
        with np.errstate(all="ignore"):
            steps = np.diff(first)
        if len(first) >= 20 and ((steps > 0).all() or (steps < 0).all()):
            if found.shape[1] > 2:
                raise FileError(
                    f"{name} holds {found.shape[1]} columns, the first of which is time; say one with ⟦column⟧"
                )
            found, label = found[:, 1], "1"
            said += ", column 1 (column 0 is time)"
    said += f" of {found.dtype}, shape {'x'.join(map(str, found.shape)) or 'none'}"

    def blocks() -> Iterator[NDArray[Any]]:
        # flat indexing copies one block only, whatever the order in memory
        flat = found.reshape(-1) if found.ndim < 2 or found.flags.c_contiguous else found.flat
        for i in range(0, found.size, VALUES):
            yield np.asarray(flat[i : i + VALUES])

    return Reading(kind, blocks, said, _USES, column=label)


def read_mat(path: Path, name: str, options: FileOptions) -> Reading:
    """A variable of a MATLAB 5 file (save without ``-v7.3``)."""
    from scipy.io import loadmat, whosmat

    def careful(call: Any, **more: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return call(str(path), **more)
            except Exception as error:  # the reader raises anything on damaged files
                reason = " ".join(str(error).split())[:120] or type(error).__name__
                raise FileError(f"{name} is not a readable MATLAB file ({reason}); it may be cut or damaged") from None

    sizes = {
        entry: int(np.prod(shape, dtype=object))
        for entry, shape, kind in careful(whosmat)
        if kind in ("double", "single", "logical") or "int" in kind
    }
    chosen = _chosen(sizes, name, options.column, "variable")
    if sizes[chosen] * 8 > min(_MAT_MOST, max(most(path.stat().st_size), 1 << 20)):
        raise FileError(
            f"{name}: variable {chosen} has {sizes[chosen]} values; save it with -v7.3, which is read in blocks"
        )
    found = np.asarray(careful(loadmat, variable_names=[chosen])[chosen])
    return _of_array(found, "mat", f"MATLAB variable {chosen!r}", name, None, chosen)


def read_hdf5(path: Path, name: str, options: FileOptions) -> Reading:
    """A data set of an HDF5 file, MATLAB 7.3 files among them."""
    try:
        import h5py
    except ImportError:
        raise FileError(f"{name} is HDF5, which needs h5py: pip install 'voltaspin[lab]'") from None

    def careful(call: Any) -> Any:
        try:
            return call()
        except FileError:
            raise
        except Exception as error:  # the library raises anything on damaged files
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise FileError(f"{name} is not a readable HDF5 file ({reason}); it may be cut or damaged") from None

    file = careful(lambda: h5py.File(path, "r"))
    sizes: dict[str, int] = {}

    def visit(entry: str, node: Any) -> None:
        if not isinstance(node, h5py.Dataset) or entry.startswith("#") or node.dtype.kind not in "buif":
            return
        if node.ndim < 3 and not node.is_virtual and not node.external:  # these two lead to other files
            sizes[entry] = node.size or 0

    careful(lambda: file.visititems(visit))
    chosen = _chosen(sizes, name, options.column, "data set")
    data = careful(lambda: file[chosen])
    limit = most(path.stat().st_size)
    if data.size * data.dtype.itemsize > limit:
        raise FileError(
            f"{name}: data set {chosen} claims more than {limit} bytes, as no recording of this file size does"
        )
    matlab = careful(lambda: "MATLAB_class" in data.attrs)
    kind = "mat" if matlab else "hdf5"
    said = f"{'MATLAB 7.3 variable' if matlab else 'HDF5 data set'} {chosen!r} of {data.dtype}"

    def blocks() -> Iterator[NDArray[Any]]:
        if data.ndim < 2 or 1 in data.shape:
            axis = int(data.ndim == 2 and data.shape[0] == 1)
            for i in range(0, data.size, VALUES):
                part = careful(
                    lambda i=i: data[()] if not data.ndim else data[(slice(None),) * axis + (slice(i, i + VALUES),)]
                )
                yield np.asarray(part).reshape(-1)
            return
        # MATLAB writes the transpose; both are read row by row as their program shows them
        rows = data.shape[1] if matlab else data.shape[0]
        step = max(1, VALUES * rows // data.size)
        for i in range(0, rows, step):
            part = careful(lambda i=i: data[:, i : i + step].T if matlab else data[i : i + step])
            yield np.asarray(part).reshape(-1)

    return Reading(kind, blocks, said, _USES, column=chosen)


def _chosen(sizes: dict[str, int], name: str, column: str | int | None, what: str) -> str:
    """The array that is meant: the one of that name, or the only one that is no time axis."""
    listed = ", ".join(list(sizes)[:8]) + (", ..." if len(sizes) > 8 else "") or "none"
    if column is not None:
        found = [n for n in sizes if n == column or n.rpartition("/")[2] == column]
        found = [n for n in found if n == column] or found
        if len(found) == 1:
            return found[0]
        raise FileError(f"{name} has {len(found) or 'no'} {what} {column!r}; its arrays of numbers are {listed}")
    most_of_it = [n for n in sizes if sizes[n] > 1 and not _AXIS.fullmatch(n.rpartition("/")[2])] or list(sizes)
    if len(most_of_it) != 1:
        raise FileError(f"{name} holds {len(most_of_it)} arrays of numbers ({listed}); say which one with ⟦column⟧")
    return most_of_it[0]


def read_samples(path: Path, name: str, options: FileOptions) -> Reading:
    """Raw words of a converter, one after the other."""
    if options.sample_type in (None, "packed"):
        raise FileError(f"{name}: raw converter words need ⟦sample_type⟧, such as ⟦sample_type=int16⟧, and ⟦threshold⟧")
    dtype = np.dtype(options.sample_type)
    dtype = dtype.newbyteorder(">" if options.byte_order == "big" else "<")
    size = path.stat().st_size
    if size % dtype.itemsize:
        raise FileError(
            f"{name} has {size} bytes, no whole number of {options.sample_type} words; it may be cut, or have another "
            "⟦sample_type⟧"
        )

    def blocks() -> Iterator[NDArray[Any]]:
        with path.open("rb") as file:
            while block := file.read(VALUES * dtype.itemsize):
                yield np.frombuffer(block, dtype)

    order = "" if dtype.itemsize == 1 else f", {options.byte_order or 'little'} end first"
    uses = frozenset({"format", "threshold", "unit", "sample_type", "byte_order", "n_cells"})
    return Reading("samples", blocks, f"raw {options.sample_type} words{order}", uses, words=True)


def read_json(text: Text, name: str, options: FileOptions) -> Reading:
    """A list of numbers or truth values, lists of them read row by row, a text of 0 and 1, or one of these by name."""
    if text.path.stat().st_size > _JSON_MOST:
        raise FileError(f"{name} is JSON of more than {_JSON_MOST} bytes; save the bits as .npy or as text of 0 and 1")
    with text.path.open("rb") as file:
        file.seek(text.mark)
        try:
            data = parse_json(file.read().decode(text.encoding), where=name)
        except UnicodeDecodeError as error:
            raise FileError(f"{name} is not readable JSON ({error}); it may be truncated") from None
    column = None
    if isinstance(data, dict):
        column, data = _entry(data, name, options.column)
    if isinstance(data, str):
        if set(data) - set("01 \t\r\n,;"):
            raise FileError(f"{name} holds the text {data[:40]!r}; give a list of 0 and 1, or of numbers")
        values = np.frombuffer(data.encode().translate(None, b" \t\r\n,;"), np.uint8) ^ np.uint8(48)
    else:
        values = np.array(_flat(data, name))
        if isinstance(data, list) and data and all(isinstance(row, list) for row in data):
            width = len(data[0])
            if width and all(len(row) == width for row in data) and values.size == width * len(data):
                values = values.reshape(-1, width)

    said = "JSON list" + (f" {column!r}" if column else "")
    return _of_array(values, "json", said, name, None if column else options.column, column)


def _entry(data: dict[str, Any], name: str, column: str | int | None) -> tuple[str, Any]:
    lists = {key: value for key, value in data.items() if isinstance(value, list)}
    if isinstance(column, str) and column in data:
        return column, data[column]
    if column is not None or len(lists) != 1:
        listed = ", ".join(list(lists)[:8]) or "none"
        why = f"no list {column!r}" if column is not None else f"{len(lists)} lists"
        raise FileError(f"{name} is a JSON object with {why}; its lists are {listed}: say one with ⟦column⟧")
    return next(iter(lists.items()))


def _flat(data: Any, name: str) -> list[float]:
    if not isinstance(data, list):
        raise FileError(f"{name} holds a JSON {type(data).__name__}; give a list of 0 and 1, or of numbers")
    out: list[float] = []
    stack: list[Iterator[Any]] = [iter(data)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            if not isinstance(item, int | float):
                raise FileError(f"{name}: entry {len(out)} of the list is {item!r:.40}, which is no number")
            if abs(item) > 1e300:
                raise FileError(f"{name}: entry {len(out)} of the list is too large for a measured value")
            out.append(item)
        else:
            stack.pop()
    return out
