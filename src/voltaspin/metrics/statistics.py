"""Reference statistics of any data set: features, mean and covariance in one file that names its extractor by hash."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import replacing, sha256_of
from voltaspin.core.result import Result
from voltaspin.core.spec import environment
from voltaspin.metrics.distance import Array
from voltaspin.metrics.features import COLOUR_EXTRACTOR, SIDE, Extractor, extractor_folder
from voltaspin.metrics.fidelity import FidelityExtractor
from voltaspin.metrics.moments import AnyExtractor, ImageParts, Moments, Progress, features_of
from voltaspin.metrics.shipped import Reference, blurred, halves, noisy

KIND, VERSION = "feature-statistics", 1
SHIPPED, COLOUR = "shipped", "cifar10"  #: words of the package's own extractors: of grey garments, and in colour
#: Images that they take, (channels, height, width); the others resize images of any shape.
SHAPES = {SHIPPED: (1, SIDE, SIDE), COLOUR: (3, 32, 32)}
YARDSTICKS = 1000  #: images that are blurred, and that get noise, at most
SUFFIX = ".safetensors"
_ENTRY = "voltaspin"  # of the file's metadata, which is text


def load_extractor(word: str) -> AnyExtractor:
    """Return an extractor by its word: ``shipped``, ``cifar10``, ``inception`` or ``dinov2``."""
    if word == COLOUR:
        return Extractor.load(extractor_folder(COLOUR_EXTRACTOR))
    return Extractor.load() if word == SHIPPED else FidelityExtractor.load(word)


class StatisticsResult(Result):
    """A file of statistics that was made.

    Args:
        file: that was written; sha256: of it.
        name: of the images; n: how many; size: of them [pixels].
        extractor, extractor_sha256: of the features; width: how many of each image.
    """

    KIND: ClassVar[str] = "feature-statistics-file"
    file: Path
    sha256: str
    name: str
    n: int
    size: str
    extractor: str
    extractor_sha256: str
    width: int

    def __str__(self) -> str:
        return (
            f"{self.file}: {self.width} features of {self.n} images of {self.name} ({self.size} pixels), extractor "
            f"{self.extractor} {self.extractor_sha256[:12]}"
        )


@dataclass(frozen=True)
class FeatureStatistics:
    """Features of a set of real images.

    Args:
        name: of the images; size: of them, width x height [pixels].
        word: of the extractor, see :func:`load_extractor`.
        extractor, extractor_sha256: its name and the hash of its weights.
        features: float32 (n, d).
        mean, covariance: of them, float64 (d,) and (d, d).
        yardsticks: features of degraded images of the second half (:func:`halves`), ``blur`` and ``noise``; none in
            older files. They are scored against the first half, so that no image meets its copy.
    """

    name: str
    size: str
    word: str
    extractor: str
    extractor_sha256: str
    features: NDArray[np.float32]
    mean: Array
    covariance: Array
    yardsticks: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, images: ImageParts, *, name: str, word: str = SHIPPED, extractor: AnyExtractor | None = None,
        progress: Progress | None = None,
    ) -> FeatureStatistics:  # fmt: skip
        """Take the features of images, part by part.

        Args:
            images: at least 8.
            name: of them, as scores quote it.
            word: of the extractor; ``extractor``: loaded already.
            progress: called with (done, n).
        """
        if images.count < 8:
            raise InputError(f"{name} has {images.count} images, too few for a reference; give at least 8")
        chosen = load_extractor(word) if extractor is None else extractor
        features, moments = features_of(images, chosen, progress)
        second = _chosen(images, np.sort(halves(images.count)[1][:YARDSTICKS]))  # of any class, however they are sorted
        degraded = {"blur": blurred(second), "noise": noisy(second, sigma=0.05, seed=0)}
        return cls(
            name, images.size, word, chosen.name, chosen.sha256, features, moments.mean, moments.covariance,
            {name: chosen.features(each) for name, each in degraded.items()},
        )  # fmt: skip

    def check(self, extractor: AnyExtractor, *, where: str = "") -> None:
        """Refuse an extractor other than the one that made these features."""
        if extractor.sha256 != self.extractor_sha256:
            raise InputError(
                f"the statistics {where or self.name} were made by {self.extractor} {self.extractor_sha256[:12]}, and "
                f"the extractor is {extractor.name} {extractor.sha256[:12]}; score with extractor = {self.word!r} of "
                "that version, or make them anew with `voltaspin reference`"
            )

    @property
    def moments(self) -> Moments:
        """Their moments, to be compared with others."""
        return Moments.known(len(self.features), self.mean, self.covariance)

    def reference(self) -> Reference:
        """The same as a reference of :func:`voltaspin.metrics.score_features`; nothing is standardised."""
        d = self.features.shape[1]
        return Reference(
            self.name, self.extractor, self.extractor_sha256, {"reference": self.features}, np.zeros(0, np.uint8),
            np.zeros(d), np.ones(d), {},
        )  # fmt: skip

    def save(self, path: Path | str) -> StatisticsResult:
        """Write the file, whole or not at all."""
        from safetensors.numpy import save_file

        about = {
            "kind": KIND, "schema_version": VERSION, "name": self.name, "size": self.size, "word": self.word,
            "extractor": self.extractor, "extractor_sha256": self.extractor_sha256, "environment": environment(),
        }  # fmt: skip
        tensors = {"features": self.features, "mean": self.mean, "covariance": self.covariance, **self.yardsticks}
        with replacing(path) as part:
            save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, part, {_ENTRY: json.dumps(about)})
        n, width = self.features.shape
        return StatisticsResult(
            file=Path(path), sha256=sha256_of(path), name=self.name, n=n, size=self.size, extractor=self.extractor,
            extractor_sha256=self.extractor_sha256, width=width,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path | str) -> FeatureStatistics:
        """Read a file of :meth:`save`.

        Raises:
            InputError: no such file, or one of another kind or version, or damaged.
        """
        from safetensors import SafetensorError, safe_open

        if not Path(path).is_file():
            raise InputError(f"{path} does not exist; make statistics with `voltaspin reference DATA --out {path}`")
        try:
            with safe_open(path, "np") as file:
                about: dict[str, Any] = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
                if (about.get("kind"), about.get("schema_version")) != (KIND, VERSION):
                    raise InputError(f"{path} holds no reference statistics of this version; make them anew")
                x, mean, covariance = (file.get_tensor(name) for name in ("features", "mean", "covariance"))
                yardsticks = {name: file.get_tensor(name) for name in ("blur", "noise") if name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, OSError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is damaged ({type(error).__name__}); make the statistics anew") from None
        n, d = x.shape if x.ndim == 2 else (0, 0)
        sets = (x, *yardsticks.values())
        fits = all(s.ndim == 2 and s.shape[1] == d and np.isfinite(s).all() for s in sets)
        if n < 8 or mean.shape != (d,) or covariance.shape != (d, d) or not fits:
            raise InputError(f"{path} is damaged (shapes {x.shape}, {mean.shape}); make the statistics anew")
        name, size, word, extractor, sha256 = (
            str(about.get(k)) for k in ("name", "size", "word", "extractor", "extractor_sha256")
        )
        return cls(name, size, word, extractor, sha256, x, mean, covariance, yardsticks)


def _chosen(images: ImageParts, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The images of these numbers, which rise: uint8 (k, channels, h, w)."""
    found, begin = list[NDArray[np.uint8]](), 0
    for part in images.parts():
        found.append(part[numbers[(begin <= numbers) & (numbers < begin + len(part))] - begin])
        begin += len(part)
        if begin > numbers[-1]:
            break
    return np.concatenate(found)
