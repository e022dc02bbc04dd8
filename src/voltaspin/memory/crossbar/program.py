"""From integer weights to the cells of the tiles, with everything that stays the same from read to read.

Write errors, stuck and aged cells, the spread of the resistances and the lines' resistance are all fixed, and a
resistive network is linear in its inputs. They therefore fold into one matrix of effective weights: what the
columns count for one step of each input. The lines are taken to first order where that holds, else by Kirchhoff's laws.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.memory.crossbar.geometry import Geometry
from voltaspin.memory.crossbar.normals import ReadNoise
from voltaspin.memory.crossbar.spec import ArraySpec

Floats = NDArray[np.float64]

_NETWORK = 1 << 16  # cells of a layer that the network is solved for: some 12 s as one tile, 3 s as tiles of 64 x 64
FIRST_ORDER = 0.7  #: largest loss of a line, over the current's share that arrives, for which the first order holds


def line_drop(g: torch.Tensor, resistance: float) -> torch.Tensor:
    """Share of a cell's current that arrives where the lines have resistance, to first order.

    Rows are driven from the left, columns are sensed at the bottom by an amplifier of no input resistance. What a
    line loses is taken from the currents that flow without any loss; ``1 / (1 + loss)`` instead of ``1 - loss``
    keeps a long line's share positive.

    Up to a loss of :data:`FIRST_ORDER` the currents of the columns lie within 1.5 % of the network's, and the
    differences of neighbouring columns within 5 % (``tests/memory/test_crossbar.py``).

    Args:
        g: conductances, (..., rows, columns).
        resistance: of a line between two cells, in units of 1 / (unit of g).
    """
    along = g.flip(-1).cumsum(-1).flip(-1).cumsum(-1)
    down = g.cumsum(-2).flip(-2).cumsum(-2).flip(-2)
    return 1 / (1 + resistance * (along + down))


def resistive_network(g: Floats, resistance: float) -> Floats:
    """Conductance from every row's driver to every column's amplifier, by Kirchhoff's laws: the oracle.

    Args:
        g: conductances of the cells (rows, columns).
        resistance: of a line between two cells, and from the driver to the first and the last to the amplifier.

    Returns:
        (rows, columns): current into column j for 1 V on row i and 0 V on all others.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    rows, columns = g.shape
    if resistance == 0:
        return g.copy()
    wire = 1 / resistance
    n = rows * columns
    top = np.arange(n).reshape(rows, columns)  # nodes of the row lines
    bottom = top + n
    a, b = [top.ravel()], [bottom.ravel()]
    value = [g.ravel()]
    for left, right in ((top[:, :-1], top[:, 1:]), (bottom[:-1], bottom[1:])):
        a.append(left.ravel())
        b.append(right.ravel())
        value.append(np.full(left.size, wire))
    i, j, v = (np.concatenate(part) for part in (a, b, value))
    diagonal = np.bincount(i, v, 2 * n) + np.bincount(j, v, 2 * n)
    np.add.at(diagonal, np.concatenate([top[:, 0], bottom[-1]]), wire)
    off = sparse.coo_matrix((-v, (i, j)), shape=(2 * n, 2 * n))
    matrix = (off + off.T + sparse.diags(diagonal)).tocsc()
    drive = np.zeros((2 * n, rows))
    drive[top[:, 0], np.arange(rows)] = wire
    potential = splu(matrix).solve(drive)
    return np.asarray(potential[bottom[-1]].T * wire)


def with_lines(g: torch.Tensor, spec: ArraySpec) -> torch.Tensor:
    """Conductances with the lines' resistance, tile by tile: to first order where that holds, else of the network.

    Raises:
        InputError: the first order does not hold and the tiles are too many or too large for the network's solution.
    """
    signs, slices, groups, outputs, inputs = g.shape
    resistance = spec.wire_resistance * (1 - 1 / (1 + spec.TMR)) / spec.R_P
    seen = torch.empty_like(g)
    far: list[tuple[slice, slice, torch.Tensor]] = []
    worst = 0.0

    def put(tile: torch.Tensor, some: slice, rows: slice) -> None:
        parts = tile.view(groups, rows.stop - rows.start, some.stop - some.start, slices, signs)
        seen[:, :, :, some, rows] = parts.permute(4, 3, 0, 2, 1)

    for first in range(0, outputs, spec.outputs_per_tile):
        some = slice(first, min(first + spec.outputs_per_tile, outputs))
        for top in range(0, inputs, spec.rows):
            rows = slice(top, min(top + spec.rows, inputs))
            # columns lie in the order output, slice, sign
            tile = g[:, :, :, some, rows].permute(2, 4, 3, 1, 0).reshape(groups, rows.stop - rows.start, -1)
            share = line_drop(tile, resistance)
            loss = float((1 / share - 1).max())
            if loss > FIRST_ORDER:
                far.append((some, rows, tile))
                worst = max(worst, loss)
            else:
                put(tile * share, some, rows)
    if sum(tile.numel() for _, _, tile in far) > _NETWORK:
        raise InputError(_too_long(spec, worst))
    for some, rows, tile in far:
        solved = [resistive_network(t, resistance) for t in tile.double().cpu().numpy()]
        put(torch.from_numpy(np.stack(solved)).to(tile), some, rows)
    return seen


def _too_long(spec: ArraySpec, loss: float) -> str:
    # half of the cells conduct, and the farthest cell's loss goes with the square of the tile's size
    size = int(math.sqrt(FIRST_ORDER / loss) * min(spec.rows, spec.columns))
    return (
        f"wire_resistance = {spec.wire_resistance:g} ohm with R_P = {spec.R_P:g} ohm in tiles of {spec.rows} x "
        f"{spec.columns} loses {loss:.2g} times the current that arrives at the farthest cell; line drop is computed "
        f"to first order up to {FIRST_ORDER:g}, and from the network for {_NETWORK:,} cells of a layer at most: take "
        f"rows and columns of at most {size}, a larger R_P or a smaller wire_resistance"
    )


_EXACT = 2.0**24  # integers up to here are exact in float32, and so is any sum of them that stays below
LARGE = 2.0**60  #: beyond which, or below the inverse of which, numbers are scaled before float32 takes them


@dataclass
class Programmed:
    """Weights as they stand in the arrays.

    Args:
        bits: uint8 (signs, slices, groups, outputs, inputs): what the cells hold.
        value: float32 (slices, groups, outputs, inputs): what a slice's column counts per step of an input.
        weight: float32 (groups, outputs, inputs): the slices together, the offset taken off.
        noise: float32 like ``weight``: sum over the cells of a weight of ``4**slice`` times ``slice_noise``; None where
            nothing is noisy.
        slice_noise: float32 like ``value``: ``relative**2 g**2`` or g, whichever the noise needs.
        dummy_noise: float32 (blocks, groups, inputs): the same of the dummy column of each block of outputs.
        wrong: cells that do not hold what was written.
        used: bool (slices,): slices in which any cell was to hold a 1. The others are never read, add no noise and
            take no conversions.
    """

    bits: torch.Tensor
    value: torch.Tensor
    weight: torch.Tensor
    noise: torch.Tensor | None
    slice_noise: torch.Tensor | None
    dummy_noise: torch.Tensor | None
    wrong: int
    used: torch.Tensor


def quantise_weights(weight: torch.Tensor, spec: ArraySpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers and the step of each output.

    Args:
        weight: (outputs, inputs).

    Returns:
        integers (outputs, inputs) as float32, and step (outputs,). Where all weights are integers that fit, they
        are taken as they are in cells without noise. Noisy cells take the largest whole multiple that fits of each
        row over its common divisor, so that weights of -1 and 1 fill all slices and average their noise. One bit
        takes the sign of a weight; 0 leaves both cells of the pair off.
        Below 8 bits the step is the one of 24 candidates with the least square error.
    """
    top = spec.weight_top
    if spec.weight_bits == 1:
        count = (weight != 0).sum(1).clamp_min(1)
        step = weight.abs().sum(1) / count
        return weight.sign(), step.where(step > 0, 1.0)
    largest = weight.abs().amax(1)
    whole = bool((weight == weight.round()).all()) and float(largest.max()) <= top
    if whole:
        fixed = not (spec.column.converted and (spec.resistance_spread or spec.wire_resistance))
        if fixed and spec.column.noise().silent:
            return weight.clone(), torch.ones_like(largest)
        common = np.gcd.reduce(weight.abs().cpu().numpy().astype(np.int64), axis=1)
        unit = torch.from_numpy(common).to(weight).clamp_min(1)
        times = (top / (largest / unit).clamp_min(1)).floor()
        return (weight / unit[:, None]).round() * times[:, None], unit / times
    step = largest.clamp_min(1e-30) / top
    if spec.weight_bits < 8:
        best = torch.full_like(step, float("inf"))
        chosen = step
        for share in np.linspace(0.4, 1.0, 24).tolist():
            trial = step * share
            q = (weight / trial[:, None]).round().clamp(-top, top)
            loss = ((q * trial[:, None] - weight) ** 2).sum(1)
            chosen = torch.where(loss < best, trial, chosen)
            best = torch.minimum(loss, best)
        step = chosen
    return (weight / step[:, None]).round().clamp(-top, top), step


def cell_bits(integers: torch.Tensor, spec: ArraySpec) -> torch.Tensor:
    """Return the bits to be written: uint8 (signs, slices, *shape of integers)."""
    w = integers.to(torch.int32)
    shift = torch.arange(spec.slices, dtype=torch.int32, device=w.device).view(-1, *[1] * w.dim())
    if spec.offset:
        signs = (w + spec.offset)[None]
    else:
        signs = torch.stack([w.clamp_min(0), (-w).clamp_min(0)])
    return ((signs[:, None] >> shift[None]) & 1).to(torch.uint8)


def _failed(bits: torch.Tensor, spec: ArraySpec, chance: ReadNoise) -> tuple[torch.Tensor, int]:
    """The bits after write errors, ageing and stuck cells, and how many are wrong."""
    shape = bits.shape
    held = bits.cpu().numpy().reshape(shape[0], shape[1], -1).copy()
    each = held[0, 0].size
    aged = -0.5 * math.expm1(-2 * spec.retention_rate * spec.age)
    content = zlib.crc32(held.tobytes()) if spec.write_error_rate else 0
    for sign in range(shape[0]):
        for s in range(shape[1]):
            plane = held[sign, s]
            verified = s >= shape[1] - spec.verified_bits
            error = spec.write_error_rate ** (spec.write_attempts if verified else 1)
            plane[chance.chosen(f"write {content} {sign} {s}", each, error)] ^= 1
            plane[chance.chosen(f"age {spec.age} {sign} {s}", each, aged)] ^= 1
            stuck = chance.chosen(f"stuck {sign} {s}", each, spec.stuck)
            plane[stuck] = (chance.cells(f"stuck at {sign} {s}", len(stuck)) > 0) if len(stuck) else 0
    found = torch.from_numpy(held.reshape(shape)).to(bits.device)
    return found, int((found != bits).sum())


def _spread(shape: torch.Size, spec: ArraySpec, chance: ReadNoise, purpose: str) -> torch.Tensor:
    """Factor of each cell's conductance (or resistance, in a resistance sum): lognormal of mean 1."""
    s = math.sqrt(math.log1p(spec.resistance_spread**2))
    z = torch.from_numpy(chance.cells(purpose, math.prod(shape)).reshape(shape))
    return torch.exp(s * z - s * s / 2)


def program(integers: torch.Tensor, spec: ArraySpec, chance: ReadNoise) -> Programmed:
    """Write integers into cells.

    Args:
        integers: (groups, outputs, inputs); the inputs of a group run along the rows of its tiles.
        chance: of this layer.
    """
    wanted = cell_bits(integers, spec)
    used = wanted.flatten(2).amax(2).amax(0) > 0
    bits, wrong = _failed(wanted, spec, chance)
    outputs = integers.shape[1]
    two = powers(2.0, spec, bits.device).view(-1, 1, 1, 1)
    dummy = noise = slice_noise = dummy_noise = None
    if not spec.column.converted:
        if spec.resistance_spread:
            bits = _sensed(bits, spec, chance)
            wrong = int((bits != wanted).sum())
        value = bits[0].float() if spec.offset else bits[0].float() - bits[1].float()
    else:
        g, dummy = conductances(bits, spec, chance, used)
        if not spec.offset:
            value = g[0] - g[1]
        elif dummy is None:
            value = g[0] - 1 / spec.TMR
        else:
            value = g[0] - dummy.repeat_interleave(spec.outputs_per_tile, 0)[:outputs].permute(1, 0, 2)[None]
        cell = spec.column.noise()
        if not cell.silent:

            def of(conductance: torch.Tensor) -> torch.Tensor:
                return (cell.relative * conductance) ** 2 if cell.relative else conductance

            slice_noise = of(g).sum(0)
            noise = (slice_noise * powers(4.0, spec, bits.device).view(-1, 1, 1, 1)).sum(0)
            dummy_noise = None if dummy is None else of(dummy)
    value = value * used.view(-1, 1, 1, 1)
    weight = (value * two).sum(0) - spec.offset
    return Programmed(bits, value, weight, noise, slice_noise, dummy_noise, wrong, used)


def powers(base: float, spec: ArraySpec, device: torch.device | None = None) -> torch.Tensor:
    """Return ``base`` to the power of each slice: float32 (slices,)."""
    return torch.tensor([base**s for s in range(spec.slices)], device=device)


def conductances(
    bits: torch.Tensor, spec: ArraySpec, chance: ReadNoise, used: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Conductance of every cell as its column sees it, and of the dummies: in counts, a cell at 1 less one at 0.

    The columns of slices that are not used are switched off. In a resistance sum these are resistances. Returns
    tensors like ``bits`` and (blocks, groups, inputs) or None.
    """
    off = 1 / spec.TMR
    g = bits.float() + off
    if spec.resistance_spread:
        g *= _spread(g.shape, spec, chance, "spread").to(g.device)
    g *= used.view(-1, 1, 1, 1)
    if spec.wire_resistance and spec.column.wired:
        g = with_lines(g, spec)
    if not spec.dummies:
        return g, None
    _, _, groups, outputs, inputs = bits.shape
    dummy = torch.full((-(-outputs // spec.outputs_per_tile), groups, inputs), off, device=g.device)
    if spec.resistance_spread:
        dummy *= _spread(dummy.shape, spec, chance, "spread of the dummies").to(g.device)
    return g, dummy


def _sensed(bits: torch.Tensor, spec: ArraySpec, chance: ReadNoise) -> torch.Tensor:
    """Return the bits that sensing each cell alone finds: a conductance on the wrong side is always read wrongly."""
    off = 1 / spec.TMR
    g = (bits.float() + off) * _spread(bits.shape, spec, chance, "spread").to(bits.device)
    return (g > off + 0.5).to(torch.uint8)


@dataclass
class Written:
    """Programmed cells in the shapes that a layer computes with.

    Args:
        cells: as they stand in the arrays.
        source, scale: weights that were written, and the power of two that they were divided by.
        step: of each output channel.
        step_weight, step_out: the same, to multiply the layer's weight and output.
        weight: effective weights in steps, in the shape of the layer's weight.
        noise, always: the same for the read noise that depends on the input, and for the rest; None where silent.
        exact: whether float32 holds every sum exactly.
        whole: whether every count is a whole number.
        tile_rows: rows of a tile.
    """

    cells: Programmed
    source: torch.Tensor
    scale: float
    step: torch.Tensor
    step_weight: torch.Tensor
    step_out: torch.Tensor
    weight: torch.Tensor
    noise: torch.Tensor | None
    always: torch.Tensor | None
    exact: bool
    whole: bool
    tile_rows: int

    @classmethod
    def of(cls, weight: torch.Tensor, spec: ArraySpec, geometry: Geometry, chance: ReadNoise) -> Written:
        """Quantise weights and write them."""
        scale = power_of_two(float(weight.abs().amax()))
        source = weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True)
        integers, step = quantise_weights(geometry.rows((source / scale).float()), spec)
        cells = program(geometry.matrices(integers), spec, chance)
        cell, drive = spec.column.noise(), spec.drive
        noise = always = None
        if cells.noise is not None:
            noise = geometry.weight(cells.noise).contiguous()
            always = geometry.always(cells.noise.sum(2) * cell.always * drive.read_power * drive.plane_power)
        fixed = spec.resistance_spread or spec.wire_resistance or not cell.silent
        return cls(
            cells, source, scale, step, geometry.per_weight(step), geometry.per_output(step),
            geometry.weight(cells.weight).contiguous(), noise, always,
            exact=float(cells.weight.abs().sum(2).max()) * spec.input_top < _EXACT,
            whole=spec.column.converted and not fixed, tile_rows=spec.rows,
        )  # fmt: skip

    @cached_property
    def tile_moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums of the squared counts of each column, and squares of the sums: (tiles, slices, groups, outputs)."""
        tiles = self.cells.value.split(self.tile_rows, -1)
        squares, totals = [(t**2).sum(-1) for t in tiles], [t.sum(-1) ** 2 for t in tiles]
        return torch.stack(squares), torch.stack(totals)


def require_finite(x: torch.Tensor, where: str) -> None:
    """Raise InputError where a tensor holds values that are NaN or infinite."""
    bad = ~torch.isfinite(x.detach())
    if bool(bad.any()):
        raise InputError(
            f"{where} holds {int(bad.sum())} values that are NaN or infinite; an array stores and takes finite numbers "
            "only: look for the step that made them"
        )


def power_of_two(largest: float) -> float:
    """Return the power of two that brings ``largest`` near 1 where it lies far from it; 1 elsewhere."""
    return 2.0 ** (math.frexp(largest)[1] - 1) if largest > LARGE or 0 < largest < 1 / LARGE else 1.0
