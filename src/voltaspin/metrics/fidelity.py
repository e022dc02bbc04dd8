"""FID, and its counterpart in DINOv2: distances in the features that torch-fidelity extracts, with our intervals.

torch-fidelity (extra ``fid``) brings the networks, their preprocessing (a resize to 299 or 224 pixels, which is part of
the number) and the FID's value; KID and all intervals are ours. "FID" is said of the Inception network only, whose
weights are checked by their hash; any other extractor's Frechet distance is an "FD".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import cache_folder, fetched, sha256_of
from voltaspin.core.quantity import Estimate
from voltaspin.metrics.distance import Score, fd, gaussian_fd, kid
from voltaspin.metrics.evaluation import Comparison, Row
from voltaspin.metrics.moments import AnyExtractor, ImageParts, Moments, Progress, features_of
from voltaspin.metrics.shipped import SETS, halves

#: The names of the command line, and torch-fidelity's names of network and layer.
EXTRACTORS = {"inception": ("inception-v3-compat", "2048"), "dinov2": ("dinov2-vit-l-14", "dinov2")}
#: Inception's weights as torch-fidelity publishes them.
WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_ADDRESS = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


@dataclass(frozen=True)
class FidelityExtractor:
    """A feature extractor of torch-fidelity.

    Args:
        name: torch-fidelity's name of the network, and its version.
        layer: whose outputs are the features.
        sha256: of the weights.
        frechet: what its Frechet distance is called, ``FID`` or ``FD``.
        model: the network in evaluation mode.
    """

    name: str
    layer: str
    sha256: str
    frechet: str
    model: Any

    @classmethod
    def load(cls, extractor: str = "inception") -> FidelityExtractor:
        """Load an extractor; its weights are fetched when they are first needed.

        Args:
            extractor: ``inception`` or ``dinov2``. For DINOv2 torch-fidelity has torch.hub fetch the network's code
                from facebookresearch/dinov2 and run it.

        Raises:
            InputError: an unknown name, torch-fidelity is not installed, or weights that are out of reach or wrong.
        """
        if extractor not in EXTRACTORS:
            raise InputError(f"extractor {extractor!r} is unknown; use shipped, {' or '.join(EXTRACTORS)}")
        fidelity = _torch_fidelity()
        import torch
        from torch_fidelity.utils import create_feature_extractor

        name, layer = EXTRACTORS[extractor]
        options: dict[str, Any] = {"cuda": torch.cuda.is_available(), "verbose": False}
        if extractor == "inception":
            weights = _inception_weights(Path(torch.hub.get_dir()) / "checkpoints")
            # torch-fidelity unpickles this file, which is why nothing but the file of the known hash gets there.
            options["feature_extractor_weights_path"] = str(weights)
        try:
            model = create_feature_extractor(name, [layer], **options)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise InputError(
                f"torch-fidelity cannot load {name} ({type(error).__name__}: {reason}); its code and weights are "
                "fetched when they are first needed, so go online once, or use extractor='inception'"
            ) from None
        sha256 = WEIGHTS_SHA256 if extractor == "inception" else _weights_hash(model)
        frechet = "FID" if extractor == "inception" else "FD"
        return cls(f"{name} of torch-fidelity {fidelity.__version__}", layer, sha256, frechet, model)

    def features(
        self, images: NDArray[np.uint8], *, batch: int = 64, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Features of images, which the network resizes itself.

        Args:
            images: uint8 (n, 1 or 3, h, w); grey ones are taken as three equal channels.
            batch: images at a time; the result depends on it by rounding only.
            progress: called with (done, n) after each batch.

        Returns:
            float32 (n, d); d is 2048 for Inception, 1024 for DINOv2.

        Raises:
            InputError: another type or shape.
        """
        import torch

        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
            raise InputError("images must be uint8 (n, channels, h, w); convert them first")
        if images.shape[1] not in (1, 3):
            raise InputError(f"images have {images.shape[1]} channels; give grey (1) or colour (3)")
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), batch):
                part = np.broadcast_to(
                    images[start : start + batch], (len(images[start : start + batch]), 3, *images.shape[2:])
                )
                found = self.model(torch.from_numpy(part.copy()).to(device))
                parts.append(self.model.convert_features_tuple_to_dict(found)[self.layer].cpu().numpy())
                if progress is not None:
                    progress(min(start + batch, len(images)), len(images))
        return np.concatenate(parts)


class FidelityEvaluation(Comparison):
    """Scores of a set of images against real ones, in an extractor of torch-fidelity.

    Args:
        images, reference, n_reference: as in :class:`~voltaspin.metrics.evaluation.Comparison`; ``images.fd`` is an FID
            where its name says so.
        floor: one half of the reference against the other.
        yardsticks: images of one half, blurred and with noise, against the other; none where the reference has none.
        size, reference_size: of the images and of the reference as they came, width x height.
    """

    KIND: ClassVar[str] = "fidelity-evaluation"
    size: str
    reference_size: str
    yardsticks: tuple[Row, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        return (self.images, self.floor, *self.yardsticks)

    def __str__(self) -> str:
        score, name = self.images.kid, self.images.fd.name if self.images.fd else "FID"
        resized = f", which resizes {self.size} pixels" if score.name == "FID" or "fidelity" in score.extractor else ""
        lines = [
            *self.table("KID x1e3", name),
            f"Against {self.n_reference} images of {self.reference}; 95 % intervals. Extractor "
            f"{score.extractor} {score.extractor_sha256[:12]}{resized}.",
            f"KID has no bias in n; {name} falls with n and compares only at equal n, reference, split and extractor.",
        ]
        if self.reference_size != self.size:
            lines.append(
                f"The reference is {self.reference_size} pixels, the images {self.size}: the score holds that too."
            )
        return "\n".join([*lines, *self.notes])


def evaluate_fidelity(
    images: NDArray[np.uint8] | ImageParts,
    real: NDArray[np.uint8] | ImageParts | tuple[NDArray[np.float32], Moments, str],
    *,
    reference: str,
    extractor: AnyExtractor | str = "inception",
    yardsticks: Mapping[str, NDArray[np.float32]] | None = None,
    noise: str = "",
    progress: Progress | None = None,
) -> FidelityEvaluation:
    """FID (or FD) and KID of images against real ones.

    Args:
        images: uint8 (n, 1 or 3, h, w), n >= 4, in memory or read in parts; an FID needs twice as many as features,
            4096 for Inception.
        real: the same of real images, n >= 8; or their features, moments and size.
        reference: name of the real images.
        extractor: loaded, or ``inception`` or ``dinov2``.
        yardsticks: features of images of the reference's second half that were degraded, ``blur`` and ``noise``.
        noise: where the noise of the images came from.
        progress: called with (done, n + m) while features are computed.

    Returns:
        KID by our estimator over all images (not over torch-fidelity's random subsets), with its interval; the FID as
        torch-fidelity computes it, with an interval of its expectation at this n.

    Raises:
        InputError: images of another type or shape, or too few.
    """
    scored = images if isinstance(images, ImageParts) else ImageParts.of(images)
    known = None
    if not isinstance(real, tuple):
        known = real if isinstance(real, ImageParts) else ImageParts.of(real)
    m = len(real[0]) if isinstance(real, tuple) else known.count if known else 0
    if scored.count < 4 or m < 8:
        raise InputError(f"{scored.count} images against {m} real ones are too few to score; give at least 4 against 8")
    chosen = FidelityExtractor.load(extractor) if isinstance(extractor, str) else extractor
    total = scored.count + (0 if known is None else known.count)

    def after(before: int) -> Progress | None:
        return None if progress is None else lambda done, n: progress(before + done, total)

    x, own = features_of(scored, chosen, after(0))
    if isinstance(real, tuple):
        y, theirs, size = real
    else:
        assert known is not None, "real images or their features"
        y, theirs = features_of(known, chosen, after(scored.count))
        size = known.size

    def row(subject: str, x: NDArray[np.float32], y: NDArray[np.float32], sums: tuple[Moments, Moments] | None) -> Row:
        def score(name: str, estimate: Estimate) -> Score:
            labels = {"extractor": chosen.name, "extractor_sha256": chosen.sha256}
            return Score.of(estimate, name=name, noise=noise if sums else "", **labels)

        scores, fewest, least = [score("KID", kid(x, y))], min(len(x), len(y)), 2 * x.shape[1]
        if fewest < least:
            reason = (
                f"No {chosen.frechet}: {fewest} images give no covariance of {x.shape[1]} features; score at least "
                f"{least} against {least}."
            )
            return Row(subject=subject, scores=tuple(scores), reason=reason)
        distance = fd(x, y)
        if sums:
            value = frechet_distance(*sums, by_fidelity=isinstance(chosen, FidelityExtractor))
            distance = Estimate.normal(value, distance.standard_error, n=len(x))
        return Row(subject=subject, scores=(*scores, score(chosen.frechet, distance)))

    first, second = (y[half] for half in halves(len(y)))
    return FidelityEvaluation(
        images=row("images", x, y, (own, theirs)),
        floor=row("the reference's halves", first, second, None),
        yardsticks=tuple(row(SETS[name], x, first, None) for name, x in (yardsticks or {}).items()),
        reference=reference,
        n_reference=len(y),
        size=scored.size,
        reference_size=size,
    )


def frechet_distance(x: Moments, y: Moments, *, by_fidelity: bool) -> float:
    """The Frechet distance of two sets of features, by torch-fidelity's own code where its networks made them."""
    if not by_fidelity:
        return gaussian_fd(x.mean, x.covariance, y.mean, y.covariance)
    _torch_fidelity()
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    first, second = ({"mu": m.mean, "sigma": m.covariance} for m in (x, y))
    return float(fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID])


def _torch_fidelity() -> Any:
    try:
        import torch_fidelity
    except Exception as error:  # also a torchvision that does not fit the installed torch
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"this extractor needs torch-fidelity ({type(error).__name__}: {reason}); pip install 'voltaspin[fid]', "
            "with a torchvision that fits the installed torch"
        ) from None
    return torch_fidelity


def _inception_weights(checkpoints: Path) -> Path:
    """The weights file of the known hash: where torch-fidelity itself keeps it, else our cache, else fetched."""
    known = checkpoints / WEIGHTS
    if known.is_file() and sha256_of(known) == WEIGHTS_SHA256:
        return known
    return fetched(
        WEIGHTS_ADDRESS,
        WEIGHTS,
        cache_folder() / "torch-fidelity",
        known_hash=f"sha256:{WEIGHTS_SHA256}",
        missing="the weights of Inception are not in the cache",
        remedy=f"fetch them elsewhere (SHA-256 {WEIGHTS_SHA256[:12]}...) and put them into {checkpoints}",
    )


def _weights_hash(model: Any) -> str:
    whole = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        whole.update(name.encode())
        whole.update(tensor.cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()
