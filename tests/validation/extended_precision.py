"""The Fokker-Planck operator in harmonics with 60 digits: rates of deep wells under a torque, without the package.

Slow (a minute a case), so that the tests hold its table. Run this file to print it again. The equation is
dP/dt = -div(P v) + D lap P with v = -m x H_turn - m x (m x H_fall), where H_turn = (h_x, 0, k z + h_z - alpha a)
and H_fall = alpha (h_x, 0, k z + h_z) + (0, 0, a) as in Brown's equation with Slonczewski's torque; all fields are
in units of the anisotropy field, and time in units of (1 + alpha^2) / (gamma B_k). D = alpha / (2 Delta).
"""

from __future__ import annotations

from typing import Any

from mpmath import mp, mpc, mpf, sqrt

mp.dps = 60
Row = dict[tuple[int, int], Any]


def _times(A: dict[tuple[int, int], Row], B: dict[tuple[int, int], Row]) -> dict[tuple[int, int], Row]:
    """A after B, both by column: the image of every harmonic."""
    out: dict[tuple[int, int], Row] = {}
    for start, image in B.items():
        total: Row = {}
        for place, value in image.items():
            for target, factor in A.get(place, {}).items():
                total[target] = total.get(target, mpf(0)) + factor * value
        out[start] = total
    return out


def _sum(*terms: tuple[Any, dict[tuple[int, int], Row]]) -> dict[tuple[int, int], Row]:
    out: dict[tuple[int, int], Row] = {}
    for factor, A in terms:
        for start, image in A.items():
            row = out.setdefault(start, {})
            for target, value in image.items():
                row[target] = row.get(target, mpf(0)) + factor * value
    return out


def operator(degree: int, *, Delta: Any, alpha: Any, h_x: Any, h_z: Any, a: Any) -> dict[tuple[int, int], Row]:
    """The Fokker-Planck operator on complex harmonics (l, m) up to ``degree``, by column."""
    places = [(n, m) for n in range(degree + 3) for m in range(-n, n + 1)]
    z: dict[tuple[int, int], Row] = {}
    x: dict[tuple[int, int], Row] = {}
    turn_x: dict[tuple[int, int], Row] = {}
    for n, m in places:
        up, down = mpf((2 * n + 1) * (2 * n + 3)), mpf(max((2 * n - 1) * (2 * n + 1), 1))
        z[n, m] = {(n + 1, m): sqrt(((n + 1) ** 2 - m * m) / up)}
        x[n, m] = {
            (n + 1, m + 1): -sqrt((n + m + 1) * (n + m + 2) / up) / 2,
            (n + 1, m - 1): sqrt((n - m + 1) * (n - m + 2) / up) / 2,
        }
        if abs(m) <= n - 1:
            z[n, m][n - 1, m] = sqrt((n * n - m * m) / down)
        if abs(m + 1) <= n - 1:
            x[n, m][n - 1, m + 1] = sqrt((n - m) * (n - m - 1) / down) / 2
        if abs(m - 1) <= n - 1:
            x[n, m][n - 1, m - 1] = -sqrt((n + m) * (n + m - 1) / down) / 2
        turn_x[n, m] = {}
        for step in (1, -1):
            if abs(m + step) <= n:
                turn_x[n, m][n, m + step] = mpc(0, sqrt(mpf(n * (n + 1) - m * (m + step))) / 2)
    lap = {(n, m): {(n, m): mpf(-n * (n + 1))} for n, m in places}
    turn_z = {(n, m): {(n, m): mpc(0, m)} for n, m in places}
    one = {p: {p: mpf(1)} for p in places}

    def uphill(u: Any, lap_u: Any) -> Any:
        """-div(P grad u)."""
        return _sum((mpf(0.5), _times(u, lap)), (mpf(-0.5), _times(lap, u)), (mpf(-0.5), lap_u))

    zz = _times(z, z)
    half_zz = _sum((mpf(0.5), zz))
    A = _sum(
        (-(h_z - alpha * a), turn_z), (-h_x, turn_x), (mpf(-1), _times(z, turn_z)),
        (alpha, uphill(half_zz, _sum((mpf(1), one), (mpf(-3), zz)))),
        (alpha * h_x, uphill(x, _sum((mpf(-2), x)))), (alpha * h_z + a, uphill(z, _sum((mpf(-2), z)))),
        (alpha / (2 * Delta), lap),
    )  # fmt: skip
    keep = {(n, m) for n, m in places if n <= degree}
    return {s: {t: v for t, v in image.items() if t in keep and v != 0} for s, image in A.items() if s in keep}


def rates(degree: int, **physics: Any) -> tuple[Any, Any]:
    """(rate out of the well up, out of the well down): the slowest eigenvalue times the other well's share.

    The share of a well is the mean of the committor, the slowest left eigenvector scaled to 1 at one pole and 0 at
    the other: no border between the wells has to be chosen.
    """
    A = operator(degree, **{k: mpf(v) for k, v in physics.items()})
    order = sorted((p for p in A if p != (0, 0)), key=lambda p: (p[1], p[0]))
    number = {p: i for i, p in enumerate(order)}
    n = len(order)
    rows: list[dict[int, Any]] = [{} for _ in range(n)]
    for start, image in A.items():
        if start != (0, 0):
            for target, value in image.items():
                if target != (0, 0):
                    rows[number[target]][number[start]] = value
    below: list[list[tuple[int, Any]]] = [[] for _ in range(n)]
    columns: list[set[int]] = [set() for _ in range(n)]
    for i, row in enumerate(rows):
        for j in row:
            columns[j].add(i)
    for k in range(n):  # elimination without exchange of rows, which the digits pay for
        pivot = rows[k][k]
        for i in sorted(i for i in columns[k] if i > k):
            factor = rows[i].pop(k) / pivot
            below[k].append((i, factor))
            for j, value in rows[k].items():
                if j > k:
                    if j not in rows[i]:
                        columns[j].add(i)
                        rows[i][j] = mpf(0)
                    rows[i][j] -= factor * value

    def solve(b: list[Any]) -> list[Any]:
        y = list(b)
        for k in range(n):
            for i, factor in below[k]:
                y[i] -= factor * y[k]
        for k in reversed(range(n)):
            y[k] = (y[k] - sum((v * y[j] for j, v in rows[k].items() if j > k), mpf(0))) / rows[k][k]
        return y

    def solve_left(b: list[Any]) -> list[Any]:
        """The same with the conjugate transpose."""
        y = list(b)
        for k in range(n):
            y[k] /= mp.conj(rows[k][k])
            for j, value in rows[k].items():
                if j > k:
                    y[j] -= mp.conj(value) * y[k]
        for k in reversed(range(n)):
            y[k] -= sum((mp.conj(factor) * y[i] for i, factor in below[k]), mpf(0))
        return y

    pole = [sqrt((2 * p[0] + 1) / (4 * mp.pi)) if p[1] == 0 else mpf(0) for p in order]
    other = [value * (-1) ** p[0] for value, p in zip(pole, order, strict=True)]
    whole = 1 / sqrt(4 * mp.pi)
    density = solve([-A[0, 0].get(p, mpf(0)) * whole for p in order])
    left, eigenvalue = list(pole), mpf(0)
    for _ in range(4):
        w = solve_left(left)
        eigenvalue = -(_dot(left, left) / _dot(left, w)).real
        norm = sqrt(_dot(w, w).real)
        left = [c / norm for c in w]
    top, bottom = _dot(left, pole).real, _dot(left, other).real
    share = (_dot(left, density).real - bottom) / (top - bottom)
    return eigenvalue * (1 - share), eigenvalue * share


def _dot(a: list[Any], b: list[Any]) -> Any:
    return sum((mp.conj(c) * d for c, d in zip(a, b, strict=True)), mpf(0))


if __name__ == "__main__":
    import sys
    import time

    for case in [
        {"Delta": 20, "alpha": 0.3, "h_x": 0.15, "h_z": 0.0, "a": 0.0},
        {"Delta": 20, "alpha": 0.3, "h_x": 0.15, "h_z": 0.05, "a": -0.09},
        {"Delta": 20, "alpha": 0.3, "h_x": 0.15, "h_z": 0.05, "a": 0.05},
        {"Delta": 40, "alpha": 0.3, "h_x": 0.15, "h_z": 0.1, "a": 0.06},
    ]:
        for degree in map(int, sys.argv[1:] or ["30", "38"]):
            begun = time.time()
            found = rates(degree, **case)
            print(case, degree, *(mp.nstr(r, 8) for r in found), f"{time.time() - begun:.0f} s", flush=True)
