"""Readouts of a crossbar: each computes with the cells, counts its actions, and knows its energy, time and area.

A *digital* readout senses every cell alone and adds up. The others convert sums of cells: an *exact* one rounds and
clips every conversion, column by column as the hardware does; a *statistical* one computes with the layer's own
operation and adds the effect of all conversions as a gain, a shift and Gaussian noise.

A new converter is a class here and its name in :data:`CONVERTERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.core.result import Boundary, Result, Unit
from voltaspin.memory.crossbar.converters import Conversion, converter_step, fixed_range, gaussian_loss, loading
from voltaspin.memory.crossbar.geometry import Geometry, Transposed
from voltaspin.memory.crossbar.normals import ReadNoise
from voltaspin.memory.crossbar.program import Written, powers
from voltaspin.memory.crossbar.spec import ArraySpec, Converter, CurrentSum

Keys = NDArray[np.uint64]

_MISREADS = 1e-6  # of digital sensing, up to which they are left out
_COLUMNS = 32 << 20  # elements of unfolded inputs held at once


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


class Converted(Readout):
    """Sums of cells are converted, column by column, and added up digitally."""

    def counts(self, call: Call, q: torch.Tensor) -> torch.Tensor:
        """Return the products in counts: every tile, slice and plane as the hardware computes them."""
        counters, limits = call.counters(len(q)), self.limits(call, q)
        some = max(1, _COLUMNS // max(call.geometry.unfolded(q) * 2, 1))
        out = []
        for a in range(0, len(q), some):
            here, keys = q[a : a + some], counters[a : a + some]
            y = self._tiles(
                call, call.geometry.unfold(here), limits if len(limits) == 1 else limits[a : a + some], keys
            )
            out.append(call.geometry.fold(self._finished(call, y, here, keys), here))
        return torch.cat(out)

    def _count_sums(self, ledger: Ledger, products: int, sums: int) -> None:
        ledger.count("conversion", sums * self.drive.conversions)
        ledger.count("add", sums * self.drive.conversions)

    def current_time(self, t: Timing) -> Time:
        """Return the settling, and the column's own conversion unless its sum is held [s]."""
        own = 0.0 if t.hold else t.conversion * (self.drive.conversions / self.drive.activations)
        return t.settling + own

    def input_time(self, t: Timing, rows: int) -> Time:
        """Return the time of all planes; columns that share a converter take turns [s]."""
        settling, conversion = self.drive.activations * t.settling, self.drive.conversions * t.conversion
        return (settling if t.hold else t.sharing * settling) + t.sharing * conversion

    def energy(self) -> tuple[EnergyPart, ...]:
        """Return the parts that make up the energy of each action; ``adc`` is one conversion of ``adc_bits``."""
        dac = (EnergyPart("drive", "input drivers", "macro", 1.0, ("dac",)),) if self.drive.multilevel else ()
        width, rail = self.sum_bits, self.spec.column.power()[2]
        return (
            *super().energy(), *dac,
            EnergyPart("conversion", "bit lines", "cell+line", self.spec.string_voltage, (rail, "bit line")),
            EnergyPart("conversion", "converters", "macro", 1.0, ("adc",)),
            EnergyPart("add", "adders", "macro", width, ("full_adder",)),
            EnergyPart("add", "output registers", "macro", width, ("flip-flop",)),
        )  # fmt: skip

    def area(self, t: Timing) -> tuple[AreaPart, ...]:
        """Return the components of one array beside its cells."""
        held = (AreaPart("hold circuits", self.spec.columns, "hold area"),) if t.hold else ()
        return (*super().area(t), *held, AreaPart("converters", self.adders(t), "adc area"))

    def adders(self, t: Timing) -> float:
        """Return how many converters an array has, each with an adder."""
        return math.ceil(self.spec.columns / t.sharing)

    def limits(self, call: Call, q: torch.Tensor) -> torch.Tensor:
        """Return the range of the converters [counts]: (images or 1, slices)."""
        spec = self.spec
        if spec.adc_range is not None:
            return torch.full((1, spec.slices), spec.adc_range, device=q.device)
        if call.measured is not None:
            return call.measured.limit[None]
        square, total = (m.mean((2, 3)).mean(0) for m in call.written.tile_moments)
        first, second = self._moments(q)
        rms2 = (second - first**2).clamp_min(0)[:, None] * square + first[:, None] ** 2 * total
        return loading(spec.adc_bits) * rms2.sqrt().clamp_min(1e-6)

    def charge(self, x: torch.Tensor) -> torch.Tensor:
        """Return the factor of a cell's noise for inputs or planes of them."""
        charge = self.drive.charge(x, squared=bool(self.cell.relative))
        return charge if self.cell.relative else charge * self.cell.per_step

    def _moments(self, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and mean square of the voltages that drive a row in one plane: (images,) each."""
        planes = torch.stack([x.flatten(1) for _, x in self.drive.planes(q)])
        return planes.mean((0, 2)), (planes**2).mean((0, 2))

    def _tiles(self, call: Call, columns: torch.Tensor, limits: torch.Tensor, counters: Keys) -> torch.Tensor:
        """Sums of the tiles (images, groups, outputs, positions) of unfolded inputs."""
        spec, cells = self.spec, call.written.cells
        images, groups, inputs, positions = columns.shape
        S, outputs = cells.value.shape[0], cells.value.shape[2]
        step = converter_step(limits, spec).expand(images, S).contiguous()
        total = torch.zeros(images, groups, outputs, positions)
        planes = self.drive.planes(columns)
        always = self.cell.always * self.drive.read_power
        turn = 0
        for g in range(groups):
            sums = torch.zeros(images, outputs, positions)
            for weight, x in planes:
                for top in range(0, inputs, spec.rows):
                    rows = slice(top, min(top + spec.rows, inputs))
                    xs = x[:, g, rows]
                    value = cells.value[:, g, :, rows].reshape(S * outputs, -1)
                    y = torch.matmul(value, xs).view(images, S, outputs, positions)
                    key = counters + np.uint64((turn := turn + 1) << 40)
                    variance = None
                    if cells.slice_noise is not None:
                        charge = self.charge(xs)
                        v = cells.slice_noise[:, g, :, rows].reshape(S * outputs, -1)
                        variance = torch.matmul(v, charge).view(y.shape) + always * v.sum(1).view(1, S, outputs, 1)
                        if cells.dummy_noise is not None:
                            d = cells.dummy_noise[:, g, rows]
                            spread = (torch.matmul(d, charge) + always * d.sum(1)[:, None]).clamp_min(0).sqrt()
                            common = spread * call.noise.like(spread, key + np.uint64(1 << 39))
                            common = common.repeat_interleave(spec.outputs_per_tile, 1)[:, :outputs]
                            y = y - common[:, None] * cells.used.view(1, S, 1, 1)
                    self._convert(call, y, variance, key, step, weight, sums)
            total[:, g] = sums
        total = total.to(columns.device)
        return total - spec.offset * columns.sum(2, keepdim=True) if spec.offset else total

    def _convert(
        self, call: Call, y: torch.Tensor, variance: torch.Tensor | None, key: Keys, step: torch.Tensor, weight: float,
        sums: torch.Tensor,
    ) -> None:  # fmt: skip
        """Add the converted sums of one tile and plane onto ``sums``.

        Args:
            y: (images, slices, outputs, positions); ``variance`` of its read noise likewise.
            step: of the converters, (images, slices).
            weight: of the plane.
            sums: float32 (images, outputs, positions) on the CPU.
        """
        raise NotImplementedError

    def _finished(self, call: Call, y: torch.Tensor, q: torch.Tensor, counters: Keys) -> torch.Tensor:
        """The sums of all tiles after a step that concerns them together."""
        return y


class Exact(Converted):
    """Every conversion is rounded and clipped."""

    def _convert(
        self, call: Call, y: torch.Tensor, variance: torch.Tensor | None, key: Keys, step: torch.Tensor, weight: float,
        sums: torch.Tensor,
    ) -> None:  # fmt: skip
        call.noise.convert(
            key, y.cpu().contiguous().numpy(),
            variance=None if variance is None else variance.cpu().contiguous().numpy(), step=step.cpu().numpy(),
            bits=self.spec.adc_bits, weight=powers(2.0, self.spec).numpy() * np.float32(weight), out=sums.numpy(),
        )  # fmt: skip


class Statistical(Converted):
    """All conversions behind an output together: a gain, a shift and Gaussian noise.

    They are measured where a calibration chose the ranges, else those of Gaussian sums.
    """

    def counts(self, call: Call, q: torch.Tensor) -> torch.Tensor:
        """Return the products in counts."""
        return super().counts(call, q) if self._shared else self._direct(call, q, None, None)

    def outputs(self, call: Call, q: torch.Tensor, step: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Return the products in the layer's own units."""
        return super().outputs(call, q, step, bias) if self._shared else self._direct(call, q, step, bias)

    @property
    def _shared(self) -> bool:
        """Whether outputs share the noise of a dummy column, so that it is drawn column by column."""
        return self.spec.dummies > 0 and not self.cell.silent

    def _convert(
        self, call: Call, y: torch.Tensor, variance: torch.Tensor | None, key: Keys, step: torch.Tensor, weight: float,
        sums: torch.Tensor,
    ) -> None:  # fmt: skip
        if variance is not None:
            y = y + variance.clamp_min(0).sqrt() * call.noise.like(y, key)
        sums += weight * (y * powers(2.0, self.spec, y.device).view(1, -1, 1, 1)).sum(1).cpu()

    def _finished(self, call: Call, y: torch.Tensor, q: torch.Tensor, counters: Keys) -> torch.Tensor:
        gain, shift, variance = (t.view(len(t), y.shape[1], -1, 1) for t in self._conversion(call, q))
        return y * gain + shift + variance.sqrt() * call.noise.like(y, counters + np.uint64(1 << 38))

    def _direct(
        self, call: Call, q: torch.Tensor, step: torch.Tensor | None, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """The layer's operation with the effective weights, and a second one with the variances: in counts, or in the
        layer's own units where ``step`` is given."""
        written, geometry = call.written, call.geometry
        conversion = self._conversion(call, q)
        y = geometry.apply(q, written.weight).contiguous()
        variance = None
        if written.noise is not None:
            variance = geometry.apply(self.charge(q), written.noise, written.always)
        if isinstance(geometry, Transposed):
            y, variance = geometry.converted(q, y, variance, written.weight, *conversion)
            conversion = Conversion.none(len(y), written.step.numel(), y.device)
        counters = call.counters(len(y))
        scale = torch.ones(len(y), written.step.numel(), device=y.device)
        add = torch.zeros_like(scale[:1])
        if step is not None:
            scale = step.reshape(-1).expand(len(y))[:, None] * written.step
            add = add if bias is None else bias.detach().float()[None]
        add = add + scale * conversion.shift
        white = conversion.variance / conversion.gain**2
        rows = (len(y), y.shape[1], -1) if geometry.trailing else (len(y), -1, y.shape[-1])
        per_channel = [
            t[:, :, None] if geometry.trailing else t[:, None] for t in (white, scale * conversion.gain, add)
        ]
        host = [t.cpu().contiguous() for t in (y.view(*rows), *per_channel)]
        v = None if variance is None else variance.contiguous().view(*rows).cpu().numpy()
        y3, w3, s3, b3 = (t.numpy() for t in host)
        call.noise.finish(counters, y3, variance=v, white=w3, scale=s3, bias=b3)
        return host[0].view(y.shape).to(y.device)

    def _conversion(self, call: Call, q: torch.Tensor) -> Conversion:
        spec, written = self.spec, call.written
        groups, outputs, inputs = call.geometry.shape
        tiles = math.ceil(inputs / spec.rows)
        if call.measured is not None:
            return call.measured.conversion
        if spec.adc_range is not None:
            return self._clipped(written, q, tiles)
        each = gaussian_loss(self.limits(call, q), spec.adc_bits)
        if written.whole:  # whole counts that meet a step of whole counts are rounded on a lattice
            each = (each - 1 / 12).clamp_min(0)
        total = (each * (powers(4.0, spec, q.device) * written.cells.used)).sum(1) * tiles * self.drive.plane_power
        none = Conversion.none(1, groups * outputs, q.device)
        return none._replace(variance=total[:, None].expand(-1, groups * outputs))

    def _clipped(self, written: Written, q: torch.Tensor, tiles: int) -> Conversion:
        """Converters of a fixed range on Gaussian sums of each output's own root mean square."""
        spec = self.spec
        assert spec.adc_range is not None
        own_square, own_total = (m.mean(0).flatten(1) for m in written.tile_moments)
        first, second = (m[:, None, None] for m in self._moments(q))
        square = (second - first**2).clamp_min(0) * own_square + first**2 * own_total
        limit = torch.full_like(square, spec.adc_range)
        gain, shift, rest = fixed_range(limit, square.sqrt(), spec.adc_bits)
        if written.whole:
            rest = (rest - converter_step(limit, spec).clamp_max(1.0) ** 2 / 12).clamp_min(0)
        two = (powers(2.0, spec, q.device) * written.cells.used)[:, None]
        power = two**2 * square
        mean = ((power * gain).sum(1) / power.sum(1).clamp_min(1e-30)).clamp_min(1e-6)
        rest = (two**2 * rest).sum(1) + (power * (gain - mean[:, None]) ** 2).sum(1)
        planes = sum(w for w, _ in self.drive.planes(torch.zeros(1)))
        return Conversion(mean, (two * shift).sum(1) * tiles * planes, rest * tiles * self.drive.plane_power)


#: The readout that each model of a converter stands for.
CONVERTERS: dict[Converter, type[Converted]] = {"exact": Exact, "statistical": Statistical}


def readout_of(spec: ArraySpec, *, where: str) -> Readout:
    """Return the readout that a specification chooses."""
    return (CONVERTERS[spec.adc_model] if spec.column.converted else Digital)(spec, where)
