"""What an array's pulses do at each step of a schedule, which is not what was asked of them.

A driver has finitely many pulses, p01 differs from p10, and every cell has a probability of its own, the same at every
step. What the diffusion sees are cells picked at random: the correlation of their bits with the clean ones is the
average over cells of a product over steps, and not the product of averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.diffusion.bitflip.process import Process
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.memory.pulses import PulseResponse

Floats = NDArray[np.float64]
Driven = (
    float | PulseResponse
)  #: what ``MagnetoelectricMemory.pulse`` takes: exact in ideal cells, else a pulse of the library

TOLERANCE = 0.02  #: farthest from the flip probability that was asked for
SPREAD_COUNTS = 0.01  #: of two pulses with the same mean the one whose cells agree; this share of the variance decides


@dataclass(frozen=True)
class Flips:
    """The pulses of a schedule.

    Args:
        wanted: flip probability asked of each step, (T,).
        pulses: one a step.
        mean, spread: of p01 and p10 over the cells, (T, 2) each.
        kept: correlation with the clean bits after 0 to T steps, on average over the cells, (T + 1,).
    """

    wanted: Floats
    pulses: tuple[Driven, ...]
    mean: Floats
    spread: Floats
    kept: Floats

    @classmethod
    def of(cls, memory: MagnetoelectricMemory, wanted: Sequence[float] | Floats) -> Flips:
        """Choose a pulse for each step; each makes up for what those before it left of the wanted correlation.

        Args:
            memory: whose pulses they are; ideal cells where it knows no junction.
            wanted: flip probabilities of a schedule, 0 to 1/2.

        Raises:
            InputError: no schedule, or a probability that no pulse of the junction comes near; it says the nearest.
        """
        asked = Process(wanted)
        if memory.junction is None:
            exact = np.array([1 - 2 * asked.marginal(t) for t in range(len(asked) + 1)])
            both = np.repeat(asked.betas[:, None], 2, 1)
            return cls(asked.betas, tuple(float(b) for b in asked.betas), both, np.zeros_like(both), exact)
        library = memory.library
        weights, p = library.over_cells(memory.spreads)
        mean = np.tensordot(weights, p, 1)
        variance = np.tensordot(weights, (p - mean) ** 2, 1)
        lasting = 1 - p.sum(-1)  # of the correlation, in each cell: (k, n, m)
        forward = mean.sum(-1) <= 1
        cells, kept, chosen = np.ones(len(weights)), [1.0], []
        for t, beta in enumerate(asked.betas, 1):
            # the flip probability that reaches the wanted correlation from where the array is
            now = kept[-1]
            needed = np.clip((1 - (1 - 2 * asked.marginal(t)) / now) / 2, 0, 0.5) if now > TOLERANCE else beta
            flips = (1 - np.tensordot(weights * cells, lasting, 1) / now) / 2
            cost = np.where(forward, (flips - needed) ** 2 + SPREAD_COUNTS * variance.mean(-1), np.inf)
            i, j = (int(k) for k in np.unravel_index(int(cost.argmin()), cost.shape))
            if abs(flips[i, j] - needed) > TOLERANCE:
                i, j = (int(k) for k in np.unravel_index(int(np.abs(flips - needed).argmin()), cost.shape))
                raise InputError(
                    f"step {t}: no pulse of this junction flips with a probability of {needed:.3g}; the nearest, "
                    f"{library.voltages[i]:.3g} V for {library.widths[j] * 1e9:.3g} ns, flips with {flips[i, j]:.3f}; "
                    "give another schedule, or a driver with more pulses"
                )
            chosen.append((i, j))
            cells = cells * lasting[:, i, j]
            kept.append(float(weights @ cells))
        rows, columns = np.array(chosen).T
        return cls(
            asked.betas, tuple(library.at(i, j) for i, j in chosen), mean[rows, columns],
            np.sqrt(variance[rows, columns]), np.array(kept),
        )  # fmt: skip

    @property
    def process(self) -> Process:
        """Its marginals are those of the array on average over the cells; bad luck of single cells stays outside."""
        ratio = np.divide(self.kept[1:], self.kept[:-1], out=np.zeros(len(self.wanted)), where=self.kept[:-1] > 1e-9)
        return Process(np.clip((1 - ratio) / 2, 0, 0.5))

    def report(self) -> dict[str, Any]:
        """How far the array is from what was asked, JSON-able."""
        asked, real = Process(self.wanted), self.process
        off = [real.marginal(t) - asked.marginal(t) for t in range(1, len(asked) + 1)]
        plain = Process(np.clip(self.mean.mean(1), 0, 0.5))
        return {
            "steps": len(asked),
            "different_pulses": len({p if isinstance(p, float) else p.pulse for p in self.pulses}),
            "largest_error_of_a_flip_probability": float(np.abs(self.mean.mean(1) - self.wanted).max()),
            "largest_error_of_a_marginal": float(np.abs(off).max()),
            "largest_p01_less_p10": float(np.abs(self.mean[:, 0] - self.mean[:, 1]).max()),
            "spread_over_mean_of_cells": float(np.median(self.spread.mean(1) / np.maximum(self.mean.mean(1), 1e-12))),
            "marginal_moved_by_equal_cells": float(
                max(abs(plain.marginal(t) - real.marginal(t)) for t in range(1, len(asked) + 1))
            ),
        }
