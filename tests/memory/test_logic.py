"""Logic in place against NumPy, its errors against their law, its counts; diffusion in place by its closed form."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, norm

from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel
from voltaspin.memory import Access, MagnetoelectricMemory, Variation

COIN = SwitchingModel.constant(0.5, 0.5)


def array(rows=16, columns=512, **options):
    return MagnetoelectricMemory(rows=rows, columns=columns, model=COIN, **options)


def within(count, n, p):
    tail = norm.sf(3)
    return binom.ppf(tail, n, p) <= count <= binom.isf(tail, n, p)


def filled(memory, seed=0):
    bits = np.random.default_rng(seed).integers(0, 2, (memory.rows, memory.columns), dtype=np.uint8)
    memory.write(bits)
    return bits


@pytest.mark.parametrize("access", [None, Access()])
def test_rows_compute_what_numpy_does(access):
    memory = array(access=access)
    bits = filled(memory)
    memory.copy_row(0, 8)
    memory.majority((0, 1, 2), into=9)
    memory.and_rows((0, 1, 2, 3), into=10)
    memory.or_rows((0, 1), into=11)
    memory.toggle_row(3, 4)
    state = memory.state
    assert np.array_equal(state[8], bits[0])
    assert np.array_equal(state[9], bits[:3].sum(0) >= 2)
    assert np.array_equal(state[10], bits[:4].all(0))
    assert np.array_equal(state[11], bits[:2].any(0))
    assert np.array_equal(state[3], bits[3] ^ bits[4])
    assert np.array_equal(state[:3], bits[:3])


@pytest.mark.parametrize("overflow", [False, True])
def test_addition_of_rows(overflow):
    memory = array(rows=20)
    bits = filled(memory)
    a, b, into = range(5), range(5, 10), range(10, 16 if overflow else 15)
    memory.add_rows(a, b, into, carry=(18, 19))
    number = lambda rows, of: sum(of[r].astype(int) << k for k, r in enumerate(rows))  # noqa: E731
    total = number(a, bits) + number(b, bits)
    assert np.array_equal(number(into, memory.state), total if overflow else total % 32)
    assert np.array_equal(memory.state[18], total >> 5)
    assert np.array_equal(memory.state[:10], bits[:10])


def test_counts_of_logic():
    memory = array(rows=4, columns=8)
    memory.write(np.array([[0] * 8, [1] * 8, [0, 1] * 4, [0] * 8]))
    before = memory.ledger.totals()
    memory.majority((0, 1, 2), into=3)  # three rows and the target read, the four ones toggled
    assert {k: n - before.get(k, 0) for k, n in memory.ledger.totals().items() if n > before.get(k, 0)} == {
        "read": 4 * 8, "toggle": 4,
    }  # fmt: skip


def test_errors_of_toggles_reach_the_result():
    memory = array(rows=4, columns=32768, access=Access(toggle_error=(0.05, 0.02)), seed=2)
    memory._state[0] = 1
    memory.toggle_row(1, 0)  # 0 -> 1 where it succeeds
    assert within(int((1 - memory.state[1]).sum()), memory.columns, 0.05)
    ones = int(memory.state[1].sum())
    memory.toggle_row(1, 0)
    turned = memory.columns - ones
    kept = 0.02 * ones + 0.95 * turned
    sd = np.sqrt(ones * 0.02 * 0.98 + turned * 0.05 * 0.95)
    assert abs(int(memory.state[1].sum()) - kept) < 3 * sd


def test_noise_of_three_cells_adds_up_in_a_majority():
    access = Access(current_0=2.0, current_1=1.0, noise_0=0.2, noise_1=0.1)
    memory = array(rows=4, columns=32768, access=access, seed=2)
    memory._state[0] = 1  # one of three: the sum is 5, the reference 4.5
    seen = memory._sense(np.array([0, 1, 2]), 2)
    assert within(int(seen.sum()), memory.columns, norm.sf(0.5 / np.sqrt(2 * 0.2**2 + 0.1**2)))


def test_resistances_make_wide_gates_fail():
    spread = Variation(K_eff=0, stray_field=0, RA=0.1)
    memory = array(rows=32, columns=4096, access=Access(), variation=spread, seed=1)
    g = 1 / memory.quantities["RA_scale"].astype(float)
    wrong = []
    for n in (1, 4, 16):  # no cell is 1, and still some columns look as if one were
        seen = memory._sense(np.arange(n), 1)
        assert np.array_equal(seen, 2 * g[:n].sum(0) < 2 * n - 0.5)
        wrong.append(int(seen.sum()))
    assert wrong[0] <= wrong[1] < wrong[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.majority((0, 1), into=2), "odd number"),
        (lambda m: m.copy_row(0, 99), "row 99 is not one"),
        (lambda m: m.and_rows((1, 1), into=2), "none of them twice"),
        (lambda m: m.add_rows((0, 1), (2,), (4, 5), carry=(6, 7)), "equal length"),
        (lambda m: m.add_rows((0, 1), (2, 3), (1, 5), carry=(6, 7)), "must differ"),
    ],
)
def test_rows_that_do_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call(array())


def test_bit_flip_diffusion_in_place_follows_its_closed_form():
    betas = np.linspace(0.002, 0.06, 24)
    memory = array(rows=256, columns=256, seed=5)
    x0 = filled(memory)
    before = memory.ledger.totals()
    keep = 1.0
    for beta in betas:
        memory.pulse(beta)
        keep *= 1 - 2 * round(65536 * beta) / 65536  # what 16-bit thresholds make of it
        p = (1 - keep) / 2
        flipped = memory.state != x0
        for bit in (0, 1):
            assert within(int(flipped[x0 == bit].sum()), int((x0 == bit).sum()), p)
    moved = {k: n - before.get(k, 0) for k, n in memory.ledger.totals().items()}
    assert {k: n for k, n in moved.items() if n} == {"pulse": 24 * memory.cells}  # no read, no write, no byte


def test_every_cell_of_a_real_junction_diffuses_as_its_own_markov_chain():
    memory = MagnetoelectricMemory(rows=128, columns=128, seed=5)
    x0 = filled(memory)
    p_one = x0.astype(float)
    for _ in range(3):
        memory.pulse()
        p_one = p_one * (1 - memory.p10) + (1 - p_one) * memory.p01
    ones = int(memory.state.sum())
    assert abs(ones - p_one.sum()) < 3 * np.sqrt((p_one * (1 - p_one)).sum())


def test_masks_leave_other_cells_alone():
    memory = array(rows=64, columns=64)
    mask = np.random.default_rng(1).random((64, 64)) < 0.5
    memory.pulse(0.5, mask=mask)
    assert not memory.state[~mask].any()
    assert within(int(memory.state.sum()), int(mask.sum()), 0.5)


def test_all_truth_tables_of_a_full_adder():
    memory = array(rows=8, columns=8)
    table = np.array(list(itertools.product((0, 1), repeat=3)), np.uint8).T
    bits = np.zeros((8, 8), np.uint8)
    bits[:3] = table
    memory.write(bits)
    memory.majority((0, 1, 2), into=3)
    memory.copy_row(0, 4)
    memory.toggle_row(4, 1)
    memory.toggle_row(4, 2)
    assert np.array_equal(2 * memory.state[3] + memory.state[4], table.sum(0))
