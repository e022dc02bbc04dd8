"""The examination of cells as data: what is known of each, of all, and which are to be left out."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Array, Part, Result, Unit
from voltaspin.noise.examination.entropy import EntropyEstimates

REASONS = ("stuck", "bias", "entropy", "correlation", "neighbour", "drift")  #: why a cell is left out

_Entropy = Annotated[float, Unit("bit/bit")]
_LISTED = 12  # cells or lines that a text names


class CellCriteria(Part):
    """What a cell may have at most. A limit that is None is not applied; stuck cells are always left out.

    A cell is left out where its bits *show* that it is beyond a limit: by a test of the hypothesis that it keeps the
    limit, with Holm's correction over the cells. Of an array in which every cell keeps every limit, no cell at all is
    left out in ``1 - false_alarm`` of the recordings.

    Args:
        max_bias: of abs(P(1) - 1/2).
        max_correlation: of the magnitude of the lag-1 correlation of the cell's own bits, and of that of its bits with
            the bits that the cell before gives in the same round.
        max_drift: of the root mean square of the slow drift of the bias along the recording.
        min_entropy: of the min-entropy of a first-order Markov chain, bit per bit.
        false_alarm: see above; the criteria share it evenly.
        origin: where the limits come from, in words.
    """

    max_bias: float | None = Field(default=None, ge=0, lt=0.5)
    max_correlation: float | None = Field(default=None, ge=0, lt=1)
    max_drift: float | None = Field(default=None, ge=0, lt=0.5)
    min_entropy: _Entropy | None = Field(default=None, gt=0, le=1)
    false_alarm: float = Field(default=0.01, gt=0, lt=1)
    origin: str = "given"

    @property
    def used(self) -> tuple[str, ...]:
        """The reasons that these criteria know."""
        limits = (0.0, self.max_bias, self.min_entropy, self.max_correlation, self.max_correlation, self.max_drift)
        return tuple(name for name, limit in zip(REASONS, limits, strict=True) if limit is not None)

    @property
    def share(self) -> float:
        """The false alarms of one criterion over all cells."""
        return self.false_alarm / len(self.used)


class Population(Part):
    """What the cells have in common, and how they differ.

    Args:
        n_cells: how many; a round gives as many bits.
        bias: mean of P(1) - 1/2 over the cells.
        spread: standard deviation of P(1) between the cells with the chance of sampling taken away, as
            :func:`voltaspin.noise.examination.statistics.beyond_chance` finds it; None with fewer than three cells.
        sampling: the standard deviation that sampling alone gives.
        correlation: of lag 1, pooled over the cells; None where no cell changes.
        mean_entropy, least_entropy: of the smaller one of the two estimates of each cell: mean and least. Estimates
            are lower bounds at 99 %, and those of few bits are low.
    """

    n_cells: int
    bias: Estimate
    spread: Estimate | None
    sampling: float
    correlation: Estimate | None
    mean_entropy: _Entropy
    least_entropy: _Entropy


class StreamPeriod(Part):
    """The number of places after which the bits of the stream resemble themselves most.

    Args:
        period: of the first bits.
        z, z_given: standard errors by which the bits in its steps, and in steps of ``n_cells``, resemble each other.
        fits: whether it divides the number of cells that was given.
        said: what follows, in words.
    """

    period: int
    z: float
    z_given: float
    fits: bool
    said: str


class CellEntropy(Part):
    """The ten estimates of SP 800-90B of one cell's bits."""

    cell: int
    estimates: EntropyEstimates


class CellExamination(Result):
    """The quality of each cell of an array that is read in turn, and the cells to leave out.

    Bit ``j`` is of cell ``j % n_cells``. Arrays have one entry for each cell; null (NaN) where the bits do not give it.

    Args:
        n_bits: that were read; ``rounds``: whole rounds among them, the bits of a cell or one less.
        rows, columns: of the map; cell ``c`` is in row ``c // columns``.
        ones: int64 (n_cells,).
        bias: P(1) - 1/2; ``bias_low``, ``bias_high``: 95 % interval, Clopper and Pearson's, of as many independent bits
            as the correlated ones amount to.
        autocorrelation: of a cell's own bits at lag 1, 2, ...: float64 (lags, n_cells); ``autocorrelation_low``,
            ``autocorrelation_high``: 95 % interval, Newcombe's for a difference of two shares.
        neighbour: correlation with the cell before in the same round, ``neighbour_low``, ``neighbour_high``: 95 %.
        most_common_value, markov: min-entropy by SP 800-90B 6.3.1 and 6.3.3; the other estimates are in ``full``.
        drift: root mean square of the slow drift of the bias, sampling taken away; ``drift_p``: P-value, uncorrected,
            of the test that there is none.
        stuck, alternating: cells that never change, and that always change, more often than chance explains.
        criteria: for leaving out; ``left_out``: the cells; ``why``: the reasons of each.
        lines: rows and columns of the map that are left out as a whole.
        all_cells, kept: the population, and what is left of it; None where nothing is left, or nothing was left out.
        shows_bias, shows_correlation: the smallest magnitude at which half of the cells that have it would be left out.
        bits_wanted: bits of a cell from which on one at twice a limit is left out in 90 %; None without such limits.
        period: of the stream; None where none is seen.
        full: all ten estimates of the cells for which they were asked.
        noise: provenance; ``input``: how a file or stream was read.
    """

    KIND: ClassVar[str] = "cell-examination"

    n_bits: int
    n_cells: int = Field(ge=1)
    rounds: int
    rows: int
    columns: int
    ones: Array
    bias: Array
    bias_low: Array
    bias_high: Array
    autocorrelation: Array
    autocorrelation_low: Array
    autocorrelation_high: Array
    neighbour: Array
    neighbour_low: Array
    neighbour_high: Array
    most_common_value: Array
    markov: Array
    drift: Array
    drift_p: Array
    stuck: tuple[int, ...]
    alternating: tuple[int, ...]
    criteria: CellCriteria
    left_out: tuple[int, ...]
    why: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...]
    all_cells: Population
    kept: Population | None
    shows_bias: float
    shows_correlation: float
    bits_wanted: int | None
    period: StreamPeriod | None
    full: tuple[CellEntropy, ...] = ()
    noise: dict[str, Any]
    input: dict[str, Any] | None = None

    @property
    def entropy(self) -> NDArray[np.float64]:
        """The smaller one of the two estimates of each cell."""
        return np.fmin(self.most_common_value, self.markov)

    def by_reason(self) -> dict[str, tuple[int, ...]]:
        """The cells that are left out, by reason; one may have several."""
        pairs = list(zip(self.left_out, self.why, strict=True))
        return {name: tuple(c for c, why in pairs if name in why) for name in REASONS}

    def summary(self) -> list[tuple[str, str]]:
        """Return rows of (name, value): sizes, the population, worst cells, what is left out and what remains."""
        n, left = self.n_cells, self.left_out
        rows = [
            (self.noise["kind"], self.noise["description"]),
            ("bits", f"{self.n_bits} of {n} cell{'s' * (n > 1)}, {self.rounds} rounds"),
            *_of_population("", self.all_cells),
            *self._worst(),
            ("entropy by", "most common value and Markov, SP 800-90B 6.3.1 and 6.3.3; lower bounds at 99 %"),
        ]
        rows += [(f"cell {f.cell}, all ten", f"{f.estimates.minimum:.4f} by {f.estimates.limiting}") for f in self.full]
        if self.period is not None:
            rows.append(("period of the stream", self.period.said))
        rows += [("what can be shown", self._power()), ("limits", self._limits())]
        rows.append(("left out", f"{len(left)} of {n} cells" + (f": {cells_text(left)}" if left else "")))
        rows += [
            (f"for {name}", f"{len(cells)}: {cells_text(cells)}") for name, cells in self.by_reason().items() if cells
        ]
        rows += [("left out as a whole", ", ".join(self.lines))] if self.lines else []
        if self.kept is not None:
            rows += _of_population("kept: ", self.kept)
        elif left:
            rows.append(("kept", "no cell is left"))
        return rows

    def _worst(self) -> list[tuple[str, str]]:
        found = []
        for name, values, low, high in (
            ("worst bias", self.bias, self.bias_low, self.bias_high),
            ("worst lag 1", self.autocorrelation[0], self.autocorrelation_low[0], self.autocorrelation_high[0]),
            ("worst with neighbour", self.neighbour, self.neighbour_low, self.neighbour_high),
        ):
            if np.isfinite(values).any():
                at = int(np.nanargmax(np.abs(values)))
                found.append((name, f"{values[at]:+.4f} ({low[at]:+.4f} to {high[at]:+.4f}), cell {at}"))
        if np.isfinite(self.drift_p).any():
            at = int(np.nanargmin(self.drift_p))
            said = f"{self.drift[at]:.4f} rms, P = {min(1.0, self.n_cells * self.drift_p[at]):.2g} over all, cell {at}"
            found.append(("worst drift", said))
        if self.stuck:
            found.append(("stuck", f"{len(self.stuck)}: {cells_text(self.stuck)}"))
        if self.alternating:
            found.append(("alternating", f"{len(self.alternating)}: {cells_text(self.alternating)}"))
        return found

    def _power(self) -> str:
        text = (
            f"with {self.rounds} bits a cell, a bias of {self.shows_bias:.3g} and a correlation of "
            f"{self.shows_correlation:.3g}; half of such cells are left out"
        )
        if self.bits_wanted is not None and self.bits_wanted > self.rounds:
            text += f". A cell at twice a limit is left out in 90 % from {self.bits_wanted} bits a cell on: too few"
        return text

    def _limits(self) -> str:
        c = self.criteria
        named = (
            ("bias", c.max_bias), ("correlation", c.max_correlation), ("drift", c.max_drift),
            ("min-entropy", c.min_entropy),
        )  # fmt: skip
        said = ", ".join(f"{name} {limit:.3g}" for name, limit in named if limit is not None)
        return f"{said or 'none but stuck cells'} ({c.origin}); Holm's correction, false alarms {c.false_alarm:.2g}"

    def __str__(self) -> str:
        return "\n".join(f"{name:24} {text}" for name, text in self.summary())


def _of_population(prefix: str, found: Population) -> list[tuple[str, str]]:
    rows = [(f"{prefix}bias", format(found.bias, "+.5f"))]
    if found.spread is not None:
        said = f"{format(found.spread, '.5f')} between cells, beyond the {found.sampling:.5f} of sampling"
        rows.append((f"{prefix}spread", said))
    if found.correlation is not None:
        rows.append((f"{prefix}lag 1", format(found.correlation, "+.5f")))
    said = f"{found.mean_entropy:.4f} bit per bit on average, {found.least_entropy:.4f} of the worst cell"
    rows.append((f"{prefix}entropy", said))
    return [(f"{prefix}bits per round", str(found.n_cells)), *rows] if prefix else rows


def cells_text(cells: tuple[int, ...] | list[int] | NDArray[np.int64], most: int = _LISTED) -> str:
    """Return cells as ``3,17,40-47``, in order; after ``most`` ranges three dots."""
    ranges: list[tuple[int, int]] = []
    for cell in sorted(map(int, cells)):
        if ranges and ranges[-1][1] == cell - 1:
            ranges[-1] = ranges[-1][0], cell
        else:
            ranges.append((cell, cell))
    listed = [str(a) if a == b else f"{a}-{b}" for a, b in ranges[:most]]
    return ",".join(listed) + (",..." if len(ranges) > most else "")


def cells_of_text(text: str, name: str = "cells") -> tuple[int, ...]:
    """Read ``3,17,40-47``, also with ``+`` for the commas.

    Raises:
        InputError: anything else, or a range that falls; the message calls it ``name``.
    """
    found: dict[int, None] = {}
    for part in text.replace("+", ",").split(","):
        low, dash, high = (x.strip() for x in part.partition("-"))
        ends = (low, high if dash else low)
        if not all(x.isascii() and x.isdigit() and len(x) < 12 for x in ends) or int(ends[1]) < int(ends[0]):
            raise InputError(f"{name}={text[:60]!r}: {part.strip()[:60]!r} is no cell and no range; give 3,17,40-47")
        if int(ends[1]) - int(ends[0]) >= 2**24:
            raise InputError(f"{name}={text[:60]!r}: {part.strip()} are more than the 2**24 cells of any array")
        found.update(dict.fromkeys(range(int(ends[0]), int(ends[1]) + 1)))
    return tuple(found)
