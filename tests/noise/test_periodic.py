"""Bits of a short period: fair, repeated to the bit, and addressed as images stand in one row."""

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import InverseCDF, PeriodicSource


def test_the_sequence_repeats_to_the_bit_and_not_before():
    P = 1023
    bits = np.unpackbits(PeriodicSource(period=P, seed=3).bits(5 * P), count=5 * P)
    assert np.array_equal(bits[:-P], bits[P:])
    # any smaller shift leaves about half of the bits different: 1023 of them, 6 sigma from half
    for lag in (1, 7, 512, P - 1):
        assert abs(np.mean(bits[:P] != bits[lag : P + lag]) - 0.5) < 6 * 0.5 / np.sqrt(P)


def test_the_bits_are_fair_and_uncorrelated_within_a_period():
    P = 2**20
    bits = np.unpackbits(PeriodicSource(period=P, seed=4).bits(P), count=P)
    assert abs(bits.mean() - 0.5) < 3 * 0.5 / np.sqrt(P)
    signs = 2.0 * bits - 1
    for lag in (1, 2, 16):
        assert abs(np.mean(signs[lag:] * signs[:-lag])) < 3 / np.sqrt(P)


def test_images_stand_in_one_row():
    source = PeriodicSource(period=8191, seed=5, draws=3)
    n = 28 * 28
    row = InverseCDF(16)(np.unpackbits(PeriodicSource(period=8191, seed=5).bits(16 * 6 * n), count=16 * 6 * n))
    for image in (1, 0):  # any order
        for step in (2, 0, 1):
            got = source.normal((1, 28, 28), streams=[image], step=step).ravel()
            assert np.array_equal(got, row[(3 * image + step) * n :][:n])
    assert source.ledger.totals()["bit"] == 6 * n * 16


def test_a_period_of_one_draw_gives_every_draw_the_same_numbers():
    source = PeriodicSource(period=784 * 16, seed=1, draws=26)
    first = source.normal((2, 28, 28), streams=[0, 7], step=0)
    assert np.array_equal(first[0], first[1])
    assert np.array_equal(first, source.normal((2, 28, 28), streams=[0, 7], step=20))


def test_it_goes_on_where_it_stood_and_refuses_what_it_has_not():
    source = PeriodicSource(period=100, seed=2)
    source.bits(77)
    other = PeriodicSource(period=100, seed=2)
    other.load_state_dict(source.state_dict())
    assert np.array_equal(source.bits(64), other.bits(64))
    (child,) = source.spawn(1)
    assert not np.array_equal(child.bits(96), PeriodicSource(period=100, seed=2).bits(96))
    for period in (1, 2**26 + 1, 3.5):
        with pytest.raises(InputError, match="must be an integer from 2"):
            PeriodicSource(period=period)
    with pytest.raises(InputError, match="draw 3 of an image is the next image's"):
        PeriodicSource(period=100, draws=3).normal((1, 4), streams=[0], step=3)
    with pytest.raises(InputError, match="at least one draw"):
        PeriodicSource(period=100, draws=0)
