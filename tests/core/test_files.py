import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from voltaspin.core import files
from voltaspin.core.errors import InputError
from voltaspin.core.files import cached, opened_whole, parse_json, read_json, read_object, replacing, write_bytes
from voltaspin.core.folders import RECORD, OutputFolder, claim_file, locked


def listed(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a") as part:
        (part.write_text("new"), part.with_name("missing").read_text())
    assert (tmp_path / "a").read_text() == "old"
    assert listed(tmp_path) == ["a"]


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_fifo_takes_the_bytes_and_stays(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    with opened_whole(fifo) as file:
        file.write(b"bits")
    reader.join()
    assert got == [b"bits"]
    assert fifo.is_fifo()


def test_a_device_stays_a_device():
    write_bytes("/dev/null", b"bits")
    assert not os.path.isfile("/dev/null")  # noqa: PTH113


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}', '{"a": 1, "a": 2}', "[" * 100_000, '{"a":' * 100_000,
     "1" * 10_000, '"\\ud800', "\x00"],
)  # fmt: skip
def test_json_that_is_none_is_refused_in_one_line(text, tmp_path):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(InputError) as refused:
        read_object(file)
    assert "\n" not in str(refused.value)


def test_json_with_brackets_in_its_texts_is_not_deep():
    assert parse_json(json.dumps({"a": "[" * 1000, "b": '\\"{{{'}), where="x") == {"a": "[" * 1000, "b": '\\"{{{'}


@pytest.mark.parametrize("text", ["[]", "null", "3", '"a"', "true"])
def test_an_object_is_asked_for(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="not an object"):
        read_object(tmp_path / "x.json")


def test_a_damaged_cache_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path))
    made = []

    def value():
        return cached("k", {"a": 1}, suffix=".json", read=read_json, make=lambda: made.append(1) or [1, 2],
                      write=lambda p, v: p.write_text(json.dumps(v)))  # fmt: skip

    assert value() == value() == [1, 2]
    assert len(made) == 1
    file, mark = sorted((tmp_path / "k").iterdir())
    for damage in ("[1,", "[1, 3]", ""):  # cut, changed, emptied
        file.write_text(damage)
        made.clear()
        assert value() == [1, 2]
        assert len(made) == 1
    mark.write_text("")
    assert value() == [1, 2]
    assert len(made) == 2


HOLD = """
import sys, time
from voltaspin.core.folders import locked
with locked(sys.argv[1], what="it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_dies_with_its_process(tmp_path):
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another process"), locked(lock, what="it"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with locked(lock, what="it"):
        pass
    assert listed(tmp_path) == []


def test_waiting_for_a_lock_never_lets_two_in(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(50):
            with locked(tmp_path / "lock", what="it", wait=True):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0)
                inside.pop()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert max(most) == 1


def fill(path, names, *, arguments=None, finish=True, **how):
    with OutputFolder.claim(path, command="sample", arguments=arguments or {"seed": 0}, **how) as out:
        out.plan(names)
        for name in names:
            out.write_bytes(name, b"x")
        if finish:
            out.finish()


def test_a_folder_of_somebody_else_is_refused_and_stays(tmp_path):
    (tmp_path / "image-000000.png").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        fill(tmp_path, ["image-000000.png"])
    with pytest.raises(InputError, match="did not make"):
        fill(tmp_path, ["image-000000.png"], force=True)
    fill(tmp_path, ["image-000001.png"], force=True)
    assert (tmp_path / "image-000000.png").read_text() == "mine"
    assert listed(tmp_path) == ["image-000000.png", "image-000001.png", RECORD]


def test_the_same_command_replaces_its_own_files_and_no_others(tmp_path):
    fill(tmp_path / "out", ["a", "b/c"])
    (tmp_path / "out" / "d").write_text("mine")
    fill(tmp_path / "out", ["a"])
    assert listed(tmp_path / "out") == ["a", "d", RECORD]
    assert (tmp_path / "out" / "d").read_text() == "mine"
    with pytest.raises(InputError, match="another run of 'sample'"):
        fill(tmp_path / "out", ["a"], arguments={"seed": 1})
    fill(tmp_path / "out", ["e"], arguments={"seed": 1}, force=True)
    assert listed(tmp_path / "out") == ["d", "e", RECORD]


def test_a_killed_run_owns_what_it_planned(tmp_path):
    fill(tmp_path, ["a"], finish=False)
    assert read_json(tmp_path / RECORD) == {
        "command": "sample", "arguments": {"seed": 0}, "finished": False, "files": ["a"]
    }  # fmt: skip
    with OutputFolder.claim(tmp_path, command="sample", arguments={"seed": 0}) as out:
        assert out.same_run
        assert out.owns("a")


def test_a_refused_command_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError), OutputFolder.claim(tmp_path / "a" / "b", command="x", arguments={}):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_one_job_at_a_time_and_another_beside_it(tmp_path):
    how = {"command": "sample", "arguments": {}}
    with OutputFolder.claim(tmp_path, job="1/2", **how) as one:
        one.plan(["a"])
        with pytest.raises(InputError, match="another process"), OutputFolder.claim(tmp_path, job="1/2", **how):
            pass
        with OutputFolder.claim(tmp_path, job="2/2", **how) as two:
            two.plan(["b"])
    assert read_json(tmp_path / RECORD)["files"] == ["a", "b"]


def test_a_hostile_record_names_no_file_outside_its_folder(tmp_path):
    (tmp_path / "mine").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / RECORD).write_text(json.dumps({"command": "sample", "arguments": {"seed": 0},
                                          "files": ["../mine", str(tmp_path / "mine"), 3, ""]}))  # fmt: skip
    fill(out, ["a"])
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_that_exists_is_not_overwritten(tmp_path):
    file, sidecar = tmp_path / "x.bin", tmp_path / "x.bin.json"
    file.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        claim_file(file, force=False)
    sidecar.write_text('{"command": "bits"}')
    with pytest.raises(InputError, match="exists"):
        claim_file(file, force=False, command="randomness", sidecar=sidecar)
    assert claim_file(file, force=False, command="bits", sidecar=sidecar) == file
    assert claim_file(file, force=True) == file
    assert str(claim_file("/dev/null", force=False)) == "/dev/null"


def test_a_fifo_waits_for_its_reader_and_not_for_ever(tmp_path, monkeypatch):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    monkeypatch.setattr(files, "READER_WITHIN", 0.2)
    with pytest.raises(InputError, match=r"nobody has read within 0\.2 s"):
        write_bytes(fifo, b"lost")
    monkeypatch.setattr(files, "READER_WITHIN", 30.0)
    read = []
    late = threading.Thread(target=lambda: (time.sleep(0.3), read.append(fifo.read_bytes())))
    late.start()
    write_bytes(fifo, b"x" * 200_000)  # more than a pipe holds
    late.join(20)
    assert read == [b"x" * 200_000]
