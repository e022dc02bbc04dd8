"""Precision and recall against a search tree, against sets whose answer is known, and their errors against repeats."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from voltaspin.core.errors import InputError
from voltaspin.metrics import paired_difference, precision_recall, reference, score_features
from voltaspin.metrics.manifold import Manifold, precision_of, recall_of


def by_trees(points, by, k=3):
    """Share of points within the distance of some other point to its k-th neighbour."""
    tree = cKDTree(by)
    radii = tree.query(by, k + 1)[0][:, -1]
    return np.mean([any(np.linalg.norm(by - p, axis=1) <= radii * (1 + 1e-12)) for p in points])


@pytest.mark.parametrize(("n", "m", "d"), [(60, 90, 3), (300, 41, 8)])
def test_shares_are_those_of_a_search_tree(n, m, d):
    rng = np.random.default_rng(n)
    x, y = rng.normal(0.4, 0.8, (n, d)), rng.normal(size=(m, d))
    precision, recall = precision_recall(x, y)
    assert precision.value == pytest.approx(by_trees(x, y))
    assert recall.value == pytest.approx(by_trees(y, x))


def test_radii_without_a_group_are_those_of_the_rest():
    points = np.random.default_rng(0).normal(size=(130, 5))
    radii = Manifold.of(points).radii
    for g in (0, 7, 19):
        left = np.arange(130) % 20 != g
        assert np.allclose(radii[1 + g, left], cKDTree(points[left]).query(points[left], 4)[0][:, -1] ** 2)
        assert (radii[1 + g, ~left] == -1).all()


def test_what_is_made_twice_and_what_is_never_made():
    rng = np.random.default_rng(1)
    two = np.concatenate([rng.normal(size=(200, 4)), rng.normal(size=(200, 4)) + 50])
    precision, recall = precision_recall(two, two)
    assert (precision.value, recall.value) == (1.0, 1.0)
    one = rng.normal(size=(2000, 4))  # of two modes one is never made
    precision, recall = precision_recall(one, two)
    assert recall.value == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(400))
    assert recall.value <= 0.5
    assert precision.value > 0.9
    assert precision_recall(one + 200, two).precision.value == 0.0


def test_standard_errors_are_those_of_repeats_or_a_little_wider():
    rng, rows = np.random.default_rng(2), []
    for _ in range(60):
        y, x = rng.normal(size=(400, 8)), 0.8 * rng.normal(size=(200, 8)) + 0.2
        b = x + 0.3 * rng.normal(size=x.shape)
        real, pair = Manifold.of(y), [(1.0, b), (-1.0, x)]
        found = (precision_of([(1.0, x)], real), recall_of([(1.0, x)], y), precision_of(pair, real), recall_of(pair, y))
        rows.append([(e.value, e.std) for e in found])
    values, stds = np.moveaxis(np.array(rows), 2, 0)
    ratio = np.sqrt((stds**2).mean(0)) / values.std(0, ddof=1)
    # the spread of 60 repeats is known to 1 in sqrt(2 * 59); 3 sigma, and 1.4 for what is said to be too wide
    assert (ratio > 1 / (1 + 3 / np.sqrt(118))).all()
    assert (ratio < 1.4 * (1 + 3 / np.sqrt(118))).all()


def test_blurred_garments_lose_recall():
    against = reference("fashion-mnist")
    rows = {name: score_features(against.features[name][:1000], against) for name in ("real", "blur")}
    assert rows["real"].recall.low > rows["blur"].recall.high
    lost = paired_difference(against.features["blur"][:1000], against.features["real"][:1000], against, metric="recall")
    assert lost.value == pytest.approx(rows["blur"].recall.value - rows["real"].recall.value)
    assert lost.high < 0
    same = against.features["real"][:300]
    assert paired_difference(same, same, against, metric="precision").value == 0.0


def test_bad_input():
    good = np.random.default_rng(0).normal(size=(50, 4))
    with pytest.raises(InputError, match="x has 5 images, this distance needs at least 8"):
        precision_recall(good[:5], good)
    with pytest.raises(InputError, match="width 3 and 4"):
        precision_recall(good[:, :3], good)
    with pytest.raises(InputError, match="NaN"):
        precision_recall(np.full((50, 4), np.nan), good)
    against = reference("fashion-mnist")
    some, more = against.features["real"][:20], against.features["real"][:30]
    with pytest.raises(InputError, match="no pairs"):
        paired_difference(some, more, against, metric="recall")
