"""Numbers and bits in the answers of instruments; whatever is none is refused, by its place and value."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.spec import shown

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_BETWEEN = re.compile(r"\s*[,;]\s*|\s+")
_BITS = re.compile(r"[01,;\s]*")
_OVERFLOW = 9.8e37  # of 9.9E37 in 32 bits some is lost
_NOT_A_NUMBER = 9.905e37


def numbers_of(answer: bytes, query: str) -> NDArray[np.float64]:
    """Return the numbers of a text.

    Args:
        answer: ASCII numbers with commas, semicolons or spaces between them.
        query: that gave it, for messages.

    Returns:
        float64 (n,), n at least one.

    Raises:
        InputError: an empty answer, something that is no number, or a number that means none (:func:`check_numbers`).
    """
    words = _BETWEEN.split(answer.decode("latin-1").strip())
    if words[1:] and not words[-1]:  # some end with a comma
        words.pop()
    if words == [""]:
        raise InputError(f"the answer to {query!r} is empty")
    for i, word in enumerate(words):
        if not _NUMBER.fullmatch(word):
            of = f"value {i} of {len(words)} in the answer" if len(words) > 1 else "the answer"
            raise InputError(f"{of} to {query!r} is {shown(word)}, no number")
    return check_numbers(np.array([float(word) for word in words]), query)


def bits_of(answer: bytes, query: str) -> NDArray[np.uint8]:
    """Return the bits of a text of 0 and 1, one a byte; raises InputError for an empty one or another character."""
    text = answer.decode("latin-1")
    if (end := _BITS.match(text).end()) < len(text):  # type: ignore[union-attr]
        raise InputError(f"character {end} of the answer to {query!r} is {text[end]!r}, neither 0 nor 1")
    digits = re.sub(r"[,;\s]+", "", text)
    if not digits:
        raise InputError(f"the answer to {query!r} is empty")
    return np.frombuffer(digits.encode(), np.uint8) - 48


def check_numbers(values: NDArray[np.float64], query: str) -> NDArray[np.float64]:
    """Return numbers that are some: no infinity, no NaN, and none of the numbers by which SCPI says these.

    Raises:
        InputError: one that is none.

    Source: SCPI 1999.0, volume 1, section 7.2.1.4 and 7.2.1.5: 9.9E37 is infinity (or an overflow), 9.91E37 is not a
    number.
    """
    bad = ~(np.abs(values) < _OVERFLOW)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        value = float(values[i])
        scpi = np.isfinite(value)
        none = np.isnan(value) or (scpi and abs(value) > _NOT_A_NUMBER)
        means = "not a number" if none else "infinity, of an overflow or an open circuit"
        raise InputError(
            f"value {i} of {len(values)} in the answer to {query!r} is {value:g}"
            + (f", by which SCPI means {means}" if scpi else f" ({means})")
            + ": check the range and the contacts"
        )
    return values
