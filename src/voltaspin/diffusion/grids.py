"""Images side by side: a grid or a labelled strip as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from voltaspin.core.errors import InputError

INK = "#1c2330"


def _as_rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 1 or 3, h, w) to (n, h, w, 3)."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
        raise InputError(
            f"images have dtype {images.dtype} and shape {images.shape}; "
            "give uint8 of shape (n, 1, height, width) or (n, 3, height, width)"
        )
    return np.broadcast_to(images.transpose(0, 2, 3, 1), (images.shape[0], *images.shape[2:], 3))


def _tile(images: NDArray[np.uint8], columns: int, scale: int, gap: int, paper: tuple[int, int, int]) -> Image.Image:
    if columns < 1 or scale < 1 or gap < 0:
        raise InputError(f"columns {columns} and scale {scale} must be at least 1, gap {gap} at least 0")
    rgb = _as_rgb(images)
    n, height, width, _ = rgb.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    step_y, step_x = height * scale + gap, width * scale + gap
    canvas = np.full((rows * step_y + gap, columns * step_x + gap, 3), paper, np.uint8)
    big = rgb.repeat(scale, axis=1).repeat(scale, axis=2)
    for i, image in enumerate(big):
        y, x = gap + (i // columns) * step_y, gap + (i % columns) * step_x
        canvas[y : y + height * scale, x : x + width * scale] = image
    return Image.fromarray(canvas)


def _bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def grid_png(
    images: NDArray[np.uint8],
    columns: int,
    *,
    scale: int = 2,
    gap: int = 2,
    paper: tuple[int, int, int] = (255, 255, 255),
) -> bytes:
    """Images as one grid, filled row by row.

    Args:
        images: uint8 (n, 1, height, width) or (n, 3, height, width).
        columns: images per row.
        scale: whole factor of enlargement, without smoothing.
        gap: between images [pixels]; paper: colour of the gaps.

    Returns:
        PNG.

    Raises:
        InputError: another dtype or shape.
    """
    return _bytes(_tile(images, columns, scale, gap, paper))


def strip_png(
    images: NDArray[np.uint8],
    *,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    scale: int = 3,
    gap: int = 4,
) -> bytes:
    """Rows of images with labels above the columns and before the rows.

    Args:
        images: uint8 (rows, columns, 1 or 3, height, width), or (rows, columns, height, width) for grey.
        column_labels: one per column, or none; row_labels: one per row, or none.
        scale, gap: as in :func:`grid_png`.

    Returns:
        PNG.

    Raises:
        InputError: another dtype or shape, or labels that do not match it.
    """
    images = images[:, :, None] if images.ndim == 4 else images
    if images.ndim != 5:
        raise InputError(f"images have shape {images.shape}; give (rows, columns, channels, height, width)")
    rows, columns, _, height, width = images.shape
    for labels, n, what in ((column_labels, columns, "columns"), (row_labels, rows, "rows")):
        if labels and len(labels) != n:
            raise InputError(f"{len(labels)} labels for {n} {what}; give one each or none")
    tiles = _tile(images.reshape(rows * columns, *images.shape[2:]), columns, scale, gap, (255, 255, 255))
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 15)
    left = max((int(font.getlength(text)) + 10 for text in row_labels), default=0)
    top = 24 if column_labels else 0
    page = Image.new("RGB", (tiles.width + left, tiles.height + top), (255, 255, 255))
    page.paste(tiles, (left, top))
    draw = ImageDraw.Draw(page)
    for i, text in enumerate(column_labels):
        middle = left + gap + i * (width * scale + gap) + width * scale // 2
        draw.text((middle, top - 4), text, fill=INK, font=font, anchor="ms")
    for i, text in enumerate(row_labels):
        middle = top + gap + i * (height * scale + gap) + height * scale // 2
        draw.text((0, middle), text, fill=INK, font=font, anchor="lm")
    return _bytes(page)
