"""The recipe of a training run: what each field does, against what it says."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from voltaspin.core.errors import InputError
from voltaspin.diffusion import TrainSpec, inplace, load_pipeline, train
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.objective import Batch, classes_of
from voltaspin.diffusion.recipe import (
    RECIPES,
    learning_rate,
    loss_weights,
    make_model,
    make_scheduler,
    recipe,
    timesteps,
)
from voltaspin.diffusion.training import NoisePrediction
from voltaspin.noise import PseudoSource

SMALL: dict[str, Any] = {"channels": (16, 32), "batch": 8, "steps": 2, "precision": "float32", "warmup": 0}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    rng = np.random.default_rng(0)
    pixels = (rng.integers(1, 256, (64, 1, 8, 8)) * (rng.random((64, 1, 8, 8)) > 0.4)).astype(np.uint8)
    return ImageSet(pixels, np.arange(64) % 3, "squares", "train", "0" * 64)


def alpha_bar(spec: TrainSpec) -> np.ndarray:
    return np.asarray(make_scheduler(spec).alphas_cumprod.double().numpy())


def test_the_published_recipe_has_the_published_network() -> None:
    with torch.device("meta"):
        model = make_model(recipe("cifar10"), channels=3, size=32)
    # 35.7 million (Ho et al. 2020); google/ddpm-cifar10-32 has 35,746,307.
    assert sum(p.numel() for p in model.parameters()) == 35_746_307
    assert model.config.down_block_types == ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D")
    assert model.config.up_block_types == ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    assert model.down_blocks[1].resnets[0].dropout.p == 0.1
    betas = make_scheduler(recipe("cifar10")).betas
    assert (float(betas[0]), float(betas[-1]), len(betas)) == (pytest.approx(1e-4), pytest.approx(0.02), 1000)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_its_file(name: str) -> None:
    spec = recipe(name)
    assert TrainSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert TrainSpec.from_json(json.loads(json.dumps(spec.every_field()))) == spec
    # An older run recorded none of the later fields, and goes on.
    assert set(TrainSpec().to_json()) & {"attention", "flips", "start", "betas"} == set()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weighs_the_clean_image_by_the_bounded_ratio(kind: Any) -> None:
    spec = TrainSpec(weighting="min-snr", prediction_type=kind)
    a = alpha_bar(spec)
    # An error e of the output is one of the clean image: e sqrt((1-a)/a), e sqrt(1-a), or e.
    of_x0 = {"epsilon": (1 - a) / a, "v_prediction": 1 - a, "sample": np.ones_like(a)}[kind]
    assert loss_weights(spec, a) / of_x0 == pytest.approx(np.minimum(a / (1 - a), 5.0))
    assert np.array_equal(loss_weights(TrainSpec(prediction_type=kind), a), np.ones(1000))


def test_log_normal_times_have_the_law_that_they_name() -> None:
    spec = TrainSpec(times="log-normal", batch=512, num_train_timesteps=4000)
    a = alpha_bar(spec)
    t = np.concatenate([timesteps(spec, step, a) for step in range(8)])
    log_sigma = 0.5 * np.log((1 - a[t]) / a[t])
    # Stratified draws lie closer to the law than independent ones, for which this is 0.021 at 5 %; the grid of times
    # adds its own step.
    assert stats.kstest(log_sigma, stats.norm(-1.2, 1.2).cdf).statistic < 0.021


def test_half_of_the_images_are_mirrored_and_always_the_same_ones(images: ImageSet) -> None:
    plain, flipped = TrainSpec(**SMALL), TrainSpec(**SMALL, flips=True)
    mirrored = 0
    for step in range(64):
        before, after = Batch.of(images.images, plain, step), Batch.of(images.images, flipped, step)
        same = (before.images == after.images).all(axis=(1, 2, 3))
        other = (before.images[..., ::-1] == after.images).all(axis=(1, 2, 3))
        assert (same | other).all()
        mirrored += int(np.sum(other & ~same))
        assert np.array_equal(after.images, Batch.of(images.images, flipped, step).images)
    assert abs(mirrored - 256) < 4 * math.sqrt(512) / 2


def test_the_class_of_some_images_is_withheld(images: ImageSet) -> None:
    spec = TrainSpec(**SMALL, labels=True, label_dropout=0.25)
    assert classes_of(images, spec) == 3
    told = np.concatenate([Batch.of(images.images, spec, k, images.labels).labels for k in range(64)])
    assert set(told) == {0, 1, 2, 3}
    assert abs(np.sum(told == 3) - 128) < 4 * math.sqrt(512 * 0.25 * 0.75)
    assert classes_of(images, TrainSpec(**SMALL)) == 0
    with pytest.raises(InputError, match="labels = true, and squares has no labels"):
        classes_of(replace(images, labels=None), spec)


@pytest.mark.parametrize(
    ("labels", "words"), [([-1, 0], "has a label below 0"), ([0, 10**9], "a label 1000000000 and 64 images")]
)
def test_labels_out_of_range_are_refused(images: ImageSet, labels: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        classes_of(replace(images, labels=np.array(labels * 32)), TrainSpec(**SMALL, labels=True))


def test_a_divided_batch_has_the_gradient_of_the_whole(images: ImageSet) -> None:
    gradients = []
    for parts in (1, 4):
        spec = TrainSpec(**SMALL, accumulate=parts)
        objective = NoisePrediction(spec, PseudoSource(seed=1))
        model = objective.network(channels=1, size=8)
        for part in Batch.of(images.images, spec, 5).parts(parts):
            (objective.loss(model, part, torch.device("cpu")) / parts).backward()
        gradients.append(torch.cat([p.grad.ravel() for p in model.parameters()]))
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)
    assert gradients[0].norm() > 1e-3


def test_a_constant_rate_stays() -> None:
    spec = TrainSpec(learning_rate_schedule="constant", warmup=10, learning_rate=1e-3)
    assert learning_rate(spec, 4) == pytest.approx(5e-4)
    assert learning_rate(spec, 10) == learning_rate(spec, 11_999) == 1e-3


def test_classes_attention_and_dropout_train_and_are_left_in_the_folder(images: ImageSet, tmp_path: Path) -> None:
    spec = TrainSpec(
        **SMALL, labels=True, attention=(1,), head_channels=8, dropout=0.1, flips=True, weighting="min-snr",
        times="log-normal", accumulate=2,
    )  # fmt: skip
    result = train(images, PseudoSource(seed=1), tmp_path / "m", spec=spec)
    assert result.finished
    assert math.isfinite(result.loss or math.nan)
    config = json.loads((tmp_path / "m" / "unet" / "config.json").read_text())
    assert config["num_class_embeds"] == 4
    assert config["down_block_types"] == ["DownBlock2D", "AttnDownBlock2D"]


def test_a_model_is_trained_on(images: ImageSet, tmp_path: Path) -> None:
    first, on, counts = tmp_path / "first", tmp_path / "on", tmp_path / "counts"
    base = TrainSpec(**SMALL, prediction_type="epsilon", beta_schedule="linear")
    train(images, PseudoSource(seed=1), first, spec=base)
    weights = load_pipeline(first).unet.state_dict()
    more = TrainSpec(batch=8, steps=1, precision="float32", warmup=0, learning_rate=1e-12, start=str(first))
    train(images, PseudoSource(seed=2), on, spec=more)
    for name, value in load_pipeline(on).unet.state_dict().items():
        assert torch.allclose(value, weights[name], atol=1e-6), name
    record = json.loads((on / "train.json").read_text())
    assert record["prediction_type"] == "epsilon"
    assert record["channels"] == [16, 32]
    assert record["start_sha256"] == load_pipeline(first).sha256
    # It goes on from the copy of the same model, and not from another one.
    shutil.copytree(first, tmp_path / "copy")
    same = more.model_copy(update={"start": str(tmp_path / "copy")})
    assert train(images, PseudoSource(seed=2), on, spec=same, resume=True).finished
    shutil.copytree(on, tmp_path / "another")
    other = more.model_copy(update={"start": str(tmp_path / "another")})
    with pytest.raises(InputError, match="start_sha256"):
        train(images, PseudoSource(seed=2), on, spec=other, resume=True)
    # Of counts of an array too.
    spec = inplace.InPlaceTrainSpec(
        batch=8, steps=1, precision="float32", start=str(first), cells_per_pixel=3,
        cells=inplace.CellSpec(junction="ideal"),
    )  # fmt: skip
    inplace.train(images, counts, spec=spec)
    assert list(load_pipeline(counts).unet.config.block_out_channels) == [16, 32]


def test_a_model_that_does_not_fit_is_refused_before_any_work(images: ImageSet, tmp_path: Path) -> None:
    first = tmp_path / "first"
    train(images, PseudoSource(seed=1), first, spec=TrainSpec(**SMALL))
    more = TrainSpec(**SMALL, start=str(first))
    with pytest.raises(InputError, match="is the folder of the run"):
        train(images, PseudoSource(seed=1), first, spec=more, force=True)
    with pytest.raises(InputError, match=r"prediction_type = 'epsilon', and .* was trained with 'v_prediction'"):
        train(images, PseudoSource(seed=1), tmp_path / "n", spec=more.model_copy(update={"prediction_type": "epsilon"}))
    wide = replace(images, images=np.zeros((64, 1, 16, 16), np.uint8))
    with pytest.raises(InputError, match="8x8 pixels in 1 channel"):
        train(wide, PseudoSource(seed=1), tmp_path / "n", spec=more)
    with pytest.raises(InputError, match="does not exist"):
        train(images, PseudoSource(seed=1), tmp_path / "n", spec=TrainSpec(**SMALL, start=str(tmp_path / "no")))
    assert not (tmp_path / "n" / "unet").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"channels": []}, "channels is empty"),
        ({"attention": [3]}, "resolution 3 is none of 0 to 2"),
        ({"accumulate": 7}, "does not divide the batch of 64"),
        ({"betas": [0.9, 1.0]}, "betas"),
        ({"log_sigma": [0.0, 0.0]}, "standard deviation must be positive"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rat": 1e-3}, "learning_rat"),
        ({"weighting": "snr"}, "weighting"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_a_field_that_does_not_fit_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrainSpec.from_json({"kind": "train", "schema_version": 2, **fields}, where="t.json")


def test_channels_that_do_not_divide_make_no_network() -> None:
    with pytest.raises(InputError, match="multiple of norm_groups = 16"):
        make_model(TrainSpec(channels=(30, 64)), channels=1, size=8)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"channels": [0, 32]}, r"channels = \(0, 32\): each is at least 1"),
        ({"stepz": 3}, "'stepz' is unknown; did you mean 'steps'"),
        ({"colour": 3}, "'colour' is unknown; leave it out"),
    ],
)
def test_a_field_that_cannot_be_is_named(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        TrainSpec.from_json(recipe("cifar10").to_json() | fields)
