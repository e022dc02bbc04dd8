"""What ideal bits get from the estimates: the computed limits against simulation."""

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import entropy
from voltaspin.noise.examination.entropy_limits import clumped, limit, limits
from voltaspin.random.streams import Stream


@pytest.fixture(scope="module")
def simulated():
    """Estimates of 400 ideal sequences of 10,000 bits: float64 (400, 10)."""
    rows = []
    for i in range(400):
        words = Stream.of(3, "test", "limits", stream=i).words(313)
        found = entropy.estimate(words.tobytes(), n_bits=10_000)
        rows.append([getattr(found, n) for n in entropy.ESTIMATES])
    return np.array(rows)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01])
def test_ideal_bits_fall_below_each_limit_as_often_as_said(simulated, alpha):
    lower = np.array([limit(n, 10_000, alpha) for n in entropy.ESTIMATES])
    rate = (simulated < lower).mean(axis=0)
    assert (rate <= alpha + 4 * np.sqrt(alpha / len(simulated))).all()
    # and the limits are no loose bounds, but for those of tuples, where events are added that overlap
    exact = [entropy.ESTIMATES.index(n) for n in ("most_common_value", "collision", "markov", "compression")]
    assert (rate[exact] >= alpha / 3 - 4 * np.sqrt(alpha / 3 / len(simulated))).all()


def test_predictors_guess_ideal_bits_as_coins_are_guessed():
    """Whatever the method, a guess of an ideal bit is right with 1/2: the numbers of right ones are binomial."""
    z = []
    for i in range(60):
        words = Stream.of(4, "test", "guesses", stream=i).words(625)
        s = np.unpackbits(words.view(np.uint8))
        z.append([(2 * g.right - g.n) / np.sqrt(g.n) for g in entropy.guess(s)])
    z = np.array(z)
    assert (np.abs(z.mean(axis=0)) < 4 / np.sqrt(60)).all()
    assert (np.abs(z.std(axis=0) - 1) < 4 / np.sqrt(2 * 60)).all()


def test_limits_fall_with_the_false_alarm_and_rise_with_the_bits():
    for name in entropy.ESTIMATES:
        by_alarm = [limit(name, 10**6, a) for a in (1e-2, 1e-4, 1e-8)]
        assert by_alarm == sorted(by_alarm, reverse=True)
        by_bits = [limit(name, n, 1e-4) for n in (10**4, 10**5, 10**6)]
        assert by_bits == sorted(by_bits)
    found = limits(10**6, false_alarm=0.002)
    assert all(0.5 < x < 1 for x in found.lower.values())
    assert limits(6100, false_alarm=0.01).lower["compression"] == 0  # the mean of 16 distances says nothing


def test_a_clumped_tail_is_bounded():
    """Against the exact tail of Polya and Aeppli, by Panjer's recursion."""
    mean, theta = 6.0, 0.5
    rate = mean * (1 - theta)
    p = [np.exp(-rate)]
    for n in range(1, 200):
        p.append(sum(rate * j / n * (1 - theta) * theta ** (j - 1) * p[n - j] for j in range(1, n + 1)))
    for k in (8, 12, 20, 40):
        exact = sum(p[k:])
        bound = float(clumped(mean, np.array([float(k)]), theta)[0])
        assert exact <= bound <= 20 * exact


def test_limits_refuse_what_has_none():
    for n, alarm in ((6011, 0.01), (10**6, 0.0), (10**6, 1.0)):
        with pytest.raises(InputError, match="6012"):
            limits(n, false_alarm=alarm)
