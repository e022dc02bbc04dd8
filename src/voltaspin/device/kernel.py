"""Steps of the stochastic macrospin equation for many devices: the hot kernels under ``llg``.

float32, lane-blocked, with nothing but additions, multiplications, fused multiply-adds that are asked for by
name, conversions and square roots: each is rounded as IEEE 754 says, so that a result is the same on every
processor. Gaussians come from the Box-Muller transform of 32-bit uniforms (:mod:`voltaspin.random.normal`).
"""

from __future__ import annotations

import math

import numpy as np

from voltaspin.core.compiled import numba
from voltaspin.random.normal import fma, gaussian_pair
from voltaspin.random.philox import high32, low32, philox4x32_7, philox4x32_7_block, philox4x32_7_stream

_HALF, _ONE, _THREE_HALVES = map(np.float32, (0.5, 1.0, 1.5))
_SIXTH, _120TH, _24TH, _720TH = map(np.float32, (-1 / 6, 1 / 120, -1 / 24, 1 / 720))
_WORD = np.uint64(32)

LANES = 128
GROUP = 4  #: steps that share three Philox blocks: twelve words, six Box-Muller pairs, twelve Gaussians
HEUN, ROTATION = 0, 1  #: schemes


@numba.njit(inline="always")
def _slope(x, y, z, hx, hy, hz, K, a_J, alpha_G, driven):  # type: ignore[no-untyped-def]
    """m x B' + alpha_G m x (m x B'), the spin torque included where it is driven: -dm/dt over gamma'."""
    full = fma(K, z, hz)
    ax, ay = alpha_G * hx, alpha_G * hy
    if driven:  # torque m x (m x p) with p = z adds a_J to the damping field and -alpha a_J to the other
        turn, damp = fma(-alpha_G, a_J, full), fma(alpha_G, full, a_J)
    else:
        turn, damp = full, alpha_G * full
    dot = fma(x, ax, fma(y, ay, z * damp))
    return (
        fma(y, turn, fma(dot, x, fma(-z, hy, -ax))),
        fma(z, hx, fma(dot, y, fma(-x, turn, -ay))),
        fma(x, hy, fma(dot, z, fma(-y, hx, -damp))),
    )


@numba.njit(inline="always")
def _heun(x, y, z, hx, hy, hz, K0, K1, a0, a1, rate_dt, alpha_G, driven):  # type: ignore[no-untyped-def]
    """Predictor, corrector, renormalisation."""
    fx, fy, fz = _slope(x, y, z, hx, hy, hz, K0, a0, alpha_G, driven)
    u, v, w = fma(-rate_dt, fx, x), fma(-rate_dt, fy, y), fma(-rate_dt, fz, z)
    gx, gy, gz = _slope(u, v, w, hx, hy, hz, K1, a1, alpha_G, driven)
    half = -_HALF * rate_dt
    x, y, z = fma(half, fx + gx, x), fma(half, fy + gy, y), fma(half, fz + gz, z)
    # A turn by an angle t leaves |m|^2 = 1 + t^4 / 4: one Newton step of 1 / sqrt is exact to float32 up to t = .2,
    # the longest that a time step may take, and what a rare larger kick leaves goes in the next step.
    norm = fma(-_HALF, fma(x, x, fma(y, y, z * z)), _THREE_HALVES)
    return x * norm, y * norm, z * norm


@numba.njit(inline="always")
def turned(x, y, z, px, py, pz):  # type: ignore[no-untyped-def]
    """m turned by the rotation vector p: Rodrigues' formula, its sine and cosine to sixth order of the angle."""
    q = fma(px, px, fma(py, py, pz * pz))
    sine = fma(q, fma(q, _120TH, _SIXTH), _ONE)
    cosine = fma(q, fma(q, _720TH, _24TH), _HALF)
    tx, ty, tz = fma(py, z, -(pz * y)), fma(pz, x, -(px * z)), fma(px, y, -(py * x))
    return (
        fma(cosine, fma(py, tz, -(pz * ty)), fma(sine, tx, x)),
        fma(cosine, fma(pz, tx, -(px * tz)), fma(sine, ty, y)),
        fma(cosine, fma(px, ty, -(py * tx)), fma(sine, tz, z)),
    )


@numba.njit(inline="always")
def _spin_field(x, y, z, hx, hy, hz, K, a_J, alpha_G):  # type: ignore[no-untyped-def]
    """H of dm/dt = gamma' H x m: B + alpha m x B + a_J (m x p - alpha p), p = z."""
    bz = fma(K, z, hz)
    across, along = fma(alpha_G, bz, a_J), alpha_G * z
    return (
        fma(across, y, fma(-along, hy, hx)),
        fma(-across, x, fma(along, hx, hy)),
        fma(alpha_G, fma(x, hy, -(y * hx)), fma(-alpha_G, a_J, bz)),
    )


@numba.njit(inline="always")
def _rotation(x, y, z, hx, hy, hz, K0, K1, a0, a1, rate_dt, alpha_G):  # type: ignore[no-untyped-def]
    """Heun's scheme on the rotation group: m never leaves the sphere, and a constant field is followed exactly."""
    px, py, pz = _spin_field(x, y, z, hx, hy, hz, K0, a0, alpha_G)
    u, v, w = turned(x, y, z, rate_dt * px, rate_dt * py, rate_dt * pz)
    qx, qy, qz = _spin_field(u, v, w, hx, hy, hz, K1, a1, alpha_G)
    half = _HALF * rate_dt
    x, y, z = turned(x, y, z, half * (px + qx), half * (py + qy), half * (pz + qz))
    # Rounding and the seventh order of the angle change the length: one Newton step of 1 / sqrt is enough.
    norm = fma(-_HALF, fma(x, x, fma(y, y, z * z)), _THREE_HALVES)
    return x * norm, y * norm, z * norm


@numba.njit(inline="always")
def _block_of(low, stream, j, k0, k1):  # type: ignore[no-untyped-def]
    return philox4x32_7_block(low, stream[0, j], stream[1, j], stream[2, j], stream[3, j], k0, k1)


@numba.njit(inline="always")
def draw(group, start, devices, k0, k1, high, stream, pairs, words, g):  # type: ignore[no-untyped-def]
    """Fill g (12, LANES) with the Gaussians of a group of steps; returns the high word of its blocks.

    stream holds what does not depend on the block's low word; it is made again where ``high`` is another.
    """
    for q in range(3):
        block = np.uint64(3 * group + q)
        if high32(block) != high:
            high = high32(block)
            for j in range(LANES):
                device = devices[min(start + j, devices.shape[0] - 1)]
                parts = philox4x32_7_stream(high, low32(device), high32(device), k0, k1)
                for r, part in enumerate(parts):
                    stream[j % 2, r, j // 2] = part
        low = low32(block)
        for j in range(LANES // 2):
            e0, e1, e2, e3 = _block_of(low, stream[0], j, k0, k1)
            o0, o1, o2, o3 = _block_of(low, stream[1], j, k0, k1)
            pairs[4 * q, j] = e0 | (o0 << _WORD)
            pairs[4 * q + 1, j] = e1 | (o1 << _WORD)
            pairs[4 * q + 2, j] = e2 | (o2 << _WORD)
            pairs[4 * q + 3, j] = e3 | (o3 << _WORD)
    for p in range(6):
        for j in range(LANES):
            g[2 * p, j], g[2 * p + 1, j] = gaussian_pair(words[2 * p, j], words[2 * p + 1, j])
    return high


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
    pairs = np.empty((12, LANES // 2), np.uint64)  # two devices' words side by side
    words = pairs.view(np.uint32)
    g = np.empty((12, LANES), np.float32)
    s = np.empty((3, LANES), np.float32)
    c = np.empty((7, LANES), np.float32)
    stream = np.empty((2, 4, LANES // 2), np.uint64)  # of even and odd devices
    for start in range(0, n, LANES):
        for j in range(LANES):
            i = min(start + j, n - 1)
            for q in range(3):
                s[q, j] = m[i, q]
            for q in range(7):
                c[q, j] = cell[q, i]
        driven = np.any(c[6] != 0)
        high = ~np.uint64(0)  # of the block: none yet
        done = 0
        while done < steps:
            group = (first_step + done) // GROUP
            begin = first_step + done - GROUP * group
            high = draw(group, start, devices, k0, k1, high, stream, pairs, words, g)
            for q in range(begin, min(GROUP, begin + steps - done)):
                v0, v1 = volts[done, 0], volts[done, 1]
                done += 1
                for j in range(LANES):
                    hx = fma(c[5, j], g[3 * q, j], c[2, j])
                    hy = fma(c[5, j], g[3 * q + 1, j], c[3, j])
                    hz = fma(c[5, j], g[3 * q + 2, j], c[4, j])
                    K0, K1 = fma(c[1, j], v0, c[0, j]), fma(c[1, j], v1, c[0, j])
                    a0, a1 = c[6, j] * v0, c[6, j] * v1
                    if scheme == ROTATION:
                        x, y, z = _rotation(s[0, j], s[1, j], s[2, j], hx, hy, hz, K0, K1, a0, a1, rate_dt, alpha_G)
                    else:
                        x, y, z = _heun(s[0, j], s[1, j], s[2, j], hx, hy, hz, K0, K1, a0, a1, rate_dt, alpha_G, driven)
                    s[0, j] = x
                    s[1, j] = y
                    s[2, j] = z
        for j in range(min(LANES, n - start)):
            for q in range(3):
                m[start + j, q] = s[q, j]


# --- the oracle: float64, one device after the other, vectors written as in a textbook -------------------------


@numba.njit(inline="always")
def cross(a, b):  # type: ignore[no-untyped-def]
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@numba.njit(inline="always")
def axpy(a, k, b):  # type: ignore[no-untyped-def]
    return a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]


@numba.njit(inline="always")
def _spin(m, h, K, a_J, alpha_G):  # type: ignore[no-untyped-def]
    """H of dm/dt = gamma' H x m: B + alpha m x B + a_J (m x p - alpha p), p = z."""
    p = (0.0, 0.0, 1.0)
    B = (h[0], h[1], h[2] + K * m[2])
    return axpy(axpy(axpy(B, alpha_G, cross(m, B)), a_J, cross(m, p)), -alpha_G * a_J, p)


@numba.njit(inline="always")
def rodrigues(m, p):  # type: ignore[no-untyped-def]
    angle = math.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2)
    if angle == 0:
        return m
    c, s = math.cos(angle), math.sin(angle) / angle
    dot = (p[0] * m[0] + p[1] * m[1] + p[2] * m[2]) * (1 - c) / angle**2
    turned = cross(p, m)
    return (
        c * m[0] + s * turned[0] + dot * p[0],
        c * m[1] + s * turned[1] + dot * p[1],
        c * m[2] + s * turned[2] + dot * p[2],
    )


@numba.njit(inline="always")
def draw64(step, device, k0, k1, g):  # type: ignore[no-untyped-def]
    """Fill g (3,) with the Gaussians of one device in one step: those of :func:`draw`."""
    for q in range(3):
        value = 3 * (step % GROUP) + q
        pair = value // 2
        block = np.uint64(3 * (step // GROUP) + pair // 2)
        w0, w1, w2, w3 = philox4x32_7(low32(block), high32(block), low32(device), high32(device), k0, k1)
        a, b = (w2, w3) if pair % 2 else (w0, w1)
        radius = math.sqrt(-2 * math.log((float(a) + 0.5) * 2.0**-32)) * (-1.0 if b & np.uint64(1) else 1.0)
        angle = float(np.int32(np.uint32(b))) * 2.0**-33 * math.pi
        mirrored = b & np.uint64(2) != 0
        g[q] = radius * (math.cos(angle) if (value % 2 == 0) != mirrored else math.sin(angle))


@numba.njit(cache=True, nogil=True)
def advance64(m, key, devices, first_step, volts, cell, rate_dt, alpha_G, scheme):  # type: ignore[no-untyped-def]
    """:func:`advance` for m (n, 3) float64; its Gaussians are the same to rounding, from the same words."""
    k0, k1 = low32(key), high32(key)
    g = np.empty(3)
    for i in range(m.shape[0]):
        now = (m[i, 0], m[i, 1], m[i, 2])
        for done in range(volts.shape[0]):
            step = first_step + done
            draw64(step, devices[i], k0, k1, g)
            th = cell[5, i]
            h = (cell[2, i] + th * g[0], cell[3, i] + th * g[1], cell[4, i] + th * g[2])
            v0, v1 = volts[done, 0], volts[done, 1]
            H = _spin(now, h, cell[0, i] + cell[1, i] * v0, cell[6, i] * v0, alpha_G)
            if scheme == ROTATION:
                there = rodrigues(now, (rate_dt * H[0], rate_dt * H[1], rate_dt * H[2]))
                H2 = _spin(there, h, cell[0, i] + cell[1, i] * v1, cell[6, i] * v1, alpha_G)
                half = rate_dt / 2
                now = rodrigues(now, (half * (H[0] + H2[0]), half * (H[1] + H2[1]), half * (H[2] + H2[2])))
            else:
                first = cross(H, now)
                there = axpy(now, rate_dt, first)
                second = cross(_spin(there, h, cell[0, i] + cell[1, i] * v1, cell[6, i] * v1, alpha_G), there)
                now = axpy(axpy(now, rate_dt / 2, first), rate_dt / 2, second)
                norm = math.sqrt(now[0] ** 2 + now[1] ** 2 + now[2] ** 2)
                now = (now[0] / norm, now[1] / norm, now[2] / norm)
        m[i, 0], m[i, 1], m[i, 2] = now
