"""The reverse process of bits that flip in the array: each step programs the pulses that flip them back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from voltaspin.diffusion.bitflip.levels import Levels, Rounding
from voltaspin.diffusion.bitflip.process import Bits, Floats, Process
from voltaspin.memory import MagnetoelectricMemory


def reverse(
    process: Process,
    memory: MagnetoelectricMemory,
    predict: Callable[[Bits, int], ArrayLike],
    *,
    levels: Levels | Sequence[float] | Floats | None = None,
    dither: bool = False,
    rounding: Rounding | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bits:
    """Sample in the array: begin with random bits and flip them back, step by step.

    Args:
        process: of the flips.
        memory: one cell for each bit; its pulses draw.
        predict: ``predict(x_t, t)`` gives P(x_0 = 1) of each cell, (rows, columns).
        levels: flip probabilities that pulses are programmed to, of which a cell takes the nearest; the sine-spaced 17
            from 0 to 1 where absent; in an array of ideal cells the finer the better.
        dither: take the upper or lower level as often as makes the average right.
        rounding: counts what the levels do to the probabilities.
        progress: called with (done, total) steps.

    Returns:
        The bits at t = 0, uint8 (rows, columns).
    """
    if levels is None:
        levels = np.sin(np.pi / 2 * np.linspace(0, 1, 17)) ** 2
    if not isinstance(levels, Levels):
        levels = Levels.exact(levels)
    memory.write(0)
    memory.pulse(0.5)
    x = memory.read()
    for t in range(len(process), 0, -1):
        one = process.posterior(x, predict(x, t), t)
        flip = np.where(x == 1, 1 - one, one)
        chosen = levels.choose(flip, step=t, dither=dither)
        if rounding is not None:
            rounding.add(flip, levels, chosen)
        for i in np.unique(chosen):
            if i:  # level 0 is no pulse
                memory.pulse(levels.pulses[i], mask=chosen == i)
        x = memory.read()
        if progress is not None:
            progress(len(process) - t + 1, len(process))
    return x
