"""Bits of an instrument: a stream whose bytes come by asking, one query after the other.

Answers are checked and brought into one of the layouts of a stream: numbers become 64-bit words, a text of 0 and 1
becomes one bit a byte, and binary blocks keep their data. Health tests, recordings, time-outs and progress are those of
:class:`StreamSource`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.lab.answers import bits_of, check_numbers, numbers_of
from voltaspin.lab.profile import Bits, BitsFormat, Profile
from voltaspin.lab.session import InstrumentError, Session
from voltaspin.noise.gaussian import GaussianTransform
from voltaspin.noise.importer.reading import BitOrder, ByteOrder, SampleType, level_of
from voltaspin.noise.importer.words import width_of
from voltaspin.noise.stream import StreamSource

_REPEATED = 512  #: values from which on two equal answers are no chance


def instrument_source(
    profile: Profile | Path | str,
    *,
    address: str | None = None,
    query: str | None = None,
    format: BitsFormat | None = None,
    values: int | None = None,
    threshold: float | str | None = None,
    unit: str | None = None,
    sample_type: SampleType | None = None,
    byte_order: ByteOrder | None = None,
    bit_order: BitOrder | None = None,
    n_cells: int | None = None,
    bits_per_sample: int = 16,
    transform: Literal["inverse_cdf", "popcount"] | GaussianTransform = "inverse_cdf",
    timeout: float | None = None,
    record: Path | str | None = None,
    overwrite: bool = False,
) -> StreamSource:
    """Return the source of an instrument's bits; they arrive as they are drawn.

    Args:
        profile: of the instrument, or its file.
        address, timeout: in place of those of the profile.
        query, format, values, threshold, unit, sample_type, byte_order, bit_order: in place of those of its part
            ``bits``; with a query a profile needs no such part.
        n_cells: cells that were read in turn.
        bits_per_sample, transform, record, overwrite: as :class:`StreamSource`. A recording holds the answers in the
            layout of the stream, and is replayed as any other.

    Raises:
        InputError: a profile that cannot be read or lacks something, or an instrument that cannot be opened.
    """
    profile = profile if isinstance(profile, Profile) else Profile.load(profile)
    mine: dict[str, Any] = {"address": address, "timeout": timeout}
    profile = replace(profile, **{name: value for name, value in mine.items() if value is not None})
    said: dict[str, Any] = {
        "query": query, "format": format, "values": values, "threshold": threshold, "unit": unit,
        "sample_type": sample_type, "byte_order": byte_order, "bit_order": bit_order,
    }  # fmt: skip
    given = {name: value for name, value in said.items() if value is not None}
    if profile.bits is None and query is None:
        raise InputError(f"{profile.address} has no query for bits; give query=, or a profile with a part [bits]")
    asked = Bits(**given) if profile.bits is None else replace(profile.bits, **given)
    unit = asked.unit
    if unit is None and asked.threshold not in (None, "fit") and (asked.sample_type or "float").startswith("float"):
        unit = level_of(asked.threshold)[1] or None  # of answers, which are in SI; whole numbers are counts
    read = {"threshold": asked.threshold, "unit": unit}
    layouts: dict[str, dict[str, Any]] = {
        "csv": {"format": "samples", "sample_type": "float64", **read},
        "samples": {"format": "samples", "sample_type": asked.sample_type, "byte_order": asked.byte_order, **read},
        "text": {"format": "bytes"}, "bytes": {"format": "bytes"},
        "packed": {"format": "packed", "bit_order": asked.bit_order},
    }  # fmt: skip
    return StreamSource(
        partial(_Answers, profile, asked), n_cells=n_cells, bits_per_sample=bits_per_sample, transform=transform,
        timeout=profile.timeout, record=record, overwrite=overwrite, **layouts[asked.format],
    )  # fmt: skip


class _Answers:
    """The bytes of a stream, out of answers.

    Args:
        profile: of the instrument; asked: its part on bits.
        waiting: called several times a second while an answer is waited for.
    """

    system, reason = False, ""

    def __init__(self, profile: Profile, asked: Bits, waiting: Callable[[], None]) -> None:
        self._asked, self._left, self._last = asked, b"", b""
        self._session = Session(profile, waiting=waiting)
        said = {name: value for name, value in asdict(asked).items() if value is not None}
        self.about = {"instrument": {"identity": self._session.identity, "initial": list(profile.initial), **said}}

    @property
    def name(self) -> str:
        return self._session.name

    @property
    def notes(self) -> tuple[str, ...]:
        n = self._session.asked_again
        return (f"{n} answer{'s were' if n > 1 else ' was'} lost and asked for again",) if n else ()

    def read(self, most: int) -> bytes:
        """Return bytes of an answer, ``most`` at most.

        Raises:
            NoiseStoppedError: the instrument is silent or gone, or its answer holds something that is no bit.
        """
        if not self._left:
            try:
                self._left = self._session.retried(self._answer)
            except NoiseStoppedError:
                raise
            except InputError as error:
                raise NoiseStoppedError(str(error)) from None
        out, self._left = self._left[:most], self._left[most:]
        return out

    def close(self) -> None:
        self._session.close()

    def _answer(self) -> bytes:
        """Return the next answer, checked, in the layout of the stream."""
        asked, session = self._asked, self._session
        width = width_of(asked.sample_type) or 1
        if asked.format in ("csv", "text"):
            answer = session.ask(asked.query)
        elif asked.block:
            answer = session.ask_block(asked.query)
        else:
            size = (asked.values or 0) // 8 if asked.format == "packed" else (asked.values or 0) * width
            answer = session.ask_bytes(asked.query, size)
        try:
            values = self._values(answer)
        except InputError as error:
            session.check_errors(f"{asked.query!r} ({error})")
            raise InstrumentError(f"{session.name}: {error}") from None
        data = values.tobytes()
        if values.size >= _REPEATED and data == self._last and data != values[:1].tobytes() * values.size:
            raise InstrumentError(
                f"{session.name}: two answers to {asked.query!r} hold the same {values.size} values: the instrument "
                "sends its last reading again; ask for a new one, READ? rather than FETCh?"
            )
        self._last = data
        return data

    def _values(self, answer: bytes) -> NDArray[Any]:
        """Return the values of an answer, of which there are as many as the profile says."""
        asked, query = self._asked, self._asked.query
        if not answer.strip() and asked.format in ("csv", "text"):
            raise InputError(f"the answer to {query!r} is empty")
        values: NDArray[Any]
        if asked.format == "csv":
            values = numbers_of(answer, query)
        elif asked.format == "text":
            values = bits_of(answer, query)
        elif asked.format == "samples":
            values = _words(answer, asked)
        else:
            values = np.frombuffer(answer, np.uint8)
        n = values.size * (8 if asked.format == "packed" else 1)
        if not n:
            raise InputError(f"the block that answers {query!r} is empty")
        if asked.values is not None and n != asked.values:
            raise InputError(f"the answer to {query!r} has {n} values where values={asked.values} are expected")
        if n % asked.fields:
            raise InputError(f"the answer to {query!r} has {n} values, no multiple of fields={asked.fields}")
        if asked.format == "bytes" and (values > 1).any():
            at = int(np.flatnonzero(values > 1)[0])
            raise InputError(f"byte {at} of the answer to {query!r} is {values[at]}, neither 0 nor 1")
        values = values[asked.field :: asked.fields]
        return values.astype("<f8") if asked.format == "csv" else values


def _words(answer: bytes, asked: Bits) -> NDArray[Any]:
    """Return the words of a block; those of 24 bits as rows of three bytes."""
    width = width_of(asked.sample_type)
    if len(answer) % width:
        raise InputError(
            f"the block that answers {asked.query!r} has {len(answer)} bytes, no whole number of "
            f"{asked.sample_type} words"
        )
    kind = np.dtype("V3" if asked.sample_type == "int24" else str(asked.sample_type))
    words = np.frombuffer(answer, kind.newbyteorder(">" if asked.byte_order == "big" else "<"))
    if kind.kind == "f":
        check_numbers(words.astype(np.float64), asked.query)
    return words
