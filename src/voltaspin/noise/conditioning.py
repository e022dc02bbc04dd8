"""Less bias from many biased bits: the XOR of different cells.

The XOR of k independent bits of probability p has the bias ``|1 - 2p|**k / 2`` (the piling-up lemma; M.
Matsui, EUROCRYPT '93, LNCS 765, 386). The k bits must come from *different* cells: the XOR of two successive
states of one cell that is not reset is just its flip bit, with nothing gained.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError


def xor_cells(bits: ArrayLike) -> NDArray[np.uint8]:
    """XOR over the first axis.

    Args:
        bits: uint8 (k, ...), the bits of k different cells, packed or one a byte.

    Returns:
        uint8 (...).
    """
    array = np.asarray(bits)
    if array.dtype != np.uint8 or array.ndim < 1 or array.shape[0] < 1:
        raise InputError(f"bits of type {array.dtype} and shape {array.shape} do not fit; give uint8 (k, ...)")
    return np.asarray(np.bitwise_xor.reduce(array, axis=0), dtype=np.uint8)


def xor_probability(p: ArrayLike) -> NDArray[np.float64]:
    """Probability that the XOR of independent bits is 1.

    Args:
        p: probability of a one of each of the k bits: (k, ...).

    Returns:
        ``(1 - prod(1 - 2 p)) / 2``: float64 (...).
    """
    return np.asarray((1 - np.prod(1 - 2 * np.asarray(p, np.float64), axis=0)) / 2)


def xor_bias(p: float, k: int) -> float:
    """Bias ``|P(1) - 1/2|`` that the XOR of ``k`` independent bits of probability ``p`` keeps."""
    if not 0 <= p <= 1 or k < 1:
        raise InputError(f"p = {p} and k = {k} do not fit; p is a probability and k at least 1")
    return abs(1 - 2 * p) ** k / 2
