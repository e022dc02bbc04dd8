"""Odd command lines and damaged files: refused in one line with status 2, or carried out; nothing else.

``VOLTASPIN_FUZZ=20000 pytest tests/fuzz`` tries more than the 2,100 inputs of the usual run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import inputs  # noqa: E402
from readers import GOOD  # noqa: E402

TOTAL = int(os.environ.get("VOLTASPIN_FUZZ", "2100"))
BATCH = 20  #: inputs of one hypothesis example, shared by the workers
WORKERS = 2
PEAK = 3 << 30  #: bytes of memory that no input may reach
DOCUMENTED = {0, 2, 130, 129, 143}


class Worker:
    """A warm process that carries out one input at a time in a child of its own."""

    def __init__(self) -> None:
        read, write = os.pipe()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), str(write)], stdin=subprocess.PIPE, pass_fds=(write,), text=True,
            env=environment,
        )  # fmt: skip
        os.close(write)
        self.answers = os.fdopen(read)
        assert json.loads(self.answers.readline()) == {"ready": True}

    def run(self, folder: Path, call: list[str]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"folder": str(folder), "call": call}) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.answers.readline()))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.answers.close()


@pytest.fixture(scope="module")
def pool():
    """Runs inputs on all workers; counts what was tried and what was accepted."""
    workers: SimpleQueue[Worker] = SimpleQueue()
    with ThreadPoolExecutor(WORKERS) as threads:
        for worker in threads.map(lambda _: Worker(), range(WORKERS)):
            workers.put(worker)
        counts: Counter[str] = Counter()
        lock = threading.Lock()

        def one(check):
            worker = workers.get()
            try:
                accepted = check(worker)
            finally:
                workers.put(worker)
            with lock:
                counts["tried"] += 1
                counts["accepted"] += accepted

        yield lambda checks: list(threads.map(one, checks)), counts
        while not workers.empty():
            workers.get().close()


def judged(answer: dict[str, Any], what: str) -> bool:
    """Whether the input was accepted; fails where it was neither accepted nor refused as promised."""
    err = answer["err"]
    status = answer["status"]
    assert "Traceback" not in err, f"{what}: traceback\n{err}"
    assert status in DOCUMENTED, f"{what}: status {status} after {answer['seconds']:.1f} s\n{err}"
    assert answer["peak"] < PEAK, f"{what}: {answer['peak'] >> 20} MiB"
    assert "Warning" not in err, f"{what}: a library's warning\n{err}"
    if status == 2:
        lines = err.rstrip("\n").split("\n")
        assert len(lines) == 1, f"{what}: {len(lines)} lines on standard error\n{err}"
        assert lines[0].startswith("voltaspin: "), f"{what}: {err}"
        assert answer["out"] == "", f"{what}: refused, yet it printed\n{answer['out']}"
    return bool(status == 0)


def try_command(line: list[str]):
    def check(worker: Worker) -> bool:
        what = "voltaspin " + " ".join(map(repr, line))
        folder = Path(tempfile.mkdtemp(prefix="voltaspin-fuzz-"))
        try:
            inputs.prepare(folder)
            before = inputs.snapshot(folder)
            answer = worker.run(folder, ["cli", *line])
            after = inputs.snapshot(folder)
            accepted = judged(answer, what)
            lost = {name for name in before if after.get(name) != before[name]}
            forced = any(word.startswith("--force") for word in line)
            assert forced or not lost, f"{what}: changed or lost {sorted(lost)}"
            if answer["status"] == 2:
                assert after.keys() <= before.keys(), f"{what}: left {sorted(after.keys() - before.keys())}"
            left = [name for name in after if ".part" in name or name.endswith(".lock")]
            assert not left, f"{what}: left {left}"
            return accepted
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return check


def try_reader(kind: str, how: str, where: int):
    def check(worker: Worker) -> bool:
        folder = Path(tempfile.mkdtemp(prefix="voltaspin-fuzz-"))
        try:
            source = inputs.SAMPLES / GOOD[kind]
            target = folder / source.name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
                for beside in source.parent.glob(source.name + ".json"):
                    shutil.copyfile(beside, folder / beside.name)
            inputs.damage(target, how, where)
            return judged(worker.run(folder, ["read", kind, target.name]), f"{kind} damaged by {how!r} at {where}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return check


COMMANDS = inputs.commands()
QUIET = settings(
    max_examples=max(1, TOTAL // 2 // BATCH), derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("line", inputs.ACCEPTED, ids=" ".join)
def test_what_the_fuzzer_changes_is_accepted_as_it_stands(line, pool):
    run, _ = pool

    def check(worker):
        assert try_command(line)(worker)
        return True

    run([check])


@pytest.mark.slow
@pytest.mark.parametrize("line", inputs.REFUSED, ids=" ".join)
def test_what_must_be_refused_is_refused(line, pool):
    run, _ = pool

    def check(worker):
        assert not try_command(line)(worker)
        return False

    run([check])


@pytest.mark.slow
@pytest.mark.parametrize("kind", GOOD)
def test_files_of_0_1_0_are_read(kind, pool):
    run, _ = pool

    def check(worker):
        assert judged(worker.run(inputs.SAMPLES / Path(GOOD[kind]).parent, ["read", kind, Path(GOOD[kind]).name]), kind)
        return True

    run([check])


@pytest.mark.slow
@QUIET
@given(lines=st.lists(inputs.command_lines(COMMANDS), min_size=BATCH, max_size=BATCH))
def test_any_command_line_is_carried_out_or_refused_in_one_line(lines, pool):
    run, _ = pool
    run([try_command(line) for line in lines])


@pytest.mark.slow
@QUIET
@given(damages=st.lists(inputs.damaged(), min_size=BATCH, max_size=BATCH))
def test_any_damaged_file_is_read_or_refused_in_one_line(damages, pool):
    run, _ = pool
    run([try_reader(*one) for one in damages])


@pytest.mark.slow
def test_enough_was_tried_and_enough_was_accepted(pool):
    _, counts = pool
    if counts["tried"] < 100:
        pytest.skip("the other tests of this file did not run")
    print(dict(counts))
    assert counts["tried"] >= min(TOTAL, 2000)
    assert counts["accepted"] >= 300
