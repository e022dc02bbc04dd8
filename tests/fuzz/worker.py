"""Run inputs one by one, each in a forked child of a warm process, with a limit on time, processor time and memory.

One JSON object a line comes in on standard input, ``{"folder": ..., "call": [...]}``; one goes out on the file
descriptor that the first argument names. ``call`` is ``["cli", "bits", "--out", ...]``, or ``["read", KIND, PATH]`` for
a reader of :mod:`readers`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

SECONDS = 30  #: wall clock of one input
PROCESSOR = 20  #: processor seconds of one input
MEMORY = 2 << 30  #: bytes of address space that an input may add to those of the warm process
TRACEBACK = 70  #: exit status of a child that ended in an exception nobody caught


def warm_up() -> None:
    """Import what commands import, so that a child only runs its input."""
    import torch

    torch.set_num_threads(1)
    import importlib
    import pkgutil

    import voltaspin

    for module in pkgutil.walk_packages(voltaspin.__path__, "voltaspin."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    import tempfile

    # what compiles or solves on its first use is kept by the process, and every child has it
    for call in (["device", "--devices", "8"], ["bits", "--count", "64", "--noise", "memory", "--out", "a.bin"]):
        with tempfile.TemporaryDirectory() as folder:
            back = Path.cwd()
            os.chdir(folder)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                carry_out(["cli", *call])
            os.chdir(back)


def carry_out(call: list[str]) -> int:
    """The exit status of one input."""
    # A terminal shows a warning once; here each one is text on standard error, where there must be one line at most.
    warnings.simplefilter("default")
    try:
        if call[0] == "cli":
            from voltaspin.cli import main

            main(call[1:])
        else:
            sys.path.insert(0, str(Path(__file__).parent))
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
        "peak": usage.ru_maxrss * 1024,
        "out": texts[0],
        "err": texts[1],
    }


if __name__ == "__main__":
    answers = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    warm_up()
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(run(asked["folder"], asked["call"])), file=answers)
