"""Cells that do what is said of them, the axes that ask for them, and the study file that ships."""

import json
from pathlib import Path

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.noise import MemorySource, PeriodicSource, PseudoSource, bit_statistics
from voltaspin.requirements.axes import (
    BASELINE,
    CONTROL,
    HALVED,
    Plan,
    bias_and_correlation,
    chosen,
    first_beyond,
    halving_study,
    pair,
    plan,
    shared_axes,
)
from voltaspin.study import Condition, StudySpec
from voltaspin.study.cells import Cells
from voltaspin.study.work import source_of

STUDY = Path(__file__).parents[2] / "examples" / "specification.json"


def bits_of(cells, *, draws=400, **source):
    array = MagnetoelectricMemory(rows=64, columns=64, seed=2, **cells.memory())
    raw, _ = MemorySource(memory=array, seed=2, k=1, init="stationary", **source).samples(draws, size=256)
    return raw[:, 0]


@pytest.mark.parametrize(("bias", "correlation"), [(0.0, 0.0), (0.05, 0.0), (-0.1, 0.4), (0.0, -0.8), (0.2, 0.6)])
def test_cells_have_the_moments_asked_for(bias, correlation):
    bits = bits_of(Cells.of(bias=bias, correlation=correlation)).astype(float)
    p, n = 0.5 + bias, bits.size
    longer = (1 + correlation) / (1 - correlation)  # variance of the mean of a two-state Markov chain
    assert abs(bits.mean() - p) < 3 * np.sqrt(p * (1 - p) / n * longer)
    pairs = (bits[1:] - p) * (bits[:-1] - p) / (p * (1 - p))
    error = pairs.mean(axis=0).std(ddof=1) / np.sqrt(pairs.shape[1])  # cells are independent
    assert abs(pairs.mean() - correlation) < 3 * error


def test_cells_keep_a_bias_of_the_spread_asked_for():
    spread = 0.08
    cells = Cells(spread=spread)
    found = bit_statistics(bits_of(cells))
    assert abs(found.device_std - spread) < 3 * spread / np.sqrt(2 * 4096) + 0.002  # chi-square; the truncation
    assert abs(found.autocorrelation[0].value) < 3 / np.sqrt(400 * 4096) + 2 / 400
    twice = [bits_of(cells, mapping="fixed").mean(axis=0) for _ in range(2)]
    assert np.array_equal(*twice)


def test_cells_that_no_probability_has_are_refused():
    with pytest.raises(InputError, match="would leave 0 to 1"):
        Cells(spread=0.2)
    with pytest.raises(InputError, match="would leave 0 to 1"):
        Cells(p01=1.1)
    with pytest.raises(InputError, match="would leave 0 to 1"):
        Cells(spread=float("nan"))


def built(fields, seed=1):
    c = Condition(**{"sample": "memory-raw", **fields})
    return source_of(
        c.sample, seed, memory=c.memory, imperfections=c.imperfections, cells=c.cells, source=c.source, draws=26
    )


@pytest.fixture(scope="module")
def cheap():
    return plan(junction=False)


def point(cheap, name):
    return built(cheap.conditions[name])


def test_the_drift_has_its_root_mean_square_and_leaves_an_image_alone(cheap):
    rms = 0.05
    source = point(cheap, f"drift={rms:g} raw")
    mean = np.array([source.samples(2, size=784, stream=i)[0].mean(axis=(1, 2)) for i in range(56)]) - 0.5
    chance = 0.25 / 12544
    assert abs(np.sqrt((mean**2).mean() - chance) - rms) < 3 * np.sqrt(chance / 112) + 1e-3  # thresholds of 16 bits
    assert np.abs(mean[:, 0] - mean[:, 1]).max() < 5 * np.sqrt(2 * chance)
    assert abs(mean.mean()) < 3 * np.sqrt(chance / 112) + 1e-4  # a whole period


def test_telegraph_noise_has_no_bias_and_the_correlation_of_its_level(cheap):
    swing = 0.3
    raw = np.stack(
        [point(cheap, f"telegraph={swing:g} raw").samples(6, size=784, stream=i)[0][:, 0] for i in (0, 1, 2, 3)]
    )
    signs = raw - 0.5
    n = signs[:, 0].size  # independent levels
    assert abs(signs.mean()) < 3 * 0.5 / np.sqrt(n)
    # the level stays from one draw to the next but where one of ten phases falls between them and the coin turns
    stays = 1 - 0.1 * 0.5 * 2
    seen = np.mean(signs[:, 1:] * signs[:, :-1], axis=1)
    per_pair = 0.25 / np.sqrt(signs.shape[2])
    assert abs(seen.mean() - swing**2 * stays) < 3 * per_pair / np.sqrt(4)


def test_ideal_cells_are_the_baseline_and_others_stay_close(cheap):
    baseline = built({"sample": BASELINE}).normal((2, 28, 28), streams=[0, 9], step=3)
    assert np.array_equal(
        built({"cells": {"p01": 0.5, "p10": 0.5}}).normal((2, 28, 28), streams=[0, 9], step=3), baseline
    )
    small = point(cheap, "bias=0.002 raw").normal((2, 28, 28), streams=[0, 9], step=3)
    same = np.mean(small == baseline)
    assert abs(same - 0.998**16) < 3 * np.sqrt(0.03 / small.size)
    for name in ("bits=8 raw", "popcount=8 raw"):
        z = point(cheap, name).normal((2, 28, 28), streams=[0, 9], step=3)
        assert np.corrcoef(z.ravel(), baseline.ravel())[0, 1] > 0.95


def test_every_condition_makes_a_source_with_its_treatment(cheap):
    for name, fields in cheap.conditions.items():
        source = built(fields)
        if name.startswith("period"):
            assert isinstance(source, PeriodicSource)
            assert source.draws == 26
        else:
            assert source.k == (2 if name.endswith("xor") else 1)
        assert source.addressable


def test_axes_have_five_amplitudes_or_more_in_the_order_of_their_harm(cheap):
    for axis in cheap.axes:
        amplitudes = [a for a, _ in axis.points]
        assert len(amplitudes) >= 5
        assert amplitudes == sorted(amplitudes, reverse=axis.falling)
        assert all(condition in cheap.conditions for _, condition in axis.points)
    assert {a.name for a in chosen(cheap, ["bits", "bias"]).axes} == {"bits", "bias"}
    with pytest.raises(InputError, match="no axis is called 'colour'"):
        chosen(cheap, ["colour"])


def test_the_study_file_is_what_the_axes_ask_for(cheap):
    spec = StudySpec.load(STUDY)
    expected = json.loads(json.dumps(cheap.study().to_json()))
    given = spec.to_json()
    own = {n: c for n, c in given["conditions"].items() if not n.startswith(("bias-negative", "temperature"))}
    assert own == expected["conditions"]
    assert {k: v for k, v in given.items() if k != "conditions"} == {
        k: v for k, v in expected.items() if k != "conditions"
    }
    halving = StudySpec.load(STUDY.with_name("halving.json"))
    assert halving == halving_study()
    assert (halving.margin, halving.named()[BASELINE]) == (spec.margin, spec.named()[BASELINE])
    names = spec.named()
    assert {BASELINE, HALVED, CONTROL} <= set(names)
    assert names[HALVED].steps == names[BASELINE].steps // 2
    # what the Fokker-Planck equation gave stands in the file: the bias that the name says, a small correlation
    for name in names:
        if name.startswith("bias-negative"):
            cells = given["conditions"][name]["cells"]
            stated = float(name.split("=")[1].split()[0])
            assert abs(0.5 - cells["p01"] / (cells["p01"] + cells["p10"]) - stated) < 2e-4
            assert abs(1 - cells["p01"] - cells["p10"]) < 2e-3
    runs = spec.runs()
    assert len({r.key for r in runs}) == len(runs) - len(spec.sampling_seeds)  # the control is one of the biases


@pytest.mark.slow
def test_the_junctions_answers_are_those_of_the_shipped_model():
    """Two ways to the same number: the equation here, and a polynomial fitted to other solutions of it."""
    model = SwitchingModel.shipped()
    p01, p10 = pair(model.junction.with_variation(B_z=4e-3), model.pulse)
    fitted = model.probabilities(B_z=4e-3)
    assert abs(p01 - fitted[0]) < 3 * model.fit_error
    assert abs(p10 - fitted[1]) < 3 * model.fit_error
    bias, correlation = bias_and_correlation(p01, p10)
    assert bias == pytest.approx(p01 / (p01 + p10) - 0.5)
    assert correlation == 1 - p01 - p10
    assert bias_and_correlation(0.0, 0.0) == (0.0, 1.0)


def test_older_conditions_keep_their_keys():
    assert set(Condition().to_json()) == {
        "kind", "schema_version", "train", "sample", "images", "steps", "train_steps", "channels", "memory",
        "imperfections", "compute",
    }  # fmt: skip
    with_cells = Condition(sample="memory-raw", cells={"p01": 0.4, "p10": 0.6})
    assert Condition.from_json(with_cells.to_json()) == with_cells


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cells": {"colour": 1}}, "cells, source, memory or imperfections"),
        ({"source": {"colour": 1}}, "'colour' is no parameter"),
        ({"source": {"period": 100}, "cells": {"p01": 0.5}}, "a looped source has no cells"),
        ({"source": {"shaping": ["dice", 4]}}, "transform 'dice' is unknown"),
        ({"imperfections": {"slopes": {"colour": [1, 1]}}}, "cells, source, memory or imperfections"),
        ({"sample": "software-16", "cells": {"p01": 0.5}}, "'memory' is no parameter"),
    ],
)
def test_conditions_that_no_source_can_be_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        built(fields)


def test_axes_of_the_junction_share_images_with_others(cheap, monkeypatch):
    """With a junction that answers by a formula: correlation 2 a share of its pulse, bias -4 B."""
    import voltaspin.requirements.axes as module

    nominal = SwitchingModel.shipped()

    def formula(junction, pulse, *, finer=0):
        r = 2 * (1 - pulse.voltage / nominal.pulse.voltage) + 2 * (1 - pulse.width / nominal.pulse.width)
        return (0.5 - 4 * junction.B_bias[2]) * (1 - r), (0.5 + 4 * junction.B_bias[2]) * (1 - r)

    monkeypatch.setattr(module, "pair", formula)
    module._correlation.cache_clear()
    module._field_of_bias.cache_clear()
    raw = [a for a in cheap.axes if a.name in ("bias", "correlation", "correlation-negative")]
    found = {(a.name, a.treatment): a for a in shared_axes(Plan(tuple(raw), cheap.conditions))
             if a.name in ("voltage-below", "width-above", "field")}  # fmt: skip
    module._correlation.cache_clear()
    module._field_of_bias.cache_clear()
    volts = found["voltage-below", "raw"]
    assert [x for x, _ in volts.points] == pytest.approx(
        [r / 2 * nominal.pulse.voltage for r in (0.05, 0.1, 0.2, 0.4, 0.8)]
    )
    assert [c for _, c in volts.points] == [f"correlation={r:g} raw" for r in (0.05, 0.1, 0.2, 0.4, 0.8)]
    wide = found["width-above", "raw"]
    assert [x for x, _ in wide.points] == pytest.approx(
        [r / 2 * nominal.pulse.width for r in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)]
    )
    assert wide.points[0][1] == "correlation-negative=0.01 raw"
    assert found["width-above", "xor"].points[0][1] == "correlation=0.05 xor"  # the sign does not matter there
    field = found["field", "xor"]
    assert [x for x, _ in field.points] == pytest.approx(
        [b / 4 for b in (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.16)], abs=2e-5
    )


def test_the_first_size_beyond():
    assert first_beyond(lambda x: x - 0.37, step=0.1, most=1) == pytest.approx(0.37, abs=1e-4)
    assert first_beyond(lambda x: -1, step=0.1, most=1) == np.inf
    assert isinstance(built({"sample": "software"}), PseudoSource)


def test_a_study_takes_no_stream():
    with pytest.raises(InputError, match="record it, and name the recording"):
        source_of("/dev/urandom | xor:2", 0)
