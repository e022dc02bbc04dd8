"""The reverse process of bits that flip in the array: each step programs the pulses that flip them back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from voltaspin.diffusion.bitflip.process import Bits, Process
from voltaspin.diffusion.inplace.pulses import Drive
from voltaspin.memory import MagnetoelectricMemory


def reverse(
    process: Process,
    memory: MagnetoelectricMemory,
    predict: Callable[[Bits, int], ArrayLike],
    *,
    drive: Drive | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bits:
    """Sample in the array: begin with random bits and flip them back, step by step.

    Args:
        process: of the flips.
        memory: one cell for each bit; its pulses draw.
        predict: ``predict(x_t, t)`` gives P(x_0 = 1) of each cell, (rows, columns).
        drive: the pulses, of which a cell takes one of the two nearest so that the average is right.
        progress: called with (done, total) steps.

    Returns:
        The bits at t = 0, uint8 (rows, columns).

    Raises:
        InputError: a junction without a coin, or without a pulse that flips for certain.
    """
    drive = drive or Drive.of(memory)
    memory.pulse_each(drive.pulses, np.ones(memory.state.shape, np.uint8))
    x = memory.read()
    for t in range(len(process), 0, -1):
        one = process.posterior(x, predict(x, t), t)
        memory.pulse_each(drive.programmed, drive.nearest(np.where(x == 1, 1 - one, one), x, step=t), known=x)
        x = memory.read()
        if progress is not None:
            progress(len(process) - t + 1, len(process))
    return x
