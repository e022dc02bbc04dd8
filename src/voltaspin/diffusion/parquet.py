"""Images in Parquet files as the Hugging Face hub lays them out.

A column ``img`` or ``image`` holds each picture as ``{bytes, path}``, encoded; a column ``label`` may hold its class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.diffusion.pictures import check_size, decode, stack

Progress = Callable[[int, int], None]

COLUMNS = ("img", "image")
LABEL = "label"
_ROWS = 1000  # decoded between two reports of progress
_JPEG = b"\xff\xd8"
#: Splits as the names of files and of their folders tell them.
_SPLITS = re.compile(r"(?<![a-z])(train|test|val|valid|validation)(?![a-z])")


def read_parquet(
    files: Sequence[Path], *, background: str | None = None, progress: Progress | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, bool]:
    """The images of Parquet files, in the order of files and rows.

    Args:
        files: at least one; all with labels, or all without.
        background: the colour behind transparent pixels; None refuses transparent pictures.
        progress: called as ``progress(images decoded, images in all)``.

    Returns:
        uint8 (n, channels, h, w); int64 (n,) or None; whether any picture is a JPEG, which is lossy.

    Raises:
        InputError: pyarrow is not installed; a file that is no Parquet file or is truncated; a column that is missing
            or of another type; a row without a picture; pictures of several sizes.
    """
    opened = [_open(file) for file in files]
    total = sum(rows for _, _, _, rows in opened)
    pictures: list[NDArray[np.uint8]] = []
    labels: list[int | None] = []
    lossy, row = False, 0
    if total == 0:
        raise InputError(f"{files[0]} has no rows; give a file that holds images")
    if len({has_label for _, _, has_label, _ in opened}) > 1:
        raise InputError(f"some of {files[0].parent}'s Parquet files have a column {LABEL!r} and some have not")
    for file, (table, column, has_label, _) in zip(files, opened, strict=True):
        start = row
        for cells, of_batch in _batches(file, table, column, has_label):
            for encoded in cells:
                name = f"row {row - start} of {file}"
                if not encoded:
                    raise InputError(f"{name} holds no bytes of a picture, only a path or nothing; fetch it whole")
                lossy |= encoded[:2] == _JPEG
                pictures.append(decode(BytesIO(encoded), name, background=background))
                check_size(pictures[-1], pictures[0], where=str(file.parent), names=(f"row 0 of {files[0].name}", name))
                row += 1
            labels.extend(of_batch)
            if progress is not None:
                progress(row, total)
    if None in labels:
        raise InputError(f"row {labels.index(None)} of {files[0].parent} has no label; remove the column or fill it")
    if any(not -(2**63) <= label < 2**63 for label in labels if label is not None):
        raise InputError(f"{files[0].parent}: column {LABEL} holds numbers beyond 64 bits; drop or convert it")
    return stack(pictures), np.array(labels, np.int64) if labels else None, lossy


def of_split(names: Sequence[str], split: str, *, where: str) -> list[str]:
    """Those of Parquet files' paths that hold one split, sorted; all of them where no path names a split.

    Raises:
        InputError: the paths name splits, but not this one.
    """
    named = {name: set(_SPLITS.findall(name.lower())) for name in names}
    chosen = [name for name, splits in named.items() if split in splits]
    if not chosen and any(named.values()):
        raise InputError(f"{where} has no Parquet file of the {split} split, only {', '.join(sorted(names)[:4])}")
    return sorted(chosen or names)


def _open(file: Path) -> tuple[Any, str, bool, int]:
    """The opened file, its column of pictures, whether it has labels, and its rows."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            f"{file} is a Parquet file, which needs pyarrow: pip install 'voltaspin[hub]', or give a folder of pictures"
        ) from None
    try:
        table = pq.ParquetFile(file)
        schema, rows = table.schema_arrow, table.metadata.num_rows
    except Exception as error:  # of damaged files: besides Arrow's errors whatever its parsers met
        raise InputError(f"{file} is no whole Parquet file ({_first(error)}); fetch it again") from None
    repeated = sorted({n for n in (*COLUMNS, LABEL) if schema.names.count(n) > 1})
    if repeated:
        raise InputError(f"{file} has several columns {repeated[0]}; keep one of them")
    column = next((name for name in COLUMNS if name in schema.names), None)
    if column is None:
        raise InputError(
            f"{file} has no column img or image, only {', '.join(schema.names) or 'nothing'}; rename the pictures' one"
        )
    kind = _plain(schema.field(column).type)
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0 or not _is_bytes(kind.field("bytes").type):
        raise InputError(f"{file}: column {column} is {kind}, not struct<bytes: binary, path: string> as on the hub")
    has_label = LABEL in schema.names
    label = _plain(schema.field(LABEL).type) if has_label else pa.int64()
    if not pa.types.is_integer(label.value_type if pa.types.is_dictionary(label) else label):
        raise InputError(f"{file}: column {LABEL} is {label}, not whole numbers; drop or convert it")
    return table, column, has_label, rows


def _plain(kind: Any) -> Any:
    """The type in which an extension type is stored, or the type itself."""
    return getattr(kind, "storage_type", kind)


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _batches(
    file: Path, table: Any, column: str, has_label: bool
) -> Iterator[tuple[list[bytes | None], list[int | None]]]:
    """Encoded pictures and labels, some rows at a time; the other fields of a picture are not read."""
    import pyarrow.compute as pc

    try:
        for batch in table.iter_batches(_ROWS, columns=[f"{column}.bytes", *([LABEL] if has_label else [])]):
            cells = batch.column(column)
            cells = pc.struct_field(getattr(cells, "storage", cells), "bytes").to_pylist()
            yield cells, batch.column(LABEL).to_pylist() if has_label else []
    except Exception as error:  # of damaged files: besides Arrow's errors whatever its parsers met
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} breaks off or is damaged ({_first(error)}); fetch it again") from None


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
