"""SplitMix64 with a second key: one random word for each counter.

Word ``n`` is a bijection of the counter: ``x = (n + k0) G``, then twice an xor-shift and an odd
multiplication, with a second key between them, and a last xor-shift. Without the second key this is SplitMix64
(Steele, Lea and Flood, OOPSLA 2014, doi 10.1145/2660193.2660195; its finaliser is Stafford's variant 13),
which passes BigCrush; the second key keeps the sequences of two seeds apart even where their counters meet.
Philox costs five times as much.
"""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba

GOLDEN, _C1, _C2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)


@numba.njit(inline="always")
def keyed_word(x, key):  # type: ignore[no-untyped-def]
    """The random word of a counter that was already multiplied by G."""
    x = (x ^ (x >> _30)) * _C1
    x = (x ^ (key ^ (x >> _27))) * _C2
    return x ^ (x >> _31)
