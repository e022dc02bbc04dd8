"""Kill commands at random moments: one process that has imported everything forks a child for each run.

``python stopping.py FOLDER`` prints what it found as JSON; tests/test_stopping.py runs it and judges.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

# A child of a process whose OpenMP threads have worked waits for them for ever: there must be none.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from voltaspin.cli.app import main
from voltaspin.core.files import write_json
from voltaspin.core.stopping import Stopped, stoppable
from voltaspin.diffusion import TrainSpec, train
from voltaspin.diffusion.data import ImageSet
from voltaspin.noise import PseudoSource

torch.set_num_threads(1)
KILLS = 10
TIMED = ("out/train.csv", "out/run.json")  # hold wall times
chance = random.Random(20)


def child(arguments: list[str], limit: int | None = None) -> int:
    """Start a command in a process of its own; its standard error goes to ``err``."""
    # Held back until the child can answer, so that none comes to a process that has not begun its command.
    held = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
        return pid
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, signal.SIG_DFL if s != signal.SIGINT else signal.default_int_handler)
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    status = 1
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()), stoppable():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    except Stopped as stopped:
        status = stopped.status
    except BaseException as error:
        told.write(f"Traceback of {error!r}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
    with contextlib.suppress(OSError):
        os.write(ERR, told.getvalue().encode())
    os._exit(status)


def ended(pid: int) -> int:
    """Exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def said() -> str:
    os.lseek(ERR, 0, os.SEEK_SET)
    text = os.read(ERR, 10_000).decode()
    os.ftruncate(ERR, 0)
    os.lseek(ERR, 0, os.SEEK_SET)
    return text


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def hidden(folder: Path) -> set[str]:
    return {p.name for p in folder.rglob(".*") if p.name.endswith((".part", ".lock"))}


def kills(name: str, begin: list[str], go_on: list[str], home: Path, signals: list[int]) -> dict[str, object]:
    """Run whole, then kill ten times, each time going on, and compare the end with the whole run."""
    whole, parts = home / f"{name}-whole", home / f"{name}-parts"
    whole.mkdir(), parts.mkdir()
    started = time.monotonic()
    assert ended(child([*begin, str(whole / "out")])) == 0, said()
    duration = time.monotonic() - started
    statuses, told, leftovers = [], "", []
    while len(statuses) < KILLS:
        before = hidden(parts)  # what a SIGKILL left may still be there
        pid = child([*(go_on if (parts / "out").exists() else begin), str(parts / "out")])
        # A run that goes on has less to do with every kill.
        time.sleep(chance.uniform(0.02, 0.6) * duration)
        how = signals[len(statuses) % len(signals)]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        status = ended(pid)
        told += said()
        if status == 0:  # it was quicker: begin again
            shutil.rmtree(parts)
            parts.mkdir()
            continue
        statuses.append([int(how), status])
        if how != signal.SIGKILL:
            leftovers += sorted(hidden(parts) - before)
    pid = child([*(go_on if (parts / "out").exists() else begin), str(parts / "out")])
    end = ended(pid)
    told += said()
    a, b = tree(whole), tree(parts)
    return {
        "statuses": statuses, "end": end, "traceback": "Traceback" in told, "told": told[-600:],
        "leftovers": leftovers, "missing": sorted(set(a) - set(b)), "more": sorted(set(b) - set(a)),
        "different": [n for n in sorted(set(a) & set(b)) if a[n] != b[n] and n not in TIMED],
        "ledgers": [json.loads(t["out/run.json"]).get("ledger") for t in (a, b) if "out/run.json" in t],
    }  # fmt: skip


def full_disk(name: str, arguments: list[str], out: Path) -> dict[str, object]:
    """A command that may write no file of more than 900 bytes."""
    status = ended(child([*arguments, str(out)], limit=900))
    left = sorted(p.name for p in out.parent.rglob("*") if p.is_file()) if out.parent.exists() else []
    return {"name": name, "status": status, "told": said(), "left": left}


home = Path(sys.argv[1])
ERR = os.open(home / "err", os.O_RDWR | os.O_CREAT)
images = np.zeros((16, 1, 8, 8), np.uint8)
for i in range(16):
    images[i, 0, i // 4 : i // 4 + 3, i % 4 : i % 4 + 3] = 255
from PIL import Image  # noqa: E402

(home / "pictures").mkdir()
for i, image in enumerate(images):
    Image.fromarray(image[0]).save(home / "pictures" / f"{i}.png")
spec = TrainSpec(steps=2, batch=4, channels=(8, 16), norm_groups=4, warmup=1, precision="float32")
train(ImageSet(images, None, "squares", "train", "0" * 64), PseudoSource(seed=1), home / "model", spec=spec)

# Once here, so that the children find everything imported and are killed at work.
for warm in (
    [*("sample", "--model", str(home / "model"), "--noise", "software", "--count", "1", "--steps", "1", "--out"), "w1"],
    [
        *("train", "--data", str(home / "pictures"), "--noise", "software", "--batch", "2", "--steps", "1", "--out"),
        "w2",
    ],
    ["bits", "--noise", "software", "--count", "8", "--out", "w3"],
):
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([*warm[:-1], str(home / warm[-1])])

both = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
common = ["--noise", "software"]
of_train = ["train", "--data", str(home / "pictures"), "--batch", "2", "--steps", "24", "--checkpoint-every", "3"]
of_sample = ["sample", "--model", str(home / "model"), *common, "--count", "16", "--batch", "2", "--steps", "6"]
of_bits = ["bits", *common, "--count", "40000000"]
found = {
    "train": kills("train", [*of_train, "--out"], [*of_train, "--resume", "--out"], home, both),
    "sample": kills("sample", [*of_sample, "--out"], [*of_sample, "--resume", "--out"], home, both),
    "bits": kills("bits", [*of_bits, "--out"], [*of_bits, "--out"], home, both),
    "full": [
        full_disk("bits", [*of_bits, "--out"], home / "f1" / "b.bin"),
        full_disk("text", ["bits", *common, "--count", "9000", "--out"], home / "f2" / "b.txt"),
        full_disk("sample", [*of_sample, "--out"], home / "f3" / "s"),
        full_disk("train", [*of_train, "--out"], home / "f4" / "m"),
        full_disk("export", ["device", "export", "--format", "ngspice", "--out"], home / "f5" / "cell.sp"),
        full_disk("randomness", ["randomness", "--source", "software", "--bits", "20000", "--figure"],
                  home / "f6" / "r.png"),
    ],
}  # fmt: skip
write_json(home / "found.json", found)
print(json.dumps(found))
