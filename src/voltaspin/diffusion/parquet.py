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
    files: Sequence[Path], *, progress: Progress | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, bool]:
    """The images of Parquet files, in the order of files and rows.

    Args:
        files: at least one; all with labels, or all without.
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
        for batch in _batches(file, table, [column, LABEL] if has_label else [column]):
            for cell in batch.column(column).to_pylist():
                encoded, name = (cell or {}).get("bytes"), f"row {row - start} of {file}"
                if not encoded:
                    raise InputError(f"{name} holds no bytes of a picture, only a path or nothing; fetch it whole")
                lossy |= encoded[:2] == _JPEG
                pictures.append(decode(BytesIO(encoded), name))
                check_size(pictures[-1], pictures[0], where=str(file.parent), names=(f"row 0 of {files[0].name}", name))
                row += 1
            if has_label:
                labels.extend(batch.column(LABEL).to_pylist())
            if progress is not None:
                progress(row, total)
    if None in labels:
        raise InputError(f"row {labels.index(None)} of {files[0].parent} has no label; remove the column or fill it")
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
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} is no whole Parquet file ({_first(error)}); fetch it again") from None
    schema = table.schema_arrow
    column = next((name for name in COLUMNS if name in schema.names), None)
    if column is None:
        raise InputError(f"{file} has no column img or image, only {', '.join(schema.names)}; rename the pictures' one")
    kind = schema.field(column).type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0 or not _is_bytes(kind.field("bytes").type):
        raise InputError(f"{file}: column {column} is {kind}, not struct<bytes: binary, path: string> as on the hub")
    has_label = LABEL in schema.names
    if has_label and not pa.types.is_integer(schema.field(LABEL).type):
        raise InputError(f"{file}: column {LABEL} is {schema.field(LABEL).type}, not whole numbers; drop or convert it")
    return table, column, has_label, table.metadata.num_rows


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _batches(file: Path, table: Any, columns: list[str]) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from table.iter_batches(_ROWS, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} breaks off or is damaged ({_first(error)}); fetch it again") from None


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
