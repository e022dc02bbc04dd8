"""Bits from what laboratories write: every format gives the same bits, resistances find their two states."""

import json

import numpy as np
import pytest
from scipy.special import ndtr

from voltaspin.core.errors import InputError
from voltaspin.noise import RecordedSource, two_populations
from voltaspin.noise.importer import readers, reading, table, values

BITS = (np.random.default_rng(7).random(5003) < 0.5).astype(np.uint8)


def resistances(bits, low=5e3, high=12e3, spread=400.0, seed=1):
    noise = np.random.default_rng(seed).normal(0, spread, bits.size)
    return np.where(bits == 1, high, low) + noise


def write(folder, kind):
    path = folder / {"csv": "bits.csv", "ohm_csv": "ohm.csv", "npy": "bits.npy", "ohm_npy": "ohm.npy"}.get(
        kind, "bits.dat"
    )
    if kind == "bytes":
        path.write_bytes(BITS.tobytes())
    elif kind == "text":
        text = "".join(map(str, BITS))
        path.write_text("\n".join(text[i : i + 61] for i in range(0, len(text), 61)) + "\n")
    elif kind == "npy":
        np.save(path, BITS.astype(bool).reshape(-1, 1))
    elif kind == "ohm_npy":
        np.save(path, resistances(BITS).astype(np.float32))
    elif kind == "csv":
        path.write_text("# a comment\ntime,bit\n" + "".join(f"{i * 1e-9},{b}\n" for i, b in enumerate(BITS)))
    elif kind == "ohm_csv":
        path.write_text("".join(f"{i},{r!r}\n" for i, r in enumerate(resistances(BITS).tolist())))
    return path


CASES = [
    ("bytes", {"format": "bytes"}), ("text", {"format": "text"}), ("npy", {}), ("csv", {"column": "bit"}),
    ("csv", {"column": 1}), ("ohm_npy", {"threshold": 8.5e3}), ("ohm_npy", {"threshold": "fit"}),
    ("ohm_csv", {"threshold": "fit", "column": 1}),
]  # fmt: skip


@pytest.mark.parametrize("block", [1 << 20, 97])
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_every_format_gives_the_same_bits(tmp_path, monkeypatch, kind, options, block):
    for module, name in ((readers, "VALUES"), (table, "ROWS"), (reading, "_BLOCK")):
        monkeypatch.setattr(module, name, block)
    if block == 97 and options.get("threshold") == "fit":
        monkeypatch.setattr(values, "_FITTED", 388)
    source = RecordedSource(write(tmp_path, kind), **options)
    assert source.bits_left == BITS.size
    assert np.array_equal(np.unpackbits(source.bits(5000), count=5000), BITS[:5000])
    state = json.loads(json.dumps(source.state_dict()))
    again = RecordedSource(write(tmp_path, kind), **options)
    again.load_state_dict(state)
    assert np.unpackbits(again.bits(3), count=3).tolist() == BITS[5000:].tolist()


def test_the_fit_finds_the_populations_and_their_threshold():
    rng = np.random.default_rng(3)
    n, share = 100_000, 0.3
    high = rng.random(n) < share
    r = np.where(high, rng.normal(9e3, 700, n), rng.normal(5e3, 300, n))
    found = two_populations(r)
    # standard errors of means, spreads and shares of the two populations (well separated)
    assert found.low == pytest.approx(5e3, abs=4.5 * 300 / np.sqrt(n * 0.7))
    assert found.high == pytest.approx(9e3, abs=4.5 * 700 / np.sqrt(n * 0.3))
    assert found.low_spread == pytest.approx(300, abs=4.5 * 300 / np.sqrt(2 * n * 0.7))
    assert found.high_spread == pytest.approx(700, abs=4.5 * 700 / np.sqrt(2 * n * 0.3))
    assert found.high_share == pytest.approx(share, abs=4.5 * np.sqrt(0.21 / n))
    # at the best threshold the two weighted densities are equal, and the misreads are least
    t = np.linspace(5.5e3, 8.5e3, 30_001)
    wrong = 0.7 * ndtr((5e3 - t) / 300) + 0.3 * ndtr((t - 9e3) / 700)
    assert found.threshold == pytest.approx(t[wrong.argmin()], rel=5e-3)
    assert found.misread == pytest.approx(wrong.min(), rel=0.1)
    assert found.separation == pytest.approx(8.0, rel=0.02)


def test_overlapping_states_are_misread_as_often_as_the_fit_says():
    bits = (np.random.default_rng(5).random(200_000) < 0.5).astype(np.uint8)
    r = resistances(bits, low=5e3, high=6.6e3, spread=400)
    found = two_populations(r)
    wrong = np.mean((r > found.threshold) != bits)
    assert found.misread == pytest.approx(ndtr(-2.0), rel=0.05)
    assert abs(wrong - found.misread) < 4.5 * np.sqrt(found.misread / bits.size) + 0.05 * found.misread


@pytest.mark.parametrize("draw", [
    lambda rng: rng.normal(5e3, 300, 20_000), lambda rng: rng.uniform(4e3, 9e3, 20_000),
    lambda rng: 4e3 + rng.exponential(900, 20_000), lambda rng: rng.lognormal(8.5, 0.3, 20_000),
    lambda rng: np.full(500, 5e3),
])  # fmt: skip
def test_one_population_is_refused(draw):
    with pytest.raises(InputError, match="one population only"):
        two_populations(draw(np.random.default_rng(1)))


def test_the_provenance_says_how_the_bits_were_read(tmp_path):
    source = RecordedSource(write(tmp_path, "ohm_npy"), threshold="fit", lanes=7)
    details = json.loads(json.dumps(source.provenance.to_json()))["details"]
    assert details["format"] == "npy"
    assert details["threshold"] == pytest.approx(8.5e3, rel=0.01)
    assert details["populations"]["misread"] < 1e-6
    assert details["lanes"] == source.n_cells == 7


def saved(folder, array):
    np.save(folder / "r.npy", array)
    return folder / "r.npy"


def written(folder, text):
    (folder / "r.csv").write_text(text)
    return folder / "r.csv"


def truncated(folder):
    path = saved(folder, np.ones(1000))
    path.write_bytes(path.read_bytes()[:-100])
    return path


@pytest.mark.parametrize(("make", "options", "said"), [
    (lambda f: saved(f, np.array([5e3, np.nan, 9e3])), {"threshold": 7e3}, "value 1 is nan"),
    (lambda f: saved(f, np.array([5e3, 9.9e37, 9e3])), {"threshold": 7e3}, r"value 1 is 9\.9e\+37, by which an"),
    (lambda f: written(f, "R (kohm)\n5\n9.91E+37\n9\n"), {"threshold": "7kohm"}, r"is 9\.91e\+37, by which an"),
    (lambda f: saved(f, np.array([5e3, -1.0])), {"threshold": "7kohm"}, r"resistance 1 is -1.0 ohm"),
    (lambda f: saved(f, resistances(BITS) * 1e-6), {"threshold": "7mohm"}, "convert the values to ohm"),
    (lambda f: saved(f, resistances(BITS)), {"threshold": 20e3}, "all 5003 values lie below"),
    (lambda f: saved(f, resistances(BITS)), {}, "neither 0 nor 1"),
    (lambda f: saved(f, resistances(BITS)), {"threshold": "guess"}, "'guess'"),
    (lambda f: saved(f, resistances(BITS)), {"threshold": -5.0}, "all 5003 values lie above"),
    (lambda f: saved(f, np.array(["a"])), {}, "holds <U1"), (truncated, {}, "truncated"),
    (lambda f: saved(f, np.empty(0)), {}, "no values"),
    (lambda f: written(f, "t,r\n1,5\n2\n"), {"column": "r"}, "row 2"),
    (lambda f: written(f, "t,r\n1,5\n"), {"column": "R"}, "no column 'R'"),
    (lambda f: written(f, "0,1\n"), {"column": 5}, "2 columns"),
    (lambda f: written(f, "0\n1\n"), {"format": "text", "threshold": 5.0}, "threshold=5.0 cannot be used"),
    (lambda f: written(f, "012"), {"format": "text"}, "character 2 is '2'"),
    (lambda f: written(f, "0"), {"format": "tape"}, "'tape'"), (lambda f: written(f, "0"), {"lanes": 0}, "n_cells=0"),
])  # fmt: skip
def test_bad_files_are_refused(tmp_path, make, options, said):
    with pytest.raises(InputError, match=said):
        RecordedSource(make(tmp_path), **options)
