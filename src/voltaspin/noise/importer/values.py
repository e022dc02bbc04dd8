"""Convert the values of a file to packed bits: thresholds, units, bytes of eight bits, and one bit a value.

A read gives a resistance, a voltage or a current, and a threshold makes it a bit. Where the two states are well apart
any threshold between them does; where they overlap, the one at which the two weighted densities are equal misreads
least. :func:`two_populations` finds it with a mixture of two Gaussians.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Result
from voltaspin.core.units import format_quantity
from voltaspin.noise.importer import content
from voltaspin.noise.importer.reading import BitOrder, Content, FileError, Reading, Understood, level_of, unit_of

_OVERFLOW = 9.8e37  # SCPI's 9.9E37 is infinity and 9.91E37 no number; in 32 bits some of that is lost
_FITTED = 200_000  # values that a fit looks at, spread over the first ones read
_JUDGED = 32  # bytes from which it shows whether numbers are packed bits


@dataclass(frozen=True)
class Conversion:
    """How the values of a reading become bits.

    Args:
        reading: with its unit.
        file: whose content it is.
        text: the same in words.
        packed: the values are bytes of eight bits, in ``bit_order``.
        threshold: in SI, above which a bit is 1; None where the values are bits.
        populations: the fit of the threshold, where one was asked for.
    """

    reading: Reading
    file: Content
    text: str
    packed: bool
    bit_order: BitOrder | None
    threshold: float | None
    populations: TwoPopulations | None

    def understood(self, bits: int | None) -> Understood:
        """Return how so many bits were read."""
        return Understood(
            format=self.reading.format, bits=bits, text=self.text, bit_order=self.bit_order, threshold=self.threshold,
            unit="" if self.threshold is None else self.reading.unit, column=self.reading.column,
        )  # fmt: skip

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the bits in blocks: bytes of eight where they are ``packed``, else 0 or 1 each.

        Raises:
            FileError: a value that is no bit; the message counts the values before it.
        """
        at = 0
        for values in self.reading.blocks():
            if self.packed:
                yield _as_bytes(values, at, self.file)
            else:
                try:
                    yield self._converted(values, at)
                except FileError:
                    yield self._good(values, at)  # a stream has no other way to keep those before the bad one
                    raise
            at += values.size

    def _converted(self, values: NDArray[Any], at: int) -> NDArray[np.uint8]:
        return _as_bits(values, at, self.reading, self.threshold, self.file)

    def _good(self, values: NDArray[Any], at: int) -> NDArray[np.uint8]:
        """Return the bits before the first value that is none."""
        good, bad = 0, values.size
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                self._converted(values[:middle], at)
                good = middle
            except FileError:
                bad = middle
        return self._converted(values[:good], at)

    def check_sides(self, bits: int, ones: int) -> None:
        """Raise FileError where so many measured values lie on one side of the threshold."""
        if self.threshold is not None and ones in (0, bits):
            side = "above" if ones else "below"
            raise FileError(
                f"{self.file}: all {bits} values lie {side} the threshold of {self.threshold:g} "
                f"{self.reading.unit}".rstrip()
                + "; check the unit= of the values and the threshold=, or use "
                "threshold='fit'"
            )


def converted(reading: Reading, file: Content, target: Path) -> tuple[Understood, TwoPopulations | None]:
    """Write the bits of a reading into ``target``; return how they were read, and the fit of their threshold.

    Raises:
        FileError: options that do not apply, or values that are no bits.
    """
    how = conversion(reading, file)
    bits, ones, left = 0, 0, np.empty(0, np.uint8)
    with target.open("wb") as out:
        for part in how.blocks():
            bits += 8 * part.size if how.packed else part.size
            if not how.packed:
                ones += int(part.sum())
                part = np.concatenate([left, part])
                complete = part.size // 8 * 8
                part, left = np.packbits(part[:complete]), part[complete:]
            out.write(part.tobytes())
        out.write(np.packbits(left).tobytes())
    if not bits:
        raise FileError(f"{file} holds no values; record some bits first")
    how.check_sides(bits, ones)
    return how.understood(bits), how.populations


def conversion(reading: Reading, file: Content) -> Conversion:
    """Return how the values of a reading become bits, by the options and the first values.

    Raises:
        FileError: options that do not apply, or values that are no bits.
    """
    options, said, level, fit = file.options, reading.text, None, None
    reading = in_given_unit(reading, file)
    packed = reading.packed or (options.sample_type == "packed" and not reading.words)
    if not packed and options.threshold is None:
        if reading.words:
            raise FileError(f"{file}: raw converter words need a threshold= above which a bit is 1, or threshold='fit'")
        packed = _holds_bytes(reading, file)
    if packed and options.threshold is not None:
        raise FileError(f"{file} is read as packed bits, which have no threshold=; leave it or sample_type= out")
    if not packed and options.bit_order is not None:
        raise FileError(f"{file} holds one bit a value ({reading.text}); bit_order= is of packed bytes, leave it out")
    if options.threshold is not None:
        if options.threshold == "fit":
            fit = two_populations(_first(reading, file), reading.unit)
            level = fit.threshold
        else:
            level, own = given_level(reading, file, options.threshold)
            reading = replace(reading, unit=own)
        unit, counts = reading.unit, " counts" if reading.words else ""
        shown = format_quantity(level, unit) if unit else f"{level:.6g}{counts}"
        said += f", threshold {shown}{' (fitted)' if fit is not None else ''}"
        said += "" if unit or counts else " in the unit of the file, which is not known"
    elif options.unit is not None:
        raise FileError(f"{file} holds bits, which have no unit=; leave it out, or give a threshold= too")
    order: BitOrder | None = (options.bit_order or "msb") if packed else None
    if packed:
        said += f", bytes of eight bits, the first the {'highest' if order == 'msb' else 'lowest'}"
    return Conversion(reading, file, said, packed, order, level, fit)


def in_given_unit(reading: Reading, file: Content) -> Reading:
    """Return the reading in the unit that the user gave, where the file says none."""
    given = file.options.unit
    if given is None:
        return reading
    found = unit_of(given)
    assert found is not None
    if reading.unit and reading.written and found != (reading.unit, reading.factor):
        raise FileError(f"{file} says that its values are in {reading.written}, not in {given}; leave unit= out")
    return replace(reading, unit=found[0], factor=found[1], written=given)


def given_level(reading: Reading, file: Content, given: float | str, name: str = "threshold") -> tuple[float, str]:
    """Return a given threshold, or another value of that ``name``, in SI and its unit."""
    level, own = level_of(given, name)
    shown = given if isinstance(given, str) else f"{given:g}"
    if own and reading.words and not reading.unit:
        raise FileError(f"{file}: raw converter words have no unit; give {name}= in counts, without a unit")
    if own and reading.unit and own != reading.unit:
        raise FileError(f"{file} holds values in {reading.written}; {name}={shown} is in another unit")
    if not own and reading.factor != 1 and level != 0:
        raise FileError(
            f"{file} holds values in {reading.written}, and {name}={shown} has no unit; write "
            f"{name}='{shown}{reading.written}' if that is meant"
        )
    return level, reading.unit or own


def in_si(values: NDArray[Any], at: int, reading: Reading, file: Content) -> NDArray[np.float64]:
    """Return measured values in SI, ``at`` of the first; values that no measurement gives are refused."""
    with np.errstate(all="ignore"):  # signalling NaNs and overflows are refused as what they become
        scaled: NDArray[np.float64] = values.astype(np.float64) * reading.factor
    over = np.flatnonzero(np.abs(scaled) >= _OVERFLOW * abs(reading.factor))
    if over.size and np.isfinite(scaled[over[0]]):
        raise FileError(
            f"{file}: {reading.at(at + int(over[0]))} is {values[over[0]]:.4g}, by which an instrument says overflow, "
            "open circuit or not a number; remove such values, or measure in a larger range"
        )
    resistance = reading.unit == "ohm"
    bad = np.flatnonzero(~np.isfinite(scaled) | (scaled <= 0) if resistance else ~np.isfinite(scaled))
    if bad.size:
        what, wanted = ("resistance", "finite and positive") if resistance else ("value", "finite")
        shown = f"{scaled[bad[0]]} {reading.unit}".rstrip()
        raise FileError(
            f"{file}: {reading.at(at + int(bad[0]), what)} is {shown}; remove values that are not {wanted}, or check "
            "the reader"
        )
    middle = float(np.median(scaled)) if resistance and scaled.size else 1e3
    if not 1 <= middle <= 1e9:
        raise FileError(
            f"{file}: a median resistance of {middle:.3g} ohm is none of a junction (1 to 1e9 ohm); say the unit= of "
            "the values, or convert the values to ohm"
        )
    return scaled


def _first(reading: Reading, file: Content) -> NDArray[np.float64]:
    """Values for a fit: at most so many, from the first four million."""
    parts, at = [np.empty(0)], 0
    for values in reading.blocks():
        parts.append(in_si(values, at, reading, file))
        at += values.size
        if at >= 4 << 20:
            break
    found = np.concatenate(parts)
    return found[:: max(1, found.size // _FITTED)]


def _as_bits(values: NDArray[Any], at: int, reading: Reading, level: float | None, file: Content) -> NDArray[np.uint8]:
    if level is not None:
        return (in_si(values, at, reading, file) > level).astype(np.uint8)
    bad = np.flatnonzero((values != 0) & (values != 1))
    if bad.size:
        place, value = at + int(bad[0]), values[bad[0]]
        if reading.format == "text":
            raise FileError(
                f"{file}: character {place} is {chr(int(value) ^ 48)!r}, which is neither 0 nor 1 (counted from 0, "
                "without spaces); remove it, or name another form with format= (hex, base64 or csv)"
            )
        raise FileError(
            f"{file}: value {place} is {value}, which is neither 0 nor 1; for measured values give a "
            "threshold= such as 5.4kohm or 0.35V, or threshold='fit'; for bytes of eight bits say "
            "sample_type='packed' (numbers) or format='packed' (raw bytes)"
        )
    return values.astype(np.uint8)


def _holds_bytes(reading: Reading, file: Content) -> bool:
    """Whether values without a threshold are bytes of eight bits: whole numbers from 0 to 255 without structure."""
    if reading.format in ("bytes", "text"):
        return False
    seen: list[NDArray[np.uint8]] = []
    for values in reading.blocks():
        if values.dtype.kind == "b" or not values.size:
            continue
        if _no_bytes(values).size:
            return False
        seen.append(values[: 1 << 16].astype(np.uint8))
        if len(seen) == 4:
            break
    sample = np.concatenate([np.empty(0, np.uint8), *seen])
    if not sample.size or sample.max() <= 1 or (sample.size < _JUDGED and sample.max() < 128):
        return False
    if sample.size >= 16 and np.count_nonzero(sample > 1) <= max(1, sample.size // 100):
        return False  # bits with a stray value, which is named where they are converted
    why = f"{sample.size} values are too few to tell" if sample.size < _JUDGED else None
    why = why or content.structure_of_bytes(sample, 0.3) or content.structure(seen)
    if why or sample.max() < 128 <= sample.size:
        raise FileError(
            f"{file} holds whole numbers from 0 to {sample.max()}, which may be bytes of eight bits or measured values "
            f"({why or 'none needs the highest bit'}); say sample_type='packed', or give a threshold="
        )
    return True


def _no_bytes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Places of values that are no whole numbers from 0 to 255."""
    return np.flatnonzero(~((values >= 0) & (values <= 255)) | (values != np.floor(values)))


def _as_bytes(values: NDArray[Any], at: int, file: Content) -> NDArray[np.uint8]:
    if values.dtype != np.uint8 and (bad := _no_bytes(values)).size:
        raise FileError(f"{file}: value {at + int(bad[0])} is {values[bad[0]]}, which is no byte (0 to 255)")
    return values.astype(np.uint8)


LEAST = 100  #: values that a fit needs


class TwoPopulations(Result):
    """A mixture of two Gaussians fitted to measured values.

    Args:
        low, high: means of the lower and of the higher state; of resistances, parallel and antiparallel [ohm].
        low_spread, high_spread: standard deviations, in the same unit.
        high_share: share of the higher state.
        threshold: where the two weighted densities are equal, in the same unit.
        misread: probability that a read falls on the other side of the threshold.
        separation: distance of the means over the mean of the spreads.
    """

    KIND: ClassVar[str] = "two-populations"

    low: float
    high: float
    low_spread: float
    high_spread: float
    high_share: float
    threshold: float
    misread: float
    separation: float


def two_populations(
    values: NDArray[np.float64], unit: str = "ohm", counts: NDArray[np.int64] | None = None
) -> TwoPopulations:
    """Find the two states in a set of values, by expectation and maximisation.

    The fit does not depend on origin or scale: negative and signed values are as good as resistances.

    Args:
        values: at least 100, all finite.
        unit: of the values, for the messages; empty where it is not known.
        counts: how often each value was met, as of a histogram; once where absent.

    Raises:
        InputError: too few, or one population only: between the two fitted means the data are not rarer than at
            them by half.
    """
    from scipy.special import ndtr

    r = np.asarray(values, np.float64).ravel()
    order = np.argsort(r, kind="stable")
    r, n = r[order], None if counts is None else np.asarray(counts)[order]
    met = np.arange(r.size + 1) if n is None else np.concatenate([[0], np.cumsum(n)])
    given = f"a threshold in {unit}" if unit else "a threshold"
    if met[-1] < LEAST:
        raise InputError(f"{met[-1]} values are too few to find two states in; record {LEAST}, or give {given}")
    if r[0] == r[-1]:
        raise InputError(
            f"all values are {r[0]:g} {unit}".rstrip() + ": one population only; record both states, or check the "
            "reader"
        )
    # sums of numbers near the largest float overflow
    scale = float(np.abs(r).max())
    centre = float(np.average(r / scale, weights=n)) * scale
    s = float(np.average(((r - centre) / scale) ** 2, weights=n) ** 0.5) * scale
    z = (r - centre) / s
    found = _fit(z, n)
    order = np.argsort(found[:, 0])
    (low, low_spread, _), (high, high_spread, share) = found[order]
    threshold = _crossing(low, low_spread, 1 - share, high, high_spread, share)
    window = 0.1 * (high - low)

    def rate(x: float) -> int:
        return int(met[np.searchsorted(z, x + window)] - met[np.searchsorted(z, x - window)])

    at_low, between, at_high = rate(low), rate((low + high) / 2), rate(high)
    # one broad or skewed population splits into two halves without a gap between them
    if not low < threshold < high or 2 * between > min(at_low, at_high) or min(share, 1 - share) * met[-1] < 10:
        raise InputError(
            f"the values ({r[0]:.4g} to {r[-1]:.4g} {unit}".rstrip() + f", spread {s:.3g}) show one population only; "
            f"record both states, or give {given}"
        )
    wrong = (1 - share) * float(ndtr((low - threshold) / low_spread)) + share * float(
        ndtr((threshold - high) / high_spread)
    )
    return TwoPopulations(
        low=centre + s * float(low), high=centre + s * float(high), low_spread=s * float(low_spread),
        high_spread=s * float(high_spread), high_share=float(share), threshold=centre + s * float(threshold),
        misread=wrong, separation=float((high - low) / ((low_spread + high_spread) / 2)),
    )  # fmt: skip


def _fit(z: NDArray[np.float64], counts: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """(mean, spread, share) of two Gaussians in values of mean 0 and standard deviation 1, each met so many times."""
    split = (z[0] + z[-1]) / 2
    n = np.ones(1) if counts is None else counts.astype(np.float64)
    total = z.size if counts is None else float(n.sum())
    found = np.empty((2, 3))
    for row, side in zip(found, (z <= split, z > split), strict=True):
        of_side = np.broadcast_to(n, z.shape)[side]
        mean = np.average(z[side], weights=of_side)
        spread = np.average((z[side] - mean) ** 2, weights=of_side) ** 0.5
        row[:] = mean, max(spread, 1e-6), of_side.sum() / total
    for _ in range(500):
        mean, spread, share = (found[:, i, None] for i in range(3))
        logs = np.log(share) - np.log(spread) - 0.5 * ((z - mean) / spread) ** 2
        weight = np.exp(logs - np.logaddexp(logs[0], logs[1])) * n
        size = weight.sum(axis=1)
        if (size < 1).any():
            break
        means = (weight @ z) / size
        spreads = np.sqrt((weight * (z - means[:, None]) ** 2).sum(axis=1) / size)
        after = np.column_stack([means, np.maximum(spreads, 1e-6), size / total])
        done = np.abs(after - found)[:, :2].max() < 1e-9
        found = after
        if done:
            break
    return found


def _crossing(m0: float, s0: float, w0: float, m1: float, s1: float, w1: float) -> float:
    """Where ``w0 N(m0, s0)`` equals ``w1 N(m1, s1)`` between the means; NaN if it does not there."""
    from scipy.optimize import brentq

    def over(x: float) -> float:
        """Logarithm of the ratio of the two densities."""
        return float(((x - m1) / s1) ** 2 - ((x - m0) / s0) ** 2) / 2 + log(w0 * s1 / (w1 * s0))

    return float(brentq(over, m0, m1, xtol=1e-15, rtol=1e-14)) if over(m0) > 0 > over(m1) else float("nan")
