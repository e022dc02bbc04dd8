"""The second level of SP 800-22: what the P-values of many sequences say together (section 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise.examination.sp800_22 import LONGEST, Constants, run

ALPHA = 0.01  #: significance of one P-value, NIST's default
UNIFORM = 1e-4  #: the uniformity fails below it, NIST's choice
LEAST = 55  #: sequences that the uniformity needs

Draw = Callable[[int], NDArray[np.uint8]]  # number of bits to packed bits


@dataclass(frozen=True)
class Assessed:
    """One test over many sequences.

    Args:
        name, variant: as in :class:`voltaspin.noise.examination.sp800_22.TestResult`.
        sequences: that the test applied to.
        passed: of them with P >= 0.01.
        least, most: limits of ``passed``, three standard deviations around 99 %.
        uniformity: P-value of the chi-square over ten classes of the P-values; None below 55 sequences.
        histogram: P-values in [0, .1), ..., [.9, 1].
        reason: why no sequence fits, where none does.
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

    @property
    def proportion_holds(self) -> bool:
        """Whether as many sequences pass as must (NIST checks the lower limit only)."""
        return self.passed >= self.least

    @property
    def uniformity_holds(self) -> bool:
        return self.uniformity is None or self.uniformity >= UNIFORM


@dataclass(frozen=True)
class Assessment:
    """All tests over many sequences.

    Args:
        n_bits: of each sequence.
        sequences: how many.
        constants: which were used.
        rows: one for each P-value of one sequence.
        p_values: float64 (sequences, rows), NaN where a test did not apply.
    """

    n_bits: int
    sequences: int
    constants: str
    rows: tuple[Assessed, ...]
    p_values: NDArray[np.float64]

    @property
    def failed(self) -> tuple[Assessed, ...]:
        """Rows whose proportion or uniformity is outside its limits."""
        return tuple(r for r in self.rows if not (r.proportion_holds and r.uniformity_holds))

    @property
    def expected_failures(self) -> float:
        """Rows that chance alone would put among the failed ones: the exact binomial, and the uniformity's limit."""
        from scipy.stats import binom

        def chance(r: Assessed) -> float:
            if not r.sequences:
                return 0.0
            low = float(binom.cdf(np.ceil(r.least) - 1, r.sequences, 1 - ALPHA))
            return low + (UNIFORM if r.uniformity is not None else 0.0)

        return float(sum(chance(r) for r in self.rows))

    def to_json(self) -> dict[str, Any]:
        rows = [
            {**asdict(r), "proportion_holds": r.proportion_holds, "uniformity_holds": r.uniformity_holds}
            for r in self.rows
        ]
        return {
            "n_bits": self.n_bits, "sequences": self.sequences, "constants": self.constants, "alpha": ALPHA,
            "failed": len(self.failed), "expected_failures": self.expected_failures, "rows": rows,
        }  # fmt: skip

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
        n_bits: of each, at most 10**7.
        constants: as in :func:`voltaspin.noise.examination.sp800_22.run`.
        progress: called with (sequences done, in all).

    Returns:
        The assessment. In the excursion tests only the sequences count to which they applied, as in NIST's.

    Raises:
        InputError: too few bits for the sequences, or numbers that make no sense.
    """
    if sequences < 1 or not 1 <= n_bits <= LONGEST:
        raise InputError(f"{sequences} sequences of {n_bits} bits: give at least 1, of 1 to {LONGEST} bits")
    p_values: list[list[float]] = []
    names: list[tuple[str, str, str]] = []
    for done, packed in enumerate(_pieces(bits, sequences, n_bits), start=1):
        results = run(packed, constants, n_bits=n_bits)
        p_values.append([np.nan if r.p_value is None else r.p_value for r in results])
        if done == 1:
            names = [(r.name, r.variant, r.reason) for r in results]
        if progress is not None:
            progress(done, sequences)
    table = np.array(p_values)
    rows = tuple(_assessed(*name, table[:, i]) for i, name in enumerate(names))
    return Assessment(n_bits, sequences, constants, rows, table)


def _pieces(bits: Draw | bytes | Path | str, sequences: int, n_bits: int) -> Iterator[bytes]:
    size = -(-n_bits // 8)
    if callable(bits):
        for _ in range(sequences):
            yield np.ascontiguousarray(bits(n_bits), np.uint8).tobytes()
        return
    if isinstance(bits, bytes | bytearray):
        _enough(len(bits), size, sequences, "the bytes hold")
        for i in range(sequences):
            yield bytes(bits[i * size : (i + 1) * size])
        return
    path = Path(bits)
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a file of packed bits, bytes, or a function that draws bits")
    _enough(path.stat().st_size, size, sequences, f"{path} holds")
    with path.open("rb") as file:
        for _ in range(sequences):
            piece = file.read(size)
            if len(piece) < size:
                raise InputError(f"{path} became shorter while it was being read; restore the file")
            yield piece


def _enough(there: int, size: int, sequences: int, what: str) -> None:
    if there < size * sequences:
        raise InputError(
            f"{what} {8 * there} bits, which is {there // size} sequences of {8 * size} bits and not {sequences}; "
            "ask for fewer or shorter ones, or record more"
        )


def _assessed(name: str, variant: str, reason: str, p: NDArray[np.float64]) -> Assessed:
    p = p[~np.isnan(p)]
    m = p.size
    if m == 0:
        return Assessed(name, variant, 0, 0, 0.0, 0.0, None, (0,) * 10, reason)
    wide = 3 * sqrt(m * ALPHA * (1 - ALPHA))
    counts = np.bincount(np.minimum((p * 10).astype(int), 9), minlength=10)
    uniformity = None
    if m >= LEAST:
        from scipy.special import gammaincc

        uniformity = float(gammaincc(4.5, float(((counts - m / 10) ** 2).sum() / (m / 10)) / 2))
    return Assessed(
        name, variant, m, int((p >= ALPHA).sum()), m * (1 - ALPHA) - wide, min(float(m), m * (1 - ALPHA) + wide),
        uniformity, tuple(int(c) for c in counts),
    )  # fmt: skip
