"""Encoded pictures (PNG, JPEG and so on) to arrays of one size, whether they lie in files or in a table."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError


def decode(source: Path | BytesIO, name: str) -> NDArray[np.uint8]:
    """One picture: uint8 (h, w) if it is grey, else (h, w, 3).

    Args:
        source: a file or its bytes.
        name: of the picture, in messages.

    Raises:
        InputError: no readable picture, or one of more than 8 bit per pixel.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source) as picture:
            if picture.mode.startswith("I") or picture.mode == "F":
                raise InputError(f"{name} has more than 8 bit per pixel ({picture.mode}); save it with 8 bit")
            grey = picture.mode in ("1", "L", "LA")
            return np.asarray(picture.convert("L" if grey else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        why = str(error).replace(f" {source!r}", "")
        raise InputError(f"{name} cannot be read as an image ({why}); remove it or save it again") from None


def stack(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one size as uint8 (n, channels, h, w): one channel if every picture is grey, else three."""
    colour = any(a.ndim == 3 for a in pictures)
    whole = np.stack([np.repeat(a[..., None], 3, 2) if colour and a.ndim == 2 else a for a in pictures])
    return np.ascontiguousarray(whole.transpose(0, 3, 1, 2) if colour else whole[:, None])


def check_size(picture: NDArray[np.uint8], first: NDArray[np.uint8], *, where: str, names: tuple[str, str]) -> None:
    """Refuse a picture of another size than the first; ``names`` are those of the first and of this one."""
    if picture.shape[:2] != first.shape[:2]:
        raise InputError(
            f"{where} mixes sizes: {names[0]} is {_size(first)} and {names[1]} is {_size(picture)} pixels; "
            "resize them to one size first"
        )


def _size(a: NDArray[np.uint8]) -> str:
    return f"{a.shape[1]}x{a.shape[0]}"
