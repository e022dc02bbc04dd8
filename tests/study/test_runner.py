"""Every run once: in processes, after a kill, on a cluster that loses a worker."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.folders import locked
from voltaspin.study.runner import Certificates, execute, finished, folder_of, prepare, shard_of
from voltaspin.study.specification import StudySpec

WORK = """
    import os, signal, time
    from pathlib import Path

    def work(run, folder):
        time.sleep(float(os.environ.get("PAUSE", "0")))
        (folder / "images.txt").write_text(run.name)
        with open(os.environ["DONE"], "a") as log:
            log.write(run.key + "\\n")
        return {"score": run.sampling_seed}

    def fatal_once(run, folder):
        marker = Path(os.environ["DONE"] + ".killed")
        if run.sampling_seed == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return work(run, folder)
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A module that other processes can import."""
    (tmp_path / "study_work.py").write_text(textwrap.dedent(WORK))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("DONE", str(tmp_path / "done.log"))
    import study_work

    yield study_work
    del sys.modules["study_work"]


def spec(**fields):
    given = {"name": "toy", "margin": 0.01, "baseline": "software", "sampling_seeds": tuple(range(5)),
             "conditions": {"software": {}, "raw": {"sample": "memory-raw"}}}  # fmt: skip
    return StudySpec(**{**given, **fields})


def done(tmp_path):
    log = tmp_path / "done.log"
    return log.read_text().split() if log.exists() else []


@pytest.mark.parametrize("workers", [1, 2])
def test_every_run_is_done_once_and_found_again(elsewhere, tmp_path, workers):
    runs, out, seen = spec().runs(), tmp_path / "out", []
    n = execute(runs, out, work=elsewhere.work, workers=workers, progress=lambda *a: seen.append(a))
    assert n == len(runs) == 10
    assert sorted(done(tmp_path)) == sorted(r.key for r in runs)
    assert seen[-1][:2] == (10, 10)
    assert execute(runs, out, work=elsewhere.work, workers=workers) == 0
    result = json.loads((out / "runs" / runs[3].key / "result.json").read_text())
    assert (result["score"], result["name"]) == (runs[3].sampling_seed, runs[3].name)
    assert len(list((out / "runs").iterdir())) == 10


def test_a_killed_study_goes_on_and_repeats_nothing(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setenv("PAUSE", "0.05")
    runs, out = spec(sampling_seeds=tuple(range(20))).runs(), tmp_path / "out"
    program = textwrap.dedent(f"""
        import study_work
        from pathlib import Path
        from tests_spec import runs
        from voltaspin.study.runner import execute
        execute(runs, Path({str(out)!r}), work=study_work.work)
    """)
    (tmp_path / "tests_spec.py").write_text(
        textwrap.dedent(f"""
        import json
        from voltaspin.study.specification import Run
        runs = [Run.from_json(r) for r in json.loads({json.dumps([r.to_json() for r in runs])!r})]
    """)
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ.copy())
    while len(done(tmp_path)) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = sum(finished(out, r) for r in runs)
    assert 4 <= before < len(runs)
    monkeypatch.setenv("PAUSE", "0")
    assert execute(runs, out, work=elsewhere.work) == len(runs) - before
    assert all(finished(out, r) for r in runs)
    assert not list((out / "runs").glob(".*"))  # nothing half done is left
    assert len(done(tmp_path)) <= len(runs) + 1  # the run in which the kill fell may have written its line


def test_what_another_process_does_now_comes_last(elsewhere, tmp_path):
    runs, out = spec().runs(), tmp_path / "out"
    prepare(out)
    mine = threading.Event()

    def other():
        with locked(out / "runs" / f".{runs[0].key}.lock", what="the first run", wait=True):
            mine.set()
            while len(done(tmp_path)) < len(runs) - 1:  # a command that waited here would never end
                time.sleep(0.01)

    holder = threading.Thread(target=other, daemon=True)
    holder.start()
    assert mine.wait(10)
    assert execute(runs, out, work=elsewhere.work) == len(runs)
    holder.join(10)
    assert done(tmp_path) == [r.key for r in (*runs[1:], runs[0])]


def in_another_process(tmp_path, runs, out, workers):
    """A program that does the runs, in a file of its own as spawned workers need it."""
    (tmp_path / "program.py").write_text(
        textwrap.dedent(f"""
        import json, sys
        import study_work
        from pathlib import Path
        from voltaspin.study.runner import execute
        from voltaspin.study.specification import Run

        if __name__ == "__main__":
            runs = [Run.from_json(r) for r in json.loads({json.dumps([r.to_json() for r in runs])!r})]
            execute(runs, Path({str(out)!r}), work=study_work.work, workers={workers})
    """)
    )
    return subprocess.Popen([sys.executable, str(tmp_path / "program.py")], stderr=subprocess.PIPE, text=True)


def children_of(pid):
    """Processes that a process started, from their names in /proc, which stay theirs when it dies."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.add(int(entry.name))
    return found


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(elsewhere, tmp_path, monkeypatch, how):
    monkeypatch.setenv("PAUSE", "30")
    process = in_another_process(tmp_path, spec().runs(), tmp_path / "out", workers=2)
    begin = time.monotonic()
    while len(list((tmp_path / "out" / "runs").glob("*.part"))) < 2:
        assert process.poll() is None
        assert time.monotonic() - begin < 120
        time.sleep(0.05)
    children = children_of(process.pid)
    assert len(children) >= 2
    process.send_signal(how)
    process.communicate(timeout=25)  # less than a run takes
    begin = time.monotonic()
    while any(lives(pid) for pid in children):
        assert time.monotonic() - begin < 20, "workers live on"
        time.sleep(0.05)


def test_ten_kills_at_random_moments_lose_and_repeat_nothing(elsewhere, tmp_path, monkeypatch):
    """One and two processes in turn; a run counts as repeated where one that was finished is done again."""
    monkeypatch.setenv("PAUSE", "0.15")
    runs, out, rng = spec(sampling_seeds=tuple(range(40))).runs(), tmp_path / "out", random.Random(1)
    kills, before = 0, {}
    while kills < 10:
        process = in_another_process(tmp_path, runs, out, workers=1 + kills % 2)
        begin, at = time.monotonic(), len(done(tmp_path)) + 1
        while len(done(tmp_path)) < at and process.poll() is None and time.monotonic() - begin < 120:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
        kills += 1
        now = {r.key: (folder_of(out, r) / "result.json").stat().st_mtime_ns for r in runs if finished(out, r)}
        assert before.items() <= now.items()
        before = now
    time.sleep(1)  # workers notice
    monkeypatch.setenv("PAUSE", "0")
    assert len(before) < len(runs)
    execute(runs, out, work=elsewhere.work)
    assert all(finished(out, r) for r in runs)
    after = {r.key: (folder_of(out, r) / "result.json").stat().st_mtime_ns for r in runs}
    assert before.items() <= after.items()
    assert not list((out / "runs").glob(".*.part"))
    repeated = len(done(tmp_path)) - len(runs)
    assert 0 <= repeated <= 15  # at most the run, or the two runs, in which a kill fell


def test_two_studies_in_one_folder_share_the_work(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setenv("PAUSE", "0.1")
    runs, out = spec().runs(), tmp_path / "out"
    prepare(out)
    threads = [threading.Thread(target=execute, args=(runs, out), kwargs={"work": elsewhere.work}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done(tmp_path)) == sorted(r.key for r in runs)


def test_a_scheduler_over_tls_takes_certificates(elsewhere, tmp_path):
    pytest.importorskip("distributed")
    runs, out = spec().runs(), tmp_path / "out"
    names = Certificates(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    with pytest.raises(InputError, match="takes certificates: give authority, certificate and key"):
        execute(runs, out, work=elsewhere.work, scheduler="tls://127.0.0.1:9")
    for address in ("tcp://127.0.0.1:9", None):
        with pytest.raises(InputError, match="no certificates; use tls://"):
            execute(runs, out, work=elsewhere.work, scheduler=address, certificates=names)
    with pytest.raises(InputError, match=r"ca\.pem does not exist"):
        execute(runs, out, work=elsewhere.work, scheduler="tls://127.0.0.1:9", certificates=names)
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_study_on_an_encrypted_cluster(elsewhere, tmp_path):
    distributed = pytest.importorskip("distributed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost"], check=True, capture_output=True,
    )  # fmt: skip
    names = Certificates(cert, cert, key)
    security = distributed.Security(
        tls_ca_file=str(cert), require_encryption=True,
        **{f"tls_{who}_{what}": str(file) for who in ("scheduler", "worker", "client")
           for what, file in (("cert", cert), ("key", key))},
    )  # fmt: skip
    runs, out = spec().runs(), tmp_path / "out"
    with distributed.LocalCluster(
        1, threads_per_worker=1, dashboard_address=None, silence_logs=50, security=security, protocol="tls://"
    ) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        made = execute(runs, out, work=elsewhere.work, scheduler=cluster.scheduler_address, certificates=names)
    assert made == len(runs)
    assert all(finished(out, r) for r in runs)


def test_shards_share_the_runs_out():
    runs = spec(sampling_seeds=tuple(range(30))).runs()
    parts = [shard_of(runs, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(r.key for p in parts for r in p) == sorted(r.key for r in runs)
    assert all(parts)
    for wrong in ("0/3", "4/3", "a/b", "1"):
        with pytest.raises(InputError, match="give i/N"):
            shard_of(runs, wrong)


def test_a_run_that_fails_leaves_nothing_and_says_why(tmp_path):
    def fails(run, folder):
        (folder / "half").write_text("")
        raise InputError("no such thing")

    with pytest.raises(InputError, match="no such thing"):
        execute(spec().runs(), tmp_path / "out", work=fails)
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_folders_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty and holds no study"):
        prepare(tmp_path / "full")
    prepare(tmp_path / "new")
    (tmp_path / "new" / "study.json").write_text('{"kind": "study-runs", "schema_version": 9}')
    with pytest.raises(InputError, match="version 9, not 'study-runs' version 1"):
        prepare(tmp_path / "new")


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_finishes(elsewhere, tmp_path):
    distributed = pytest.importorskip("distributed")
    runs, out = spec().runs(), tmp_path / "out"
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        assert execute(runs, out, work=elsewhere.fatal_once, scheduler=cluster.scheduler_address) == len(runs)
    assert (tmp_path / "done.log.killed").exists()
    assert all(finished(out, r) for r in runs)
    assert sorted(set(done(tmp_path))) == sorted(r.key for r in runs)


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_named_and_nothing_starts(tmp_path):
    pytest.importorskip("distributed")
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9 does not answer within 10 s"):
        execute(spec().runs(), tmp_path / "out", work=lambda *_: {}, scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - begin < 15
    assert not (tmp_path / "out").exists()
