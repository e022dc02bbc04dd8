"""The estimates against the standard's worked examples, slow counting, and sources of known min-entropy."""

from collections import Counter
from math import log2

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import PseudoSource, entropy
from voltaspin.noise.examination.entropy_limits import limits

IID = {p: -log2(max(p, 1 - p)) for p in (0.5, 0.6, 0.7, 0.9)}


def coins(n, p, seed=0):
    return (np.random.default_rng(seed).random(n) < p).astype(np.uint8)


def test_collisions_are_waited_for_as_the_standard_says():
    s = np.array([int(c) for c in "1000111001010101001110010101010011100101"], np.uint8)
    waits, i = [], 0
    while i < s.size - 1:
        if s[i] == s[i + 1]:
            waits.append(2)
            i += 2
        elif i < s.size - 2:
            waits.append(3)
            i += 3
        else:
            break
    low = np.mean(waits) - entropy.Z * np.std(waits, ddof=1) / np.sqrt(len(waits))
    p = 0.5 + np.sqrt(max(1.25 - 0.5 * low, 0))
    assert entropy.collision(s) == pytest.approx(min(1.0, -log2(p)), abs=1e-12)


def test_the_markov_estimate_is_the_likeliest_of_all_paths():
    s = np.array([int(c) for c in "1000111001010101001110010101010011100101"], np.uint8)
    pairs = Counter(zip(s[:-1].tolist(), s[1:].tolist(), strict=True))
    p = {(a, b): pairs[a, b] / (pairs[a, 0] + pairs[a, 1]) for a in (0, 1) for b in (0, 1)}
    start = [np.mean(s == 0), np.mean(s == 1)]
    best = 0.0
    for first in (0, 1):
        reach = {first: start[first]}
        for _ in range(127):  # the likeliest path by dynamic programming
            reach = {b: max(q * p[a, b] for a, q in reach.items()) for b in (0, 1)}
        best = max(best, *reach.values())
    assert entropy.markov(s) == pytest.approx(-log2(best) / 128, abs=1e-12)


def test_suffixes_are_in_the_order_of_the_alphabet():
    rng = np.random.default_rng(0)
    for s in (rng.integers(0, 2, 300), np.zeros(200, int), np.ones(200, int), np.tile([0, 1, 1], 100)):
        bits = s.astype(np.uint8)
        text = "".join(map(str, bits))
        assert entropy.suffix_array(bits).tolist() == sorted(range(len(text)), key=lambda i: text[i:])


@pytest.mark.parametrize("kind", ["random", "periodic", "biased"])
def test_tuples_of_every_length_are_counted_as_a_dictionary_counts_them(kind):
    rng = np.random.default_rng(1)
    biased, random, periodic = rng.random(400) < 0.1, rng.integers(0, 2, 400), np.tile([0, 0, 1], 100)
    s = {"random": random, "periodic": periodic, "biased": biased}[kind].astype(np.uint8)
    common, pairs = entropy._tuples(s)
    text = "".join(map(str, s))
    for length in range(1, common.size + 2):
        counts = Counter(text[i : i + length] for i in range(len(text) - length + 1)).values()
        most, repeated = max(counts), sum(c * (c - 1) // 2 for c in counts)
        assert (common[length], pairs[length]) == (most, repeated) if length < common.size else repeated == 0


def test_compression_solves_the_standards_equation():
    s = coins(60_000, 0.7)
    b, d = 6, 1000
    blocks = [int("".join(map(str, block)), 2) for block in s[: s.size // b * b].reshape(-1, b)]
    last, logs = {}, []
    for i, block in enumerate(blocks, start=1):
        if i > d:
            logs.append(log2(i - last.get(block, 0)))
        last[block] = i
    v = len(logs)
    deviation = 0.5907 * np.sqrt(np.sum(np.square(logs)) / (v - 1) - np.mean(logs) ** 2)
    target = np.mean(logs) - entropy.Z * deviation / np.sqrt(v)
    p = 2.0 ** (-b * entropy.compression(s))

    def g(z):
        out, inner, decay = 0.0, 0.0, 1.0
        for t in range(1, len(blocks) + 1):  # the double sum, its inner one running along
            if t > d:
                out += inner + log2(t) * z * decay
            inner += log2(t) * z * z * decay
            decay *= 1 - z
        return out / v

    assert g(p) + (2**b - 1) * g((1 - p) / (2**b - 1)) == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize("p", [0.6, 0.7, 0.9])
def test_estimates_of_biased_coins_lie_below_the_truth_but_not_far(p):
    found = entropy.estimate(coins(400_000, p, seed=int(10 * p)))
    error = np.sqrt((1 - p) / p / 400_000) / np.log(2)  # of -log2 of the share of ones
    assert IID[p] - (2.576 + 4.5) * error < found.most_common_value < IID[p] + (4.5 - 2.576) * error
    assert found.markov == pytest.approx(IID[p], abs=4.5 * error)  # this one has no interval
    for name in ("collision", "compression", "t_tuple"):
        assert 0.5 * IID[p] < getattr(found, name) < IID[p] + 0.01
    # repeated tuples show the entropy of collisions, -log2(p^2 + q^2), which is larger
    assert found.lrs == pytest.approx(-log2(p**2 + (1 - p) ** 2), rel=0.05)
    assert found.minimum == min(getattr(found, n) for n in entropy.ESTIMATES)


def test_a_chain_that_repeats_itself_is_seen_by_markov_and_not_by_the_share_of_ones():
    flips = coins(400_000, 0.3, seed=1)
    s = (np.cumsum(flips) % 2).astype(np.uint8)
    found = entropy.estimate(s)
    assert found.most_common_value > 0.98
    assert found.markov == pytest.approx(-log2(0.7), abs=0.01)


def test_constant_and_periodic_bits_have_none():
    for s in (np.zeros(20_000, np.uint8), np.ones(20_000, np.uint8)):
        found = entropy.estimate(s)
        assert max(getattr(found, n) for n in entropy.ESTIMATES) < 1e-9
    assert entropy.estimate(np.tile([0, 1, 1, 0, 1], 4000).astype(np.uint8)).minimum < 0.01


def test_perfect_bits_stay_above_their_limits_and_biased_ones_do_not():
    found = limits(100_000, false_alarm=1e-3)
    for seed in range(5):
        ideal = entropy.estimate(PseudoSource(seed=seed).bits(100_000).tobytes())
        assert ideal.compression < 0.9  # the estimate gives perfect bits less than 1
        assert found.below(ideal) == ()
    biased = found.below(entropy.estimate(coins(100_000, 0.52)))
    assert "most_common_value" in biased
    assert set(found.to_json()["lower"]) == set(entropy.ESTIMATES)


def test_too_few_bits_are_refused():
    with pytest.raises(InputError, match="6012"):
        entropy.estimate(np.zeros(6011, np.uint8))
