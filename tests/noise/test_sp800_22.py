"""The battery against NIST's own program on pi and e, the document's examples, and simulated ideal bits."""

import math

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import PseudoSource, assess, sp800_22
from voltaspin.noise.examination import kernels

pytestmark = pytest.mark.installed

N = 10**6

# P-values of NIST's program with its defaults on the first 10^6 bits of pi and e, integer part included
NIST = {
    ("Frequency", ""): (0.578211, 0.953749),
    ("BlockFrequency", ""): (0.380615, 0.211072),
    ("CumulativeSums", "forward"): (0.628308, 0.669886),
    ("CumulativeSums", "reverse"): (0.663369, 0.724265),
    ("Runs", ""): (0.419268, 0.561917),
    ("LongestRun", ""): (0.024390, 0.718945),
    ("Rank", ""): (0.083553, 0.306156),
    ("FFT", ""): (0.010186, 0.847187),
    ("NonOverlappingTemplate", "000000001"): (0.165757, 0.078790),
    ("OverlappingTemplate", ""): (0.296897, 0.110434),
    ("Universal", ""): (0.669012, 0.282568),
    ("ApproximateEntropy", ""): (0.361595, 0.700073),
    ("RandomExcursions", "x = +1"): (0.844143, 0.786868),
    ("RandomExcursionsVariant", "x = -1"): (0.760966, 0.826009),
    ("LinearComplexity", ""): (0.255475, 0.826335),
    ("Serial", "first"): (0.143005, 0.766182),
    ("Serial", "second"): (0.034354, 0.462921),
}
EXCURSIONS_OF_E = (0.573306, 0.197996, 0.164011, 0.007779, 0.786868, 0.440912, 0.797854, 0.778186)
CORRECTED = {"LongestRun": (0.027295, 0.718366), "OverlappingTemplate": (0.260718, 0.159037),
             "Universal": (0.687852, 0.632640)}  # fmt: skip


def _chudnovsky(a, b):
    if b - a == 1:
        p = (6 * a - 5) * (2 * a - 1) * (6 * a - 1) if a else 1
        q = a**3 * 10939058860032000 if a else 1
        t = p * (13591409 + 545140134 * a)
        return p, q, -t if a % 2 else t
    p1, q1, t1 = _chudnovsky(a, (a + b) // 2)
    p2, q2, t2 = _chudnovsky((a + b) // 2, b)
    return p1 * p2, q1 * q2, q2 * t1 + p1 * t2


def _exponential(a, b):
    if b - a == 1:
        return 1, b
    p1, q1 = _exponential(a, (a + b) // 2)
    p2, q2 = _exponential((a + b) // 2, b)
    return p1 * q2 + p2, q1 * q2


def _leading(x):
    return (x >> (x.bit_length() - N)).to_bytes(N // 8, "big")


@pytest.fixture(scope="module")
def digits():
    """The first 10^6 bits of pi and e as packed bytes."""
    more = N + 64
    _, q, t = _chudnovsky(0, int(more * math.log10(2) / 14.18) + 2)
    pi = (q * 426880 * math.isqrt(10005 << 2 * more)) // t
    p, q = _exponential(0, 90_000)
    return _leading(pi), _leading(((p + q) << more) // q)


def by_name(results):
    return {(r.name, r.variant): r.p_value for r in results}


def test_the_digits_begin_as_they_should(digits):
    assert format(int.from_bytes(digits[0][:2], "big"), "016b") == "1100100100001111"
    assert format(int.from_bytes(digits[1][:2], "big"), "016b")[:10] == "1010110111"


@pytest.mark.parametrize("which", [0, 1])
def test_p_values_are_those_of_nists_program(digits, which):
    found = by_name(sp800_22.run(digits[which]))
    for key, values in NIST.items():
        assert found[key] == pytest.approx(values[which], abs=2e-6), key
    if which:
        states = [f"x = {x:+d}" for x in (-4, -3, -2, -1, 1, 2, 3, 4)]
        assert [found["RandomExcursions", s] for s in states] == pytest.approx(EXCURSIONS_OF_E, abs=2e-6)
    assert len(found) == 148 + 8 + 18 + 14  # as many lines as NIST's final report
    assert {name for name, _ in found} == set(sp800_22.TESTS)


@pytest.mark.parametrize("which", [0, 1])
def test_corrected_constants_change_three_tests_and_no_other(digits, which):
    plain, exact = (by_name(sp800_22.run(digits[which], c)) for c in ("nist", "corrected"))
    for (name, variant), p in exact.items():
        if name in CORRECTED:
            assert p == pytest.approx(CORRECTED[name][which], abs=2e-6)
        else:
            assert p == plain[name, variant]


def test_exact_classes_agree_with_counting_everything():
    # every word of 16 bits: the longest run of ones, and the matches of 111 with overlaps
    words = (np.arange(2**16)[:, None] >> np.arange(15, -1, -1) & 1).astype(np.uint8)
    flat = words.ravel()
    runs = np.bincount(np.clip(kernels.runs_of_ones(flat, 16, 3)[0], 2, 6) - 2, minlength=5) / 2**16
    assert sp800_22._run_probabilities(16, 2, 6) == pytest.approx(runs, abs=1e-12)
    matches = np.bincount(np.minimum(kernels.runs_of_ones(flat, 16, 3)[1], 5), minlength=6) / 2**16
    assert sp800_22._exact_matches(3, 16, 6) == pytest.approx(matches, abs=1e-12)


def test_exact_classes_of_the_overlapping_template_are_the_published_ones():
    published = (0.364091, 0.185659, 0.139381, 0.100571, 0.070432, 0.139865)  # Hamano and Kaneko 2007
    assert sp800_22._exact_matches(9, 1032, 6) == pytest.approx(published, abs=1e-6)


def test_linear_complexity_of_known_registers():
    # the document's example of section 2.10.8 step 2: 1101011110001 has complexity 4
    assert kernels.linear_complexities(np.array([int(c) for c in "1101011110001"], np.uint8), 13)[0] == 4
    state, bits = [1] + [0] * 88, []  # a shift register of 89 cells with taps 89 and 38
    for _ in range(500):
        bits.append(state[-1])
        state = [state[88] ^ state[37], *state[:-1]]
    assert kernels.linear_complexities(np.array(bits, np.uint8), 500)[0] == 89
    assert kernels.linear_complexities(np.zeros(500, np.uint8), 500)[0] == 0
    only_the_last = np.zeros(500, np.uint8)
    only_the_last[-1] = 1
    assert kernels.linear_complexities(only_the_last, 500)[0] == 500


def test_linear_complexity_agrees_with_massey_on_lists():
    def massey(s):
        c, b, length, m = [1] + [0] * len(s), [1] + [0] * len(s), 0, -1
        for n in range(len(s)):
            if sum(c[i] & s[n - i] for i in range(length + 1)) % 2:
                t = c[:]
                for j in range(len(s) - n + m + 1):
                    c[n - m + j] ^= b[j]
                if length <= n // 2:
                    length, m, b = n + 1 - length, n, t
        return length

    bits = np.random.default_rng(3).integers(0, 2, 40 * 130).astype(np.uint8)
    expected = [massey(list(map(int, block))) for block in bits.reshape(40, 130)]
    assert kernels.linear_complexities(bits, 130).tolist() == expected


def test_ranks_of_known_matrices():
    eye, shift = np.eye(32, dtype=np.uint8), np.eye(32, k=1, dtype=np.uint8)
    twice = eye.copy()
    twice[1] = twice[0]
    matrices = np.concatenate([m.ravel() for m in (eye, shift, twice, 0 * eye)])
    assert kernels.ranks(matrices, 32).tolist() == [32, 31, 31, 0]


def test_examples_of_the_document():
    # 2.1.8 and 2.3.8: the first 100 binary digits of pi
    text = "1100100100001111110110101010001000100001011010001100001000110100110001001100011001100010100010111000"
    bits = np.array([int(c) for c in text])
    found = by_name(sp800_22.run(bits, block=10))
    assert found["Frequency", ""] == pytest.approx(0.109599, abs=1e-6)
    assert found["BlockFrequency", ""] == pytest.approx(0.706438, abs=1e-6)
    assert found["Runs", ""] == pytest.approx(0.500798, abs=1e-6)
    assert found["CumulativeSums", "forward"] == pytest.approx(0.219194, abs=1e-6)
    assert found["CumulativeSums", "reverse"] == pytest.approx(0.114866, abs=1e-6)


def test_every_kind_of_input_gives_the_same_and_stays_as_it_was(tmp_path):
    packed = PseudoSource(seed=1).bits(200_000)
    bits = np.unpackbits(packed)
    file = tmp_path / "bits.bin"
    file.write_bytes(packed.tobytes())
    expected = sp800_22.run(bits)
    for given in (
        bits.astype(bool),
        bits.astype(np.int64),
        packed.tobytes(),
        bytearray(packed.tobytes()),
        file,
        str(file),
    ):
        before = given.copy() if isinstance(given, np.ndarray | bytearray) else given
        assert sp800_22.run(given) == expected
        assert np.array_equal(given, before) if isinstance(given, np.ndarray) else given == before
    bits.flags.writeable = False
    assert sp800_22.run(bits[::-1]) == sp800_22.run(np.ascontiguousarray(bits[::-1]))
    assert sp800_22.run(bits, n_bits=100_001) == sp800_22.run(bits[:100_001]) == sp800_22.run(file, n_bits=100_001)


@pytest.mark.parametrize("n", [1, 99, 100, 128, 1000, 6272, 50_000, 400_000])
def test_short_sequences_skip_what_they_cannot_serve_and_run_the_rest(n):
    bits = np.unpackbits(PseudoSource(seed=4).bits(n), count=n)
    results = sp800_22.run(bits)
    for r in results:
        assert (r.p_value is None) == bool(r.reason)
        assert r.p_value is None or 0 <= r.p_value <= 1
    ran = {r.name for r in results if r.p_value is not None}
    assert ("Frequency" in ran) == (n >= 100)
    assert ("LongestRun" in ran) == (n >= 128)
    assert ("Universal" in ran) == (n >= 387_840)
    assert "fewer than the" in next(r.reason for r in results if r.name == "Universal") or n >= 387_840


@pytest.mark.parametrize("bit", [0, 1])
def test_constant_bits_fail_and_break_nothing(bit):
    results = sp800_22.run(np.full(10**6, bit, np.uint8))
    found = {r.name: r.p_value for r in results if r.variant in ("", "forward", "first")}
    for name in ("Frequency", "BlockFrequency", "CumulativeSums", "Runs", "LongestRun", "Rank", "Serial",
                 "ApproximateEntropy", "LinearComplexity", "Universal"):  # fmt: skip
        assert found[name] < 1e-6, name
    assert all(r.p_value is None for r in results if r.name.startswith("RandomExcursions"))


@pytest.mark.parametrize(("bits", "options", "said"), [
    (np.empty(0, np.uint8), {}, "empty"), (b"", {}, "empty"), (np.array([0, 1, 2]), {}, "0 to 2"),
    (np.array([0, -1]), {}, "-1 to 0"), (np.array([0.0, 1.0]), {}, "float64"), (np.zeros((2, 2), int), {}, "shape"),
    (b"abc", {"n_bits": 25}, "24 bits"), (b"abc", {"n_bits": 0}, "n_bits = 0"), ("no such file", {}, "not a file"),
    (b"abc", {"constants": "better"}, "unknown"), (b"abc", {"template": 1}, "template"),
    (bytes(1_250_001), {}, "one sequence"),
])  # fmt: skip
def test_bad_input_is_refused(bits, options, said):
    with pytest.raises(InputError, match=said):
        sp800_22.run(bits, **options)


def test_many_ideal_sequences_pass_at_the_second_level():
    found = assess(PseudoSource(seed=10).bits, sequences=200, n_bits=100_000, constants="corrected")
    # each row fails by chance as often as it says; rows are correlated, so a wide Poisson limit
    assert len(found.failed) <= found.expected_failures + 4.5 * np.sqrt(found.expected_failures) + 1
    p = found.p_values[:, [i for i, r in enumerate(found.rows) if r.name in ("Frequency", "Runs", "FFT")]]
    assert abs(p.mean() - 0.5) < 4.5 * np.sqrt(1 / 12 / p.size)
    row = next(r for r in found.rows if r.name == "Frequency")
    assert row.sequences == 200 == sum(row.histogram)
    assert row.least == pytest.approx(198 - 3 * math.sqrt(1.98))
    universal = next(r for r in found.rows if r.name == "Universal")
    assert universal.sequences == 0
    assert "fewer than" in universal.reason


def test_a_bias_of_one_percent_is_found_at_the_second_level():
    rng = np.random.default_rng(5)
    biased = assess(lambda n: np.packbits(rng.random(n) < 0.51), sequences=60, n_bits=20_000)
    row = next(r for r in biased.rows if r.name == "Frequency")
    assert not row.proportion_holds
    assert not row.uniformity_holds
    assert row in biased.failed


def test_sequences_of_a_file_are_read_one_at_a_time(tmp_path):
    packed = PseudoSource(seed=3).bits(80_000)
    file = tmp_path / "bits.bin"
    file.write_bytes(packed.tobytes())
    from_file = assess(file, sequences=8, n_bits=10_000)
    from_bytes = assess(packed.tobytes(), sequences=8, n_bits=10_000)
    source = PseudoSource(seed=3)
    seen = []
    drawn = assess(source.bits, sequences=8, n_bits=10_000, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (8, 8)
    assert np.array_equal(from_file.p_values, from_bytes.p_values, equal_nan=True)
    assert np.array_equal(from_file.p_values, drawn.p_values, equal_nan=True)
    assert all(r.uniformity is None for r in drawn.rows)
    for options, said in (({"sequences": 9, "n_bits": 10_000}, "8 sequences"), ({"sequences": 0}, "at least 1")):
        with pytest.raises(InputError, match=said):
            assess(file, **options)
