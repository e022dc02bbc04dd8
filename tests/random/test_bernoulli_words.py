"""The engine of long sequences against integers, published numbers and counting."""

import numpy as np
import pytest

from voltaspin.random.bernoulli import GROUP_WORDS, engine_keys, equal_words, fair_words, pulse_words, sliced

G, C1, C2, FULL = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 2**64 - 1


def word(counter, keys):
    x = (counter + int(keys[0])) * G & FULL
    x = (x ^ x >> 30) * C1 & FULL
    x = (x ^ int(keys[1]) ^ x >> 27) * C2 & FULL
    return x ^ x >> 31


def bits_of(words):
    return np.unpackbits(np.asarray(words, np.uint64).view(np.uint8))


def masks(q):
    return np.array([FULL if q >> b & 1 else 0 for b in range(16)], np.uint64)


def test_without_its_second_key_a_word_is_that_of_splitmix64():
    out = np.empty(GROUP_WORDS, np.uint64)
    fair_words(np.zeros(2, np.uint64), np.uint64(0), out)
    # the first numbers of the seed 0, from the generator's reference implementation
    assert [hex(w) for w in out[1:4]] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


def test_thresholds_are_sliced_and_padded_with_zero():
    q = np.array([0, 1, 65535, 65536, 32768] * 30, np.int32)
    planes = sliced(q)
    assert planes.shape == (17, 3)
    back = sum(bits_of(plane).astype(np.int64) << b for b, plane in enumerate(planes))
    assert np.array_equal(back[:150], q)
    assert not back[150:].any()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("cells", [64, 150, 70 * 64])
def test_a_pulse_of_words_agrees_with_integers(cells, reset):
    rng = np.random.default_rng(1)
    q0, q1 = rng.integers(0, 65537, (2, cells)).astype(np.int32)
    q0[:3], q1[:3] = (0, 65536, 7), (65536, 0, 65536)
    keys = engine_keys(3)
    planes = sliced(q0)
    words = planes.shape[1]
    state = rng.integers(0, 2**63, words).astype(np.uint64)
    before = np.zeros(cells, np.uint8) if reset else bits_of(state)[:cells]
    out = np.empty(words, np.uint64)
    pulse_words(keys, np.uint64(5), 1, planes, planes ^ sliced(q1), reset, state, 1, out)
    rows = -(-words // 64)
    w = np.zeros(cells, np.int64)
    for b in range(16):
        drawn = [word(((5 * rows + i // 64) * 16 + b) * 64 + i % 64, keys) for i in range(words)]
        w += (1 - bits_of(drawn)[:cells].astype(np.int64)) << b
    expected = w < np.where(before == 1, q1, q0)
    assert np.array_equal(bits_of(out)[:cells], expected)
    assert np.array_equal(out, state)


def test_the_xor_of_segments_is_that_of_the_states():
    q = sliced(np.full(6 * 64, 20000, np.int32))
    state = np.zeros(6, np.uint64)
    out = np.empty(2, np.uint64)
    pulse_words(engine_keys(1), np.uint64(0), 1, q, q ^ q, False, state, 3, out)
    assert np.array_equal(out, state[:2] ^ state[2:4] ^ state[4:])


@pytest.mark.parametrize("q", [1, 128, 255, 256, 31935, 32767, 32769, 65535])
def test_equal_cells_have_their_probability(q):
    out = np.empty(400 * GROUP_WORDS, np.uint64)
    equal_words(engine_keys(7), np.uint64(3), masks(q), out)
    n, p = 64 * out.size, q / 65536
    ones = int(np.bitwise_count(out).sum())
    assert abs(ones - n * p) < 4.5 * np.sqrt(n * p * (1 - p))


def test_words_that_share_a_lower_comparison_stay_independent():
    # With q = 128 a 1 needs a tie of the upper bits and half of the shared answers. Two bits of a column are
    # both 1 with p^2; without a fresh answer for the second it would be twice that.
    keys, p = engine_keys(11), 128 / 65536
    found, pairs = 0, 0
    for start in range(0, 8000, 500):
        out = np.empty(500 * GROUP_WORDS, np.uint64)
        equal_words(keys, np.uint64(start), masks(128), out)
        rows = out.reshape(500, 8, 64)
        for one in range(8):
            for other in range(one):
                found += int(np.bitwise_count(rows[:, one] & rows[:, other]).sum())
                pairs += 500 * 64 * 64
    assert abs(found - pairs * p**2) < 4.5 * np.sqrt(pairs * p**2)


def test_groups_are_addressed():
    keys, m = engine_keys(2), masks(31935)
    whole, part = np.empty(3 * GROUP_WORDS, np.uint64), np.empty(GROUP_WORDS, np.uint64)
    equal_words(keys, np.uint64(10), m, whole)
    equal_words(keys, np.uint64(12), m, part)
    assert np.array_equal(whole[2 * GROUP_WORDS :], part)
    other = np.empty(GROUP_WORDS, np.uint64)
    equal_words(engine_keys(3), np.uint64(12), m, other)
    assert not np.array_equal(other, part)
