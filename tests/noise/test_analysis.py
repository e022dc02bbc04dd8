"""The printed statistics against chains whose statistics are known."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import bit_statistics
from voltaspin.random.streams import Stream


def chain(p01, p10, *, cycles, seed):
    """Two-state Markov chains, one per column: p01, p10 (cells,)."""
    u = Stream.of(seed, "chain").uniforms(cycles * p01.size).reshape(cycles, p01.size)
    state = u[0] < p01 / (p01 + p10)
    out = np.empty(u.shape, np.uint8)
    for t in range(cycles):
        state = np.where(state, u[t] < 1 - p10, u[t] < p01) if t else state
        out[t] = state
    return out


@pytest.mark.parametrize(("p01", "p10"), [(0.5, 0.5), (0.3, 0.2), (0.6, 0.8)])
def test_known_bias_and_autocorrelation_lie_in_their_intervals(p01, p10):
    cells = 400
    found = bit_statistics(chain(np.full(cells, p01), np.full(cells, p10), cycles=600, seed=1))
    rho = 1 - p01 - p10

    # nine intervals of 95 % each, widened to 4.5 standard errors so that a right answer always passes
    def holds(estimate, truth):
        return abs(estimate.value - truth) < 4.5 / 1.96 * (estimate.high - estimate.low) / 2

    assert holds(found.bias, p01 / (p01 + p10) - 0.5)
    # the mean-correction is exact for independent bits only: it leaves at most 2 |rho| / (n (1 - |rho|))
    assert len(found.autocorrelation) == 8
    for lag, estimate in enumerate(found.autocorrelation, start=1):
        left = 2 * abs(rho) / (600 * (1 - abs(rho)))
        width = 4.5 / 1.96 * (estimate.high - estimate.low) / 2
        assert abs(estimate.value - rho**lag) < width + left
    # equal cells: the spread of their bias is the sampling's, known to 1/sqrt(2 cells) = 3.5 %
    assert found.cell_bias_std == pytest.approx(found.sampling_std, rel=4.5 / np.sqrt(2 * cells))


def test_intervals_cover_as_often_as_they_say():
    hits, runs = 0, 300
    for seed in range(runs):
        found = bit_statistics(chain(np.full(20, 0.3), np.full(20, 0.3), cycles=100, seed=seed), lags=1)
        hits += found.bias.low < 0 < found.bias.high
    # 95 % of 300 is 285 with a standard deviation of 3.8
    assert abs(hits - 285) < 4.5 * 3.8


def test_a_spread_between_devices_is_seen_and_the_worst_named():
    cells = 500
    p = np.full(cells, 0.5) + 0.03 * Stream.of(3, "spread").normals(cells)
    p[123] = 0.9
    found = bit_statistics(chain(p, 1 - p, cycles=2000, seed=2))
    assert found.worst_cells[0] == 123
    truth = p.std(ddof=1)
    # relative error of a standard deviation of 500 cells, the sampling being a third of it
    assert found.device_std == pytest.approx(truth, rel=0.1)
    assert abs(found.cell_lag1.mean()) < 4.5 / np.sqrt(2000 * cells)


def test_cells_that_never_change_are_counted_not_averaged():
    bits = (Stream.of(4, "x").uniforms(3000).reshape(300, 10) < 0.5).astype(np.uint8)
    bits[:, 3] = 1
    found = bit_statistics(bits)
    assert np.isnan(found.cell_lag1[3])
    summary = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert summary["cell_lag1"].count(None) == 1
    assert (summary["worst_cells"][0], summary["cell_bias"][3]) == (3, 0.5)
    assert "worst cells: 3 (+0.50000)" in str(found)


def test_against_plain_numpy():
    bits = (Stream.of(5, "x").uniforms(5000).reshape(500, 10) < 0.4).astype(np.uint8)
    found = bit_statistics(bits, lags=3)
    d = bits - bits.mean(axis=0)
    for lag in (1, 2, 3):
        rho = (d[lag:] * d[:-lag]).sum() / (500 - lag) * 500 / (d**2).sum() + 1 / 499
        assert found.autocorrelation[lag - 1].value == pytest.approx(rho, abs=1e-12)


def test_one_series_has_an_interval_too():
    bits = (Stream.of(6, "x").uniforms(10_000) < 0.5).astype(np.uint8)[:, None]
    found = bit_statistics(bits)
    assert found.bias.high - found.bias.low == pytest.approx(2 * 1.96 * 0.005, rel=1e-3)
    assert found.cell_bias_std == 0


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (np.zeros((20, 3)), "type float64"),
        (np.zeros(20, np.uint8), r"shape \(20,\)"),
        (np.full((20, 3), 255, np.uint8), "unpack packed bits"),
        (np.zeros((9, 3), np.uint8), "9 cycles are too few"),
    ],
)
def test_bad_input_is_refused(bits, said):
    with pytest.raises(InputError, match=said):
        bit_statistics(bits)
