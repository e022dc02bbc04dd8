"""Run inputs, each in a forked child of a warm process, with a limit on time, processor time and memory.

Each argument is a pair of file descriptors, ``3,6``, that is served on its own. One JSON object a line comes in on
the first, ``{"folder": ..., "call": [...]}``, and one goes out on the second. ``call`` is ``["cli", "bits", ...]``,
or ``["read", KIND, PATH]`` for a reader of :mod:`readers`.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

SECONDS = 120  #: wall clock of one input, on a machine that does much else
PROCESSOR = 20  #: processor seconds of one input
MEMORY = 2 << 30  #: bytes of address space that an input may add to those of the warm process
TRACEBACK = 70  #: exit status of a child that ended in an exception nobody caught
HERE = Path(__file__).parent


def warm_up() -> None:
    """Import and compute once what commands need, so that a child only runs its input."""
    import importlib
    import pkgutil

    import torch

    torch.set_num_threads(1)
    import voltaspin

    for module in pkgutil.walk_packages(voltaspin.__path__, "voltaspin."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    sys.path.insert(0, str(HERE))
    import inputs
    import readers

    # What compiles or solves on its first use is kept by the process, and every child has it.
    back = Path.cwd()
    with tempfile.TemporaryDirectory() as name, silence():
        for k, line in enumerate(inputs.ACCEPTED):
            inputs.prepare(folder := Path(name) / f"command-{k}")
            os.chdir(folder)
            carry_out(["cli", *line])
        for kind in readers.GOOD:
            (folder := Path(name) / f"reader-{kind}").mkdir()
            os.chdir(folder)
            carry_out(["read", kind, str(readers.copied(kind, folder))])
        os.chdir(back)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page


@contextlib.contextmanager
def silence() -> Iterator[None]:
    with (
        Path(os.devnull).open("w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        yield


def carry_out(call: list[str]) -> int:
    """The exit status of one input."""
    # A terminal shows a warning once; here each one is text on standard error, where there must be one line at most.
    warnings.simplefilter("default")
    try:
        if call[0] == "cli":
            from voltaspin.cli.app import main

            main(call[1:])
        else:
            from readers import READERS

            READERS[call[1]](Path(call[2]))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        from voltaspin.core.errors import InputError

        if call[0] == "read" and isinstance(error, InputError):
            print(f"voltaspin: {error}", file=sys.stderr)
            return 2
        traceback.print_exc()
        return TRACEBACK
    return 0


def child(folder: str, call: list[str], out: int, err: int) -> None:
    """Never returns."""
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0, closefd=False), write_through=True, encoding="utf-8")
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0, closefd=False), write_through=True, encoding="utf-8",
                                  errors="backslashreplace")  # fmt: skip
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + MEMORY, virtual + MEMORY))
    used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + PROCESSOR, used + PROCESSOR + 5))
    signal.alarm(SECONDS)
    status = TRACEBACK
    try:
        status = carry_out(call)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def run(folder: str, call: list[str]) -> dict[str, object]:
    out, err = (os.memfd_create(name) for name in ("out", "err"))
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(folder, call, out, err)
    _, status, usage = os.wait4(pid, 0)
    texts = []
    for file in (out, err):
        os.lseek(file, 0, os.SEEK_SET)
        texts.append(os.read(file, 1 << 16).decode("utf-8", "backslashreplace"))
        os.close(file)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - begin,
        "processor": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
        "out": texts[0],
        "err": texts[1],
    }


def serve(asks: int, answers: int) -> None:
    """Carry out what one file descriptor asks until it is closed; says first where the files of the readers lie."""
    import readers

    with os.fdopen(answers, "w", buffering=1) as told, os.fdopen(asks) as asked:
        print(json.dumps({"made": str(readers.made())}), file=told)
        for line in asked:
            one = json.loads(line)
            print(json.dumps(run(one["folder"], one["call"])), file=told)


if __name__ == "__main__":
    pairs = [tuple(map(int, pair.split(","))) for pair in sys.argv[1:]]
    warm_up()
    children = []
    for k, pair in enumerate(pairs):
        if (pid := os.fork()) == 0:
            for other in pairs[:k] + pairs[k + 1 :]:
                os.close(other[0]), os.close(other[1])
            serve(*pair)
            os._exit(0)
        children.append(pid)
    for pair in pairs:
        os.close(pair[0]), os.close(pair[1])
    for pid in children:
        os.waitpid(pid, 0)
