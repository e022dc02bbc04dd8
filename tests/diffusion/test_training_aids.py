"""What helps while a model trains: held-out losses, grids, the table, lines, compilation, streams of a slot."""

import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voltaspin.core.errors import InputError
from voltaspin.diffusion import TrainSpec, inplace, load_pipeline, train
from voltaspin.diffusion.backend import check_compiler
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.recipe import held_out_timesteps, make_scheduler
from voltaspin.diffusion.training import FIRST_STREAM, NoisePrediction, diffusion_loss, encode
from voltaspin.diffusion.validation import divided
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.noise import MemorySource, PseudoSource, RecordedSource

FIELDS: dict[str, Any] = {
    "channels": (8, 16), "norm_groups": 4, "batch": 8, "steps": 6, "precision": "float32", "warmup": 0,
    "checkpoint_every": 3,
}  # fmt: skip
AIDS: dict[str, Any] = {"validate_every": 2, "sample_every": 3}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 1, 8, 8)).astype(np.uint8)
    return ImageSet(pixels, np.arange(64) % 3, "squares", "train", "0" * 64)


@pytest.fixture(scope="module")
def others() -> ImageSet:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    return ImageSet(pixels, np.arange(20) % 3, "squares", "test", "1" * 64)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "train.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def same_weights(a: Path, b: Path) -> bool:
    first, second = (load_file(m / "unet" / "diffusion_pytorch_model.safetensors") for m in (a, b))
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_watching_changes_no_weight(images: ImageSet, others: ImageSet, tmp_path: Path) -> None:
    for name, more in (("plain", {}), ("watched", AIDS)):
        spec = TrainSpec(**FIELDS, **more, labels=True)
        train(images, PseudoSource(seed=1), tmp_path / name, spec=spec, held_out=others)
    assert same_weights(tmp_path / "plain", tmp_path / "watched")
    assert sorted(p.name for p in (tmp_path / "watched" / "samples").iterdir()) == ["00000003.png", "00000006.png"]


def test_the_loss_of_held_out_images_is_that_of_the_model_that_is_left(
    images: ImageSet, others: ImageSet, tmp_path: Path
) -> None:
    spec = TrainSpec(**FIELDS, **AIDS)
    result = train(images, PseudoSource(seed=1), tmp_path / "m", spec=spec, held_out=others)
    # the same by hand, in one batch: the noise of image i is draw 0 of stream i of the declared source
    said = json.loads((tmp_path / "m" / "train.json").read_text())["validation"]
    assert (said["images"], said["split"]) == (20, "test")
    source = PseudoSource(seed=said["noise"]["details"]["seed"])
    alpha_bar = make_scheduler(spec).alphas_cumprod
    t = held_out_timesteps(spec, 20, alpha_bar.double().numpy())
    assert np.array_equal(np.sort(t) * 20 // 1000, np.arange(20))  # stratified over the schedule
    noise = torch.from_numpy(source.normal((20, 1, 8, 8), streams=range(20), step=0))
    with torch.no_grad():
        model = load_pipeline(tmp_path / "m").unet
        x0 = torch.from_numpy(encode(others.images, margin=0.0))
        expected = diffusion_loss(model, x0, noise, torch.from_numpy(t), alpha_bar, spec.prediction_type)
    assert result.validation_loss == pytest.approx(float(expected), rel=1e-5)
    found = rows(tmp_path / "m")
    assert [row["step"] for row in found] == ["2", "4", "6"]
    assert float(found[-1]["validation_loss"]) == pytest.approx(float(expected), rel=1e-4)
    counted = json.loads((tmp_path / "m" / "run.json").read_text())
    # 3 losses of 20 images; 2 grids of 16 images by 25 draws (the last step adds none)
    assert counted["validation_ledger"]["normal"] == 64 * (3 * 20 + 2 * 16 * 25)
    assert counted["ledger"]["normal"] == 64 * 6 * 8 == result.ledger["normal"]


def test_held_out_images_are_of_all_classes_where_a_set_gives_them_in_turn(images: ImageSet) -> None:
    turns = replace(images, labels=np.arange(len(images)) % 4)
    kept, out = divided(turns, TrainSpec(**FIELDS, held_out=16), None)
    assert out is not None
    assert out.labels is not None
    assert np.bincount(out.labels).tolist() == [4] * 4
    assert len(kept) + len(out) == len(images)


def test_held_out_images_are_not_trained_on_and_are_spread_over_the_set(images: ImageSet) -> None:
    spec = TrainSpec(**FIELDS, held_out=16, validate_every=1)
    trained, kept = divided(images, spec, None)
    assert kept is not None
    without = divided(replace(images, labels=None), spec, None)[1]
    assert without is not None
    assert np.array_equal(without.images, images.images[::4])  # and by classes where it knows them
    assert {x.tobytes() for x in trained.images} | {x.tobytes() for x in kept.images} == {
        x.tobytes() for x in images.images
    }
    assert len(trained) == 48
    assert divided(images, TrainSpec(**FIELDS), None)[0] is images


@pytest.mark.parametrize(
    ("fields", "held_out", "words"),
    [
        ({"validate_every": 1}, None, "has no test split; hold some of its images out, such as held_out = 200"),
        ({"held_out": 60}, None, "leaves less than a batch of 8; hold out fewer, 56 at most"),
        ({"validate_every": 1}, "size", "give images of one shape"),
        ({"validate_every": 1, "labels": True}, "labels", "has the label 5"),
        ({"validate_every": 1, "labels": True}, "none", "have none"),
    ],
)
def test_what_cannot_be_validated_is_refused_before_any_work(
    images: ImageSet, others: ImageSet, tmp_path: Path, fields: dict[str, Any], held_out: str | None, words: str
) -> None:
    given = {
        "size": replace(others, images=others.images[:, :, :4, :4]), "none": replace(others, labels=None),
        "labels": replace(others, labels=np.full(20, 5)),
    }.get(held_out or "")  # fmt: skip
    with pytest.raises(InputError, match=words):
        train(images, PseudoSource(), tmp_path / "m", spec=TrainSpec(**FIELDS, **fields), held_out=given)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_a_table_that_goes_on_has_every_row_once(
    images: ImageSet, others: ImageSet, tmp_path: Path, stop_at: int
) -> None:
    spec = TrainSpec(**FIELDS, **AIDS, dropout=0.3)

    def interrupt(step: int, steps: int, loss: float) -> None:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    how: dict[str, Any] = {"spec": spec, "held_out": others}
    train(images, PseudoSource(seed=1), tmp_path / "whole", **how)
    train(images, PseudoSource(seed=1), tmp_path / "parts", **how, progress=interrupt)
    part = tmp_path / "parts" / "train.csv"
    part.write_text(part.read_text() + "6,0.1,0.2,1,0.1,1\n6,0.")  # killed after its last checkpoint, in a row
    rest = train(images, PseudoSource(seed=1), tmp_path / "parts", **how, resume=True)
    kept = [[r[k] for k in r if k != "examples_per_second"] for r in rows(tmp_path / "parts")]
    assert kept == [[r[k] for k in r if k != "examples_per_second"] for r in rows(tmp_path / "whole")]
    # dropped activations follow from seed and step
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert rest.ledger["normal"] == 64 * 6 * 8
    grids = [sorted((tmp_path / name / "samples").iterdir()) for name in ("whole", "parts")]
    assert [p.read_bytes() for p in grids[0]] == [p.read_bytes() for p in grids[1]]
    listed = json.loads((tmp_path / "parts" / "run.json").read_text())["files"]
    assert {"samples/00000003.png", "samples/00000006.png", "train.csv"} <= set(listed)


def test_a_run_that_goes_on_is_watched_as_it_is_asked_now(images: ImageSet, others: ImageSet, tmp_path: Path) -> None:
    train(images, PseudoSource(seed=1), tmp_path / "m", spec=TrainSpec(**FIELDS), progress=_stop_at(3))
    spec = TrainSpec(**FIELDS, validate_every=5)
    result = train(images, PseudoSource(seed=1), tmp_path / "m", spec=spec, resume=True, held_out=others)
    assert [row["step"] for row in rows(tmp_path / "m")] == ["5", "6"]
    assert result.validation_loss is not None


def test_counts_of_an_array_are_validated_without_disturbing_it(
    images: ImageSet, others: ImageSet, tmp_path: Path
) -> None:
    losses = []
    for name, more in (("plain", {}), ("watched", AIDS), ("again", AIDS)):
        spec = inplace.InPlaceTrainSpec(**FIELDS, **more, cells_per_pixel=7)
        found = inplace.train(images, tmp_path / name, spec=spec, held_out=others)
        losses.append(found.validation_loss)
    assert same_weights(tmp_path / "plain", tmp_path / "watched")
    assert losses[0] is None
    assert losses[1] == losses[2]
    assert (tmp_path / "watched" / "samples" / "00000006.png").is_file()


def test_streams_of_a_slot_keep_the_memorys_state_from_step_to_step(images: ImageSet, tmp_path: Path) -> None:
    def source() -> MemorySource:
        return MemorySource(memory=MagnetoelectricMemory(seed=3), seed=1, k=1)

    class Watched(MemorySource):
        asked: list[tuple[list[int], int]]

        def normal(self, shape: Any, *, streams: Any = None, step: int | None = None) -> Any:
            self.asked.append((list(streams), int(step or 0)))
            return super().normal(shape, streams=streams, step=step)

    for kind, expected in (
        ("example", [(list(range(FIRST_STREAM + 8 * k, FIRST_STREAM + 8 * k + 8)), 0) for k in range(3)]),
        ("slot", [(list(range(FIRST_STREAM, FIRST_STREAM + 8)), k) for k in range(3)]),
    ):
        noise = Watched(memory=MagnetoelectricMemory(seed=3), seed=1)
        noise.asked = []
        spec = TrainSpec(**{**FIELDS, "steps": 3, "streams": kind})
        train(images, noise, tmp_path / kind, spec=spec)
        assert noise.asked == expected
        ledger = noise.ledger.totals()
        # every example begins with a reset, or only the first step does
        assert ledger["reset"] == ledger["pulse"] // (1 if kind == "example" else 3)
    # a stop in between changes nothing: the states are found again
    spec = TrainSpec(**{**FIELDS, "streams": "slot"})
    train(images, source(), tmp_path / "whole", spec=spec)
    train(images, source(), tmp_path / "parts", spec=spec, progress=_stop_at(4))
    train(images, source(), tmp_path / "parts", spec=spec, resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


def _stop_at(wanted: int) -> Any:
    def interrupt(step: int, steps: int, loss: float) -> None:
        if step == wanted:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


def test_streams_of_a_slot_are_refused_where_they_mean_nothing(images: ImageSet, tmp_path: Path) -> None:
    bits = tmp_path / "bits.bin"
    bits.write_bytes(np.random.default_rng(0).bytes(100_000))
    with pytest.raises(InputError, match=r"streams = 'slot'.*leave it out"):
        NoisePrediction(TrainSpec(streams="slot"), RecordedSource(bits))
    spec = inplace.InPlaceTrainSpec(**FIELDS, streams="slot")
    with pytest.raises(InputError, match=r"streams = 'slot'.*leave it out"):
        inplace.train(images, tmp_path / "m", spec=spec)


def test_a_missing_compiler_is_said_before_any_work(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(function: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand a long explanation")

    check_compiler.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(InputError, match=r"compile = true: .* \(RuntimeError: No working C\+\+ compiler found\);"):
        train(images, PseudoSource(), tmp_path / "m", spec=TrainSpec(**FIELDS, compile=True))
    assert not (tmp_path / "m").exists()
    check_compiler.cache_clear()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch warns of its own parts
def test_a_compiled_network_learns_the_same_to_rounding(images: ImageSet, tmp_path: Path) -> None:
    try:
        check_compiler()
    except InputError as error:
        pytest.skip(str(error))
    losses = []
    for compiled in (False, True):
        spec = TrainSpec(**{**FIELDS, "channels": (8,), "steps": 2}, compile=compiled)
        losses.append(train(images, PseudoSource(seed=1), tmp_path / str(compiled), spec=spec).loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert load_pipeline(tmp_path / "True").unet is not None
