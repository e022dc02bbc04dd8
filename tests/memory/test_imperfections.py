"""What moves the thresholds, against closed forms and a slow neighbour count."""

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel, presets
from voltaspin.memory import Imperfections, Slopes
from voltaspin.memory.dynamics import Disturbance

SLOPES = Slopes(temperature=(1e-3, 2e-3), voltage=(0.5, 0.25), width=(1e9, 5e8), B_z=(-6.0, 6.5))
ROWS, COLUMNS = 7, 9


def disturbance(rows=ROWS, columns=COLUMNS, seed=3, q=(30000, 34000), **options):
    off = {"temperature_drift": 0, "flicker": 0, "jitter": 0, "telegraph": 0, "pitch": 0, "read_error": 0}
    im = Imperfections(**{**off, "slopes": SLOPES, **options})
    q0, q1 = (np.full(rows * columns, v, np.int32) for v in q)
    return Disturbance(im, SwitchingModel.constant(0.5, 0.5), rows=rows, columns=columns, q0=q0, q1=q1, seed=seed)


def test_nothing_on_moves_nothing():
    d = disturbance()
    q0, q1 = d.thresholds(1.0, np.zeros(ROWS * COLUMNS, np.uint8), stream=0, at=0)
    assert (q0 == 30000).all()
    assert (q1 == 34000).all()


@pytest.mark.parametrize(("trim", "moved"), [("voltage", (0.5, -0.25)), ("B_z", (-6.0, -6.5))])
def test_a_trim_moves_both_thresholds_by_their_slopes(trim, moved):
    # p01 rises: the threshold of a 0 rises. p10 rises: that of a 1 falls.
    q0, q1 = disturbance().thresholds(0.0, np.zeros(ROWS * COLUMNS, np.uint8), stream=0, at=0, trim={trim: 1e-2})
    assert abs(q0[0] - 30000 - 655.36 * moved[0]) <= 0.6
    assert abs(q1[0] - 34000 - 655.36 * moved[1]) <= 0.6


def test_neighbours_count_as_a_slow_loop_counts_them():
    rng = np.random.default_rng(0)
    for rows, columns in ((7, 9), (1, 5), (5, 1), (1, 1), (64, 64)):
        d = disturbance(rows=rows, columns=columns, pitch=3.0, neighbour_field=1e-3)
        state = rng.integers(0, 2, rows * columns).astype(np.uint8)
        up = 1.0 - 2.0 * state.reshape(rows, columns)
        field = np.zeros((rows, columns))
        for y in range(rows):
            for x in range(columns):
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    if 0 <= v < rows and 0 <= u < columns:
                        field[y, x] -= 1e-3 * up[v, u]
        q0, q1 = d.thresholds(0.0, state, stream=0, at=0)
        assert np.abs(q0 - (30000 + 65536 * -6.0 * field.ravel())).max() <= 0.6
        assert np.abs(q1 - (34000 - 65536 * 6.5 * field.ravel())).max() <= 0.6


def test_the_field_of_a_neighbour_is_that_of_its_dipole():
    j, p = presets.generator, SwitchingModel.shipped().pulse
    model = SwitchingModel.constant(0.5, 0.5)
    model = model.model_copy(update={"junction": j, "pulse": p, "ranges": None})
    d = Disturbance(
        Imperfections(slopes=SLOPES),
        model,
        rows=2,
        columns=2,
        q0=np.zeros(4, np.int32),
        q1=np.zeros(4, np.int32),
        seed=0,
    )
    # mu0 Ms V / (4 pi r^3) with Ms = 1 MA/m, 50 nm x 1.1 nm, r = 150 nm
    moment = 1e6 * np.pi * (25e-9) ** 2 * 1.1e-9
    assert d.neighbour_field == pytest.approx(1e-7 * moment / (150e-9) ** 3, rel=1e-9)


def test_drift_flicker_and_jitter_have_their_root_mean_square():
    d = disturbance(temperature_drift=2.0, drift_period=100.0)
    drift = [d.common(t, stream=0, at=0)["temperature"] for t in np.arange(1000) * 0.1]
    assert np.sqrt(np.mean(np.square(drift))) == pytest.approx(2.0, rel=1e-3)
    d = disturbance(flicker=1e-3, flicker_corner=1.0, cycle=1e-3)
    times = np.sort(np.random.default_rng(1).uniform(0, 1e4, 4000))
    flicker = np.array([d.common(t, stream=0, at=0)["voltage"] for t in times])
    # the mean square of n equal waves of random phase, sampled m times, spreads by sqrt(2 / m) at most
    assert np.mean(flicker**2) == pytest.approx(1e-6, rel=4.5 * np.sqrt(2 / 4000))
    d = disturbance(jitter=1e-12)
    jitter = [d.common(0.0, stream=5, at=i)["width"] for i in range(2000)]
    assert np.mean(np.square(jitter)) == pytest.approx(1e-24, rel=4.5 * np.sqrt(2 / 2000))
    assert abs(np.corrcoef(jitter[1:], jitter[:-1])[0, 1]) < 4.5 / np.sqrt(2000)


def test_flicker_has_equal_power_in_every_octave():
    d = disturbance(flicker=1.0, flicker_corner=1.0, cycle=0.5e-4)
    lines = d._frequencies
    per_decade = np.histogram(np.log10(lines), bins=np.arange(5))[0]
    assert (per_decade == per_decade[0]).all()  # so the density falls as 1/f
    assert lines.min() >= 1
    assert lines.max() <= 1e4


def test_fluctuators_have_their_share_and_a_triangular_memory():
    d = disturbance(rows=100, columns=100, telegraph=0.1, telegraph_field=1e-3, telegraph_dwell=1.0)
    n = d._fluctuators.size
    assert abs(n - 1000) < 4.5 * np.sqrt(1e4 * 0.1 * 0.9)
    at = {t: d.levels(50.0 + t) for t in (0.0, 0.25, 0.5, 1.0, 3.0)}
    assert set(np.unique(at[0.0])) == {-1.0, 1.0}
    for lag, rho in ((0.25, 0.75), (0.5, 0.5), (1.0, 0.0), (3.0, 0.0)):
        assert abs(np.mean(at[0.0] * at[lag]) - rho) < 4.5 / np.sqrt(n)
    q0, _ = d.thresholds(50.0, np.zeros(10_000, np.uint8), stream=0, at=0)
    moved = q0 - 30000
    assert np.array_equal(np.flatnonzero(moved), d._fluctuators)
    assert np.array_equal(np.sign(moved[d._fluctuators]), -at[0.0])


def test_any_time_can_be_computed_again_alone():
    one, other = (disturbance(temperature_drift=1, flicker=1e-3, jitter=1e-12, telegraph=0.5) for _ in range(2))
    state = np.zeros(ROWS * COLUMNS, np.uint8)
    for t in (0.0, 5.0):
        one.thresholds(t, state, stream=1, at=0)
    assert np.array_equal(
        one.thresholds(3.0, state, stream=1, at=7)[0], other.thresholds(3.0, state, stream=1, at=7)[0]
    )


@pytest.mark.parametrize("k", [1, 3])
def test_reads_go_wrong_as_often_as_they_should(k):
    d = disturbance(read_error=0.01)
    bits = np.zeros(400_000, np.uint8)
    d.misread(bits, k=k, stream=2, at=5)
    odd = (1 - 0.98**k) / 2
    assert abs(bits.mean() - odd) < 4.5 * np.sqrt(odd / bits.size)


def test_without_variation_all_cells_are_the_mean_one():
    im = Imperfections(variation=False, slopes=SLOPES, pitch=0, telegraph=0)
    q0, q1 = np.array([100, 300], np.int32), np.array([500, 501], np.int32)
    d = Disturbance(im, SwitchingModel.constant(0.5, 0.5), rows=1, columns=2, q0=q0, q1=q1, seed=0)
    assert d._q[0].tolist() == [200, 200]
    assert d._q[1].tolist() == [500, 500]


def test_slopes_of_the_generator_agree_with_its_own_model():
    model = SwitchingModel.shipped()
    slopes = Slopes.of(model)
    step = 1e-3
    p01, p10 = model.probabilities(B_z=np.array([-step, step]))
    found = [(p[1] - p[0]) / (2 * step) for p in (p01, p10)]
    # The shipped table was counted; its fit error bounds the quotient.
    assert slopes.B_z == pytest.approx(found, abs=2 * model.fit_error / (2 * step))
    assert slopes.B_z[0] == pytest.approx(-slopes.B_z[1], rel=1e-6)  # mirror symmetry
    assert slopes.voltage[0] == pytest.approx(slopes.voltage[1], rel=1e-6)


@pytest.mark.parametrize(("options", "said"), [
    ({"jitter": -1e-12}, "jitter"), ({"flicker": float("nan")}, "flicker"), ({"cycle": 0.0}, "cycle"),
    ({"telegraph": 1.5}, "share"), ({"read_error": 0.7}, "0.5"), ({"pitch": 0.5}, "overlap"), ({"steps": 0}, "steps"),
])  # fmt: skip
def test_bad_input_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        Imperfections(**options)


def test_a_model_without_a_junction_asks_for_slopes():
    constant = SwitchingModel.constant(0.5, 0.5)
    for options, said in (({}, "slopes"), ({"slopes": SLOPES}, "neighbour_field")):
        with pytest.raises(InputError, match=said):
            Disturbance(
                Imperfections(**options), constant, rows=1, columns=1,
                q0=np.zeros(1, np.int32), q1=np.zeros(1, np.int32), seed=0,
            )  # fmt: skip
