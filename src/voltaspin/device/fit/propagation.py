"""Many Fokker-Planck operators side by side: what a fit needs, where every parameter and pulse has its own.

The operators of one degree have the same entries and differ in seven weights. So eight of them share every load of an
entry and fill the arithmetic units of a processor, which makes one of them about four times cheaper than
:meth:`voltaspin.device.sphere.Generator.propagate`. The method is the same: Chebyshev
expansions of the exponential.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.device.sphere import Floats, Generator, basis, occupied

SIDE = 8  #: operators side by side: a register of AVX-512, two of AVX2
_SLOTS = (2, 3, 2, 4, 1, 2, 1)  #: most entries of a row in each of sphere.TERMS; the last one is the diagonal
_ENTRIES = sum(_SLOTS)
_MOST_DECAY, _MOST_PHASE = 3.5, 300.0  #: of one expansion: its terms grow by exp(decay), which costs digits
_CUT = 1e-15  #: terms of an expansion below this are left out

# --- the operators ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """The seven operators row by row, on the coefficients that exist.

    Args:
        place: int64 (entries, rows), the columns times SIDE; unused entries point to their own row with the value 0.
        value: float64 (rows, entries).
    """

    place: NDArray[np.int64]
    value: Floats


@lru_cache(maxsize=8)
def _table(degree: int, adjoint: bool) -> _Table:
    operators, used = basis(degree), occupied(degree)
    n = int(used.sum())
    compact = np.cumsum(used) - 1
    place = np.repeat(np.arange(n)[:, None], _ENTRIES, axis=1)
    value = np.zeros((n, _ENTRIES))
    first = 0
    for term, slots in enumerate(_SLOTS):
        d, row = np.nonzero(operators.data[term])
        entry, column = operators.data[term][d, row], compact[row + operators.offsets[d]]
        row = compact[row]
        if adjoint:
            row, column = column, row
        order = np.argsort(row, kind="stable")
        row, column, entry = row[order], column[order], entry[order]
        slot = np.arange(len(row)) - np.searchsorted(row, row)
        assert slot.max() < slots
        place[row, first + slot], value[row, first + slot] = column, entry
        first += slots
    return _Table(np.ascontiguousarray(place * SIDE), value)


def compact(degree: int, v: Floats) -> Floats:
    """A vector of :mod:`voltaspin.device.sphere` without the zeros of its layout: float64 (rows,)."""
    return v[occupied(degree)]


# --- the kernel -------------------------------------------------------------------------------------------


def _array(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value).data


def _madd(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=["contract"]), c, flags=["contract"])


def _load(builder: Any, pointer: Any, offset: Any) -> Any:
    vector = ir.VectorType(ir.DoubleType(), SIDE)
    return builder.load(builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer()), align=8)


def _store(builder: Any, x: Any, pointer: Any, offset: Any) -> None:
    builder.store(x, builder.bitcast(builder.gep(pointer, [offset]), x.type.as_pointer()), align=8)


# Written for LLVM's vectors: numba cannot tell its compiler that arrays do not overlap, without which the same loop
# over SIDE numbers stays scalar and takes three times as long.
@intrinsic
def _row(typing_context, out, now, place, value, weights, row):  # type: ignore[no-untyped-def]
    """``out[row] += (sum over terms of weights[term] * operator[term, row] + weights[7]) @ now``, SIDE at once."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out, now, place, value, weights = (
            _array(context, builder, signature.args[k], arguments[k]) for k in range(5)
        )  # fmt: skip
        row = arguments[5]
        vector, index = ir.VectorType(ir.DoubleType(), SIDE), row.type

        def number(k: int) -> Any:
            return ir.Constant(index, k)

        def spread(k: int) -> Any:
            x = builder.load(builder.gep(value, [builder.add(base, number(k))]))
            lone = builder.insert_element(ir.Constant(vector, ir.Undefined), x, ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), SIDE), [0] * SIDE)
            return builder.shuffle_vector(lone, ir.Constant(vector, ir.Undefined), zeros)

        here, base = builder.mul(row, number(SIDE)), builder.mul(row, number(_ENTRIES))
        new, slot = _load(builder, out, here), 0
        for term, slots in enumerate(_SLOTS[:-1]):
            part = ir.Constant(vector, [0.0] * SIDE)
            for _ in range(slots):
                column = builder.load(builder.gep(place, [builder.add(base, number(slot))]))
                part = _madd(builder, spread(slot), _load(builder, now, column), part)
                slot += 1
            new = _madd(builder, _load(builder, weights, number(SIDE * term)), part, new)
        diagonal = _madd(
            builder, _load(builder, weights, number(6 * SIDE)), spread(slot), _load(builder, weights, number(7 * SIDE))
        )
        _store(builder, _madd(builder, diagonal, _load(builder, now, here), new), out, here)
        return context.get_dummy_value()

    return types.void(out, now, place, value, weights, row), code


@intrinsic
def _add_product(typing_context, target, to, a, at, b, where):  # type: ignore[no-untyped-def]
    """``target[to:] += a[at:] * b[where:]``, SIDE numbers each."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        target, a, b = (_array(context, builder, signature.args[k], arguments[k]) for k in (0, 2, 4))
        x = _madd(
            builder, _load(builder, a, arguments[3]), _load(builder, b, arguments[5]),
            _load(builder, target, arguments[1]),
        )  # fmt: skip
        _store(builder, x, target, arguments[1])
        return context.get_dummy_value()

    return types.void(target, to, a, at, b, where), code


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _expand(place, value, weights, mix, state, probes, moments):  # type: ignore[no-untyped-def]
    """One expansion: ``state`` becomes the sum over k of mix[k] T_k(A) state, Chebyshev's T on i [-1, 1].

    Args:
        weights: (8, SIDE), of twice the scaled operator; the last row is the shift of its diagonal.
        mix: (terms, SIDE).
        state: (rows, SIDE), all arrays flat.
        probes: (number, rows, SIDE).
        moments: (terms, number, SIDE): the products of the probes with T_k(A) state.
    """
    rows, count = value.shape[0], probes.size // state.size
    now, out, total = state.copy(), np.zeros_like(state), np.zeros_like(state)
    first = 0.5 * weights
    for k in range(mix.size // SIDE):
        if k > 0:
            by = first if k == 1 else weights
            for row in range(rows):
                _row(out, now, place, value, by, row)
            now, out = out, now
        for row in range(rows):
            _add_product(total, SIDE * row, mix, SIDE * k, now, SIDE * row)
        for p in range(count):
            to = SIDE * (k * count + p)
            for row in range(rows):
                _add_product(moments, to, probes, SIDE * (p * rows + row), now, SIDE * row)
    state[:] = total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bessel(z, orders):  # type: ignore[no-untyped-def]
    """J_k(z) for k below ``orders``, downward (J. C. P. Miller): float64 (orders,)."""
    out = np.zeros(orders)
    if z < 1e-300:
        out[0] = 1.0
        return out
    above, here, total = 0.0, 1e-300, 0.0
    for k in range(orders + 20 + int(z), 0, -1):
        above, here = here, 2 * k / z * here - above
        if abs(here) > 1e200:
            above, here, total = above * 1e-200, here * 1e-200, total * 1e-200
            out *= 1e-200
        if k - 1 < orders:
            out[k - 1] = here
        if k == 1:
            total += here
        elif k % 2 == 1:
            total += 2 * here
    return out / total


# --- propagation ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Block:
    """SIDE operators of one degree with their scales; fewer are filled up with idle copies of the last."""

    table: _Table
    weights: Floats  # (8, SIDE), of twice the scaled operators
    decay: Floats  # (SIDE,) [1/s], half of the depth of the spectrum
    height: Floats  # (SIDE,) [1/s]

    @classmethod
    def of(cls, degree: int, weights: Floats, adjoint: bool) -> _Block:
        extents = np.array([Generator(basis(degree), w).extent() for w in weights])
        decay, height = extents[:, 0] / 2, np.maximum(extents[:, 1], extents[:, 0] / 2)
        height = np.where(height > 0, height, 1.0)
        scaled = np.concatenate([weights.T, decay[None]]) / height
        return cls(_table(degree, adjoint), np.ascontiguousarray(2 * scaled), decay, height)

    @property
    def longest(self) -> Floats:
        """Times that one expansion can take: (SIDE,) [s]."""
        with np.errstate(divide="ignore"):
            return np.minimum(_MOST_DECAY / self.decay, _MOST_PHASE / self.height)

    def mix(self, spans: Floats) -> Floats:
        """Chebyshev coefficients of exp(spans * operator): float64 (terms, SIDE)."""
        z = self.height * spans
        most = int(z.max() + 12 * z.max() ** (1 / 3) + 40)
        bessel = np.stack([_bessel(float(one), most) for one in z], axis=1)
        k = np.arange(most)[:, None]
        growth = np.exp(np.minimum(k * np.arcsinh(self.decay / self.height), 40))
        terms = int(np.flatnonzero((np.abs(bessel) * growth).max(axis=1) > _CUT)[-1]) + 1
        return np.ascontiguousarray(np.exp(-self.decay * spans) * np.where(k == 0, 1.0, 2.0)[:terms] * bessel[:terms])

    def advance(self, state: Floats, mix: Floats, probes: Floats) -> Floats:
        """Take ``state`` (rows, SIDE) on in place; the moments with the probes: float64 (terms, probes, SIDE)."""
        moments = np.zeros((len(mix), len(probes), SIDE))
        _expand(
            self.table.place.ravel(), self.table.value, self.weights.ravel(), mix.ravel(), state.reshape(-1),
            probes.ravel(), moments.reshape(-1),
        )  # fmt: skip
        return moments


def _blocks(degree: int, weights: Floats, times: Floats, adjoint: bool) -> list[tuple[NDArray[np.int64], _Block]]:
    """Operators of like cost together: (which ones, their block)."""
    order = np.argsort(times * np.abs(weights).sum(axis=1), kind="stable")
    out = []
    for begin in range(0, len(order), SIDE):
        which = order[begin : begin + SIDE]
        filled = np.concatenate([which, np.repeat(which[-1:], SIDE - len(which))])
        out.append((which, _Block.of(degree, weights[filled], adjoint)))
    return out


def _filled(x: Floats, which: NDArray[np.int64]) -> Floats:
    """The chosen rows as columns, idle ones zero: float64 (..., SIDE)."""
    out = np.zeros((*x.shape[1:], SIDE))
    out[..., : len(which)] = np.moveaxis(x[which], 0, -1)
    return out


def carry(
    degree: int, weights: Floats, times: Floats, vectors: Floats, *, adjoint: bool = False,
    alive: Callable[[], None] | None = None,
) -> Floats:  # fmt: skip
    """exp(time A) v, or exp(time A^T) v for ``adjoint``, for many operators: float64 (operators, rows).

    Args:
        degree: of the harmonics.
        weights: (operators, 7) [1/s], as :func:`voltaspin.device.fokker_planck.term_weights`.
        times: (operators,) [s].
        vectors: (operators, rows), see :func:`compact`.
        adjoint: for observables.
        alive: called every now and then.
    """
    out = vectors.copy()
    nothing = np.zeros((0, 1))
    for which, block in _blocks(degree, weights, times, adjoint):
        state, time = _filled(vectors, which), _filled(times, which)
        count = max(1, math.ceil(float((time / block.longest).max())))
        mix = block.mix(time / count)
        for _ in range(count):
            block.advance(state, mix, nothing)
            if alive is not None:
                alive()
        out[which] = state[:, : len(which)].T
    return out


def overlaps(
    degree: int, weights: Floats, times: Sequence[Floats], vectors: Floats, probes: Floats, *,
    alive: Callable[[], None] | None = None,
) -> list[Floats]:  # fmt: skip
    """``probe . exp(time A^T) v`` at all times of every operator, which cost no more than the longest of them.

    Args:
        times: of each operator [s], in any order.
        vectors: (operators, rows).
        probes: (operators, number, rows).
        degree, weights, alive: as :func:`carry`.

    Returns:
        For each operator float64 (times, number).
    """
    ends = np.array([float(t.max()) for t in times])
    out = [np.empty((len(t), probes.shape[1])) for t in times]
    for which, block in _blocks(degree, weights, ends, True):
        state, end, probe = _filled(vectors, which), _filled(ends, which), _filled(probes, which)
        count = max(1, math.ceil(float((end / block.longest).max())))
        step = end / count
        mix = block.mix(step)
        found = []
        for _ in range(count):
            found.append(block.advance(state, mix, np.ascontiguousarray(probe)))
            if alive is not None:
                alive()
        for b, operator in enumerate(which):
            for k, time in enumerate(times[operator]):
                stage = min(int(time / step[b]), count - 1) if step[b] > 0 else 0
                span = time - stage * step[b]
                bessel = _bessel(float(block.height[b] * span), len(mix))
                bessel[1:] *= 2
                out[operator][k] = math.exp(-block.decay[b] * span) * (bessel @ found[stage][:, :, b])
    return out
