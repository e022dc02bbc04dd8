"""Make numba's cache of compiled functions survive damage: what cannot be read, or was changed, is compiled again.

numba unpickles its cache files without a check, so that one that was cut ends in a traceback, and one with a changed
bit may run other machine code. Modules with kernels take ``numba`` from here.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numba

_MARK = b"voltaspin-sha256"  #: before the digest at a file's end, where numba reads no further
_DIGEST = 32


def guard() -> None:
    """Replace three methods of numba's cache files; a second call changes nothing."""
    from numba.core import caching

    files = getattr(caching, "IndexDataCacheFile", None)
    if files is None or getattr(files, "guarded_by_voltaspin", False):
        return
    load_index, load_data, dump = files._load_index, files._load_data, files._dump

    def checked_index(self: Any) -> Any:
        try:
            return load_index(self)
        except Exception:
            return {}

    def checked_data(self: Any, name: str) -> Any:
        try:
            with open(self._data_path(name), "rb") as file:  # noqa: PTH123 - numba's own path
                data = file.read()
            body, mark, digest = data[: -_DIGEST - len(_MARK)], data[-_DIGEST - len(_MARK) : -_DIGEST], data[-_DIGEST:]
            if mark == _MARK and hashlib.sha256(body).digest() != digest:
                raise OSError(f"{name} has changed")
            return load_data(self, name)  # without a mark it was written by a process without this guard
        except Exception as error:
            raise OSError(f"{name} cannot be read") from error  # which numba takes for a file that is gone

    def marked(self: Any, data: Any) -> Any:
        body = dump(self, data)
        return body + _MARK + hashlib.sha256(body).digest()

    files._load_index, files._load_data, files._dump = checked_index, checked_data, marked
    files.guarded_by_voltaspin = True


guard()

__all__ = ["guard", "numba"]
