"""The cells of an array: how they differ, and the probabilities with which each responds to a pulse."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.context import progress_of_wait
from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.device import Junction, Pulse, SwitchingModel
from voltaspin.device.response import logistic, logit
from voltaspin.memory.dynamics import Disturbance, Imperfections
from voltaspin.memory.pulses import Line, PulseLibrary, response
from voltaspin.memory.responses import Driven, PulsePair, PulseResponse
from voltaspin.memory.variation import QUANTITIES, SCREENING, Access, Variation
from voltaspin.random.streams import Stream, derive_key

T = TypeVar("T")
Floats = NDArray[np.float64]
Thresholds = tuple[NDArray[np.int32], NDArray[np.int32]]

_REMEMBERED = 96  # pulses whose thresholds are kept: they cost ten times the pulse
_FIRST_FAILURES = 1e-9  # share of the typical life of an oxide before which none is looked for


class Cells:
    """Rows and columns of junctions with frozen device-to-device variation; see ``MagnetoelectricMemory``."""

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
        self.shipped = model is None  #: whether the cells respond by the model that ships
        self.model = SwitchingModel.shipped() if model is None else model
        self.variation, self.access, self.line, self.imperfections = variation, access, line, imperfections
        self.stuck, self.seed = float(stuck), seed
        self.junction = getattr(self.model, "junction", None) if junction is None else junction
        self.ledger = Ledger("memory")
        self.cycle = 0  #: events so far; with the seed it fixes what the next one does
        drawn = variation.draw(self.rows, self.columns, seed)
        shape = (self.rows, self.columns)
        self._cells = {q: v.astype(np.float32) for q, v in drawn.items()}
        self._stuck_at = _stuck(self.stuck, self.cells, seed)
        self._set_responses(*self._responses(drawn))
        self._key = np.array([derive_key(seed, "memory", "pulse")], np.uint64)
        self._state = np.zeros(shape, np.uint8)
        self._worn_all, self._worn, self._most_worn = 0, np.zeros(0, np.int64), 0
        self._lives: NDArray[np.float32] | None = None
        self._remembered: dict[Pulse, Thresholds] = {}
        self._hold()

    def _responses(self, drawn: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """(p01, p10) of cells that differ as drawn."""
        used: dict[str, Any] = {"K_eff_scale": 1.0, "B_z": 0.0}
        # without a torque in the model the resistance does not matter to its pulse
        torque = "RA_scale" in (getattr(self.model, "ranges", None) or {})
        without = {"TMR_scale"} if torque else {"TMR_scale", "RA_scale"}
        used |= {q: v for q, v in drawn.items() if q not in without}
        shape = (self.rows, self.columns)
        p01, p10 = (_probability(n, p, shape) for n, p in zip(("p01", "p10"), self.model.probabilities(**used),
                                                              strict=True))  # fmt: skip
        return (p01, p10) if self.line is None else self._along_the_line(self.line, p01, p10)

    def respond_by(self, model: SwitchingModel) -> None:
        """Let the cells, which stay what they are, respond to pulses by another model."""
        self.model = model
        self._set_responses(*self._responses(self.variation.draw(self.rows, self.columns, self.seed)))

    def _set_responses(self, p01: Floats, p10: Floats) -> None:
        """Take these probabilities; stuck cells respond with the bit that they hold."""
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

    def _stick(self, p01: Floats, p10: Floats) -> None:
        places, values = self._stuck_at
        p01.ravel()[places], p10.ravel()[places] = values, 1 - values

    def _along_the_line(self, line: Line, p01: Floats, p10: Floats) -> tuple[Floats, Floats]:
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
        """Quantities in which cells differ: ``K_eff_scale``, ``B_z`` [T], ..., (rows, columns) each."""
        return dict(self._cells)

    @property
    def p01(self) -> Floats:
        """Probability that a pulse flips a 0, of each cell: float64 (rows, columns), read-only."""
        return self._p01

    @property
    def p10(self) -> Floats:
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
    def apart(self) -> bool:
        """Whether programmed pulses come in pairs, because a torque flips a 0 by one polarity and a 1 by the other."""
        return self.junction is not None and bool(self.junction.terms) and self.library.apart

    def _paired(self, what: T) -> T | PulseResponse | PulsePair:
        """The pair of a probability, where a 0 and a 1 get pulses of their own; anything else as it is."""
        number = isinstance(what, int | float | np.floating)
        return self.programmed(float(what)) if number and self.apart else what  # type: ignore[arg-type]

    def programmed(self, probability: float) -> PulseResponse | PulsePair:
        """The driver's pulse, or pair of pulses, nearest to a flip probability.

        Raises:
            InputError: no pulse comes within 0.02 of it (the message says the nearest), or the junction is unknown.
        """
        return self.library.choose(_checked_probability(probability), self.spreads)

    @cached_property
    def library(self) -> PulseLibrary:
        """The pulses that a driver can give to these cells; solved on first use, half a minute, and kept on disk.

        Whoever called :func:`voltaspin.core.context.waits_told_to` is told how far that is.

        Raises:
            InputError: the junction is unknown.
        """
        junction = self._known("its pulses cannot be programmed")
        return PulseLibrary.of(junction, self._halves, progress=progress_of_wait("solve pulses (once)"))

    @property
    def spreads(self) -> dict[str, float]:
        """Standard deviation of each quantity in which the cells of this array differ."""
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

    def _thresholds_for(self, what: Driven | Pulse | None) -> tuple[*Thresholds, Ledger]:
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
            solved = response(self._known("it cannot answer to another pulse"), what, self._halves)
            return *self._answered(solved), self.ledger.child(solved.name)
        chosen = self.programmed(float(what)) if isinstance(what, int | float | np.floating) else what
        assert isinstance(chosen, PulseResponse), "a pair was told apart"
        ledger = self.ledger.child(chosen.name)
        if self._disturbance is not None and self._disturbance.neighbour_field:
            return *self._answered(chosen), ledger
        if chosen.pulse not in self._remembered:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[chosen.pulse] = self._answered(chosen)
        return *self._remembered[chosen.pulse], ledger

    def _thresholds_at(self, what: Driven, cells: NDArray[np.int64]) -> tuple[*Thresholds, Ledger]:
        """The thresholds of some cells, without those of all: an array may hold millions, of which few are pulsed."""
        fields = self._disturbance is not None and self._disturbance.neighbour_field
        if isinstance(what, int | float | np.floating) and self.junction is None and not self._cells_differ:
            p = np.full(len(cells), _checked_probability(float(what)))
            return *_thresholds(p, p), self.ledger.child(f"flips {float(what):g}")
        if not isinstance(what, PulseResponse) or fields or what.pulse in self._remembered:
            q0, q1, ledger = self._thresholds_for(what)
            return q0[cells], q1[cells], ledger
        p01, p10 = (
            np.broadcast_to(p, cells.shape)
            for p in what.probabilities({q: v.ravel()[cells] for q, v in self._cells.items()})
        )
        return *_thresholds(p01, p10), self.ledger.child(what.name)  # stuck cells are put right afterwards

    def _answered(self, chosen: PulseResponse) -> Thresholds:
        p01, p10 = (np.array(np.broadcast_to(p, self._state.shape)) for p in chosen.probabilities(self._fields()))
        self._stick(p01, p10)
        return _thresholds(p01, p10)

    @property
    def _cells_differ(self) -> bool:
        """Whether the model depends on the quantities of a cell; a constant one does not."""
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

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Cells whose oxide has broken down: bool (rows, columns); they read as 0 permanently."""
        if self._lives is None:
            return np.zeros((self.rows, self.columns), np.bool_)
        return (self.worn.ravel() >= self._lives).reshape(self.rows, self.columns)

    @property
    def worn(self) -> NDArray[np.int64]:
        """Pulses that each cell has seen: int64 (rows, columns)."""
        worn = self._worn if self._worn.size else np.zeros(self.cells, np.int64)
        return (worn + self._worn_all).reshape(self.rows, self.columns)

    def wear(self, pulses: int, *, mask: ArrayLike | None = None) -> None:
        """Add pulses to the count of every cell (of ``mask``) without simulating them: to see an old array."""
        if pulses < 0:
            raise InputError(f"pulses = {pulses}: a count cannot shrink")
        self._wear(self._mask(mask), int(pulses))
        self._hold()

    def _wear(self, where: NDArray[np.bool_] | NDArray[np.int64] | None, pulses: int = 1) -> None:
        """Count pulses of the cells of a mask, or of these numbers, each once."""
        if where is None:
            self._worn_all += pulses
        else:
            if not self._worn.size:
                self._worn = np.zeros(self.cells, np.int64)
            if where.dtype == np.bool_:
                self._worn += where.ravel() * np.int64(pulses)
            else:
                self._worn[where] += pulses
        self._most_worn += pulses
        if self._lives is None and self._most_worn > self._sound:
            from voltaspin.memory.wear import oxide_lives

            assert self.junction is not None
            assert self.model.pulse is not None
            self._lives = oxide_lives(self.junction, self.model.pulse, self.cells, seed=self.seed)

    @cached_property
    def _sound(self) -> float:
        """Pulses up to which no oxide can have broken down; infinite where nothing says."""
        from voltaspin.device.breakdown import lifetime, stress

        pulse = getattr(self.model, "pulse", None)
        if self.junction is None or pulse is None:
            return np.inf
        return _FIRST_FAILURES * lifetime(self.junction, voltage=stress(self.junction, pulse)) / pulse.width

    def _hold(self) -> None:
        """Restore the stuck and broken cells."""
        places, values = self._stuck_at
        if places.size:
            self._state.ravel()[places] = values
        if self._lives is not None:
            self._state[self.broken] = 0

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

    def describe(self) -> dict[str, Any]:
        """Return the parameters that define this memory, as JSON data for provenance."""
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


def _thresholds(p01: Floats, p10: Floats) -> Thresholds:
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


def _probability(name: str, p: Floats, shape: tuple[int, int]) -> Floats:
    p = np.array(np.broadcast_to(p, shape), dtype=np.float64)
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        raise InputError(
            f"the switching model gives {name} = {p[bad][0]:.6g} to {np.count_nonzero(bad)} cells, which is "
            "no probability; use a model whose range covers the variation, or narrow K_eff_spread and "
            "stray_field_spread"
        )
    return p
