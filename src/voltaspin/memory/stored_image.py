"""Store a picture in an array, let time pass, read it back."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.result import Array, Result, Unit
from voltaspin.device import SwitchingModel, at_temperature, presets
from voltaspin.memory.array import MagnetoelectricMemory

MOST = 1 << 23  #: cells that a picture may take, half a gigabyte of simulation


class StoredImage(Result):
    """A picture that waited in an array.

    Args:
        preset: of the junctions.
        seconds, temperature: that it waited.
        picture: as read back, uint8 (height, width); not part of the JSON, so that a loaded result has none.
        bits: that were stored.
        lost: share of them that were read as the other.
        expected: of that share, from the cells' Fokker-Planck rates.
        barrier: of the nominal cell at that temperature.
    """

    KIND: ClassVar[str] = "stored-image"
    preset: str
    seconds: Annotated[float, Unit("s")]
    temperature: Annotated[float, Unit("K")]
    picture: Annotated[Array | None, Field(exclude=True)] = None
    bits: int
    lost: Annotated[float, Field(title="share of bits lost")]
    expected: Annotated[float, Field(title="expected share")]
    barrier: Annotated[float, Unit("k_B T")]


class StoredImages(Result):
    """One picture as several arrays have kept it.

    Args:
        picture: file that shows them.
        kept: one for each array.
    """

    KIND: ClassVar[str] = "stored-images"
    picture: str
    kept: tuple[StoredImage, ...]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.kept), self.picture])


def retention_demo(
    picture: NDArray[np.uint8], preset: str, *, seconds: float, temperature: float | None, seed: int = 0
) -> StoredImage:
    """Store the bits of a picture in an array of a preset's junctions, age it, and read it.

    Args:
        picture: uint8 (height, width); each pixel takes eight cells of its row.
        preset: of :mod:`voltaspin.device.presets`.
        seconds: [s].
        temperature: [K]; the preset's own where absent.

    Raises:
        InputError: a picture that is no grey one, or too large for an array.
    """
    if picture.ndim != 2 or picture.dtype != np.uint8 or not picture.size:
        raise InputError(f"a picture of shape {picture.shape} and type {picture.dtype} is no grey picture of 8 bits")
    if 8 * picture.size > MOST:
        raise InputError(
            f"a picture of {picture.shape[1]} x {picture.shape[0]} pixels takes {8 * picture.size:,} cells, more than "
            f"{MOST:,}; shrink it first"
        )
    junction = presets.get(preset)
    bits = np.unpackbits(picture, axis=1)
    memory = MagnetoelectricMemory(
        rows=bits.shape[0], columns=bits.shape[1], model=SwitchingModel.constant(0.5, 0.5), junction=junction, seed=seed
    )
    memory.write(bits)
    p0, p1 = memory.forgetting(seconds, temperature=temperature)
    memory.age(seconds, temperature=temperature)
    read = memory.read()
    kelvin = junction.temperature if temperature is None else temperature
    return StoredImage(
        preset=preset, seconds=seconds, temperature=kelvin, picture=np.packbits(read, axis=1), bits=bits.size,
        lost=float((read != bits).mean()), expected=float(np.where(bits, p1, p0).mean()),
        barrier=float(at_temperature(junction, kelvin).barrier()),
    )  # fmt: skip
