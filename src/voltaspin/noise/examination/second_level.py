"""The second level of SP 800-22: what the P-values of many sequences say together (section 4.2)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from math import ceil, sqrt
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Array, Part, Result
from voltaspin.noise.examination.sp800_22 import LONGEST, Constants, run

ALPHA = 0.01  #: significance of one P-value, NIST's default
UNIFORM = 1e-4  #: the uniformity fails below it, NIST's choice
LEAST = 55  #: sequences that the uniformity needs

Draw = Callable[[int], NDArray[np.uint8]]  # number of bits to packed bits


class Assessed(Part):
    """One test over many sequences.

    Args:
        name, variant: as in :class:`voltaspin.noise.examination.sp800_22.TestResult`.
        sequences: number of sequences to which the test applied.
        passed: number of them with P >= 0.01.
        least, most: limits of ``passed``, three standard deviations around 99 %.
        uniformity: P-value of the chi-square over ten classes of the P-values; None below 55 sequences.
        histogram: P-values in [0, .1), ..., [.9, 1].
        reason: why no sequence fits, where none does.
        proportion_holds: whether as many sequences pass as must (NIST checks the lower limit only).
        uniformity_holds: whether the uniformity is not below its limit.
    """

    name: str
    variant: str
    sequences: int
    passed: int
    least: float
    most: float
    uniformity: float | None
    histogram: tuple[int, ...]
    reason: str = ""
    proportion_holds: bool = True
    uniformity_holds: bool = True


class Assessment(Result):
    """All tests over many sequences.

    Args:
        n_bits: length of each sequence.
        sequences: number of sequences.
        constants: the constants that were used.
        alpha: significance of one P-value.
        expected_failures: rows that chance alone puts among the failed ones, by the exact binomial and the limit of
            the uniformity.
        rows: one for each P-value of one sequence.
        p_values: float64 (sequences, rows), NaN where a test did not apply.
    """

    KIND: ClassVar[str] = "sp800-22-assessment"

    n_bits: int
    sequences: int
    constants: Constants
    alpha: float = ALPHA
    expected_failures: float
    rows: tuple[Assessed, ...]
    p_values: Array

    @property
    def failed(self) -> tuple[Assessed, ...]:
        """Rows whose proportion or uniformity is outside its limits."""
        return tuple(r for r in self.rows if not (r.proportion_holds and r.uniformity_holds))

    def summary(self) -> list[tuple[str, str]]:
        """Return the verdict, then one row for every failed test."""
        rows = [(f"{r.name} {r.variant}".strip(), f"{r.passed} of {r.sequences} pass") for r in self.failed]
        return [("SP 800-22, second level", str(self)), *rows]

    def __str__(self) -> str:
        return (
            f"{self.sequences} sequences of {self.n_bits} bits: {len(self.failed)} of {len(self.rows)} rows outside "
            f"their limits, {self.expected_failures:.1f} to be expected by chance"
        )


def assess(
    bits: Draw | bytes | Path | str,
    *,
    sequences: int,
    n_bits: int = 10**6,
    constants: Constants = "nist",
    progress: Callable[[int, int], None] | None = None,
) -> Assessment:
    """Test many sequences, one at a time, in the memory of one.

    Args:
        bits: a function of a number of bits that gives packed bits (``source.bits``), bytes of packed bits, or
            the path of a file of them. From a file or bytes each sequence begins at a whole byte.
        sequences: how many; 55 or more for the uniformity of the P-values.
        n_bits: length of each, at most 10**7.
        constants: as in :func:`voltaspin.noise.sp800_22.run`.
        progress: called with (sequences done, in all).

    Returns:
        The assessment. In the excursion tests only the sequences count to which they applied, as in NIST's.

    Raises:
        InputError: too few bits for the sequences, or numbers that make no sense.

    Source: NIST SP 800-22 rev. 1a (2010), section 4.2.
    """
    if sequences < 1 or not 1 <= n_bits <= LONGEST:
        raise InputError(f"{sequences} sequences of {n_bits} bits: give at least 1, of 1 to {LONGEST} bits")
    found = []
    for packed in _pieces(bits, sequences, n_bits):
        found.append(run(packed, constants, n_bits=n_bits))
        if progress is not None:
            progress(len(found), sequences)
    table = np.array([[np.nan if r.p_value is None else r.p_value for r in results] for results in found])
    rows = tuple(_assessed(r.name, r.variant, r.reason, p) for r, p in zip(found[0], table.T, strict=True))
    return Assessment(
        n_bits=n_bits, sequences=sequences, constants=constants, rows=rows, p_values=table,
        expected_failures=float(sum(map(_chance_of_failure, rows))),
    )  # fmt: skip


def _pieces(bits: Draw | bytes | Path | str, sequences: int, n_bits: int) -> Iterator[bytes]:
    size = -(-n_bits // 8)
    if callable(bits):
        for _ in range(sequences):
            yield np.ascontiguousarray(bits(n_bits), np.uint8).tobytes()
        return
    path = None if isinstance(bits, bytes | bytearray) else Path(bits)
    if path is not None and not path.is_file():
        raise InputError(f"{path} is not a file; give a file of packed bits, bytes, or a function that draws bits")
    with io.BytesIO(bits) if path is None else path.open("rb") as file:  # type: ignore[arg-type]
        there = file.seek(0, io.SEEK_END)
        if there < size * sequences:
            raise InputError(
                f"{path or 'the bytes'}: {8 * there} bits are {there // size} sequences of {8 * size} bits and not "
                f"{sequences}; ask for fewer or shorter ones, or record more"
            )
        file.seek(0)
        for _ in range(sequences):
            piece = file.read(size)
            if len(piece) < size:
                raise InputError(f"{path} became shorter while it was being read; restore the file")
            yield piece


def _assessed(name: str, variant: str, reason: str, p: NDArray[np.float64]) -> Assessed:
    from scipy.special import gammaincc

    p = p[~np.isnan(p)]
    m, mean, wide = p.size, p.size * (1 - ALPHA), 3 * sqrt(p.size * ALPHA * (1 - ALPHA))
    counts = np.bincount(np.minimum((p * 10).astype(int), 9), minlength=10)
    passed, uniformity = int((p >= ALPHA).sum()), None
    if m >= LEAST:
        uniformity = float(gammaincc(4.5, float(((counts - m / 10) ** 2).sum() / (m / 10)) / 2))
    return Assessed(
        name=name, variant=variant, sequences=m, passed=passed, least=mean - wide, most=min(float(m), mean + wide),
        uniformity=uniformity, histogram=tuple(counts.tolist()), reason="" if m else reason,
        proportion_holds=passed >= mean - wide, uniformity_holds=uniformity is None or uniformity >= UNIFORM,
    )  # fmt: skip


def _chance_of_failure(row: Assessed) -> float:
    from scipy.stats import binom

    low = float(binom.cdf(ceil(row.least) - 1, row.sequences, 1 - ALPHA)) if row.sequences else 0.0
    return low + (UNIFORM if row.uniformity is not None else 0.0)
