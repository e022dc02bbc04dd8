"""The sequence of bits of an array that is pulsed again and again, packed, as fast as it can be simulated.

The mapping says which cells serve which bit of a draw, and so which pixel of an image. A cell with a bias that always
serves the same pixel adds the same pattern at every step; a mapping that moves with the step turns that pattern into
noise from step to step. ``rotated`` does so at no cost; ``hashed`` scatters the cells, which takes the simulator 4 to
15 times as long per draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import gcd
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.memory.dynamics import Disturbance
from voltaspin.noise.source import SEQUENCE, Leftover
from voltaspin.random.bernoulli import (
    GROUP,
    GROUP_WORDS,
    WORD,
    engine_keys,
    equal_words,
    fair_words,
    pulse_and_xor,
    pulse_words,
    sliced,
)
from voltaspin.random.streams import derive_key

Kind = Literal["fixed", "rotated", "hashed"]


def checked_mapping(mapping: str) -> None:
    """Raise InputError unless the mapping is one that exists."""
    if mapping not in get_args(Kind):
        raise InputError(f"mapping {mapping!r} is unknown; use one of {', '.join(get_args(Kind))}")


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


class ArraySequence:
    """The bits of one pulse of all cells, then those of the next.

    A pulse gives ``per_pulse`` bits: the first ``k per_pulse`` cells, in ``k`` segments combined by XOR. Three
    engines give the same statistics (the tests compare them): one for cells that all go to 1 with one
    probability whatever their state, one for cells of their own p01 and p10, and, where the thresholds move
    from pulse to pulse, the mapping moves, or the array is too small for whole words, the one that serves the
    draws of images.

    Args:
        memory: whose cells.
        seed: of the sequence.
        keys: of the engine that serves images, uint64 (k,).
        reset: write 0 before every pulse.
        mapping: which cells serve which bit.
        disturbance: what moves the thresholds, or None.
    """

    def __init__(
        self, memory: MagnetoelectricMemory, *, seed: int, keys: NDArray[np.uint64], reset: bool, mapping: str,
        disturbance: Disturbance | None,
    ) -> None:  # fmt: skip
        self._memory, self._seed, self._k = memory, seed, keys.shape[0]
        self._reset, self._mapping, self._disturbance = reset, mapping, disturbance
        fitting = memory.cells // self._k
        self.per_pulse = fitting // GROUP * GROUP or fitting  #: bits that one pulse gives
        self.pulses = 0  #: pulses so far
        self.trim: dict[str, float] = {}  #: added to the next pulses on purpose: voltage [V], width [s], B_z [T]
        q0, q1 = memory.thresholds
        forgets = bool((q0 == q0[0]).all() and (reset or (q1 == q0[0]).all()))
        whole_words = self.per_pulse % WORD == 0 and mapping == "fixed" and disturbance is None
        self.engine = "one by one" if not whole_words else "equal" if forgets else "sliced"
        if self.engine == "equal":
            self._engines = [engine_keys(seed, i) for i in range(self._k)]
            self._q = int(q0[0])
            self._masks = np.array([2**64 - 1 if self._q >> b & 1 else 0 for b in range(16)], np.uint64)
        elif self.engine == "sliced":
            self._engines = [engine_keys(seed)]
            self._planes = sliced(q0)
            self._change = self._planes ^ sliced(q1)
        else:
            self._keys = np.array([derive_key(int(key), "sequence") for key in keys], np.uint64)
        self._array = np.zeros(-(-memory.cells // WORD) * WORD // 8, np.uint8)  # packed states
        self._left = Leftover()
        self._copied: tuple[int, NDArray[np.uint8]] | None = None  # the array after so many pulses, for positions

    def take(self, n: int) -> NDArray[np.uint8]:
        """The next ``n`` bits, packed; zeros after the last."""
        if (missing := n - self._left.bits) > 0:
            pulses = -(-missing // self.per_pulse)
            if self.per_pulse % 8:
                pulses = -(-pulses // 8) * 8  # whole bytes
            self._left.put(self._run(pulses), pulses * self.per_pulse)
        return self._left.take(n)

    def _run(self, pulses: int) -> NDArray[np.uint8]:
        if self.engine == "equal":
            out = self._equal(pulses * self.per_pulse // WORD).view(np.uint8)
        elif self.engine == "sliced":
            words = np.empty(pulses * self.per_pulse // WORD, np.uint64)
            pulse_words(
                self._engines[0], np.uint64(self.pulses), pulses, self._planes, self._change, self._reset,
                self._array.view(np.uint64), self._k, words,
            )  # fmt: skip
            out = words.view(np.uint8)
        else:
            out = self._one_by_one(pulses)
        self.pulses += pulses
        return out

    def _equal(self, words: int) -> NDArray[np.uint64]:
        if self._q in (0, 65536):
            sure = 2**64 - 1 if self._q and self._k % 2 else 0
            return np.full(words, sure, np.uint64)
        group, skip = divmod(self.pulses * self.per_pulse // WORD, GROUP_WORDS)
        size = -(-(skip + words) // GROUP_WORDS) * GROUP_WORDS
        total = None
        for keys in self._engines:
            part = np.empty(size, np.uint64)
            if self._q == 32768:
                fair_words(keys, np.uint64(group), part)
            else:
                equal_words(keys, np.uint64(group), self._masks, part)
            total = part if total is None else np.bitwise_xor(total, part, out=total)
        assert total is not None
        return total[skip : skip + words]

    def _one_by_one(self, pulses: int) -> NDArray[np.uint8]:
        cells = self._memory.cells
        state = np.unpackbits(self._array, count=cells)
        bits = np.empty(pulses * self.per_pulse, np.uint8)
        scratch = np.empty(-(-self.per_pulse // GROUP) * GROUP, np.uint8)
        blocks = 16 * -(-self.per_pulse // GROUP)
        q0, q1 = self._memory.thresholds
        for at in range(self.pulses, self.pulses + pulses):
            if self._disturbance is not None:
                before = np.zeros_like(state) if self._reset else state
                time = at * self._disturbance.imperfections.cycle
                q0, q1 = self._disturbance.thresholds(time, before, stream=SEQUENCE, at=at, trim=self.trim)
            factor, offset = affine_map(self._mapping, step=at, cells=cells, seed=self._seed)
            pulse_and_xor(
                self._keys, np.uint64(SEQUENCE), np.uint64(at * blocks), factor, offset, cells, state, q0, q1,
                self._reset, self.per_pulse, scratch,
            )  # fmt: skip
            part = bits[(at - self.pulses) * self.per_pulse :][: self.per_pulse]
            part[:] = scratch[: self.per_pulse]
            if self._disturbance is not None:
                self._disturbance.misread(part, k=self._k, stream=SEQUENCE, at=at)
        self._array[: -(-cells // 8)] = np.packbits(state)
        return np.packbits(bits)

    def position(self) -> Any:
        """Where the sequence stands, for :meth:`go_to`; positions between two pulses share one copy of the array."""
        if self._copied is None or self._copied[0] != self.pulses:
            self._copied = (self.pulses, self._array.copy())
        return self.pulses, dict(self.trim), self._left.position(), self._copied[1]

    def go_to(self, position: Any) -> None:
        """Go back to what :meth:`position` gave."""
        self.pulses, trim, left, array = position
        self._left.go_to(left)
        self.trim, self._copied = dict(trim), (self.pulses, array)
        self._array[:] = array

    def state_dict(self) -> dict[str, Any]:
        return {
            "pulses": self.pulses,
            "trim": dict(self.trim),
            **self._left.state_dict(),
            "array": self._array.tobytes().hex(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        array = np.frombuffer(bytes.fromhex(state["array"]), np.uint8).copy()
        if array.size != self._array.size:
            raise InputError(
                f"a state of {self._array.size} bytes is stored in {array.size}; the file may be truncated"
            )
        self.pulses, self.trim, self._array = int(state["pulses"]), dict(state["trim"]), array
        self._left.load_state_dict(state)
        self._copied = None
