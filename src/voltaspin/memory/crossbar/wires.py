"""Resistance of the lines: to first order where that holds, else by Kirchhoff's laws."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
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
