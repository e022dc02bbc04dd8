"""The report on a stretch of bits: what it finds, what it says, and how it is drawn."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import PseudoSource, Randomness, RecordedSource, bit_statistics, examine, record
from voltaspin.noise.examination.whole_parts import Lags


def recorded(folder, bits):
    (folder / "bits.bin").write_bytes(np.packbits(bits).tobytes())
    return RecordedSource(folder / "bits.bin")


def test_ideal_bits_are_told_from_nothing():
    found = examine(PseudoSource(seed=2), n_bits=100_000)
    assert found.ideal
    assert "No test distinguishes these 100000 bits from ideal random bits" in found.verdict
    assert "entropy is that of their seed" in found.verdict
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert len(data["tests"]) == 188
    assert set(data["tests"][0]) == {"name", "variant", "p_value", "reason"}
    assert data["whole"]["estimates"]["minimum"] < 1
    assert Randomness.from_json(data).verdict == found.verdict
    assert "Frequency" in str(found)


def test_a_replayed_simulation_is_called_simulated(tmp_path):
    found = examine(record(PseudoSource(), tmp_path / "b.bin", bits=50_000), n_bits=50_000)
    assert found.noise["kind"] == "recorded"
    assert "entropy is that of their seed" in found.verdict


@pytest.mark.parametrize(("make", "said"), [
    (lambda rng: rng.random(100_000) < 0.52, "Frequency"),
    (lambda rng: np.cumsum(rng.random(100_000) < 0.45) % 2, "Runs"),
    (lambda rng: np.zeros(100_000), "repetition count"),
    (lambda rng: np.tile(rng.integers(0, 2, 1000), 100), "min-entropy estimate"),
])  # fmt: skip
def test_bad_bits_are_called_so_and_why(tmp_path, make, said):
    bits = np.asarray(make(np.random.default_rng(1))).astype(np.uint8)
    found = examine(recorded(tmp_path, bits), n_bits=bits.size)
    assert not found.ideal
    assert said in found.verdict
    assert found.verdict.startswith("These bits are not ideal")


def test_the_second_level_begins_with_the_first_sequence():
    found = examine(PseudoSource(seed=4), n_bits=20_000, sequences=60)
    assert found.assessment.sequences == 60
    first = [r.p_value for r in found.tests]
    assert np.array_equal(found.assessment.p_values[0], np.array(first, float), equal_nan=True)


def test_autocorrelation_is_that_of_the_statistics():
    bits = (np.random.default_rng(3).random(5000) < 0.4).astype(np.uint8)
    bits[1:] |= bits[:-1]
    expected = [e.value - 1 / (bits.size - 1) for e in bit_statistics(bits[:, None], lags=5).autocorrelation]
    counted, constant = Lags(5), Lags(64)
    counted.feed(bits)
    constant.feed(np.ones(100, np.uint8))
    assert counted.found() == pytest.approx(expected, abs=1e-9)
    assert not constant.found().any()


def test_short_and_wrong_requests(tmp_path):
    assert "too few" in examine(PseudoSource(), n_bits=50).verdict
    for options, said in (({"n_bits": 0}, "1 or more"), ({"n_bits": 10**8}, "many sequences")):
        with pytest.raises(InputError, match=said):
            examine(PseudoSource(), **options)
    with pytest.raises(InputError, match="has 96 bits"):
        examine(recorded(tmp_path, np.ones(96, np.uint8)), n_bits=97)
