"""A source as the engine of NumPy's random generator.

NumPy calls three C functions for its words, and a C function cannot raise. So the words wait in a buffer, the
functions count where they stand, and the lock that NumPy holds around every draw checks them: if the
words did not suffice, leaving the lock raises and the numbers of that draw are never handed out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, cast, final

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.random.bit_generator import BitGenerator as NumPyBitGenerator
from numpy.random.bit_generator import ISpawnableSeedSequence
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.noise.processes import Travels

if TYPE_CHECKING:
    from voltaspin.noise.base import BitSource

_BLOCK = 1 << 14  # words fetched at once: 128 KiB stay in the second-level cache

#: Where things stand in front of the words, one uint64 each.
_AT, _END, _HALF_WAITS, _HALF, _MISSING, _FETCH, _HEADER = range(7)

_ANY = 1 << 40  # words that a C function may look at; the buffer ends at _END


@intrinsic
def _call(typing_context, address, argument):  # type: ignore[no-untyped-def]
    """Call the C function ``void f(void *)`` at ``address``."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        word = context.get_value_type(numba.types.uint64)
        function = ir.FunctionType(ir.VoidType(), [word])
        builder.call(builder.inttoptr(arguments[0], function.as_pointer()), [arguments[1]])
        return context.get_dummy_value()

    return numba.types.void(numba.types.uint64, numba.types.uint64), generate


@numba.njit(inline="always")
def _next(state):  # type: ignore[no-untyped-def]
    words = numba.carray(state, (_ANY,), np.uint64)
    at = words[_AT]
    if at >= words[_END]:
        if words[_FETCH] != 0 and words[_MISSING] == 0:
            _call(words[_FETCH], np.uint64(0))
            at = words[_AT]
        if at >= words[_END]:
            # Nobody will see this draw. A Weyl sequence instead of a constant lets the rejection loops of
            # NumPy's distributions come to their end.
            words[_MISSING] += np.uint64(1)
            return words[_MISSING] * np.uint64(0x9E3779B97F4A7C15)
    words[_AT] = at + np.uint64(1)
    return words[np.uint64(_HEADER) + at]


@numba.cfunc("uint64(voidptr)", cache=True)
def _next_uint64(state):  # type: ignore[no-untyped-def]
    return _next(state)


@numba.cfunc("uint32(voidptr)", cache=True)
def _next_uint32(state):  # type: ignore[no-untyped-def]
    words = numba.carray(state, (_ANY,), np.uint64)
    if words[_HALF_WAITS] != 0:
        words[_HALF_WAITS] = np.uint64(0)
        return np.uint32(words[_HALF])
    word = _next(state)
    words[_HALF] = word >> np.uint64(32)
    words[_HALF_WAITS] = np.uint64(1)
    return np.uint32(word & np.uint64(0xFFFFFFFF))


@numba.cfunc("double(voidptr)", cache=True)
def _next_double(state):  # type: ignore[no-untyped-def]
    return np.float64(_next(state) >> np.uint64(11)) * 2.0**-53


_Fetch = ctypes.CFUNCTYPE(None, ctypes.c_uint64)
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _Lock:
    """The lock that NumPy holds around a draw: leaving it raises if words were missing inside.

    A draw that asked for more words than a reserve holds takes none of them.
    """

    def __init__(self, name: str, buffer: NDArray[np.uint64]) -> None:
        self._name = name
        self._buffer = buffer
        self._lock = RLock()
        self._before: list[NDArray[np.uint64]] = []
        self.error: BaseException | None = None  #: what the source raised while it was asked for more words
        self.reserved_elsewhere = False  #: in another process, which draws the words of the reserve

    def renew(self) -> None:
        """Forget who holds the lock: in a forked process, a thread that is not there."""
        self._lock = RLock()
        self._before.clear()

    def __enter__(self) -> _Lock:
        self._lock.acquire()
        self._before.append(self._buffer[:_MISSING].copy())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            before, missing, end = self._before.pop(), int(self._buffer[_MISSING]), int(self._buffer[_END])
            if missing:
                self._buffer[_MISSING] = 0
                raised, self.error = self.error, None
                if raised is not None:
                    self._buffer[_HALF_WAITS] = 0
                    raise raised
                self._buffer[:_MISSING] = before
                if self.reserved_elsewhere:
                    raise InputError(
                        f"the words of this generator were reserved from {self._name} in another process, which draws "
                        "them; reserve words in the process that draws, or use an endless source"
                    )
                raise NoiseExhaustedError(
                    f"{end - int(before[_AT])} words are left of those reserved from {self._name} and the draw needs "
                    f"at least {missing} more (it took none); reserve more with bit_generator(words=...)"
                )
        finally:
            self._lock.release()


class _Children(ISpawnableSeedSequence):
    """The source of an engine, in the place of a seed, from which libraries make further engines."""

    def __init__(self, source: BitSource, words: int | None) -> None:
        self.source, self.words = source, words

    def spawn(self, n_children: int) -> list[Any]:
        return [_Children(child, self.words) for child in self.source.spawn(n_children)]

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NoReturn:
        raise InputError(
            f"{self.source.name} is no seed, and a generator that is seeded from it would not draw from it; draw from "
            "the generator itself, or spawn generators from it"
        )


@final
class BitGenerator(Travels, NumPyBitGenerator):
    """Words of a source for ``np.random.Generator`` (and ``np.random.RandomState``).

    A word is the next 64 bits of ``source.bits``, the first bit highest; ``integers(2**64, dtype=uint64)``,
    ``random_raw`` and all distributions use them in order. As in NumPy's own generators, a double is the highest
    53 bits of a word times 2**-53, and 32-bit words are the low, then the high half of a word.

    An endless source is asked for 16,384 words whenever they are used up, so its position and its ledger run
    ahead of the numbers drawn by up to one such block. A source that can run dry or raise an alarm is asked
    once, here, for ``words``; a draw that needs more than are left raises and takes none of them. An array
    that such a draw was filling or shuffling in place holds no usable numbers.

    ``Generator.spawn`` gives generators on :meth:`BitSource.spawn` of the source. A copy (pickled, or
    ``copy.deepcopy``) carries a copy of the source and goes on with the same numbers; where the source cannot be
    replayed (operating system), only as far as its bits were already fetched.

    In another process (forked, or sent there by ``multiprocessing``) a generator on an addressable source goes on with
    a sequence of its own, as the source does; a reserve stays with the process that made it, and draws there raise.

    Args:
        source: where the bits come from. Whoever else draws its bits takes them from this sequence.
        words: 64-bit words to reserve; None where the source is endless.

    Raises:
        InputError: ``words`` missing for a source that can run dry or raise an alarm, or not a positive integer.
        NoiseExhaustedError: fewer bits are left than were to be reserved.
        NoiseHealthError: the health tests refuse them.

    >>> from voltaspin.noise import PseudoSource
    >>> np.random.Generator(BitGenerator(PseudoSource(seed=1))).normal(size=3).shape
    (3,)
    """

    def __init__(self, source: BitSource | _Children, *, words: int | None = None) -> None:
        if isinstance(source, _Children):  # as NumPy's own engines take the children of their seeds
            words, source = source.words, source.source
        if not hasattr(source, "bits_left"):
            raise InputError(f"source {source!r} is no source of noise; seeds are for NumPy's own bit generators")
        super().__init__(cast(Any, _Children(source, words)))
        if words is None and (source.bits_left is not None or source.can_alarm):
            raise InputError(
                f"{source.name} can run dry or raise an alarm, and NumPy cannot be told so in the middle of a draw; "
                "reserve and check what you need beforehand: bit_generator(words=...), 64 bits each"
            )
        if words is not None and (not isinstance(words, int | np.integer) or words < 1):
            raise InputError(f"words {words!r} must be a positive integer (64-bit words to reserve)")
        self._build(source, words)
        if words is not None:
            self._set_words(_words_of(source, words))

    def _build(self, source: BitSource, words: int | None) -> None:
        """The buffer, still empty, and NumPy's way to it."""
        self.source = source
        self.words = None if words is None else int(words)  #: size of the reserve; None for an endless source
        self._buffer = np.zeros(_HEADER + (self.words or _BLOCK), np.uint64)
        self._lock = _Lock(source.name, self._buffer)
        if self.words is None:
            self._fetch = _Fetch(self._refill)
            self._buffer[_FETCH] = ctypes.cast(self._fetch, ctypes.c_void_p).value or 0
        # bitgen_t of NumPy's bitgen.h: the state, then the functions next_uint64, next_uint32, next_double and next_raw
        bitgen = (ctypes.c_void_p * 5).from_address(_pointer_of(self.capsule, b"BitGenerator"))
        words64 = _next_uint64.address
        bitgen[:] = [self._buffer.ctypes.data, words64, _next_uint32.address, _next_double.address, words64]

    def _refill(self, _: int) -> None:
        # Called from C, where nothing may be raised: the lock raises it at the end of the draw.
        try:
            self._set_words(_words_of(self.source, _BLOCK))
        except BaseException as error:
            self._lock.error = error

    def _set_words(self, words: NDArray[np.uint64]) -> None:
        self._buffer[_HEADER : _HEADER + words.size] = words
        self._buffer[_AT], self._buffer[_END] = 0, words.size

    @property
    def lock(self) -> Any:  # type: ignore[override]
        """Held around every draw; leaving it raises if words were missing inside."""
        return self._lock

    @property
    def words_left(self) -> int | None:
        """Words of the reserve that no draw has taken; None for an endless source."""
        return None if self.words is None else int(self._buffer[_END] - self._buffer[_AT])

    def random_raw(self, size: Any = None, output: bool = True) -> Any:
        """The next words as they are: an int, or uint64 of shape ``size``; None with ``output=False``."""
        with self._lock:
            return super().random_raw(size, output)  # type: ignore[call-overload]

    def spawn(self, n_children: int) -> list[BitGenerator]:
        """Generators on independent sources, each with a reserve of the same size.

        Raises:
            InputError: the source has no second sequence to give.
        """
        return [BitGenerator(child, words=self.words) for child in self.source.spawn(n_children)]

    def _standing(self) -> tuple[NDArray[np.uint64], int, int]:
        """The words that wait, and the half of a word that waits, if one does."""
        with self._lock:
            b = self._buffer
            return b[_HEADER + int(b[_AT]) : _HEADER + int(b[_END])].copy(), int(b[_HALF_WAITS]), int(b[_HALF])

    def _stand(self, words: NDArray[np.uint64], half_waits: int, half: int) -> None:
        self._set_words(words)
        self._buffer[_HALF_WAITS], self._buffer[_HALF] = half_waits, half

    @property
    def state(self) -> dict[str, Any]:
        """Where the generator stands; setting it goes back there.

        Setting it takes an endless source back too, and leaves the source of a reserve alone.

        Raises:
            InputError: the state of another generator, or of a source built with other arguments.
        """
        words, half_waits, half = self._standing()
        return {
            "bit_generator": type(self).__name__,
            "source": self.source.state_dict(),
            "state": {"words": words},
            "has_uint32": half_waits,
            "uinteger": half,
        }

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        room = self._buffer.size - _HEADER
        if value.get("bit_generator") != type(self).__name__ or len(value["state"]["words"]) > room:
            raise InputError(
                f"this state belongs to another bit generator ({value.get('bit_generator')!r}) or to a reserve of "
                f"more than {room} words; build the generator with the same arguments before setting it"
            )
        with self._lock:
            if self.words is None:
                self.source.load_state_dict(value["source"])
            self._stand(np.asarray(value["state"]["words"], np.uint64), value["has_uint32"], value["uinteger"])

    def __reduce__(self) -> Any:
        return _copy, (self.source, self.words, *self._standing())

    def _arrived(self, path: tuple[int, ...]) -> None:
        super()._arrived(path)
        self._lock.renew()
        self._lock.reserved_elsewhere = self.words is not None
        self._buffer[_AT] = self._buffer[_END]  # the words that wait are drawn where they were fetched
        self._buffer[_HALF_WAITS] = 0

    @property
    def ctypes(self) -> NoReturn:
        """Not offered: whoever calls the C functions without the lock would not learn that words were missing."""
        raise AttributeError("a source offers its words through the lock of NumPy only, as C functions cannot raise")

    cffi = ctypes


def _copy(source: BitSource, words: int | None, *standing: Any) -> BitGenerator:
    made = BitGenerator.__new__(BitGenerator)
    NumPyBitGenerator.__init__(made, cast(Any, _Children(source, words)))
    made._build(source, words)
    made._stand(*standing)
    return made


def _words_of(source: BitSource, n: int) -> NDArray[np.uint64]:
    return source.bits(64 * n).view(">u8").astype(np.uint64)
