"""How often the 95 % interval of ``fd_extrapolated`` holds the true distance of two Gaussians, by n / d and spectrum.

``python scripts/fd_coverage.py`` prints the table of docs/limits.md (about 40 minutes on one core).
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from voltaspin.metrics.distance import fd_extrapolated, gaussian_fd, least_images

Array = NDArray[np.float64]
SPECTRA = ("white", "power law", "steep", "random")
#: Standard deviations by which the mean moves and the spread of the scales; none, little, much.
DISTANCES = {"none": 0.0, "little": 0.1, "much": 0.6}


def covariance(spectrum: str, d: int, rng: np.random.Generator) -> Array:
    """Eigenvalues 1, 1/i, exp(-10 i/d), or those of a random matrix as in Marchenko and Pastur, turned at random."""
    if spectrum == "random":
        root = rng.normal(size=(d, d)) / np.sqrt(d)
        return np.asarray(root @ root.T + 0.1 * np.eye(d))
    i = np.arange(d)
    values = {"white": np.ones(d), "power law": 1 / (1 + i), "steep": np.exp(-10 * i / d)}[spectrum]
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return np.asarray((turn * values) @ turn.T)


def coverage(
    d: int, n: int, m: int, spectrum: str, distance: str, runs: int, seed: int = 0
) -> tuple[float, float, float]:
    """Share of intervals that hold the truth, mean error and mean half width over the spread of the estimates."""
    rng = np.random.default_rng([seed, d, n, m, SPECTRA.index(spectrum), list(DISTANCES).index(distance)])
    cov, size = covariance(spectrum, d, rng), DISTANCES[distance]
    root = np.linalg.cholesky(cov)
    shift = size * root @ rng.normal(size=d) * 2 / np.sqrt(d)
    other = root @ np.diag(1 + size * (rng.uniform(size=d) - 0.3))
    truth = gaussian_fd(shift, other @ other.T, np.zeros(d), cov) if size else 0.0
    found = [
        fd_extrapolated(rng.normal(size=(n, d)) @ other.T + shift, rng.normal(size=(m, d)) @ root.T, seed=i)
        for i in range(runs)
    ]
    values = np.array([e.value for e in found])
    held = float(np.mean([e.low <= truth <= e.high for e in found]))
    return (
        held,
        float((values.mean() - truth) / values.std(ddof=1)),
        float(np.mean([e.std for e in found]) / values.std(ddof=1)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 64, 128, 256])
    parser.add_argument("--ratios", type=int, nargs="+", default=[1, 12])
    parser.add_argument("--work", type=float, default=4e4, help="Decides the runs of a cell, 30 to 400.")
    args = parser.parse_args()
    print("| d | n | m | runs | worst coverage | mean coverage | largest bias / spread | error / spread |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for d in args.widths:
        runs = max(30, min(400, round(args.work * 10 / d**1.5)))
        for ratio in args.ratios:
            n = max(ratio * d, least_images(d, extrapolate=True))
            for m in (n, 20 * n):
                rows = np.array([coverage(d, n, m, s, t, runs) for s in SPECTRA for t in DISTANCES])
                biased = rows[np.abs(rows[:, 1]).argmax(), 1]
                print(
                    f"| {d} | {n} | {m} | {runs} | {rows[:, 0].min():.3f} | {rows[:, 0].mean():.3f} | "
                    f"{biased:+.2f} | "
                    f"{rows[:, 2].min():.2f} to {rows[:, 2].max():.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
