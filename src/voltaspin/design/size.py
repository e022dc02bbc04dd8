"""The size of an exploration, before anything runs."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, ClassVar, Literal

from voltaspin.core.format import duration
from voltaspin.core.result import Result, Unit
from voltaspin.design.space import DesignSpace


class DesignSize(Result):
    """The size of an exploration.

    Args:
        search: ``grid`` or ``NSGA-II``.
        designs: that are asked for; of them in the space: ``size``, None for infinitely many.
        settings: ways of sampling, each with a front of its own.
        objectives: that are minimised.
        images: of the survivors, in all.
        seconds: that it takes in one process of this machine, about, by the time of one design; memory: of it.
        impossible: designs that were tried and cannot be built, by reason; of a grid all of one setting.
    """

    KIND: ClassVar[str] = "design-size"
    search: Literal["grid", "NSGA-II"]
    designs: int
    size: int | None
    settings: tuple[str, ...]
    objectives: tuple[str, ...]
    images: int
    impossible: dict[str, int]
    seconds: Annotated[float | None, Unit("s")] = None
    memory: Annotated[float, Unit("byte")] = 0.0

    @classmethod
    def of(cls, space: DesignSpace, reasons: Counter[str]) -> DesignSize:
        """Return the size of a space; ``reasons`` are those of :func:`voltaspin.design.check_space`."""
        whole = space.size
        return cls(
            search="grid" if space.is_grid else "NSGA-II",
            designs=space.trials if whole is None else min(whole, space.trials), size=whole,
            settings=tuple(s.name for s in space.settings()), objectives=space.objectives,
            images=(space.survivors + 1) * space.kid_images if space.survivors else 0, impossible=dict(reasons),
        )  # fmt: skip

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people."""
        whole = "infinitely many" if self.size is None else f"{self.size:,}"
        how = "every one is tried" if self.search == "grid" else "searched by NSGA-II"
        rows = [("designs", f"{self.designs:,} of {whole}, {how}"), ("objectives", ", ".join(self.objectives))]
        rows += [("ways of sampling", name) for name in self.settings]
        if self.images:
            rows.append(("images of survivors", f"{self.images:,}"))
        if self.seconds is not None:
            time = f"about {duration(max(self.seconds, 1.0))}, in one process of this machine"
            rows += [("time", time), ("memory", f"{self.memory / 1e9:.2g} GB for each process")]
        return rows + [("cannot be built", f"{n} tried: {reason}") for reason, n in self.impossible.items()]
