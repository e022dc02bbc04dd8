"""The shipped extractor is the one that its card and the reference statistics speak of."""

import json
import math
import shutil

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.files import sha256_of
from voltaspin.diffusion import load_images
from voltaspin.metrics import Extractor, garments, reference
from voltaspin.metrics.features import COLOUR_EXTRACTOR, FEATURES, extractor_folder
from voltaspin.metrics.statistics import SHAPES, load_extractor

HALF_PRECISION = 2.0**-11  # largest relative rounding error of float16


@pytest.fixture(scope="module")
def extractor():
    return Extractor.load()


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(extractor_folder(), tmp_path / "copy")
    return tmp_path / "copy"


def test_card_names_the_weights_and_what_they_were_trained_on(extractor):
    assert extractor.sha256 == sha256_of(extractor_folder() / "weights.safetensors") == extractor.card["sha256"]
    assert extractor.name == "voltaspin-fmnist-cnn-1"
    assert "0 to 49,999" in extractor.card["training"]["data"]
    assert sum(p.numel() for p in extractor.model.parameters()) == extractor.card["parameters"]


def test_interval_of_the_accuracy_is_wilsons(extractor):
    # Wilson's ends solve |p - p0| = z sqrt(p0 (1 - p0) / n), p0 being the end.
    accuracy = extractor.card["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    for end in (accuracy["low"], accuracy["high"]):
        score = abs(accuracy["value"] - end) / math.sqrt(end * (1 - end) / accuracy["n"])
        assert score == pytest.approx(1.959964, rel=1e-6)


def test_accuracy_of_the_card_comes_back_from_the_shipped_features(extractor):
    stored, labels = reference().features["reference"], reference().labels
    weight = extractor.model.head.weight.detach().numpy().astype(np.float64)
    logits = stored @ weight.T + extractor.model.head.bias.detach().numpy()
    top = np.sort(logits, axis=1)[:, -2:]
    # An image may change its class only if half precision can close the gap between its best two.
    error = HALF_PRECISION * np.abs(stored) @ np.abs(weight).T
    doubtful = int((top[:, 1] - top[:, 0] < 2 * error.max(axis=1)).sum())
    assert doubtful < 200
    right = int((logits.argmax(axis=1) == labels).sum())
    assert abs(right - extractor.card["accuracy"]["correct"]) <= doubtful
    assert right / len(labels) >= 0.91


def test_garments_give_the_features_that_are_stored_for_them(extractor):
    """Images, scaling, network, order and stored features fit together from end to end."""
    labels, stored = reference().labels, reference().features["reference"]
    place = np.concatenate([np.flatnonzero(labels == c)[: 4 if c < 2 else 3] for c in range(10)])
    images = garments()
    assert images.shape == (32, 1, 28, 28)
    assert images.dtype == np.uint8
    found = extractor.features(images)
    assert found.dtype == np.float32
    # float16 rounding, plus 1e-4 for another processor's float32 sums.
    np.testing.assert_allclose(found, stored[place], rtol=HALF_PRECISION, atol=1e-4)


def test_features_depend_on_the_batch_by_rounding_only_and_report_progress(extractor):
    images, seen = garments(), []
    whole = extractor.features(images)
    parts = extractor.features(images, batch=5, progress=lambda done, n: seen.append((done, n)))
    # Sums over at most 864 float32 products in another order: well below 1e-4.
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-4)
    assert seen[0] == (5, 32)
    assert seen[-1] == (32, 32)
    assert extractor.features(images[::-1])[0] == pytest.approx(whole[-1], abs=1e-4)


def test_features_of_shifted_garments_are_nearer_than_those_of_other_garments(extractor):
    images = garments()
    plain, moved = extractor.features(images), extractor.features(np.roll(images, 1, axis=3))
    between = np.linalg.norm(plain[:, None] - plain[None], axis=2)
    assert np.median(np.linalg.norm(plain - moved, axis=1)) < 0.5 * np.median(between[between > 0])


def test_tampered_weights_are_refused(copied):
    weights = copied / "weights.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(bytes(raw))
    with pytest.raises(InputError, match="SHA-256"):
        Extractor.load(copied)


def test_weights_of_another_network_are_refused(copied):
    from safetensors.numpy import load_file, save_file

    weights = copied / "weights.safetensors"
    kept = dict(list(load_file(weights).items())[1:])
    save_file(kept, weights)
    card = json.loads((copied / "card.json").read_text())
    (copied / "card.json").write_text(json.dumps(card | {"sha256": sha256_of(weights)}))
    with pytest.raises(InputError, match="missing"):
        Extractor.load(copied)
    weights.write_bytes(b"no weights at all")
    (copied / "card.json").write_text(json.dumps(card | {"sha256": sha256_of(weights)}))
    with pytest.raises(InputError, match="does not hold this network"):
        Extractor.load(copied)


def test_missing_or_foreign_card_is_refused(copied):
    (copied / "card.json").write_text('{"kind": "reference"}')
    with pytest.raises(InputError, match="not the card of an extractor"):
        Extractor.load(copied)
    (copied / "card.json").unlink()
    with pytest.raises(InputError, match="does not exist"):
        Extractor.load(copied)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 1, 28, 28), np.float32), "float32, not uint8"),
        ([[0]], "list, not uint8"),
        (np.zeros((2, 3, 28, 28), np.uint8), "3 channels"),
        (np.zeros((2, 28, 28), np.uint8), r"images\[:, None\]"),
        (np.zeros((2, 1, 32, 32), np.uint8), "resize"),
        (np.zeros((0, 1, 28, 28), np.uint8), "no images"),
    ],
)
def test_wrong_images_are_refused_with_the_remedy(extractor, images, message):
    with pytest.raises(InputError, match=message):
        extractor.features(images)


def test_wrong_batch_is_refused(extractor):
    with pytest.raises(InputError, match="batch 0"):
        extractor.features(garments(), batch=0)


def test_width_of_the_reference_is_that_of_the_extractor():
    assert reference().features["reference"].shape == (10_000, FEATURES)


def test_the_extractor_in_colour_is_that_of_its_card():
    colour = load_extractor("cifar10")
    assert colour.sha256 == sha256_of(extractor_folder(COLOUR_EXTRACTOR) / "weights.safetensors")
    assert (colour.name, colour.shape) == (COLOUR_EXTRACTOR, SHAPES["cifar10"])
    card = colour.card
    assert "JPEG" in card["training"]["data"]  # scores on other copies hold their difference too
    assert card["accuracy"]["correct"] / card["accuracy"]["n"] == card["accuracy"]["value"] > 0.8
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, 32, 32)).astype(np.uint8)
    features = colour.features(images)
    assert features.shape == (5, FEATURES)
    assert np.allclose(colour.features(images, batch=2), features, atol=1e-5)
    assert not np.allclose(colour.features(images[:, ::-1].copy()), features, atol=1e-2)  # it sees colours
    with pytest.raises(
        InputError, match=r"1 channel .* takes colour ones; convert them, or take the extractor shipped"
    ):
        colour.features(images[:, :1])
    with pytest.raises(InputError, match=r"3 channels .* takes grey ones; convert them, or take the extractor cifar10"):
        Extractor.load().features(images)
    with pytest.raises(InputError, match=r"not \(n, 3, 32, 32\); resize before scoring"):
        colour.features(images[:, :, :28, :28])


def test_the_extractor_in_colour_knows_the_classes_that_it_was_trained_on():
    """On the held-out images, where a set is at hand: the card's accuracy, and pictures that it never saw."""
    try:
        test = load_images("cifar10", split="test")
    except InputError as error:
        pytest.skip(str(error))
    colour = load_extractor("cifar10")
    right = (colour.logits(test.images[:2000]).argmax(1) == test.labels[:2000]).mean()
    p = colour.card["accuracy"]["value"]
    assert abs(right - p) < 4 * math.sqrt(p * (1 - p) / 2000)
