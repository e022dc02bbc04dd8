"""An array pulsed again and again: what its cells do, whichever engine computes them."""

import json
import pickle

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.memory import Imperfections, Slopes
from voltaspin.noise import MemorySource, PseudoSource, bit_statistics

STILL = Slopes((0, 0), (0, 0), (0, 0), (0, 0))


def cells_in_time(source, pulses):
    return np.unpackbits(source.bits(pulses * source.n_cells)).reshape(pulses, source.n_cells)


@pytest.mark.parametrize(("options", "engine"), [
    ({"reset": True}, "equal"), ({}, "sliced"),
    ({"imperfections": Imperfections.none()}, "one by one"),
    ({"imperfections": Imperfections.none(), "reset": True}, "one by one"),
])  # fmt: skip
def test_every_engine_gives_the_chain_of_the_switching_model(memory, options, engine):
    p01, p10 = 0.35, 0.5
    source = MemorySource(memory=memory(p01, p10, rows=32, columns=32), seed=2, k=1, **options)
    assert source.sequence.engine == engine
    bits = cells_in_time(source, 4000)[50:]
    reset = options.get("reset", False)
    p, rho = (p01, 0.0) if reset else (p01 / (p01 + p10), 1 - p01 - p10)
    found = bit_statistics(bits)
    n = bits.shape[0]
    error = np.sqrt(p * (1 - p) / n * (1 + rho) / (1 - rho))
    assert abs(found.bias.value + 0.5 - p) < 4.5 * error / 32
    assert abs(found.autocorrelation[0].value - rho) < 4.5 * np.sqrt((1 - rho**2) / bits.size) + 2 / n
    statistic = ((found.cell_bias + 0.5 - p) ** 2).sum() / error**2
    assert abs(statistic - 1024) < 4.5 * np.sqrt(2 * 1024)


def test_every_cell_keeps_its_own_two_probabilities(memory):
    array = memory(0.4, 0.55, slope=1.0, rows=32, columns=32)
    bits = cells_in_time(MemorySource(memory=array, seed=8, k=1), 8000)
    before, after = bits[:-1], bits[1:]
    for state, p in ((0, array.p01.ravel()), (1, 1 - array.p10.ravel())):
        there = before == state
        n = there.sum(axis=0)
        z = ((after & there).sum(axis=0) - n * p) / np.sqrt(n * p * (1 - p))
        assert abs((z**2).sum() - 1024) < 4.5 * np.sqrt(2 * 1024)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("reset", [False, True])
def test_the_xor_of_cells_has_the_bias_of_the_piling_up_lemma(memory, k, reset):
    source = MemorySource(memory=memory(0.4, 0.6, rows=64, columns=64), seed=3, k=k, reset=reset)
    n = 1 << 23
    ones = int(np.bitwise_count(source.bits(n)).sum())
    expected = (1 - 0.2**k) / 2
    assert abs(ones / n - expected) < 4.5 * 0.5 / np.sqrt(n)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_sure_and_fair_cells(memory, p):
    source = MemorySource(memory=memory(p, 1 - p), k=1, reset=True)
    n = 1 << 20
    ones = int(np.bitwise_count(source.bits(n)).sum())
    assert abs(ones - n * p) <= 4.5 * np.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("options", [
    {"reset": True, "k": 1}, {"reset": True, "k": 3}, {"k": 1}, {"k": 3}, {"mapping": "hashed"},
    {"imperfections": Imperfections(slopes=STILL, neighbour_field=1e-4)},
])  # fmt: skip
def test_the_sequence_does_not_depend_on_the_pieces_and_continues_after_a_restart(memory, options):
    array = memory(0.45, 0.55, rows=40, columns=40)
    whole = np.unpackbits(MemorySource(memory=array, **options).bits(20_000), count=20_000)
    source, parts = MemorySource(memory=array, **options), []
    for n in (1, 7, 8, 984, 2000, 5000, 3, 11_997):
        parts.append(np.unpackbits(source.bits(n), count=n))
        again = MemorySource(memory=array, **options)
        again.load_state_dict(json.loads(json.dumps(source.state_dict())))
        source = again
    assert np.array_equal(np.concatenate(parts), whole)


def test_normals_are_shaped_from_the_bits(memory):
    one, other = (MemorySource(memory=memory(0.4, 0.55), seed=6, bits_per_sample=12) for _ in range(2))
    bits = np.unpackbits(one.bits(12 * 1000))
    assert np.array_equal(other.normal(1000), other.transform(bits))


def test_imperfections_that_are_off_change_no_image(memory):
    array = memory(0.45, 0.6, slope=0.8, rows=64, columns=64)
    plain = MemorySource(memory=array, seed=5)
    off = MemorySource(memory=array, seed=5, imperfections=Imperfections.none())
    for step in (0, 3):
        one, other = (s.normal((2, 100), streams=[4, 9], step=step) for s in (plain, off))
        assert np.array_equal(one, other)


def test_images_feel_the_imperfections_and_can_be_drawn_again(memory):
    slopes = Slopes(temperature=(0.05, 0.05), voltage=(0, 0), width=(0, 0), B_z=(-6, 6))
    im = Imperfections(slopes=slopes, neighbour_field=1e-3, temperature_drift=1.0, read_error=0.01)
    array = memory(rows=64, columns=64)
    source = MemorySource(memory=array, seed=5, imperfections=im)
    first = source.normal((2, 100), streams=[4, 9], step=3)
    assert not np.array_equal(first, MemorySource(memory=array, seed=5).normal((2, 100), streams=[4, 9], step=3))
    fresh = MemorySource(memory=array, seed=5, imperfections=im)
    assert np.array_equal(fresh.normal((1, 100), streams=[9], step=3)[0], first[1])
    assert np.array_equal(source.normal((2, 100), streams=[4, 9], step=3), first)
    assert "with imperfections" in source.provenance.description


def test_every_stream_has_its_time(memory):
    im = Imperfections(slopes=STILL, neighbour_field=1e-4)
    source = MemorySource(memory=memory(rows=64, columns=64), imperfections=im)
    for stream in (0, 2**40, 2**63 - 1):
        assert np.isfinite(source.normal((1, 20), streams=[stream], step=3)).all()
    assert source.normal(20, step=5).shape == (20,)


def test_a_common_drift_moves_all_cells_together(memory):
    slopes = Slopes(temperature=(0.02, 0.02), voltage=(0, 0), width=(0, 0), B_z=(0, 0))
    im = Imperfections(
        slopes=slopes, temperature_drift=2.0, drift_period=200 * 50e-9, flicker=0, jitter=0, telegraph=0, pitch=0,
        read_error=0,
    )  # fmt: skip
    source = MemorySource(memory=memory(rows=64, columns=64), k=1, reset=True, imperfections=im)
    ones = cells_in_time(source, 400).mean(axis=1)
    at = [0.5 + 0.02 * source.disturbance.common(i * im.cycle, stream=0, at=i)["temperature"] for i in range(400)]
    z = (ones - at) / (0.5 / 64)
    assert abs((z**2).sum() - 400) < 4.5 * np.sqrt(800)  # p(1 - p) is within 1 % of 1/4


def test_children_share_nothing_and_are_never_handed_out_twice(memory):
    for source in (MemorySource(memory=memory(), seed=1), PseudoSource(seed=1)):
        first, second = source.spawn(2)
        third = source.spawn(1)[0]
        drawn = [s.bits(1000).tobytes() for s in (source, first, second, third)]
        assert len(set(drawn)) == 4
        again = type(source)(**({"memory": memory()} if isinstance(source, MemorySource) else {}), seed=1)
        assert again.spawn(2)[1].bits(1000).tobytes() == drawn[2]
        again = type(source)(**({"memory": memory()} if isinstance(source, MemorySource) else {}), seed=1)
        again.load_state_dict(json.loads(json.dumps(source.state_dict())))
        assert again.spawn(1)[0].bits(1000).tobytes() not in drawn


def test_a_source_travels_to_another_process(memory):
    source = MemorySource(seed=1)
    source.bits(1234)
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy.bits(5000), source.bits(5000))


def test_a_stored_state_of_another_size_is_refused(memory):
    source = MemorySource(memory=memory())
    state = source.state_dict()
    state["sequence"]["array"] = "00"
    with pytest.raises(InputError, match="truncated"):
        source.load_state_dict(state)
