"""Diffusion by flips: closed forms against enumeration, and sampling in the array against an exact answer."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, norm

from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel
from voltaspin.diffusion import bitflip
from voltaspin.diffusion.inplace import Drive
from voltaspin.memory import MagnetoelectricMemory

BETAS = [0.05, 0.2, 0.1, 0.4]


def ideal(rows, columns, seed=0):
    model = SwitchingModel.constant(0.5, 0.5)
    return MagnetoelectricMemory(rows=rows, columns=columns, model=model, seed=seed)


def path_probability(path, betas):
    return np.prod([b if x != y else 1 - b for x, y, b in zip(path, path[1:], betas, strict=False)])


@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_marginal_and_posterior_are_those_of_all_paths(t):
    process = bitflip.Process(BETAS)
    paths = {p: path_probability(p, BETAS[:t]) for p in itertools.product((0, 1), repeat=t + 1)}
    assert process.marginal(t) == pytest.approx(sum(w for p, w in paths.items() if p[0] == 0 and p[-1] == 1))
    for x_t, p_x0 in itertools.product((0, 1), (0.0, 0.3, 1.0)):
        exact = 0.0
        for x0, weight in ((1, p_x0), (0, 1 - p_x0)):
            ends = {p: w for p, w in paths.items() if p[0] == x0 and p[-1] == x_t}
            exact += weight * sum(w for p, w in ends.items() if p[-2] == 1) / sum(ends.values())
        assert float(process.posterior(x_t, p_x0, t)) == pytest.approx(exact)


def test_the_first_step_gives_the_prediction_back():
    p = np.linspace(0, 1, 11)
    process = bitflip.Process([0.2])
    assert np.allclose(process.posterior(np.ones(11), p, 1), p)
    assert np.allclose(process.posterior(np.zeros(11), p, 1), p)
    still = bitflip.Process([0.0, 0.2])  # a step without flips: the bit stays
    assert np.allclose(still.posterior([0, 1], 0.5, 1), [0, 1])


def test_cosine_schedule_keeps_the_correlation_that_it_names():
    process = bitflip.Process.cosine(50)
    for t in (1, 10, 25, 40):
        assert 1 - 2 * process.marginal(t) == pytest.approx(np.cos(np.pi / 2 * t / 50) ** 2)
    assert process.marginal(50) > 0.499


def test_flips_in_the_array_follow_the_marginal():
    process, memory = bitflip.Process(BETAS), ideal(128, 128, seed=3)
    x0 = np.random.default_rng(0).integers(0, 2, (128, 128), dtype=np.uint8)
    for t in range(5):
        p, flips = process.marginal(t), int((process.forward(memory, x0, t) != x0).sum())
        assert binom.ppf(norm.sf(3), x0.size, p) <= flips <= binom.isf(norm.sf(3), x0.size, p)


def test_sampling_in_the_array_gives_the_exact_distribution():
    patterns = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]], np.uint8)
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    process = bitflip.Process(np.linspace(0.0005, 0.03, 400))
    n = 4096

    def predict(x, t):
        """P(x_0 = 1) of each bit given the whole pattern: by Bayes over the patterns."""
        p = process.marginal(t)
        off = (x[:, None, :] != patterns[None]).sum(-1)
        likelihood = weights * p**off * (1 - p) ** (4 - off)
        return (likelihood / likelihood.sum(1, keepdims=True)) @ patterns

    memory = ideal(n, 4, seed=1)
    drive = Drive.of(memory, count=400)
    found = bitflip.reverse(process, memory, predict, drive=drive)
    codes = found @ (1 << np.arange(4))
    exact = np.zeros(16)
    exact[patterns @ (1 << np.arange(4))] = weights
    counts = np.bincount(codes, minlength=16) / n
    distance = 0.5 * np.abs(counts - exact).sum()
    # sampling alone gives half the sum of |Gaussians|; drawing bits of a step independently costs of the order of beta
    sampling = 0.5 * np.sqrt(exact * (1 - exact) / n)
    chance = np.sqrt(2 / np.pi) * sampling.sum() + 3 * np.sqrt((1 - 2 / np.pi) * (sampling**2).sum())
    assert distance < chance + 2 * process.betas[0]
    blind = bitflip.reverse(process, ideal(n, 4, seed=1), lambda x, t: np.full(x.shape, 0.5), drive=drive)
    far = 0.5 * np.abs(np.bincount(blind @ (1 << np.arange(4)), minlength=16) / n - exact).sum()
    assert far > 0.5


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_planes_there_and_back(bits, gray):
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 5, 7), dtype=np.uint8)
    planes = bitflip.to_planes(images, bits=bits, gray=gray)
    assert planes.shape == (3, 2 * bits, 5, 7)
    back = bitflip.from_planes(planes, bits=bits, gray=gray)
    assert np.array_equal(back >> (8 - bits), images >> (8 - bits))
    if bits == 8:
        assert np.array_equal(back, images)


def test_neighbouring_levels_differ_in_one_gray_bit():
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    planes = bitflip.to_planes(levels)[:, :, 0, 0]
    assert ((planes[1:] != planes[:-1]).sum(1) == 1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bitflip.Process([]), "at least one"),
        (lambda: bitflip.Process([0.1, 0.7]), r"betas\[1\] = 0\.7"),
        (lambda: bitflip.Process([0.1]).marginal(2), "t = 2 is no step"),
        (lambda: bitflip.Process([0.1]).posterior([0], [0.5], 0), "t = 0 is no step"),
        (lambda: bitflip.Process([0.1]).posterior([2], [0.5], 1), "must be bits"),
        (lambda: bitflip.Process([0.1]).posterior([1], [1.5], 1), "probabilities from 0 to 1"),
        (lambda: bitflip.to_planes(np.zeros((2, 2), np.uint8)), "give uint8"),
        (lambda: bitflip.from_planes(np.zeros((1, 3, 2, 2), np.uint8), bits=2), "3 planes"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
