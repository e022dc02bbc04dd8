"""Diffusion in place: bits that flip in the array that stores them.

Forward, every step flips each bit with a probability beta_t: one masked pulse, nothing moved. Backward, a network says
how likely each clean bit is a 1, the exact posterior turns that into the probability that the bit flips back, and a
pulse of that probability decides.

x_t = x_0 xor Bern(p_t) with 1 - 2 p_t = prod(1 - 2 beta_s); J. Sohl-Dickstein et al., ICML 2015, arXiv 1503.03585;
J. Austin et al., NeurIPS 2021, arXiv 2107.03006.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.memory import MagnetoelectricMemory

Floats = NDArray[np.float64]
Bits = NDArray[np.uint8]


class Process:
    """Flip probabilities of the steps 1 to ``len(betas)``.

    Args:
        betas: probability that a bit flips in each step, 0 to 1/2.

    Raises:
        InputError: no step, or a probability outside 0 to 1/2.

    >>> Process([0.25, 0.25]).marginal(2)
    0.375
    """

    def __init__(self, betas: Sequence[float] | Floats) -> None:
        self.betas = np.array(betas, np.float64)
        if self.betas.ndim != 1 or not len(self.betas):
            raise InputError("betas must be a list of at least one flip probability, one for each step")
        bad = ~((self.betas >= 0) & (self.betas <= 0.5))
        if bad.any():
            t = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"betas[{t}] = {self.betas[t]} is no flip probability from 0 to 1/2; more would bring a bit back"
            )
        self._kept = np.concatenate([[1.0], np.cumprod(1 - 2 * self.betas)])

    @classmethod
    def cosine(cls, steps: int, *, largest: float = 0.49) -> Process:
        """A schedule whose bits keep a correlation cos^2(pi t / 2 T) with the clean ones.

        Args:
            steps: T.
            largest: beta at most, so that no step is a plain coin.

        Source: A. Nichol, P. Dhariwal, arXiv 2102.09672, for the shape.
        """
        if steps < 1:
            raise InputError(f"steps = {steps}: give at least 1")
        kept = np.cos(np.pi / 2 * np.arange(steps + 1) / steps) ** 2
        ratio = np.divide(kept[1:], kept[:-1], out=np.zeros(steps), where=kept[:-1] > 0)
        return cls(np.clip((1 - ratio) / 2, 0, largest))

    def __len__(self) -> int:
        return len(self.betas)

    def marginal(self, t: int) -> float:
        """Probability that a bit differs from the clean one after ``t`` steps, 0 to ``len(betas)``."""
        return float((1 - self._kept[self._checked(t, 0)]) / 2)

    def posterior(self, x_t: ArrayLike, p_x0: ArrayLike, t: int) -> Floats:
        """P(x_{t-1} = 1 | x_t), averaged over x_0 ~ Bernoulli(p_x0).

        Args:
            x_t: bits, any shape.
            p_x0: probability that the clean bit is 1, given all that is known at ``t``; broadcast against ``x_t``.
            t: 1 to ``len(betas)``.

        Returns:
            float64 in the common shape.

        Raises:
            InputError: values that are no bits or no probabilities, or a step that is not one of the process.
        """
        self._checked(t, 1)
        x, p = np.broadcast_arrays(np.asarray(x_t, np.float64), np.asarray(p_x0, np.float64))
        if not ((x == 0) | (x == 1)).all():
            raise InputError("x_t must be bits, 0 or 1")
        if not ((p >= 0) & (p <= 1)).all():
            raise InputError("p_x0 must be probabilities from 0 to 1")
        beta, before = float(self.betas[t - 1]), self.marginal(t - 1)
        seen = np.where(x == 1, 1 - beta, beta)  # P(x_t | x_{t-1} = 1)
        unseen = np.where(x == 1, beta, 1 - beta)
        total = np.zeros(x.shape)
        for x0, weight in ((1, p), (0, 1 - p)):
            one = 1 - before if x0 else before  # P(x_{t-1} = 1 | x_0)
            evidence = seen * one + unseen * (1 - one)
            # where x_0 cannot lead to x_t, what is seen says nothing against x_t itself
            total += weight * np.divide(seen * one, evidence, out=x.copy(), where=evidence > 0)
        return total

    def forward(self, memory: MagnetoelectricMemory, x0: ArrayLike, t: int) -> Bits:
        """Write the clean bits into an array, let ``t`` pulses flip them there, and read: uint8 in the array's shape.

        Args:
            memory: pulses are programmed to each beta, with the error that its junction makes of it.
            x0: bits (rows, columns).
            t: 0 to ``len(betas)``.
        """
        self._checked(t, 0)
        memory.write(x0)
        for beta in self.betas[:t]:
            if beta > 0:
                memory.pulse(float(beta))
        return memory.read()

    def _checked(self, t: int, least: int) -> int:
        if not isinstance(t, int | np.integer) or not least <= t <= len(self.betas):
            raise InputError(f"t = {t!r} is no step of this process; give {least} to {len(self.betas)}")
        return int(t)


def to_planes(images: NDArray[np.uint8], *, bits: int = 8, gray: bool = True) -> Bits:
    """Bit planes of grey levels, the highest first: uint8 (n, channels * bits, h, w).

    Args:
        images: uint8 (n, channels, h, w).
        bits: of a level that are kept, 1 to 8.
        gray: Gray code, in which neighbouring levels differ in one bit.
    """
    if images.ndim != 4 or images.dtype != np.uint8:
        raise InputError(f"images of shape {images.shape} and type {images.dtype}; give uint8 (n, channels, h, w)")
    if not 1 <= bits <= 8:
        raise InputError(f"bits = {bits}: a grey level has 1 to 8")
    levels = images >> (8 - bits)
    coded = levels ^ (levels >> 1) if gray else levels
    planes = [(coded >> k) & 1 for k in range(bits - 1, -1, -1)]
    n, c, h, w = images.shape
    return np.stack(planes, 2).reshape(n, c * bits, h, w)


def from_planes(planes: Bits, *, bits: int = 8, gray: bool = True) -> NDArray[np.uint8]:
    """The inverse of :func:`to_planes`; levels are spread over 0 to 255."""
    n, cb, h, w = planes.shape
    if cb % bits:
        raise InputError(f"{cb} planes do not make channels of {bits} bits")
    split = planes.reshape(n, cb // bits, bits, h, w).astype(np.uint8)
    value = np.zeros((n, cb // bits, h, w), np.uint8)
    last = np.zeros_like(value)
    for k in range(bits):
        last = last ^ split[:, :, k] if gray else split[:, :, k]
        value = (value << 1) | last
    top = (1 << bits) - 1
    return np.round(value.astype(np.float64) * (255 / top)).astype(np.uint8)
