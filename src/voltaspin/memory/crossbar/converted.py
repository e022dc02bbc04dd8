"""Readouts of a crossbar that convert sums of cells; and the choice of a readout by a specification."""

from __future__ import annotations

import math

import numpy as np
import torch

from voltaspin.core.ledger import Ledger
from voltaspin.memory.crossbar.converters import Conversion, converter_step, fixed_range, gaussian_loss, loading
from voltaspin.memory.crossbar.geometry import Transposed
from voltaspin.memory.crossbar.program import Written, powers
from voltaspin.memory.crossbar.readout import AreaPart, Call, EnergyPart, Keys, Readout, Time, Timing
from voltaspin.memory.crossbar.sensed import Digital
from voltaspin.memory.crossbar.spec import ArraySpec, Converter

_COLUMNS = 32 << 20  # elements of unfolded inputs held at once


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
