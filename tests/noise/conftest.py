"""Memories whose cells have probabilities that a test can state."""

from dataclasses import dataclass

import pytest

from voltaspin.memory import MagnetoelectricMemory


@dataclass(frozen=True)
class Flat:
    """A switching model of two numbers, tilted by the cell's own K_eff."""

    p01: float
    p10: float
    slope: float = 0.0

    def probabilities(self, *, K_eff_scale, B_z):
        tilt = self.slope * (K_eff_scale - 1)
        return self.p01 + tilt, self.p10 - tilt + 0 * B_z


@pytest.fixture
def memory():
    """Factory: ``memory(p01, p10, slope=0, rows=..., columns=..., seed=...)``."""

    def build(p01=0.5, p10=0.5, slope=0.0, **options):
        return MagnetoelectricMemory(model=Flat(p01, p10, slope), **options)

    return build
