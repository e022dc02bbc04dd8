"""Steps of the stochastic macrospin equation for many devices: the hot kernels under ``llg``.

float32, lane-blocked, with nothing but additions, multiplications, divisions and square roots, so that a
result is the same on every processor. Gaussians come from the Box-Muller transform of 32-bit uniforms (they
reach 6.7 sigma), with polynomials for log, sin and cos that are exact to float32.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from voltaspin.streams import high32, low32, philox4x32

# Least-squares fits on Chebyshev nodes: sin(pi a) and cos(pi a) for |a| <= 1/2, and the P of
# log(1 + x) = x - x^2/2 + x^3 P(x) for 1/sqrt(2) <= 1 + x < sqrt(2). Errors: 2e-7 absolute, 1.7e-7 relative.
_S0, _S1, _S2, _S3, _S4, _S5 = map(np.float32, (
    3.1415927410125732, -5.167712688446045, 2.5501627922058105, -0.599247395992279, 0.08203117549419403,
    -0.007000417914241552,
))  # fmt: skip
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = map(np.float32, (
    1.0, -4.934802055358887, 4.058712005615234, -1.3352622985839844, 0.23532544076442719,
    -0.025776328518986702, 0.0018400063272565603,
))  # fmt: skip
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = map(np.float32, (
    0.33334267139434814, -0.25001293420791626, 0.19951410591602325, -0.16574572026729584,
    0.15020804107189178, -0.14316771924495697, 0.08479153364896774,
))  # fmt: skip
_HALF, _ONE, _TWO, _LN2, _TWENTYFOURTH = map(np.float32, (0.5, 1.0, 2.0, math.log(2.0), 1 / 24))
_STEP31, _STEP32, _MID32 = map(np.float32, (2.0**-31, 2.0**-32, 2.0**-33))
_MANTISSA, _SQRT_HALF = np.int32(23), np.int32(0x3F3504F3)  # bits of float32(1 / sqrt(2))


@numba.njit(inline="always")
def _log(u):  # type: ignore[no-untyped-def]
    bits = np.float32(u).view(np.int32)
    exponent = np.int32(np.int32(bits - _SQRT_HALF) >> _MANTISSA)
    x = np.int32(bits - np.int32(exponent << _MANTISSA)).view(np.float32) - _ONE
    p = (((((_P6 * x + _P5) * x + _P4) * x + _P3) * x + _P2) * x + _P1) * x + _P0
    return np.float32(exponent) * _LN2 + (x - _HALF * (x * x) + (x * x) * x * p)


@numba.njit(inline="always")
def _cos_pi(t):  # type: ignore[no-untyped-def]
    a = abs(t) - _HALF
    q = a * a
    return -a * (((((_S5 * q + _S4) * q + _S3) * q + _S2) * q + _S1) * q + _S0)


@numba.njit(inline="always")
def _sin_pi(t):  # type: ignore[no-untyped-def]
    a = abs(t) - _HALF
    q = a * a
    return math.copysign((((((_C6 * q + _C5) * q + _C4) * q + _C3) * q + _C2) * q + _C1) * q + _C0, t)


LANES = 128
GROUP = 4  #: steps that share three Philox blocks: twelve words, six Box-Muller pairs, twelve Gaussians
HEUN, ROTATION = 0, 1  #: schemes


@numba.njit(inline="always")
def _heun(x, y, z, hx, hy, hz, K0, K1, a0, a1, rate_dt, alpha_G):  # type: ignore[no-untyped-def]
    """Predictor, corrector, renormalisation."""
    half_rate = _HALF * rate_dt
    # Torque m x (m x p) with p = z adds a_J to the damping field and -alpha a_J to the other.
    ax, ay = alpha_G * hx, alpha_G * hy
    full = hz + K0 * z
    turn, damp = full - alpha_G * a0, alpha_G * full + a0
    dot = x * ax + y * ay + z * damp
    fx = (y * turn - z * hy) + (dot * x - ax)
    fy = (z * hx - x * turn) + (dot * y - ay)
    fz = (x * hy - y * hx) + (dot * z - damp)
    u, v, w = x - rate_dt * fx, y - rate_dt * fy, z - rate_dt * fz
    full = hz + K1 * w
    turn, damp = full - alpha_G * a1, alpha_G * full + a1
    dot = u * ax + v * ay + w * damp
    x -= half_rate * (fx + (v * turn - w * hy) + (dot * u - ax))
    y -= half_rate * (fy + (w * hx - u * turn) + (dot * v - ay))
    z -= half_rate * (fz + (u * hy - v * hx) + (dot * w - damp))
    norm = _ONE / math.sqrt(x * x + y * y + z * z)
    return x * norm, y * norm, z * norm


@numba.njit(inline="always")
def _turned(x, y, z, px, py, pz):  # type: ignore[no-untyped-def]
    """m turned by the rotation vector p: Cayley's formula, its angle corrected to fifth order."""
    half = _HALF + (px * px + py * py + pz * pz) * _TWENTYFOURTH
    wx, wy, wz = half * px, half * py, half * pz
    tx, ty, tz = wy * z - wz * y, wz * x - wx * z, wx * y - wy * x
    q = _TWO / (_ONE + wx * wx + wy * wy + wz * wz)
    return (
        x + q * (tx + (wy * tz - wz * ty)),
        y + q * (ty + (wz * tx - wx * tz)),
        z + q * (tz + (wx * ty - wy * tx)),
    )


@numba.njit(inline="always")
def _rotation(x, y, z, hx, hy, hz, K0, K1, a0, a1, rate_dt, alpha_G):  # type: ignore[no-untyped-def]
    """Heun's scheme on the rotation group: m never leaves the sphere, and a constant field is followed exactly."""
    bz = hz + K0 * z
    px = hx + alpha_G * (y * bz - z * hy) + a0 * y
    py = hy + alpha_G * (z * hx - x * bz) - a0 * x
    pz = bz + alpha_G * (x * hy - y * hx) - alpha_G * a0
    u, v, w = _turned(x, y, z, rate_dt * px, rate_dt * py, rate_dt * pz)
    bz = hz + K1 * w
    half = _HALF * rate_dt
    px = half * (px + hx + alpha_G * (v * bz - w * hy) + a1 * v)
    py = half * (py + hy + alpha_G * (w * hx - u * bz) - a1 * u)
    pz = half * (pz + bz + alpha_G * (u * hy - v * hx) - alpha_G * a1)
    x, y, z = _turned(x, y, z, px, py, pz)
    # Rounding alone changes the length: one Newton step of 1 / sqrt is enough.
    norm = _ONE + _HALF * (_ONE - (x * x + y * y + z * z))
    return x * norm, y * norm, z * norm


# Lane-blocked: several times faster than a loop that does not vectorise. That needs the numpy error model (no
# branch on division) and each helper inlined, over few arrays. Draws for four steps at once spare a quarter of
# the Philox blocks and of the logarithms.
@numba.njit(cache=True, nogil=True, error_model="numpy")
def advance(m, key, devices, first_step, volts, cell, rate_dt, alpha_G, scheme):  # type: ignore[no-untyped-def]
    """Advance m (n, 3) float32 in place over volts.shape[0] steps.

    devices: uint64 (n,), the random stream of each; volts: float32 (steps, 2), at the start and the end of each
    step [V]; cell: float32 (7, n), of each device B_k at zero voltage [T], its slope [T/V], the bias field
    (x, y, z) [T], the standard deviation of the thermal field [T] and a_J per volt [T/V]; rate_dt: gamma' dt
    [1/T]; scheme: HEUN or ROTATION.
    """
    k0, k1 = low32(key), high32(key)
    n, steps = m.shape[0], volts.shape[0]
    words = np.empty((12, LANES), np.uint32)
    g = np.empty((12, LANES), np.float32)
    s = np.empty((3, LANES), np.float32)
    c = np.empty((7, LANES), np.float32)
    ids = np.empty(LANES, np.uint64)
    for start in range(0, n, LANES):
        for j in range(LANES):
            i = min(start + j, n - 1)
            ids[j] = devices[i]
            for q in range(3):
                s[q, j] = m[i, q]
            for q in range(7):
                c[q, j] = cell[q, i]
        done = 0
        while done < steps:
            group = (first_step + done) // GROUP
            begin = first_step + done - GROUP * group
            for q in range(3):
                block = np.uint64(3 * group + q)
                b0, b1 = low32(block), high32(block)
                for j in range(LANES):
                    w0, w1, w2, w3 = philox4x32(b0, b1, low32(ids[j]), high32(ids[j]), k0, k1)
                    words[4 * q, j] = w0
                    words[4 * q + 1, j] = w1
                    words[4 * q + 2, j] = w2
                    words[4 * q + 3, j] = w3
            for p in range(6):
                for j in range(LANES):
                    r = math.sqrt(-_TWO * _log(np.float32(words[2 * p, j]) * _STEP32 + _MID32))
                    t = np.float32(np.int32(words[2 * p + 1, j])) * _STEP31
                    g[2 * p, j] = r * _cos_pi(t)
                    g[2 * p + 1, j] = r * _sin_pi(t)
            for q in range(begin, min(GROUP, begin + steps - done)):
                v0, v1 = volts[done, 0], volts[done, 1]
                done += 1
                if scheme == ROTATION:
                    for j in range(LANES):
                        hx, hy, hz = (
                            c[2, j] + c[5, j] * g[3 * q, j],
                            c[3, j] + c[5, j] * g[3 * q + 1, j],
                            c[4, j] + c[5, j] * g[3 * q + 2, j],
                        )
                        x, y, z = _rotation(
                            s[0, j],
                            s[1, j],
                            s[2, j],
                            hx,
                            hy,
                            hz,
                            c[0, j] + c[1, j] * v0,
                            c[0, j] + c[1, j] * v1,
                            c[6, j] * v0,
                            c[6, j] * v1,
                            rate_dt,
                            alpha_G,
                        )
                        s[0, j] = x
                        s[1, j] = y
                        s[2, j] = z
                else:
                    for j in range(LANES):
                        hx, hy, hz = (
                            c[2, j] + c[5, j] * g[3 * q, j],
                            c[3, j] + c[5, j] * g[3 * q + 1, j],
                            c[4, j] + c[5, j] * g[3 * q + 2, j],
                        )
                        x, y, z = _heun(
                            s[0, j],
                            s[1, j],
                            s[2, j],
                            hx,
                            hy,
                            hz,
                            c[0, j] + c[1, j] * v0,
                            c[0, j] + c[1, j] * v1,
                            c[6, j] * v0,
                            c[6, j] * v1,
                            rate_dt,
                            alpha_G,
                        )
                        s[0, j] = x
                        s[1, j] = y
                        s[2, j] = z
        for j in range(min(LANES, n - start)):
            for q in range(3):
                m[start + j, q] = s[q, j]


# --- the oracle: float64, one device after the other, vectors written as in a textbook -------------------------


@numba.njit(inline="always")
def _cross(a, b):  # type: ignore[no-untyped-def]
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@numba.njit(inline="always")
def _axpy(a, k, b):  # type: ignore[no-untyped-def]
    return a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]


@numba.njit(inline="always")
def _spin(m, h, K, a_J, alpha_G):  # type: ignore[no-untyped-def]
    """H of dm/dt = gamma' H x m: B + alpha m x B + a_J (m x p - alpha p), p = z."""
    p = (0.0, 0.0, 1.0)
    B = (h[0], h[1], h[2] + K * m[2])
    return _axpy(_axpy(_axpy(B, alpha_G, _cross(m, B)), a_J, _cross(m, p)), -alpha_G * a_J, p)


@numba.njit(inline="always")
def _rodrigues(m, p):  # type: ignore[no-untyped-def]
    angle = math.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2)
    if angle == 0:
        return m
    c, s = math.cos(angle), math.sin(angle) / angle
    dot = (p[0] * m[0] + p[1] * m[1] + p[2] * m[2]) * (1 - c) / angle**2
    turned = _cross(p, m)
    return (
        c * m[0] + s * turned[0] + dot * p[0],
        c * m[1] + s * turned[1] + dot * p[1],
        c * m[2] + s * turned[2] + dot * p[2],
    )


@numba.njit(cache=True, nogil=True)
def advance64(m, key, devices, first_step, volts, cell, rate_dt, alpha_G, scheme):  # type: ignore[no-untyped-def]
    """:func:`advance` for m (n, 3) float64; its Gaussians are the same to rounding, from the same words."""
    k0, k1 = low32(key), high32(key)
    g = np.empty(3)
    for i in range(m.shape[0]):
        now = (m[i, 0], m[i, 1], m[i, 2])
        for done in range(volts.shape[0]):
            step = first_step + done
            for q in range(3):
                value = 3 * (step % GROUP) + q
                pair = value // 2
                block = np.uint64(3 * (step // GROUP) + pair // 2)
                w0, w1, w2, w3 = philox4x32(low32(block), high32(block), low32(devices[i]), high32(devices[i]), k0, k1)
                a, b = (w2, w3) if pair % 2 else (w0, w1)
                radius = math.sqrt(-2 * math.log((float(a) + 0.5) * 2.0**-32))
                angle = float(np.int32(np.uint32(b))) * 2.0**-31 * math.pi
                g[q] = radius * (math.sin(angle) if value % 2 else math.cos(angle))
            th = cell[5, i]
            h = (cell[2, i] + th * g[0], cell[3, i] + th * g[1], cell[4, i] + th * g[2])
            v0, v1 = volts[done, 0], volts[done, 1]
            H = _spin(now, h, cell[0, i] + cell[1, i] * v0, cell[6, i] * v0, alpha_G)
            if scheme == ROTATION:
                there = _rodrigues(now, (rate_dt * H[0], rate_dt * H[1], rate_dt * H[2]))
                H2 = _spin(there, h, cell[0, i] + cell[1, i] * v1, cell[6, i] * v1, alpha_G)
                half = rate_dt / 2
                now = _rodrigues(now, (half * (H[0] + H2[0]), half * (H[1] + H2[1]), half * (H[2] + H2[2])))
            else:
                first = _cross(H, now)
                there = _axpy(now, rate_dt, first)
                second = _cross(_spin(there, h, cell[0, i] + cell[1, i] * v1, cell[6, i] * v1, alpha_G), there)
                now = _axpy(_axpy(now, rate_dt / 2, first), rate_dt / 2, second)
                norm = math.sqrt(now[0] ** 2 + now[1] ** 2 + now[2] ** 2)
                now = (now[0] / norm, now[1] / norm, now[2] / norm)
        m[i, 0], m[i, 1], m[i, 2] = now
