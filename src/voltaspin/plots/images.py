"""Figures of generated images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from voltaspin.plots.drawing import figure, split

MOST = 64  #: images that a figure shows


def _columns(made: Any) -> int:
    return min(8, len(made.images))


def _size(made: Any) -> tuple[float, float]:
    columns = _columns(made)
    return 0.9 * columns + 0.4, 0.9 * math.ceil(min(len(made.images), MOST) / columns) + 0.4


@figure(_size, axes_grid=False)
def grid_of_images(made: Any, *, ax: Axes) -> Axes:
    """Draw the first :data:`MOST` images of :class:`Samples`, or of images in place, row by row."""
    shown, columns = made.images[:MOST], _columns(made)
    panels = split(ax, math.ceil(len(shown) / columns), columns).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, image in zip(panels, shown, strict=False):
        picture = np.moveaxis(image, 0, -1)
        panel.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255)
    ax.set_title(f"{len(shown)} of {len(made.images)} images, {made.steps} evaluations each")
    return ax
