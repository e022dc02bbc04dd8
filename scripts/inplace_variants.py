"""Few evaluations, variances, correctors, levels at rest of images in place: KID of 512 images (docs/inplace.md).

python scripts/inplace_variants.py few          # 8 and 12 evaluations, three variances, beside the Gaussian sampler
python scripts/inplace_variants.py correctors   # 24 evaluations: plain, kept to fewer planes, and with steps made twice

Shipped model, 31 ideal cells a pixel; a quarter of an hour of one core each.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.diffusion import load_pipeline, sample, shipped_model
from voltaspin.diffusion.bitflip import from_planes, to_planes
from voltaspin.diffusion.inplace import CellSpec
from voltaspin.diffusion.inplace.sampling import InPlaceSampler
from voltaspin.metrics import Extractor, reference, score_features
from voltaspin.noise import PseudoSource

IMAGES, BATCH, SEED = 512, 64, 11


class Corrected(InPlaceSampler):
    """Steps in a part of the way are made twice: up again by a forward step, and down with a new evaluation."""

    twice = (0.0, 1.0)

    @torch.no_grad()
    def batch(self, **_: Any) -> NDArray[np.uint8]:
        array, process, number = self.array, self.process, itertools.count(1)
        array.begin()
        for i, (t, u) in enumerate(itertools.pairwise([*self.times, -1])):
            again = self.twice[0] <= i / len(self.times) < self.twice[1] and u >= 0
            for k in range(1 + again):
                if k:
                    ratio, half = process.kept(t) / process.kept(u), process.cells / 2
                    spread = np.full(array.counts.shape, half / 2 * (1 - ratio**2))
                    array.step(half + ratio * (array.counts - half), spread, number=next(number))
                clean = self._clean(t, f"t = {t}")
                if u >= 0:
                    mean, _ = process.posterior(array.counts, clean, t, u)
                    array.step(mean, np.full_like(mean, process.average_variance(t, u)), number=next(number))
        return self._grey(clean)


def main(part: str) -> None:
    pipeline, extractor, real = load_pipeline(shipped_model()), Extractor.load(), reference("fashion-mnist")

    def show(name: str, images: NDArray[np.uint8]) -> None:
        kid = score_features(extractor.features(images), real).summary()[0][1]
        print(f"{name}: KID x1e3 {kid}", flush=True)

    def made(kind: type[InPlaceSampler], steps: int, variance: Any = "average") -> NDArray[np.uint8]:
        cells = CellSpec(junction="ideal")
        sampler = kind(pipeline, steps=steps, batch=BATCH, cells=cells, seed=SEED, variance=variance)
        return np.concatenate([sampler.batch() for _ in range(IMAGES // BATCH)])

    if part == "few":
        for steps in (8, 12):
            source = PseudoSource(seed=SEED)
            show(f"Gaussian, {steps} evaluations", sample(pipeline, source, count=IMAGES, steps=steps).images)
            for variance in ("average", "cells", "matched"):
                show(f"{variance}, {steps} evaluations", made(InPlaceSampler, steps, variance))
        return
    plain = made(InPlaceSampler, 24)
    show("24 steps", plain)
    for bits in (4, 5, 6):
        show(f"24 steps, kept to {bits} planes", from_planes(to_planes(plain, bits=bits), bits=bits))
    show("12 steps, all made twice", made(Corrected, 12))
    Corrected.twice = (0.5, 1.0)
    show("16 steps, the last half made twice", made(Corrected, 16))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("few", "correctors"):
        sys.exit(__doc__)
    main(sys.argv[1])
