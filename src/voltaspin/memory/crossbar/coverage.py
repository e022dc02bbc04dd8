"""The report of a conversion: which share of a model's work is done in memory, and what stays digital and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

NO_EXAMPLE = "unknown without an example input; give convert(model, spec, example=...)"


@dataclass(frozen=True)
class LayerCoverage:
    """What became of one layer.

    Args:
        name, kind: as in the model.
        in_memory: whether it computes in crossbars.
        reason: why not; empty where it does.
        macs: multiply-accumulates for the example; None without one.
        weights: in its matrix.
        cells: that hold them, dummies included; tiles: arrays that hold these.
    """

    name: str
    kind: str
    in_memory: bool
    reason: str
    macs: int | None
    weights: int
    cells: int = 0
    tiles: int = 0


@dataclass(frozen=True)
class Coverage:
    """What :func:`convert` put into memory.

    Args:
        layers: of the model, in its order.
        other_macs: multiply-accumulates that belong to no layer, such as attention products; None without an example.
        counted: how they were counted.
        rows, columns: of a tile.
        images: in the example.
        other: the same by module and operation.
        uncounted: operations that ran and whose matrix work cannot be counted. With any of them there is no share.
    """

    layers: tuple[LayerCoverage, ...]
    other_macs: int | None
    counted: str
    rows: int
    columns: int
    images: int = 1
    other: dict[str, int] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of the example in all; None where they are not known."""
        if self.other_macs is None or self.uncounted:
            return None
        return self.other_macs + sum(layer.macs or 0 for layer in self.layers)

    @property
    def macs_per_image(self) -> float | None:
        """Multiply-accumulates of one image; None where they are not known."""
        return None if self.macs is None else self.macs / self.images

    @property
    def mac_fraction(self) -> float | None:
        """Share of the multiply-accumulates that are done in memory; None where not all could be counted."""
        if self.macs is None:
            return None
        return sum(layer.macs or 0 for layer in self.layers if layer.in_memory) / max(self.macs, 1)

    @property
    def unknown(self) -> str:
        """Why the share is not known; empty where it is."""
        if self.other_macs is None:
            return NO_EXAMPLE
        if self.uncounted:
            return f"unknown, since the matrix work of {', '.join(self.uncounted)} cannot be counted"
        return ""

    @property
    def weight_fraction(self) -> float:
        """Share of the layers' weights that lie in memory."""
        return sum(w.weights for w in self.layers if w.in_memory) / max(sum(w.weights for w in self.layers), 1)

    @property
    def arrays(self) -> int:
        """Tiles in use."""
        return sum(layer.tiles for layer in self.layers)

    @property
    def cells(self) -> int:
        """Cells in use."""
        return sum(layer.cells for layer in self.layers)

    @property
    def utilisation(self) -> float:
        """Share of the tiles' cells that are in use."""
        return self.cells / max(self.arrays * self.rows * self.columns, 1)

    def to_json(self) -> dict[str, Any]:
        return {
            "mac_fraction": self.mac_fraction, "weight_fraction": self.weight_fraction, "macs": self.macs,
            "other_macs": self.other_macs, "counted": self.counted, "arrays": self.arrays, "cells": self.cells,
            "utilisation": self.utilisation, "rows": self.rows, "columns": self.columns, "images": self.images,
            "other": self.other, "uncounted": list(self.uncounted), "unknown": self.unknown,
            "layers": [asdict(layer) for layer in self.layers],
        }  # fmt: skip

    def __str__(self) -> str:
        held = f"{self.weight_fraction:.2%} of the weights in memory"
        if self.mac_fraction is None:
            lines = [f"{held}; the share of multiply-accumulates is {self.unknown}"]
        else:
            lines = [f"{self.mac_fraction:.2%} of {self.macs:,} multiply-accumulates and {held} ({self.counted})"]
        lines += [
            f"{self.arrays} arrays of {self.rows} x {self.columns}, {self.cells:,} cells used, {self.utilisation:.1%}",
            "digital:",
        ]
        for w in self.layers:
            if not w.in_memory:
                work = "" if w.macs is None else f", {w.macs:,}"
                lines.append(f"  {w.name or 'the model itself'} ({w.kind}{work}): {w.reason}")
        if self.other_macs:
            lines.append(f"  products of no layer, such as attention's: {self.other_macs:,}")
            most = sorted(self.other.items(), key=lambda item: -item[1])
            lines += [f"    {name}: {macs:,}" for name, macs in most[:8]]
        return "\n".join(lines)
