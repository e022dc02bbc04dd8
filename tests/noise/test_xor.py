import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import xor_bias
from voltaspin.random.streams import Stream


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("p", [0.5, 0.55, 0.3, 1.0])
def test_piling_up_by_enumeration(p, k):
    """Sum over all 2^k outcomes of odd parity."""
    odd = sum(p ** c.bit_count() * (1 - p) ** (k - c.bit_count()) for c in range(2**k) if c.bit_count() % 2)
    assert xor_bias(p, k) == pytest.approx(abs(odd - 0.5), abs=1e-14)


def test_bias_of_sampled_bits():
    n, p = 400_000, 0.4
    bits = (Stream.of(1, "test").uniforms(2 * n).reshape(2, n) < p).astype(np.uint8)
    expected = 0.5 - xor_bias(p, 2)  # 0.48: below one half, like two unequal bits of bias -0.1
    assert abs(np.bitwise_xor.reduce(bits).mean() - expected) < 4.5 * 0.5 / np.sqrt(n)


@pytest.mark.parametrize("act", [lambda: xor_bias(1.2, 2), lambda: xor_bias(0.5, 0)])
def test_bad_input_is_refused(act):
    with pytest.raises(InputError):
        act()
