"""Who may write where: folders that belong to the command whose ``run.json`` lies in them, and locks.

Two rules hold for every command. Nothing is deleted or overwritten that the folder's own ``run.json`` does not list.
Two processes never do the same job: a job is locked while it is done, and the lock dies with its process.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from voltaspin.core.errors import InputError
from voltaspin.core.files import is_stream, read_object, regular_target, replacing, sweep_parts, write_json

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
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise InputError(f"{path.parent} cannot be written ({error.strerror}); choose another folder") from None
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
        self._own: set[str] = set(_listed(path, record))
        self._new: set[str] = set()
        self._begun = False  # whether run.json is of this run

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
        adopt: Collection[str] = (),
        among: bool = False,
        wait: bool = False,
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
            adopt: files of an earlier version of this command, which listed none; they count as listed.
            among: whether a folder without ``run.json`` may hold other files, because the caller knows whose they are.
            wait: for the lock, where another process does the same job.

        Raises:
            InputError: the folder cannot be written, is not empty and not this command's, or its job is being done.
        """
        path = Path(path)
        run = {"command": command, "arguments": json.loads(json.dumps(dict(arguments), allow_nan=False))}
        made = _made_folders(path)
        try:
            with locked(path / _lock_name(job), what=f"{path} ({job})", wait=wait):
                record = _read_record(path)
                if {key: record.get(key) for key in run} != run:
                    if record:
                        _nobody_else(path, job)
                    cls._check(path, record, run, force=force, resume=resume, adopt=adopt, among=among)
                folder = cls(path, record, run)
                folder._own.update(adopt)
                try:
                    yield folder
                finally:
                    folder._forget_plan()
        finally:
            for new in reversed(made):
                with contextlib.suppress(OSError):
                    new.rmdir()

    @staticmethod
    def _check(
        path: Path,
        record: dict[str, Any],
        run: dict[str, Any],
        *,
        force: bool,
        resume: bool,
        adopt: Collection[str],
        among: bool,
    ) -> None:
        if not record:
            others = sorted(p.name for p in path.iterdir() if not p.name.startswith(".") and p.name not in adopt)
            others = [name for name in others if not any(a.startswith(f"{name}/") for a in adopt)]
            if others and not (force or among):
                raise InputError(
                    f"{path} is not empty ({_some(others)}) and has no {RECORD} of this command; choose a new folder, "
                    "or force=True: then its files stay, and a file of the same name is refused"
                )
            return
        if not force and not (resume and record.get("command") == run["command"]):
            raise InputError(
                f"{path} holds {describe(record)}; choose another folder, or force=True, which replaces what "
                f"its {RECORD} lists"
            )

    @property
    def same_run(self) -> bool:
        """Whether ``run.json`` was left by this command with these arguments."""
        return bool(self.record) and {key: self.record.get(key) for key in self._run} == self._run

    def owns(self, name: str) -> bool:
        """Whether ``name`` is listed as a file of this folder's command, by this job or another one."""
        return name in self._own or name in self._new or name in _listed(self.path, _read_record(self.path))

    def plan(self, names: Iterable[str]) -> None:
        """Announce files before they appear, so that they are this command's even if it is killed.

        What a killed process left half written under these names is removed.

        Raises:
            InputError: a file of that name exists and is not listed, or another command has begun here; nothing is
                announced then.
        """
        names = list(names)
        with self._record_lock():
            current = self._current()
            known = self._own | self._new | set(_listed(self.path, current))
            foreign = [n for n in names if n not in known and os.path.lexists(self.path / n)]
            if foreign:
                raise InputError(
                    f"{self.path} holds {_some(foreign)}, which this command did not make and does not overwrite; "
                    "choose another folder, or move them away"
                )
            places: dict[Path, list[str]] = {}
            for n in names:
                places.setdefault((self.path / n).parent, []).append(Path(n).name)
            for place, short in places.items():
                if place.is_dir():
                    sweep_parts(place, short)
            self._new |= set(names)
            self._save({**self._run, "finished": False}, known | self._new)
            self._begun = True

    def forget(self, names: Iterable[str]) -> None:
        """List these files no longer; the caller removes them after :meth:`finish`."""
        self._new -= set(names)
        self._own -= set(names)

    def read(self) -> dict[str, Any]:
        """``run.json`` as it stands now."""
        return _read_record(self.path)

    def clear(self) -> None:
        """Remove the listed files now, to begin again."""
        for name in sorted(self._own):
            self._remove(name)

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
                    self._remove(name)
            else:
                self._new |= self._own
            self._save({**(record or {}), **self._run, "finished": finished}, self._new)
            self._begun = True

    def only_one(self) -> contextlib.AbstractContextManager[None]:
        """Hold a lock that all jobs of the folder share, e.g. to see which of them is the last."""
        return locked(self.path / ".last.lock", what=str(self.path), wait=True)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            (self.path / name).unlink()
        _remove_empty(self.path / name, self.path)

    def _forget_plan(self) -> None:
        """Remove a ``run.json`` that only announces files of which none appeared."""
        if self.record or not self._begun:
            return
        with contextlib.suppress(OSError, InputError), self._record_lock():
            current = self._current()
            files = current.get("files")
            if not current.get("finished") and files is not None and set(files) <= self._new:
                if any(os.path.lexists(self.path / n) for n in self._new):
                    return
                (self.path / RECORD).unlink(missing_ok=True)
                for n in self._new:
                    _remove_empty(self.path / n, self.path)

    def _record_lock(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.path / ".record.lock", what=str(self.path / RECORD), wait=True)

    def _current(self) -> dict[str, Any]:
        """``run.json`` as it stands now: another job of this run may have written it since."""
        current = _read_record(self.path)
        if {key: current.get(key) for key in self._run} == self._run:
            return current
        if current != self.record or self._begun:
            raise InputError(f"{self.path} now holds {describe(current)}, which began meanwhile; choose another folder")
        return {}

    def _save(self, record: Mapping[str, Any], files: set[str]) -> None:
        write_json(self.path / RECORD, {**record, "files": sorted(files)})


def _lock_name(job: str) -> str:
    return f".{job.replace('/', '-of-')}.lock"


def _nobody_else(path: Path, job: str) -> None:
    """Raise InputError while another job of another run is done in the folder."""
    for lock in path.glob(".*.lock"):
        if lock.name not in (_lock_name(job), ".record.lock", ".last.lock"):
            with locked(lock, what=f"{path} ({lock.name[1:-5]})"):
                pass


def _read_record(path: Path) -> dict[str, Any]:
    """``run.json`` of a folder, empty where there is none; raises InputError for one that is none of ours."""
    if not os.path.lexists(path / RECORD):
        return {}
    record: dict[str, Any] = {}
    with contextlib.suppress(InputError):
        record = read_object(path / RECORD)
    of_ours = isinstance(record.get("command"), str) and isinstance(record.get("files"), list)
    if not of_ours and record.get("kind") not in ("sample", "sample-bitflip"):  # of 0.1.0, which listed no files
        raise InputError(
            f"{path / RECORD} is of another program or damaged, and is not overwritten; choose another folder, or move "
            "it away"
        )
    return record


def check_writable(path: Path | str) -> None:
    """Refuse a folder that cannot be written, before the work; nothing is left of the trial."""
    path = Path(path)
    made = _made_folders(path)
    try:
        with locked(path / ".trial.lock", what=str(path), wait=True):
            pass
    finally:
        for new in reversed(made):
            with contextlib.suppress(OSError):
                new.rmdir()


def describe(record: Mapping[str, Any]) -> str:
    """Return the command that a ``run.json`` names, for a message."""
    command = record.get("command")
    return f"another run of {command!r}" if isinstance(command, str) else "a run of another command"


def claim_file(
    path: Path | str,
    *,
    force: bool,
    command: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    sidecar: Path | None = None,
    kind: str | None = None,
    suffix: str = "",
    inputs: Iterable[Path | str | None] = (),
    leave: str = "force",
) -> Path:
    """Refuse to overwrite a file, unless it may be.

    Args:
        path: of the file to come. A device or FIFO is written into and needs no leave.
        force: overwrite it; ``leave``: what the caller names that argument.
        command, arguments: of this run; a file whose sidecar names the same ones may be replaced.
        sidecar: where that is, and ``kind``: its own. One that is not of this product is never overwritten.
        suffix: of what is written, such as ``.png``, if any; inputs: files that the run reads, which stay.

    Raises:
        InputError: ``path`` is a folder, an input, called like another kind of file, or may not be replaced.
    """
    path = Path(path)
    if is_stream(path):
        return path
    target = regular_target(path)
    if suffix and path.suffix.lower() not in ("", suffix):
        raise InputError(f"{path} would hold {suffix[1:].upper()}; give a name that ends with {suffix}")
    if any(one is not None and target == Path(os.path.realpath(one)) for one in inputs):
        raise InputError(f"{path} is read by this run; give another name for what it writes")
    known: dict[str, Any] = {}
    if sidecar is not None and os.path.lexists(sidecar):
        with contextlib.suppress(InputError):
            known = read_object(sidecar)
        if known.get("kind") != kind or not isinstance(known.get("command", kind), str):
            raise InputError(
                f"{sidecar} is of another program, and is not overwritten; choose another name than {path}"
            )
    if path.exists() and not force:
        asked = {"command": command, "arguments": json.loads(json.dumps(arguments))}
        if command is None or {key: known.get(key) for key in asked} != asked:
            raise InputError(f"{path} exists; choose another name, or overwrite it with {leave}=True")
    return path


@contextmanager
def claimed_file(path: Path | str, **how: Any) -> Iterator[Path]:
    """:func:`claim_file`, locked until the block ends; its folder is made, and removed again if it stays empty.

    Args:
        path: of the file to come.
        how: as :func:`claim_file`.

    Raises:
        InputError: as :func:`claim_file`; the folder cannot be written, or another process writes the file.
    """
    path = claim_file(path, **how)
    if is_stream(path):
        yield path
        return
    target = regular_target(path)
    made = _made_folders(target.parent)
    try:
        with locked(target.with_name(f".{target.name[:60]}.lock"), what=str(path)):
            claim_file(path, **how)
            sweep_parts(target.parent, [target.name])
            yield path
    finally:
        for new in reversed(made):
            with contextlib.suppress(OSError):
                new.rmdir()


def _listed(path: Path, record: Mapping[str, Any]) -> list[str]:
    """The files of a record that lie inside its folder; a hostile record cannot name others."""
    names = record.get("files")
    if not isinstance(names, Sequence) or isinstance(names, str):
        return []
    home = path.resolve()
    inside: dict[str, bool] = {}  # by folder, so that a link to elsewhere is looked at once
    found = []
    for n in names:
        if (
            not isinstance(n, str)
            or not n
            or "\0" in n
            or Path(n).is_absolute()
            or ".." in Path(n).parts
            or n == RECORD
        ):
            continue
        parent = str(Path(n).parent)
        if parent not in inside:
            inside[parent] = (path / parent).resolve().is_relative_to(home)
        if inside[parent]:
            found.append(n)
    return found


def _made_folders(path: Path) -> list[Path]:
    """Make a folder and its parents, and list those that were not there."""
    missing = [p for p in (*reversed(path.parents), path) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output folder {path} cannot be written ({error.strerror}); choose another folder") from None
    return missing


def _remove_empty(name: Path, top: Path) -> None:
    for folder in name.parents:
        if folder == top:
            return
        with contextlib.suppress(OSError):
            folder.rmdir()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
