"""Scoring images and folders against the shipped reference."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from voltaspin.core.errors import InputError
from voltaspin.metrics import (
    Extractor,
    evaluate,
    evaluate_folder,
    garments,
    paired_difference,
    reference,
    score_features,
)
from voltaspin.metrics.shipped import blurred, load_reference, noisy, reference_folder


@pytest.fixture(scope="module")
def ref():
    return reference()


@pytest.fixture
def folder(tmp_path):
    for i, image in enumerate(garments()[:8]):
        Image.fromarray(image[0]).save(tmp_path / f"{i:03d}.png")
    Image.fromarray(np.zeros((200, 300), np.uint8)).save(tmp_path / "grid.png")
    (tmp_path / "run.json").write_text("{}")
    return tmp_path


def test_the_reference_is_small_hashed_and_standardised(ref):
    files = list(reference_folder("fashion-mnist").iterdir())
    assert sum(f.stat().st_size for f in files) < 4e6
    assert ref.extractor_sha256 == Extractor.load().sha256
    assert {name: len(x) for name, x in ref.features.items()} == {
        "reference": 10_000,
        "real": 10_000,
        "blur": 5_000,
        "noise": 5_000,
    }
    np.testing.assert_allclose(ref.target.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(ref.target.std(axis=0, ddof=1), 1, rtol=1e-9)
    assert "2017 Zalando SE" in (reference_folder("fashion-mnist") / "LICENSE.txt").read_text()


def test_scores_tell_blur_and_noise_from_real_images(ref):
    real, blur, noise = (score_features(ref.features[k][:2000], ref) for k in ("real", "blur", "noise"))
    assert real.kid.low < 0 < real.kid.high
    assert real.fd_extrapolated.low < 0 < real.fd_extrapolated.high
    assert real.fd.value > real.fd_extrapolated.value
    for damaged in (blur, noise):
        for score, floor in zip(damaged.scores[:3], real.scores[:3], strict=True):
            assert score.low > floor.high
        assert damaged.precision.high < real.precision.low
        assert damaged.recall.high < real.recall.low
    assert {s.name for s in blur.scores} == {"KID", "FD", "FD extrapolated", "precision", "recall"}
    assert all(s.extractor_sha256 == ref.extractor_sha256 and s.n == 2000 for s in blur.scores)


def test_paired_difference_finds_noise_on_the_same_garments(ref):
    noise, real = ref.features["noise"][:1000], ref.features["real"][:1000]
    for metric in ("KID", "FD"):
        score = paired_difference(noise, real, ref, metric=metric, noise="none", shared="garments")
        assert score.low > 0
        assert score.name == f"{metric} difference"
        assert (score.n, score.noise, score.shared) == (1000, "none", "garments")
    with pytest.raises(InputError, match="no pairs"):
        paired_difference(noise, real[:-1], ref)
    with pytest.raises(InputError, match="'FID' is unknown"):
        paired_difference(noise, real, ref, metric="FID")
    with pytest.raises(InputError, match="has 10 features"):
        paired_difference(noise[:, :10], real, ref)


def test_an_evaluation_reads_as_a_table_and_as_json():
    result = evaluate(garments(), noise="none, real images")
    text = str(result)
    assert "FID" not in text
    for words in ("KID x1e3", "3x3 mean blur", "sigma 0.05", "none, real images", "No FD", "0.9149"):
        assert words in text
    # Equal n in every row, so that rows compare.
    assert {row.kid.n for row in result.rows} == {32}
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert data["images"]["scores"][0]["name"] == "KID"
    assert len(data["yardsticks"]) == 2
    # 32 real garments are not told from real images: 3.5 standard errors for fixed images.
    assert abs(result.images.kid.value) < 3.5 * result.images.kid.std


def test_images_of_noise_score_far_from_garments_and_few_images_have_no_fd():
    rng = np.random.default_rng(1)
    result = evaluate(rng.integers(0, 256, (150, 1, 28, 28)).astype(np.uint8))
    assert result.images.kid.low > result.floor.kid.high
    assert result.images.fd.low > result.floor.fd.high
    assert result.images.fd_extrapolated is None
    assert "at least 256" in result.images.reason
    with pytest.raises(InputError, match="3 images are too few"):
        evaluate(garments()[:3])
    with pytest.raises(InputError, match=r"no reference statistics for 'cifar10'.*fashion-mnist"):
        evaluate(garments(), reference="cifar10")


def test_another_extractor_is_refused(ref):
    other = dataclasses.replace(Extractor.load(), sha256="f" * 64)
    with pytest.raises(InputError, match="was made by voltaspin-fmnist-cnn-1"):
        evaluate(garments(), extractor=other)
    with pytest.raises(InputError, match="was made by"):
        reference(extractor=other)
    assert reference(extractor=Extractor.load()) is ref


def test_changed_reference_statistics_are_refused(tmp_path):
    shutil.copytree(reference_folder("fashion-mnist"), tmp_path / "ref")
    path = tmp_path / "ref" / "features.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError, match="not the file of its card"):
        load_reference(tmp_path / "ref")
    (tmp_path / "ref" / "card.json").write_text('{"kind": "extractor"}')
    with pytest.raises(InputError, match="not the card of a reference"):
        load_reference(tmp_path / "ref")


def test_a_folder_scores_as_its_images(folder):
    # The same pixels and the same sums: equal to the last digit.
    assert evaluate_folder(folder).to_json() == evaluate(garments()[:8]).to_json()


def test_folders_that_cannot_be_scored_are_refused(folder, tmp_path):
    extra = folder / "zzz.png"

    def refused(message):
        with pytest.raises(InputError, match=message):
            evaluate_folder(folder)

    Image.fromarray(np.zeros((30, 28), np.uint8)).save(extra)
    refused(r"mixes sizes: 000.png is 28x28 and zzz.png is 28x30")
    extra.write_bytes(b"not a picture")
    refused("zzz.png cannot be read as an image")
    whole = (folder / "000.png").read_bytes()
    extra.write_bytes(whole[: len(whole) // 2])
    refused("zzz.png cannot be read as an image")
    Image.fromarray(np.full((28, 28, 3), (9, 0, 0), np.uint8)).save(extra)
    refused("zzz.png is in colour.*extractor='inception' reference_images=")
    Image.fromarray(np.zeros((28, 28), np.uint16)).save(extra)
    refused("more than 8 bit")
    for file in folder.glob("*.png"):
        file.unlink()
    refused("holds no images")
    for i in range(4):
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(folder / f"{i}.png")
    refused("are 32x32, the extractor takes 28x28")
    with pytest.raises(InputError, match="is not a folder"):
        evaluate_folder(tmp_path / "nowhere")


def test_grey_written_as_rgb_is_grey(folder):
    before = evaluate_folder(folder).images.kid
    for file in folder.glob("0*.png"):
        with Image.open(file) as picture:
            rgb = picture.convert("RGB")
        rgb.save(file)
    assert evaluate_folder(folder).images.kid == before


def test_yardsticks_are_what_they_say():
    images = np.zeros((1, 1, 28, 28), np.uint8)
    images[0, 0, 10, 10], images[0, 0, 0, 0] = 90, 14
    found = blurred(images)[0, 0]
    assert (found[9:12, 9:12] == 10).all()
    assert found[:2, :2].tolist() == [[2, 2], [2, 2]]  # 14 / 9 = 1.56, rounded
    assert found.sum() == 90 + 4 * 2
    grey = np.full((20, 1, 28, 28), 128, np.uint8)
    noise = noisy(grey, sigma=0.05, seed=1).astype(float) - 128
    # 15,680 pixels: a standard deviation is known to 0.56 %, three of these; rounding adds 1/12.
    assert noise.std() == pytest.approx((12.75**2 + 1 / 12) ** 0.5, rel=0.017)
    assert abs(noise.mean()) < 3 * 12.75 / noise.size**0.5
    known = hashlib.sha256(noisy(grey, sigma=0.05, seed=1).tobytes()).digest()
    assert hashlib.sha256(noisy(grey, sigma=0.05, seed=1).tobytes()).digest() == known


def test_metrics_load_without_torch_until_an_image_is_scored():
    code = (
        "import sys; from voltaspin.metrics import kid, reference, garments, score_features;"
        "r = reference(); score_features(r.features['real'][:50], r); garments();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
