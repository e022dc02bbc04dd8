"""Figures are real PNGs of sane size, and the pictures hold the pixels they were given."""

import io
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from PIL import Image

from voltaspin.core.errors import InputError
from voltaspin.diffusion.grids import grid_png, strip_png
from voltaspin.report.demo_page import pictures_of


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


def test_charts_are_pictures_that_show_something(drawn):
    assert set(drawn) == {"switching", "conditioning", "quality_live", "quality_study", "cost", "claim", "image"}
    for name, png in drawn.items():
        image = opened(png)
        assert image.format == "PNG", name
        assert 1200 <= image.width <= 2000, name
        assert 300 <= image.height <= 1600, name
        assert len(png) < 400_000, name
        ink = np.asarray(image.convert("RGBA"))[..., 3] > 0
        assert 0.01 < ink.mean() < 0.9, name


def test_charts_repeat_and_leave_matplotlib_as_it_was(results, drawn):
    before = dict(matplotlib.rcParams)
    assert pictures_of(results) == drawn
    assert dict(matplotlib.rcParams) == before


def test_grid_places_every_image():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 6), np.uint8) + 10
    pixels = np.asarray(opened(grid_png(images, 3, scale=2, gap=1)))
    assert pixels.shape == (2 * (8 + 1) + 1, 3 * (12 + 1) + 1, 3)
    for i in range(5):
        y, x = 1 + (i // 3) * 9, 1 + (i % 3) * 13
        assert (pixels[y : y + 8, x : x + 12] == 10 + i).all()
    assert (pixels[10:18, 27:39] == 255).all()  # the sixth place is empty


def test_grid_keeps_colours_and_narrow_sets():
    image = np.zeros((1, 3, 2, 2), np.uint8)
    image[0, 1] = 200
    pixels = np.asarray(opened(grid_png(image, 8, scale=1, gap=0)))
    assert pixels.shape == (2, 2, 3)
    assert (pixels == [0, 200, 0]).all()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 1, 4, 4)),
        np.zeros((2, 4, 4), np.uint8),
        np.zeros((2, 2, 4, 4), np.uint8),
        np.zeros((0, 1, 4, 4), np.uint8),
    ],
)
def test_grid_refuses_other_shapes(images):
    with pytest.raises(InputError, match="uint8"):
        grid_png(images, 2)


def test_grid_refuses_no_columns():
    with pytest.raises(InputError, match="columns 0"):
        grid_png(np.zeros((1, 1, 4, 4), np.uint8), 0)


def test_strip_has_room_for_its_labels():
    images = np.full((2, 3, 8, 8), 90, np.uint8)
    bare = opened(strip_png(images, scale=4, gap=2))
    labelled = opened(strip_png(images, column_labels=["0", "1", "2"], row_labels=["a", "b"], scale=4, gap=2))
    assert bare.size == (3 * 34 + 2, 2 * 34 + 2)
    assert labelled.width > bare.width
    assert labelled.height > bare.height
    assert (np.asarray(labelled)[-bare.height :, -bare.width :] == np.asarray(bare)).all()


def test_strip_refuses_labels_that_do_not_match():
    with pytest.raises(InputError, match="2 labels for 3 columns"):
        strip_png(np.zeros((2, 3, 8, 8), np.uint8), column_labels=["0", "1"])
    with pytest.raises(InputError, match="give \\(rows"):
        strip_png(np.zeros((2, 8, 8), np.uint8))


def test_quality_without_any_positive_or_wide_score(results):
    """Scores around zero, one condition, no control and no FD must still draw."""
    from voltaspin.plots.drawing import png
    from voltaspin.plots.quality import scores

    live = results.quality.live
    flat = replace(live.floor.kid, value=0.0, low=0.0, high=0.0)
    row = live.floor.model_copy(update={"kid": flat})
    bare = live.model_copy(update={"rows": (row,), "yardsticks": (), "floor": row, "differences": (), "control": None})
    assert opened(png(scores(bare))).format == "PNG"
