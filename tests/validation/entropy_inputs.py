"""Bits of known kinds, made from the package's own Philox, on which the standard's program was run."""

from __future__ import annotations

import numpy as np

from voltaspin.random.streams import Stream

LAG = 100  #: of the copies, and cells that take turns


def chances(name: str, n: int) -> np.ndarray:
    """Numbers in [0, 1) with 32 bits: float64 (n,)."""
    return Stream.of(20, "validation", "sp800-90b", name).words(n) / 2.0**32


def ideal(n: int = 10**6) -> np.ndarray:
    return (chances("ideal", n) < 0.5).astype(np.uint8)


def biased(n: int = 10**6, p: float = 0.6) -> np.ndarray:
    return (chances("biased", n) < p).astype(np.uint8)


def copies(n: int = 10**6, p: float = 0.7) -> np.ndarray:
    """s[i] = s[i - 100] with probability p."""
    s = (chances("copies", n) >= p).astype(np.uint8)
    s[:LAG] = ideal(LAG)
    rows = s[: n // LAG * LAG].reshape(-1, LAG)
    np.bitwise_xor.accumulate(rows, axis=0, out=rows)
    return s


def array_of_cells(n: int = 10**6) -> np.ndarray:
    """100 cells with P(1) = 0.7 or 0.3, by lot, read in turn."""
    own = np.where(chances("which", LAG) < 0.5, 0.3, 0.7)
    return (chances("cells", n) < own[np.arange(n) % LAG]).astype(np.uint8)


def sticky(n: int = 10**6, stay: float = 0.7) -> np.ndarray:
    """A two-state chain that stays with this probability."""
    return np.bitwise_xor.accumulate((chances("sticky", n) >= stay).astype(np.uint8))


def stuck(n: int = 10**6) -> np.ndarray:
    """Ideal, but for 2,000 zeros in the middle."""
    s = ideal(n)
    s[n // 2 : n // 2 + 2000] = 0
    return s


def shift_register(n: int = 10**6) -> np.ndarray:
    """The bits of x^15 + x^14 + 1, period 32,767."""
    s = [1] * 15
    while len(s) < 2**15 - 1:
        s.append(s[-15] ^ s[-14])
    return np.resize(np.array(s, np.uint8), n)


def drifting(n: int = 10**6) -> np.ndarray:
    """P(1) goes through 0.5 ± 0.2 once."""
    return (chances("drifting", n) < 0.5 + 0.2 * np.sin(2 * np.pi * np.arange(n) / n)).astype(np.uint8)


def short() -> np.ndarray:
    return ideal(20_000)


def periodic() -> np.ndarray:
    return np.tile(np.array([0, 1, 1, 0, 1], np.uint8), 40_000)


MADE = (ideal, biased, copies, array_of_cells, sticky, stuck, shift_register, drifting, short, periodic)
