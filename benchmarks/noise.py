"""Speed of the noise, each figure as a ratio to what a user would take instead, measured in the same run.

    python benchmarks/noise.py [--json FILE]

One thread. Every pair is timed alternately and the median of the ratios is given with its range, so that what else
the machine does falls on both. Bits: GB/s of packed bits against NumPy's PCG64 ``integers`` of 64 bits. Normals:
millions of float32 per second against ``torch.Tensor.normal_``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from voltaspin.device import SwitchingModel
from voltaspin.memory import Imperfections, MagnetoelectricMemory
from voltaspin.noise import (
    BoxMuller,
    DiscreteGaussian,
    DitheredPopcount,
    HealthChecked,
    InverseCDF,
    MemorySource,
    Popcount,
    PseudoSource,
    SystemSource,
    conditioned,
    entropy,
    sp800_22,
)

ROUNDS = 9
BITS = 1 << 26
NUMBERS = 1 << 20


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def against(
    ours: Callable[[], object], theirs: Callable[[], object], size: float, other: float
) -> tuple[float, float, tuple[float, float, float]]:
    """Median rates of both, and (median, least, most) of the ratio ours over theirs."""
    ours(), theirs()
    pairs = [(size / seconds(ours), other / seconds(theirs)) for _ in range(ROUNDS)]
    ratios = sorted(a / b for a, b in pairs)
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        (statistics.median(ratios), ratios[0], ratios[-1]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pcg = np.random.default_rng(1)
    table = []

    def row(what: str, unit: str, found: tuple[float, float, tuple[float, float, float]], target: float | None) -> None:
        rate, other, (ratio, low, high) = found
        goal = "" if target is None else f"  (at least {target:g}: {'met' if ratio >= target else 'MISSED'})"
        print(f"{what:52} {rate:8.3f} {unit}  ratio {ratio:6.3f} [{low:.3f}, {high:.3f}]{goal}", flush=True)
        table.append({"what": what, "unit": unit, "rate": rate, "other": other, "ratio": [ratio, low, high]})

    def words() -> object:
        return pcg.integers(0, 2**64, BITS // 64, dtype=np.uint64)

    flat = MagnetoelectricMemory(model=SwitchingModel.constant(0.49, 0.51), K_eff_spread=0, stray_field_spread=0)
    print("packed bits against PCG64 integers(uint64)")
    for what, options, bits, target in (
        ("one probability, reset, raw", {"memory": flat, "k": 1, "reset": True}, BITS, 0.8),
        ("one probability, reset, XOR of 2", {"memory": flat, "k": 2, "reset": True}, BITS, None),
        ("every cell its own p01 and p10, raw", {"k": 1}, BITS, 0.2),
        ("every cell its own p01 and p10, XOR of 2", {"k": 2}, BITS, None),
        ("all imperfections, XOR of 2", {"k": 2, "imperfections": Imperfections()}, BITS // 32, None),
    ):
        source = MemorySource(seed=1, **options)
        row(what, "GB/s ", against(partial(source.bits, bits), words, bits / 8e9, BITS / 8e9), target)
    for what, source, bits in (
        ("software (Philox)", PseudoSource(), BITS),
        ("operating system", SystemSource(), BITS // 8),
        *((f"raw memory, {c}", conditioned(MemorySource(k=1), c), BITS) for c in
          ("xor:2", "von-neumann", "peres:5", "toeplitz:0.9", "sha256:0.9")),
        ("raw memory, health-checked cell by cell", HealthChecked(MemorySource(k=1), a=60), BITS // 4),
        ("software, health-checked", HealthChecked(PseudoSource(), a=60), BITS),
    ):  # fmt: skip
        row(what, "GB/s ", against(partial(source.bits, bits), words, bits / 8e9, BITS / 8e9), None)

    tensor, out = torch.empty(NUMBERS), np.empty(NUMBERS, np.float32)
    rng = np.random.default_rng(2)
    print("float32 normals against torch.Tensor.normal_")
    for shaping in (InverseCDF(8), InverseCDF(12), InverseCDF(16), InverseCDF(20), InverseCDF(24), Popcount(64),
                    DitheredPopcount(56, 8), BoxMuller()):  # fmt: skip
        packed = rng.integers(0, 256, NUMBERS * shaping.bits_per_sample // 8 + 1, dtype=np.uint8)
        work = partial(shaping.from_packed, packed, NUMBERS, out)
        found = against(work, tensor.normal_, NUMBERS / 1e6, NUMBERS / 1e6)
        row(f"from bits already drawn: {shaping}", "M/s", found, None)
        if shaping == InverseCDF(16):
            print(f"{'':52} {'at least 400 M/s: ' + ('met' if found[0] >= 400 else 'MISSED')}")
    for what, source, target in (
        ("whole path, one probability, no conditioning", MemorySource(memory=flat, k=1, reset=True), 1.0),
        ("whole path, one probability, XOR of 2", MemorySource(memory=flat, k=2, reset=True), None),
        ("whole path, every cell its own, raw", MemorySource(k=1), None),
        ("whole path, every cell its own, XOR of 2", MemorySource(k=2), None),
        ("software, 16 bits", PseudoSource(precision=16), None),
        ("software, full precision", PseudoSource(), None),
    ):  # fmt: skip
        found = against(partial(source.normal, NUMBERS), tensor.normal_, NUMBERS / 1e6, NUMBERS / 1e6)
        row(what, "M/s", found, target)
    generator = np.random.Generator(PseudoSource().bit_generator())
    numpy = np.random.default_rng(3)

    def of_numpy() -> object:
        return numpy.standard_normal(NUMBERS)

    found = against(lambda: generator.standard_normal(NUMBERS), of_numpy, NUMBERS / 1e6, NUMBERS / 1e6)
    row("NumPy's Generator on software bits, against its own", "M/s", found, None)
    dice = DiscreteGaussian(4.0)
    source = PseudoSource()
    found = against(lambda: dice.sample(source, NUMBERS), tensor.normal_, NUMBERS / 1e6, NUMBERS / 1e6)
    row("exact integers of sigma 4", "M/s", found, None)

    sequence = np.unpackbits(PseudoSource(seed=4).bits(10**6))
    print("tests, seconds per 10^6 bits, one thread (best of five)")
    for what, work, most in (
        ("SP 800-22, all tests and templates", lambda: sp800_22.run(sequence), 0.5),
        ("min-entropy, six estimates", lambda: entropy.estimate(sequence), 2.0),
    ):
        work()
        best = min(seconds(work) for _ in range(5))
        print(f"{what:52} {best:8.3f} s    (at most {most:g}: {'met' if best <= most else 'MISSED'})")
        table.append({"what": what, "unit": "s", "rate": best})
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
