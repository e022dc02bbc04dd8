import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltaspin.core.errors import InputError
from voltaspin.noise import cells_of_bits
from voltaspin.noise.memory_sequence import rotation_stride

MAPPINGS = ["fixed", "rotated", "hashed"]


@given(
    n_bits=st.integers(1, 400),
    k=st.integers(1, 5),
    spare=st.integers(0, 3000),
    mapping=st.sampled_from(MAPPINGS),
    step=st.integers(0, 5000),
    seed=st.integers(0, 10),
)
@settings(deadline=None)
def test_no_cell_serves_twice_in_a_draw(n_bits, k, spare, mapping, step, seed):
    total = n_bits * k + spare
    cells = cells_of_bits(n_bits=n_bits, k=k, cells=total, mapping=mapping, step=step, seed=seed)
    assert cells.shape == (k, n_bits)
    assert cells.min() >= 0
    assert cells.max() < total
    assert np.unique(cells).size == cells.size  # so the k cells of one bit differ, too


def test_fixed_stays_and_the_others_move():
    draws = {m: [cells_of_bits(n_bits=64, k=2, cells=4096, mapping=m, step=t) for t in (0, 1, 2)] for m in MAPPINGS}
    assert np.array_equal(draws["fixed"][0], np.arange(128).reshape(2, 64))
    assert all(np.array_equal(draws["fixed"][0], d) for d in draws["fixed"])
    for mapping in ("rotated", "hashed"):
        first, second, third = draws[mapping]
        assert not (first == second).any()
        assert not (second == third).any()
    rotated = draws["rotated"]
    assert np.array_equal((rotated[1] - rotated[0]) % 4096, np.full((2, 64), rotation_stride(4096)))


@pytest.mark.parametrize("cells", [1, 2, 7, 64, 1000])
def test_rotation_visits_every_cell_before_it_returns(cells):
    seen = {int(cells_of_bits(n_bits=1, k=1, cells=cells, mapping="rotated", step=t)[0, 0]) for t in range(cells)}
    assert len(seen) == cells


def test_a_hashed_pixel_visits_cells_evenly():
    steps, cells = 4000, 64
    places = [int(cells_of_bits(n_bits=8, k=1, cells=cells, mapping="hashed", step=t)[0, 5]) for t in range(steps)]
    counts = np.bincount(places, minlength=cells)
    # binomial with p = 1/64; 4.5 standard deviations for the largest of 64
    assert np.abs(counts - steps / cells).max() < 4.5 * np.sqrt(steps / cells)


def test_too_small_an_array_says_what_would_do():
    with pytest.raises(InputError, match=r"needs 98304 cells but the memory has 65536.*rows=512, columns=512"):
        cells_of_bits(n_bits=3072 * 16, k=2, cells=65536)
    with pytest.raises(InputError, match="mapping 'spiral' is unknown"):
        cells_of_bits(n_bits=1, k=1, cells=2, mapping="spiral")
