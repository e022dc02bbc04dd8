"""Which cells serve which bit of a draw, and so which pixel of an image.

A cell with a bias that always serves the same pixel adds the same pattern at every step; a mapping that moves
with the step turns that pattern into noise from step to step. ``rotated`` does so at no cost; ``hashed``
scatters the cells, which takes the simulator 4 to 15 times as long per draw.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.random.streams import derive_key

Mapping = Literal["fixed", "rotated", "hashed"]


def checked_mapping(mapping: str) -> None:
    """Raise InputError unless the mapping is one that exists."""
    if mapping not in get_args(Mapping):
        raise InputError(f"mapping {mapping!r} is unknown; use one of {', '.join(get_args(Mapping))}")


@lru_cache(maxsize=4096)
def affine_map(mapping: str, *, step: int, cells: int, seed: int = 0) -> tuple[int, int]:
    """Factor and offset of a step: place ``x`` of a draw is cell ``(factor * x + offset) mod cells``.

    Args:
        mapping: ``fixed`` (the identity at every step), ``rotated`` (the identity moved on by the stride of
            :func:`rotation_stride` at every step) or ``hashed`` (another permutation at every step).
        step: of the draw.
        cells: size of the array.
        seed: of the hashed permutations.
    """
    checked_mapping(mapping)
    if mapping == "fixed" or cells == 1:
        return 1, 0
    if mapping == "rotated":
        return 1, rotation_stride(cells) * step % cells
    attempt = 0
    while gcd(factor := 1 + derive_key(seed, "mapping", "factor", step, attempt) % (cells - 1), cells) != 1:
        attempt += 1
    return factor, derive_key(seed, "mapping", "offset", step) % cells


@lru_cache(maxsize=64)
def rotation_stride(cells: int) -> int:
    """The stride next to the golden section of the array that visits every cell before it returns."""
    stride = max(1, round(0.6180339887498949 * cells))
    while gcd(stride, cells) != 1:
        stride += 1
    return stride


def cells_of_bits(
    *, n_bits: int, k: int, cells: int, mapping: str = "fixed", step: int = 0, seed: int = 0
) -> NDArray[np.int64]:
    """Cells behind every bit of one draw.

    Args:
        n_bits: bits of the draw; pixel ``i`` of an image owns bits ``16 i`` to ``16 i + 15`` at 16 bits per
            pixel.
        k: cells that are combined into one bit.
        cells: size of the array.
        mapping, step, seed: see :func:`affine_map`.

    Returns:
        Flat (row-major) cell indices: int64 (k, n_bits), all different.

    Raises:
        InputError: the draw needs more cells than there are.
    """
    check_room(n_bits=n_bits, k=k, cells=cells)
    factor, offset = affine_map(mapping, step=step, cells=cells, seed=seed)
    place = np.arange(k * n_bits, dtype=np.int64).reshape(k, n_bits)
    return (place * factor + offset) % cells


def check_room(*, n_bits: int, k: int, cells: int) -> None:
    """Raise InputError if a draw of ``n_bits`` bits from ``k`` cells each does not fit into the array."""
    if n_bits * k > cells:
        side = 1 << max(0, (n_bits * k - 1).bit_length() + 1) // 2
        raise InputError(
            f"one draw of {n_bits} bits from {k} cells each needs {n_bits * k} cells but the memory has "
            f"{cells}: use a larger one, e.g. MagnetoelectricMemory(rows={side}, columns={side}), smaller k "
            "or fewer bits"
        )
