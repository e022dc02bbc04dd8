"""Several processes train one model: each draws for its own examples, one writes, and together they are one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]

#: What each process does; it leaves a record of its draws in ``RANK.json``.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from voltaspin.core.errors import InputError
from voltaspin.core.folders import OutputFolder
from voltaspin.diffusion import TrainSpec, inplace, train
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.ranks import Ranks
from voltaspin.noise import PseudoSource, build

out, job = Path(sys.argv[1]), json.loads(sys.argv[2])
ranks, drawn, claims = Ranks.here(), [], []

class Watched(PseudoSource):
    def normal(self, shape, *, streams=None, step=None):
        drawn.extend([int(s), int(step)] for s in streams)
        return super().normal(shape, streams=streams, step=step)

claim = OutputFolder.claim
OutputFolder.claim = lambda *a, **k: (claims.append(1), claim(*a, **k))[1]
pixels = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8)).astype(np.uint8)
images = ImageSet(pixels, np.arange(64) % 3, "squares", "train", "0" * 64)
fields = dict(channels=(8, 16), norm_groups=4, batch=8, steps=4, warmup=0, precision="float32", checkpoint_every=100)
noise = job.pop("noise", "")
stop_at, kill = job.pop("stop_at", None), job.pop("kill", 0)
resume = job.pop("resume", False)

def progress(step, steps, loss):
    if step == stop_at and ranks.rank == kill:
        os.kill(os.getpid(), signal.SIGTERM)

found = {"world": ranks.count, "rank": ranks.rank}
try:
    spec = TrainSpec(**{**fields, **job})
    source = build(noise, seed=1) if noise else Watched(seed=1)
    result = train(images, source, out / "m", spec=spec, progress=progress, resume=resume)
    found |= {"ledger": source.ledger.totals(), "whole": result.ledger, "step": result.step, "loss": result.loss,
              "finished": result.finished, "processes": result.processes}
except InputError as error:
    found["error"] = str(error)
(out / f"{ranks.rank}.json").write_text(json.dumps({**found, "drawn": drawn, "claims": len(claims)}))
ranks.leave()
"""


def trained(out: Path, processes: int, **job: Any) -> list[dict[str, Any]]:
    """Train in so many processes; what each of them recorded."""
    out.mkdir(exist_ok=True)
    script = out / "train.py"
    script.write_text(SCRIPT)
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", "0"]
    launcher += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    environment.pop("WORLD_SIZE", None)
    subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), str(script), str(out), json.dumps(job)],
        check=True, capture_output=True, timeout=300, env=environment,
    )  # fmt: skip
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(processes)]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "m" / "unet" / "diffusion_pytorch_model.safetensors")


def assert_close(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    # The sum over a batch is taken in another order: some roundings of float32 in four steps of Adam.
    assert all(torch.allclose(first[k], second[k], rtol=1e-3, atol=2e-5) for k in first)


@pytest.mark.slow
def test_two_processes_are_one_with_the_whole_batch(tmp_path: Path) -> None:
    (alone,) = trained(tmp_path / "one", 1)
    both = trained(tmp_path / "two", 2)
    assert [p["world"] for p in both] == [2, 2]
    assert [p["processes"] for p in both] == [2, 2]
    streams = [{tuple(s) for s in p["drawn"]} for p in both]
    assert streams[0].isdisjoint(streams[1])
    assert sum(len(p["drawn"]) for p in both) == len(streams[0] | streams[1]) == 4 * 8  # no number twice
    assert streams[0] | streams[1] == {tuple(s) for s in alone["drawn"]}
    for action, n in alone["ledger"].items():
        assert sum(p["ledger"][action] for p in both) == n
        assert all(p["whole"][action] == n for p in both)
    assert [p["claims"] for p in both] == [1, 0]  # one writes
    assert both[0]["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    assert_close(tmp_path / "one", tmp_path / "two")
    record = json.loads((tmp_path / "two" / "m" / "run.json").read_text())
    assert (record["processes"], record["ledger"]["normal"]) == (2, 4 * 8 * 64)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_one_process_goes_on(tmp_path: Path) -> None:
    trained(tmp_path / "whole", 1, labels=True, accumulate=2)
    stopped = trained(tmp_path / "parts", 2, labels=True, accumulate=2, stop_at=2, kill=1)
    assert {p["finished"] for p in stopped} == {False}
    assert len({p["step"] for p in stopped}) == 1
    (rest,) = trained(tmp_path / "parts", 1, labels=True, accumulate=2, resume=True)
    assert rest["finished"]
    # every number of the run is counted once, whoever drew it
    assert rest["whole"]["normal"] == 4 * 8 * 64
    assert_close(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_what_processes_cannot_share_is_refused_in_every_one(tmp_path: Path) -> None:
    for job, words in (
        ({"noise": "system"}, "which 2 processes cannot share"),
        ({"batch": 9, "steps": 1}, "batch = 9 does not divide"),
        ({"channels": [9, 16]}, "must each be a multiple of norm_groups"),
    ):
        found = trained(tmp_path / words[:5].strip(), 2, **job)
        assert all(words in p["error"] for p in found), found


@pytest.mark.slow
def test_the_command_of_the_help_trains_in_two_processes_and_prints_once(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for k in range(8):
        Image.new("L", (8, 8), 20 * k).save(tmp_path / "pictures" / f"{k}.png")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d",
         "--rdzv_endpoint", "localhost:0", "-m", "voltaspin", "train", "--data", str(tmp_path / "pictures"),
         "--noise", "memory", "--set", "channels=[16]", "--steps", "2", "--batch", "4", "--out", str(tmp_path / "m"),
         "--json"],
        check=True, capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert (result["processes"], result["step"], result["ledger"]["normal"]) == (2, 2, 2 * 4 * 64)
