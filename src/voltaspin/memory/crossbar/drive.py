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
    Each comes with its weight.

    Args:
        bits: of an input's magnitude.

    Attributes:
        multilevel: whether a row takes one of many voltages.
    """

    bits: int
    multilevel: ClassVar[bool] = False

    def planes(self, x: torch.Tensor) -> Planes:
        """Return the inputs of each conversion: signed bits, or the whole inputs."""
        return [(1.0, x)]

    def reads(self, x: torch.Tensor) -> Planes:
        """Return the voltages ahead of one conversion whose input is ``x``."""
        return [(1.0, x)]

    @property
    def activations(self) -> int:
        """How often the rows are driven for one input."""
        return self.bits

    @property
    def conversions(self) -> int:
        """Conversions of one sum for one input."""
        return 1

    @property
    def plane_power(self) -> float:
        """Sum of the squared weights of the planes."""
        return 1.0

    @property
    def read_power(self) -> float:
        """Sum of the squared weights of the reads ahead of one conversion."""
        return 1.0

    def charge(self, x: torch.Tensor, *, squared: bool) -> torch.Tensor:
        """Return the factor of a cell's noise variance: the squared (or absolute) voltages by squared weights."""
        import torch

        size = x.abs().to(torch.int32)
        return torch.stack([((size >> k) & 1).float() * 4.0**k for k in range(self.bits)]).sum(0)

    def _signed_bits(self, x: torch.Tensor) -> Planes:
        size, sign = x.abs().int(), x.sign()
        return [(2.0**k, ((size >> k) & 1).float() * sign) for k in range(self.bits)]

    @property
    def _power(self) -> float:
        return (4.0**self.bits - 1) / 3


class Levels(Drive):
    """A DAC drives each row to one of many voltages."""

    multilevel = True

    @property
    def activations(self) -> int:
        """Once."""
        return 1

    def charge(self, x: torch.Tensor, *, squared: bool) -> torch.Tensor:
        """Return the square of the inputs, or their size."""
        return x * x if squared else x.abs()


class Serial(Drive):
    """The bits of an input come one by one, and each is converted."""

    def planes(self, x: torch.Tensor) -> Planes:
        """Return the signed bits, the lowest first."""
        return self._signed_bits(x)

    @property
    def conversions(self) -> int:
        """One for each bit."""
        return self.bits

    @property
    def plane_power(self) -> float:
        """Sum of the squared weights of the bits."""
        return self._power


class Weighted(Drive):
    """The bits of an input come one by one, and are weighted and added as charge before one conversion."""

    def reads(self, x: torch.Tensor) -> Planes:
        """Return the signed bits, the lowest first."""
        return self._signed_bits(x)

    @property
    def read_power(self) -> float:
        """Sum of the squared weights of the bits."""
        return self._power
