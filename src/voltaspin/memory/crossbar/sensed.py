"""The digital readout of a crossbar: every cell is sensed alone, and adders count."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
import torch

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.core.result import Result, Unit
from voltaspin.memory.crossbar.readout import AreaPart, Call, EnergyPart, Readout, Time, Timing
from voltaspin.memory.crossbar.spec import ArraySpec, CurrentSum

_MISREADS = 1e-6  # of digital sensing, up to which they are left out


class Sensing(Result):
    """Digital sensing of one cell against a reference halfway between the two conductances.

    Args:
        margin: distance of either state from the reference.
        noise: standard deviation of the state at 1, of the state at 0.
        error: probability that one read of a nominal cell is wrong, the mean of both.
    """

    KIND: ClassVar[str] = "cell-sensing"
    margin: Annotated[float, Unit("counts")]
    noise: Annotated[tuple[float, float], Unit("counts")]
    error: float


def sensing(spec: ArraySpec) -> Sensing:
    """Return how well one cell is sensed alone, at the full read voltage."""
    from scipy.special import ndtr

    r = CurrentSum(spec.model_copy(update={"inputs": "bit-serial"})).noise()
    g = np.array([(1 + spec.TMR) / spec.TMR, 1 / spec.TMR])
    sigma = np.sqrt((r.relative * g) ** 2 + g * (r.per_step + r.always))
    error = float(np.mean([ndtr(-0.5 / s) if s else 0.0 for s in sigma]))
    return Sensing(margin=0.5, noise=(float(sigma[0]), float(sigma[1])), error=error)


class Digital(Readout):
    """Every cell is sensed alone, and an adder tree counts.

    Raises:
        InputError: a nominal cell would be misread too often.
    """

    def __init__(self, spec: ArraySpec, where: str) -> None:
        super().__init__(spec, where)
        if (error := sensing(spec).error) > _MISREADS:
            raise InputError(
                f"{where}: a cell that is sensed alone would be misread with a probability of {error:.2g}; "
                f"digital arrays are modelled up to {_MISREADS:g}: lower read_noise or raise the TMR"
            )

    def counts(self, call: Call, q: torch.Tensor) -> torch.Tensor:
        """Return the products in counts."""
        return self._sums(call, q).float()

    def outputs(self, call: Call, q: torch.Tensor, step: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Return the products in the layer's own units; float64 where float32 would round a sum."""
        y, scale = self._sums(call, q), step * call.written.step_out
        if bias is None:
            return y * scale
        return torch.addcmul(call.geometry.per_output(bias).to(y.dtype), y, scale.to(y.dtype))

    def _sums(self, call: Call, q: torch.Tensor) -> torch.Tensor:
        weight = call.written.weight
        return (
            call.geometry.apply(q, weight) if call.written.exact else call.geometry.apply(q.double(), weight.double())
        )

    def _count_sums(self, ledger: Ledger, products: int, sums: int) -> None:
        ledger.count("add", products)

    def current_time(self, t: Timing) -> Time:
        """Return the time of one sensing over the planes that it serves [s]."""
        return t.sense / t.planes_per_read

    def input_time(self, t: Timing, rows: int) -> Time:
        """Return the time of all groups of rows, one after another [s]: a sensing, or the planes that it serves.

        Weights that serve the planes of several inputs are sensed ahead of them.
        """
        planes = self.drive.activations
        turns, reads = math.ceil(rows / t.rows_at_once), math.ceil(planes / t.planes_per_read)
        if t.planes_per_read > planes:
            return turns * planes * t.cycle
        return turns * reads * np.maximum(t.sense, t.planes_per_read * t.cycle)

    def energy(self) -> tuple[EnergyPart, ...]:
        """Return the parts that make up the energy of each action; a sensing charges its bit line."""
        each = "sensings per product"
        return (
            *super().energy(),
            EnergyPart("product", "bit lines", "cell+line", self.spec.cell_voltage, ("rail", "bit line", each)),
            EnergyPart("product", "sense amplifiers", "macro", 1.0, ("sense", each)),
            EnergyPart("product", "adders", "macro", 1.0, ("xor", "toggling")),  # a bit of the input gates it
            EnergyPart("add", "adders", "macro", self._adders_each, ("full_adder", "toggling")),
        )  # fmt: skip

    def area(self, t: Timing) -> tuple[AreaPart, ...]:
        """Return the components of one array beside its cells: a tree of adders over the rows that work together."""
        together = self.spec.columns * t.rows_at_once
        return (
            *super().area(t),
            AreaPart("sense amplifiers", together * t.sensed, "sense area"),
            AreaPart("adders", (together - self.spec.columns) * self._adders_each, "full adder area"),
        )

    @property
    def _adders_each(self) -> int:
        """Full adders behind one product: a tree of N numbers of b bits has about N (b + 1)."""
        return 1 + (self.spec.input_bits if self.drive.multilevel else 1)

    _driver = "driver area"  # a word line, however many bits an input has

    @property
    def activity(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (), ()  # every cell is read, whatever its input

    def _lines(self) -> tuple[EnergyPart, ...]:
        """One word line after another, for all planes that a sensing serves."""
        row = ("core", "core", "word line", "sensings per product")
        return (
            EnergyPart("drive", "word lines", "cell+line", 1.0, row),
            EnergyPart("drive", "input drivers", "macro", 1.0, (*row, "driver_overhead")),
        )
