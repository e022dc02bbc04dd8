"""The conditions under which a pulse is judged, common to both solvers."""

from __future__ import annotations

from dataclasses import dataclass

from voltaspin.core.units import ns, require_positive
from voltaspin.device.equilibrium import well_sign
from voltaspin.device.junction import Well


@dataclass(frozen=True)
class Protocol:
    """How one pulse is applied and judged: the same for every solver.

    Args:
        initial: well in which the bit rests in thermal equilibrium before the pulse: ``"up"`` (bit 0) or ``"down"``.
        relax: time at zero voltage between the pulse and the reading of the projection on the reference layer [s].
        spin_torque: add the torque of the tunnel current, see :func:`voltaspin.device.torque.spin_torque_field`.

    Raises:
        InputError: an unknown well, or a negative time.
    """

    initial: Well = "up"
    relax: float = 10 * ns
    spin_torque: bool = False

    def __post_init__(self) -> None:
        well_sign(self.initial)
        require_positive("relax", self.relax, "s", "give the time before the bit is read, e.g. 10 * ns", zero=True)

    @property
    def other(self) -> Well:
        """The well in which a flipped bit is found."""
        return "down" if self.initial == "up" else "up"


USUAL = Protocol()
