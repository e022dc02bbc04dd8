"""The report of a conversion: the share of a model's work that is done in memory, and the rest with its reason."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from voltaspin.core.result import Part, Result

NO_EXAMPLE = "unknown without an example input; give convert(model, spec, example=...)"
_MOST = 8  # operations of no layer that a summary names


class LayerCoverage(Part):
    """One layer of the model.

    Args:
        name, kind: as in the model.
        in_memory: whether it computes in crossbars.
        reason: why it does not; empty where it does.
        macs: multiply-accumulates for the example; None without one.
        weights: in its matrix.
        cells: that hold them, dummies included; tiles: arrays that hold these.
    """

    name: str
    kind: str
    in_memory: bool
    reason: str = ""
    macs: int | None
    weights: int
    cells: int = 0
    tiles: int = 0


class Coverage(Result):
    """The report of :func:`convert`.

    Args:
        mac_fraction: share of the multiply-accumulates that are done in memory; None where not all could be counted.
        weight_fraction: share of the layers' weights that lie in memory.
        macs: multiply-accumulates of the example in all; None where they are not known.
        other_macs: those that belong to no layer, such as attention products; None without an example.
        counted: how they were counted.
        arrays, cells: tiles and cells in use.
        utilisation: share of the tiles' cells that are in use.
        rows, columns: of a tile.
        images: in the example.
        other: the multiply-accumulates of no layer, by module and operation.
        uncounted: operations that ran and whose matrix work cannot be counted. With any of them there is no share.
        unknown: why the share is not known; empty where it is.
        layers: of the model, in its order.
        assumed: what the example takes for granted, in words.
    """

    KIND: ClassVar[str] = "memory-coverage"
    mac_fraction: float | None
    weight_fraction: float
    macs: int | None
    other_macs: int | None
    counted: str
    arrays: int
    cells: int
    utilisation: float
    rows: int
    columns: int
    images: int = 1
    other: dict[str, int] = Field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    unknown: str
    layers: tuple[LayerCoverage, ...]
    assumed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, layers: list[LayerCoverage], *, other: dict[str, int] | None, counted: str, rows: int, columns: int,
        images: int = 1, uncounted: tuple[str, ...] = (), assumed: tuple[str, ...] = (),
    ) -> Coverage:  # fmt: skip
        """Add up the layers and the work of no layer (None without an example)."""
        held = [layer for layer in layers if layer.in_memory]
        cells, arrays = sum(w.cells for w in held), sum(w.tiles for w in held)
        macs, unknown = None, ""
        if other is None:
            unknown = NO_EXAMPLE
        elif uncounted:
            unknown = f"unknown, since the matrix work of {', '.join(uncounted)} cannot be counted"
        else:
            macs = sum(other.values()) + sum(w.macs or 0 for w in layers)
        return cls(
            mac_fraction=None if macs is None else sum(w.macs or 0 for w in held) / max(macs, 1),
            weight_fraction=sum(w.weights for w in held) / max(sum(w.weights for w in layers), 1), macs=macs,
            other_macs=None if other is None else sum(other.values()), counted=counted, arrays=arrays, cells=cells,
            utilisation=cells / max(arrays * rows * columns, 1), rows=rows, columns=columns, images=images,
            other=other or {}, uncounted=uncounted, unknown=unknown, layers=tuple(layers),
            assumed=assumed,
        )  # fmt: skip

    @property
    def macs_per_image(self) -> float | None:
        """Multiply-accumulates of one image; None where they are not known."""
        return None if self.macs is None else self.macs / self.images

    def summary(self) -> list[tuple[str, str]]:
        """Return shares, arrays, and every layer that stays digital with its reason."""
        share = self.unknown if self.mac_fraction is None else f"{self.mac_fraction:.2%} of {self.macs:,}"
        rows = [
            ("multiply-accumulates in memory", share),
            ("counted", self.counted),
            ("weights in memory", f"{self.weight_fraction:.2%}"),
            ("arrays", f"{self.arrays} of {self.rows} x {self.columns}"),
            ("cells in use", f"{self.cells:,}, {self.utilisation:.1%}"),
        ]
        for w in self.layers:
            if not w.in_memory:
                work = "" if w.macs is None else f", {w.macs:,}"
                rows.append((f"digital: {w.name or 'the model itself'}", f"{w.reason} ({w.kind}{work})"))
        if self.other_macs:
            rows.append(("digital: products of no layer", f"{self.other_macs:,}"))
            most = sorted(self.other.items(), key=lambda item: -item[1])
            rows += [(f"  {name}", f"{macs:,}") for name, macs in most[:_MOST]]
        return rows + [("assumed", text) for text in self.assumed]
