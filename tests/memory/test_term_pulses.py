"""Programmed pulses of junctions with further terms, against the density of single cells."""

from dataclasses import replace

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.units import nm
from voltaspin.device import Junction, Pulse, SwitchingModel, fokker_planck, presets
from voltaspin.device.terms import SelfHeating, SpinOrbitLine, SpinTransfer
from voltaspin.device.threshold import threshold
from voltaspin.diffusion import inplace
from voltaspin.memory import MagnetoelectricMemory, PulseLibrary, PulsePair, Variation
from voltaspin.memory import term_pulses as module
from voltaspin.memory.responses import PulseResponse, told_apart
from voltaspin.memory.term_pulses import _turned, check_holds

SMALL = replace(Junction.of("generator"), B_bias=(0.0, 0.0, 0.0), alpha_G=0.1).with_variation(K_eff_scale=0.45)
STT = replace(SMALL, spin_transfer=SpinTransfer(), RA=10e-12, xi=0.0, name="small")
LINE = SpinOrbitLine(width=50 * nm, thickness=4 * nm, length=60 * nm, resistivity=2e-6, theta_SH=0.3)
SOT = replace(SMALL, line=LINE, B_bias=(0.006, 0.0, 0.0), name="line")
HALVES = (("K_eff_scale", 0.06), ("B_z", 6e-4))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A driver of spin transfer with three levels of either sign and five widths."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VOLTASPIN_CACHE", str(tmp_path_factory.mktemp("cache")))
    V, tau = threshold(STT).voltage * np.array([-3, -2, -1, 1, 2, 3]), STT.relaxation_time
    seen = []
    widths = tau * np.array([0.4, 0.8, 1.2, 2.0, 3.0])
    made = PulseLibrary.of(STT, HALVES, voltages=V, widths=widths, progress=lambda *step: seen.append(step))
    again = PulseLibrary.of(STT, HALVES, voltages=V, widths=widths, progress=lambda *step: seen.append(step))
    patch.undo()
    assert seen == [(k, 10) for k in range(11)]  # 8 cells and two that measure the error; the second time none
    assert np.array_equal(made.logits, again.logits)
    assert (made.error, made.worst, made.apart) == (again.error, again.worst, True)
    return made


def memory(library, **more):
    found = MagnetoelectricMemory(
        rows=96, columns=96, model=SwitchingModel.constant(0.5, 0.5), junction=STT, seed=2,
        variation=Variation(K_eff=0.02, stray_field=2e-4), **more,
    )  # fmt: skip
    found.library = library
    return found


@pytest.mark.parametrize(
    ("at", "cell"),
    [((4, 1), {"K_eff_scale": 1.04, "B_z": -5e-4}), ((1, 3), {"K_eff_scale": 0.95}), ((5, 0), {"B_z": 3e-4})],
)
def test_the_library_is_the_density_within_its_stated_error(library, at, cell):
    pulse = Pulse(voltage=float(library.voltages[at[0]]), width=float(library.widths[at[1]]))
    whole = {"K_eff_scale": 1.0, "B_z": 0.0} | cell
    found = library.at(*at).probabilities({q: np.float64(v) for q, v in whole.items()})
    assert library.error <= library.worst < 0.01
    for p, well in zip(found, ("up", "down"), strict=True):
        exact = fokker_planck.switching_probability(STT.with_variation(**cell), pulse, initial=well, rtol=0.1)
        assert abs(float(p) - exact.value) < library.worst + 5e-3 + exact.error  # 5e-3: of the degree
    one = fokker_planck.switching_probability(STT, pulse, initial="up", rtol=0.1).value
    from voltaspin.memory.pulses import response

    assert response(STT, pulse, ()).p01 == pytest.approx(one, abs=5e-3)


def test_a_torque_flips_a_0_by_one_sign_and_a_1_by_the_other(library):
    p = library.nominal
    assert p[5, 4, 0] > 0.9 > 0.1 > p[0, 4, 0]
    assert p[0, 4, 1] > 0.9 > 0.1 > p[5, 4, 1]
    array = memory(library)
    wanted = float(p[4, 3, 0])
    pair = array.programmed(wanted)
    assert isinstance(pair, PulsePair)
    assert pair.zero.pulse.voltage > 0 > pair.one.pulse.voltage
    for bit in (0, 1):
        array.write(bit)
        array.pulse(wanted)
        expected = (
            pair.zero.probabilities(array.quantities)[0] if bit == 0 else pair.one.probabilities(array.quantities)[1]
        )
        flipped = int((array.state != bit).sum())
        assert abs(flipped - expected.sum()) < 4 * np.sqrt((expected * (1 - expected)).sum())
    # the bits are read before such a pulse, and each is counted under the name of its own
    assert array.ledger.total("read") == 2 * array.cells
    assert array.ledger.child(pair.zero.name).total("pulse") == array.cells
    assert array.ledger.child(pair.one.name).total("pulse") == array.cells


def test_who_knows_the_bits_reads_none_and_who_is_wrong_gives_the_wrong_pulse(library):
    array = memory(library)
    pair = array.programmed(float(library.nominal[5, 4, 0]))
    array.write(0)
    array.pulse_each([pair], np.ones(array.state.shape, np.uint8), known=np.zeros(array.state.shape))
    assert array.ledger.total("read") == 0
    assert array.state.mean() > 0.9
    array.pulse_each([pair], np.ones(array.state.shape, np.uint8), known=np.zeros(array.state.shape))
    assert array.state.mean() > 0.9  # the pulse of a 0 takes no 1 back
    array.pulse_each([pair], np.ones(array.state.shape, np.uint8))
    assert array.state.mean() < 0.2  # with a read: those that were 1 are 0 now, and few the other way


def test_pairs_are_told_apart_by_number_and_bit():
    def answer(voltage):
        return PulseResponse(Pulse(voltage=voltage, width=1e-9), (), np.zeros((2, 1)))

    a, b, c, d = map(answer, (1.0, -1.0, 2.0, 3.0))
    flat, which = told_apart([c, PulsePair(a, b), d], np.array([0, 1, 2, 2, 3]), np.array([1, 1, 0, 1, 1]))
    assert [p.pulse.voltage for p in flat] == [2.0, 1.0, -1.0, 3.0]
    assert which.tolist() == [0, 1, 2, 3, 4]


def test_the_drive_of_an_image_is_made_of_pairs(library):
    drive = inplace.Drive.of(memory(library), count=8, coin_tolerance=0.2)
    assert all(isinstance(pulse, PulsePair) for pulse in drive.pulses)
    assert (np.diff(drive.flips, axis=0) > 0).all()
    with pytest.raises(InputError, match=r"no pair of pulses .* fair coin within 0\.0001; the nearest, .* ps on a 0"):
        inplace.Drive.of(memory(library), coin_tolerance=1e-4)
    weak = replace(library, logits=np.where(np.arange(library.logits.shape[-1]) == 0, -0.5, 0.0) + 0 * library.logits)
    with pytest.raises(InputError, match=r"flips with a probability above 0\.5.*0\.378 and 0\.378"):
        inplace.Drive.of(memory(weak), coin_tolerance=0.2)


def test_a_toggle_that_is_not_certain_is_repeated_until_the_bit_has_turned(monkeypatch):
    """Of a driver whose best pulse flips with 0.8: eight reads leave 0.2^9 of the cells."""
    level = np.log(0.8 / 0.2)
    sure = np.ones(1)
    logits = np.stack([np.stack([level * sure, -9 * sure]), np.stack([0 * sure, -9 * sure]),
                       np.stack([-9 * sure, level * sure]), np.stack([-9 * sure, 0 * sure])])[:, None]  # fmt: skip
    four = PulseLibrary(np.array([2.0, 1.0, -2.0, -1.0]), np.array([1e-9]), (), logits, True)
    monkeypatch.setattr(PulseLibrary, "of", lambda *_args, **_more: four)
    cells = inplace.CellSpec(junction="arm-2021-stt", K_eff_spread=0.0, stray_field_spread=0.0)
    process = inplace.Process(np.cos(np.pi / 2 * np.arange(1, 21) / 20) ** 2, 5)
    array = inplace.PixelArray(process, planes=20, pixels=500, cells=cells, seed=2)
    assert not array.drive.certain
    array.write(np.zeros((20, 500), int))
    array.step(np.full((20, 500), 3.0), np.zeros((20, 500)), number=1)  # three certain ones in each pixel
    toggles = 3 * 10_000
    assert abs(int(array.counts.sum()) - toggles) < 4 * np.sqrt(toggles * 0.2**9) + 1
    assert (array.seen.reshape(array.memory.state.shape) == array.memory.state).all()
    assert array.rounding.toggles == pytest.approx(toggles / 0.8, rel=0.02)
    with pytest.raises(InputError, match="leave balanced out"):
        inplace.PixelArray(process, planes=2, pixels=5, cells=cells.model_copy(update={"balanced": True}))


def test_a_bit_that_does_not_last_and_what_no_voltage_flips_are_refused():
    with pytest.raises(InputError, match=r"schnitzspan-2023 does not hold its bit: .* in the 10 ns .* barrier of 15"):
        check_holds(presets.get("schnitzspan-2023"))
    with pytest.raises(InputError, match="does not hold its bit"):
        inplace.PixelArray(
            inplace.Process(np.array([0.5]), 3), planes=1, pixels=2, cells=inplace.CellSpec(junction="schnitzspan-2023")
        )
    dead = replace(SMALL, xi=0.0, K2=1e3)
    with pytest.raises(InputError, match="nothing by which a voltage acts"):
        PulseLibrary.of(dead, HALVES)
    upright = replace(SMALL, K2=1e3)
    with pytest.raises(InputError, match=r"in-plane field = 0 T: at .* V, .*set B_bias"):
        PulseLibrary.of(upright, HALVES)


@pytest.mark.slow
def test_a_line_is_solved_for_one_bit_and_shown_in_a_mirror_for_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path))
    V, w = threshold(SOT).voltage * np.array([-1.5, -0.8, 0.8, 1.5]), SOT.relaxation_time * np.array([0.5, 2.0])
    found = PulseLibrary.of(SOT, (("B_z", 1e-3),), voltages=V, widths=w)
    assert _turned(SOT)
    monkeypatch.setattr(module, "_turned", lambda _: False)
    both = PulseLibrary.of(SOT, (("B_z", 1e-3),), voltages=V, widths=w * (1 + 1e-12))  # another file of the cache
    assert found.logits == pytest.approx(both.logits, abs=0.02)
    assert found.nominal == pytest.approx(both.nominal, abs=1e-4)
    assert not _turned(replace(SOT, line=replace(LINE, gate=0.1)))
    assert not _turned(replace(SOT, B_bias=(0.006, 0.0, 1e-3)))


@pytest.mark.slow
def test_heating_has_a_driver_of_few_widths_and_vcma_one_of_both_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path))
    warm = replace(presets.get("generator"), heating=SelfHeating(thermal_resistance=1e6, tau=1e-9))
    V, w, apart = module._grid(warm)
    assert (len(V), apart) == (8, False)
    assert len(w) <= 8
    made = PulseLibrary.of(warm, (), voltages=V[3:4], widths=w[2:3])
    pulse = Pulse(voltage=float(V[3]), width=float(w[2]))
    exact = fokker_planck.switching_probability(warm, pulse, initial="down", rtol=0.1)
    assert made.nominal[0, 0, 1] == pytest.approx(exact.value, abs=5e-3 + exact.error)
