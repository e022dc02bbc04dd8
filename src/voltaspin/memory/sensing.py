"""Writing and reading of cells: how often a toggle fails, and which currents a sense amplifier compares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.device import Junction, Pulse
from voltaspin.device.transport import ReadScheme, read

Floats = NDArray[np.float64]

#: Read at a voltage that raises the barrier, averaged over the 25 ns in which 50 fF charge [assumed].
READ = ReadScheme(voltage=-0.1, integration_time=25e-9, line_capacitance=50e-15, input_resistance=5e3)


@dataclass(frozen=True, kw_only=True)
class Access:
    """The numbers of the device for changing and reading a bit.

    A voltage pulse turns a bit over, whatever it is. A write is therefore a read, and a toggle of the cells that hold
    the wrong bit.

    Args:
        toggle_error: probability that a toggle leaves a 0, and a 1, as it was.
        current_0, current_1: of a nominal cell at 0 (parallel) and 1 that is read [A].
        noise_0, noise_1: standard deviations of these currents from read to read [A].
        offset: standard deviation of the offsets of the sense amplifiers, one for each column [A].

    Raises:
        InputError: an error that is no probability, currents that do not tell 0 from 1, negative noise.
    """

    toggle_error: tuple[float, float] = (0.0, 0.0)
    current_0: float = 2.0
    current_1: float = 1.0
    noise_0: float = 0.0
    noise_1: float = 0.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for p in self.toggle_error:
            if not 0 <= p <= 1:
                raise InputError(f"toggle_error = {self.toggle_error} must be probabilities from 0 to 1")
        if not math.inf > self.current_0 > self.current_1 > 0:
            raise InputError(
                f"current_0 = {self.current_0} A must be above current_1 = {self.current_1} A, which must be positive; "
                "a junction without TMR cannot be read"
            )
        if not all(0 <= spread < math.inf for spread in (self.noise_0, self.noise_1, self.offset)):
            raise InputError("noise_0, noise_1 and offset are standard deviations [A]: finite and not negative")

    @classmethod
    def of(cls, junction: Junction, *, write: Pulse | None = None, scheme: ReadScheme = READ) -> Access:
        """Compute the numbers from a junction's physics.

        Args:
            junction: of the nominal cell.
            write: the pulse that turns a bit over; None searches the best one, some seconds.
            scheme: of the read. Its spreads are left out: the array's own variation stands for them.
        """
        from voltaspin.device.fokker_planck import switching_probability
        from voltaspin.device.pulse_design import best_pulse

        if write is None:
            write = best_pulse(junction, target="write").pulse
        found = [switching_probability(junction, write, initial=w) for w in ("up", "down")]
        stays = [result.WER or result.WER_high for result in found]  # the bound where the error is not resolved
        seen = read(junction, replace(scheme, resistance_spread=0.0, TMR_spread=0.0))
        return cls(
            toggle_error=(stays[0], stays[1]), current_0=abs(seen.P.current), current_1=abs(seen.AP.current),
            noise_0=seen.P.noise, noise_1=seen.AP.noise, offset=scheme.offset,
        )  # fmt: skip

    def reference(self, cells: int = 1, ones: int = 1) -> float:
        """Current that tells at least ``ones`` ones of ``cells`` cells on one line from fewer [A]."""
        if not 1 <= ones <= cells:
            raise InputError(f"{ones} ones of {cells} cells cannot be told from fewer; give 1 to {cells}")
        fewer = (cells - ones + 1) * self.current_0 + (ones - 1) * self.current_1
        return fewer - (self.current_0 - self.current_1) / 2

    def currents(self, bits: NDArray[np.uint8], cells: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
        """Mean current and variance of the cells [A, A^2], float64 in the shape of ``bits``.

        Args:
            bits: that they hold.
            cells: their ``diameter_scale``, ``RA_scale`` and ``TMR_scale``, as far as they differ.
        """
        one: Any = np.float64(1)
        conductance = cells.get("diameter_scale", one) ** 2 / cells.get("RA_scale", one)
        TMR = (self.current_0 / self.current_1 - 1) * cells.get("TMR_scale", one)
        mean = self.current_0 * conductance / np.where(bits, 1 + TMR, 1.0)
        variance = np.where(bits, self.noise_1, self.noise_0) ** 2 * conductance  # thermal and shot noise: as G
        return np.broadcast_to(mean, bits.shape), np.broadcast_to(variance, bits.shape)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
