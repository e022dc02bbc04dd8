"""Yield of an array: how many cells are fair, keep their bit, and can be read."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.result import Result, Unit

TAILS = (1e-4, 1e-3, 1e-2, 0.5, 0.99, 0.999, 0.9999)  #: quantiles that are reported, as far as there are cells


class Yield(Result):
    """The figures of one array, as a tester would state them.

    Args:
        cells: in all; stuck, broken: of these.
        eps: distance from 1/2 that is allowed.
        mean, std: of p01 over the cells that are neither stuck nor broken.
        outside: share of these with p01 or p10 outside 1/2 ± eps.
        quantiles: of p01.
        misread: share of cells whose mean current lies on the wrong side of the reference in a state; None without
            ``access``.
        seconds, temperature: for which ``lost`` was asked; None where it was not.
        lost: expected share of bits lost over that time, 0 and 1 alike; None where it was not asked for.
        leaky: share of cells that lose their bit in that time with a probability above 1 %.
    """

    KIND: ClassVar[str] = "array-yield"
    cells: int
    stuck: int
    broken: int
    eps: float
    mean: Annotated[float, Field(title="mean of p01")]
    std: Annotated[float, Field(title="standard deviation of p01")]
    outside: Annotated[float, Field(title="share of cells outside 1/2 ± eps")]
    quantiles: Annotated[dict[float, float], Field(title="quantiles of p01")]
    misread: Annotated[float | None, Field(title="share of cells on the wrong side of the read reference")] = None
    seconds: Annotated[float | None, Unit("s")] = None
    temperature: Annotated[float | None, Unit("K")] = None
    lost: Annotated[float | None, Field(title="expected share of bits lost")] = None
    leaky: Annotated[float | None, Field(title="share of cells that lose their bit with more than 1 %")] = None


def measure(memory: Any, *, eps: float = 0.01, seconds: float | None = None, temperature: float | None = None) -> Yield:
    """Figures of an array, computed from what its cells are, without any pulse.

    Args:
        memory: a ``MagnetoelectricMemory``, whose module imports this one.
        eps: allowed distance of p01 and p10 from 1/2.
        seconds, temperature: to ask for the retention over that time [s] at that temperature [K]; the junction's
            own where absent.
    """
    if not 0 < eps < 0.5:
        raise InputError(f"eps = {eps} must lie between 0 and 1/2; give e.g. 0.01")
    good = ~memory.broken
    places, _ = memory._stuck_at
    good.ravel()[places] = False
    if not good.any():
        raise InputError("every cell is stuck or broken, so there is nothing to judge; lower stuck or the wear")
    p01, p10 = memory.p01[good], memory.p10[good]
    outside = (np.abs(p01 - 0.5) > eps) | (np.abs(p10 - 0.5) > eps)
    misread = None
    if memory.access is not None:
        wrong = np.zeros(good.shape, bool)
        for bit in (0, 1):
            mean, _ = memory.access.currents(np.full(good.shape, bit, np.uint8), memory.quantities)
            wrong |= (mean < memory.access.reference()) != bit
        misread = float(wrong[good].mean())
    lost = leaky = None
    if seconds is not None:
        if memory.junction is not None and temperature is None:
            temperature = memory.junction.temperature
        p0, p1 = memory.forgetting(seconds, temperature=temperature)
        each = (p0 + p1)[good] / 2
        lost, leaky = float(each.mean()), float((each > 0.01).mean())
    n = int(good.sum())
    return Yield(
        cells=memory.cells, stuck=len(places), broken=int(memory.broken.sum()), eps=eps, mean=float(p01.mean()),
        std=float(p01.std()), outside=float(outside.mean()),
        quantiles={q: float(np.quantile(p01, q)) for q in TAILS if min(q, 1 - q) * n >= 1},
        misread=misread, seconds=seconds, temperature=temperature, lost=lost, leaky=leaky,
    )  # fmt: skip
