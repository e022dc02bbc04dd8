"""The shipped reference: features of held-out real images, and of real images with blur and noise.

The held-out reference is the test split. The second real sample is the last 10,000 training images, which
the extractor never saw: no generator can be told from real images below its score, the floor. The blurred and the
noisy images are made from that second sample, not from the reference, so that no image is compared with a
copy of itself. ``scripts/make_reference.py`` writes the files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object, sha256_of
from voltaspin.metrics.distance import KernelSums, checked_features, within
from voltaspin.metrics.features import Extractor
from voltaspin.metrics.manifold import Manifold

#: Stored sets of features, and how a table names them.
SETS = {
    "reference": "held-out real images",
    "real": "other real images",
    "blur": "real images, 3x3 mean blur",
    "noise": "real images, noise of sigma 0.05",
}


@dataclass(frozen=True, repr=False)
class Reference:
    """Stored features of one data set under one extractor.

    Args:
        name: of the data set.
        extractor, extractor_sha256: the network that made the features.
        features: by the names in ``SETS``, float32 (n, 64), as the extractor gave them.
        labels: class of each image of the reference, uint8 (n,).
        centre, scale: mean and standard deviation of each feature over the reference, float64 (64,); every
            score standardises by these, so an FD counts in variances of the reference.
        card: how it was made, with hashes of data and files.
    """

    name: str
    extractor: str
    extractor_sha256: str
    features: dict[str, NDArray[np.float32]]
    labels: NDArray[np.uint8]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    card: dict[str, Any]

    def __repr__(self) -> str:
        sets = ", ".join(f"{name} {len(features):,}" for name, features in self.features.items())
        return f"Reference({self.name}, features of {self.extractor}: {sets})"

    def standardised(self, features: ArrayLike) -> NDArray[np.float64]:
        """Features in the units of the reference: float64 (n, 64)."""
        return (checked_features(features, "features", 1) - self.centre) / self.scale

    @cached_property
    def target(self) -> NDArray[np.float64]:
        """The standardised held-out features that everything is scored against."""
        return self.standardised(self.features["reference"])

    @cached_property
    def target_sums(self) -> KernelSums:
        """The reference's own term of the kernel distance, the same for every score."""
        return within([(1.0, self.target)])

    @cached_property
    def manifold(self) -> Manifold:
        """The region that the held-out images cover, for the precision of every score."""
        return Manifold.of(self.target)

    def labels_of(self, noise: str, shared: str) -> dict[str, str]:
        """Return the labels of a score against this reference."""
        return {
            "extractor": self.extractor,
            "extractor_sha256": self.extractor_sha256,
            "noise": noise,
            "shared": shared,
        }

    def check(self, extractor: Extractor) -> None:
        """Refuse an extractor other than the one that made these features."""
        if extractor.sha256 != self.extractor_sha256:
            raise InputError(
                f"reference {self.name!r} was made by {self.extractor} {self.extractor_sha256[:16]}..., the "
                f"extractor is {extractor.name} {extractor.sha256[:16]}...; use that extractor, or make a "
                "reference with scripts/make_reference.py"
            )


def reference_folder(name: str) -> Path:
    """Return the folder of shipped statistics."""
    return Path(str(resources.files("voltaspin"))) / "data" / f"reference-{name}"


@lru_cache(maxsize=4)
def _shipped(name: str) -> Reference:
    return load_reference(reference_folder(name))


def reference(name: str = "fashion-mnist", *, extractor: Extractor | None = None) -> Reference:
    """Shipped reference statistics.

    Args:
        name: ``fashion-mnist``.
        extractor: refuse unless this one made them.

    Raises:
        InputError: an unknown name, a changed file, or statistics of another extractor.
    """
    known = sorted(p.name.removeprefix("reference-") for p in reference_folder("").parent.glob("reference-*"))
    if name not in known:
        raise InputError(f"no reference statistics for {name!r}; known: {', '.join(known) or 'none'}")
    found = _shipped(name)
    if extractor is not None:
        found.check(extractor)
    return found


def load_reference(folder: Path | str) -> Reference:
    """Load reference statistics from a folder that ``scripts/make_reference.py`` wrote.

    Raises:
        InputError: a file is missing or is not what the card says.
    """
    from safetensors.numpy import load_file

    home = Path(folder)
    card = read_object(home / "card.json")
    if card.get("kind") != "reference" or card.get("schema_version") != 1:
        raise InputError(f"{home}/card.json is not the card of a reference (kind 'reference', version 1)")
    path = home / "features.safetensors"
    if not path.is_file() or sha256_of(path) != card["sha256"]:
        raise InputError(f"{path} is missing or is not the file of its card; install voltaspin again")
    stored = load_file(path)
    return Reference(
        name=card["name"],
        extractor=card["extractor"],
        extractor_sha256=card["extractor_sha256"],
        features={key: stored[key].astype(np.float32) for key in SETS},
        labels=stored["labels"],
        centre=stored["centre"],
        scale=stored["scale"],
        card=card,
    )


def garments() -> NDArray[np.uint8]:
    """32 garments of the Fashion-MNIST test split, for pictures where no data set is installed.

    Returns:
        uint8 (32, 1, 28, 28), the first three or four of each class in the order of the classes.

    Source: Fashion-MNIST, Zalando SE 2017, MIT licence (arXiv 1708.07747).
    """
    from PIL import Image

    with Image.open(reference_folder("fashion-mnist") / "garments.png") as strip:
        pixels = np.asarray(strip.convert("L"))
    return np.ascontiguousarray(pixels.reshape(28, 32, 28).transpose(1, 0, 2)[:, None])


def halves(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Deal ``n`` images into two halves of equal size, by chance: sets may give their classes in turn.

    Returns:
        The numbers of each half; the same ones for every set of ``n``.
    """
    from voltaspin.random.streams import Stream

    order = np.argsort(Stream.of(0, "metrics", "halves").uniforms(n), kind="stable")
    return order[: n // 2], order[n // 2 : n // 2 * 2]


def blurred(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """3x3 mean, black outside the image, rounded to 8 bit: uint8 (n, 1, h, w)."""
    padded = np.pad(images.astype(np.uint32), ((0, 0), (0, 0), (1, 1), (1, 1)))
    h, w = images.shape[2:]
    total = np.add.reduce([padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)])
    return ((2 * total + 9) // 18).astype(np.uint8)


def noisy(images: NDArray[np.uint8], *, sigma: float, seed: int) -> NDArray[np.uint8]:
    """Gaussian noise of ``sigma`` of the full range, clipped and rounded to 8 bit: uint8, same shape."""
    from voltaspin.random.streams import Stream

    noise = Stream.of(seed, "metrics", "yardstick").normals(images.size).reshape(images.shape)
    return np.clip(np.rint(images + 255 * sigma * noise), 0, 255).astype(np.uint8)


def data_sha256(images: NDArray[np.uint8]) -> str:
    """SHA-256 of the pixels."""
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
