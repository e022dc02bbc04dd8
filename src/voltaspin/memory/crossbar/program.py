"""From integer weights to the cells of the tiles, with everything that stays the same from read to read.

Write errors, stuck and aged cells, the spread of the resistances and the lines' resistance are all fixed, and a
resistive network is linear in its inputs. They therefore fold into one matrix of effective weights: what the
columns count for one step of each input.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch

from voltaspin.core.errors import InputError
from voltaspin.memory.crossbar.normals import ReadNoise
from voltaspin.memory.crossbar.periphery import FIRST_ORDER, line_drop, read_noise, resistive_network
from voltaspin.memory.crossbar.spec import ArraySpec

_NETWORK = 1 << 16  # cells of a layer that the network is solved for: some 12 s as one tile, 3 s as tiles of 64 x 64


@dataclass
class Programmed:
    """Weights as they stand in the arrays.

    Args:
        bits: uint8 (signs, slices, groups, outputs, inputs): what the cells hold.
        value: float32 (slices, groups, outputs, inputs): what a slice's column counts per step of an input.
        weight: float32 (groups, outputs, inputs): the slices together, the offset taken off.
        linear, square: float32 like ``weight``: sums over the cells of a weight of ``4**slice`` times g and g**2,
            for the read noise; None where nothing is noisy.
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
        fixed = spec.mode == "digital" or not (spec.resistance_spread or spec.wire_resistance)
        if fixed and read_noise(spec).silent:
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
    """What is to be written: uint8 (signs, slices, *shape of integers)."""
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
    groups, outputs, inputs = integers.shape
    four = torch.tensor([4.0**s for s in range(spec.slices)], device=bits.device).view(-1, 1, 1, 1)
    two = torch.tensor([2.0**s for s in range(spec.slices)], device=bits.device).view(-1, 1, 1, 1)
    if spec.mode == "digital":
        if spec.resistance_spread:
            bits = _sensed(bits, spec, chance)
            wrong = int((bits != wanted).sum())
        value = bits[0].float() - bits[1].float() if not spec.offset else bits[0].float()
        value = value * used.view(-1, 1, 1, 1)
        weight = (value * two).sum(0) - spec.offset
        return Programmed(bits, value, weight, None, None, None, wrong, used)
    g, dummy = conductances(bits, spec, chance, used)
    if spec.offset:
        base = torch.full((1, groups, 1, inputs), 1 / spec.TMR, device=g.device)
        if dummy is not None:
            base = dummy.repeat_interleave(spec.outputs_per_tile, 0)[:outputs].permute(1, 0, 2)[None]
        value = g[0] - base
    else:
        value = g[0] - g[1]
    value = value * used.view(-1, 1, 1, 1)
    weight = (value * two).sum(0) - spec.offset
    noise = read_noise(spec)
    if noise.silent:
        return Programmed(bits, value, weight, None, None, None, wrong, used)

    def of(conductance: torch.Tensor) -> torch.Tensor:
        return (noise.relative * conductance) ** 2 if noise.relative else conductance

    per_slice = of(g).sum(0)
    return Programmed(
        bits,
        value,
        weight,
        (per_slice * four).sum(0),
        per_slice,
        None if dummy is None else of(dummy),
        wrong,
        used,
    )


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
    if spec.wire_resistance and spec.mode == "analog":
        g = _lines(g, spec)
    if not spec.dummies:
        return g, None
    _, _, groups, outputs, inputs = bits.shape
    dummy = torch.full((-(-outputs // spec.outputs_per_tile), groups, inputs), off, device=g.device)
    if spec.resistance_spread:
        dummy *= _spread(dummy.shape, spec, chance, "spread of the dummies").to(g.device)
    return g, dummy


def _sensed(bits: torch.Tensor, spec: ArraySpec, chance: ReadNoise) -> torch.Tensor:
    """What sensing each cell alone finds: a cell whose conductance is on the wrong side is always read wrongly."""
    off = 1 / spec.TMR
    g = (bits.float() + off) * _spread(bits.shape, spec, chance, "spread").to(bits.device)
    return (g > off + 0.5).to(torch.uint8)


def _lines(g: torch.Tensor, spec: ArraySpec) -> torch.Tensor:
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
