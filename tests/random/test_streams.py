"""The random generator against its published known answers, and the promise that position is everything."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from voltaspin.core.errors import InputError
from voltaspin.random.philox import philox4x32, philox4x32_7, philox4x32_7_block, philox4x32_7_stream
from voltaspin.random.streams import Stream, derive_key

pytestmark = pytest.mark.installed

# Random123, file tests/kat_vectors, philox 4x32 with 10 rounds, and with 7 below: counter, key, answer.
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_known_answers(counter, key, answer):
    words = philox4x32(*map(np.uint64, counter), *map(np.uint64, key))
    assert [int(w) for w in words] == answer


SEVEN = [
    [0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48],
    [0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662],
    [0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A],
]


@pytest.mark.parametrize(("known", "answer"), list(zip(KNOWN, SEVEN, strict=True)))
def test_philox_of_seven_rounds_known_answers(known, answer):
    counter, key, _ = known
    words = philox4x32_7(*map(np.uint64, counter), *map(np.uint64, key))
    assert [int(w) for w in words] == answer


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_stream_words_are_the_known_answers(counter, key, answer):
    stream = Stream(key[0] | key[1] << 32, counter[2] | counter[3] << 32)
    words = stream.words(4, start=4 * (counter[0] | counter[1] << 32))
    assert words.tolist() == answer


@given(start=st.integers(0, 2**34), count=st.integers(0, 200), skip=st.integers(0, 150))
@settings(max_examples=40, deadline=None)
def test_a_word_depends_on_its_position_alone(start, count, skip):
    stream = Stream(12345, 6)
    whole = stream.words(skip + count, start=start)
    assert np.array_equal(whole[skip:], stream.words(count, start=start + skip))


def test_keys_separate_seeds_purposes_and_streams():
    first = Stream.of(1, "a").words(64)
    for other in (Stream.of(2, "a"), Stream.of(1, "b"), Stream.of(1, "a", stream=1), Stream.of(1, "a", "b")):
        # 64 pairs of 32-bit words: one coincidence has a probability of 1.5e-8
        assert not (first == other.words(64)).any()
    assert derive_key(1, "a", "b") != derive_key(1, "ab")
    assert derive_key(2**100, "x") == derive_key(2**100, "x")


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(InputError, match="non-negative integer"):
        derive_key(seed, "x")


def test_uniforms_and_normals_follow_their_distributions():
    stream = Stream.of(3, "test")
    u, z = stream.uniforms(100_000), stream.normals(100_000)
    assert u.min() > 0
    assert u.max() < 1
    # Kolmogorov-Smirnov at a level of 1e-4: a fixed seed passes it or the generator is wrong
    assert kstest(u, "uniform").pvalue > 1e-4
    assert kstest(z, "norm").pvalue > 1e-4


def test_every_bit_of_a_word_is_fair():
    n = 200_000
    bits = np.unpackbits(Stream.of(4, "test").words(n).view(np.uint8).reshape(n, 4), axis=1)
    # standard error of a fair frequency, 4.5 of them for the largest of 32
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(n)


def test_the_same_numbers_in_another_process():
    code = "from voltaspin.random.streams import Stream; print(Stream.of(5, 'p', stream=2).words(5, start=9).tolist())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(Stream.of(5, "p", stream=2).words(5, start=9).tolist())


def test_import_is_light():
    code = (
        "import sys, voltaspin.noise, voltaspin.memory; "
        "print([m for m in ('torch', 'numba', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_seven_rounds_in_two_parts_are_the_same_seven_rounds() -> None:
    numbers = np.random.RandomState(1).randint(0, 2**32, (50, 6), np.uint64)
    for c0, c1, c2, c3, k0, k1 in numbers:
        prepared = map(np.uint64, philox4x32_7_stream(c1, c2, c3, k0, k1))
        assert philox4x32_7_block(c0, *prepared, k0, k1) == philox4x32_7(c0, c1, c2, c3, k0, k1)
