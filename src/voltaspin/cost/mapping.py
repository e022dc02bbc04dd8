"""Which weights lie where: a network's layers in the arrays of a chip, and how long each takes.

A layer's matrix is cut into blocks of at most an array's rows and columns. Large blocks get an array of their own;
small ones, those of depthwise convolutions among them, are packed on shelves of common arrays, where they work one
after another. With more arrays than needed, slow layers get copies, which share their positions.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.format import quantity
from voltaspin.core.result import Part, Result, Unit

if TYPE_CHECKING:
    from voltaspin.memory import ArraySpec
    from voltaspin.memory.crossbar.trace import NetworkTrace

#: Share of an array's rows or columns above which a block has an array of its own.
_OWN = 0.5
_MOST_LAYERS = 12  # that a summary names
#: Utilisation of the arrays below which a design is said to waste most of its area.
WASTE = 0.5


class Block(Part):
    """A rectangle of cells in one array.

    Args:
        layer: index among the mapped layers.
        array: index of the array in its layer's size class.
        row, column: of its first cell.
        rows, columns: cells.
    """

    layer: int
    array: int
    row: int
    column: int
    rows: int
    columns: int


class LayerMapping(Part):
    """Where one layer lies.

    Args:
        name, kind: as in the model.
        shape: of its matrices (groups, outputs, inputs).
        positions: vectors that meet them in one evaluation of one image.
        rows, columns: of its arrays.
        arrays: that it occupies once; a share where it shares them.
        copies: of its weights.
        cells: that hold its weights once, dummies included.
        utilisation: of the arrays it occupies.
        turns: blocks of it that work one after another, since they share an array.
        seconds: of one evaluation of one image.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    positions: int
    rows: int
    columns: int
    arrays: float
    copies: int
    cells: int
    utilisation: float
    turns: int
    seconds: Annotated[float, Unit("s")]


class Mapping(Result):
    """A network in the arrays of a chip.

    Args:
        model: name of its class.
        layers: in memory, in the order of execution.
        blocks: of each layer's first copy.
        digital: layers that stay digital, with their reasons.
        arrays: in all, copies included; needed: to hold every weight once.
        cells: in use, once.
        utilisation: share of the cells of the needed arrays that hold weights.
        reloaded: cells that are written again in every evaluation, since the chip has too few arrays.
        busiest: time that the busiest array works in one evaluation, which bounds the throughput.
        warnings: where a design wastes most of its area, and what would help.
    """

    KIND: ClassVar[str] = "memory-mapping"
    model: str
    layers: tuple[LayerMapping, ...]
    blocks: tuple[Block, ...] = Field(repr=False)
    digital: dict[str, str] = Field(default_factory=dict, repr=False)
    arrays: int
    needed: int
    cells: int
    utilisation: float
    reloaded: int = 0
    busiest: Annotated[float, Unit("s")]
    warnings: tuple[str, ...] = ()

    def built(self, layer: LayerMapping) -> float:
        """Return the arrays that a layer has on the chip, copies included."""
        return (layer.arrays + (layer.copies - 1) * math.ceil(layer.arrays)) * min(1.0, self.arrays / self.needed)

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: totals, the slowest layers, warnings."""
        copied = sum(w.copies > 1 for w in self.layers)
        rows = [
            ("arrays", f"{self.arrays}, {self.needed} of them hold every weight once"
             + (f"; {copied} layers have copies" if copied else "")),
            ("cells in use", f"{self.cells:,}, {self.utilisation:.1%} of the needed arrays"),
            ("busiest array", f"{quantity(self.busiest, 's')} of an evaluation"),
        ]  # fmt: skip
        if self.reloaded:
            rows.append(("written again in each evaluation", f"{self.reloaded:,} cells"))
        slowest = sorted(self.layers, key=lambda w: -w.seconds)[:_MOST_LAYERS]
        rows += [
            (f"layer {w.name}",
             f"{w.shape[0]} x {w.shape[1]} x {w.shape[2]} at {w.positions:,} positions: {w.arrays:.3g} arrays of "
             f"{w.rows} x {w.columns}, {w.utilisation:.0%} used, {w.copies} cop{'y' if w.copies == 1 else 'ies'}, "
             f"{quantity(w.seconds, 's')}")
            for w in slowest
        ]  # fmt: skip
        rows += [(f"digital: {name}", reason) for name, reason in self.digital.items()]
        return rows + [("warning", text) for text in self.warnings]


@dataclass
class _Piece:
    """A block that is still to be placed."""

    layer: int
    rows: int
    columns: int


def pieces_of(shape: tuple[int, int, int], spec: ArraySpec) -> list[tuple[int, int]]:
    """Return rows and columns of the blocks of a layer's matrices, dummy columns included."""
    groups, outputs, inputs = shape
    heights = _parts(inputs, spec.rows)
    widths = [n * spec.columns_per_output + spec.dummies for n in _parts(outputs, spec.outputs_per_tile)]
    return [(h, w) for _ in range(groups) for w in widths for h in heights]


def _parts(whole: int, most: int) -> list[int]:
    full, rest = divmod(whole, most)
    return [most] * full + ([rest] if rest else [])


def _shelves(pieces: Iterable[_Piece], rows: int, columns: int, *, pack: bool) -> tuple[list[Block], int]:
    """Place blocks: first fit on shelves, the highest first; returns them and the number of arrays."""
    placed: list[Block] = []
    arrays = 0
    #: of each shelf: array, its row, height, first free column
    shelves: list[list[int]] = []
    free_rows: list[list[int]] = []  # of each common array: index, first free row
    for p in sorted(pieces, key=lambda p: (-p.rows, -p.columns)):
        if not pack or (p.rows > rows * _OWN and p.columns > columns * _OWN):
            placed.append(Block(layer=p.layer, array=arrays, row=0, column=0, rows=p.rows, columns=p.columns))
            arrays += 1
            continue
        shelf = next((s for s in shelves if p.rows <= s[2] and p.columns <= columns - s[3]), None)
        if shelf is None:
            room = next((r for r in free_rows if p.rows <= rows - r[1]), None)
            if room is None:
                room = [arrays, 0]
                free_rows.append(room)
                arrays += 1
            shelf = [room[0], room[1], p.rows, 0]
            room[1] += p.rows
            shelves.append(shelf)
        array, row, _, column = shelf
        placed.append(Block(layer=p.layer, array=array, row=row, column=column, rows=p.rows, columns=p.columns))
        shelf[3] += p.columns
    return placed, arrays


def map_network(
    trace: NetworkTrace,
    spec: ArraySpec,
    *,
    input_time: Callable[[ArraySpec, int], float],
    arrays: int | None = None,
    pack: bool = True,
) -> Mapping:
    """Lay a network's weights into arrays.

    Args:
        trace: of the network.
        spec: of the arrays; ``spec.layers`` may give layers arrays of another kind.
        input_time: the time [s] in which an array of a kind, of which so many rows are used, takes one input.
        arrays: of the chip; None: as many as are needed. More become copies of the layers that gain most time by
            them; with fewer every weight is written again in each evaluation.
        pack: whether small blocks share arrays.

    Raises:
        InputError: no layer goes into memory, or an array count below 1.
    """
    if arrays is not None and arrays < 1:
        raise InputError(f"arrays = {arrays}: give at least 1")
    digital = trace.digital(spec)
    held = [w for w in trace.layers if w.name not in digital and w.shape is not None]
    if not held:
        raise InputError(f"no layer of {trace.model} goes into memory: {'; '.join(sorted(set(digital.values())))}")
    specs = [array_of(spec, w.name) for w in held]
    kinds: dict[str, list[int]] = {}
    for i, own in enumerate(specs):
        kinds.setdefault(own.model_dump_json(), []).append(i)
    blocks, needed, cells_of_arrays = [], 0, 0
    for members in kinds.values():
        own = specs[members[0]]
        pieces = [_Piece(i, *size) for i in members for size in pieces_of(held[i].shape or (0, 0, 0), own)]
        placed, count = _shelves(pieces, own.rows, own.columns, pack=pack)
        blocks += [b.model_copy(update={"array": b.array + needed}) for b in placed]
        needed += count
        cells_of_arrays += count * own.rows * own.columns
    busy: dict[int, float] = {}
    cells, share, turns, seconds = ([0.0] * len(held) for _ in range(4))
    used = _cells_by_array(blocks)
    by_layer: dict[int, dict[int, list[Block]]] = {}
    for b in blocks:
        by_layer.setdefault(b.layer, {}).setdefault(b.array, []).append(b)
    for i, at in by_layer.items():
        own, w = specs[i], held[i]
        for array, mine in at.items():
            area = sum(b.rows * b.columns for b in mine)
            cells[i] += area
            share[i] += area / used[array]
            each = len(mine) * input_time(own, max(b.rows for b in mine)) * w.positions
            busy[array] = busy.get(array, 0.0) + each
            turns[i] = max(turns[i], len(mine))
            seconds[i] = max(seconds[i], each)
    copies = [1] * len(held)
    total = needed
    if arrays is not None and arrays > needed:
        total += _copy(copies, seconds, share, arrays - needed)
    reloaded = int(sum(cells)) if arrays is not None and arrays < needed else 0
    layers = tuple(
        LayerMapping(
            name=w.name, kind=w.kind, shape=w.shape or (0, 0, 0), positions=w.positions, rows=own.rows,
            columns=own.columns, arrays=share[i], copies=copies[i], cells=int(cells[i]),
            utilisation=cells[i] / (share[i] * own.rows * own.columns), turns=int(turns[i]),
            seconds=seconds[i] / copies[i],
        )
        for i, (w, own) in enumerate(zip(held, specs, strict=True))
    )  # fmt: skip
    spread: dict[int, int] = {}
    for b in blocks:
        spread[b.array] = max(spread.get(b.array, 1), copies[b.layer])
    return Mapping(
        model=trace.model, layers=layers, blocks=tuple(blocks), digital=digital,
        arrays=total if arrays is None or arrays >= needed else arrays, needed=needed, cells=int(sum(cells)),
        utilisation=sum(cells) / cells_of_arrays, reloaded=reloaded,
        busiest=max(t / spread[a] for a, t in busy.items()),
        warnings=_warnings(layers, sum(cells) / cells_of_arrays, spec, pack),
    )  # fmt: skip


def array_of(spec: ArraySpec, layer: str) -> ArraySpec:
    """Return the arrays of one layer that lies in memory, without what differs in other layers."""
    own = spec.of_layer(layer)
    assert own is not None
    return own.model_copy(update={"layers": {}})


def _cells_by_array(blocks: list[Block]) -> dict[int, int]:
    used: dict[int, int] = {}
    for b in blocks:
        used[b.array] = used.get(b.array, 0) + b.rows * b.columns
    return used


def _copy(copies: list[int], seconds: list[float], share: list[float], spare: int) -> int:
    """Give the layers that gain most time for an array a copy, as long as there are arrays; returns those taken."""

    def gain(i: int) -> float:
        return seconds[i] / (copies[i] * (copies[i] + 1)) / math.ceil(share[i])

    heap = [(-gain(i), i) for i in range(len(copies))]
    heapq.heapify(heap)
    taken = 0
    while heap:
        _, i = heapq.heappop(heap)
        if (size := math.ceil(share[i])) > spare - taken:
            continue
        copies[i] += 1
        taken += size
        heapq.heappush(heap, (-gain(i), i))
    return taken


def _warnings(layers: tuple[LayerMapping, ...], utilisation: float, spec: ArraySpec, pack: bool) -> tuple[str, ...]:
    if utilisation >= WASTE:
        return ()
    worst = sorted(layers, key=lambda w: w.arrays * (1 - w.utilisation), reverse=True)[:3]
    wasted = ", ".join(f"{w.name} ({w.utilisation:.0%} of {w.arrays:.3g})" for w in worst)
    remedy = f"smaller arrays than {spec.rows} x {spec.columns}" + ("" if pack else ", or pack=True")
    return (f"only {utilisation:.0%} of the arrays' cells hold weights; most is lost in {wasted}: try {remedy}",)
