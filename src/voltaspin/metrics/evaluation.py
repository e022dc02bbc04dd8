"""Score images: distances from held-out real ones, beside the floor and two yardsticks at the same n."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
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
from voltaspin.metrics.features import FEATURES, SIDE, Extractor, check_images
from voltaspin.metrics.manifold import precision_of, recall_of
from voltaspin.metrics.shipped import SETS, Reference, reference

_OTHER = "score them by extractor='inception' reference_images= (real images)"
Metric = Literal["KID", "FD", "precision", "recall"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Row:
    """Scores of one set of images.

    Args:
        subject: what was scored.
        kid: kernel distance, unbiased, the score to read.
        fd: Frechet distance at this n, or None.
        fd_extrapolated: the same, extrapolated to infinitely many images, or None.
        reason: why an FD is missing.
        precision, recall: share of the images among the real ones and of the real ones among them, or None; compare
            at equal n only.
    """

    subject: str
    kid: Score
    fd: Score | None = None
    fd_extrapolated: Score | None = None
    reason: str = ""
    precision: Score | None = None
    recall: Score | None = None

    @property
    def scores(self) -> tuple[Score, ...]:
        """Those that there are."""
        every = (self.kid, self.fd, self.fd_extrapolated, self.precision, self.recall)
        return tuple(s for s in every if s is not None)

    def to_json(self) -> dict[str, Any]:
        return {"subject": self.subject, "scores": [s.to_json() for s in self.scores], "reason": self.reason}


@dataclass(frozen=True)
class Evaluation:
    """A scored set of images with what it takes to read the scores.

    Args:
        images: the scored images.
        floor: other real images, at the same n as far as there are as many.
        yardsticks: real images blurred, and with noise added.
        reference: name of the data set.
        n_reference: held-out images scored against.
        accuracy: of the extractor on held-out images.
    """

    images: Row
    floor: Row
    yardsticks: tuple[Row, ...]
    reference: str
    n_reference: int
    accuracy: float

    @property
    def rows(self) -> tuple[Row, ...]:
        return (self.images, self.floor, *self.yardsticks)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "evaluation",
            "schema_version": 1,
            "reference": self.reference,
            "n_reference": self.n_reference,
            "extractor_accuracy": self.accuracy,
            "images": self.images.to_json(),
            "floor": self.floor.to_json(),
            "yardsticks": [row.to_json() for row in self.yardsticks],
        }

    def __str__(self) -> str:
        score = self.images.kid
        width = max(len(row.subject) for row in self.rows)
        lines = [
            f"{'':{width}}  {'n':>6}  {'KID x1e3':>24}  {'FD':>24}  {'FD, 1/n to 0':>24}",
            *(
                f"{row.subject:{width}}  {row.kid.n:>6}  {cell(row.kid, 1e3)}  "
                f"{cell(row.fd)}  {cell(row.fd_extrapolated)}"
                for row in self.rows
            ),
            f"{'':{width}}  {'':>6}  {'precision':>24}  {'recall':>24}",
            *(f"{row.subject:{width}}  {'':>6}  {cell(row.precision)}  {cell(row.recall)}" for row in self.rows),
            f"Against {self.n_reference} held-out {self.reference} images; 95 % intervals. Extractor "
            f"{score.extractor} {score.extractor_sha256[:12]}, accuracy {self.accuracy:.4f}.",
            "KID has no bias in n; FD, precision and recall compare at equal n, and none with another extractor's.",
        ]
        if score.noise:
            lines.append(f"Noise: {score.noise}.")
        if self.images.reason:
            lines.append(self.images.reason)
        return "\n".join(lines)


def cell(score: Score | None, unit: float = 1.0) -> str:
    """A score with its interval as one cell of a table, in multiples of 1 / ``unit``; a dash for None."""
    if score is None:
        return f"{'-':>24}"
    low, high = f"{unit * score.low:.2f}", f"{unit * score.high:.2f}"
    return f"{unit * score.value:8.2f} {f'[{low}, {high}]':>15}"


def score_features(
    features: ArrayLike,
    against: Reference,
    *,
    subject: str = "images",
    noise: str = "",
    shared: str = "",
    seed: int = 0,
) -> Row:
    """KID and, where there are images enough, FD, precision and recall of features against the held-out reference.

    Args:
        features: from the extractor that made the reference, float (n, 64), not standardised, n >= 4.
        against: the reference.
        subject, noise, shared: what the scores say of themselves.
        seed: of the dealing of images into parts, for the FD extrapolated in 1/n.

    Raises:
        InputError: another shape, NaN, or fewer than 4 images.
    """
    x, y = against.standardised(_right_width(features, "features")), against.target
    n = len(x)

    def named(name: str, estimate: Estimate) -> Score:
        return _score(name, estimate, against, noise, shared)

    kid = named("KID", kernel_estimate([(1.0, x)], y, against.target_sums))
    if n < 2 * FEATURES:
        why = f"No FD, precision or recall: {n} images are too few; score at least {2 * FEATURES}."
        return Row(subject, kid, reason=why)
    arms = [(1.0, x)]
    precision, recall = named("precision", precision_of(arms, against.manifold)), named("recall", recall_of(arms, y))
    plain, extrapolated, why = named("FD", fd(x, y)), None, ""
    if n < (least := least_images(FEATURES, extrapolate=True)):
        why = f"No FD extrapolated: {n} images are too few to deal out; score at least {least}."
    else:
        extrapolated = named("FD extrapolated", fd_extrapolated(x, y, seed=seed))
    return Row(subject, kid, plain, extrapolated, why, precision, recall)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    against: Reference,
    *,
    metric: Metric = "KID",
    noise: str = "",
    shared: str = "",
) -> Score:
    """Score of arm ``a`` less score of arm ``b``, the arms being coupled image by image.

    Image i of both arms must share what the arms share (latent, label); the interval comes from the
    difference that each pair makes, so that what both images of a pair have in common cancels. Arms that
    coincide by construction give 0 with an interval of no width, which is no finding.

    Args:
        a, b: features from the extractor that made the reference, float (n, 64), not standardised.
        against: the reference.
        metric: ``KID``; ``FD`` (extrapolated in 1/n, n >= 256); ``precision`` or ``recall``.
        noise: where the noise of the arms came from.
        shared: what the arms have in common.

    Raises:
        InputError: arms of unequal length, another shape, NaN, too few images, or an unknown metric.
    """
    x, z = (against.standardised(_right_width(arm, name)) for arm, name in ((a, "a"), (b, "b")))
    if metric == "KID":
        estimate = kid_difference(x, z, against.target)
    elif metric == "FD":
        estimate = fd_difference(x, z, against.target)
    elif metric in ("precision", "recall"):
        x, z = paired(x, z)
        arms = [(1.0, x), (-1.0, z)]
        estimate = precision_of(arms, against.manifold) if metric == "precision" else recall_of(arms, against.target)
    else:
        raise InputError(f"metric {metric!r} is unknown; use 'KID', 'FD', 'precision' or 'recall'")
    return _score(f"{metric} difference", estimate, against, noise, shared)


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
        shared: what they share with another arm.
        seed: see :func:`score_features`.
        progress: called with (done, n) while features are computed.

    Returns:
        Their scores, and at the same n those of other real images (the floor) and of real images that were
        blurred or had noise added (yardsticks). At most 10,000 and 5,000 of these are stored; each score
        says its n.

    Raises:
        InputError: images of another type or shape, too few, or another extractor.
    """
    against = _loaded(reference)
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
        accuracy=float(extractor.card["accuracy"]["value"]),
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


def _right_width(features: ArrayLike, name: str) -> NDArray[np.float64]:
    found = checked_features(features, name)
    if found.shape[1] != FEATURES:
        raise InputError(
            f"{name} has {found.shape[1]} features, the reference {FEATURES}; use Extractor.load().features(images)"
        )
    return found


def _loaded(name: str | Reference) -> Reference:
    return reference(name) if isinstance(name, str) else name


def _score(name: str, estimate: Estimate, against: Reference, noise: str, shared: str) -> Score:
    assert estimate.n is not None, "a distance counts its images"
    return Score(
        name=name,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        extractor=against.extractor,
        extractor_sha256=against.extractor_sha256,
        noise=noise,
        shared=shared,
    )
