"""Ideal cells of two flip probabilities and a fixed spread of their bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.memory.variation import SCREENING

_UNIT = 1e-3  # T; the stray field of a cell that lies one standard deviation off: only the ratio counts


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A switching model of two numbers, and of a bias that every cell keeps.

    A cell that goes to 1 in the long run with ``p`` and whose successive bits have the correlation ``r`` has
    ``p01 = p (1 - r)`` and ``p10 = (1 - p)(1 - r)``; :meth:`of` makes it so.

    Args:
        p01, p10: probability that a pulse flips a 0, a 1.
        spread: standard deviation of the bias over the cells [1]: a cell that lies z off adds ``spread z`` to p01 and
            takes it off p10. Gaussian, truncated at 4 standard deviations, as all variation.

    Raises:
        InputError: probabilities that leave [0, 1], the spread's tails included.
    """

    p01: float = 0.5
    p10: float = 0.5
    spread: float = 0.0

    def __post_init__(self) -> None:
        reach = SCREENING * self.spread
        ends = [p + s * reach for p in (self.p01, self.p10) for s in (-1, 1)]
        if not (self.spread >= 0 and all(0 <= p <= 1 for p in ends)):
            raise InputError(
                f"cells of p01 = {self.p01}, p10 = {self.p10} with a spread of {self.spread} would leave 0 to 1 within "
                f"{SCREENING:g} standard deviations; give probabilities and a smaller spread"
            )

    @classmethod
    def of(cls, *, bias: float = 0.0, correlation: float = 0.0, spread: float = 0.0) -> Cells:
        """From P(1) - 1/2, the lag-1 correlation of a cell's bits without reset, and the spread of the bias."""
        p = 0.5 + bias
        # the thresholds of a cell have 16 bits, and equal conditions of a study must be equal in their file too
        p01, p10 = (round(x, 6) for x in (p * (1 - correlation), (1 - p) * (1 - correlation)))
        return cls(p01=p01, p10=p10, spread=spread)

    def probabilities(
        self, *, K_eff_scale: ArrayLike = 1.0, B_z: ArrayLike = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(p01, p10) of cells whose stray field says where they lie; their K_eff does nothing."""
        own = self.spread * np.asarray(B_z, np.float64) / _UNIT
        return self.p01 + own, self.p10 - own

    def memory(self) -> dict[str, Any]:
        """Arguments of a ``MagnetoelectricMemory`` of such cells."""
        return {"model": self, "K_eff_spread": 0.0, "stray_field_spread": _UNIT if self.spread else 0.0}
