"""Wall time of sampling with memory noise over sampling with software noise, in pairs, in one run.

    python benchmarks/sampling.py [pairs]

Each pair samples the same number of images with the software source and with the memory (XOR of two cells), in
alternating order, so that a drift of the machine's speed cancels. The limit is 1.02.
"""

import sys

import numpy as np

from voltaspin.diffusion import load_pipeline, sample, shipped_model
from voltaspin.noise import MemorySource, PseudoSource

IMAGES, STEPS = 64, 3


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    pipeline = load_pipeline(shipped_model())
    sources = {
        "software, float32": PseudoSource(seed=1),
        "software, 16 bit": PseudoSource(seed=1, precision=16),
        "memory, XOR of two": MemorySource(seed=1),
    }
    for source in sources.values():  # compiles the kernels and warms the allocator
        sample(pipeline, source, count=IMAGES, steps=2, precision="auto")
    wall: dict[str, list[float]] = {name: [] for name in sources}
    noise: dict[str, list[float]] = {name: [] for name in sources}
    for pair in range(pairs):
        order = list(sources) if pair % 2 == 0 else list(sources)[::-1]
        for name in order:
            made = sample(pipeline, sources[name], count=IMAGES, steps=STEPS, precision="auto", first=pair * IMAGES)
            wall[name].append(made.seconds)
            noise[name].append(made.noise_seconds)
    memory = "memory, XOR of two"
    for name in sources:
        total, part = float(np.median(wall[name])), float(np.median(noise[name]))
        print(f"{name}: median {total:.3f} s, of it noise {1e3 * part:.1f} ms ({100 * part / total:.2f} %)")
    for name in list(sources)[:2]:
        ratios = np.sort(np.array(wall[memory]) / np.array(wall[name]))
        # 95 % interval of a median: order statistics around the middle, binomial.
        reach = 0.98 * pairs**0.5
        low = ratios[max(0, int(np.floor(pairs / 2 - reach)))]
        high = ratios[min(pairs - 1, int(np.ceil(pairs / 2 + reach)))]
        extra = (np.median(noise[memory]) - np.median(noise[name])) / np.median(wall[name])
        print(
            f"memory over {name}: median ratio of {pairs} pairs {np.median(ratios):.4f} (95 % interval "
            f"{low:.4f} to {high:.4f}); from the time inside the sources alone {1 + extra:.4f}"
        )


if __name__ == "__main__":
    main()
