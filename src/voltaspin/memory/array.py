"""An array of magnetic junctions that stores bits and draws random ones in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.device import SwitchingModel
from voltaspin.errors import InputError
from voltaspin.ledger import Ledger
from voltaspin.memory.pulse import GROUP, pulse_and_xor
from voltaspin.streams import Stream, derive_key

SCREENING = 4.0  #: cells beyond so many standard deviations are taken to be screened out by the tester [assumed]


class MagnetoelectricMemory:
    """Rows and columns of voltage-controlled junctions with frozen device-to-device variation.

    Every cell has its own K_eff and stray field, drawn once from ``seed``: Gaussian, truncated at 4 standard
    deviations (assumed: a tester screens out and replaces what lies beyond; 6 cells in 100,000). From them
    the switching model gives each cell its own ``p01`` and ``p10``.

    Args:
        rows, columns: size of the array.
        model: of one cell under one pulse; None takes ``SwitchingModel.shipped()``.
        K_eff_spread: standard deviation of K_eff over its nominal value [1]. K_eff is a small difference of
            large numbers, so the spread is stated on K_eff itself.
        stray_field_spread: standard deviation of the stray field along z [T].
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
        K_eff_spread: float = 0.05,
        stray_field_spread: float = 0.5e-3,
        seed: int = 0,
    ) -> None:
        for name, size in (("rows", rows), ("columns", columns)):
            if not isinstance(size, int | np.integer) or not 1 <= size <= 2**15:
                raise InputError(f"{name} = {size!r} must be an integer from 1 to 32768")
        for name, spread, unit in (
            ("K_eff_spread", K_eff_spread, ""),
            ("stray_field_spread", stray_field_spread, " T"),
        ):
            if not np.isfinite(spread) or spread < 0:
                raise InputError(f"{name} = {spread}{unit} must be finite and not negative")
        self.rows, self.columns = int(rows), int(columns)
        self.model = SwitchingModel.shipped() if model is None else model
        self.K_eff_spread, self.stray_field_spread = float(K_eff_spread), float(stray_field_spread)
        self.seed = seed
        self.ledger = Ledger("memory")
        self.cycle = 0  #: pulses applied so far; with the seed it fixes what the next one does
        shape = (self.rows, self.columns)
        K_eff_scale = 1 + self.K_eff_spread * _screened(seed, "K_eff", self.cells).reshape(shape)
        B_z = self.stray_field_spread * _screened(seed, "stray field", self.cells).reshape(shape)
        p01, p10 = self.model.probabilities(K_eff_scale=K_eff_scale, B_z=B_z)
        self._p01, self._p10 = _probability("p01", p01, shape), _probability("p10", p10, shape)
        self._q0 = np.rint(65536 * self._p01).astype(np.int32).ravel()
        self._q1 = np.rint(65536 * (1 - self._p10)).astype(np.int32).ravel()
        self._key = np.array([derive_key(seed, "memory", "pulse")], np.uint64)
        self._state = np.zeros(shape, np.uint8)
        for array in (self._p01, self._p10, self._q0, self._q1):
            array.flags.writeable = False

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

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

    def write(self, bits: ArrayLike, *, mask: ArrayLike | None = None) -> None:
        """Store bits.

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
        np.copyto(self._state, new.astype(np.uint8), where=True if where is None else where)
        self.ledger.count("write", self._touched(where))

    def read(self, *, mask: ArrayLike | None = None) -> NDArray[np.uint8]:
        """Read bits: uint8 (rows, columns), or (n,) in row-major order of the n cells in ``mask``."""
        where = self._mask(mask)
        self.ledger.count("read", self._touched(where))
        return self._state.copy() if where is None else self._state[where]

    def pulse(self, *, mask: ArrayLike | None = None, reset: bool = False) -> None:
        """One stochastic pulse, in place.

        Args:
            mask: which cells, bool (rows, columns); None pulses all.
            reset: write 0 into those cells first. Without it a cell remembers: the correlation of its
                successive states is 1 - p01 - p10.

        The outcome depends on nothing but the seed, the number of pulses before this one, the cell and its
        state: a cell outside the mask changes nothing for the others.
        """
        where = self._mask(mask)
        touched = self._touched(where)
        before = None if where is None else self._state.copy()
        out = np.empty(-(-self.cells // GROUP) * GROUP, np.uint8)
        pulse_and_xor(
            self._key, np.uint64(0), np.uint64(self.cycle << 32), 1, 0, self.cells,
            self._state.reshape(-1), self._q0, self._q1, bool(reset), self.cells, out,
        )  # fmt: skip
        if where is not None and before is not None:
            np.copyto(self._state, before, where=~where)
        self.cycle += 1
        if reset:
            self.ledger.count("reset", touched)
        self.ledger.count("pulse", touched)

    def randomize(self, *, mask: ArrayLike | None = None) -> None:
        """Forget what is stored: reset, then one stochastic pulse, so that a cell goes to 1 with its own p01."""
        self.pulse(mask=mask, reset=True)

    def xor(self, operand: ArrayLike, *, error: float = 0.0) -> None:
        """Toggle the cells where ``operand`` is 1, in place: one pulse each, no read, nothing where it is 0.

        Args:
            operand: 0 or 1, (rows, columns).
            error: probability that a toggle fails and leaves its cell as it was. A pulse's own is
                ``1 - p01`` or ``1 - p10``, see ``device.best_pulse(..., target="write")``.

        Raises:
            InputError: another shape, a value that is not a bit, or an error that is no probability.
        """
        bits = np.asarray(operand)
        if bits.shape != self._state.shape or not ((bits == 0) | (bits == 1)).all():
            raise InputError(f"the operand of shape {bits.shape} must be 0 or 1 in the shape {self._state.shape}")
        if not 0 <= error <= 1:
            raise InputError(f"error = {error} must be a probability from 0 to 1")
        toggled = bits.astype(bool)
        self.ledger.count("toggle", int(np.count_nonzero(toggled)))
        if error:
            u = Stream.of(self.seed, "memory", "toggle", stream=self.cycle).uniforms(self.cells)
            toggled = toggled & (u.reshape(toggled.shape) >= error)
        self._state ^= toggled.astype(np.uint8)
        self.cycle += 1

    def invert(self, *, mask: ArrayLike | None = None, error: float = 0.0) -> None:
        """Toggle every cell (of ``mask``); see :meth:`xor` for the error."""
        where = self._mask(mask)
        self.xor(np.ones(self._state.shape, np.uint8) if where is None else where.astype(np.uint8), error=error)

    def describe(self) -> dict[str, Any]:
        """What defines this memory, JSON-able, for provenance."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "K_eff_spread": self.K_eff_spread,
            "stray_field_spread_T": self.stray_field_spread,
            "screening_sigma": SCREENING,
            "seed": int(self.seed),
            "p01": {"mean": float(self._p01.mean()), "std": float(self._p01.std())},
            "p10": {"mean": float(self._p10.mean()), "std": float(self._p10.std())},
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


def _screened(seed: int, purpose: str, n: int) -> NDArray[np.float64]:
    """Standard normals truncated at the screening limit, one per cell."""
    from scipy.special import ndtr, ndtri

    tail = ndtr(-SCREENING)
    u = Stream.of(seed, "memory", "variation", purpose).uniforms(n)
    return np.asarray(ndtri(tail + u * (1 - 2 * tail)), dtype=np.float64)


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
