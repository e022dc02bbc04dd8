"""An array of magnetic junctions that stores bits, draws random ones and computes in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.device import Pulse
from voltaspin.memory.cells import Cells
from voltaspin.memory.responses import PulsePair, told_apart
from voltaspin.random.bernoulli import GROUP, pulse_and_xor, pulse_some
from voltaspin.random.streams import Stream

if TYPE_CHECKING:
    from voltaspin.memory.responses import Driven
    from voltaspin.memory.wear import Yield

Bits = NDArray[np.uint8]


class MagnetoelectricMemory(Cells):
    """Rows and columns of voltage-controlled junctions with frozen device-to-device variation.

    Every cell has its own K_eff and stray field, and more if asked, drawn once from ``seed``: Gaussian, truncated at
    4 standard deviations (assumed: a tester screens out and replaces what lies beyond; 6 cells in 100,000). From
    them the switching model gives each cell its own ``p01`` and ``p10``.

    Without ``access`` every write, toggle and read succeeds; with it each fails as often as the device's numbers say.

    Args:
        rows, columns: size of the array.
        model: of one cell under one pulse; None takes ``SwitchingModel.shipped()``.
        K_eff_spread: standard deviation of K_eff over its nominal value [1]. K_eff is a small difference of
            large numbers, so the spread is stated on K_eff itself. 0.05 where absent.
        stray_field_spread: standard deviation of the stray field along z [T]; 0.5 mT where absent.
        variation: all that differs from cell to cell, instead of the two spreads.
        access: errors of writing, toggling and reading.
        line: word lines on which a pulse loses voltage and steepness.
        imperfections: what moves the probabilities while the array runs; ``cycle`` is the time between pulses. Of
            these only the coupling of neighbours acts on pulses other than the model's own.
        stuck: share of cells that hold one bit permanently, half of them a 0.
        junction: of the cells; the model's where absent.
        seed: of the variation and of the pulses, any non-negative integer.

    A memory in which every cell answers with 0.55, without variation (a control):

    >>> biased = MagnetoelectricMemory(model=SwitchingModel.constant(0.55, 0.45), rows=4, columns=4)
    >>> float(biased.p01[0, 0])
    0.55
    """

    # -- storing ---------------------------------------------------------------------------------------------------

    def write(self, bits: ArrayLike, *, mask: ArrayLike | None = None) -> None:
        """Store bits.

        With :class:`Access` a write is what a voltage pulse can do: each cell is read, and toggled if it seems to
        hold the wrong bit; both may fail.

        Args:
            bits: 0 or 1, (rows, columns) or a single value for all.
            mask: which cells to write, bool (rows, columns); None writes all.

        Raises:
            InputError: another shape, or a value that is not a bit.
        """
        new = np.asarray(bits)
        if new.shape not in ((), self._state.shape):
            raise InputError(f"bits of shape {new.shape} do not fit a memory of shape {self._state.shape}")
        if not ((new == 0) | (new == 1)).all():
            raise InputError("bits to write must be 0 or 1")
        where = self._mask(mask)
        if self.access is None:
            np.copyto(self._state, new.astype(np.uint8), where=True if where is None else where)
            self.ledger.count("write", self._touched(where))
            self._wear(where)
            self._hold()
            return
        chosen = np.ones(self._state.shape, np.bool_) if where is None else where
        self._toggle(chosen & (self._seen(chosen) != new))

    def write_verify(self, bits: ArrayLike, *, attempts: int = 4, mask: ArrayLike | None = None) -> int:
        """Store bits, read them back and write the wrong ones again.

        Args:
            bits, mask: as :meth:`write`.
            attempts: writes at most.

        Returns:
            Cells that still read wrong.
        """
        if attempts < 1:
            raise InputError(f"attempts = {attempts}: give at least one write")
        where = self._mask(mask)
        todo = np.ones(self._state.shape, np.bool_) if where is None else where.copy()
        for _ in range(attempts):
            self.write(bits, mask=todo)
            todo &= self._seen(todo) != np.asarray(bits)
            if not todo.any():
                break
        return int(todo.sum())

    def read(self, *, mask: ArrayLike | None = None) -> NDArray[np.uint8]:
        """Read bits: uint8 (rows, columns), or (n,) in row-major order of the n cells in ``mask``."""
        where = self._mask(mask)
        if self.access is None:
            self.ledger.count("read", self._touched(where))
            return self._state.copy() if where is None else self._state[where]
        seen = self._seen(np.ones(self._state.shape, np.bool_) if where is None else where)
        return seen if where is None else seen[where]

    def age(self, seconds: float, *, temperature: float | None = None) -> None:
        """Let time pass: thermal noise turns bits over, each cell at its own Fokker-Planck rate.

        Args:
            seconds: [s].
            temperature: [K], with the temperature laws of the material; the junction's own where absent.

        The cells do not feel their neighbours in this. Raises InputError where the junction is unknown or has no
        barrier.
        """
        p0, p1 = self.forgetting(seconds, temperature=temperature)
        u = Stream.of(self.seed, "memory", "age", stream=self.cycle).uniforms(self.cells).reshape(self._state.shape)
        self._state ^= (u < np.where(self._state, p1, p0)).astype(np.uint8)
        self.cycle += 1
        self._hold()

    def forgetting(
        self, seconds: float, *, temperature: float | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probability that each cell is found at the other bit after a time, from 0 and from 1: (rows, columns)."""
        from voltaspin.memory.wear import after, flip_rates

        if not math.isfinite(seconds) or seconds < 0:
            raise InputError(f"seconds = {seconds} s must be finite and not negative")
        if temperature is not None and not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature = {temperature} K must be finite and positive")
        junction = self._known("nothing says how long it keeps a bit")
        rates = flip_rates(junction, self._cells, temperature=temperature or junction.temperature)
        p0, p1 = after(*rates, seconds)
        return np.broadcast_to(p0, self._state.shape), np.broadcast_to(p1, self._state.shape)

    # -- pulses ----------------------------------------------------------------------------------------------------

    def pulse(self, what: Driven | Pulse | None = None, *, mask: ArrayLike | None = None, reset: bool = False) -> None:
        """One stochastic pulse, in place.

        Args:
            what: None gives the model's own pulse; a :class:`Pulse` that one; a probability the pulse of the driver
                that comes nearest to it, see :meth:`programmed`; a response of :attr:`library` its pulse. A pair
                reads the cells first, unless they are reset.
            mask: which cells, bool (rows, columns); None pulses all.
            reset: write 0 into those cells first. Without it a cell remembers: the correlation of its
                successive states is 1 - p01 - p10.

        The outcome depends on nothing but the seed, the number of events before this one, the cell and its
        state: a cell outside the mask changes nothing for the others.
        """
        where = self._mask(mask)
        touched = self._touched(where)
        what = self._paired(what)
        if isinstance(what, PulsePair) and reset:
            what = what.zero
        if isinstance(what, PulsePair):
            self.pulse_each([what], np.ones(self._state.shape, np.uint8) if where is None else where.astype(np.uint8))
            return
        before = None if where is None else self._state.copy()
        q0, q1, ledger = self._thresholds_for(what)
        out = np.empty(-(-self.cells // GROUP) * GROUP, np.uint8)
        pulse_and_xor(
            self._key, np.uint64(0), np.uint64(self.cycle << 32), 1, 0, self.cells,
            self._state.reshape(-1), q0, q1, bool(reset), self.cells, out,
        )  # fmt: skip
        if where is not None and before is not None:
            np.copyto(self._state, before, where=~where)
        self.cycle += 1
        self._wear(where, 2 if reset else 1)
        self._hold()
        if reset:
            self.ledger.count("reset", touched)
        ledger.count("pulse", touched)

    def pulse_each(self, pulses: Sequence[Driven], which: ArrayLike, *, known: ArrayLike | None = None) -> None:
        """Give cells different pulses, one each, of which none waits for the outcome of another.

        Args:
            pulses: as :meth:`pulse` takes them.
            which: the pulse of each cell, an integer (rows, columns): 0 for none, i for ``pulses[i - 1]``.
            known: bits that the driver takes the cells to hold, (rows, columns), which choose the pulse of a pair;
                where absent, the cells that get one are read first.

        Raises:
            InputError: another shape, or the number of a pulse that is not there.

        A cell does what it would do if :meth:`pulse` gave its pulse to all cells in this event.
        """
        chosen = np.asarray(which)
        if chosen.shape != self._state.shape or chosen.dtype.kind not in "iu":
            raise InputError(
                f"which of shape {chosen.shape} and type {chosen.dtype} does not fit; give integers of shape "
                f"{self._state.shape}"
            )
        pulses = [self._paired(pulse) for pulse in pulses]
        pairs = [0, *(isinstance(pulse, PulsePair) for pulse in pulses)]
        if any(pairs) and 0 <= chosen.min() <= chosen.max() < len(pairs):
            bits = self._seen(np.array(pairs, bool)[chosen]) if known is None else np.asarray(known)
            pulses, chosen = told_apart(pulses, chosen, bits)
        cells = np.flatnonzero(chosen)
        numbers = chosen.ravel()[cells]
        if len(cells) and not 0 < numbers.min() <= numbers.max() <= len(pulses):
            raise InputError(
                f"which has numbers from {numbers.min()} to {numbers.max()}; there are {len(pulses)} pulses"
            )
        q0, q1 = np.empty(len(cells), np.int32), np.empty(len(cells), np.int32)
        for number in np.flatnonzero(np.bincount(numbers)):
            here = np.flatnonzero(numbers == number)
            q0[here], q1[here], ledger = self._thresholds_at(pulses[int(number) - 1], cells[here])
            ledger.count("pulse", len(here))
        pulse_some(self._key, np.uint64(self.cycle << 32), cells, self._state.reshape(-1), q0, q1)
        self.cycle += 1
        self._wear(cells)
        self._hold()

    def randomize(self, *, mask: ArrayLike | None = None) -> None:
        """Forget what is stored: reset, then one stochastic pulse, so that a cell goes to 1 with its own p01."""
        self.pulse(mask=mask, reset=True)

    # -- logic -----------------------------------------------------------------------------------------------------

    def xor(self, operand: ArrayLike, *, error: float | None = None) -> None:
        """Toggle the cells where ``operand`` is 1, in place: one pulse each, no read, nothing where it is 0.

        Args:
            operand: 0 or 1, (rows, columns).
            error: probability that a toggle fails and leaves its cell as it was; that of ``access`` where absent.

        Raises:
            InputError: another shape, a value that is not a bit, or an error that is no probability.
        """
        bits = np.asarray(operand)
        if bits.shape != self._state.shape or not ((bits == 0) | (bits == 1)).all():
            raise InputError(f"the operand of shape {bits.shape} must be 0 or 1 in the shape {self._state.shape}")
        if error is not None and not 0 <= error <= 1:
            raise InputError(f"error = {error} must be a probability from 0 to 1")
        self._toggle(bits.astype(bool), error)

    def invert(self, *, mask: ArrayLike | None = None, error: float | None = None) -> None:
        """Toggle every cell (of ``mask``); see :meth:`xor` for the error."""
        where = self._mask(mask)
        self.xor(np.ones(self._state.shape, np.uint8) if where is None else where.astype(np.uint8), error=error)

    def _toggle(self, where: NDArray[np.bool_], error: float | None = None) -> None:
        self.ledger.count("toggle", int(np.count_nonzero(where)))
        stays: Any = error
        if error is None and self.access is not None:
            e0, e1 = self.access.toggle_error
            stays = np.where(self._state, e1, e0) if e0 or e1 else None
        if stays is not None and np.any(stays):
            u = Stream.of(self.seed, "memory", "toggle", stream=self.cycle).uniforms(self.cells)
            turned = where & (u.reshape(where.shape) >= stays)
        else:
            turned = where
        self._state ^= turned.astype(np.uint8)
        self.cycle += 1
        self._wear(where)
        self._hold()

    def _seen(self, where: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return the bits that a read of these cells finds: uint8 (rows, columns), the state elsewhere."""
        self.ledger.count("read", int(np.count_nonzero(where)))
        if self.access is None:
            return self._state.copy()
        mean, variance = self.access.currents(self._state, self._cells)
        found = self._compared(mean, variance, self.access.reference())
        return np.where(where, found, self._state).astype(np.uint8)

    def _sense(self, rows: NDArray[np.int64], ones: int) -> NDArray[np.uint8]:
        if self.access is None:
            return (self._state[rows].sum(0) >= ones).astype(np.uint8)
        mean, variance = self.access.currents(self._state[rows], {q: v[rows] for q, v in self._cells.items()})
        return self._compared(mean.sum(0)[None], variance.sum(0)[None], self.access.reference(len(rows), ones))[0]

    def _compared(
        self, mean: NDArray[np.float64], variance: NDArray[np.float64], reference: float
    ) -> NDArray[np.uint8]:
        """1 where the current (rows, columns) stays below the reference."""
        assert self.access is not None
        current = np.array(mean)
        if self.access.offset:
            amplifiers = Stream.of(self.seed, "memory", "amplifiers").normals(self.columns)
            current += self.access.offset * amplifiers
        if self.access.noise_0 or self.access.noise_1:
            z = Stream.of(self.seed, "memory", "read", stream=self.cycle).normals(current.size)
            current += np.sqrt(variance) * z.reshape(current.shape)
            self.cycle += 1
        return (current < reference).astype(np.uint8)

    # -- logic of rows: those read together share their bit lines, and a reference between two sums of currents tells
    # how many ones there are at least; what the sense amplifiers hold then drives a toggle. Nothing leaves the array.

    def copy_row(self, source: int, target: int) -> None:
        """Copy a row: read it, read the target, toggle what differs."""
        self._put(self._latched((source,), 1), target)

    def toggle_row(self, target: int, operand: int) -> None:
        """``target`` xor ``operand``, left in ``target``: one read of the operand, one pulse where it is 1."""
        self._drive(target, self._latched((operand,), 1))

    def majority(self, rows: Sequence[int], into: int) -> None:
        """The majority of an odd number of rows, written into a row."""
        if len(rows) % 2 == 0:
            raise InputError(f"a majority of {len(rows)} rows can be even; give an odd number of rows")
        self._put(self._latched(rows, len(rows) // 2 + 1), into)

    def and_rows(self, rows: Sequence[int], into: int) -> None:
        """1 where all of the rows are 1, written into a row."""
        self._put(self._latched(rows, len(rows)), into)

    def or_rows(self, rows: Sequence[int], into: int) -> None:
        """1 where any of the rows is 1, written into a row."""
        self._put(self._latched(rows, 1), into)

    def add_rows(self, a: Sequence[int], b: Sequence[int], into: Sequence[int], *, carry: tuple[int, int]) -> None:
        """Add two numbers in each column, bit by bit, all columns at once.

        Args:
            a, b: rows of their bits, the lowest first.
            into: rows of the sum, as many; one more takes the last carry. None of them may be among a and b.
            carry: two free rows; the first ends with the last carry.

        The sum bit is a xor b xor carry, by two toggles of a copy; the next carry is the majority of the three.

        Raises:
            InputError: numbers of unequal length, or rows that are used twice.
        """
        if len(a) != len(b) or len(into) not in (len(a), len(a) + 1) or len(a) == 0:
            raise InputError(
                f"{len(a)} and {len(b)} bits do not add up into {len(into)} rows; give two numbers of equal length and "
                "as many rows, or one more"
            )
        results = [*into, *carry]
        if len(set(results)) < len(results) or set(results) & {*a, *b}:
            raise InputError("the rows of the sum and of the carry must differ from each other and from a and b")
        now, after = carry
        self._put(np.zeros(self.columns, np.uint8), now)
        for x, y, out in zip(a, b, into, strict=False):
            self.copy_row(x, out)
            self.toggle_row(out, y)
            self.toggle_row(out, now)
            self.majority((x, y, now), into=after)
            now, after = after, now
        if len(into) > len(a):
            self.copy_row(now, into[-1])
        if now != carry[0]:
            self.copy_row(now, carry[0])

    def _latched(self, rows: Sequence[int], ones: int) -> Bits:
        chosen = np.array([self._row(r) for r in rows], np.int64)
        if len(set(rows)) < len(rows) or len(rows) == 0:
            raise InputError(f"rows {tuple(rows)}: give at least one row, none of them twice")
        self.ledger.count("read", len(rows) * self.columns)
        return self._sense(chosen, ones)

    def _put(self, bits: Bits, target: int) -> None:
        """Write what the amplifiers hold into a row: its own bits are read, and those that differ toggled."""
        self._drive(target, bits ^ self._latched((target,), 1))

    def _drive(self, target: int, bits: ArrayLike) -> None:
        where = np.zeros((self.rows, self.columns), np.bool_)
        where[self._row(target)] = np.asarray(bits).astype(bool)
        self._toggle(where)

    def _row(self, row: int) -> int:
        if not isinstance(row, int | np.integer) or not 0 <= row < self.rows:
            raise InputError(f"row {row!r} is not one of this memory; give 0 to {self.rows - 1}")
        return int(row)

    def yields(self, *, eps: float = 0.01, seconds: float | None = None, temperature: float | None = None) -> Yield:
        """Return the yield of this array; see :func:`voltaspin.memory.wear.measure`."""
        from voltaspin.memory.wear import measure

        return measure(self, eps=eps, seconds=seconds, temperature=temperature)

    # -- files -----------------------------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Keep the memory, bit for bit, in a safetensors file with a checksum; see :meth:`load`."""
        from voltaspin.memory.state import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: Path | str) -> MagnetoelectricMemory:
        """Read a file of :meth:`save`: its next pulse does what it would have done without the file.

        Raises:
            InputError: no such file, a truncated one, another version, or a wrong checksum.
        """
        from voltaspin.memory.state import load

        memory: MagnetoelectricMemory = load(Path(path), cls)
        return memory

    def restore(self, bits: ArrayLike, *, cycle: int) -> None:
        """Put this memory where an equal one stood, whose wear was not kept; :meth:`save` keeps everything.

        Args:
            bits: its ``state``, 0 or 1, (rows, columns).
            cycle: its number of events, so that the next one draws what it would have drawn there.

        Raises:
            InputError: another shape, or a value that is not a bit.
        """
        new = np.asarray(bits)
        if new.shape != self._state.shape or not ((new == 0) | (new == 1)).all():
            raise InputError(f"bits of shape {new.shape} must be 0 or 1 in the shape {self._state.shape}")
        self._state[:], self.cycle = new, cycle

    def _touched(self, where: NDArray[np.bool_] | None) -> int:
        return self.cells if where is None else int(np.count_nonzero(where))
