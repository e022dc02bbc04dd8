"""Noise from a file of bits that somebody recorded: the same images and tests from a real device."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.errors import InputError, NoiseExhaustedError
from voltaspin.ledger import Ledger
from voltaspin.noise.gaussian import Shaping, named_shaping
from voltaspin.noise.source import NoiseSource, Provenance, checked_count, checked_streams, sizes_of

_BLOCK = 1 << 20  # bytes read at once


@final
class RecordedSource(NoiseSource):
    """Bits of a file, in order, until they are spent.

    The numbers are handed out in the order in which they are asked for, so it is sequential: another order or
    batch size gives an image other numbers, and a step that was drawn cannot be drawn again.

    Args:
        path: raw packed bits, nothing else in the file; the first bit is the highest of the first byte.
        precision: bits per number.
        shaping: ``"inverse_cdf"`` or ``"popcount"`` of ``precision`` bits.

    Raises:
        InputError: no such file, or an empty one.
    """

    addressable = False

    def __init__(
        self,
        path: Path | str,
        *,
        precision: int = 16,
        shaping: Literal["inverse_cdf", "popcount"] = "inverse_cdf",
    ) -> None:
        self.path = Path(path)
        self.shaping: Shaping = named_shaping(shaping, precision)
        if not self.path.is_file():
            raise InputError(f"{self.path} is not a file; give a file of raw packed bits")
        digest, self._bytes = hashlib.sha256(), 0
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                self._bytes += len(block)
        if not self._bytes:
            raise InputError(f"{self.path} is empty (0 bits); record some bits first")
        self.sha256 = digest.hexdigest()
        self.name = f"recorded, {self.path.name}"
        self.ledger = Ledger(self.name)
        self._position = 0
        self._steps: dict[int, int] = {}  # latest step that each stream was asked for

    @property
    def bits_left(self) -> int:
        """Bits that have not been handed out."""
        return 8 * self._bytes - self._position

    @property
    def bits_per_normal(self) -> int:
        return self.shaping.coins

    @property
    def provenance(self) -> Provenance:
        kind = "popcount" if self.shaping.counts_ones else "inverse CDF"
        return Provenance(
            "recorded",
            f"{8 * self._bytes} recorded bits of {self.path.name} (sha256 {self.sha256[:12]}), "
            f"{self.shaping.coins}-bit {kind}",
            {
                "file": self.path.name,
                "sha256": self.sha256,
                "bits": 8 * self._bytes,
                "precision": self.shaping.coins,
                "shaping": kind,
            },
        )

    def bits(self, n: int) -> NDArray[np.uint8]:
        n = checked_count(n, "number of bits")
        self._reserve(n)
        steps = range(0, n, 8 * _BLOCK)
        packed = [np.packbits(self._take(min(8 * _BLOCK, n - i))) for i in steps]
        self.ledger.count("bit", n)
        return np.concatenate([np.empty(0, np.uint8), *packed])

    def normal(
        self, shape: int | Sequence[int], *, streams: Sequence[int] | None = None, step: int | None = None
    ) -> NDArray[np.float32]:
        size = sizes_of(shape)
        ids = [] if streams is None else checked_streams(streams, size)
        if step is not None:
            checked_count(step, "step")
            for stream in ids or [-1]:
                if step <= self._steps.get(stream, -1):
                    of = f"of stream {stream} " if ids else ""
                    raise InputError(
                        f"step {step} {of}was already drawn, and a recording cannot be addressed: it hands "
                        "out each bit once, in order; use an addressable source (MemorySource, PseudoSource) "
                        "to go back"
                    )
        count = prod(size)
        self._reserve(count * self.shaping.coins)
        out = np.empty(count, np.float32)
        numbers = 8 * _BLOCK // self.shaping.coins
        for i in range(0, count, numbers):
            part = out[i : i + numbers]
            part[:] = self.shaping(self._take(part.size * self.shaping.coins))
        if step is not None:
            self._steps.update(dict.fromkeys(ids or [-1], int(step)))
        self.ledger.count("bit", count * self.shaping.coins)
        self.ledger.count("lookup", 0 if self.shaping.counts_ones else count)
        self.ledger.count("normal", count)
        return out.reshape(size)

    def state_dict(self) -> dict[str, Any]:
        return {
            "provenance": self.provenance.to_json(),
            "position": self._position,
            "steps": {str(stream): step for stream, step in self._steps.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_state(state)
        self._position = int(state["position"])
        self._steps = {int(stream): int(step) for stream, step in state["steps"].items()}

    def _reserve(self, n: int) -> None:
        if n > self.bits_left:
            raise NoiseExhaustedError(
                f"{self.path.name} has run dry: the draw needs {n} bits and {self.bits_left} of "
                f"{8 * self._bytes} are there; record more bits or draw fewer numbers (nothing was handed "
                "out)"
            )

    def _take(self, n: int) -> NDArray[np.uint8]:
        """The next ``n`` bits, one a byte."""
        first, skip = divmod(self._position, 8)
        wanted = (skip + n + 7) // 8
        with self.path.open("rb") as file:
            file.seek(first)
            packed = np.frombuffer(file.read(wanted), np.uint8)
        if packed.size < wanted:
            raise InputError(f"{self.path} became shorter while it was being read; restore the recording")
        self._position += n
        return np.unpackbits(packed, count=skip + n)[skip:]
