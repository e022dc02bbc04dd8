"""How often the verdict of `voltaspin randomness` calls ideal bits not ideal: at most in 1 % of the recordings.

python benchmarks/verdict.py [recordings] prints, for several lengths, cells and sequences, the share of recordings of
Philox bits that are called so, with its 95 % interval, and which part of the verdict said it. 2,000 recordings of each
kind take some ten minutes on one core; docs/randomness.md has the result.
"""

from __future__ import annotations

import sys
from collections import Counter

from scipy.stats import beta

from voltaspin.noise import PseudoSource, examine
from voltaspin.noise.source import NoiseSource

KINDS = ((100_000, 1, 1), (100_000, 50, 4), (20_000, 1, 1), (1_000_000, 7, 1))  # bits, cells, sequences


class Cells:
    """A source in which so many cells take turns."""

    def __init__(self, source: NoiseSource, lanes: int) -> None:
        self._source, self.lanes = source, lanes

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)


def main(recordings: int) -> None:
    for n, lanes, sequences in KINDS:
        called, why = 0, Counter[str]()
        count = recordings if n < 500_000 else recordings // 5
        for seed in range(count):
            source = Cells(PseudoSource(seed=seed), lanes)
            found = examine(source, n_bits=n // sequences, sequences=sequences)  # type: ignore[arg-type]
            called += not found.ideal
            why.update(" ".join(fault.split()[:3]) for fault in found.faults)
        low, high = beta.ppf(0.025, called, count - called + 1), beta.ppf(0.975, called + 1, count - called)
        print(
            f"{n} bits, {lanes} cells, {sequences} sequences: {called} of {count} called not ideal, "
            f"{100 * called / count:.2f} % ({100 * (low if called else 0):.2f} to {100 * high:.2f}); {dict(why)}",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
