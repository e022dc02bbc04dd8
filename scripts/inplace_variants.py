"""Variants of images in place, scored by the KID of 512 images (docs/inplace.md).

python scripts/inplace_variants.py few          # 8 and 12 evaluations, three variances, beside the Gaussian sampler
python scripts/inplace_variants.py correctors   # 24 evaluations: plain, kept to fewer planes, and with steps made twice
python scripts/inplace_variants.py growing      # 24 evaluations: more cells for a pixel in the last steps
python scripts/inplace_variants.py last-step    # 24 evaluations: other draws, or another time, at the last evaluations

Shipped model, ideal cells, 31 a pixel unless said; a quarter of an hour of one core each. The last two also print the
difference from the plain process of the same seed. A folder as a second argument keeps the features of every variant of
the last two, so that a run that was stopped goes on with those that are missing; a third one is their seed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voltaspin.diffusion import load_pipeline, sample, shipped_model
from voltaspin.diffusion.bitflip import from_planes, to_planes
from voltaspin.diffusion.inplace import CellSpec, InPlaceOptions, PixelArray, Process, choose
from voltaspin.diffusion.inplace.sampling import InPlaceSampler
from voltaspin.diffusion.sampling import predict_x0
from voltaspin.metrics import Extractor, reference, score_features
from voltaspin.metrics.evaluation import paired_difference
from voltaspin.noise import PseudoSource

Floats = NDArray[np.float64]

IMAGES, BATCH, SEED, FRESH = 512, 64, 11, 31  # the last is the seed of the last two parts
IDEAL = CellSpec(junction="ideal")


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
                    mean = process.posterior_mean(array.counts, clean, t, u)
                    array.step(mean, process.average_variance(t, u), number=next(number))
        return self._grey(clean)


def grow(now: PixelArray, larger: PixelArray, clean: ArrayLike, t: int, u: int, *, number: int) -> None:
    """Make a reverse step from one array into another that has more cells for a pixel.

    At one time the network's input x = scale (2 n / N - 1) has the same mean and variance for every N. So the count of
    the smaller array says the same x as the real number n' of the larger process with scale' (2 n' / N' - 1) = x. The
    posterior mean of the larger process is linear in n', and its average variance is that of a Gaussian step; after
    the step, mean and variance of the count are therefore those of the larger process at ``u``, without a rounding in
    between. The larger array begins as the whole number next to n' in certain writes, and the step draws its coins.

    Args:
        now: holds the counts at ``t``; larger: gets those at ``u``.
        clean: predicted pixels, -1 to 1, (planes, pixels).
        t, u: times of the step; number: of the step, for the dither.
    """
    old, new = now.process, larger.process
    level = (2 * now.counts / old.cells - 1) * old.scale(t) / new.scale(t)
    equivalent = new.cells * (1 + level) / 2
    larger.write(np.round(equivalent).astype(np.int64))
    mean = new.posterior_mean(equivalent, clean, t, u)
    larger.step(mean, new.average_variance(t, u), number=number)


class Growing(InPlaceSampler):
    """The number of cells of a pixel is larger from some evaluations on; ``growth``: evaluation and N of each."""

    growth: dict[int, int]

    @torch.no_grad()
    def batch(self, **_: Any) -> NDArray[np.uint8]:
        first = self.array
        if not hasattr(self, "larger"):
            self.larger = {
                i: PixelArray(Process(self.process.alpha_bar, n), planes=first.shape[0], pixels=first.shape[2],
                              cells=IDEAL, seed=self.options.seed + n)
                for i, n in self.growth.items()
            }  # fmt: skip
        first.begin()
        for i, (t, u) in enumerate(itertools.pairwise([*self.times, -1])):
            clean = self._clean(t, f"t = {t}")
            if u < 0:
                break
            if i + 1 in self.larger:
                grow(self.array, self.larger[i + 1], clean, t, u, number=i + 1)
                self.array = self.larger[i + 1]
                self.process = self.array.process
            else:
                mean = self.process.posterior_mean(self.array.counts, clean, t, u)
                self.array.step(mean, self.process.average_variance(t, u), number=i + 1)
        self.array, self.process = first, first.process
        return self._grey(clean)


def exact_draw(
    process: Process, counts: NDArray[np.int64], clean: ArrayLike, t: int, u: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the counts at ``u`` with the variance that the cells have, given their count and the clean pixel.

    The plan of a step has one programmed cell. For a nearly black or white pixel its variance falls short, since there
    is no room for coins: there J cells get the probability mean / J each, with variance mean (1 - mean / J), and J is
    dithered between two whole numbers so that the variance is right on average.
    """
    n = process.cells
    mean, wanted = process.posterior(counts, clean, t, u)
    b, c, f = choose(mean, wanted, n)
    drawn = b + rng.binomial(c, 0.5) + (rng.random(f.shape) < f)
    _, c, f = choose(mean, np.full(mean.shape, n), n)
    short = c / 4 + f * (1 - f) < wanted  # although this is the plan of the largest variance
    small = np.where(short, np.minimum(mean, n - mean), 1.0)  # expected ones, or zeros where those are fewer
    aim = np.where(short, np.minimum(wanted, small * (1 - small / n)), 0.0)
    low = np.clip(np.floor(small / (1 - aim / small)), np.ceil(small), n - 1)
    share = (aim - small * (1 - small / low)) / (small**2 / (low * (low + 1)))
    J = (low + (rng.random(small.shape) < share)).astype(np.int64)
    few = rng.binomial(J, small / J)
    return np.where(short, np.where(mean <= n / 2, few, n - few), drawn).astype(np.int64)


def followed(process: Process, spread: Floats, mean: Floats, variance: float, t: int, u: int, *, number: int) -> Floats:
    """Variance of each count at ``u`` in ideal cells, around what the clean pixel makes it on average.

    Args:
        spread: at ``t``.
        mean, variance: that the step asks for; the plan does not always have the variance.
        t, u, number: of the step.
    """
    _, c, f = choose(mean, variance, process.cells, step=number)
    slope = (process.kept(t) * (1 - process.kept(u) ** 2)) / (process.kept(u) * (1 - process.kept(t) ** 2))
    return np.asarray(slope**2 * spread + c / 4 + f * (1 - f))


def matching_time(process: Process, u: int, spread: ArrayLike) -> NDArray[np.int64]:
    """The time at which the signal-to-noise ratio is that of counts with a variance of ``spread`` at ``u``."""
    noise = (2 * process.scale(u) / process.cells) ** 2 * np.asarray(spread, np.float64)
    now = float(process.alpha_bar[u])
    return np.asarray(np.abs(process.alpha_bar - (now / (now + noise))[..., None]).argmin(-1))


class LastStep(InPlaceSampler):
    """The last two evaluations see other counts, or another time.

    ``how``: ``exact`` draws the last two times with the variance that the cells have (:func:`exact_draw`); ``none``
    sets the last count to the whole number next to its mean; ``time`` calls the network of each image, at its last two
    evaluations, at the time that belongs to the variance that its plans really had.
    """

    how = "exact"

    @torch.no_grad()
    def batch(self, **_: Any) -> NDArray[np.uint8]:
        array, process, last = self.array, self.process, len(self.times) - 1
        rng = np.random.Generator(np.random.Philox(key=[self.options.seed, self.batches]))
        array.begin()
        spread = np.full(array.counts.shape, process.cells / 4)
        for i, (t, u) in enumerate(itertools.pairwise([*self.times, -1])):
            clean = (
                self._clean_at_matching_time(t, spread)
                if self.how == "time" and i >= last - 1
                else self._clean(t, f"t = {t}")
            )
            if u < 0:
                break
            mean = process.posterior_mean(array.counts, clean, t, u)
            variance = process.average_variance(t, u)
            spread = followed(process, spread, mean, variance, t, u, number=i + 1)
            if self.how == "exact" and i >= last - 2:
                array.write(exact_draw(process, array.counts, clean, t, u, rng))
            elif self.how == "none" and i == last - 1:
                array.write(np.round(mean).astype(np.int64))
            else:
                array.step(mean, variance, number=i + 1)
        self.batches += 1
        return self._grey(clean)

    def _clean_at_matching_time(self, t: int, spread: Floats) -> Floats:
        process, shape, scheduler = self.process, self.pipeline.image_shape, self.pipeline.scheduler
        times = matching_time(process, t, spread.reshape(self.options.batch, -1).mean(1))
        then = scheduler.alphas_cumprod[torch.from_numpy(times)][:, None, None, None]
        level = torch.from_numpy(2 * self.array.counts / process.cells - 1).float().reshape(self.options.batch, *shape)
        x = process.scale(t) * level * (then / scheduler.alphas_cumprod[t]).sqrt()
        output = self.pipeline.unet(x, torch.from_numpy(times)).sample
        x0, _ = predict_x0(output, x, then, scheduler)
        return x0.clamp(-1, 1).numpy().astype(np.float64).reshape(self.array.counts.shape)


def main(part: str, keep: Path | None = None, fresh: int = FRESH) -> None:
    pipeline, extractor, real = load_pipeline(shipped_model()), Extractor.load(), reference("fashion-mnist")

    def show(name: str, images: NDArray[np.uint8]) -> None:
        kid = score_features(extractor.features(images), real).summary()[0][1]
        print(f"{name}: KID x1e3 {kid}", flush=True)

    def made(
        kind: type[InPlaceSampler], steps: int, variance: Any = "average", *, seed: int = SEED, cells: int = 31,
        **more: Any,
    ) -> NDArray[np.uint8]:  # fmt: skip
        options = InPlaceOptions(
            steps=steps, batch=BATCH, cells_per_pixel=cells, cells=IDEAL, seed=seed, variance=variance
        )
        sampler = kind(pipeline, options)
        vars(sampler).update(more)
        return np.concatenate([sampler.batch() for _ in range(IMAGES // BATCH)])

    def compare(variants: dict[str, Callable[[], NDArray[np.uint8]]]) -> None:
        plain: NDArray[Any] | None = None
        for name, make in variants.items():
            file = None if keep is None else keep / f"{name.replace(' ', '-').replace(',', '')}.npy"
            if file is not None and file.is_file():
                features = np.load(file)
            else:
                features = extractor.features(make())
                if file is not None:
                    np.save(file, features)
            print(f"{name}: KID x1e3 {score_features(features, real).summary()[0][1]}", flush=True)
            if plain is None:
                plain = features
            else:
                print(f"    less the plain process: {paired_difference(features, plain, real)}", flush=True)

    if part == "few":
        for steps in (8, 12):
            source = PseudoSource(seed=SEED)
            show(f"Gaussian, {steps} evaluations", sample(pipeline, source, count=IMAGES, steps=steps).images)
            for variance in ("average", "cells", "matched"):
                show(f"{variance}, {steps} evaluations", made(InPlaceSampler, steps, variance))
    elif part == "correctors":
        plain = made(InPlaceSampler, 24)
        show("24 steps", plain)
        for bits in (4, 5, 6):
            show(f"24 steps, kept to {bits} planes", from_planes(to_planes(plain, bits=bits), bits=bits))
        show("12 steps, all made twice", made(Corrected, 12))
        show("16 steps, the last half made twice", made(Corrected, 16, twice=(0.5, 1.0)))
    elif part == "growing":
        compare({
            "31 cells": lambda: made(InPlaceSampler, 24, seed=fresh),
            "31 cells, 127 in the last 6": lambda: made(Growing, 24, seed=fresh, growth={18: 127}),
            "31 cells, 63 in the last 12": lambda: made(Growing, 24, seed=fresh, growth={12: 63}),
            "15 cells, 31 in the last 8": lambda: made(Growing, 24, seed=fresh, cells=15, growth={16: 31}),
        })  # fmt: skip
    else:
        compare({
            "31 cells": lambda: made(InPlaceSampler, 24, seed=fresh),
            "last two times corrected": lambda: made(LastStep, 24, seed=fresh, how="time"),
            "last draw left out": lambda: made(LastStep, 24, seed=fresh, how="none"),
            "last two draws exact": lambda: made(LastStep, 24, seed=fresh, how="exact"),
        })  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4) or sys.argv[1] not in ("few", "correctors", "growing", "last-step"):
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None, *map(int, sys.argv[3:]))
