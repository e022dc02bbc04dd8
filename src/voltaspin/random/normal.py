"""Normals from random words: the Box-Muller transform of float32 kernels, and exact quantiles.

The Box-Muller pair uses nothing but additions, multiplications, fused multiply-adds that are asked for by name,
conversions and square roots: each is rounded as IEEE 754 says, so that a result is the same on every processor. Its
polynomials for log, sin and cos are exact to float32. From 32-bit uniforms the numbers reach 6.7 sigma.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import intrinsic

from voltaspin.core.compiled import numba

# Least-squares fits on Chebyshev nodes: sin(pi a) and cos(pi a) for |a| <= 1/4, and the P of
# log(1 + x) = x - x^2/2 + x^3 P(x) for 1/sqrt(2) <= 1 + x < sqrt(2). Errors: 6e-8 absolute, 1.7e-7 relative.
_S0, _S1, _S2, _S3 = map(np.float32, (
    3.1415927410125732, -5.167707920074463, 2.549767017364502, -0.5890768766403198,
))  # fmt: skip
_C0, _C1, _C2, _C3 = map(np.float32, (1.0, -4.934788227081299, 4.057577610015869, -1.3061283826828003))
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = map(np.float32, (
    0.33334267139434814, -0.25001293420791626, 0.19951410591602325, -0.16574572026729584,
    0.15020804107189178, -0.14316771924495697, 0.08479153364896774,
))  # fmt: skip
_HALF, _ONE, _TWO, _LN2 = map(np.float32, (0.5, 1.0, 2.0, math.log(2.0)))
_STEP32, _MID32, _STEP33 = map(np.float32, (2.0**-32, 2.0**-33, 2.0**-33))
_MANTISSA, _SQRT_HALF = np.int32(23), np.int32(0x3F3504F3)  # bits of float32(1 / sqrt(2))
_SWAP, _SIGN = np.uint32(2), np.uint32(31)


@intrinsic
def fma(_context, a, b, c):  # type: ignore[no-untyped-def]
    """a b + c of float32, rounded once: half the instructions of a polynomial."""
    single = types.float32
    return single(single, single, single), lambda _c, builder, _s, values: builder.fma(*values)


@numba.njit(inline="always")
def _log(u):  # type: ignore[no-untyped-def]
    bits = np.float32(u).view(np.int32)
    exponent = np.int32(np.int32(bits - _SQRT_HALF) >> _MANTISSA)
    x = np.int32(bits - np.int32(exponent << _MANTISSA)).view(np.float32) - _ONE
    p = fma(fma(fma(fma(fma(fma(_P6, x, _P5), x, _P4), x, _P3), x, _P2), x, _P1), x, _P0)
    return fma(np.float32(exponent), _LN2, fma(x * x, fma(x, p, -_HALF), x))


@numba.njit(inline="always")
def gaussian_pair(u, w):  # type: ignore[no-untyped-def]
    """Two Gaussians from two random words, uint32.

    The first gives the radius. The second, as a signed number, an angle of at most 45 degrees; its lowest bit
    then turns the point by half a circle, the next one mirrors it at the diagonal: together all directions. As
    these bits also end the angle, they move it by 2^-30 of a circle at most.
    """
    bits = np.float32(math.sqrt(-_TWO * _log(fma(np.float32(u), _STEP32, _MID32)))).view(np.uint32)
    radius = np.uint32(bits ^ np.uint32(w << _SIGN)).view(np.float32)
    a = np.float32(np.int32(w)) * _STEP33
    q = a * a
    cosine = radius * fma(fma(fma(_C3, q, _C2), q, _C1), q, _C0)
    sine = radius * (a * fma(fma(fma(_S3, q, _S2), q, _S1), q, _S0))
    swap = (w & _SWAP) != 0
    return (sine if swap else cosine), (cosine if swap else sine)


@numba.njit(inline="always")
def _ratio(x, p0, p1, p2, p3, p4, p5, p6, p7, q1, q2, q3, q4, q5, q6, q7):  # type: ignore[no-untyped-def]
    top = ((((((p7 * x + p6) * x + p5) * x + p4) * x + p3) * x + p2) * x + p1) * x + p0
    return top / (((((((q7 * x + q6) * x + q5) * x + q4) * x + q3) * x + q2) * x + q1) * x + 1.0)


@numba.njit(inline="always")
def _lower_quantile(p):  # type: ignore[no-untyped-def]
    """Quantile of the standard normal for 0 < p <= 1/2, to about 1e-16 relative.

    Source: M. J. Wichura, algorithm AS 241 (PPND16), Appl. Statist. 37, 477 (1988).
    """
    q = p - 0.5
    if q >= -0.425:
        return q * _ratio(
            0.180625 - q * q,
            3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
            1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
            3.3430575583588128105e4, 2.5090809287301226727e3, 4.2313330701600911252e1,
            6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
            3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3,
        )  # fmt: skip
    r = math.sqrt(-math.log(p))
    if r <= 5.0:
        return -_ratio(
            r - 1.6,
            1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
            3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
            2.27238449892691845833e-2,
            7.74545014278341407640e-4, 2.05319162663775882187e0, 1.67638483018380384940e0,
            6.89767334985100004550e-1, 1.48103976427480074590e-1, 1.51986665636164571966e-2,
            5.47593808499534494600e-4, 1.05075007164441684324e-9,
        )  # fmt: skip
    return -_ratio(
        r - 5.0,
        6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
        2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
        1.48753612908506148525e-2, 7.86869131145613259100e-4, 1.84631831751005468180e-5,
        1.42151175831644588870e-7, 2.04426310338993978564e-15,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def quantiles53(levels, fine, out):  # type: ignore[no-untyped-def]
    """Normals from 53-bit uniforms ``(level 2^37 + fine 2^-27 + 1/2) / 2^53``, exact and finite at both ends.

    levels: float32 (n,), 16-bit integers. fine: uint64 (n,), of which the upper 37 bits are used.
    out: float32 (n,), may be ``levels``. Four times as fast as scipy.special.ndtri, which it is tested
        against.
    """
    for i in range(out.shape[0]):
        u = (np.int64(levels[i]) << 37) | np.int64(fine[i] >> np.uint64(27))
        if u >= 2**52:
            out[i] = -_lower_quantile((np.float64(2**53 - 1 - u) + 0.5) * 2.0**-53)
        else:
            out[i] = _lower_quantile((np.float64(u) + 0.5) * 2.0**-53)
