"""How fast a bit forgets, and where it rests, with two wells or without: the quantities of a low-barrier bit (p-bit).

A bit with a barrier of a few k_B T or none has no rate out of a well. It has a slowest mode, a correlation time of what
is read, and a mean that follows the bias. All three come from the Fokker-Planck operator at a constant voltage.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.units import require_positive, require_voltage
from voltaspin.device.density import COARSER, MAX_DEGREE, generator, least_degree, side_indicator
from voltaspin.device.escape import slow_mode
from voltaspin.device.junction import Junction
from voltaspin.device.sphere import Floats, as_sparse, coordinates, occupied
from voltaspin.device.warming import settled

RTOL = 0.01  #: admitted change between two degrees


@dataclass(frozen=True)
class Relaxation:
    """A junction in its stationary state at a constant voltage.

    Args:
        rate: of the slowest mode of all, whether it changes what is read or not [1/s]; None where it turns, so that it
            is no rate, or where rounding hides it.
        correlation_time: integral of the autocorrelation of ``cosine`` over its value at zero [s].
        cosine: mean cosine between the layers [1].
        up: probability to be found on the side of the reference layer (parallel, bit 0).
    """

    rate: Estimate | None
    correlation_time: Estimate
    cosine: Estimate
    up: Estimate


def relaxation(
    junction: Junction, *, voltage: float = 0.0, spin_torque: bool = False, degree: int | None = None
) -> Relaxation:
    """Return the slowest rate, the correlation time and the means of a junction at ``voltage`` [V].

    A telegraph signal of two wells decays with the sum of both rates, so that ``rate`` is that sum.

    Args:
        junction: of any barrier up to some 20 k_B T, or none.
        voltage: constant [V].
        spin_torque: of a junction that has no torque of its own.
        degree: of the harmonics; raised until two agree to 1 % where absent.

    Returns:
        Four estimates; their bounds are the change between two degrees.

    Raises:
        InputError: a temperature of zero, or a degree, or the largest, that does not resolve the stationary state.
    """
    require_positive("temperature", junction.temperature, "K", "nothing moves by chance at zero kelvin")
    require_voltage("voltage", voltage)
    warm = settled(junction, voltage)
    fine = min(least_degree(warm), MAX_DEGREE) if degree is None else degree
    coarse = _stationary(warm, voltage, spin_torque, max(int(COARSER * fine), 4))
    while True:
        found = _stationary(warm, voltage, spin_torque, fine)
        error = np.maximum(np.abs(found - coarse), 1e-10 * np.abs(found))
        if error[0] <= RTOL * found[0] and error[1:].max() <= RTOL:
            break
        if degree is not None or fine >= MAX_DEGREE:
            raise InputError(
                f"degree {fine} does not resolve the stationary state of {junction.name} at {voltage:g} V: the "
                f"correlation time changes by {error[0] / abs(found[0]):.1%}; give a higher degree, or ask flip_rate"
            )
        coarse, fine = found, min(math.ceil(fine / COARSER), MAX_DEGREE)
    rate = None
    with contextlib.suppress(InputError):
        mode = slow_mode(warm, voltage=voltage, spin_torque=spin_torque, degree=degree)
        rate = _estimate(mode.eigenvalue, mode.eigenvalue * mode.error)
    time, cosine, up = (_estimate(float(v), float(e)) for v, e in zip(found, error, strict=True))
    return Relaxation(rate, time, cosine, up)


def _estimate(value: float, error: float) -> Estimate:
    return Estimate(value, value - error, value + error, level=1.0)


def _stationary(junction: Junction, voltage: float, spin_torque: bool, degree: int) -> Floats:
    """(correlation time, mean cosine, probability up) at one degree."""
    operator = generator(junction, voltage, degree=degree, spin_torque=spin_torque)
    used = np.flatnonzero(occupied(degree))
    A = sparse.csc_array(as_sparse(operator.basis, operator.diagonals)[used][:, used])
    # The first coefficient is the total probability, which never changes: what remains is regular.
    solver = sparse.linalg.splu(sparse.csc_array(A[1:, 1:]))
    whole = 1 / math.sqrt(4 * math.pi)
    density = np.concatenate([[whole], solver.solve(-A[1:, [0]].toarray().ravel() * whole)])
    reference = junction.reference if junction.terms else (0.0, 0.0, 1.0)
    x, y, z = (part * axis for part, axis in zip(reference, coordinates(degree), strict=True))
    along = (x + y + z)[used][:, used]
    one = np.zeros(len(used))
    one[0] = math.sqrt(4 * math.pi)
    read = along @ one
    mean = float(read @ density)
    moved = along @ density - mean * density
    variance = float(read @ moved)
    time = -float(read[1:] @ solver.solve(moved[1:])) / variance
    return np.array([time, mean, float(side_indicator(degree, junction.reference)[used] @ density)])
