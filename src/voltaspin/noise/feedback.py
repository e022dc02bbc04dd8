"""A feedback on the pulse of a memory, which holds the share of ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.renamed import renamed
from voltaspin.memory.dynamics import Slopes
from voltaspin.noise.gaussian import GaussianTransform
from voltaspin.noise.memory_source import MemorySource
from voltaspin.noise.source import BufferedStage

Actuator = Literal["voltage", "width", "B_z"]

#: What an actuator may add to its nominal value [assumed]: 0.2 V, 50 ps, 2 mT.
REACH: dict[Actuator, float] = {"voltage": 0.2, "width": 50e-12, "B_z": 2e-3}
_UNITS = {"voltage": "V", "width": "s", "B_z": "T"}


@final
@renamed(shaping="transform")
class Feedback(BufferedStage):
    """The raw bits of a memory whose pulse follows their share of ones.

    After every pulse of the array an integral controller moves the actuator by ``gain (1/2 - ones) / slope``,
    where ``slope`` is the derivative of the stationary share of ones. A deviation that is there decays as
    ``(1 - gain)**pulses``; a drift of r per pulse leaves ``r / gain``; and the controller's own reaction to
    the shot noise of n cells adds a variance of ``gain / (2 - gain) / (4 n)`` to the common probability.
    Only what the cells have in common can be held: the fixed bias of each cell stays.

    Args:
        source: a memory of raw bits (``k=1``) with ``imperfections`` (``Imperfections.none()`` for an ideal one).
        gain: share of the deviation that one pulse takes off, above 0 and below 2.
        actuator: what is moved: the pulse's ``voltage`` or ``width``, or a field ``B_z`` along z; None takes the
            one with the largest effect within its ``REACH``. In the fair pulse of the shipped generator the
            voltage and the width hardly move the share of ones, the field does.
        transform: how bits become numbers; None takes the 16-bit inverse CDF.

    Raises:
        InputError: another source, or an actuator that does not move the share of ones.
    """

    source: MemorySource

    def __init__(
        self,
        source: MemorySource,
        *,
        gain: float = 0.05,
        actuator: Actuator | None = None,
        transform: GaussianTransform | None = None,
    ) -> None:
        if not isinstance(source, MemorySource) or source.k != 1 or source.disturbance is None:
            raise InputError(
                "a feedback needs the raw bits of a simulated array: give MemorySource(k=1, "
                "imperfections=Imperfections()) and combine the cells afterwards, e.g. Xor(Feedback(...), k=2)"
            )
        if not 0 < gain < 2:
            raise InputError(f"gain = {gain} would not converge; give a number above 0 and below 2, e.g. 0.05")
        slopes = steering(source.disturbance.slopes, source)
        if actuator is not None and actuator not in REACH:
            raise InputError(f"actuator {actuator!r} is unknown; use one of {', '.join(REACH)}")
        strongest = max(REACH, key=lambda name: REACH[name] * abs(slopes[name]))
        self.actuator: Actuator = strongest if actuator is None else actuator
        self.slope = slopes[self.actuator]
        if abs(self.slope) * REACH[self.actuator] < 1e-6:
            raise InputError(
                f"{self.actuator} moves the share of ones by {self.slope:.3g} per {_UNITS[self.actuator]}, which "
                f"within its reach of {REACH[self.actuator]:g} {_UNITS[self.actuator]} is nothing; use another "
                "actuator or pulse"
            )
        super().__init__(source, "stabilised", transform)
        self.does = f"stabilised by {self.actuator}"
        self.gain = float(gain)

    @property
    def trim(self) -> float:
        """Present setting of the actuator, in its unit."""
        return self.source.sequence.trim.get(self.actuator, 0.0)

    @property
    def at_its_limit(self) -> bool:
        """Whether the actuator has reached its end, so that the share of ones is no longer held."""
        return abs(self.trim) >= REACH[self.actuator]

    def _about(self, inner: Mapping[str, Any]) -> dict[str, Any]:
        return {"stabiliser": {"gain": self.gain, "actuator": self.actuator}}

    def _make_more(self, n: int) -> None:
        pulse, reach = self.n_cells * (8 if self.n_cells % 8 else 1), REACH[self.actuator]
        fresh = self.source.take(pulse)
        ones = int(np.bitwise_count(fresh).sum(dtype=np.int64)) / pulse
        moved = self.trim + self.gain * (0.5 - ones) / self.slope
        self.source.sequence.trim = {self.actuator: min(max(moved, -reach), reach)}
        self._left.put(fresh, pulse)


def steering(slopes: Slopes, source: MemorySource) -> dict[Actuator, float]:
    """Derivative of the stationary share of ones with respect to each actuator [1/V, 1/s, 1/T]."""
    p01, p10 = float(source.memory.p01.mean()), float(source.memory.p10.mean())
    out: dict[Actuator, float] = {}
    for name in REACH:
        d01, d10 = getattr(slopes, name)
        # Without a reset the share of ones is p01 / (p01 + p10), with one it is p01.
        out[name] = d01 if source.reset else (d01 * p10 - p01 * d10) / (p01 + p10) ** 2
    return out


Stabilised = Feedback  #: old name
