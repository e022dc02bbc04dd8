"""The conditions under which a pulse is judged, common to both solvers."""

from __future__ import annotations

from dataclasses import dataclass

from voltaspin.core.units import ns, require_positive
from voltaspin.device.equilibrium import well_sign
from voltaspin.device.junction import Junction, Well

WELLS: tuple[Well, Well] = ("up", "down")


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

    def wells(self, junction: Junction) -> tuple[Well, ...]:
        """The wells that must be solved: both, or ``"up"`` alone where a junction is its own mirror image.

        Without a field along z, further terms and the torque of the tunnel current, a cell with the stray field B_z
        does from 1 what one with -B_z does from 0.
        """
        mirrored = junction.B_bias[2] == 0 and not junction.terms and not self.spin_torque
        return WELLS[: 1 if mirrored else 2]


USUAL = Protocol()
