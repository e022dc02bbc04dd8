"""Readouts of a crossbar: each computes with the cells, counts its actions, and knows its energy, time and area.

A *digital* readout senses every cell alone and adds up. The others convert sums of cells: an *exact* one rounds and
clips every conversion, column by column as the hardware does; a *statistical* one computes with the layer's own
operation and adds the effect of all conversions as a gain, a shift and Gaussian noise.

A new converter is a class in ``converted.py`` and its name in :data:`~voltaspin.memory.crossbar.converted.CONVERTERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.ledger import Ledger
from voltaspin.core.result import Boundary
from voltaspin.memory.crossbar.converters import Conversion
from voltaspin.memory.crossbar.geometry import Geometry
from voltaspin.memory.crossbar.normals import ReadNoise
from voltaspin.memory.crossbar.program import Written
from voltaspin.memory.crossbar.spec import ArraySpec

Keys = NDArray[np.uint64]


class Measured(NamedTuple):
    """Converters as a calibration set them: range of each slice (slices,), and the effect on each output."""

    limit: torch.Tensor
    conversion: Conversion


class EnergyPart(NamedTuple):
    """A part of the energy of one action: ``factor`` [SI] times entries of the circuits around the cells.

    It counts at the boundary ``since`` and at all wider ones, for the ``component`` of the macro.
    """

    action: str
    component: str
    since: Boundary
    factor: float
    entries: tuple[str, ...] = ()


class AreaPart(NamedTuple):
    """A component of one array beside its cells: ``number`` of them, each of the area of an ``entry``."""

    component: str
    number: float
    entry: str


Time = NDArray[np.float64] | float


class Timing(NamedTuple):
    """How long the circuits of an array take [s].

    Args:
        settling: of lines and amplifiers until a current stands, the averaging of its noise included.
        sense: one decision of a sense amplifier.
        conversion: of one sum.
        cycle: of the logic.
        sharing: columns that take turns at a converter.
        hold: whether sums are sampled together and held for their turn.
        planes_per_read: planes of the inputs that meet a weight for each time it is sensed.
        rows_at_once: rows of a digital array that are sensed and added up together.
        sensed: whether the bits of a digital array are sensed; static cells are not.
    """

    settling: Time
    sense: Time
    conversion: Time
    cycle: float
    sharing: int
    hold: bool
    planes_per_read: int
    rows_at_once: int = 1
    sensed: bool = True


@dataclass
class Call:
    """One use of a crossbar.

    Args:
        written: the cells.
        geometry: of the layer.
        noise: random numbers of the layer.
        counters: returns where the numbers of each of so many images begin.
        measured: of a calibration, where there was one.
    """

    written: Written
    geometry: Geometry
    noise: ReadNoise
    counters: Callable[[int], Keys]
    measured: Measured | None = None


class Readout:
    """The circuit behind the columns of a crossbar.

    Args:
        spec: of the arrays.
        where: of the crossbar, for messages.
    """

    def __init__(self, spec: ArraySpec, where: str) -> None:
        self.spec, self.drive, self.cell = spec, spec.drive, spec.column.noise()

    def counts(self, call: Call, q: torch.Tensor) -> torch.Tensor:
        """Return the products of whole inputs ``q`` in counts, float32 in the shape of the layer's output."""
        raise NotImplementedError

    def outputs(self, call: Call, q: torch.Tensor, step: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Return the products in the layer's own units: counts times the steps of inputs and weights, and the bias."""
        y = self.counts(call, q) * (step * call.written.step_out)
        return y if bias is None else y + call.geometry.per_output(bias)

    def count(self, ledger: Ledger, shape: tuple[int, int, int], positions: int, slices: int) -> None:
        """Count the actions of ``positions`` vectors that meet matrices of a shape; ``slices`` of them are read."""
        spec = self.spec
        groups, each, inputs = shape
        driven = positions * self.drive.activations
        blocks = math.ceil(each / spec.outputs_per_tile) * groups
        products = driven * inputs * groups * each * slices * (spec.columns_per_output // spec.slices)
        ledger.count("product", products + driven * inputs * blocks * spec.dummies)
        ledger.count("activation", driven)
        ledger.count("drive", driven * inputs * blocks)
        self._count_sums(ledger, products, positions * math.ceil(inputs / spec.rows) * groups * each * slices)

    def _count_sums(self, ledger: Ledger, products: int, sums: int) -> None:
        raise NotImplementedError

    def size(self, shape: tuple[int, int, int]) -> tuple[int, int]:
        """Return the cells that hold matrices of a shape, dummies included, and the tiles that these lie in."""
        groups, outputs, inputs = shape
        blocks = math.ceil(outputs / self.spec.outputs_per_tile)
        columns = outputs * self.spec.columns_per_output + blocks * self.spec.dummies
        return groups * inputs * columns, groups * blocks * math.ceil(inputs / self.spec.rows)

    @property
    def averaging_time(self) -> float:
        """Time over which the modelled read noise is averaged [s]."""
        return 1 / (2 * self.spec.noise_bandwidth)

    def current_time(self, t: Timing) -> Time:
        """Return how long current flows through a cell for one plane of an input [s]."""
        raise NotImplementedError

    def input_time(self, t: Timing, rows: int) -> Time:
        """Return the time [s] in which an array that uses so many rows takes one input, all its planes."""
        raise NotImplementedError

    def energy(self) -> tuple[EnergyPart, ...]:
        """Return the parts that make up the energy of each action."""
        watts, amperes, rail = self.spec.column.power()
        squared, mean = self.activity
        return (
            EnergyPart("product", "cells", "cell", watts, (*squared, "current time")),
            # what a clamp or a driver loses between the rail and the cell
            EnergyPart("product", "supply of the cells", "macro", amperes, (*mean, rail, "current time")),
            EnergyPart("product", "supply of the cells", "macro", -watts, (*squared, "current time")),
            *self._lines(),
            EnergyPart("drive", "input registers", "macro", self._register_bits, ("flip-flop",)),
        )

    def area(self, t: Timing) -> tuple[AreaPart, ...]:
        """Return the components of one array beside its cells."""
        spec = self.spec
        sums = self.adders(t)
        return (
            AreaPart("input drivers", spec.rows, self._driver),
            AreaPart("input registers", spec.rows * spec.input_bits, "flip-flop area"),
            AreaPart("adders", sums * self.sum_bits, "full adder area"),
            AreaPart("output registers", sums * self.sum_bits, "flip-flop area"),
        )

    def adders(self, t: Timing) -> float:
        """Return how many sums an array adds up side by side."""
        return self.spec.outputs_per_tile

    @property
    def sum_bits(self) -> int:
        """Width of a sum of an output in an array."""
        spec = self.spec
        return spec.weight_bits + spec.input_bits + math.ceil(math.log2(max(spec.rows, 2)))

    @property
    def _driver(self) -> str:
        """Entry of the area of a row's driver."""
        return "dac area" if self.drive.multilevel else "driver area"

    @property
    def _register_bits(self) -> int:
        """Bits that an input register moves for one driving of its row."""
        return self.spec.input_bits if self.drive.multilevel else 1

    @property
    def activity(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Entries of the mean square of the rows' voltages over the largest, and of their mean."""
        if self.spec.column.in_series:
            return (), ()  # the same current passes all cells of a string, whatever the input
        return (("input square",), ("input mean",)) if self.drive.multilevel else (("bits set",), ("bits set",))

    def _lines(self) -> tuple[EnergyPart, ...]:
        """Rows: a voltage for each of many levels, or a word line that a bit of the input raises to the supply."""
        volts = self.spec.cell_voltage
        row: tuple[str, ...] = ("bits set", "core", "core", "word line")
        factor = 1.0
        if self.drive.multilevel:
            row, factor = ("input square", "row line"), volts**2
        return (
            EnergyPart("drive", "word lines", "cell+line", factor, row),
            EnergyPart("drive", "input drivers", "macro", factor, (*row, "driver_overhead")),
        )
