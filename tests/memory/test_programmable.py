"""Pulses chosen for their probability, against the Fokker-Planck equation of single cells."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from voltaspin.core.errors import InputError
from voltaspin.device import Pulse, SwitchingModel, presets
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.memory import MagnetoelectricMemory, PulseLibrary, Variation
from voltaspin.memory.pulses import response
from voltaspin.memory.responses import PulseResponse, _orders, coefficients, designs_of

JUNCTION = presets.get("generator")
HALVES = (("K_eff_scale", 0.15), ("B_z", 1.5e-3))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    V_c = JUNCTION.V_c
    made = PulseLibrary.of(JUNCTION, HALVES, voltages=np.array([V_c, 1.2 * V_c]), widths=np.arange(1, 25) * 2e-11)
    again = PulseLibrary.of(JUNCTION, HALVES, voltages=np.array([V_c, 1.2 * V_c]), widths=np.arange(1, 25) * 2e-11)
    patch.undo()
    assert np.array_equal(made.logits, again.logits)
    return made


def test_pulses_that_are_solved_on_first_use_are_told_and_kept(tmp_path, monkeypatch, capsys):
    from voltaspin.core.context import waits_told_to
    from voltaspin.core.progress import progress
    from voltaspin.memory import pulses

    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path))
    monkeypatch.setattr(pulses, "VOLTAGES", np.array([1.0]))
    monkeypatch.setattr(pulses, "CLOCK", 2e-10)
    monkeypatch.setattr("voltaspin.core.progress.EVERY", 0.0)

    def cells(spread):
        model, variation = SwitchingModel.constant(0.5, 0.5), Variation(K_eff=spread, stray_field=0.0)
        return MagnetoelectricMemory(rows=4, columns=4, model=model, junction=JUNCTION, variation=variation)

    seen = []
    with waits_told_to(lambda *said: seen.append(said)):
        cells(0.05).library  # noqa: B018
        # a nominal cell and four others fix a polynomial in K_eff
        assert seen == [("solve pulses (once)", k, 5) for k in range(6)]
        cells(0.05).library  # noqa: B018
        assert len(seen) == 6  # kept
    with progress():  # no terminal here: lines
        cells(0.0).library  # noqa: B018
    assert len(seen) == 6  # nobody listened any more
    assert "solve pulses (once): 1 of 1" in capsys.readouterr().err


def test_polynomials_pass_through_theirdesigns_of():
    rng = np.random.default_rng(0)
    halves = (("K_eff_scale", 0.1), ("B_z", 1e-3), ("xi_scale", 0.2))
    designs = designs_of(halves)
    terms = _orders(halves)
    c = rng.normal(size=len(terms))
    u = np.array([[(cell[q] - (0 if q == "B_z" else 1)) / h for q, h in halves] for cell in designs])
    values = sum(ck * np.prod(u[:, list(t)], axis=1) for ck, t in zip(c, terms, strict=True))
    assert len(designs) == len(terms) == 1 + 4 + 2 + 4 + 3
    assert np.allclose(coefficients(values[:, None], halves)[:, 0], c)


@pytest.mark.parametrize("at", [(0, 12), (1, 5), (1, 20)])
def test_the_library_agrees_with_single_solutions(library, at):
    pulse = Pulse(voltage=float(library.voltages[at[0]]), width=float(library.widths[at[1]]))
    cell = {"K_eff_scale": 1.05, "B_z": -0.7e-3}
    found = library.logits[at]
    p01, p10 = PulseResponse(pulse, HALVES, found).probabilities({k: np.float64(v) for k, v in cell.items()})
    for p, well in ((p01, "up"), (p10, "down")):
        exact = switching_probability(JUNCTION.with_variation(**cell), pulse, initial=well).value
        assert float(p) == pytest.approx(exact, abs=0.01)  # of the polynomial
    for p, well in zip(library.nominal[at], ("up", "down"), strict=True):
        assert p == pytest.approx(switching_probability(JUNCTION, pulse, initial=well).value, abs=1e-3)


def test_a_wanted_probability_is_what_cells_flip_with(library):
    memory = MagnetoelectricMemory(rows=256, columns=256, seed=3)
    memory.library = library
    both = [float(library.nominal[place].mean()) for place in ((1, 5), (0, 14))]
    for wanted in both:
        chosen = memory.programmed(wanted)
        memory.write(0)
        memory.pulse(wanted)
        p01, _ = chosen.probabilities(memory.quantities)
        assert abs(int(memory.state.sum()) - p01.sum()) < 3 * np.sqrt((p01 * (1 - p01)).sum())
        assert abs(chosen.p01 - wanted) <= 0.02
    assert set(memory.ledger.children) == {
        f"{a.pulse.voltage:.3f} V {a.pulse.width * 1e12:.0f} ps" for a in map(memory.programmed, both)
    }


def test_a_probability_that_no_pulse_gives_is_refused_with_the_nearest(library):
    memory = MagnetoelectricMemory(rows=4, columns=4)
    memory.library = library
    with pytest.raises(InputError, match=r"flips with a probability of 0\.9; the nearest, 1\.4\d V for 0\.44 ns"):
        memory.pulse(0.9)
    with pytest.raises(InputError, match=r"1\.5 is no probability"):
        memory.pulse(1.5)
    with pytest.raises(InputError, match="cannot answer to another pulse"):
        MagnetoelectricMemory(rows=4, columns=4, model=SwitchingModel.constant(0.5, 0.5)).pulse(
            Pulse(voltage=1.0, width=1e-9)
        )


def test_another_pulse_on_the_same_cells():
    model = SwitchingModel.shipped()
    memory = MagnetoelectricMemory(rows=64, columns=64, variation=Variation(K_eff=0.02, stray_field=0), seed=1)
    memory.pulse(model.pulse)
    found = response(JUNCTION, model.pulse, memory._halves)
    assert found.p01 == pytest.approx(switching_probability(JUNCTION, model.pulse).value, abs=1e-9)
    tail = norm.sf(3)
    p = float(found.probabilities(memory.quantities)[0].mean())
    assert binom.ppf(tail, 4096, p) <= memory.state.sum() <= binom.isf(tail, 4096, p)
