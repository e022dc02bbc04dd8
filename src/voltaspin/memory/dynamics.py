"""Imperfections of an array while it runs: drift, noise and neighbours move its probabilities, and reads go wrong.

A cell in state s goes to 1 with a probability that depends on the time t of the pulse and on its neighbours:

    p_s(t) = p_s + dp_s/dT T(t) + dp_s/dV V(t) + dp_s/dw j(t) + dp_s/dB (B_c(t) + B_n)

with the common temperature T, the error V of the pulse's voltage (1/f noise of its supply) and the jitter j of
its width, all three the same for every cell of one pulse; the field B_c of a two-level fluctuator in some
cells; and the field B_n of the four nearest neighbours, from their states before the pulse. All effects are
taken to first order, with the derivatives of the nominal cell [assumed]; the cell's fixed bias is its own p_s.
Every effect is a function of the time and of a seed, so any draw can be computed again alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError
from voltaspin.core.files import cached, read_object, write_json
from voltaspin.core.spec import environment
from voltaspin.device import Junction, Pulse, SwitchingModel
from voltaspin.device.junction import Well
from voltaspin.random.streams import Stream, derive_key

_PER_DECADE = 4  # sinusoids per decade of the 1/f noise
_MU0_4PI = 1e-7  # magnetic constant over 4 pi [T m/A]
_KELVIN = 2.0  # step of the difference quotient: far below the curvature, far above rounding


@dataclass(frozen=True)
class Slopes:
    """Derivatives of (p01, p10) of one pulse.

    Args:
        temperature: [1/K], of the junction with the temperature laws of its material.
        voltage: of the pulse [1/V].
        width: of the pulse [1/s].
        B_z: of the field along z [1/T].
    """

    temperature: tuple[float, float]
    voltage: tuple[float, float]
    width: tuple[float, float]
    B_z: tuple[float, float]

    @classmethod
    def of(cls, model: SwitchingModel) -> Slopes:
        """Those of the model's nominal junction and pulse, from the Fokker-Planck equation.

        Raises:
            InputError: the model has no junction (a constant, or measured counts).
        """
        if model.junction is None or model.pulse is None:
            raise InputError(
                "this switching model knows no junction, so nothing says how it answers to temperature, voltage, "
                "width or field: give Imperfections(slopes=Slopes(...)) or a model of a junction"
            )
        return _slopes(model.junction, model.pulse)


@lru_cache(maxsize=8)
def _slopes(junction: Junction, pulse: Pulse) -> Slopes:
    """Solved for once, some ten seconds, and kept in the user's cache folder."""
    return cached(
        "slopes",
        [asdict(junction), asdict(pulse), _KELVIN, environment()["voltaspin"]],
        suffix=".json",
        read=lambda path: Slopes(**{name: (pair[0], pair[1]) for name, pair in read_object(path).items()}),
        make=lambda: _solved_slopes(junction, pulse),
        write=lambda path, slopes: write_json(path, asdict(slopes)),
    )


def _solved_slopes(junction: Junction, pulse: Pulse) -> Slopes:
    from voltaspin.device.fokker_planck import switching_probability
    from voltaspin.device.sensitivity import sensitivities
    from voltaspin.device.temperature import at_temperature

    if junction.terms:
        return _differences(junction, pulse)
    wells: tuple[Well, ...] = ("up", "down")
    of = [sensitivities(junction, pulse, parameters=("voltage", "width", "B_z"), initial=w) for w in wells]
    warm = [at_temperature(junction, junction.temperature + step) for step in (-_KELVIN, _KELVIN)]
    p = [[switching_probability(j, pulse, initial=w).value for j in warm] for w in wells]
    kelvin = ((p[0][1] - p[0][0]) / (2 * _KELVIN), (p[1][1] - p[1][0]) / (2 * _KELVIN))
    pair = {n: (of[0][n].derivative, of[1][n].derivative) for n in ("voltage", "width", "B_z")}
    return Slopes(temperature=kelvin, voltage=pair["voltage"], width=pair["width"], B_z=pair["B_z"])


def _differences(junction: Junction, pulse: Pulse) -> Slopes:
    """Central differences of solutions at one degree, for a junction whose operators have no derivatives here."""
    from voltaspin.device.fokker_planck import sufficient_degree, switching_pair
    from voltaspin.device.temperature import at_temperature

    degree = sufficient_degree(junction, pulse)

    def slope(of: Callable[[float], tuple[Junction, Pulse]], step: float) -> tuple[float, float]:
        low, high = (
            np.array(switching_pair(*of(s * step), relax=10e-9, spin_torque=False, degree=degree)) for s in (-1, 1)
        )
        p01, p10 = (high - low) / (2 * step)
        return float(p01), float(p10)

    V, w = pulse.voltage, pulse.width
    return Slopes(
        temperature=slope(lambda x: (at_temperature(junction, junction.temperature + x), pulse), _KELVIN),
        voltage=slope(lambda x: (junction, replace(pulse, voltage=V + x)), 1e-3 * max(abs(V), 0.1)),
        width=slope(lambda x: (junction, replace(pulse, width=w + x)), 1e-3 * w),
        B_z=slope(lambda x: (junction.with_variation(B_z=x), pulse), 1e-5),
    )


@dataclass(frozen=True, kw_only=True)
class Imperfections:
    """The imperfections of an array and their sizes. Zero switches one off.

    The defaults stand for a good laboratory and are assumed where no source is named.

    Args:
        variation: whether the cells keep their own fixed bias; without it all have the mean probabilities.
        temperature_drift: root mean square of the common temperature [K]; 1 K, a room with a thermostat.
        drift_period: of the drift [s]; ten minutes, the cycle of such a room.
        flicker: root mean square of the 1/f noise of the pulse's voltage [V], over all frequencies from
            ``flicker_corner`` to half the rate of the pulses; 1 mV.
        flicker_corner: lowest frequency of the 1/f noise [Hz].
        jitter: root mean square of the pulse's width [s], new at every pulse and common to its cells; 1 ps.
        telegraph: share of the cells with a two-level fluctuator [1].
        telegraph_field: the field that it adds or takes off along z [T].
        telegraph_dwell: a fluctuator chooses its level anew after each such time, at a phase of its own [s].
        pitch: distance of neighbouring cells over their diameter [1]; the field of a neighbour is that of the
            dipole ``Ms V`` of its free layer; 0 switches the coupling off.
        read_error: probability that a read gives the other bit [1].
        cycle: time from one pulse to the next in a sequence of bits [s]; pulse, relaxation and read.
        step: time from one draw of an image to its next [s]; an evaluation of the network lies between.
        steps: draws after which the next image begins: image i begins at the time ``i steps step``.
        slopes: how the probabilities move; None asks the Fokker-Planck equation of the model's junction.
        neighbour_field: of one neighbour [T], instead of the dipole's.
    """

    variation: bool = True
    temperature_drift: float = 1.0
    drift_period: float = 600.0
    flicker: float = 1e-3
    flicker_corner: float = 1e-2
    jitter: float = 1e-12
    telegraph: float = 0.01
    telegraph_field: float = 0.5e-3
    telegraph_dwell: float = 1e-3
    pitch: float = 3.0
    read_error: float = 1e-4
    cycle: float = 50e-9
    step: float = 1e-3
    steps: int = 1024
    slopes: Slopes | None = None
    neighbour_field: float | None = None

    def __post_init__(self) -> None:
        units = {
            "temperature_drift": "K", "flicker": "V", "jitter": "s", "telegraph": "", "telegraph_field": "T",
            "pitch": "", "read_error": "",
        }  # fmt: skip
        for name, unit in units.items():
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise InputError(f"{name} = {value} {unit}".rstrip() + " must be finite and not negative")
        for name, unit in (("drift_period", "s"), ("flicker_corner", "Hz"), ("telegraph_dwell", "s"), ("cycle", "s"),
                           ("step", "s")):  # fmt: skip
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise InputError(f"{name} = {value} {unit} must be finite and positive")
        if self.telegraph > 1 or self.read_error > 0.5:
            raise InputError(
                f"telegraph = {self.telegraph} is a share of at most 1 and read_error = {self.read_error} a "
                "probability of at most 0.5"
            )
        if 0 < self.pitch < 1:
            raise InputError(f"pitch = {self.pitch} diameters would let cells overlap; give 1 or more, or 0")
        if self.steps < 1:
            raise InputError(f"steps = {self.steps} must be at least 1")

    @classmethod
    def none(cls) -> Imperfections:
        """All of them off but the cells' own fixed bias."""
        return cls(temperature_drift=0, flicker=0, jitter=0, telegraph=0, pitch=0, read_error=0)

    @property
    def moves(self) -> bool:
        """Whether anything moves the probabilities while the array runs."""
        return any((self.temperature_drift, self.flicker, self.jitter, self.telegraph, self.pitch))

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        if self.slopes is not None:
            fields["slopes"] = {name: list(pair) for name, pair in fields["slopes"].items()}
        return fields


class Disturbance:
    """The imperfections at work on one array: the thresholds that a pulse finds.

    Args:
        imperfections: which and how large.
        model: of one cell, for the derivatives.
        rows, columns: of the array.
        q0, q1: thresholds on 65536 of a cell at 0 and at 1, int32 (cells,).
        seed: of the phases, the jitter and the fluctuators.
    """

    def __init__(
        self, imperfections: Imperfections, model: SwitchingModel, *, rows: int, columns: int,
        q0: NDArray[np.int32], q1: NDArray[np.int32], seed: int,
    ) -> None:  # fmt: skip
        im = self.imperfections = imperfections
        self._shape, self._seed = (rows, columns), seed
        if not im.variation:
            q0, q1 = (np.full_like(q, np.rint(q.mean())) for q in (q0, q1))
        self._q = (np.ascontiguousarray(q0, np.int32), np.ascontiguousarray(q1, np.int32))
        self._model = model
        if im.moves:
            _ = self.slopes  # refuse now what no pulse could answer
        self._jitter_key = derive_key(seed, "imperfections", "jitter")
        top = 0.5 / im.cycle
        decades = max(np.log10(top / im.flicker_corner), 0.0)
        lines = max(1, round(_PER_DECADE * decades))
        self._frequencies = im.flicker_corner * 10 ** ((np.arange(lines) + 0.5) / _PER_DECADE)
        self._phases = 2 * np.pi * Stream.of(seed, "imperfections", "phases").uniforms(lines + 1)
        fluctuates = Stream.of(seed, "imperfections", "fluctuators").uniforms(rows * columns) < im.telegraph
        self._fluctuators = np.flatnonzero(fluctuates)
        self._telegraph_phase = Stream.of(seed, "imperfections", "telegraph phase").uniforms(self._fluctuators.size)
        self._telegraph_key = derive_key(seed, "imperfections", "telegraph")
        self.neighbour_field = self._field_of_a_neighbour(model)

    @cached_property
    def slopes(self) -> Slopes:
        """Derivatives of the probabilities."""
        given = self.imperfections.slopes
        return Slopes.of(self._model) if given is None else given

    def _field_of_a_neighbour(self, model: SwitchingModel) -> float:
        im = self.imperfections
        if im.pitch == 0:
            return 0.0
        if im.neighbour_field is not None:
            return im.neighbour_field
        if model.junction is None:
            raise InputError(
                "this switching model knows no junction, so the field of a neighbour is unknown; give "
                "Imperfections(neighbour_field=...) [T] or pitch=0"
            )
        j = model.junction
        if j.in_plane or j.K_eff() <= 0:
            raise InputError(
                f"the field of a neighbour is that of a moment along z, and {j.name} lies in the plane; give "
                "Imperfections(neighbour_field=...) [T] or pitch=0"
            )
        moment = j.Ms * j.volume
        return float(_MU0_4PI * moment / (im.pitch * j.diameter) ** 3)

    def common(self, time: float, *, stream: int, at: int) -> dict[str, float]:
        """Return the deviations that all cells of one pulse share: temperature [K], voltage [V] and width [s].

        Args:
            time: of the pulse [s].
            stream, at: which pulse it is; the jitter is drawn for it.
        """
        im = self.imperfections
        drift = np.sqrt(2) * im.temperature_drift * np.sin(2 * np.pi * time / im.drift_period + self._phases[-1])
        waves = np.sin(2 * np.pi * np.fmod(self._frequencies * time, 1.0) + self._phases[:-1])
        flicker = im.flicker * np.sqrt(2 / waves.size) * waves.sum()
        jitter = im.jitter * Stream(self._jitter_key, stream).normals(1, start=at)[0] if im.jitter else 0.0
        return {"temperature": float(drift), "voltage": float(flicker), "width": float(jitter)}

    def levels(self, time: float) -> NDArray[np.float64]:
        """Level of each fluctuator, -1 or 1: float64 (fluctuators,)."""
        turn = time / self.imperfections.telegraph_dwell + self._telegraph_phase
        epoch = int(np.floor(time / self.imperfections.telegraph_dwell))
        # the images of streams near 2**63 lie further away than 64 bits count
        early, late = (_levels(self._telegraph_key, e % 2**64, self._fluctuators.size) for e in (epoch, epoch + 1))
        return np.where(np.floor(turn) > epoch, late, early)

    def thresholds(
        self,
        time: float,
        state: NDArray[np.uint8],
        *,
        stream: int,
        at: int,
        trim: Mapping[str, float] = MappingProxyType({}),
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Thresholds (q_0, q_1) of every cell for the pulse at ``time``: int32 (cells,) each, 0 to 65536.

        Args:
            time: [s].
            state: of the cells before the pulse, uint8 (cells,).
            stream, at: see :meth:`common`.
            trim: what is added to the pulse on purpose: ``voltage`` [V], ``width`` [s] or ``B_z`` [T].
        """
        if not self.imperfections.moves and not trim:
            return self._q
        shared = self.common(time, stream=stream, at=at)
        for name, value in trim.items():
            shared[name] = shared.get(name, 0.0) + value
        slopes = self.slopes
        shift = [65536 * sum(getattr(slopes, n)[which] * value for n, value in shared.items()) for which in (0, 1)]
        per_tesla = np.float32(65536) * np.array(slopes.B_z, np.float32)
        # A 1 goes to 1 with 1 - p10, so its threshold moves against p10.
        out = (np.empty_like(self._q[0]), np.empty_like(self._q[1]))
        for q, moved, d, f in zip(self._q, out, (shift[0], -shift[1]), (per_tesla[0], -per_tesla[1]), strict=True):
            # The field of an up dipole points down beside it.
            _move(q, np.float32(d), np.float32(-f * self.neighbour_field), state, *self._shape, moved)
            if self._fluctuators.size:
                each = np.rint(f * self.imperfections.telegraph_field * self.levels(time)).astype(np.int32)
                moved[self._fluctuators] = np.clip(moved[self._fluctuators] + each, 0, 65536)
        return out

    def misread(self, bits: NDArray[np.uint8], *, k: int, stream: int, at: int) -> None:
        """Flip bits that are the XOR of ``k`` reads where an odd number of the reads was wrong, in place.

        Args:
            bits: uint8, one bit a byte.
            k: reads behind each.
            stream, at: which draw it is; at most 2**32 bits each.
        """
        error = self.imperfections.read_error
        if error:
            odd = (1 - (1 - 2 * error) ** k) / 2
            key = derive_key(self._seed, "imperfections", "read")
            words = Stream(key, stream).words(bits.size, start=at << 32)
            bits ^= (words < np.uint32(round(odd * 2**32))).view(np.uint8)


@numba.njit(cache=True, nogil=True)
def _move(q, shift, per_neighbour, state, rows, columns, out):  # type: ignore[no-untyped-def]
    """``q`` moved by a common shift and by the sum over the four nearest neighbours of +1 (a 0) or -1 (a 1)."""
    none = np.zeros(columns, np.uint8)
    for y in range(rows):
        here = state[y * columns : (y + 1) * columns]
        above = state[(y - 1) * columns : y * columns] if y > 0 else none
        below = state[(y + 1) * columns : (y + 2) * columns] if y + 1 < rows else none
        a = q[y * columns : (y + 1) * columns]
        to = out[y * columns : (y + 1) * columns]
        # With n neighbours of which m are 1 the sum is n - 2 m.
        vertical = np.float32((y > 0) + (y + 1 < rows))
        if per_neighbour == 0:
            for x in range(columns):
                to[x] = np.int32(min(max(np.float32(a[x]) + shift, np.float32(0)), np.float32(65536)) + np.float32(0.5))
            continue
        for x in range(1, columns - 1):
            ones = np.int32(above[x]) + np.int32(below[x]) + np.int32(here[x - 1]) + np.int32(here[x + 1])
            moved = np.float32(a[x]) + shift + per_neighbour * (vertical + np.float32(2 - 2 * ones))
            to[x] = np.int32(min(max(moved, np.float32(0)), np.float32(65536)) + np.float32(0.5))
        for x in (0, columns - 1):
            n, ones = vertical, np.int32(above[x]) + np.int32(below[x])
            if x > 0:
                n += np.float32(1)
                ones += np.int32(here[x - 1])
            if x + 1 < columns:
                n += np.float32(1)
                ones += np.int32(here[x + 1])
            moved = np.float32(a[x]) + shift + per_neighbour * (n - np.float32(2 * ones))
            to[x] = np.int32(min(max(moved, np.float32(0)), np.float32(65536)) + np.float32(0.5))


@lru_cache(maxsize=64)
def _levels(key: int, epoch: int, n: int) -> NDArray[np.float64]:
    return np.where(Stream(key, epoch).words(n) & np.uint32(1), -1.0, 1.0)
