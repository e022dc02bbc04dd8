"""The memory's noise: a slow oracle, the couplings, the statistics of its cells, replay and counts."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import chi2

import voltaspin.noise.memory_source as module
from voltaspin.core.errors import InputError
from voltaspin.noise import (
    BoxMuller,
    DitheredPopcount,
    InverseCDF,
    MemorySource,
    PseudoSource,
    bit_statistics,
)
from voltaspin.noise.conditioning import xor_bias
from voltaspin.noise.source import bit_key
from voltaspin.random.streams import Stream

MAPPINGS = ["fixed", "rotated", "hashed"]


def oracle_word(seed, i, stream, step, j):
    """Word of cell ``i`` of bit ``j``, as voltaspin.random.bernoulli states it."""
    group, r = divmod(j, 128)
    half = r // 16
    block = (step << 32) + 16 * group + r % 16
    word = int(Stream(bit_key(seed, i), stream).words(4, start=4 * block)[half // 2])
    return word >> 16 if half % 2 else word & 0xFFFF


def oracle_draw(source, stream, step, size):
    """Numbers of one draw, cell by cell from the reset."""
    n_bits, k, memory = size * source.transform.bits_per_sample, source.k, source.memory
    p01, p10 = memory.p01.ravel(), memory.p10.ravel()
    state = np.zeros(memory.cells, int)
    for t in range(step + 1):
        cells = source.cells(size, step=t)
        bits = np.zeros(n_bits, int)
        for j in range(n_bits):
            words = [oracle_word(source.seed, i, stream, t, j) for i in range(k)]
            for i in range(1, k):
                words[0] ^= 0x8000 if words[i] < 32768 else 0
            for i in range(k):
                c = cells[i, j]
                s = 0 if source.reset else state[c]
                state[c] = words[i] < round(65536 * (1 - p10[c] if s else p01[c]))
                bits[j] ^= state[c]
    if isinstance(source.shaping, BoxMuller | DitheredPopcount) or source.transform.bits_per_sample > 16:
        return source.transform(bits)  # tested by themselves
    rows = bits.reshape(size, source.transform.bits_per_sample)
    if source.transform.counts_ones:
        index = rows.sum(axis=1)
    else:
        index = [int("".join(map(str, row)), 2) for row in rows]
    return source.transform.values[index].astype(np.float32)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(("k", "reset", "shaping", "bits"), [
    (1, False, "inverse_cdf", 16), (2, False, "inverse_cdf", 16), (2, True, "inverse_cdf", 12),
    (3, False, "popcount", 20), (2, False, BoxMuller(), 32), (1, True, DitheredPopcount(9, 4), 13),
    (1, False, "inverse_cdf", 20),
])  # fmt: skip
def test_draws_agree_with_the_oracle(memory, mapping, k, reset, shaping, bits):
    array = memory(0.45, 0.6, slope=0.8, rows=23, columns=41)  # 943 cells: rotation wraps inside a group
    source = MemorySource(
        memory=array, seed=5, k=k, transform=shaping, bits_per_sample=bits, mapping=mapping, reset=reset
    )
    size = 11
    for step in (0, 1, 3):
        got = source.normal((1, size), streams=[77], step=step)[0]
        assert np.array_equal(got, oracle_draw(source, 77, step, size))


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_fair_cells_equal_the_software_exactly(memory, k, mapping, reset, bits):
    source = MemorySource(memory=memory(), seed=9, k=k, mapping=mapping, reset=reset, bits_per_sample=bits)
    software = PseudoSource(seed=9, precision=bits)
    for step in (0, 1, 2):
        ours, theirs = (s.normal((3, 28, 28), streams=[0, 5, 6], step=step) for s in (source, software))
        assert np.array_equal(ours, theirs)


def test_a_biased_raw_bit_differs_from_the_fair_one_exactly_between_the_thresholds(memory):
    p, n = 0.55, 784 * 16
    source = MemorySource(memory=memory(p, 1 - p), seed=9, k=1)
    raw, conditioned = source.samples(5, size=784, stream=3)
    assert np.array_equal(raw[:, 0], conditioned)
    fair, _ = MemorySource(memory=memory(), seed=9, k=1).samples(5, size=784, stream=3)
    different = raw[:, 0] != fair[:, 0]
    assert (raw[:, 0] >= fair[:, 0]).all()  # a larger p only adds ones
    assert abs(different.mean() - 0.05) < 4.5 * np.sqrt(0.05 * 0.95 / (5 * n))


@pytest.mark.parametrize("k", [1, 2])
def test_results_do_not_depend_on_batch_order_thread_or_cache(memory, monkeypatch, k):
    array = memory(0.4, 0.55, slope=0.5)

    def build():
        return MemorySource(memory=array, seed=2, k=k)

    ids, steps = [4, 9, 1], range(5)
    source = build()
    expected = np.stack([source.normal((3, 10, 10), streams=ids, step=t) for t in steps])
    one_by_one = build()
    for i in (2, 0, 1):
        for t in (3, 0, 4, 4, 1, 2):  # forward, back, again
            got = one_by_one.normal((1, 10, 10), streams=[ids[i]], step=t)[0]
            assert np.array_equal(got, expected[t, i])
    with ThreadPoolExecutor(4) as pool:
        shared = build()
        jobs = [(t, i) for t in steps for i in range(3)] * 3
        rows = pool.map(lambda job: shared.normal((1, 10, 10), streams=[ids[job[1]]], step=job[0])[0], jobs)
        assert all(np.array_equal(row, expected[t, i]) for row, (t, i) in zip(rows, jobs, strict=True))
    monkeypatch.setattr(module, "_CACHE_BYTES", 1)
    forgetful = build()
    assert np.array_equal(np.stack([forgetful.normal((3, 10, 10), streams=ids, step=t) for t in steps]), expected)
    assert len(forgetful._states) == 1
    counted = build()
    assert np.array_equal(np.stack([counted.normal((3, 10, 10), streams=ids) for _ in steps]), expected)


@pytest.mark.parametrize(("p01", "p10"), [(0.5, 0.5), (0.55, 0.45), (0.3, 0.5)])
@pytest.mark.parametrize("reset", [False, True])
def test_cells_have_their_probability_and_lag_one(memory, p01, p10, reset):
    source = MemorySource(memory=memory(p01, p10, rows=64, columns=64), seed=4, k=1, reset=reset)
    raw, _ = source.samples(600, size=64, start=50)
    found = bit_statistics(raw[:, 0])
    p = p01 if reset else p01 / (p01 + p10)
    rho = 0.0 if reset else 1 - p01 - p10
    cells = 64 * 16

    def width(estimate):  # 4.5 standard errors from a 95 % interval
        return 4.5 / 1.96 * (estimate.high - estimate.low) / 2

    assert abs(found.bias.value - (p - 0.5)) < width(found.bias)
    # what the mean correction leaves for correlated bits is at most 2 |rho| / (n (1 - |rho|))
    left = 2 * abs(rho) / (600 * (1 - abs(rho)))
    assert abs(found.autocorrelation[0].value - rho) < width(found.autocorrelation[0]) + left
    error = np.sqrt(p * (1 - p) / 600 * (1 + rho) / (1 - rho))
    assert np.abs(found.cell_bias + 0.5 - p).max() < 5 * error  # the largest of 1024: 6e-4 by chance
    # chi-square of 1024 cells; its spread allows 4.5 standard deviations
    statistic = ((found.cell_bias + 0.5 - p) ** 2).sum() / error**2
    assert abs(statistic - cells) < 4.5 * np.sqrt(2 * cells)


def test_xor_of_different_cells_takes_the_bias_away(memory):
    array = memory(0.55, 0.45, slope=0.5, rows=64, columns=64)
    source = MemorySource(memory=array, seed=4, k=2, reset=True)
    raw, conditioned = source.samples(800, size=64)
    assert np.array_equal(conditioned, raw.sum(axis=1) % 2)
    cells = source.cells(64)
    p = array.p01.ravel()[cells]
    expected = (1 - np.prod(1 - 2 * p, axis=0)) / 2
    assert np.abs(conditioned.mean(axis=0) - expected).max() < 4.8 * 0.5 / np.sqrt(800)
    assert abs(conditioned.mean() - expected.mean()) < 4.5 * 0.5 / np.sqrt(conditioned.size)
    # the two cells of a bit answer independently although one word is flipped by the other
    d = raw - p
    assert abs((d[:, 0] * d[:, 1]).mean()) < 4.5 * 0.25 / np.sqrt(conditioned.size)


def test_a_biased_memory_shifts_the_mean_by_the_exact_amount(memory):
    shaping = InverseCDF(16)
    for k, p_bit in ((1, 0.55), (2, 0.5 - xor_bias(0.55, 2))):
        source = MemorySource(memory=memory(0.55, 0.45), seed=1, k=k)
        z = source.normal((300, 784), streams=range(300), step=0).astype(float)
        sigma = np.sqrt(shaping.moment(2, p=p_bit) - shaping.moment(1, p=p_bit) ** 2) / np.sqrt(z.size)
        assert abs(z.mean() - shaping.moment(1, p=p_bit)) < 4.5 * sigma


def test_raw_memory_without_reset_correlates_successive_draws(memory):
    p01 = p10 = 0.4  # lag 1 of a bit: 0.2
    shaping = InverseCDF(16)
    source = MemorySource(memory=memory(p01, p10), seed=3, k=1)
    a, b = (source.normal((100, 784), streams=range(100), step=t).ravel().astype(float) for t in (8, 9))
    # Correlation of two numbers whose bits agree in pairs with correlation 0.2: over the Walsh spectrum of
    # the table, each coefficient squared times 0.2 to the number of bits it depends on.
    spectrum = shaping.values.copy()
    step = 1
    while step < spectrum.size:
        pairs = spectrum.reshape(-1, 2, step)
        spectrum = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).ravel() / 2
        step *= 2
    order = np.bitwise_count(np.arange(spectrum.size))
    expected = (spectrum**2 * 0.2**order).sum()
    assert abs((a * b).mean() - expected) < 4.5 / np.sqrt(a.size)
    assert expected > 0.15


def test_pixels_of_one_draw_are_independent(memory):
    source = MemorySource(memory=memory(0.45, 0.5), seed=6, k=2)
    z = source.normal((2000, 64), streams=range(2000), step=3).astype(float)
    correlation = np.corrcoef(z.T)[np.triu_indices(64, 1)]
    statistic = 2000 * (correlation**2).sum()
    assert chi2.sf(statistic, correlation.size) > 1e-4


def test_a_moving_mapping_breaks_the_pattern_of_the_cells(memory):
    array = memory(0.5, 0.5, slope=1.0)  # a spread of p of 0.05 from cell to cell
    patterns = {}
    for mapping in MAPPINGS:
        source = MemorySource(memory=array, seed=6, k=1, mapping=mapping, reset=True)
        z = np.stack([source.normal((40, 400), streams=range(40), step=t).mean(axis=0) for t in range(50)])
        patterns[mapping] = z.mean(axis=0).var() * 2000  # 1 without a pattern
    spread = 4.5 * np.sqrt(2 / 400)
    assert patterns["fixed"] > 10
    # moved on, the pattern of 50 steps averages to a fiftieth of its variance
    rest = (patterns["fixed"] - 1) / 50
    assert patterns["rotated"] < 1 + 2 * rest + spread
    assert patterns["hashed"] < 1 + 2 * rest + spread


@pytest.mark.parametrize(
    ("options", "resets"),
    [
        ({}, 25_088),
        ({"reset": True}, 2 * 25_088),
        ({"mapping": "rotated"}, 65_536),
        ({"mapping": "hashed", "reset": True}, 2 * 25_088),
    ],
)
def test_counts_of_two_draws_of_one_image(memory, options, resets):
    source = MemorySource(memory=memory(), **options)
    for step in (0, 1):
        source.normal((1, 28, 28), streams=[0], step=step)
    assert source.memory.ledger.totals() == {"pulse": 50_176, "reset": resets, "read": 50_176}
    assert source.ledger.counts == {"xor": 25_088, "bit": 25_088, "lookup": 1568, "normal": 1568}
    assert source.ledger.total("pulse") == 50_176  # the memory is a child


def test_counts_follow_the_question_and_not_the_replay(memory):
    source = MemorySource(memory=memory(), k=1, transform="popcount", bits_per_sample=8)
    source.normal((2, 10), streams=[0, 1], step=6)
    assert source.ledger.totals() == {"pulse": 160, "read": 160, "bit": 160, "normal": 20}
    source.samples(3, size=10)
    assert source.ledger.total("pulse") == 160


def test_counts_of_bits(memory):
    source = MemorySource(memory=memory(rows=32, columns=16), k=2)
    source.bits(300)  # two pulses of the 256 bits that 512 cells give
    assert source.ledger.totals() == {"pulse": 1024, "reset": 512, "read": 1024, "xor": 512, "bit": 300}


def test_sequence_of_a_small_array_continues(memory):
    for options in ({"mapping": "hashed"}, {"k": 3}, {"reset": True}):
        array = memory(0.45, 0.5, slope=0.5, rows=10, columns=10)
        whole = MemorySource(memory=array, **options).bits(1000)
        source = MemorySource(memory=array, **options)
        parts = [np.unpackbits(source.bits(n), count=n) for n in (1, 49, 51, 499, 400)]
        assert np.array_equal(np.packbits(np.concatenate(parts)), whole)


def test_any_size_comes_from_the_sequence(memory):
    source = MemorySource(memory=memory(rows=16, columns=16))
    assert source.normal((64, 3, 4, 4)).shape == (64, 3, 4, 4)


@pytest.mark.parametrize("options", [{}, {"mapping": "rotated", "k": 3}, {"reset": True}])
def test_state_continues(memory, options):
    def build(seed=1):
        return MemorySource(memory=memory(0.4, 0.5, slope=0.5, rows=40, columns=40), seed=seed, **options)

    source = build()
    source.normal(1000), source.bits(77), source.normal((2, 12), streams=[3, 4])
    state = json.loads(json.dumps(source.state_dict()))
    again = build()
    again.load_state_dict(state)
    for one, other in zip(
        *([s.bits(3001), s.normal(100), s.normal((2, 12), streams=[4, 9])] for s in (source, again)),
        strict=True,
    ):
        assert np.array_equal(one, other)
    with pytest.raises(InputError, match="another source"):
        build(seed=2).load_state_dict(state)
    short = {**state["sequence"], "array": state["sequence"]["array"][:-2]}
    with pytest.raises(InputError, match="truncated"):
        build().load_state_dict({**state, "sequence": short})


def test_provenance_says_simulated_and_how(memory):
    source = MemorySource(memory=memory(0.55, 0.45), k=2)
    assert source.provenance.kind == "simulated"
    assert "XOR of 2 different cells" in source.provenance.description
    assert "not reset" in source.provenance.description
    details = json.loads(json.dumps(source.provenance.to_json()))["details"]
    assert details["memory"]["p01"]["mean"] == pytest.approx(0.55)
    assert details["driven_by"] == "Philox4x32-10"


def test_the_stored_bits_are_left_alone(memory):
    source = MemorySource(memory=memory())
    source.memory.write(1)
    source.bits(100)
    assert source.memory.state.all()


@pytest.mark.parametrize(
    ("options", "shape", "said"),
    [
        ({"k": 0}, None, "k = 0"),
        ({"k": 1.5}, None, "k = 1.5"),
        ({"transform": "box"}, None, "transform 'box'"),
        ({"mapping": "spiral"}, None, "mapping 'spiral'"),
        ({"bits_per_sample": 28}, None, "CDF of 28 bits"),
        ({"k": 4097}, None, "needs 4097 cells but the memory has 4096"),
        ({}, (1, 129), r"needs 4128 cells but the memory has 4096.*rows=128, columns=128"),
    ],
)
def test_bad_input_is_refused(memory, options, shape, said):
    with pytest.raises(InputError, match=said):
        MemorySource(memory=memory(rows=64, columns=64), **options).normal(shape, streams=[0], step=0)


@pytest.mark.parametrize("k", [1, 2])
def test_a_settled_array_has_its_long_run_from_the_first_draw(memory, k):
    """Markov chain in equilibrium: P(1) = p01 / (p01 + p10) and lag-1 correlation 1 - p01 - p10 at every draw."""
    p01, p10 = 0.2, 0.3
    p, rho = 0.4, 0.5
    array = memory(p01, p10, rows=112, columns=224)
    source = MemorySource(memory=array, seed=6, k=k, init="stationary")
    raw = np.stack([source.samples(2, size=784, stream=i)[0] for i in range(4)]).astype(float)
    n = raw[:, 0].size
    for step in (0, 1):
        assert abs(raw[:, step].mean() - p) < 3 * np.sqrt(p * (1 - p) / n)
    seen = np.mean((raw[:, 0] - p) * (raw[:, 1] - p)) / (p * (1 - p))
    assert abs(seen - rho) < 3 / np.sqrt(n) / (p * (1 - p)) * 0.5  # a product of two centred bits varies by < 1/2
    reset = MemorySource(memory=array, seed=6, k=k).samples(1, size=784)[0]
    assert abs(reset.mean() - p01) < 3 * np.sqrt(p01 * (1 - p01) / reset.size)


def test_a_settled_array_keeps_what_other_sources_promise(memory):
    fair = MemorySource(memory=memory(), seed=9, k=2, init="stationary")
    assert np.array_equal(
        fair.normal((2, 28, 28), streams=[0, 5], step=0),
        PseudoSource(seed=9, precision=16).normal((2, 28, 28), streams=[0, 5], step=0),
    )
    assert "reset" not in fair.memory.ledger.totals()
    array = memory(0.3, 0.2)
    one, again = (MemorySource(memory=array, seed=9, k=1, init="stationary") for _ in range(2))
    later = one.normal((1, 28, 28), streams=[3], step=4)
    for step in range(4):
        again.normal((1, 28, 28), streams=[3], step=step)
    assert np.array_equal(later, again.normal((1, 28, 28), streams=[3], step=4))
    assert one.spawn(1)[0].init == "stationary"
    assert one.provenance.details["settled"]
    assert "settled" not in MemorySource(memory=array, seed=9).provenance.details
