"""Do every run of a study once: in processes of this machine or on a dask cluster, whatever is killed on the way.

No worker outlives the process that started it: each watches its parent and ends with it, however that ended. A job is
locked while it is done, so that two studies in one folder share the work.

A run writes into a folder of its own and renames it to its key when it is complete, so a folder of that name is
complete by its existence, and a second study that wants the same run finds it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import active_children, connection, get_context, parent_process
from pathlib import Path
from typing import Any, Protocol

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object, write_json
from voltaspin.core.folders import RECORD, locked
from voltaspin.core.units import parse_share
from voltaspin.study.specification import Run, job_from_json


class Job(Protocol):
    """A piece of work that is done once: a run or a training of a study, or whatever has a key and JSON data."""

    @property
    def key(self) -> str:
        """Name of its folder: a hash of all that decides its result."""

    @property
    def name(self) -> str:
        """For the progress."""

    def to_json(self) -> dict[str, Any]:
        """Return its data, which another process reads again."""


Read = Callable[[dict[str, Any]], Job]
Work = Callable[[Any, Path], dict[str, Any]]
Progress = Callable[[int, int, str], None]

KIND, VERSION = "study-runs", 1
ANSWERS_WITHIN = 10.0  #: seconds that a scheduler has to answer


def folder_of(out: Path, run: Job) -> Path:
    return out / "runs" / run.key


def finished(out: Path, run: Job) -> bool:
    return (folder_of(out, run) / "result.json").is_file()


def _lock_of(out: Path, run: Job) -> Path:
    return out / "runs" / f".{run.key}.lock"


#: What a study writes when all its runs are there.
PAGES = ("verdicts.csv", "verdicts.png", "index.html", "summary.md", "verdicts.json")


def pages_before(out: Path) -> list[str]:
    """The pages of a study of 0.1.0, which no ``run.json`` lists."""
    if (out / RECORD).is_file() or not (out / "verdicts.json").is_file():
        return []
    return [name for name in PAGES if (out / name).is_file()]


def prepare(out: Path, *, force: bool = False) -> None:
    """Make the folder of results, or check that it is one of this version.

    Args:
        out: the folder.
        force: take one that is not empty; what is in it stays.
    """
    mark = out / "study.json"
    if mark.is_file():
        data = read_object(mark)
        kind, version = data.get("kind"), data.get("schema_version")
        if kind != KIND or version != VERSION:
            raise InputError(
                f"{out} holds {kind!r} version {version!r}, not {KIND!r} version {VERSION}; choose another "
                "folder with out=, or the version of voltaspin that wrote it"
            )
        return
    if not force and out.is_dir() and any(p.name[0] != "." and p.name != RECORD for p in out.iterdir()):
        raise InputError(f"{out} is not empty and holds no study; choose another folder with out=")
    (out / "runs").mkdir(parents=True, exist_ok=True)
    write_json(mark, {"kind": KIND, "schema_version": VERSION})


def perform(work: Work, data: dict[str, Any], out: str, read: Read = job_from_json) -> str:
    """One run, in whatever process: from a partial folder to a complete one. Returns its key."""
    run = read(data)
    place = folder_of(Path(out), run)
    if finished(Path(out), run):
        return run.key
    place.parent.mkdir(parents=True, exist_ok=True)
    # Another process that does the same study waits for this run instead of repeating it.
    with locked(_lock_of(Path(out), run), what=f"run {run.key}", wait=True):
        if not finished(Path(out), run):
            _do(work, run, place)
    return run.key


def _do(work: Work, run: Job, place: Path) -> None:
    out = place.parent.parent
    host = socket.gethostname()
    for left in place.parent.glob(
        f".{run.key}.{host}-*.part"
    ):  # we hold the lock, so no process writes into it any more
        shutil.rmtree(left, ignore_errors=True)
    partial = place.with_name(f".{run.key}.{host}-{os.getpid()}.part")
    partial.mkdir(parents=True)
    try:
        result = work(run, partial)
        write_json(partial / "result.json", {**run.to_json(), **result})
        try:
            partial.rename(place)
        except OSError:
            if not finished(out, run):  # another machine was not first
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def shard_of(runs: Iterable[Run], shard: str) -> list[Run]:
    """The part ``"i/N"`` of the runs, i from 1 to N, decided by their keys.

    Raises:
        InputError: a text that is no such part.
    """
    i, n = parse_share(shard, name="shard")
    return [r for r in runs if int(r.key, 16) % n == i - 1]


def execute(
    runs: Sequence[Job],
    out: Path,
    *,
    work: Work,
    workers: int = 1,
    scheduler: str | None = None,
    certificates: Certificates | None = None,
    progress: Progress | None = None,
    read: Read = job_from_json,
    crew: Crew | None = None,
) -> int:
    """Do what is not done yet.

    Whoever reaches an open scheduler can run code on its workers, and the workers run what it sends them. Keep
    ``tcp://`` to a machine or network of your own; ``tls://`` with certificates admits their holders only.

    Args:
        runs: all of them; the finished ones are left alone.
        out: folder of results, prepared.
        work: does one run into a folder, and returns what goes into its ``result.json``.
        workers: processes on this machine.
        scheduler: address of a dask.distributed scheduler, instead of processes here; its workers must see ``out``.
        certificates: for a scheduler at ``tls://``.
        progress: called with (done, total, name of the condition).
        read: makes a job of its JSON data, in the process that does it.
        crew: of :func:`crew_of`, in place of ``workers``, ``scheduler`` and ``certificates``, for several calls.

    Returns:
        How many runs were done now.

    Raises:
        InputError: a scheduler that does not answer within 10 s; nothing is started then.
    """
    with crew_of(workers, scheduler, certificates) if crew is None else nullcontext(crew) as hands:
        prepare(out)
        _sweep(out)
        todo: dict[str, Job] = {}
        for run in runs:
            if not finished(out, run):
                todo.setdefault(run.key, run)
        done = total = len({r.key for r in runs})
        done -= len(todo)
        if progress is not None:
            progress(done, total, "")
        for key in hands.through(todo, work, str(out.resolve()), read):
            done += 1
            if progress is not None:
                progress(done, total, todo[key].name)
    return len(todo)


class Crew:
    """Whoever does the jobs: this process, processes of this machine, or a dask cluster; see :func:`crew_of`."""

    def __init__(self, client: Any, workers: int) -> None:
        self._client, self.workers = client, workers
        self._pool: ProcessPoolExecutor | None = None
        self._before = set(active_children())

    def through(self, todo: dict[str, Job], work: Work, out: str, read: Read) -> Iterator[str]:
        """Do jobs and yield their keys as they are finished."""
        if self._client is not None:
            from distributed import as_completed

            # a task whose worker dies goes to another one; a run that is there already is not repeated
            futures = [
                self._client.submit(
                    perform, work, run.to_json(), out, read, key=f"voltaspin-{run.key}", retries=3, pure=False
                )
                for run in todo.values()
            ]
            for future in as_completed(futures):
                yield future.result()
            return
        if self.workers <= 1:
            others = list[Job]()
            for run in todo.values():
                if _lock_of(Path(out), run).exists():  # another process does it now: go on with the next one
                    others.append(run)
                else:
                    yield perform(work, run.to_json(), out, read)
            for run in others:
                yield perform(work, run.to_json(), out, read)
            return
        if self._pool is None and todo:
            threads = max(1, (os.cpu_count() or 1) // self.workers)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=get_context("spawn"), initializer=_begin_worker, initargs=(threads,)
            )
        pending: set[Future[str]] = {
            self._pool.submit(perform, work, r.to_json(), out, read) for r in todo.values() if self._pool is not None
        }
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            for one in ready:
                yield one.result()

    def dismiss(self, *, stopped: bool) -> None:
        """End the processes; ``stopped``: at once, since nobody waits for hours of work that goes on."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=not stopped, cancel_futures=stopped)
        if stopped:
            for worker in set(active_children()) - self._before:
                worker.terminate()


@contextmanager
def crew_of(workers: int = 1, scheduler: str | None = None, certificates: Certificates | None = None) -> Iterator[Crew]:
    """Connect to a scheduler, or start processes with the first jobs, which end with the block; see :func:`execute`."""
    with _client(scheduler, certificates) as client:
        crew = Crew(client, workers)
        try:
            yield crew
        except BaseException:
            crew.dismiss(stopped=True)
            raise
        crew.dismiss(stopped=False)


def _begin_worker(threads: int) -> None:
    """Make this worker end when its parent does, even by SIGKILL, and leave Ctrl-C to the parent.

    The threads are set before any library that starts some is loaded.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class Certificates:
    """Files in PEM of a TLS connection: of the authority, and this side's certificate and key."""

    authority: Path
    certificate: Path
    key: Path

    def security(self) -> Any:
        from distributed import Security

        for file in (self.authority, self.certificate, self.key):
            if not file.is_file():
                raise InputError(f"{file} does not exist; give the authority, the certificate and the key as PEM files")
        return Security(
            tls_ca_file=str(self.authority), tls_client_cert=str(self.certificate), tls_client_key=str(self.key),
            require_encryption=True,
        )  # fmt: skip


@contextmanager
def _client(address: str | None, certificates: Certificates | None) -> Iterator[Any]:
    """A connection to a scheduler, or None."""
    encrypted = address is not None and address.startswith("tls://")
    if encrypted != (certificates is not None):
        raise InputError(
            f"the scheduler {address or 'is missing, which'} takes "
            + ("certificates: give authority, certificate and key" if encrypted else "no certificates; use tls://")
        )
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise InputError("a scheduler needs distributed: pip install 'voltaspin[scale]'") from None
    try:
        client = Client(
            address, timeout=ANSWERS_WITHIN, security=None if certificates is None else certificates.security()
        )
    except InputError:
        raise
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"the scheduler {address} does not answer within {ANSWERS_WITHIN:g} s ({type(error).__name__}); start it "
            "with 'dask scheduler', or leave scheduler= out"
        ) from None
    try:
        yield client
    finally:
        client.close()


def _sweep(out: Path) -> None:
    """Remove what processes of this machine left that live no more."""
    host = socket.gethostname()
    for partial in (out / "runs").glob(f".*.{host}-*.part"):
        pid = partial.name.removesuffix(".part").rpartition("-")[2]
        if pid.isdecimal() and not _lives(int(pid)):
            shutil.rmtree(partial, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
