"""How the inputs of a crossbar drive its rows: at once, bit by bit, or bit by bit ahead of one conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch

Planes = list[tuple[float, "torch.Tensor"]]


@dataclass(frozen=True)
class Drive:
    """The rows' drivers.

    An input is converted in *planes* one after another, and a plane is gathered from *reads* ahead of its conversion.
    Each comes with its weight. A subclass says where an input is taken apart into its bits.

    Args:
        bits: of an input's magnitude.

    Attributes:
        multilevel: whether a row takes one of many voltages.
        serial: whether each bit is a plane of its own, and is converted.
        weighted: whether each bit is a read of its own, and bits are weighted and added as charge before a conversion.
    """

    bits: int
    multilevel: ClassVar[bool] = False
    serial: ClassVar[bool] = False
    weighted: ClassVar[bool] = False

    def planes(self, x: torch.Tensor) -> Planes:
        """Return the inputs of each conversion: signed bits, the lowest first, or the whole inputs."""
        return self._signed_bits(x) if self.serial else [(1.0, x)]

    def reads(self, x: torch.Tensor) -> Planes:
        """Return the voltages ahead of one conversion whose input is ``x``: signed bits, or the whole inputs."""
        return self._signed_bits(x) if self.weighted else [(1.0, x)]

    @property
    def activations(self) -> int:
        """Return how often the rows are driven for one input."""
        return 1 if self.multilevel else self.bits

    @property
    def conversions(self) -> int:
        """Conversions of one sum for one input."""
        return self.bits if self.serial else 1

    @property
    def plane_power(self) -> float:
        """Sum of the squared weights of the planes."""
        return (4.0**self.bits - 1) / 3 if self.serial else 1.0

    @property
    def read_power(self) -> float:
        """Sum of the squared weights of the reads ahead of one conversion."""
        return (4.0**self.bits - 1) / 3 if self.weighted else 1.0

    def charge(self, x: torch.Tensor, *, squared: bool) -> torch.Tensor:
        """Return the factor of a cell's noise variance: the squared (or absolute) voltages by squared weights."""
        if self.multilevel:
            return x * x if squared else x.abs()
        import torch

        size = x.abs().to(torch.int32)
        return torch.stack([((size >> k) & 1).float() * 4.0**k for k in range(self.bits)]).sum(0)

    def _signed_bits(self, x: torch.Tensor) -> Planes:
        size, sign = x.abs().int(), x.sign()
        return [(2.0**k, ((size >> k) & 1).float() * sign) for k in range(self.bits)]


class Levels(Drive):
    """A DAC drives each row to one of many voltages."""

    multilevel = True


class Serial(Drive):
    """The bits of an input come one by one, and each is converted."""

    serial = True


class Weighted(Drive):
    """The bits of an input come one by one, and are weighted and added as charge before one conversion."""

    weighted = True
