"""An array of magnetic junctions that stores bits, draws random ones and computes in place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.device import Junction, Pulse, SwitchingModel
from voltaspin.device.response import logistic, logit
from voltaspin.memory.access import Access
from voltaspin.memory.imperfections import Disturbance, Imperfections
from voltaspin.memory.lines import Line
from voltaspin.memory.logic import RowLogic
from voltaspin.memory.pulse import GROUP, pulse_and_xor
from voltaspin.memory.variation import QUANTITIES, SCREENING, Variation
from voltaspin.random.streams import Stream, derive_key

if TYPE_CHECKING:
    from voltaspin.memory.programmable import Answer, PulseLibrary
    from voltaspin.memory.yields import Yield

Thresholds = tuple[NDArray[np.int32], NDArray[np.int32]]

_REMEMBERED = 96  # pulses whose thresholds are kept: they cost ten times the pulse
_FIRST_FAILURES = 1e-9  # share of the typical life of an oxide before which none is looked for


class MagnetoelectricMemory(RowLogic):
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
        variation: all that differs from cell to cell, in place of the two spreads.
        access: errors of writing, toggling and reading.
        line: word lines on which a pulse loses voltage and steepness.
        imperfections: what moves the probabilities while the array runs; ``cycle`` is the time between pulses. Of
            these only the coupling of neighbours acts on pulses other than the model's own.
        stuck: share of cells that hold one bit for good, half of them a 0.
        junction: of the cells; the model's where absent.
        seed: of the variation and of the pulses, any non-negative integer.

    A memory in which every cell answers with 0.55, without variation (a control):

    >>> biased = MagnetoelectricMemory(model=SwitchingModel.constant(0.55, 0.45), rows=4, columns=4)
    >>> float(biased.p01[0, 0])
    0.55
    """

    def __init__(
        self,
        *,
        rows: int = 256,
        columns: int = 256,
        model: SwitchingModel | None = None,
        K_eff_spread: float | None = None,
        stray_field_spread: float | None = None,
        variation: Variation | None = None,
        access: Access | None = None,
        line: Line | None = None,
        imperfections: Imperfections | None = None,
        stuck: float = 0.0,
        junction: Junction | None = None,
        seed: int = 0,
    ) -> None:
        for name, size in (("rows", rows), ("columns", columns)):
            if not isinstance(size, int | np.integer) or not 1 <= size <= 2**15:
                raise InputError(f"{name} = {size!r} must be an integer from 1 to 32768")
        if not 0 <= stuck <= 1:
            raise InputError(f"stuck = {stuck} must be a share from 0 to 1")
        if variation is None:
            default = Variation()
            variation = Variation(
                K_eff=default.K_eff if K_eff_spread is None else float(K_eff_spread),
                stray_field=default.stray_field if stray_field_spread is None else float(stray_field_spread),
            )
        elif K_eff_spread is not None or stray_field_spread is not None:
            raise InputError("give the spreads of K_eff and of the stray field in the variation, not beside it")
        self.rows, self.columns = int(rows), int(columns)
        self.model = SwitchingModel.shipped() if model is None else model
        self.variation, self.access, self.line, self.imperfections = variation, access, line, imperfections
        self.stuck, self.seed = float(stuck), seed
        self.junction = getattr(self.model, "junction", None) if junction is None else junction
        self.ledger = Ledger("memory")
        self.cycle = 0  #: events so far; with the seed it fixes what the next one does
        drawn = variation.draw(self.rows, self.columns, seed)
        used: dict[str, Any] = {"K_eff_scale": 1.0, "B_z": 0.0}
        # without a torque in the model the resistance does not matter to its pulse
        torque = "RA_scale" in (getattr(self.model, "ranges", None) or {})
        without = {"TMR_scale"} if torque else {"TMR_scale", "RA_scale"}
        used |= {q: v for q, v in drawn.items() if q not in without}
        shape = (self.rows, self.columns)
        p01, p10 = (_probability(n, p, shape) for n, p in zip(("p01", "p10"), self.model.probabilities(**used),
                                                              strict=True))  # fmt: skip
        if line is not None:
            p01, p10 = self._along_the_line(line, p01, p10)
        self._cells = {q: v.astype(np.float32) for q, v in drawn.items()}
        self._stuck_at = _stuck(self.stuck, self.cells, seed)
        self._settle(p01, p10)
        self._key = np.array([derive_key(seed, "memory", "pulse")], np.uint64)
        self._state = np.zeros(shape, np.uint8)
        self._worn_all, self._worn, self._most_worn = 0, np.zeros(0, np.int64), 0
        self._lives: NDArray[np.float32] | None = None
        self._library: PulseLibrary | None = None
        self._remembered: dict[Pulse, Thresholds] = {}
        self._hold()

    def _settle(self, p01: NDArray[np.float64], p10: NDArray[np.float64]) -> None:
        """Take these probabilities; cells that are stuck answer with what they are stuck at."""
        self._stick(p01, p10)
        self._p01, self._p10 = p01, p10
        self._q0, self._q1 = _thresholds(p01, p10)
        for array in (self._p01, self._p10, self._q0, self._q1):
            array.flags.writeable = False
        self._disturbance: Disturbance | None = None
        if self.imperfections is not None:
            self._disturbance = Disturbance(
                self.imperfections, self.model, rows=self.rows, columns=self.columns, q0=self._q0, q1=self._q1,
                seed=self.seed,
            )  # fmt: skip

    def _stick(self, p01: NDArray[np.float64], p10: NDArray[np.float64]) -> None:
        places, values = self._stuck_at
        p01.ravel()[places], p10.ravel()[places] = values, 1 - values

    def _along_the_line(
        self, line: Line, p01: NDArray[np.float64], p10: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        junction, pulse = self._known("nothing says what its line does to a pulse"), getattr(self.model, "pulse", None)
        if pulse is None:
            raise InputError("this switching model knows no pulse that a line could change; build one from a pulse")
        up, down = line.shifts(junction, pulse, self.columns)
        return logistic(logit(p01) + up), logistic(logit(p10) + down)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

    @property
    def quantities(self) -> Mapping[str, NDArray[np.float32]]:
        """What cells have of their own, where they differ: ``K_eff_scale``, ``B_z`` [T], ..., (rows, columns) each."""
        return dict(self._cells)

    @property
    def p01(self) -> NDArray[np.float64]:
        """Probability that a pulse flips a 0, of each cell: float64 (rows, columns), read-only."""
        return self._p01

    @property
    def p10(self) -> NDArray[np.float64]:
        """Probability that a pulse flips a 1, of each cell: float64 (rows, columns), read-only."""
        return self._p10

    @property
    def thresholds(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(q_0, q_1): a cell in state s goes to 1 where a 16-bit word lies below q_s: int32 (cells,) each.

        The probabilities are rounded to 1/65536 by this; half of that, 8e-6, is far below what 10^9 bits of
        one cell could show.
        """
        return self._q0, self._q1

    @property
    def state(self) -> NDArray[np.uint8]:
        """The stored bits: uint8 (rows, columns), a read-only view. Looking is free; :meth:`read` counts."""
        view = self._state.view()
        view.flags.writeable = False
        return view

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Cells whose oxide has broken down: bool (rows, columns); they read as 0 for good."""
        if self._lives is None:
            return np.zeros((self.rows, self.columns), np.bool_)
        return (self.worn.ravel() >= self._lives).reshape(self.rows, self.columns)

    @property
    def worn(self) -> NDArray[np.int64]:
        """Pulses that each cell has seen: int64 (rows, columns)."""
        worn = self._worn if self._worn.size else np.zeros(self.cells, np.int64)
        return (worn + self._worn_all).reshape(self.rows, self.columns)

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
        from voltaspin.memory.ageing import after, flip_rates

        if not math.isfinite(seconds) or seconds < 0:
            raise InputError(f"seconds = {seconds} s must be finite and not negative")
        if temperature is not None and not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature = {temperature} K must be finite and positive")
        junction = self._known("nothing says how long it keeps a bit")
        rates = flip_rates(junction, self._cells, temperature=temperature or junction.temperature)
        p0, p1 = after(*rates, seconds)
        return np.broadcast_to(p0, self._state.shape), np.broadcast_to(p1, self._state.shape)

    # -- pulses ----------------------------------------------------------------------------------------------------

    def pulse(
        self, what: float | Pulse | Answer | None = None, *, mask: ArrayLike | None = None, reset: bool = False
    ) -> None:
        """One stochastic pulse, in place.

        Args:
            what: None gives the model's own pulse; a :class:`Pulse` that one; a probability the pulse of the driver
                that comes nearest to it, see :meth:`programmed`; an answer of :attr:`library` its pulse.
            mask: which cells, bool (rows, columns); None pulses all.
            reset: write 0 into those cells first. Without it a cell remembers: the correlation of its
                successive states is 1 - p01 - p10.

        The outcome depends on nothing but the seed, the number of events before this one, the cell and its
        state: a cell outside the mask changes nothing for the others.
        """
        where = self._mask(mask)
        touched = self._touched(where)
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

    def programmed(self, probability: float) -> Answer:
        """The :class:`~voltaspin.memory.programmable.Answer` of the driver's pulse nearest to a flip probability.

        Raises:
            InputError: no pulse comes within 0.02 of it (the message says the nearest), or the junction is unknown.
        """
        return self.library.choose(_checked_probability(probability), self.spreads)

    @property
    def library(self) -> PulseLibrary:
        """The pulses that a driver can give to these cells; solved on first use, half a minute, and kept on disk.

        Raises:
            InputError: the junction is unknown.
        """
        from voltaspin.memory.programmable import PulseLibrary

        if self._library is None:
            self._library = PulseLibrary.of(self._known("its pulses cannot be programmed"), self._halves)
        return self._library

    @property
    def spreads(self) -> dict[str, float]:
        """Standard deviation of what differs from cell to cell in this array."""
        return {q: float(v.std()) for q, v in self._cells.items()}

    @property
    def _halves(self) -> tuple[tuple[str, float], ...]:
        """Quantities that a pulse feels, with three standard deviations and the gradients."""
        found = []
        for name, (quantity, _) in QUANTITIES.items():
            if quantity in ("RA_scale", "TMR_scale"):
                continue
            half = 3 * getattr(self.variation, name)
            if self.variation.varies(name):
                half += float(np.abs(self.variation._trend(name, self.rows, self.columns)).max())
            if quantity == "B_z" and self._disturbance is not None:
                half += 4 * self._disturbance.neighbour_field
            if half > 0:
                found.append((quantity, half))
        return tuple(found)

    def _thresholds_for(self, what: float | Pulse | Answer | None) -> tuple[*Thresholds, Ledger]:
        if what is None:
            if self._disturbance is None:
                return self._q0, self._q1, self.ledger
            time = self.cycle * self._disturbance.imperfections.cycle
            return *self._disturbance.thresholds(time, self._state.ravel(), stream=0, at=self.cycle), self.ledger
        if isinstance(what, int | float | np.floating) and self.junction is None and not self._cells_differ:
            p = _checked_probability(float(what))
            p01, p10 = np.full(self._state.shape, p), np.full(self._state.shape, p)
            self._stick(p01, p10)
            return *_thresholds(p01, p10), self.ledger.child(f"flips {p:g}")
        if isinstance(what, Pulse):
            from voltaspin.memory.programmable import answer

            solved = answer(self._known("it cannot answer to another pulse"), what, self._halves)
            return *self._answered(solved), self.ledger.child(solved.name)
        chosen = self.programmed(float(what)) if isinstance(what, int | float | np.floating) else what
        ledger = self.ledger.child(chosen.name)
        if self._disturbance is not None and self._disturbance.neighbour_field:
            return *self._answered(chosen), ledger
        if chosen.pulse not in self._remembered:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[chosen.pulse] = self._answered(chosen)
        return *self._remembered[chosen.pulse], ledger

    def _answered(self, chosen: Answer) -> Thresholds:
        p01, p10 = (np.array(np.broadcast_to(p, self._state.shape)) for p in chosen.probabilities(self._fields()))
        self._stick(p01, p10)
        return _thresholds(p01, p10)

    @property
    def _cells_differ(self) -> bool:
        """Whether the model hears of what cells have of their own; a constant one does not."""
        return getattr(self.model, "ranges", None) is not None

    def _fields(self) -> Mapping[str, NDArray[Any]]:
        """Quantities of the cells, the field of their neighbours included."""
        d = self._disturbance
        if d is None or d.neighbour_field == 0:
            return self._cells
        up = 1.0 - 2.0 * self._state
        total = np.zeros_like(up)
        total[1:] += up[:-1]
        total[:-1] += up[1:]
        total[:, 1:] += up[:, :-1]
        total[:, :-1] += up[:, 1:]
        return {**self._cells, "B_z": self._cells.get("B_z", np.float32(0)) - d.neighbour_field * total}

    def _known(self, why: str) -> Junction:
        if self.junction is None:
            raise InputError(
                f"this memory knows no junction, so {why}; give junction=, or a model of one such as "
                "SwitchingModel.shipped()"
            )
        return self.junction

    def wear(self, pulses: int, *, mask: ArrayLike | None = None) -> None:
        """Add pulses to the count of every cell (of ``mask``) without simulating them: to see an old array."""
        if pulses < 0:
            raise InputError(f"pulses = {pulses}: a count cannot shrink")
        self._wear(self._mask(mask), int(pulses))
        self._hold()

    def _wear(self, where: NDArray[np.bool_] | None, pulses: int = 1) -> None:
        if where is None:
            self._worn_all += pulses
        else:
            if not self._worn.size:
                self._worn = np.zeros(self.cells, np.int64)
            self._worn[where.ravel()] += pulses
        self._most_worn += pulses
        if self._lives is None and self._most_worn > self._sound:
            from voltaspin.memory.ageing import oxide_lives

            assert self.junction is not None
            assert self.model.pulse is not None
            self._lives = oxide_lives(self.junction, self.model.pulse, self.cells, seed=self.seed)

    @cached_property
    def _sound(self) -> float:
        """Pulses up to which no oxide can have broken down; infinite where nothing says."""
        from voltaspin.device.breakdown import lifetime

        pulse = getattr(self.model, "pulse", None)
        if self.junction is None or pulse is None:
            return np.inf
        return _FIRST_FAILURES * lifetime(self.junction, voltage=pulse.voltage) / pulse.width

    def _hold(self) -> None:
        """Cells that cannot change have not changed."""
        places, values = self._stuck_at
        if places.size:
            self._state.ravel()[places] = values
        if self._lives is not None:
            self._state[self.broken] = 0

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
        """What a read of these cells finds: uint8 (rows, columns), the state elsewhere."""
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

    def yields(self, *, eps: float = 0.01, seconds: float | None = None, temperature: float | None = None) -> Yield:
        """What a tester would say of this array; see :func:`voltaspin.memory.yields.measure`."""
        from voltaspin.memory.yields import measure

        return measure(self, eps=eps, seconds=seconds, temperature=temperature)

    # -- files -----------------------------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Keep the memory, bit for bit, in a safetensors file with a checksum; see :meth:`load`."""
        from voltaspin.memory.files import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: Path | str) -> MagnetoelectricMemory:
        """Read what :meth:`save` wrote: its next pulse does what it would have done without the file.

        Raises:
            InputError: no such file, a truncated one, another version, or a wrong checksum.
        """
        from voltaspin.memory.files import load

        memory: MagnetoelectricMemory = load(Path(path), cls)
        return memory

    def describe(self) -> dict[str, Any]:
        """What defines this memory, JSON-able, for provenance."""
        more: dict[str, Any] = {}
        if self.variation != Variation(K_eff=self.variation.K_eff, stray_field=self.variation.stray_field):
            more["variation"] = self.variation.to_json()
        for name in ("access", "line", "imperfections"):
            if (part := getattr(self, name)) is not None:
                more[name] = part.to_json()
        if self.stuck:
            more["stuck"] = self.stuck
        return {
            "rows": self.rows,
            "columns": self.columns,
            "K_eff_spread": self.variation.K_eff,
            "stray_field_spread_T": self.variation.stray_field,
            "screening_sigma": SCREENING,
            "seed": int(self.seed),
            "p01": {"mean": float(self._p01.mean()), "std": float(self._p01.std())},
            "p10": {"mean": float(self._p10.mean()), "std": float(self._p10.std())},
            **more,
        }

    def __repr__(self) -> str:
        return (
            f"MagnetoelectricMemory({self.rows} x {self.columns} cells, p01 {self._p01.mean():.4f} ± "
            f"{self._p01.std():.4f}, p10 {self._p10.mean():.4f} ± {self._p10.std():.4f}, seed {self.seed})"
        )

    def _mask(self, mask: ArrayLike | None) -> NDArray[np.bool_] | None:
        if mask is None:
            return None
        where = np.asarray(mask)
        if where.shape != self._state.shape or where.dtype != np.bool_:
            raise InputError(
                f"mask of shape {where.shape} and type {where.dtype} does not fit; give bool of shape "
                f"{self._state.shape}"
            )
        return where

    def _touched(self, where: NDArray[np.bool_] | None) -> int:
        return self.cells if where is None else int(np.count_nonzero(where))


def _thresholds(p01: NDArray[np.float64], p10: NDArray[np.float64]) -> Thresholds:
    """Words on 65536 below which a cell at 0, and one at 1, goes to 1: int32 (cells,) each."""
    return np.rint(65536 * p01).astype(np.int32).ravel(), np.rint(65536 * (1 - p10)).astype(np.int32).ravel()


def _checked_probability(p: float) -> float:
    if not 0 <= p <= 1:
        raise InputError(f"{p} is no probability; give a number from 0 to 1, or a Pulse")
    return float(p)


def _stuck(share: float, cells: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Cells that are stuck, and at what."""
    if share == 0:
        return np.empty(0, np.int64), np.empty(0, np.uint8)
    u = Stream.of(seed, "memory", "stuck").uniforms(cells)
    places = np.flatnonzero(u < share)
    return places, (u[places] < share / 2).astype(np.uint8)


def _probability(name: str, p: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    p = np.array(np.broadcast_to(p, shape), dtype=np.float64)
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        raise InputError(
            f"the switching model gives {name} = {p[bad][0]:.6g} to {np.count_nonzero(bad)} cells, which is "
            "no probability; use a model whose range covers the variation, or narrow K_eff_spread and "
            "stray_field_spread"
        )
    return p
