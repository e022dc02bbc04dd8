"""Verdicts on bits and junctions whose truth is known, against a specification whose limits are known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel
from voltaspin.random.streams import Stream
from voltaspin.report.specification_page import axis_png, page, write
from voltaspin.requirements import junction as junction_verdict
from voltaspin.requirements.axes import CONTROL, HALVED, plan
from voltaspin.requirements.bits import bits_needed, judge_bits, period_of
from voltaspin.requirements.compliance import Compliance
from voltaspin.requirements.junction import OperatingConditions, Surroundings, judge_junction
from voltaspin.requirements.specification import NoiseSpecification
from voltaspin.requirements.threshold import threshold
from voltaspin.study.equivalence import Equivalence

MARGIN = 0.0277


def made(name, difference, std=0.002):
    return Equivalence(name=name, trainings=1, images=448, difference=difference, std=std, low=0.0, high=0.0,
                       equivalent=False, power=0.5, by_training=())  # fmt: skip


def verdicts(cheap, *, at=2.5):
    """Differences that go as the square of the place among the last five points, and leave the margin at ``at``."""
    found = [made(HALVED, 0.06), made(CONTROL, 0.6)]
    for axis in cheap.axes:
        places = [max(i + 0.5, 0.5 * 0.9**-i) for i in range(5 - len(axis.points), 5)]
        found += [made(c, MARGIN * (x / at) ** 2) for x, (_, c) in zip(places, axis.points, strict=True)]
    return found


@pytest.fixture(scope="module")
def cheap():
    return plan(junction=False)


@pytest.fixture(scope="module")
def spec(cheap):
    """Limits at the third amplitude of each axis: bias 0.01 raw and 0.07 XOR, correlation 0.2, drift 0.01, ..."""
    return NoiseSpecification.of(cheap.study(), verdicts(cheap), cheap.axes)


def bits(n, *, p=0.5, seed=1):
    return (Stream.of(seed, "test", "bits").uniforms(n) < p).astype(np.uint8)


def rows_of(verdict, treatment="raw"):
    """By axis, whatever the sign."""
    return {r.axis.removesuffix("-negative"): r for r in verdict.of(treatment)}


# -- the specification ---------------------------------------------------------------------------------------------


def test_limits_lie_where_the_differences_leave_the_margin(spec):
    known = {("bias", "raw"): 0.01, ("bias", "xor"): 0.07, ("correlation", "raw"): 0.2, ("spread-fixed", "xor"): 0.08,
             ("bits", "raw"): 6, ("period", "raw"): 8191}  # fmt: skip
    for (name, treatment), at in known.items():
        limit = spec.limit(name, treatment)
        assert limit.value == pytest.approx(at, rel=1e-6)
        assert limit.said == "reached"
    assert spec.limit("bits", "xor") is None
    bias = spec.limit("bias", "raw")
    assert bias.text == f"0.01 ({bias.low:.3g} to {bias.high:.3g})"
    assert bias.low < 0.01 < bias.high
    period = spec.limit("period", "raw")
    assert period.text == f"8,191 bits ({period.high:,.0f} to {period.low:,.0f})"
    assert period.high < 8191 < period.low


def test_a_specification_can_be_kept_and_read_again(spec, tmp_path):
    spec.save(tmp_path / "spec.json")
    assert NoiseSpecification.load(tmp_path / "spec.json") == spec
    with pytest.raises(InputError, match="version 9, not 'noise-specification' version 1"):
        NoiseSpecification.from_json({**spec.to_json(), "schema_version": 9})


def test_a_study_that_lacks_its_controls_or_axes_is_refused(cheap):
    some = verdicts(cheap)
    with pytest.raises(InputError, match="has no condition 'steps halved'"):
        NoiseSpecification.of(cheap.study(), some[1:], cheap.axes)
    with pytest.raises(InputError, match="no whole axis"):
        NoiseSpecification.of(cheap.study(), some[:2], cheap.axes)


def test_the_page_says_what_was_found_and_what_was_not(cheap, tmp_path):
    never = NoiseSpecification.of(cheap.study(), verdicts(cheap, at=50), cheap.axes, reduced=True)
    assert never.limit("bias", "raw").text == "not reached: > 0.05"
    assert never.limit("bits", "raw").text == "not reached: < 4"
    always = NoiseSpecification.of(cheap.study(), verdicts(cheap, at=0.1), cheap.axes)
    assert always.limit("period", "raw").text == "already outside: > 524,287 bits"
    assert always.limit("bias", "raw").low is None
    written = write(never, tmp_path, tmp_path / "data.json")
    text = (tmp_path / "specification.md").read_text()
    assert "trial of the pipeline" in text
    assert "not reached: > 0.05" in text
    assert "more than the margin" in text
    assert "found, and outside the margin" in text
    assert written["figures"] == len(never.names) + 1 == len(list((tmp_path / "pictures").glob("*.png")))
    weak = never.model_copy(update={"halved": never.halved.model_copy(update={"std": 0.5})})
    assert "not shown to be more than the margin" in page(weak, dict.fromkeys(weak.names, "x.png"))


def test_a_figure_shows_both_treatments(spec):
    assert axis_png(spec, "bias").startswith(b"\x89PNG")
    assert axis_png(spec, "period").startswith(b"\x89PNG")


# -- bits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bias", "said"), [(0.0, "meets"), (0.006, "meets"), (0.015, "fails")])
def test_a_bias_on_either_side_of_its_limit(spec, bias, said):
    n = 400_000  # 95 % half width 0.0015
    found = rows_of(judge_bits(spec, bits(n, p=0.5 + bias)))
    assert found["bias"].said == said
    assert abs(found["bias"].amplitude - bias) < 3 * 0.5 / math.sqrt(n)
    assert found["correlation"].said == "meets"


def test_a_bias_at_its_limit_is_undecided(spec):
    found = judge_bits(spec, bits(100_000, p=0.51))
    assert rows_of(found)["bias"].said == "undecided"
    assert "is not shown to meet" in found.sentence("raw")
    assert rows_of(found, "xor")["bias"].said == "meets"  # 0.07 there


@pytest.mark.parametrize(("rho", "said"), [(0.05, "meets"), (0.4, "fails")])
def test_a_correlation_of_each_cell_on_either_side(spec, rho, said):
    """Markov cells that keep their bit with probability rho and else toss a coin; 32 of them read in turn."""
    cycles, lanes = 6000, 32
    fresh, keep = bits(cycles * lanes, seed=2).reshape(cycles, lanes), bits(cycles * lanes, p=rho, seed=3)
    keep = keep.reshape(cycles, lanes)
    out = fresh.copy()
    for i in range(1, cycles):
        out[i] = np.where(keep[i], out[i - 1], fresh[i])
    found = judge_bits(spec, out.ravel(), lanes=lanes)
    row = rows_of(found)["correlation"]
    assert row.said == said
    assert abs(row.amplitude - rho) < 3 / math.sqrt(cycles * lanes) * (1 + rho)
    assert rows_of(found)["bias"].said == "meets"
    if said == "fails":
        assert found.of("raw")[0].axis == "correlation"
        assert "fails on correlation; first to fail: correlation (none left)" in found.sentence("raw")


@pytest.mark.parametrize(("spread", "said"), [(0.01, "meets"), (0.1, "fails")])
def test_a_spread_of_the_cells_on_either_side(spec, spread, said):
    cycles, lanes = 8000, 64
    own = 0.5 + spread * Stream.of(4, "test", "own").normals(lanes)
    own -= own.mean() - 0.5
    u = Stream.of(5, "test", "spread").uniforms(cycles * lanes).reshape(cycles, lanes)
    found = rows_of(judge_bits(spec, (u < own).astype(np.uint8).ravel(), n_cells=lanes))
    assert found["spread-fixed"].said == said
    assert found["spread-fixed"].low <= own.std(ddof=1) * 1.05
    assert found["spread-fixed"].high >= own.std(ddof=1) * 0.95
    assert "spread-fixed" not in rows_of(judge_bits(spec, bits(100_000)))  # one cell has no spread


@pytest.mark.parametrize(("rms", "said"), [(0.0, "meets"), (0.03, "fails")])
def test_a_drift_on_either_side(spec, rms, said):
    n = 800_000
    p = 0.5 + math.sqrt(2) * rms * np.sin(2 * np.pi * np.arange(n) / (n / 2))
    u = Stream.of(6, "test", "drift").uniforms(n)
    row = rows_of(judge_bits(spec, (u < p).astype(np.uint8)))["drift"]
    assert row.said == said
    if rms:
        assert row.low < rms < row.high


def test_a_period_is_found_and_judged(spec):
    short, long = bits(1000), bits(30_000, seed=7)
    assert period_of(np.tile(short, 5)) == 1000
    assert period_of(np.ones(100, np.uint8)) == 1
    assert period_of(bits(5000)) is None
    assert period_of(np.tile(short, 2)[:1900]) is None  # more than half
    assert rows_of(judge_bits(spec, np.tile(short, 100)))["period"].said == "fails"
    assert rows_of(judge_bits(spec, np.tile(long, 10)))["period"].said == "meets"
    never = rows_of(judge_bits(spec, bits(100_000)))["period"]
    assert (never.low, never.high, never.said) == (50_000, math.inf, "meets")


@pytest.mark.parametrize(("lag", "keep"), [(100, 0.7), (1000, 0.7)])
def test_a_dependence_that_no_axis_covers_is_not_called_compliant(spec, lag, keep):
    """s[i] = s[i - lag] with probability 0.7: no bias, no correlation of neighbours, no drift, no period."""
    s = bits(200_000, p=1 - keep, seed=9)
    s[:lag] = bits(lag, seed=10)
    np.bitwise_xor.accumulate(s.reshape(-1, lag), axis=0, out=s.reshape(-1, lag))
    found = judge_bits(spec, s)
    row = rows_of(found)["dependence"]
    assert row.said == "undecided"
    assert row.low < keep - 0.5 < row.high
    assert found.of("raw")[0].axis == "dependence"
    assert "is not shown to meet" in found.sentence("raw") or "does not meet" in found.sentence("raw")
    assert not found.to_json()["treatments"]["raw"]["meets"]
    assert rows_of(judge_bits(spec, bits(200_000, seed=11)))["dependence"].said == "meets"


def test_how_many_bits_are_needed_comes_from_the_binomial_interval(spec, cheap):
    only = [a for a in cheap.axes if a.name in ("bias", "correlation")]
    small = NoiseSpecification.of(cheap.study(), verdicts(cheap), only)
    needed, why = bits_needed(small)
    at = small.limit("bias", "raw").low
    assert needed == math.ceil((1.959963984540054 * 0.5 / at) ** 2)
    assert why == "the axis bias"
    assert 1.959963984540054 * 0.5 / math.sqrt(needed) <= at  # ideal bits: half the interval fits
    assert 1.959963984540054 * 0.5 / math.sqrt(needed - 1) > at
    for lanes in (1, 16):
        needed, _ = bits_needed(spec, lanes)
        assert needed % lanes == 0
        with pytest.raises(
            InputError, match=rf"too few for a verdict: {needed} are needed.*record {needed} bits or more"
        ):
            judge_bits(spec, bits(needed - 1), n_cells=lanes)
        assert isinstance(judge_bits(spec, bits(needed), n_cells=lanes), Compliance)


def test_ideal_bits_of_the_number_needed_mostly_meet_every_limit(spec):
    """The number is that at which the interval of ideal bits around nothing fits: chance moves half of them out."""
    needed, _ = bits_needed(spec, 16)
    enough = 4 * needed  # half the interval is half the limit: outside only beyond 1.96 standard errors, 5 % an axis
    said = [
        all(r.said == "meets" for r in judge_bits(spec, bits(enough, seed=s), lanes=16).of("raw")) for s in range(20)
    ]
    assert sum(said) >= 11  # at least 0.95^5 = 77 % of 20, less 3 sigma


# -- junctions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def answer(monkeypatch):
    """A junction that answers by a formula: bias -2/T of field, correlation 0.5 per share of voltage, p 1e-4/K."""
    nominal = SwitchingModel.shipped()
    solved = []

    def pair(junction, pulse, *, finer=0, least=0):
        solved.append(junction)
        B = junction.B_bias[2]
        off = pulse.voltage / nominal.pulse.voltage - 1
        longer = pulse.width / nominal.pulse.width - 1
        warm = 1e-4 * (junction.temperature - 300)
        p = 0.5 - 2 * B + warm
        r = 0.5 * abs(off) + 0.25 * longer
        return p * (1 - r), (1 - p) * (1 - r)

    class Exact:
        def __init__(self, junction, pulse, *, initial):
            self.value, self.error = pair(junction, pulse)[0 if initial == "up" else 1], 1e-4

    monkeypatch.setattr(junction_verdict, "pair", pair)
    monkeypatch.setattr(junction_verdict, "switching_probability", Exact)
    return nominal.junction, nominal.pulse


def test_a_junction_by_its_formula(spec, answer):
    junction, pulse = answer
    around = OperatingConditions(stray_field_spread=2e-3, temperature_drift=5.0, telegraph_field=1e-3, B_z=1e-3)
    found = rows_of(judge_junction(spec, junction, pulse, around=around))
    assert found["bias"].amplitude == pytest.approx(0, abs=1e-12)
    assert found["spread-fixed"].amplitude == pytest.approx(2 * 2e-3, rel=1e-6)  # linear: the rule is exact
    assert found["drift"].amplitude == pytest.approx(1e-4 * 5, rel=1e-6)
    assert found["telegraph"].amplitude == pytest.approx(2e-3, rel=1e-6)
    # bias of 0.01 is a field of 5 mT, of which one is to be borne; and 100 K, of which 20
    for name, factor in (("B_z", 5.0), ("temperature", 5.0)):
        assert found[name].margin_left == pytest.approx(factor, rel=0.02)
        assert found[name].said == "meets"
    # a correlation of 0.2 is 40 % of the voltage and 80 % of the width; 5 % are to be borne
    assert found["voltage"].margin_left == pytest.approx(8, rel=0.02)
    assert found["width"].margin_left == pytest.approx(16, rel=0.02)
    assert found["width"].amplitude == pytest.approx(0.05 * pulse.width)


def test_a_junction_that_fails_says_where_first(spec, answer):
    junction, pulse = answer
    found = judge_junction(spec, junction, pulse, around=OperatingConditions(B_z=0.02, stray_field_spread=0.1))
    rows = rows_of(found)
    assert rows["B_z"].said == "fails"
    assert rows["spread-fixed"].said == "fails"
    assert found.of("raw")[0].axis == "spread-fixed"  # 0.2 of 0.04, and the field 0.04 of 0.01
    assert "fails on" in found.sentence("raw")
    tilted = judge_junction(spec, junction.with_variation(B_z=0.02), pulse)
    assert rows_of(tilted)["bias"].amplitude == pytest.approx(0.04, abs=1e-6)
    assert rows_of(tilted)["bias"].said == "fails"
    assert not {"B_z", "voltage", "width", "temperature"} & set(rows_of(tilted))  # outside without any deviation
    assert tilted.of("raw")[0].axis.startswith("bias")


def test_a_reset_forgets_the_correlation(spec, answer):
    junction, pulse = answer
    weak = replace(pulse, voltage=0.5 * pulse.voltage)
    kept = rows_of(judge_junction(spec, junction, weak))["correlation"]
    assert kept.amplitude == pytest.approx(0.25, abs=1e-6)
    assert kept.said != "meets"
    reset = rows_of(judge_junction(spec, junction, weak, around=OperatingConditions(reset=True)))
    assert reset["correlation"].amplitude == 0
    assert reset["bias"].amplitude == pytest.approx(0.125, abs=1e-6)  # p01 = 0.375


def test_surroundings_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="temperature_drift = -1"):
        Surroundings(temperature_drift=-1.0)
    assert Surroundings is OperatingConditions


# -- the command ---------------------------------------------------------------------------------------------------


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["spec", *(str(a) for a in arguments)])
    return exit_.value.code, capsys.readouterr()


def test_the_command_judges_bits_and_ends_with_0_whatever_it_says(spec, capsys, tmp_path):
    spec.save(tmp_path / "spec.json")
    for name, p in (("good", 0.5), ("bad", 0.53)):
        np.packbits(bits(160_000, p=p)).tofile(tmp_path / f"{name}.bin")
    asked = ("--lanes", 8, "--specification", tmp_path / "spec.json")
    code, said = run(capsys, "--bits", tmp_path / "bad.bin", *asked, "--json")
    assert code == 0
    data = json.loads(said.out)
    assert data["treatments"]["raw"]["fails"] == ["bias"]
    assert data["treatments"]["raw"]["first"] == "bias"
    assert data["treatments"]["xor"]["meets"]
    code, said = run(capsys, "--bits", tmp_path / "good.bin", *asked)
    assert code == 0
    assert "raw: meets the specification on every axis judged" in said.out
    (tmp_path / "few.bin").write_bytes(bytes(range(100)))
    code, said = run(capsys, "--bits", tmp_path / "few.bin", *asked)
    assert code == 2
    assert said.err.count("\n") == 1
    assert "too few for a verdict" in said.err


def test_the_command_judges_a_junction(spec, answer, capsys, tmp_path):
    spec.save(tmp_path / "spec.json")
    asked = ("--junction", "generator", "--specification", tmp_path / "spec.json")
    code, said = run(capsys, *asked, "--spread", 0.02, "--deviation", "B_z=20mT", "--drift", 2, "--json")
    assert code == 0
    data = json.loads(said.out)
    assert data["treatments"]["raw"]["fails"] == ["B_z"]
    assert "K_eff 2.0%" in data["assumed"][0]
    code, said = run(capsys, *asked)
    assert code == 0
    assert "first to fail" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a file of bits or --junction"),
        (["--junction", "generator", "--bits", "x"], "give either a file of bits or --junction"),
        (["--bits", "x", "--voltage", "1"], "the other options are a junction's"),
        (["--junction", "generator", "--lanes", "2"], "belong to a file of bits"),
        (["--junction", "generator", "--deviation", "colour=1"], "--deviation colour=1: the name 'colour' is unknown"),
        (["--junction", "generator", "--drift", "-1"], "--drift -1 is negative"),
        (["--junction", "nobody"], "nobody"),
        (["--bits", "nothing.bin"], "not a file"),
    ],
)
def test_the_command_says_what_it_cannot_take(spec, capsys, tmp_path, arguments, message):
    spec.save(tmp_path / "spec.json")
    code, said = run(capsys, *arguments, "--specification", tmp_path / "spec.json")
    assert code == 2
    assert message in said.err


def test_the_shipped_specification_is_of_the_axes_and_of_its_own_points():
    kept = NoiseSpecification.shipped()
    assert not kept.reduced
    for axis in plan(junction=False).axes:
        limit = kept.limit(axis.name, axis.treatment)
        assert limit is not None
        assert limit.amplitudes == tuple(a for a, _ in axis.points)
    for limit in kept.limits:
        differences, errors = [p.difference for p in limit.points], [p.std for p in limit.points]
        at = threshold(limit.amplitudes, differences, errors, kept.margin, scale=limit.scale)
        assert (limit.said, limit.value) == (at.said, pytest.approx(at.value))
        assert limit.low == pytest.approx(at.low)
        assert limit.high == pytest.approx(at.high)


@pytest.mark.parametrize(("bias", "said"), [(0.0, "meets"), (0.02, "fails")])
def test_the_command_compares_bits_with_the_shipped_specification(capsys, tmp_path, bias, said):
    coins = np.random.default_rng(5).random(2**22) < 0.5 + bias
    (tmp_path / "bits.bin").write_bytes(np.packbits(coins).tobytes())
    code, printed = run(capsys, "--bits", tmp_path / "bits.bin")
    assert code == 0
    row = next(x for x in printed.out.splitlines() if x.startswith("bias") and " raw " in x)
    assert row.split()[-1] == said
