"""Statistics that are summed up part by part, files of reference statistics, and two folders by pairs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.metrics import (
    Extractor,
    FeatureStatistics,
    ImageParts,
    Moments,
    compare_folders,
    evaluate_fidelity,
    paired_difference,
    reference,
)
from voltaspin.metrics.distance import fd, kid, kid_difference
from voltaspin.metrics.moments import features_of
from voltaspin.metrics.pairs import shared_by
from voltaspin.metrics.shipped import blurred, halves
from voltaspin.metrics.statistics import YARDSTICKS


@pytest.mark.parametrize("sizes", [(1, 1, 98), (100,), (33, 0, 34, 33)])
def test_moments_of_parts_are_those_of_the_whole(sizes: tuple[int, ...]) -> None:
    # a mean 1e7 times the spread: a sum of squares less the square of the sum would keep 2 digits of 16
    x = np.random.default_rng(0).normal(size=(100, 5)) + 1e7
    found, begin = Moments(), 0
    for size in sizes:
        found.add(x[begin : begin + size])
        begin += size
    assert found.n == 100
    assert np.allclose(found.mean, x.mean(0), rtol=1e-15, atol=0)
    # centring on a mean of 1e7 leaves rounding of 1e7 x 2^-53 in each difference of size 1
    assert np.allclose(found.covariance, np.cov(x, rowvar=False), rtol=0, atol=1e-7)


def test_moments_merge_in_any_order_and_refuse_what_does_not_fit() -> None:
    x = np.random.default_rng(1).normal(size=(60, 3))
    parts = [Moments(), Moments(), Moments()]
    for moments, part in zip(parts, np.array_split(x, 3), strict=True):
        moments.add(part)
    whole = Moments()
    for k in (2, 0, 1):
        whole.merge(parts[k])
    assert np.allclose(whole.covariance, np.cov(x, rowvar=False), rtol=1e-13)
    with pytest.raises(InputError, match="do not fit"):
        whole.add(np.zeros((2, 4)))
    with pytest.raises(InputError, match="NaN or infinity"):
        whole.add(np.full((2, 3), np.nan))
    with pytest.raises(InputError, match="no covariance"):
        _ = Moments().covariance


def garments(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 1, 7, 7)).astype(np.uint8)
    return coarse.repeat(4, axis=2).repeat(4, axis=3)


def folder(home: Path, images: np.ndarray, **record: Any) -> Path:
    home.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[0]).save(home / f"image-{i:06d}.png")
    if record:
        (home / "run.json").write_text(json.dumps({"kind": "sample", **record}))
    return home


class Watching:
    """The shipped extractor, and how many images it saw at once."""

    def __init__(self) -> None:
        self.inner, self.seen = Extractor.load(), list[int]()
        self.name, self.sha256, self.frechet = self.inner.name, self.inner.sha256, "FD"

    def features(self, images: np.ndarray, *, batch: int = 64) -> np.ndarray:
        self.seen.append(len(images))
        return self.inner.features(images, batch=batch)


def test_images_of_a_folder_are_never_all_in_memory(tmp_path: Path) -> None:
    images = garments(600, 0)
    stream = ImageParts.of_files(folder(tmp_path / "a", images), sorted((tmp_path / "a").glob("*.png")))
    watching = Watching()
    features, moments = features_of(stream, watching)
    assert watching.seen == [256, 256, 88]
    direct = watching.inner.features(images)
    assert np.allclose(features, direct, atol=1e-5)
    assert np.allclose(moments.covariance, np.cov(direct.astype(np.float64), rowvar=False), rtol=1e-5, atol=1e-7)


def test_a_file_of_statistics_scores_like_the_images_and_names_its_extractor(tmp_path: Path) -> None:
    extractor, real, images = Extractor.load(), garments(150, 1), garments(140, 2)
    made = FeatureStatistics.of(ImageParts.of(real), name="pictures")
    result = made.save(tmp_path / "r.safetensors")
    assert (result.n, result.width, result.extractor_sha256) == (150, 64, extractor.sha256)
    again = FeatureStatistics.load(tmp_path / "r.safetensors")
    again.check(extractor)
    scored = evaluate_fidelity(
        images, (again.features, again.moments, again.size), reference=again.name, extractor=extractor
    )
    x, y = extractor.features(images), extractor.features(real)
    assert scored.images.kid.value == pytest.approx(kid(x, y).value, rel=1e-6)
    assert scored.images.fd is not None
    assert (scored.images.fd.name, scored.images.fd.value) == ("FD", pytest.approx(fd(x, y).value, rel=1e-6))
    other = FeatureStatistics(**{**vars(again), "extractor_sha256": "f" * 64, "extractor": "another net"})
    with pytest.raises(InputError, match=r"were made by another net ffffffffffff, and the extractor is voltaspin"):
        other.check(extractor)
    other.save(tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "r.safetensors").read_bytes()[:999])
    for name, words in (("cut", "is damaged"), ("none", "does not exist; make statistics with")):
        with pytest.raises(InputError, match=words):
            FeatureStatistics.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match="7 images, too few for a reference"):
        FeatureStatistics.of(ImageParts.of(real[:7]), name="few")


def test_a_reference_keeps_yardsticks_of_images_that_it_does_not_compare_with_themselves(tmp_path: Path) -> None:
    """Blurred and noisy images of one half are scored against those of the other, as by hand."""
    extractor, real = Extractor.load(), garments(300, 1)
    made = FeatureStatistics.of(ImageParts.of(real), name="pictures")
    halved = [np.sort(half) for half in halves(300)]
    assert sorted(np.concatenate(halved)) == list(range(300))
    blur = extractor.features(blurred(real[halved[1]]))
    assert np.allclose(made.yardsticks["blur"], blur, atol=1e-5)
    assert made.yardsticks["noise"].shape == (150, 64)
    made.save(tmp_path / "r.safetensors")
    again = FeatureStatistics.load(tmp_path / "r.safetensors")
    scored = evaluate_fidelity(
        garments(140, 2), (again.features, again.moments, again.size), reference=again.name, extractor=extractor,
        yardsticks=again.yardsticks,
    )  # fmt: skip
    first, noisy = scored.yardsticks
    assert first.subject == "real images, 3x3 mean blur"
    assert first.kid.value == pytest.approx(kid(blur, made.features[halved[0]]).value, rel=1e-4)
    assert first.fd is not None
    assert first.fd.value == pytest.approx(fd(blur, made.features[halved[0]]).value, rel=1e-4)
    assert scored.floor.fd is not None
    assert first.kid.low > scored.floor.kid.value  # blur is found, in these coarse pictures with hard edges
    assert noisy.kid.n == 150
    assert str(scored).count("real images, ") == 2
    older = FeatureStatistics(**{**vars(made), "yardsticks": {}})  # a file of before
    older.save(tmp_path / "older.safetensors")
    assert FeatureStatistics.load(tmp_path / "older.safetensors").yardsticks == {}
    parts = ImageParts(15, "28x28", lambda: (real[k : k + 4] for k in range(0, 15, 4)))  # the last one is short
    few = FeatureStatistics.of(parts, name="parts")
    assert np.allclose(few.yardsticks["blur"], extractor.features(blurred(real[np.sort(halves(15)[1])])), atol=1e-5)


class Brightness:
    """An extractor whose features are the mean grey level, twice."""

    name, sha256, frechet = "brightness", "0" * 64, "FD"

    def features(self, images: np.ndarray, *, batch: int = 64) -> np.ndarray:
        return np.repeat(images.mean(axis=(1, 2, 3), dtype=np.float64)[:, None], 2, axis=1).astype(np.float32)


def test_yardsticks_are_of_every_class_of_a_set_that_is_sorted_by_them() -> None:
    """A set of more images than are degraded, sorted: the first ones of it would be of its first class."""
    n = 2 * YARDSTICKS + 1000
    pictures = np.repeat((np.arange(n) * 200 // n).astype(np.uint8), 64).reshape(n, 1, 8, 8)
    made = FeatureStatistics.of(ImageParts.of(pictures), name="sorted", extractor=Brightness())
    level = made.yardsticks["noise"][:, 0]  # noise of mean zero, but for what is cut at black
    assert len(level) == YARDSTICKS
    # a hypergeometric draw: 200 expected in each fifth, with a standard deviation of 10.3 by n / 5 of n
    counts = np.histogram(level, bins=5, range=(0, 201))[0]
    assert np.abs(counts - YARDSTICKS / 5).max() < 5 * 10.3


def test_halves_of_a_set_that_gives_its_classes_in_turn_are_alike() -> None:
    """By even and odd numbers one half would hold other classes than the other, and the floor would be high."""
    label = np.arange(1000) % 10
    counts = [np.bincount(label[half], minlength=10) for half in halves(1000)]
    assert [c.sum() for c in counts] == [500, 500]
    assert min(map(min, counts)) > 30  # 50 expected, standard deviation 4.7 without replacement
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 60, (400, 1, 28, 28)) + 90 * (np.arange(400) % 2)[:, None, None, None]).astype(np.uint8)
    made = FeatureStatistics.of(ImageParts.of(pictures), name="turns")
    scored = evaluate_fidelity(
        pictures, (made.features, made.moments, made.size), reference="turns", extractor=Extractor.load()
    )
    assert scored.floor.kid.low < 0.02 < kid(made.features[::2], made.features[1::2]).low


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_commands_keep_statistics_and_refuse_another_extractors(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    real, images = folder(tmp_path / "real", garments(40, 1)), folder(tmp_path / "images", garments(20, 2))
    kept = tmp_path / "real.safetensors"
    status, out, err = call(capsys, "reference", real, "--out", kept)
    assert status == 0, err
    assert "64 features of 40 images" in out
    status, out, err = call(capsys, "evaluate", images, "--reference", kept)
    assert status == 0, err
    assert "Against 40 images of" in out
    FeatureStatistics(**{**vars(FeatureStatistics.load(kept)), "extractor_sha256": "f" * 64}).save(kept)
    for arguments, words in (
        (["evaluate", images, "--reference", kept], "score with --extractor shipped of that version, or make them"),
        (["reference", real, "--out", kept], "exists; choose another name"),
        (["reference", real, "--out", tmp_path / "x.npz"], "give such a name"),
        (["evaluate", images, "--reference", kept, "--reference-images", real], "leave --reference-images out"),
    ):
        status, out, err = call(capsys, *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert words in err


RUN: dict[str, Any] = {
    "seed": 3, "steps": 25, "sampler": "ddpm", "model": {"folder": "m", "sha256": "ab" * 32}, "noise": "software",
    "provenance": {"kind": "pseudo", "description": "software", "details": {}},
}  # fmt: skip


def test_two_folders_are_compared_by_their_pairs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    common, memory = garments(300, 4), {"kind": "simulated", "description": "memory", "details": {}}
    changed = common.copy()
    changed[:, :, :4] = 0
    a = folder(tmp_path / "a", changed, **RUN | {"noise": "memory", "provenance": memory})
    b = folder(tmp_path / "b", common[:280], **RUN)
    extractor, against = Extractor.load(), reference()
    found = compare_folders(a, b, against, extractor=extractor)
    assert (found.pairs, found.left_out) == (280, 20)
    x, z = extractor.features(changed[:280]), extractor.features(common[:280])
    expected = paired_difference(x, z, against)
    assert found.differences[0].value == pytest.approx(expected.value, rel=1e-6)
    assert found.differences[0].standard_error == pytest.approx(expected.standard_error, rel=1e-6)
    assert [d.name for d in found.differences] == [f"{m} difference" for m in ("KID", "FD", "precision", "recall")]
    assert "seed 3" in found.shared
    assert "the uniform word behind every bit" in found.shared
    assert found.differing == ("noise: memory and software",)
    statistics = FeatureStatistics.of(ImageParts.of(garments(50, 9)), name="pictures")
    with_file = compare_folders(a, b, statistics, extractor=extractor)
    assert with_file.differences[0].value == pytest.approx(kid_difference(x, z, statistics.features).value, rel=1e-6)
    assert "No difference of FD" in with_file.reason  # of 50 real images
    status, out, err = call(capsys, "evaluate", a, "--against", b)
    assert status == 0, err
    assert "A pair shares model abababababab, seed 3" in out
    assert "They differ in noise: memory and software." in out
    itself = compare_folders(b, b, against, extractor=extractor)
    assert all(d.value == d.low == d.high == 0 for d in itself.differences)
    assert "every number of its noise" in itself.shared


def test_what_pairs_share_is_not_guessed() -> None:
    assert shared_by({}, RUN) == ("", [])
    shared, differing = shared_by(RUN, RUN | {"seed": 4, "provenance": {"kind": "pseudo", "description": "other"}})
    assert "noise" not in shared
    assert differing == ["seed: 3 and 4"]
    shared, _ = shared_by(RUN, RUN | {"provenance": {"kind": "recorded", "description": "lab"}})
    assert "word" not in shared


def test_folders_without_common_names_are_no_pairs(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", garments(6, 1)), folder(tmp_path / "b", garments(3, 1))
    with pytest.raises(InputError, match="3 images of equal names, too few"):
        compare_folders(a, b, reference(), extractor=Extractor.load())
