"""Wall time of sampling or training with memory noise over that with software noise, in pairs, in one run.

    python benchmarks/sampling.py [pairs] [sampler ...]
    python benchmarks/sampling.py 20 all
    python benchmarks/sampling.py 20 training

Each pair does the same work with the software source and with the memory (XOR of two cells), in alternating order, so
that a drift of the machine's speed cancels. The limit is 1.02 for every sampler, and 1.05 for a step of training.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from voltaspin.diffusion import TrainSpec, load_images, load_pipeline, shipped_model, train
from voltaspin.diffusion.samplers import NAMES, generate
from voltaspin.noise import MemorySource, NoiseSource, PseudoSource

IMAGES, STEPS = 64, 4
MEMORY = "memory, XOR of two"


def sources() -> dict[str, NoiseSource]:
    return {
        "software, float32": PseudoSource(seed=1),
        "software, 16 bit": PseudoSource(seed=1, precision=16),
        MEMORY: MemorySource(seed=1),
    }


def sampled(sampler: str) -> Callable[[NoiseSource, int], tuple[float, float]]:
    """Seconds of some images, and those in the source."""
    pipeline = load_pipeline(shipped_model())
    steps = 9 if sampler == "heun" else STEPS  # it refuses the first step of fewer

    def work(source: NoiseSource, pair: int) -> tuple[float, float]:
        made = generate(pipeline, source, sampler=sampler, count=IMAGES, steps=steps, first=pair * IMAGES)
        return made.seconds, made.noise_seconds

    return work


def trained() -> Callable[[NoiseSource, int], tuple[float, float]]:
    """Seconds of the steps of a training with the shipped recipe; the source's own are not taken apart."""
    images = load_images("fashion-mnist")

    def work(source: NoiseSource, pair: int) -> tuple[float, float]:
        stamps: list[float] = []
        with tempfile.TemporaryDirectory() as home:
            train(images, source, Path(home) / "model", spec=TrainSpec(steps=STEPS + 2, seed=pair),
                  progress=lambda *_: stamps.append(time.monotonic()))  # fmt: skip
        return stamps[-1] - stamps[-1 - STEPS], float("nan")

    return work


def compare(what: str, work: Callable[[NoiseSource, int], tuple[float, float]], pairs: int) -> None:
    each = sources()
    for source in each.values():  # compiles the kernels and warms the allocator
        work(source, 0)
    wall: dict[str, list[float]] = {name: [] for name in each}
    noise: dict[str, list[float]] = {name: [] for name in each}
    for pair in range(pairs):
        for name in list(each) if pair % 2 == 0 else list(each)[::-1]:
            total, part = work(each[name], pair)
            wall[name].append(total)
            noise[name].append(part)
    print(what)
    for name in each:
        total, part = float(np.median(wall[name])), float(np.median(noise[name]))
        inside = f", of it noise {1e3 * part:.1f} ms ({100 * part / total:.2f} %)" if part == part else ""
        print(f"  {name}: median {total:.3f} s{inside}")
    for name in list(each)[:2]:
        ratios = np.sort(np.array(wall[MEMORY]) / np.array(wall[name]))
        # 95 % interval of a median: order statistics around the middle, binomial.
        reach = 0.98 * pairs**0.5
        low = ratios[max(0, int(np.floor(pairs / 2 - reach)))]
        high = ratios[min(pairs - 1, int(np.ceil(pairs / 2 + reach)))]
        extra = (np.median(noise[MEMORY]) - np.median(noise[name])) / np.median(wall[name])
        inside = f"; from the time inside the sources alone {1 + extra:.4f}" if extra == extra else ""
        print(
            f"  memory over {name}: median ratio of {pairs} pairs {np.median(ratios):.4f} (95 % interval "
            f"{low:.4f} to {high:.4f}){inside}",
            flush=True,
        )


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    asked = sys.argv[2:] or ["ddpm"]
    for name in NAMES if asked == ["all"] else asked:
        compare(name, trained() if name == "training" else sampled(name), pairs)


if __name__ == "__main__":
    main()
