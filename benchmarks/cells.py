"""The examination of cells: how often good cells are left out, how often bad ones, and how long it takes.

python benchmarks/cells.py [arrays] prints the seconds for 1e8 bits of 65,536 cells; the share of ideal arrays that lose
any cell, with its 95 % interval; and the share of cells at a multiple of a limit that are left out. 1,000 arrays take
some minutes on one core; docs/cells.md has the result.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scipy.stats import binomtest

from voltaspin.noise import CellCriteria
from voltaspin.noise.examination.cell_tests import holm, p_values
from voltaspin.noise.examination.cells import CellReader, judged, layout_of
from voltaspin.requirements.cells import cell_criteria
from voltaspin.requirements.specification import NoiseSpecification

ZERO = CellCriteria(max_bias=0.0, max_correlation=0.0, max_drift=0.0, min_entropy=1.0)
CELLS = 256


def left_out(bits: np.ndarray, criteria: CellCriteria) -> np.ndarray:
    """Cells of bits (rounds, cells) that are left out: bool (cells,)."""
    reader = CellReader(bits.shape[1])
    reader.feed_bits(bits.ravel())
    found = p_values(reader.counts(), criteria)
    return np.logical_or.reduce([holm(p, criteria.share) for p in found.values()])


def false_alarms(arrays: int) -> None:
    for rounds in (100, 1000):
        lost = sum(
            left_out(np.random.default_rng(s).integers(0, 2, (rounds, CELLS), dtype=np.uint8), ZERO).any()
            for s in range(arrays)
        )
        low, high = binomtest(int(lost), arrays).proportion_ci(0.95, "exact")
        print(
            f"{rounds} rounds of {CELLS} ideal cells, limits of zero: {lost} of {arrays} arrays lose a cell, "
            f"{100 * lost / arrays:.2f} % ({100 * low:.2f} to {100 * high:.2f}); stated: 1 %",
            flush=True,
        )


def power(arrays: int) -> None:
    limits = cell_criteria(NoiseSpecification.shipped())
    for rounds in (1000, 4000, 16_000):
        for name, limit in (("bias", limits.max_bias), ("correlation", limits.max_correlation), ("drift", 0.0)):
            assert limit is not None
            for times in (1.5, 2.0, 3.0):
                found = bad = 0
                for seed in range(max(1, arrays * 1000 // rounds // 100)):
                    rng = np.random.default_rng(seed)
                    bits = rng.integers(0, 2, (rounds, CELLS), dtype=np.uint8)
                    some = bits[:, ::8]
                    if name == "correlation":
                        keep = rng.random(some.shape) < times * limit
                        for i in range(1, rounds):
                            some[i] = np.where(keep[i], some[i - 1], some[i])
                    else:
                        size = times * (limit if name == "bias" else limits.max_drift or 0.0)
                        step = np.where(np.arange(rounds) < rounds // 2, -1, 1)[:, None] if name == "drift" else 1
                        some[:] = rng.random(some.shape) < 0.5 + size * step
                    found, bad = found + int(left_out(bits, limits)[::8].sum()), bad + some.shape[1]
                print(
                    f"{rounds} rounds, {name} at {times} times the limit: {100 * found / bad:.0f} % of {bad}",
                    flush=True,
                )


def seconds(cells: int, bits: int) -> None:
    packed = np.random.default_rng(1).integers(0, 256, bits // 8, dtype=np.uint8)
    CellReader(8).feed(packed[:64], 512)  # compiles
    begin = time.process_time()
    reader = CellReader(cells)
    reader.feed(packed, bits)
    read = time.process_time()
    judged(reader.counts(), cell_criteria(NoiseSpecification.shipped()), layout_of(cells, None, None))
    judging = time.process_time() - read
    print(f"{bits} bits of {cells} cells: {read - begin:.1f} s to count, {judging:.1f} s to judge, on one core")


if __name__ == "__main__":
    arrays = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seconds(65_536, 10**8)
    false_alarms(arrays)
    power(arrays)
