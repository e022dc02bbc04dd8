"""The feature extractors: small convolutional classifiers of one data set each, named, hashed and frozen.

Each was trained once, by ``scripts/train_extractor.py``, and is shipped: one on the first 50,000 Fashion-MNIST training
images, one on the first 40,000 of CIFAR-10. A score names its extractor with the hash of its weights, since a Frechet
or kernel distance means nothing without the extractor that gave it. None of them is the Inception network, so their
distance is an "FD", never an FID.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.extras import NeedsExtra
from voltaspin.core.files import read_object, sha256_of

if TYPE_CHECKING:
    from torch import nn

DEFAULT_EXTRACTOR = "voltaspin-fmnist-cnn-1"
COLOUR_EXTRACTOR = "voltaspin-cifar10-cnn-1"
FEATURES = 64  #: width of the penultimate layer
SIDE = 28  #: of the images of the default extractor, which have one channel
CLASSES = 10
_WIDTHS = ((32, 1), (32, 2), (64, 1), (64, 2), (96, 1), (96, 1))


@NeedsExtra("voltaspin.metrics.features.network")
def network(channels: int = 1) -> nn.Module:
    """The classifier, with random weights: (n, channels, h, w) in [-1, 1] to ((n, 64) features, (n, 10) logits).

    Six 3x3 convolutions with batch normalisation and GELU (the last sees the whole image), the mean over
    the image, a linear layer to the 64 features after a GELU, a linear layer to the ten classes.
    """
    from torch import Tensor, nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            width = channels
            for out, stride in _WIDTHS:
                layers += [nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.GELU()]
                width = out
            self.body = nn.Sequential(*layers)
            self.project = nn.Sequential(nn.Linear(width, FEATURES), nn.GELU())
            self.head = nn.Linear(FEATURES, CLASSES)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            features = self.project(self.body(x).mean(dim=(2, 3)))
            return features, self.head(features)

    return Classifier()


def extractor_folder(name: str = DEFAULT_EXTRACTOR) -> Path:
    """Return the folder of a shipped extractor."""
    return Path(str(resources.files("voltaspin"))) / "data" / f"extractor-{name}"


@dataclass(frozen=True, repr=False)
class Extractor:
    """A frozen extractor: weights whose hash was checked, and the card that tells their story.

    Args:
        name: as scores quote it.
        sha256: of the weights file.
        card: what was trained on what, and the accuracy reached.
        model: the network in evaluation mode.
        shape: (channels, height, width) of the images that it takes.
    """

    name: str
    sha256: str
    card: dict[str, Any]
    model: nn.Module
    shape: tuple[int, int, int] = (1, SIDE, SIDE)
    frechet: ClassVar[str] = "FD"

    def __repr__(self) -> str:
        return f"Extractor({self.name}, sha256 {self.sha256[:12]}...)"

    @classmethod
    @NeedsExtra("voltaspin.metrics.Extractor")
    def load(cls, folder: Path | str | None = None) -> Extractor:
        """Load an extractor, the shipped one by default.

        Args:
            folder: holds ``weights.safetensors`` and ``card.json``.

        Raises:
            InputError: a file is missing, is of another kind, or the weights are not those of the card.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        home = extractor_folder() if folder is None else Path(folder)
        weights = home / "weights.safetensors"
        card = read_object(home / "card.json")
        if card.get("kind") != "extractor" or card.get("schema_version") != 1:
            raise InputError(f"{home}/card.json is not the card of an extractor (kind 'extractor', version 1)")
        if not weights.is_file():
            raise InputError(f"{weights} does not exist; install voltaspin again")
        found = sha256_of(weights)
        if found != card["sha256"]:
            raise InputError(
                f"{weights}: SHA-256 {found[:16]}... is not {str(card['sha256'])[:16]}... of its card; "
                "scores of changed weights compare with nothing: install voltaspin again or name them anew"
            )
        shape = tuple(card.get("shape", (1, SIDE, SIDE)))
        model = network(shape[0])
        try:
            missing, unexpected = model.load_state_dict(load_file(weights), strict=False)
        except (SafetensorError, RuntimeError) as error:
            raise InputError(f"{weights} does not hold this network: {str(error).splitlines()[0]}") from None
        # The counters of batch normalisation serve training only and are not stored.
        missing = [key for key in missing if not key.endswith("num_batches_tracked")]
        if missing or unexpected:
            raise InputError(f"{weights} does not hold this network: missing {missing}, unexpected {unexpected}")
        return cls(str(card["name"]), found, card, model.eval(), shape)

    def features(
        self,
        images: NDArray[np.uint8],
        *,
        batch: int = 64,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Penultimate-layer features of images.

        Args:
            images: uint8, (n, 1, 28, 28) of Fashion-MNIST or (n, 3, 32, 32) of CIFAR-10, 0 black to 255 white.
            batch: images per pass; the result depends on it by rounding only.
            progress: called with (done, n) after each batch.

        Returns:
            float32 (n, 64), not standardised.

        Raises:
            InputError: another type or shape, or no image.
        """
        return self._run(images, batch, progress, which=0)

    def logits(self, images: NDArray[np.uint8], *, batch: int = 64) -> NDArray[np.float32]:
        """Class scores of images, as :meth:`features`: float32 (n, 10)."""
        return self._run(images, batch, None, which=1)

    def _run(
        self,
        images: NDArray[np.uint8],
        batch: int,
        progress: Callable[[int, int], None] | None,
        *,
        which: int,
    ) -> NDArray[np.float32]:
        import torch

        check_images(images, self.shape)
        if batch < 1:
            raise InputError(f"batch {batch} must be at least 1 image")
        n, parts = len(images), []
        with torch.inference_mode():
            for start in range(0, n, batch):
                part = torch.from_numpy(images[start : start + batch].astype(np.float32))
                parts.append(self.model(part / 127.5 - 1.0)[which].numpy())
                if progress is not None:
                    progress(min(start + batch, n), n)
        return np.concatenate(parts)


def check_images(images: NDArray[np.uint8], shape: tuple[int, int, int] = (1, SIDE, SIDE)) -> None:
    """Refuse what is not a stack of uint8 of that shape; the message says how to convert it."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(
            f"images are {kind}, not uint8; from [-1, 1] use ((x + 1) * 127.5).round().clip(0, 255).astype('uint8')"
        )
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[1] != shape[0]:
        has, takes = (("3 channels", "grey ones"), ("1 channel", "colour ones"))[images.shape[1] == 1]
        other = {1: "cifar10, for colour of 32x32", 3: "shipped, for grey garments of 28x28"}[shape[0]]
        raise InputError(
            f"images have {has} (shape {images.shape}), the extractor takes {takes}; convert them, or take the "
            f"extractor {other}"
        )
    if images.ndim != 4 or images.shape[1:] != shape:
        remedy = "add the channel with images[:, None], and " if images.ndim == 3 and shape[0] == 1 else ""
        raise InputError(
            f"images have shape {images.shape}, not (n, {', '.join(map(str, shape))}); {remedy}resize before scoring "
            "(the resize is part of the number)"
        )
    if not len(images):
        raise InputError("no images to score; give at least one")
