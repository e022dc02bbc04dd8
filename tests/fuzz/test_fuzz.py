"""Odd command lines and damaged files: refused in one line with status 2, or carried out; nothing else.

``VOLTASPIN_FUZZ=20000 pytest tests/fuzz`` tries more than the 2,100 inputs of the usual run. Failures are gathered and
printed by kind at the end, one example of each: a first one would hide the others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import inputs  # noqa: E402
import readers  # noqa: E402
from known import KNOWN  # noqa: E402

TOTAL = int(os.environ.get("VOLTASPIN_FUZZ", "2100"))
BATCH = 20  #: inputs of one hypothesis example, shared by the workers
WORKERS = 2
PEAK = 3 << 30  #: bytes of memory that no input may reach
DOCUMENTED = {0, 2, 129, 130, 143}

T = TypeVar("T")

pytestmark = pytest.mark.slow


class Worker:
    """One of the lines to the warm process; carries out an input at a time."""

    def __init__(self, asks: int, answers: int) -> None:
        self.asks, self.answers = os.fdopen(asks, "w", buffering=1), os.fdopen(answers)

    def wait(self) -> Worker:
        readers.MADE[:] = [Path(json.loads(self.answers.readline())["made"])]  # making them again takes seconds
        return self

    def run(self, folder: Path, call: list[str]) -> dict[str, Any]:
        print(json.dumps({"folder": str(folder), "call": call}), file=self.asks)
        return dict(json.loads(self.answers.readline()))

    def close(self) -> None:
        self.asks.close()
        self.answers.close()


@dataclass
class Tried:
    """What was tried and what came of it."""

    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    slowest: tuple[float, str] = (0.0, "")
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    seen: set[Any] = field(default_factory=set)
    lock: Any = field(default_factory=threading.Lock)

    def add(self, what: str, answer: dict[str, Any], failure: str | None) -> None:
        with self.lock:
            self.inputs += 1
            self.accepted += answer["status"] == 0 and failure is None
            self.seconds += answer["seconds"]
            self.processor += answer["processor"]
            self.slowest = max(self.slowest, (answer["processor"], what))
            if failure is not None:
                self.failures[kind_of(failure)].append(f"{what}: {failure}")

    def unknown(self) -> dict[str, list[str]]:
        """The failures that are not on the list of known ones."""
        return {
            kind: texts for kind, texts in self.failures.items() if not any(re.search(k, kind) for k in KNOWN.values())
        }

    def report(self) -> str:
        lines = [
            f"{self.inputs} inputs, {self.accepted} accepted, {sum(map(len, self.failures.values()))} failed in "
            f"{len(self.failures)} kinds; {self.seconds:.0f} s, {self.processor:.0f} processor s in children, the "
            f"slowest {self.slowest[0]:.1f} s: {self.slowest[1][:200]}"
        ]
        for area, pattern in KNOWN.items():
            if count := sum(len(texts) for kind, texts in self.failures.items() if re.search(pattern, kind)):
                lines.append(f"known, in {area}: {count}")
        return "\n".join(lines)


def kind_of(failure: str) -> str:
    """What failures of one cause have in common: the kind of failure, and where a traceback ends in the package."""
    places = re.findall(r'/voltaspin/([\w/]+\.py)", line \d+, in (\w+)', failure)
    first = failure.split("\n")[0]
    if not places:
        return first
    last = failure.rstrip().split("\n")[-1].split(":")[0]
    return f"{first} {places[-1][0]} {places[-1][1]} {last}"


def judged(answer: dict[str, Any]) -> str | None:
    """Why an answer is neither acceptance nor a refusal as promised; None where it is one."""
    err, status = answer["err"], answer["status"]
    if "Traceback" in err:
        return f"traceback\n{err}"
    if status not in DOCUMENTED:
        return f"status {status}\nafter {answer['processor']:.1f} processor s, {answer['seconds']:.1f} s\n{err}"
    if answer["peak"] > PEAK:
        return f"memory\n{answer['peak'] >> 20} MiB"
    if "Warning" in err:
        return f"warning of a library\n{err}"
    if "not enough memory" in err:
        return f"memory asked for before it was estimated\n{err}"
    if status == 2 and not err and "Usage:" in answer["out"]:
        return None  # a group of commands without one of them prints its help
    if status == 2:
        lines = err.rstrip("\n").split("\n")
        if len(lines) != 1 or not lines[0].startswith("voltaspin: "):
            return f"refused in other than one line\n{err}"
        if any(not c.isprintable() for c in lines[0]):
            return f"refused with control characters\n{err!r}"
        if answer["out"]:
            return f"refused, yet it printed\n{answer['out']}"
    return None


def try_command(worker: Worker, line: Sequence[str], tried: Tried) -> bool:
    """Whether a command line was accepted."""
    what = "voltaspin " + " ".join(map(repr, line))
    folder = Path(tempfile.mkdtemp(prefix="voltaspin-fuzz-"))
    try:
        inputs.prepare(folder)
        before = inputs.snapshot(folder)
        answer = worker.run(folder, ["cli", *line])
        after = inputs.snapshot(folder)
        failure = judged(answer)
        lost = sorted(name for name in before if after.get(name) != before[name])
        left = sorted(after.keys() - before.keys())
        command = " ".join(word for word in line[:2] if word.isalpha())
        if failure is None and lost and not any(word.startswith("--f") for word in line):
            failure = f"{command} changed or lost files\n{lost}"
        if failure is None and answer["status"] == 2 and left:
            failure = f"{command} refused, yet it left files\n{left}\n{answer['err']}"
        if failure is None and any(".part" in name or name.endswith(".lock") for name in left):
            failure = f"{command} left temporary files\n{left}"
        tried.add(what, answer, failure)
        return answer["status"] == 0 and failure is None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_reader(worker: Worker, one: tuple[str, str, int], tried: Tried) -> bool:
    """Whether a damaged file was read."""
    kind, how, where = one
    folder = Path(tempfile.mkdtemp(prefix="voltaspin-fuzz-"))
    try:
        target = readers.copied(kind, folder)
        inputs.damage(target, how, where)
        answer = worker.run(folder, ["read", kind, target.name])
        failure = judged(answer)
        tried.add(f"{kind} damaged by {how!r} at {where}", answer, failure)
        return answer["status"] == 0 and failure is None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pool():
    """``run(try, inputs)`` on all workers; gives the results in order and gathers what came of them."""
    mine, theirs = [], []
    for _ in range(WORKERS):
        (asked, asks), (answers, told) = os.pipe(), os.pipe()
        mine.append((asks, answers)), theirs.append((asked, told))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, str(HERE / "worker.py"), *(f"{a},{b}" for a, b in theirs)],
        pass_fds=[fd for pair in theirs for fd in pair], env=environment,
    )  # fmt: skip
    for fd in [fd for pair in theirs for fd in pair]:
        os.close(fd)
    workers = [Worker(*pair).wait() for pair in mine]
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)
    tried = Tried()
    with ThreadPoolExecutor(WORKERS) as threads:

        def one(attempt, what):
            worker = free.get()
            try:
                return attempt(worker, what, tried)
            finally:
                free.put(worker)

        yield (lambda attempt, all_: list(threads.map(lambda what: one(attempt, what), all_))), tried
    for worker in workers:
        worker.close()
    process.wait()


COMMANDS = inputs.commands()
QUIET = settings(
    max_examples=max(1, TOTAL // 2 // BATCH), derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def test_what_the_fuzzer_changes_is_accepted_as_it_stands(pool):
    run, tried = pool
    results = run(try_command, inputs.ACCEPTED)
    assert all(results), [line for line, ok in zip(inputs.ACCEPTED, results, strict=True) if not ok]
    assert not tried.unknown()


def test_what_must_be_refused_is_refused(pool):
    run, _ = pool
    lines = inputs.REFUSED + inputs.NUMBERS_REFUSED
    results = run(try_command, lines)
    assert not any(results), [line for line, ok in zip(lines, results, strict=True) if ok]


def test_every_number_of_a_memory_command_is_among_what_must_be_refused():
    texts = {"--model", "--array", "--out", "--figure", "--macro", "--published", "--set", "--mapping", "--endurance"}
    texts |= {"--fail-on"}
    asked = {}
    for path, command in COMMANDS.items():
        if path[:1] == ("memory",) and len(path) == 2:
            options = {p.opts[0] for p in command.params if p.opts[0].startswith("--") and not p.is_flag}
            asked[path[1]] = options - texts - {"--help"}
    assert asked == {"coverage": set()} | {c[0]: set(options) for c, options in inputs.MEMORY_REFUSED.items()}


def test_files_that_are_whole_are_read(pool):
    run, _ = pool
    kinds = sorted(readers.GOOD)
    results = run(try_reader, [(kind, "none", 0) for kind in kinds])
    assert all(results), [kind for kind, ok in zip(kinds, results, strict=True) if not ok]


def unseen(draw: Callable[[], T], seen: set[T]) -> list[T]:
    """A batch of inputs that were not tried yet; Hypothesis alone would repeat most of them."""
    batch: list[T] = []
    while len(batch) < BATCH:
        if (one := draw()) not in seen:
            seen.add(one)
            batch.append(one)
    return batch


@QUIET
@given(rng=st.randoms(use_true_random=True))
def test_any_command_line_is_carried_out_or_refused(rng, pool):
    run, tried = pool
    run(try_command, unseen(lambda: inputs.command_line(rng, COMMANDS), tried.seen))


@QUIET
@given(rng=st.randoms(use_true_random=True))
def test_any_damaged_file_is_read_or_refused(rng, pool):
    run, tried = pool
    run(try_reader, unseen(lambda: inputs.damaged(rng), tried.seen))


def test_nothing_else_came_of_it_and_enough_was_tried(pool, capsys):
    _, tried = pool
    with capsys.disabled():
        print(f"\n{tried.report()}")
    unknown = tried.unknown()
    if unknown:
        told = (f"{len(texts)} times {kind}\n{min(texts, key=len)}" for kind, texts in sorted(unknown.items()))
        pytest.fail("\n\n".join([f"{len(unknown)} kinds of failure", *told]), pytrace=False)
    if tried.inputs > 1000:  # else other tests of this file were left out
        assert tried.inputs >= min(TOTAL, 2000)
        assert tried.accepted >= 300
