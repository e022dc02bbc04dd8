"""How the package writes and reads single files: whole or not at all, JSON strictly, and the cache."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from voltaspin.core.errors import InputError
from voltaspin.core.extras import NeedsExtra

MAX_JSON = 64 << 20  #: bytes of the largest JSON file that is read
READER_WITHIN = 30.0  #: seconds that a FIFO is given to be opened by its reader
MAX_DEPTH = 64  #: how deep its lists and objects may be nested

T = TypeVar("T")
_turn = itertools.count()
_STANDARD = ("/dev/stdout", "/dev/stderr")
_PART = re.compile(r"\.(.+)\.\d+-\d+\.part", re.DOTALL)


# Whole files


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and move it there when the block ends; an exception leaves nothing.

    A symbolic link is followed: what it points to is replaced, and the link stays. A device, FIFO or socket cannot be
    replaced; use :func:`opened_whole`, which writes into it.

    Raises:
        InputError: ``path`` is a folder, or neither a file nor free.
    """
    target = regular_target(Path(path))
    # Shortened, so that the longest name that the system allows has room for the rest.
    part = target.with_name(f".{target.name[:60]}.{os.getpid()}-{next(_turn)}.part")
    try:
        yield part
        with contextlib.suppress(FileNotFoundError):
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def sweep_parts(folder: Path, names: Iterable[str]) -> None:
    """Remove the temporary files that killed processes left of ``names``; the caller holds the lock of these files."""
    short = {name[:60] for name in names}
    for path in folder.iterdir():
        found = _PART.fullmatch(path.name)
        if found and found[1] in short:
            path.unlink(missing_ok=True)


@contextmanager
def opened_whole(path: Path | str) -> Iterator[IO[bytes]]:
    """Open ``path`` for writing bytes: a file appears when the block ends, a device or FIFO takes them as they come.

    Raises:
        InputError: ``path`` is a folder or a socket, or a FIFO that nobody reads within :data:`READER_WITHIN`.
    """
    if is_stream(path):
        with _opened_stream(path) as file:
            yield file
        return
    with replacing(path) as part, part.open("wb") as file:
        yield file


def _opened_stream(path: Path | str) -> IO[bytes]:
    """Open a device or a FIFO for writing, the latter as soon as it has a reader."""
    if not stat.S_ISFIFO(Path(path).stat().st_mode):
        return Path(path).open("wb")
    until = time.monotonic() + READER_WITHIN
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        else:
            os.set_blocking(descriptor, True)
            return os.fdopen(descriptor, "wb")
        if time.monotonic() > until:
            raise InputError(
                f"{path} is a FIFO that nobody has read within {READER_WITHIN:g} s; start its reader first"
            )
        time.sleep(0.05)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file whole or not at all."""
    with opened_whole(path) as file:
        file.write(data)


def write_text(path: Path | str, text: str) -> None:
    """Write a file whole or not at all, in UTF-8."""
    write_bytes(path, text.encode(errors="backslashreplace"))  # bytes of a file name that are no UTF-8


def write_json(path: Path | str, data: Any) -> None:
    """Write JSON whole or not at all; NaN and infinities are refused, since other readers refuse them."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def is_stream(path: Path | str) -> bool:
    """Whether ``path`` is a device, a FIFO or an open file of a process, which takes bytes as they come."""
    with contextlib.suppress(OSError):
        if re.fullmatch(r"/proc/\d+/fd", str(Path(path).parent.resolve())) or str(path) in _STANDARD:
            return Path(path).exists()
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def regular_target(path: Path) -> Path:
    """The file that ``path`` names, links followed."""
    target = Path(os.path.realpath(path))
    if target.is_dir() or not target.name:
        raise InputError(f"{path} is a folder; give the name of a file")
    if target.exists() and not target.is_file():
        raise InputError(f"{path} is no regular file and cannot be replaced; give the name of a file")
    return target


# JSON


def read_json(path: Path | str, *, infinities: bool = False) -> Any:
    """Read JSON strictly: no repeated keys, no NaN or infinity, bounded in size and depth.

    Args:
        path: of the file.
        infinities: let NaN and infinities through, for files of libraries that write them; the caller checks them.

    Raises:
        InputError: the file is missing, is not JSON, or breaks one of these bounds; the message says where.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path} is not a file; give a JSON file")
        if size > MAX_JSON:
            raise InputError(f"{path} has {size} bytes, more than the {MAX_JSON} of the largest JSON file that is read")
        return parse_json(path.read_text(encoding="utf-8-sig"), where=str(path), infinities=infinities)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not readable JSON ({error}); it may be truncated") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no name of a file ({error}); check the path") from None  # a null character


def read_object(path: Path | str) -> dict[str, Any]:
    """Read JSON whose top level is an object.

    Raises:
        InputError: as :func:`read_json`, or the top level is a list, number, text or null.
    """
    return as_object(read_json(path), where=str(path))


def as_object(data: Any, *, where: str) -> dict[str, Any]:
    """Data whose top level is an object.

    Raises:
        InputError: it is a list, number, text, truth value or null.
    """
    if not isinstance(data, dict):
        raise InputError(f"{where} holds a JSON {_json_name(data)}, not an object with named fields")
    return data


def parse_json(text: str, *, where: str, infinities: bool = False) -> Any:
    """Parse JSON as strictly as :func:`read_json`; ``where`` stands in the messages."""
    depth = 0
    for character in _outside_strings(text):
        depth += 1 if character in "[{" else -1
        if depth > MAX_DEPTH:
            raise InputError(f"{where} nests lists and objects more than {MAX_DEPTH} levels deep; it is none of ours")
    try:
        if infinities:
            return json.loads(text, object_pairs_hook=_unique_keys)
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite)
    except _NotStrictError as error:
        raise InputError(f"{where}: {error}") from None
    except ValueError as error:  # also a number with more digits than Python converts
        raise InputError(f"{where} is not readable JSON ({error}); it may be truncated") from None


class _NotStrictError(Exception):
    pass


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _NotStrictError(f"the key {key!r} stands twice in one object; keep one of them")
        found[key] = value
    return found


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):  # 1e999
        raise _NotStrictError(f"the number {digits[:40]} is too large; give a finite number")
    return value


def _no_constant(name: str) -> Any:
    raise _NotStrictError(f"{name} is no JSON number; give a finite number")


def _outside_strings(text: str) -> Iterator[str]:
    """The brackets of JSON that open or close a level."""
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', text, re.DOTALL):
        if match[0][0] != '"':
            yield match[0]


def _json_name(data: Any) -> str:
    if data is None:
        return "null"
    return {list: "list", str: "text", bool: "truth value"}.get(type(data), "number")


# The cache


def cache_folder() -> Path:
    """``VOLTASPIN_CACHE``, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("VOLTASPIN_CACHE") or platformdirs.user_cache_dir("voltaspin"))


def cached(
    folder: str,
    inputs: Any,
    *,
    suffix: str,
    read: Callable[[Path], T],
    make: Callable[[], T],
    write: Callable[[Path, T], None],
) -> T:
    """Return what was computed once from ``inputs``, or compute and keep it.

    A file that cannot be read any more (cut, damaged, of another shape) is computed again and replaced. A cache that
    cannot be written is not used.

    Args:
        folder: below :func:`cache_folder`.
        inputs: all that decides the result, as JSON data, versions included.
        suffix: of the file.
        read, make, write: the three ways to the value; ``write`` gets a temporary path.

    The SHA-256 of the file stands beside it, so that a bit that changed on the disk changes no result.
    """
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:20]
    path = cache_folder() / folder / f"{key}{suffix}"
    mark = path.with_name(f"{path.name}.sha256")
    # Whatever a damaged file makes of its reader, the value can be had again.
    with contextlib.suppress(Exception):
        if not mark.exists() or mark.read_text() == sha256_of(path):  # 0.1.0 wrote no hash
            return read(path)
    value = make()
    with contextlib.suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            write(part, value)
            found = sha256_of(part)
        write_text(mark, found)
    return value


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file, in memory that does not grow with it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetched(
    addresses: str | Sequence[str],
    file: str,
    folder: Path,
    *,
    known_hash: str | None = None,
    check: Callable[[Path], object] | None = None,
    missing: str,
    remedy: str,
) -> Path:
    """A file in ``folder``, downloaded if it is not there; an interrupted download leaves nothing.

    Args:
        addresses: where the file lies, with the last slash; tried in turn.
        known_hash: ``md5:...`` or ``sha256:...`` that it must have.
        check: raises InputError where the fetched file is another one, e.g. by the hash of its decompressed bytes; then
            the file is removed and the next address is tried.
        missing: what is not at hand, and ``remedy``: what to do, both for the message.

    Raises:
        InputError: it cannot be fetched, or is another file.
    """
    with NeedsExtra(f"fetching {file}"):
        import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    tried: list[str] = []
    try:
        for address in [addresses] if isinstance(addresses, str) else addresses:
            try:
                found = Path(
                    pooch.retrieve(
                        address + file, known_hash=known_hash, fname=file, path=folder, progressbar=sys.stderr.isatty()
                    )
                )
            except Exception as error:
                tried.append(f"{address}{file} ({type(error).__name__})")
                continue
            try:
                if check is not None:
                    check(found)
            except InputError:
                found.unlink(missing_ok=True)
                tried.append(f"{address}{file} (another file)")
            else:
                return found
    finally:
        logger.setLevel(level)
    raise InputError(f"{missing} and cannot be fetched: {', '.join(tried)}; {remedy}")


def check_ways(*, resume: bool, force: bool) -> None:
    """Refuse two ways at once to treat what an earlier run left."""
    if resume and force:
        raise InputError("resume=True goes on with a run and force=True begins it again; give one of them")
