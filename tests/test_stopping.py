"""Kills at random moments and a full disk: nothing half written, nothing lost, and the same bytes in the end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

KILLS = 10


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    home = tmp_path_factory.mktemp("stopping")
    script = Path(__file__).with_name("stopping.py")
    done = subprocess.run([sys.executable, str(script), str(home)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((home / "found.json").read_text())


@pytest.mark.parametrize("command", ["train", "sample", "bits"])
def test_ten_kills_change_nothing_in_the_end(found, command):
    told = found[command]
    assert len(told["statuses"]) == KILLS
    # SIGKILL 9 cannot be caught; SIGTERM, SIGHUP and Ctrl-C end with 128 and their number
    assert all(status in ((-how,) if how == 9 else (128 + how,)) for how, status in told["statuses"])
    assert told["end"] == 0, told["told"]
    assert not told["traceback"], told["told"]
    assert (told["missing"], told["more"], told["different"], told["leftovers"]) == ([], [], [], [])
    if told["ledgers"]:
        assert told["ledgers"][0] == told["ledgers"][1]


def test_a_full_disk_is_one_line_and_leaves_nothing(found):
    assert len(found["full"]) == 6
    for run in found["full"]:
        assert run["status"] == 2, run
        assert run["told"].count("\n") == 1, run
        assert "free some space" in run["told"]
        # a training keeps its record, which is written before the first checkpoint and lets it begin again
        assert set(run["left"]) <= ({"train.csv", "run.json", "train.json"} if run["name"] == "train" else set()), run
