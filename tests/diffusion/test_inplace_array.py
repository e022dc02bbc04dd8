"""Images that diffuse in an array: pulses, counts and moments of its cells, sampling, training, and what is refused."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.device import SwitchingModel, presets
from voltaspin.diffusion import inplace, load_pipeline
from voltaspin.diffusion.inplace.pulses import COIN_TOLERANCE
from voltaspin.diffusion.inplace.training import CountPrediction, forward_pulses
from voltaspin.memory import MagnetoelectricMemory, PulseLibrary, Variation
from voltaspin.noise import PseudoSource, RecordedSource

IDEAL = inplace.CellSpec(junction="ideal")
EQUAL = inplace.CellSpec(K_eff_spread=0.0, stray_field_spread=0.0)  # their pulses are in the tests' cache
ALPHA_BAR = np.cos(np.pi / 2 * np.arange(1, 21) / 20) ** 2


@pytest.mark.parametrize("cells", [IDEAL, EQUAL], ids=["ideal", "generator"])
def test_a_step_gives_counts_their_mean_and_variance(cells):
    process = inplace.Process(ALPHA_BAR, 15)
    array = inplace.PixelArray(process, planes=40, pixels=500, cells=cells, seed=2)
    array.begin()
    assert array.counts.mean() == pytest.approx(7.5, abs=4 * (15 / 4 / 20_000) ** 0.5 + 15 * abs(array.drive.q - 0.5))
    for number, (low, high, variance) in enumerate([(3, 12, 0.9), (6, 9, 2.2), (0.5, 2, 0.2)], 1):
        mean = np.tile(np.linspace(low, high, 500), (40, 1))
        array.step(mean, np.full(mean.shape, variance), number=number)
        off = array.counts - mean
        # rounding to 24 pulses averages out in space to about a thousandth
        assert off.mean() == pytest.approx(0, abs=4 * (variance / off.size) ** 0.5 + 2e-3)
        assert (off**2).mean() == pytest.approx(variance, rel=4 * (2 / off.size) ** 0.5 + 0.03)
        assert (array.seen.reshape(array.memory.state.shape) == array.memory.state).all()


def test_a_bias_of_all_cells_cancels_in_balanced_coins():
    process = inplace.Process(ALPHA_BAR, 15)
    off = {}
    for balanced in (False, True):
        cells = EQUAL.model_copy(update={"unknown_field": 2e-3, "balanced": balanced})
        array = inplace.PixelArray(process, planes=40, pixels=500, cells=cells, seed=2)
        array.begin()
        start = array.counts.mean() - 7.5
        mean = np.tile(np.linspace(4, 11, 500), (40, 1))
        array.step(mean, np.full(mean.shape, 2.2), number=1)
        off[balanced] = (start, (array.counts - mean).mean())
        assert ((array.counts - mean) ** 2).mean() == pytest.approx(2.2, rel=0.1)
    # 2 mT leave a one with .488: fifteen coins miss 7.5 by 0.18
    assert off[False][0] == pytest.approx(15 * -0.012, abs=0.05)
    assert abs(off[True][0]) < 4 * (15 / 4 / 20_000) ** 0.5 + 0.012
    assert abs(off[True][1]) < 0.3 * abs(off[False][1])


def test_the_forward_flips_follow_the_urn():
    process = inplace.Process(ALPHA_BAR, 15)
    array = inplace.PixelArray(process, planes=2, pixels=2000, cells=EQUAL, seed=1)
    pulses, reached = forward_pulses(process, array.memory)
    assert np.abs(reached - np.arange(20)).max() <= 1
    for t in (0, 5, 12, 19):
        time = int(reached[t])
        array.write(np.full((2, 2000), 4))
        array.flip([pulses[time]], [1, 0])
        law, n = process.marginal(4, time), array.counts[0]
        mean = law @ np.arange(16)
        spread = (law @ np.arange(16) ** 2 - mean**2) ** 0.5
        assert n.mean() == pytest.approx(mean, abs=4 * spread / 2000**0.5 + 15 * 0.004)  # a pulse nearest to the time
        assert (array.counts[1] == 4).all()


def test_pulse_each_does_what_pulses_of_all_cells_do():
    def memory():
        return MagnetoelectricMemory(
            rows=40, columns=70, model=SwitchingModel.constant(0.5, 0.5), junction=presets.get("generator"),
            variation=Variation(K_eff=0.05, stray_field=0.0), stuck=0.1, seed=4,
        )  # fmt: skip

    one, other = memory(), memory()
    drive = inplace.Drive.of(one)
    which = np.random.default_rng(0).integers(0, 4, one.state.shape)
    for pulses in ([drive.coin, drive.programmed[7], drive.toggle],) * 3:
        one.pulse_each(pulses, which)
        event, before, after = other.cycle, other.state.copy(), other.state.copy()
        for number, pulse in enumerate(pulses, 1):
            other.cycle = event  # the same event for each: as if it were the only pulse
            other._state[:] = before
            other.pulse(pulse, mask=which == number)
            after[which == number] = other.state[which == number]
        other._state[:] = after
        assert (one.state == other.state).all()
        assert one.cycle == other.cycle
    assert one.ledger.totals() == other.ledger.totals()
    assert (one.worn == other.worn).all()
    with pytest.raises(InputError, match=r"numbers from 1 to 3; there are 2 pulses"):
        one.pulse_each([0.5, 0.5], which)
    with pytest.raises(InputError, match="which of shape"):
        one.pulse_each([0.5], which[:3])


def test_a_sampling_counts_all_that_it_does(pipeline):
    made = inplace.sample(pipeline, count=3, steps=5, batch=2, cells_per_pixel=7, cells=EQUAL, seed=1)
    pixels = 64
    assert made.images.shape == (3, 1, 8, 8)
    assert made.per_image["evaluation"] == 5
    assert made.per_image["pulse"] == pytest.approx(made.per_image["read"], abs=1)  # only drawn cells are read
    assert 7 * pixels < made.per_image["pulse"] < 7 * pixels + 4 * 8 * pixels
    assert made.random_bits <= made.per_image["pulse"] + 1
    # a byte for the count and twice 7 bits of state for each pixel and step; 3 bits of place and 5 of 26 pulses
    told = made.per_image["pulse"]
    assert made.per_image["byte"] == pytest.approx(5 * pixels * (1 + 14 / 8) + told, abs=1)
    assert made.path.shape == (6, 1, 8, 8)  # of the first image
    assert (made.path[-1] == made.images[0]).all()
    everything = inplace.sample(pipeline, count=2, steps=5, cells_per_pixel=7, cells=EQUAL, seed=1, reads="all")
    assert everything.per_image["read"] == 5 * 7 * pixels
    # perfect reads: what is read again is what was known
    assert (everything.images == made.images[:2]).all()
    again = inplace.sample(pipeline, count=3, steps=5, batch=2, cells_per_pixel=7, cells=EQUAL, seed=1)
    assert (again.images == made.images).all()
    other = inplace.sample(pipeline, count=3, steps=5, batch=2, cells_per_pixel=7, cells=EQUAL, seed=2)
    assert (other.images != made.images).any()


def test_a_sampler_goes_on_where_it_was_kept(pipeline, tmp_path):
    from voltaspin.diffusion.inplace.sampling import InPlaceSampler

    def sampler(batch=2):
        options = inplace.InPlaceOptions(steps=4, batch=batch, cells_per_pixel=5, cells=EQUAL, seed=3)
        return InPlaceSampler(pipeline, options)

    whole = sampler()
    first, second = whole.batch(), whole.batch()
    begun = sampler()
    assert (begun.batch() == first).all()
    begun.save(tmp_path / "array.safetensors")
    assert (tmp_path / "array.safetensors").stat().st_size < 2 * 5 * 64 / 8 + 300  # a bit for each cell, and a head
    state = json.loads(json.dumps(begun.state()))
    resumed = sampler()
    resumed.load(tmp_path / "array.safetensors", state)
    assert (resumed.batch() == second).all()
    assert resumed.samples(second, seconds=0.0).ledger.totals() == whole.samples(second, seconds=0.0).ledger.totals()
    assert resumed.array.rounding == whole.array.rounding
    with pytest.raises(InputError, match=r"keeps another array than one of 960 cells"):
        sampler(batch=3).load(tmp_path / "array.safetensors", state)
    damaged = bytearray((tmp_path / "array.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    for name, said in (("damaged", "is damaged"), ("none", "cannot be read")):
        with pytest.raises(InputError, match=said):
            sampler().load(tmp_path / name, state)


def test_wrong_reads_are_seen_by_the_controller_only(pipeline):
    wrong = inplace.CellSpec(junction="ideal", read_error=0.05)
    process = inplace.Process(ALPHA_BAR, 15)
    array = inplace.PixelArray(process, planes=4, pixels=5000, cells=wrong, seed=2)
    array.begin()
    differ = (array.seen.reshape(array.memory.state.shape) != array.memory.state).mean()
    assert differ == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 300_000) ** 0.5)


def test_bits_of_a_source_stand_for_the_coins(pipeline, tmp_path):
    made = inplace.sample(pipeline, count=2, steps=4, cells_per_pixel=5, source=PseudoSource(seed=1), cells=IDEAL)
    assert 0 < made.images.std()
    file = tmp_path / "bits.bin"
    file.write_bytes(np.random.default_rng(0).bytes(700))
    with pytest.raises(NoiseExhaustedError) as stopped:
        inplace.sample(
            pipeline, count=20, steps=4, batch=2, cells_per_pixel=5, source=RecordedSource(file), cells=IDEAL
        )
    finished = stopped.value.finished
    assert 2 <= len(finished.images) < 20


def test_probabilities_of_a_source_are_binary_digits():
    from voltaspin.diffusion.inplace.source_cells import SourceCells

    cells = SourceCells(PseudoSource(seed=3), rows=200, columns=1000)
    for p in (0.3, 0.0, 1.0, 0.75):
        cells.write(0)
        before = cells.source.ledger.totals().get("bit", 0)
        cells.pulse_each([p], np.ones((200, 1000), np.uint8))
        assert cells.state.mean() == pytest.approx(p, abs=4 * (p * (1 - p) / 200_000) ** 0.5 + 2**-17)
        spent = cells.source.ledger.totals().get("bit", 0) - before
        assert spent <= 2.02 * 200_000


@pytest.fixture(scope="module")
def small(spec):
    fields = spec.model_dump() | {"noise": "array", "steps": 4}
    return inplace.InPlaceTrainSpec(**fields, cells_per_pixel=7, cells=EQUAL)


def test_training_leaves_a_pipeline_that_knows_its_cells(small, squares, tmp_path):
    result = inplace.train(squares, tmp_path / "m", spec=small)
    assert result.finished
    assert np.isfinite(result.loss)
    assert inplace.trained_for(tmp_path / "m") == inplace.InPlaceSpec(cells_per_pixel=7, cells=EQUAL)
    made = inplace.sample(load_pipeline(tmp_path / "m"), count=1, steps=3, cells_per_pixel=7, cells=EQUAL)
    assert made.images.shape == (1, 1, 8, 8)
    assert inplace.trained_for(tmp_path) is None


def test_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_run(small, squares, tmp_path):
    inplace.train(squares, tmp_path / "whole", spec=small)

    def stop(step, *_):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inplace.train(squares, tmp_path / "m", spec=small, progress=stop)
    inplace.train(squares, tmp_path / "m", spec=small, resume=True)
    one, other = (load_pipeline(tmp_path / name).sha256 for name in ("whole", "m"))
    assert one == other


def test_the_objective_sees_the_noise_of_its_time(small, squares):
    objective = CountPrediction(small.model_copy(update={"batch": 64}), channels=1, size=8)
    t = objective.reached[np.full(64, 400)]
    x = objective.noisy(squares.images, t)
    alpha_bar = float(objective.alpha_bar[t[0]])
    clean = 2 * objective.process.clean_counts(squares.images) / 7 - 1
    noise = (x - alpha_bar**0.5 * clean) / (1 - alpha_bar) ** 0.5
    assert noise.mean() == pytest.approx(0, abs=4 / x.size**0.5 + 0.02)
    assert noise.var() == pytest.approx(1, rel=4 * (2 / x.size) ** 0.5 + 0.02)


def test_as_many_pulses_as_a_byte_has_roles_for():
    cells = inplace.CellSpec(junction="ideal", pulses=125, balanced=True)
    array = inplace.PixelArray(inplace.Process(ALPHA_BAR, 3), planes=20, pixels=1000, cells=cells, seed=1)
    array.write(np.ones((20, 1000)))
    mean = np.tile(np.linspace(0.5, 1.5, 1000), (20, 1))
    array.step(mean, np.zeros(mean.shape), number=1)
    assert (array.counts - mean).mean() == pytest.approx(0, abs=4 * (0.25 / mean.size) ** 0.5)
    with pytest.raises(ValueError, match="less than or equal to 125"):
        inplace.CellSpec(pulses=126)


def few_pulses(voltage, *widths):
    V_c = presets.get("generator").V_c
    return PulseLibrary.of(presets.get("generator"), (), voltages=np.array([voltage * V_c]), widths=np.array(widths))


def test_a_junction_without_a_coin_or_a_toggle_is_refused_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path))
    memory = MagnetoelectricMemory(
        rows=4, columns=4, model=SwitchingModel.constant(0.5, 0.5), junction=presets.get("generator"),
        variation=Variation(K_eff=0.0, stray_field=0.0),
    )  # fmt: skip
    memory.library = few_pulses(1.0, 60e-12, 200e-12)
    said = r"no pulse of this junction is a fair coin within 0\.02; the nearest, .* V for .* ns, .* of the variance"
    with pytest.raises(InputError, match=said):
        inplace.Drive.of(memory)
    with pytest.raises(InputError, match="no pulse of this junction flips with a probability of 1; the nearest"):
        inplace.Drive.of(memory, coin_tolerance=0.49)
    assert COIN_TOLERANCE == 0.02


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"count": 0}, "count=0: give at least 1 image"),
        ({"batch": 0}, "batch=0: give at least 1 image"),
        ({"steps": 2000}, "2000 sampling steps"),
        ({"cells_per_pixel": 0}, "cells = 0 of a pixel"),
        ({"cells_per_pixel": 255, "batch": 129, "count": 129},
         "129 planes of 64 pixels in 255 cells each need 2,105,280 cells in 32,895 rows"),
        ({"cells": inplace.CellSpec(junction="ideal", unknown_field=1e-3)}, "ideal cells feel no field"),
    ],
)  # fmt: skip
def test_what_has_no_room_or_makes_no_sense_is_refused(pipeline, how, message):
    with pytest.raises(InputError, match=message):
        inplace.sample(pipeline, **{"count": 1, "steps": 2, "cells": IDEAL, **how})
