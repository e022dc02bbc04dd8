"""Many Fokker-Planck operators side by side: what a fit needs, where every parameter and pulse has its own.

The operators of one degree have the same entries and differ in seven weights. So eight of them share every load of an
entry and fill the arithmetic units of a processor, which makes one of them about six times cheaper than
:meth:`voltaspin.device.sphere.Generator.propagate`. The method is the same: Chebyshev expansions of the exponential.

A vector holds pairs, the cosine and the sine of one (m, l), ordered by m and l, between ``_PAD`` empty pairs at each
end. So every neighbour of a row lies at a distance that changes with m alone, and both rows of a pair have the same
entries.
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
from voltaspin.device.sphere import Floats, Generator, basis

SIDE = 8  #: operators side by side: a register of AVX-512, two of AVX2
#: Entries of a row in the order of sphere.TERMS: (term, whether it takes a sine to a cosine, change of m, change of l).
#: The last one is the diagonal.
_ENTRIES = (
    (0, 1, 0, -1), (0, 1, 0, 1), (1, 0, 0, -2), (1, 0, 0, 0), (1, 0, 0, 2), (2, 1, -1, 0), (2, 1, 1, 0),
    (3, 0, -1, -1), (3, 0, -1, 1), (3, 0, 1, -1), (3, 0, 1, 1), (4, 1, 0, 0), (5, 0, 0, -1), (5, 0, 0, 1),
    (6, 0, 0, 0),
)  # fmt: skip
_COUNT = len(_ENTRIES)
_PAD = 3  # as far as the entries of the first and last rows reach out of the vector
_MOST_DECAY, _MOST_PHASE = 3.5, 300.0  #: of one expansion: its terms grow by exp(decay), which costs digits
_CUT = 1e-15  #: terms of an expansion below this are left out

# --- the operators ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """The seven operators row by row.

    Args:
        value: (pairs, 2, entries), flat; from m = 2 on, the entries of a sine are those of its cosine, with the other
            sign where they lead to a cosine.
        start: int64 (degree + 2,), the first pair of every m, without the padding.
    """

    value: Floats
    start: NDArray[np.int64]


def _starts(degree: int) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(degree + 1 - np.arange(degree + 1))])


@lru_cache(maxsize=8)
def _table(degree: int, adjoint: bool) -> _Table:
    operators, start = basis(degree), _starts(degree)
    block, l = np.divmod(np.arange(operators.size), degree + 1)  # noqa: E741
    m, sine = np.divmod(block, 2)
    slots = np.zeros((7, 2, 3, 5), np.int64)
    for slot, (term, other, dm, dl) in enumerate(_ENTRIES):
        slots[term, other, dm, dl] = slot
    value = np.zeros((start[-1], 2, len(_ENTRIES)))
    for term in range(7):
        d, row = np.nonzero(operators.data[term])
        entry, column = operators.data[term][d, row], row + operators.offsets[d]
        if adjoint:
            row, column = column, row
        slot = slots[term, sine[row] ^ sine[column], m[column] - m[row], l[column] - l[row]]
        value[start[m[row]] + l[row] - m[row], sine[row], slot] = entry
    sign = np.array([-1.0 if other else 1.0 for _, other, _, _ in _ENTRIES])
    assert np.allclose(value[start[2] :, 1], sign * value[start[2] :, 0], rtol=1e-12)
    return _Table(value.ravel(), start)


@lru_cache(maxsize=8)
def _places(degree: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where a vector of :mod:`voltaspin.device.sphere` holds coefficients, and where they stand here."""
    block, l = np.divmod(np.arange(2 * (degree + 1) ** 2), degree + 1)  # noqa: E741
    there = np.flatnonzero((l >= block // 2) & (block != 1))
    m, sine = np.divmod(block[there], 2)
    return there, 2 * (_PAD + _starts(degree)[m] + l[there] - m) + sine


def compact(degree: int, v: Floats) -> Floats:
    """Return the coefficients of a vector of :mod:`voltaspin.device.sphere` in pairs: float64 (rows,)."""
    there, here = _places(degree)
    out = np.zeros(2 * (int(_starts(degree)[-1]) + 2 * _PAD))
    out[here] = v[there]
    return out


# --- the kernel -------------------------------------------------------------------------------------------


class _Vectors:
    """What writes instructions on SIDE numbers of float64 at once."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder, self.arguments, self.kinds = context, builder, arguments, signature.args
        self.vector = ir.VectorType(ir.DoubleType(), SIDE)

    def array(self, k: int) -> Any:
        return self.context.make_array(self.kinds[k])(self.context, self.builder, self.arguments[k]).data

    def _at(self, pointer: Any, offset: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.vector.as_pointer())

    def load(self, pointer: Any, offset: Any) -> Any:
        return self.builder.load(self._at(pointer, offset), align=8)

    def store(self, x: Any, pointer: Any, offset: Any) -> None:
        self.builder.store(x, self._at(pointer, offset), align=8)

    def spread(self, pointer: Any, offset: Any) -> Any:
        """One number in all places."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        x = self.builder.load(self.builder.gep(pointer, [offset]))
        lone = self.builder.insert_element(undefined, x, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), SIDE), [0] * SIDE)
        return self.builder.shuffle_vector(lone, undefined, zeros)

    def product(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=["contract"])

    def madd(self, a: Any, b: Any, c: Any, *, minus: bool = False) -> Any:
        join = self.builder.fsub if minus else self.builder.fadd
        return join(c, self.product(a, b), flags=["contract"])


# Written for LLVM's vectors: numba cannot tell its compiler that arrays do not overlap, without which the same loop
# over SIDE numbers stays scalar and takes three times as long. Pairs spare half of the loads of entries and all of
# those of columns: 1.5 times faster than rows with a list of their columns.
def _pair(alike: bool) -> Any:
    """Make ``out[at] += (sum over terms of weights[term] * operator[term, at] + weights[7]) @ now`` of both rows of a
    pair, with entries that both share (from m = 2 on) or their own."""

    @intrinsic
    def pair(typing_context, out, now, value, weights, at, entry, lower, upper):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            v = _Vectors(context, builder, signature, arguments)
            out, now, value, weights = (v.array(k) for k in range(4))
            at, entry, lower, upper = arguments[4:]

            def number(k: int) -> Any:
                return ir.Constant(at.type, k)

            def column(sine: int, dm: int, dl: int) -> Any:
                base = (at, upper, lower)[dm]  # -1 counts from the end
                return v.load(now, builder.add(base, number(SIDE * (2 * dl + sine))))

            def entries(slot: int) -> list[Any]:
                both = [v.spread(value, builder.add(entry, number(slot)))]
                own = builder.add(entry, number(len(_ENTRIES) + slot))
                return both * 2 if alike else [*both, v.spread(value, own)]

            def weight(k: int) -> Any:
                return v.load(weights, number(SIDE * k))

            new = [v.load(out, builder.add(at, number(SIDE * sine))) for sine in (0, 1)]
            for term in range(6):
                parts: list[Any] = [None, None]
                for slot, (of, other, dm, dl) in enumerate(_ENTRIES):
                    if of == term:
                        turns = bool(other)
                        for sine, x in enumerate(entries(slot)):
                            there, part = column(sine ^ other, dm, dl), parts[sine]
                            parts[sine] = v.product(x, there) if part is None else v.madd(x, there, part)
                for sine in (0, 1):
                    new[sine] = v.madd(weight(term), parts[sine], new[sine], minus=alike and turns and sine == 1)
            for sine, x in enumerate(entries(len(_ENTRIES) - 1)):
                diagonal = v.madd(weight(6), x, weight(7))
                v.store(v.madd(diagonal, column(sine, 0, 0), new[sine]), out, builder.add(at, number(SIDE * sine)))
            return context.get_dummy_value()

        return types.void(out, now, value, weights, at, entry, lower, upper), code

    return pair


_own_pair, _like_pair = _pair(False), _pair(True)


@intrinsic
def _add_product(typing_context, target, to, a, at, b, where):  # type: ignore[no-untyped-def]
    """``target[to:] += a[at:] * b[where:]``, SIDE numbers each."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        v = _Vectors(context, builder, signature, arguments)
        x = v.madd(v.load(v.array(2), arguments[3]), v.load(v.array(4), arguments[5]), v.load(v.array(0), arguments[1]))
        v.store(x, v.array(0), arguments[1])
        return context.get_dummy_value()

    return types.void(target, to, a, at, b, where), code


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _expand(value, start, weights, mix, state, probes, moments):  # type: ignore[no-untyped-def]
    """One expansion: ``state`` becomes the sum over k of mix[k] T_k(A) state, Chebyshev's T on i [-1, 1].

    Args:
        value, start: see _Table.
        weights: (8, SIDE), of twice the scaled operator; the last row is the shift of its diagonal.
        mix: (terms, SIDE).
        state: (rows, SIDE), all arrays flat.
        probes: (number, rows, SIDE).
        moments: (terms, number, SIDE): the products of the probes with T_k(A) state.
    """
    rows, count, side, last = state.size // SIDE, probes.size // state.size, 2 * SIDE, start.size - 2
    now, out, total = state.copy(), np.zeros_like(state), np.zeros_like(state)
    first = weights.copy()
    first *= 0.5
    for row in range(rows):
        _add_product(total, SIDE * row, mix, 0, now, SIDE * row)
    for k in range(mix.size // SIDE):
        if k > 0:
            by = first if k == 1 else weights
            for m in range(last + 1):
                at = side * (_PAD + start[m])
                lower = side * (_PAD + start[m - 1] + 1) if m > 0 else at
                upper = side * (_PAD + start[m + 1] - 1) if m < last else at
                entry, end = 2 * _COUNT * start[m], at + side * (start[m + 1] - start[m])
                while at < end:
                    if m < 2:
                        _own_pair(out, now, value, by, at, entry, lower, upper)
                    else:
                        _like_pair(out, now, value, by, at, entry, lower, upper)
                    _add_product(total, at, mix, SIDE * k, out, at)
                    _add_product(total, at + SIDE, mix, SIDE * k, out, at + SIDE)
                    at, entry, lower, upper = at + side, entry + 2 * _COUNT, lower + side, upper + side
            now, out = out, now
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
            self.table.value, self.table.start, self.weights.ravel(), mix.ravel(), state.reshape(-1), probes.ravel(),
            moments.reshape(-1),
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
