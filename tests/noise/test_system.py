"""The operating system's bits: fresh ones every time, and no way back."""

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import SystemSource


def test_pieces_join_without_repeating(monkeypatch):
    stream = np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint8).tobytes()
    at = 0

    def urandom(n):
        nonlocal at
        at += n
        return stream[at - n : at]

    monkeypatch.setattr("voltaspin.noise.system.os.urandom", urandom)
    source = SystemSource()
    parts = [np.unpackbits(source.bits(n), count=n) for n in (1, 7, 600_000, 13, 900_003)]
    bits = np.concatenate(parts)
    assert np.array_equal(bits, np.unpackbits(np.frombuffer(stream, np.uint8), count=bits.size))


def test_numbers_are_normal_and_never_the_same():
    source = SystemSource()
    z = source.normal(100_000)
    assert abs(z.mean()) < 4.5 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4.5 * np.sqrt(2 / z.size)
    assert not np.array_equal(source.normal(10), SystemSource().normal(10))
    assert len({s.bits(256).tobytes() for s in (source, *source.spawn(3))}) == 4
    assert source.provenance.kind == "operating system"
    assert source.bits_left is None


def test_it_cannot_be_restored():
    source = SystemSource()
    with pytest.raises(InputError, match="record them"):
        source.load_state_dict(source.state_dict())
    source.normal((1, 4), streams=[3], step=0)
    with pytest.raises(InputError, match="cannot be addressed"):
        source.normal((1, 4), streams=[3], step=0)
