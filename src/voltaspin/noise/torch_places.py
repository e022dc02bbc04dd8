"""The place of a torch.Generator among the numbers of a source, written into the generator's own state.

A generator that is newly seeded names a stream at step 0. After a draw that a source served, four words of that newly
seeded state are replaced by the place, so that a state that is saved, restored, copied or forked (``get_state``,
``set_state``, ``torch.random.fork_rng``, activation checkpointing) takes the place with it. Any other state belongs to
a generator that has drawn from PyTorch's own numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.errors import InputError

Kind = Literal["stream", "sequence"]

#: The state of a CPU generator: 24 bytes of seed and counters, then 624 words of the Mersenne Twister, 8 bytes each.
_WORDS, _AT = slice(24, 24 + 8 * 624), slice(616, 621)
_MARKS: dict[Kind, int] = {"stream": 0x564F4C54, "sequence": 0x5350494E}

#: On another device the state is (seed, offset); offsets of that size are reached by no draws.
_FAR, _STEP_BITS, _TAG_BITS = 0x5A << 53, 34, 16


_last_put: tuple[bytes, Place] | None = None


@dataclass(frozen=True)
class Place:
    """A place among the numbers of a source.

    Args:
        seed: of the generator; of a stream, its name.
        number: of the next draw: the step of a stream, or the number of a position of a sequence.
        kind: a stream of any source, or the sequence of one block.
        tag: of the process that drew from a stream (0: the first of its tree), or of the block that serves a sequence.
    """

    seed: int
    number: int = 0
    kind: Kind = "stream"
    tag: int = 0


def tag_of(*parts: object) -> int:
    """Return 64 bits that stand for some values; 0 for none."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little") if parts else 0


def place_in(generator: torch.Generator) -> Place | None:
    """Return the place that the state of a generator names; None for one that has drawn elsewhere."""
    seed, state = generator.initial_seed(), generator.get_state().numpy()
    if _last_put is not None and state.tobytes() == _last_put[0]:
        return _last_put[1]  # almost always: nobody has touched it since; saves a third of the time of a small draw
    if state.size == 16:
        return _far_place(seed, int(state.view(np.uint64)[1]))
    fresh = _fresh(seed, str(generator.device))
    if state.tobytes() == fresh:
        return Place(seed)
    if state.size < _WORDS.stop:
        return None
    mark, low, high, tag_low, tag_high = (int(w) for w in state[_WORDS].view(np.uint64)[_AT])
    for kind, own in _MARKS.items():
        if mark == own:
            place = Place(seed, low | high << 32, kind, tag_low | tag_high << 32)
            return place if state.tobytes() == _state_at(place, fresh).tobytes() else None
    return None


def put(generator: torch.Generator, place: Place) -> None:
    """Write a place into a generator; its seed stays.

    Raises:
        InputError: a device whose generators cannot carry one.
    """
    global _last_put
    fresh = _fresh(place.seed, str(generator.device))
    if len(fresh) == 16:
        state = np.frombuffer(fresh, np.uint8).copy()
        tag = place.tag & ((1 << _TAG_BITS) - 1)
        state.view(np.uint64)[1] = _FAR | tag << _STEP_BITS + 2 | (place.number + 1) << 2
    elif len(fresh) >= _WORDS.stop:
        state = _state_at(place, fresh)
    else:
        raise InputError(
            f"a torch.Generator on {generator.device} cannot be driven; give one on the CPU, or none, as in PyTorch"
        )
    generator.set_state(torch.from_numpy(state))
    _last_put = (state.tobytes(), place)


def _state_at(place: Place, fresh: bytes) -> NDArray[np.uint8]:
    state = np.frombuffer(fresh, np.uint8).copy()
    half = 0xFFFFFFFF
    state[_WORDS].view(np.uint64)[_AT] = (
        _MARKS[place.kind], place.number & half, place.number >> 32, place.tag & half, place.tag >> 32,
    )  # fmt: skip
    return state


def _far_place(seed: int, offset: int) -> Place | None:
    if offset == 0:
        return Place(seed)
    if offset >> 53 != _FAR >> 53 or offset & 3:
        return None
    inner = (offset & ((1 << 53) - 1)) >> 2
    return Place(seed, (inner & ((1 << _STEP_BITS) - 1)) - 1, "stream", inner >> _STEP_BITS)


@lru_cache(maxsize=1024)
def _fresh(seed: int, device: str) -> bytes:
    """Return the state of a generator that is newly seeded."""
    return torch.Generator(device=device).manual_seed(seed).get_state().numpy().tobytes()


class Remembered(OrderedDict[torch.Generator, Place]):
    """The last places of generators, for those that draw elsewhere between two blocks and then go on."""

    # PyTorch hands a mode another Python object than the user's, but the same one as long as somebody keeps it.

    def keep(self, generator: torch.Generator, place: Place, *, most: int) -> None:
        """Remember a place, of at most so many generators."""
        self[generator] = place
        self.move_to_end(generator)
        if len(self) > most:
            self.popitem(last=False)
