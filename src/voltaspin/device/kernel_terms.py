"""The kernels of :mod:`voltaspin.device.kernel` for a junction with further terms, and their oracle.

The equation is that of :class:`voltaspin.device.torque.Forces`, written as dm/dt = gamma' H x m with H = P + m x Q,
P = B - alpha A, Q = alpha B + A. With a series resistance the voltage across the oxide follows m, so the anisotropy
and the torque of the tunnel current are found anew at every stage of a step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from voltaspin.core.compiled import numba
from voltaspin.device.kernel import GROUP, HEUN, LANES, ROTATION, axpy, cross, draw, draw64, rodrigues, turned
from voltaspin.random.normal import fma
from voltaspin.random.philox import high32, low32

_HALF, _ONE, _THREE_HALVES = map(np.float32, (0.5, 1.0, 1.5))

#: What all devices share, by its place in ``fixed``: fields of K2 and shape [T], the reference layer, field-like over
#: damping-like torque of the tunnel current [1], voltage of the junction over that of the pulse [1], series resistance
#: over R_P [1], TMR0 [1], 1 / V_h^2 [1/V^2], and the line's damping-like and field-like fields per volt [T/V].
B_K2, B_SHAPE, REFERENCE, FIELD_LIKE, GATE, SERIES, TMR0, V_H, DAMPING, FIELD, FIXED = (
    0,
    1,
    2,
    5,
    6,
    7,
    8,
    9,
    10,
    13,
    16,
)
CELL = 8  #: parameters of a device: the seven of ``advance``, and its conductance over the nominal one [1]


@numba.njit(inline="always")
def _share(cosine, u, G, fixed):  # type: ignore[no-untyped-def]
    """The oxide's share of u [V] over the pillar and its series resistance, for a conductance G times the nominal.

    The conductance is G_P (D + TMR0 (1 + cosine) / 2) / (D + TMR0), D = 1 + V^2 / V_h^2 at the mean state's voltage V.
    """
    rho, T0, per_V2 = G * fixed[SERIES], fixed[TMR0], fixed[V_H]
    D = fma(per_V2 * u, u, _ONE)
    middle = u / (_ONE + rho * fma(_HALF, T0, D) / (D + T0))
    D = fma(per_V2 * middle, middle, _ONE)
    return (D + T0) / fma(rho, fma(_HALF * T0, _ONE + cosine, D), D + T0)


@numba.njit(inline="always")
def _H(x, y, z, hx, hy, hz, pulse, K0, slope, a_J, G, alpha, fixed, series):  # type: ignore[no-untyped-def]
    """H = P + m x Q at the voltage ``pulse``; with a series resistance the share of the oxide follows m."""
    rx, ry, rz = fixed[REFERENCE], fixed[REFERENCE + 1], fixed[REFERENCE + 2]
    v = fixed[GATE] * pulse
    if series:
        v *= _share(fma(x, rx, fma(y, ry, z * rz)), v, G, fixed)
    a = a_J * v
    b = fixed[FIELD_LIKE] * a
    ax = fma(a, rx, pulse * fixed[DAMPING])
    ay = fma(a, ry, pulse * fixed[DAMPING + 1])
    az = fma(a, rz, pulse * fixed[DAMPING + 2])
    bx = fma(b, rx, fma(pulse, fixed[FIELD], hx))
    by = fma(-fixed[B_SHAPE], y, fma(b, ry, fma(pulse, fixed[FIELD + 1], hy)))
    bz = fma(b, rz, fma(pulse, fixed[FIELD + 2], hz))
    bz = fma(z, fma(fixed[B_K2], fma(-z, z, _ONE), fma(slope, v, K0)), bz)
    qx, qy, qz = fma(alpha, bx, ax), fma(alpha, by, ay), fma(alpha, bz, az)
    return (
        fma(y, qz, fma(-z, qy, fma(-alpha, ax, bx))),
        fma(z, qx, fma(-x, qz, fma(-alpha, ay, by))),
        fma(x, qy, fma(-y, qx, fma(-alpha, az, bz))),
    )


def _advance(rotation: bool, series: bool) -> Any:
    """The kernel of one scheme, with or without a series resistance: as constants, or the loop does not vectorise."""

    @numba.njit(cache=True, nogil=True, error_model="numpy")
    def advance(m, key, devices, first_step, volts, cell, rate_dt, alpha_G, fixed):  # type: ignore[no-untyped-def]
        k0, k1 = low32(key), high32(key)
        n, steps = m.shape[0], volts.shape[0]
        pairs = np.empty((12, LANES // 2), np.uint64)
        words = pairs.view(np.uint32)
        g = np.empty((12, LANES), np.float32)
        s = np.empty((3, LANES), np.float32)
        c = np.empty((CELL, LANES), np.float32)
        stream = np.empty((2, 4, LANES // 2), np.uint64)
        half = _HALF * rate_dt
        for start in range(0, n, LANES):
            for j in range(LANES):
                i = min(start + j, n - 1)
                for q in range(3):
                    s[q, j] = m[i, q]
                for q in range(CELL):
                    c[q, j] = cell[q, i]
            high = ~np.uint64(0)
            done = 0
            while done < steps:
                group = (first_step + done) // GROUP
                begin = first_step + done - GROUP * group
                high = draw(group, start, devices, k0, k1, high, stream, pairs, words, g)
                for q in range(begin, min(GROUP, begin + steps - done)):
                    v0, v1 = volts[done, 0], volts[done, 1]
                    done += 1
                    for j in range(LANES):
                        x, y, z = s[0, j], s[1, j], s[2, j]
                        hx = fma(c[5, j], g[3 * q, j], c[2, j])
                        hy = fma(c[5, j], g[3 * q + 1, j], c[3, j])
                        hz = fma(c[5, j], g[3 * q + 2, j], c[4, j])
                        px, py, pz = _H(
                            x, y, z, hx, hy, hz, v0, c[0, j], c[1, j], c[6, j], c[7, j], alpha_G, fixed, series
                        )
                        if rotation:
                            u, v, w = turned(x, y, z, rate_dt * px, rate_dt * py, rate_dt * pz)
                        else:
                            ex, ey, ez = fma(py, z, -(pz * y)), fma(pz, x, -(px * z)), fma(px, y, -(py * x))
                            u, v, w = fma(rate_dt, ex, x), fma(rate_dt, ey, y), fma(rate_dt, ez, z)
                        qx, qy, qz = _H(
                            u, v, w, hx, hy, hz, v1, c[0, j], c[1, j], c[6, j], c[7, j], alpha_G, fixed, series
                        )
                        if rotation:
                            x, y, z = turned(x, y, z, half * (px + qx), half * (py + qy), half * (pz + qz))
                        else:
                            x = fma(half, ex + fma(qy, w, -(qz * v)), x)
                            y = fma(half, ey + fma(qz, u, -(qx * w)), y)
                            z = fma(half, ez + fma(qx, v, -(qy * u)), z)
                        norm = fma(-_HALF, fma(x, x, fma(y, y, z * z)), _THREE_HALVES)
                        s[0, j] = x * norm
                        s[1, j] = y * norm
                        s[2, j] = z * norm
            for j in range(min(LANES, n - start)):
                for q in range(3):
                    m[start + j, q] = s[q, j]

    return advance


_ADVANCE = {(s, series): _advance(s == ROTATION, series) for s in (HEUN, ROTATION) for series in (False, True)}


def advance_terms(m, key, devices, first_step, volts, cell, rate_dt, alpha_G, scheme, fixed):  # type: ignore[no-untyped-def]
    """Advance m (n, 3) float32 in place over volts.shape[0] steps.

    As :func:`voltaspin.device.kernel.advance`, with volts those of the pulse, cell float32 (8, n) and fixed a tuple of
    16 float32: see the names at the head of this file.
    """
    _ADVANCE[scheme, bool(fixed[SERIES])](m, key, devices, first_step, volts, cell, rate_dt, alpha_G, fixed)


# --- the oracle: float64, one device after the other, vectors written as in a textbook -------------------------


@numba.njit(inline="always")
def _dot(a, b):  # type: ignore[no-untyped-def]
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(inline="always")
def _conductance(cosine, voltage, scale, fixed):  # type: ignore[no-untyped-def]
    """Conductance times series resistance: G_P (1 + TMR (1 + cosine) / 2) / (1 + TMR), TMR at a voltage."""
    TMR = fixed[TMR0] / (1 + voltage**2 * fixed[V_H])
    return fixed[SERIES] * scale * (1 + TMR * (1 + cosine) / 2) / (1 + TMR)


@numba.njit(inline="always")
def _spin(m, h, pulse, cell, i, fixed, alpha_G):  # type: ignore[no-untyped-def]
    """H of dm/dt = gamma' H x m: B + alpha m x B + m x A - alpha A."""
    reference = (fixed[REFERENCE], fixed[REFERENCE + 1], fixed[REFERENCE + 2])
    applied = fixed[GATE] * pulse
    middle = applied / (1 + _conductance(0.0, applied, cell[7, i], fixed))
    voltage = applied / (1 + _conductance(_dot(m, reference), middle, cell[7, i], fixed))
    a_J = cell[6, i] * voltage
    A = axpy((fixed[DAMPING] * pulse, fixed[DAMPING + 1] * pulse, fixed[DAMPING + 2] * pulse), a_J, reference)
    B = axpy(h, pulse, (fixed[FIELD], fixed[FIELD + 1], fixed[FIELD + 2]))
    B = axpy(B, fixed[FIELD_LIKE] * a_J, reference)
    B_k = cell[0, i] + cell[1, i] * voltage
    B = (B[0], B[1] - fixed[B_SHAPE] * m[1], B[2] + m[2] * (B_k + fixed[B_K2] * (1 - m[2] ** 2)))
    return axpy(axpy(axpy(B, alpha_G, cross(m, B)), 1.0, cross(m, A)), -alpha_G, A)


@numba.njit(cache=True, nogil=True)
def advance_terms64(m, key, devices, first_step, volts, cell, rate_dt, alpha_G, scheme, fixed):  # type: ignore[no-untyped-def]
    """:func:`advance_terms` for m (n, 3) float64; its Gaussians are the same to rounding, from the same words."""
    k0, k1 = low32(key), high32(key)
    g = np.empty(3)
    for i in range(m.shape[0]):
        now = (m[i, 0], m[i, 1], m[i, 2])
        for done in range(volts.shape[0]):
            draw64(first_step + done, devices[i], k0, k1, g)
            th = cell[5, i]
            h = (cell[2, i] + th * g[0], cell[3, i] + th * g[1], cell[4, i] + th * g[2])
            H = _spin(now, h, volts[done, 0], cell, i, fixed, alpha_G)
            if scheme == ROTATION:
                there = rodrigues(now, (rate_dt * H[0], rate_dt * H[1], rate_dt * H[2]))
                H2 = _spin(there, h, volts[done, 1], cell, i, fixed, alpha_G)
                half = rate_dt / 2
                now = rodrigues(now, (half * (H[0] + H2[0]), half * (H[1] + H2[1]), half * (H[2] + H2[2])))
            else:
                first = cross(H, now)
                there = axpy(now, rate_dt, first)
                second = cross(_spin(there, h, volts[done, 1], cell, i, fixed, alpha_G), there)
                now = axpy(axpy(now, rate_dt / 2, first), rate_dt / 2, second)
                norm = math.sqrt(_dot(now, now))
                now = (now[0] / norm, now[1] / norm, now[2] / norm)
        m[i, 0], m[i, 1], m[i, 2] = now
