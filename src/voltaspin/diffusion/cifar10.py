"""CIFAR-10 from its official binary archive: 50,000 training and 10,000 test images of 32x32 in colour.

The archive for Python is a pickle, which can run code when it is read, so it is not taken.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html (format of the records and MD5 of the archive).
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError

NAME = "cifar10"
ARCHIVE = "cifar-10-binary.tar.gz"
ADDRESS = "https://www.cs.toronto.edu/~kriz/"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
_PARTS = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD = 1 + 3 * 32 * 32  #: a label, then the red, the green and the blue plane
_RECORDS = 10_000  #: in each part


def read_archive(file: Path, split: str, *, md5: str | None = MD5) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One split of the archive, which is read without being unpacked.

    Args:
        file: ``cifar-10-binary.tar.gz``.
        split: ``train`` or ``test``.
        md5: of the archive; None skips that check.

    Returns:
        uint8 (n, 3, 32, 32) and int64 (n,), in the order of the archive.

    Raises:
        InputError: another archive, or one that is truncated.
    """
    found = _md5(file)
    if md5 is not None and found != md5:
        raise InputError(f"{file}: MD5 {found} is not the official {md5}; fetch {ADDRESS}{ARCHIVE} again")
    parts = []
    try:
        with tarfile.open(file, "r:gz") as archive:
            for name in _PARTS[split]:
                member = archive.extractfile(f"cifar-10-batches-bin/{name}")
                parts.append(b"" if member is None else member.read())
    except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{file} is not the binary archive of CIFAR-10, or breaks off ({error})") from None
    if any(len(part) != _RECORDS * _RECORD for part in parts):
        raise InputError(f"{file}: a part is not {_RECORDS} records of {_RECORD} bytes; fetch the archive again")
    records = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), records[:, 0].astype(np.int64)


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
