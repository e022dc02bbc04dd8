"""Who may write where: folders that belong to the command whose ``run.json`` lies in them, and locks.

Two rules hold for every command. Nothing is deleted or overwritten that the folder's own ``run.json`` does not list.
Two processes never do the same job: a job is locked while it is done, and the lock dies with its process.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from voltaspin.core.errors import InputError
from voltaspin.core.files import is_stream, read_object, regular_target, replacing, write_json

RECORD = "run.json"  #: the file of a folder that says which command made it, and which files are its own


@contextmanager
def locked(path: Path | str, *, what: str, wait: bool = False) -> Iterator[None]:
    """Hold the lock file ``path`` in the block; the system releases it when the process dies.

    Args:
        path: of the lock file, made and removed here.
        what: is locked, for the message.
        wait: wait for the lock instead of refusing.

    Raises:
        InputError: another process holds it, and ``wait`` is false.
    """
    import fcntl

    path = Path(path)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            raise InputError(f"{what} is being written by another process; wait for it, or choose another") from None
        except BaseException:
            os.close(handle)
            raise
        # The holder before us removes the file: then what we locked is no longer what others find.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                break
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


class OutputFolder:
    """A folder that a command fills, and the ``run.json`` that lists the files which belong to it.

    Open one with :meth:`claim`. Announce files with :meth:`plan` before they appear, write them with
    :meth:`write_bytes` or under :meth:`replacing`, and end with :meth:`finish`. A command that is killed in between
    leaves a ``run.json`` that lists what it planned, so that the same command can go on or begin again.

    Args:
        path: the folder, which exists.
        record: what its ``run.json`` held when it was claimed; empty for a new folder.
    """

    def __init__(self, path: Path, record: dict[str, Any], run: dict[str, Any]) -> None:
        self.path = path
        self.record = record
        self._run = run
        self._own: set[str] = set(_listed(record))
        self._new: set[str] = set()

    @classmethod
    @contextmanager
    def claim(
        cls,
        path: Path | str,
        *,
        command: str,
        arguments: Mapping[str, Any],
        force: bool = False,
        resume: bool = False,
        job: str = "run",
    ) -> Iterator[Self]:
        """Make or enter the folder for one command, and lock its job until the block ends.

        Args:
            path: the folder; made with its parents, and removed again if the block leaves it empty.
            command: its name, e.g. ``"sample"``.
            arguments: what decides the files, as JSON data. The same command with the same arguments may replace what
                an earlier one left.
            force: enter a folder of another run of ours, and replace what its ``run.json`` lists.
            resume: enter a folder of the same command; :meth:`owns` says what is there.
            job: the part of the work that this process does, e.g. ``"1/4"``; another job may run there meanwhile.

        Raises:
            InputError: the folder cannot be written, is not empty and not this command's, or its job is being done.
        """
        path = Path(path)
        run = {"command": command, "arguments": json.loads(json.dumps(dict(arguments), allow_nan=False))}
        made = _made_folders(path)
        try:
            with locked(path / f".{job.replace('/', '-of-')}.lock", what=f"{path} ({job})"):
                record = read_object(path / RECORD) if (path / RECORD).is_file() else {}
                cls._check(path, record, run, force=force, resume=resume)
                yield cls(path, record, run)
        except PermissionError:
            raise InputError(f"output folder {path} cannot be written; choose another folder") from None
        finally:
            for folder in reversed(made):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    @staticmethod
    def _check(path: Path, record: dict[str, Any], run: dict[str, Any], *, force: bool, resume: bool) -> None:
        if not record:
            others = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
            if others and not force:
                raise InputError(
                    f"{path} is not empty ({_some(others)}) and has no {RECORD} of this command; choose a new folder, "
                    "or force it: then its files stay, and a file of the same name is refused"
                )
            return
        same = {key: record.get(key) for key in run} == run
        if not same and not force and not (resume and record.get("command") == run["command"]):
            raise InputError(
                f"{path} holds {describe(record)}; choose another folder, or force it, which replaces what its "
                f"{RECORD} lists"
            )

    @property
    def same_run(self) -> bool:
        """Whether ``run.json`` was left by this command with these arguments."""
        return bool(self.record) and {key: self.record.get(key) for key in self._run} == self._run

    def owns(self, name: str) -> bool:
        """Whether ``name`` is listed as a file of this folder's command."""
        return name in self._own or name in self._new

    def plan(self, names: Iterable[str]) -> None:
        """Announce files before they appear, so that they are this command's even if it is killed.

        Raises:
            InputError: a file of that name exists and is not listed; nothing is announced then.
        """
        names = list(names)
        with self._record_lock():
            current = self._current()
            known = self._own | self._new | set(_listed(current))
            foreign = [n for n in names if n not in known and os.path.lexists(self.path / n)]
            if foreign:
                raise InputError(
                    f"{self.path} holds {_some(foreign)}, which this command did not make and does not overwrite; "
                    "choose another folder, or move them away"
                )
            self._new |= set(names)
            self._save({**self._run, "finished": False}, known | self._new)

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """:func:`replacing` for a file of this folder, announced here if it was not yet."""
        if name not in self._new:
            self.plan([name])
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            yield part

    def write_bytes(self, name: str, data: bytes) -> None:
        with self.replacing(name) as part:
            part.write_bytes(data)

    def write_json(self, name: str, data: Any) -> None:
        self.write_bytes(name, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())

    def finish(self, record: Mapping[str, Any] | None = None, *, finished: bool = True) -> None:
        """Write ``run.json``; of a new run, remove what an earlier one listed and this one did not make."""
        with self._record_lock():
            if finished:
                for name in sorted(self._own - self._new):
                    (self.path / name).unlink(missing_ok=True)
                    _remove_empty(self.path / name, self.path)
            else:
                self._new |= self._own
            self._save({**self._run, "finished": finished, **(record or {})}, self._new)

    def _record_lock(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.path / ".record.lock", what=str(self.path / RECORD), wait=True)

    def _current(self) -> dict[str, Any]:
        """``run.json`` as it stands now: another job of this run may have written it since."""
        current = read_object(self.path / RECORD) if (self.path / RECORD).is_file() else {}
        return current if {key: current.get(key) for key in self._run} == self._run else {}

    def _save(self, record: Mapping[str, Any], files: set[str]) -> None:
        write_json(self.path / RECORD, {**record, "files": sorted(files)})


def describe(record: Mapping[str, Any]) -> str:
    """What a ``run.json`` says of its command, for a message."""
    command = record.get("command")
    return f"another run of {command!r}" if isinstance(command, str) else "a run of another command"


def claim_file(path: Path | str, *, force: bool, command: str | None = None, sidecar: Path | None = None) -> Path:
    """Refuse to overwrite a file, unless it may be.

    Args:
        path: of the file to come. A device or FIFO is written into and needs no leave.
        force: overwrite it.
        command: of this run; a file whose sidecar names the same one may be replaced.
        sidecar: where that is.

    Raises:
        InputError: ``path`` is a folder, its folder does not exist, or it exists and may not be replaced.
    """
    path = Path(path)
    if is_stream(path):
        return path
    regular_target(path)
    if path.exists() and not force:
        known: Any = None
        if sidecar is not None and sidecar.is_file():
            with contextlib.suppress(InputError):
                known = read_object(sidecar).get("command")
        if command is None or known != command:
            raise InputError(f"{path} exists; choose another name, or force it to be overwritten")
    return path


def _listed(record: Mapping[str, Any]) -> list[str]:
    """The files of a record that lie inside its folder; a hostile record cannot name others."""
    names = record.get("files")
    if not isinstance(names, Sequence) or isinstance(names, str):
        return []
    return [
        n
        for n in names
        if isinstance(n, str) and n and not Path(n).is_absolute() and ".." not in Path(n).parts and n != RECORD
    ]


def _made_folders(path: Path) -> list[Path]:
    """Make a folder and its parents, and list those that were not there."""
    missing = [p for p in (*reversed(path.parents), path) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output folder {path} cannot be made ({error.strerror}); choose another folder") from None
    return missing


def _remove_empty(name: Path, top: Path) -> None:
    for folder in name.parents:
        if folder == top:
            return
        with contextlib.suppress(OSError):
            folder.rmdir()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
