"""A set of images from its parts: the parts of one run, each image once, nothing missing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from voltaspin.cli.app import main
from voltaspin.diffusion.pictures import stretches

COMMON = ["--noise", "software", "--steps", "2", "--batch", "2", "--count", "6"]


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards in folders of their own, and the undivided run."""
    home = tmp_path_factory.mktemp("parts")
    for k in (1, 2, 3):
        with pytest.raises(SystemExit) as ended:
            main(["sample", *COMMON, "--shard", f"{k}/3", "--out", str(home / f"p{k}")])
        assert ended.value.code == 0
    with pytest.raises(SystemExit):
        main(["sample", *COMMON, "--out", str(home / "whole")])
    return home


def images(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("image-*.png")}


def test_shards_of_several_machines_become_the_set_of_one_run(
    capsys: pytest.CaptureFixture[str], parts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    status, said, err = call(capsys, "merge", parts / "p2", parts / "p3", parts / "p1", "--out", out, "--json")
    assert status == 0, err
    assert images(out) == images(parts / "whole")
    record, whole = json.loads(said), json.loads((parts / "whole" / "run.json").read_text())
    assert record["ledger"] == whole["ledger"]
    for name in ("images", "steps", "seed", "noise", "sampler", "normals_per_image", "provenance", "finished"):
        assert record[name] == whole[name], name
    assert (out / "grid.png").read_bytes() == (parts / "whole" / "grid.png").read_bytes()
    status, said, err = call(capsys, "evaluate", out)
    assert status == 0, err


def test_what_is_missing_overlaps_or_is_of_another_run_is_named(
    capsys: pytest.CaptureFixture[str], parts: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(parts / "p2", copy)
    other = tmp_path / "other"
    assert call(capsys, "sample", *COMMON, "--seed", "1", "--shard", "3/3", "--out", other)[0] == 0
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "run.json").write_text('{"command": "train", "files": []}')
    for given, words in (
        ([parts / "p1", parts / "p3"], "images 2 to 3 of 0 to 5 are in none of the parts (shard 2/3 is missing)"),
        ([parts / "p1", parts / "p2", copy, parts / "p3"], "overlap: both hold images 2 to 3"),
        ([parts / "p1", parts / "whole"], "overlap: both hold images 0 to 1"),
        ([parts / "p1", parts / "p2", other], "are of different runs: provenance"),
        ([parts / "p1", pictures], "is no part of a run of a Gaussian model"),
        ([parts / "p1"], "at least two folders"),
    ):
        status, out, err = call(capsys, "merge", *given, "--out", tmp_path / "set")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert words in err
        assert not (tmp_path / "set").exists()


def test_a_set_that_lacks_a_shard_is_not_scored(
    capsys: pytest.CaptureFixture[str], parts: Path, tmp_path: Path
) -> None:
    together = tmp_path / "together"
    for k in (1, 3):
        assert call(capsys, "sample", *COMMON, "--shard", f"{k}/3", "--out", together)[0] == 0
    status, out, err = call(capsys, "evaluate", together)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "lacks shard 2/3 and images 2 to 3 of 0 to 5; run the command that samples them again for shard 2/3" in err
    assert call(capsys, "sample", *COMMON, "--shard", "2/3", "--out", together)[0] == 0
    assert call(capsys, "evaluate", together)[0] == 0
    assert images(together) == images(parts / "whole")


def test_stretches_of_one_run_merge_too(capsys: pytest.CaptureFixture[str], parts: Path, tmp_path: Path) -> None:
    for first in (0, 4):
        arguments = [*COMMON[:-1], "2" if first else "4", "--first", first, "--out", tmp_path / str(first)]
        assert call(capsys, "sample", *arguments)[0] == 0
    status, _, err = call(capsys, "merge", tmp_path / "0", tmp_path / "4", "--out", tmp_path / "set")
    assert status == 0, err
    assert images(tmp_path / "set") == images(parts / "whole")


def test_stretches_are_said_in_words() -> None:
    assert stretches([3]) == "3"
    assert stretches([1, 2, 3, 7]) == "1 to 3 and 7"
    assert stretches([0, 2, 4, 6, 8]) == "0, 2, 4, 6 and more"
    assert stretches([]) == "none"
