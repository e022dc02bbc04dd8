"""Counter-based random numbers keyed by (seed, purpose, stream, position).

All simulated chance of the hardware comes from this package: trajectories, variation, pulses, read noise. The value
at a position depends on nothing but its key and its position, so any thread count, chunk or batch size
gives the same numbers, and any of them can be computed again alone. :mod:`~voltaspin.random.philox` is the generator,
:mod:`~voltaspin.random.bernoulli` makes bits of given probabilities, :mod:`~voltaspin.random.normal` Gaussians.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.random.philox import fill_words


def derive_key(seed: int, *purpose: str | int) -> int:
    """64-bit key for one purpose under a seed: BLAKE2b, so that neighbouring seeds share nothing.

    Args:
        seed: any non-negative integer.
        purpose: names that separate the uses of one seed, e.g. ``("llg", "thermal")``.
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed {seed!r} must be a non-negative integer")
    text = "\x1f".join(["voltaspin", str(int(seed)), *map(str, purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Stream:
    """One addressable sequence of random numbers.

    Args:
        key: 64 bits, from :func:`derive_key`.
        stream: which sequence under that key, e.g. an image or a device number.

    >>> Stream.of(1, "variation").words(2).dtype
    dtype('uint32')
    """

    key: int
    stream: int = 0

    @classmethod
    def of(cls, seed: int, *purpose: str | int, stream: int = 0) -> Stream:
        return cls(derive_key(seed, *purpose), stream)

    def words(self, count: int, *, start: int = 0) -> NDArray[np.uint32]:
        """Words ``start`` to ``start + count`` of the sequence: uint32 (count,)."""
        first, skip = divmod(start, 4)
        blocks = np.empty(((skip + count + 3) // 4, 4), np.uint32)
        fill_words(np.uint64(self.key), np.uint64(self.stream), np.uint64(first), blocks)
        return blocks.reshape(-1)[skip : skip + count]

    def uniforms(self, count: int, *, start: int = 0) -> NDArray[np.float64]:
        """52-bit uniforms in the open interval (0, 1): float64 (count,); two words each."""
        w = self.words(2 * count, start=2 * start).astype(np.uint64)
        # With 53 bits the half that keeps 0 away would round the largest of them up to 1.
        mantissa = ((w[0::2] << np.uint64(32)) | w[1::2]) >> np.uint64(12)
        return (mantissa.astype(np.float64) + 0.5) * 2.0**-52

    def normals(self, count: int, *, start: int = 0) -> NDArray[np.float64]:
        """Standard normals by the inverse CDF of a 52-bit uniform: float64 (count,)."""
        from scipy.special import ndtri

        return np.asarray(ndtri(self.uniforms(count, start=start)), dtype=np.float64)
