"""Score images: distances from held-out real ones, beside the floor and two degraded sets of the same n."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Part, Result
from voltaspin.diffusion.pictures import SUFFIXES, picture_files, read_pictures
from voltaspin.metrics.distance import (
    Score,
    checked_features,
    fd,
    fd_difference,
    fd_extrapolated,
    kernel_estimate,
    kid_difference,
    least_images,
    paired,
)
from voltaspin.metrics.features import SIDE, Extractor, check_images
from voltaspin.metrics.manifold import precision_of, recall_of
from voltaspin.metrics.shipped import SETS, Reference
from voltaspin.metrics.shipped import reference as shipped_reference

_OTHER = "score them by extractor='inception' reference_images= (real images)"
Metric = Literal["KID", "FD", "precision", "recall"]
Progress = Callable[[int, int], None]


class Row(Part):
    """Scores of one set of images.

    Args:
        subject: the images that were scored.
        scores: KID (unbiased, the score to read), and where there are images enough FD at this n, FD extrapolated to
            infinitely many images, precision (share of the images among the real ones) and recall (of the real ones
            among them); all but KID compare at equal n only.
        reason: why a score is missing.
    """

    subject: str
    scores: tuple[Score, ...] = Field(min_length=1)
    reason: str = ""

    def score(self, *names: str) -> Score | None:
        """Return the score of one of these names, or None."""
        return next((s for s in self.scores if s.name in names), None)

    @property
    def kid(self) -> Score:
        return self.scores[0]

    @property
    def fd(self) -> Score | None:
        """The Frechet distance at this n; an FID in Inception's features."""
        return self.score("FD", "FID")

    @property
    def fd_extrapolated(self) -> Score | None:
        return self.score("FD extrapolated")

    @property
    def precision(self) -> Score | None:
        return self.score("precision")

    @property
    def recall(self) -> Score | None:
        return self.score("recall")

    def summary(self) -> list[tuple[str, str]]:
        rows = [(s.label, f"{s.scaled(s.factor)}") for s in self.scores]
        return [*rows, ("n", str(self.kid.n)), *([("note", self.reason)] if self.reason else [])]


class Comparison(Result):
    """Scores of images against real ones, with the floor that real images themselves reach.

    Args:
        images: the scored images.
        floor: real images against real images.
        reference: name of the real images.
        n_reference: how many.
    """

    images: Row
    floor: Row
    reference: str
    n_reference: int

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.images, self.floor

    def table(self, *columns: str) -> list[str]:
        """Return lines of a table with the scores of these labels, a row for each set of images."""
        width = max(len(row.subject) for row in self.rows)
        lines = [f"{'':{width}}  {'n':>6}" + "".join(f"  {name:>24}" for name in columns)]
        for row in self.rows:
            cells = [cell(next((s for s in row.scores if s.label == name), None)) for name in columns]
            lines.append("  ".join([f"{row.subject:{width}}", f"{row.kid.n:>6}", *cells]))
        return lines

    @property
    def notes(self) -> list[str]:
        """Return lines on the origin of the noise and on a missing score."""
        noise = self.images.kid.noise
        return [line for line in (f"Noise: {noise}." if noise else "", self.images.reason) if line]


class Evaluation(Comparison):
    """Scores of a set of images, with those of real, blurred and noisy images to read them by.

    Args:
        images, reference, n_reference: as in :class:`Comparison`.
        floor: other real images, at the same n as far as there are as many.
        yardsticks: real images blurred, and with noise added.
        extractor_accuracy: of the extractor on held-out images.
    """

    KIND: ClassVar[str] = "evaluation"
    yardsticks: tuple[Row, ...]
    extractor_accuracy: float

    @property
    def rows(self) -> tuple[Row, ...]:
        return (self.images, self.floor, *self.yardsticks)

    def __str__(self) -> str:
        score = self.images.kid
        return "\n".join([
            *self.table("KID x1e3", "FD", "FD extrapolated"), *self.table("precision", "recall"),
            f"Against {self.n_reference} held-out {self.reference} images; 95 % intervals. Extractor "
            f"{score.extractor} {score.extractor_sha256[:12]}, accuracy {self.extractor_accuracy:.4f}.",
            "KID has no bias in n; FD, precision and recall compare at equal n, and none with another extractor's.",
            *self.notes,
        ])  # fmt: skip


def cell(score: Score | None) -> str:
    """Format a score with its interval as one cell of a table; a dash for None."""
    if score is None:
        return f"{'-':>24}"
    value, low, high = (score.factor * v for v in (score.value, score.low, score.high))
    return f"{value:8.2f} {f'[{low:.2f}, {high:.2f}]':>15}"


def score_features(
    features: ArrayLike,
    against: Reference,
    *,
    subject: str = "images",
    noise: str = "",
    shared: str = "",
    seed: int = 0,
) -> Row:
    """Return the scores of features against the held-out reference: KID, and the others where there are images enough.

    Args:
        features: from the extractor that made the reference, float (n, 64), not standardised, n >= 4.
        against: the reference.
        subject, noise, shared: labels of the scores.
        seed: of the dealing of images into parts, for the FD extrapolated in 1/n.

    Raises:
        InputError: another shape, NaN, or fewer than 4 images.
    """
    x, y = against.standardised(_right_width(features, "features", against)), against.target
    n, contrast, why = len(x), [(1.0, x)], ""
    width = y.shape[1]
    found = {"KID": kernel_estimate(contrast, y, against.target_sums)}
    least, fewest = least_images(width, extrapolate=True), min(n, len(y))
    if fewest < 2 * width:
        why = f"No FD, precision or recall: {fewest} images are too few; score at least {2 * width}."
    else:
        found["FD"] = fd(x, y)
        if fewest < least:
            why = f"No FD extrapolated: {fewest} images are too few to deal out; score at least {least}."
        else:
            found["FD extrapolated"] = fd_extrapolated(x, y, seed=seed)
        found |= {"precision": precision_of(contrast, against.manifold), "recall": recall_of(contrast, y)}
    labels = against.labels_of(noise, shared)
    scores = tuple(Score.of(estimate, name=name, **labels) for name, estimate in found.items())
    return Row(subject=subject, scores=scores, reason=why)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    against: Reference,
    *,
    metric: Metric = "KID",
    noise: str = "",
    shared: str = "",
) -> Score:
    """Return the score of condition ``a`` less that of ``b``, which are coupled image by image.

    Image i of both conditions must share what the conditions share (latent, label). The interval comes from the
    difference that each pair makes, so that the common part of a pair cancels. Conditions that coincide by
    construction give 0 with an interval of no width, which is no finding.

    Args:
        a, b: features from the extractor that made the reference, float (n, 64), not standardised.
        against: the reference.
        metric: ``KID``; ``FD`` (extrapolated in 1/n, n >= 256); ``precision`` or ``recall``.
        noise: where the noise of the images came from.
        shared: what the conditions have in common.

    Raises:
        InputError: conditions of unequal length, another shape, NaN, too few images, or an unknown metric.
    """
    x, z = paired(*(_right_width(given, name, against) for given, name in ((a, "a"), (b, "b"))))
    x, z = against.standardised(x), against.standardised(z)
    contrast = [(1.0, x), (-1.0, z)]
    differences: dict[Metric, Callable[[], Estimate]] = {
        "KID": lambda: kid_difference(x, z, against.target),
        "FD": lambda: fd_difference(x, z, against.target),
        "precision": lambda: precision_of(contrast, against.manifold),
        "recall": lambda: recall_of(contrast, against.target),
    }
    if metric not in differences:
        raise InputError(f"metric {metric!r} is unknown; use 'KID', 'FD', 'precision' or 'recall'")
    return Score.of(differences[metric](), name=f"{metric} difference", **against.labels_of(noise, shared))


def evaluate(
    images: NDArray[np.uint8],
    *,
    reference: str | Reference = "fashion-mnist",
    extractor: Extractor | None = None,
    noise: str = "",
    shared: str = "",
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a stack of images against held-out real ones.

    Args:
        images: uint8 (n, 1, 28, 28), n >= 4; an FD needs 128, its extrapolation 256.
        reference: name of shipped statistics, or a loaded :class:`Reference`.
        extractor: the shipped one if None; must be the one that made the reference.
        noise: where the noise of the images came from.
        shared: what they share with another condition.
        seed: see :func:`score_features`.
        progress: called with (done, n) while features are computed.

    Returns:
        Their scores, and at the same n those of other real images (the floor) and of real images that were
        blurred or had noise added (yardsticks). At most 10,000 and 5,000 of these are stored; each score
        says its n.

    Raises:
        InputError: images of another type or shape, too few, or another extractor.
    """
    against = shipped_reference(reference) if isinstance(reference, str) else reference
    check_images(images)
    if len(images) < 4:
        raise InputError(f"{len(images)} images are too few to score; give at least 4, better 1000")
    extractor = extractor or Extractor.load()
    against.check(extractor)
    features = extractor.features(images, progress=progress)
    n, coupled = len(images), "the garments of the other real rows"

    def stored(name: str) -> Row:
        return score_features(against.features[name][:n], against, subject=SETS[name], shared=coupled)

    return Evaluation(
        images=score_features(features, against, noise=noise, shared=shared, seed=seed),
        floor=stored("real"),
        yardsticks=(stored("blur"), stored("noise")),
        reference=against.name,
        n_reference=len(against.target),
        extractor_accuracy=float(extractor.card["accuracy"]["value"]),
    )


def evaluate_folder(
    folder: Path | str,
    reference: str | Reference = "fashion-mnist",
    *,
    extractor: Extractor | None = None,
    noise: str = "",
    background: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Score the images of a folder, as :func:`evaluate`; see :func:`read_images` for which these are.

    Raises:
        InputError: no folder, no image in it, mixed or wrong sizes, colour, or an unreadable file.
    """
    images = read_folder(folder, background=background)
    return evaluate(images, reference=reference, extractor=extractor, noise=noise, seed=seed, progress=progress)


def read_images(folder: Path | str, *, background: str | None = None) -> NDArray[np.uint8]:
    """The images of a folder, of any size, grey or in colour: uint8 (n, channels, h, w), by their names.

    They are read as training images are (:mod:`voltaspin.diffusion.pictures`), but subfolders are left alone. Of a
    folder that ``sample`` wrote, the images that its ``run.json`` lists are taken.

    Args:
        folder: of the images.
        background: the colour behind transparent pixels, as a name or ``#rrggbb``; None refuses transparent pictures.

    Raises:
        InputError: no folder, no image in it, mixed sizes or a file that is unreadable or refused.
    """
    return read_pictures(Path(folder), single_images(folder), background=background)


def single_images(folder: Path | str) -> list[Path]:
    """The image files of a folder; raises InputError where there are none."""
    files = picture_files(folder)
    if not files:
        raise InputError(
            f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}; grid.png and hidden files are not counted); "
            "give a folder of single images"
        )
    return files


def read_folder(folder: Path | str, *, background: str | None = None) -> NDArray[np.uint8]:
    """The images of a folder for the shipped extractor: uint8 (n, 1, 28, 28), in the order of their names.

    Raises:
        InputError: as :func:`read_images`, or images in colour or of another size.
    """
    pixels = read_images(folder, background=background)
    if pixels.shape[1] == 3:
        coloured = (pixels != pixels[:, :1]).any(axis=(1, 2, 3))
        if coloured.any():
            file = single_images(folder)[int(coloured.argmax())]
            raise InputError(f"{file} is in colour, the shipped extractor takes grey images; {_OTHER}")
    size = f"{pixels.shape[3]}x{pixels.shape[2]}"
    if size != f"{SIDE}x{SIDE}":
        raise InputError(
            f"images of {folder} are {size}, the extractor takes {SIDE}x{SIDE}; {_OTHER}, or resize them first and "
            "say how, the resize is part of the number"
        )
    return np.ascontiguousarray(pixels[:, :1])


def _right_width(features: ArrayLike, name: str, against: Reference) -> NDArray[np.float64]:
    found, width = checked_features(features, name), against.target.shape[1]
    if found.shape[1] != width:
        raise InputError(
            f"{name} has {found.shape[1]} features, the reference {width}; use Extractor.load().features(images)"
        )
    return found
