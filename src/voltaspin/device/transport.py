"""Current through a junction: its noise, reading a bit by it, and what a pulse costs.

The conductance of every angle and voltage is ``Junction.conductance``; this file adds the circuit around it.
Currents carry the sign of the voltage. The sign matters to the bit: for a positive ``xi`` a positive voltage
lowers the barrier (VCMA is odd in the voltage), so a read at a negative voltage disturbs less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import epsilon_0

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.core.result import Part, Result, Unit
from voltaspin.core.units import e_charge, k_B, require_positive
from voltaspin.device.energy import Energy
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.torque import oxide_voltage

PERMITTIVITY = Sourced(9.7, "1", "relative permittivity of MgO", "textbook", 9.0, 10.0)


def _require_voltage(voltage: float) -> None:
    if not math.isfinite(voltage):
        raise InputError(f"voltage = {voltage!r} V must be finite; give volts, e.g. -0.1")


# --- current and its noise -----------------------------------------------------------------------------


def read_current(junction: Junction, *, voltage: float, m_z: ArrayLike) -> NDArray[np.float64]:
    """Return the current through the junction, with the sign of the voltage.

    Args:
        junction: parameters.
        voltage: across the junction [V].
        m_z: direction cosine between the layers [1], any shape.

    Returns:
        Current [A], the shape of ``m_z``.

    Raises:
        InputError: a voltage that is not finite, or an ``m_z`` that is no direction cosine.
    """
    _require_voltage(voltage)
    return voltage * junction.conductance(m_z, voltage)


def current_noise(
    junction: Junction, *, voltage: float, m_z: ArrayLike, bandwidth: float, amplifier_noise: float = 0.0
) -> NDArray[np.float64]:
    """Return the standard deviation of the current in a bandwidth, from barrier and amplifier.

    The barrier has thermal and shot noise.

    One formula holds for both: S_I = 2 e I coth(e V / 2 k_B T), which is 4 k_B T G without a voltage and 2 e I
    well above 2 k_B T / e = 52 mV. Full shot noise is an upper estimate: measured Fano factors reach 0.98
    (arXiv 1205.7007, parallel) and less with states in the barrier (arXiv cond-mat/0602467). Neither 1/f noise
    nor the thermal motion of the free layer is included.

    Args:
        junction: conductance and temperature.
        voltage: across the junction [V].
        m_z: direction cosine between the layers [1], any shape.
        bandwidth: equivalent noise bandwidth, one-sided [Hz]; 1/(2 T) for an average over a time T.
        amplifier_noise: density at the input of the amplifier [A/sqrt(Hz)].

    Returns:
        Standard deviation [A], the shape of ``m_z``.

    Raises:
        InputError: as :func:`read_current`; a bandwidth that is not positive, a negative amplifier noise.

    Source: D. Rogovin and D. J. Scalapino, Ann. Phys. 86, 1 (1974).
    """
    _require_voltage(voltage)
    require_positive("bandwidth", bandwidth, "Hz", "give the equivalent noise bandwidth, e.g. 2e7")
    require_positive("amplifier_noise", amplifier_noise, "A/sqrt(Hz)", "give e.g. 1e-13", zero=True)
    if junction.temperature > 0:
        thermal = 2 * k_B * junction.temperature
        x = e_charge * voltage / thermal
        per_siemens = 2 * thermal * (x / math.tanh(x) if x else 1.0)
    else:
        per_siemens = 2 * e_charge * abs(voltage)
    density = per_siemens * junction.conductance(m_z, voltage) + amplifier_noise**2
    return np.sqrt(density * bandwidth)


# --- read ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ReadScheme:
    """How a bit is read: the cell's current flows into a bit line and is averaged by a sense amplifier.

    Every value that may be zero is ideal at zero.

    Args:
        voltage: over cell and amplifier [V]; for a positive ``xi`` a negative one raises the barrier.
        integration_time: over which the current is averaged [s].
        delay: from the step of the voltage to the start of the averaging [s].
        line_capacitance: of the bit line, across the amplifier's input [F].
        input_resistance: of the amplifier [ohm]; the line settles with its capacitance times this
            resistance parallel to the cell's, which is the cell's alone where nothing clamps the line.
        resistance_spread: standard deviation of ln(resistance), device to device [1]; common to both states.
        TMR_spread: relative standard deviation of the TMR, device to device [1].
        offset: standard deviation of the amplifiers' offsets [A].
        amplifier_noise: at the input [A/sqrt(Hz)].
        reference: current that separates 0 from 1, with the sign of the voltage [A]; half-way between the
            two currents sensed where absent, as from a pair of reference cells on an equal line.

    Raises:
        InputError: a zero voltage, a value out of its range, a reference of the other sign.
    """

    voltage: float
    integration_time: float
    delay: float = 0.0
    line_capacitance: float = 0.0
    input_resistance: float = 0.0
    resistance_spread: float = 0.0
    TMR_spread: float = 0.0
    offset: float = 0.0
    amplifier_noise: float = 0.0
    reference: float | None = None

    def __post_init__(self) -> None:
        _require_voltage(self.voltage)
        if self.voltage == 0:
            raise InputError("voltage = 0 V drives no current; read at e.g. -0.1 V")
        require_positive("integration_time", self.integration_time, "s", "give e.g. 25 * ns")
        require_positive("delay", self.delay, "s", "give zero to average from the step on", zero=True)
        require_positive("line_capacitance", self.line_capacitance, "F", "give e.g. 50 * fF", zero=True)
        require_positive("input_resistance", self.input_resistance, "ohm", "give e.g. 1e4", zero=True)
        require_positive("offset", self.offset, "A", "give a standard deviation", zero=True)
        require_positive("amplifier_noise", self.amplifier_noise, "A/sqrt(Hz)", "give e.g. 1e-13", zero=True)
        for name in ("resistance_spread", "TMR_spread"):
            if not 0 <= (spread := getattr(self, name)) < 1:
                raise InputError(f"{name} = {spread!r} must be from 0 up to 1; give a ratio, not percent, e.g. 0.05")
        if self.reference is not None and not self.reference * self.voltage > 0:
            raise InputError(f"reference {self.reference!r} A must have the sign of the voltage {self.voltage:g} V")

    @property
    def bandwidth(self) -> float:
        """Equivalent noise bandwidth of the average [Hz]."""
        return 1 / (2 * self.integration_time)

    @property
    def pulse(self) -> Pulse:
        """The pulse that the read puts on the cell."""
        return Pulse(voltage=self.voltage, width=self.delay + self.integration_time)


class PulseEnergy(Part):
    """Energy of a pulse, by where it goes.

    Args:
        ohmic: through the barrier [J].
        capacitive: to charge the oxide once [J].
        line: to charge the line once, and lost in its resistance to the cell's current [J].
    """

    ohmic: Annotated[float, Unit("J")]
    capacitive: Annotated[float, Unit("J")]
    line: Annotated[float, Unit("J")]

    @property
    def total(self) -> float:
        """The sum of the three [J]."""
        return self.ohmic + self.capacitive + self.line


class ReadState(Part):
    """The input of the amplifier in one state.

    Args:
        current: averaged over the integration time, of the median device [A].
        settled: that current over the one of a line that has settled [1].
        log_spread: standard deviation of ln(current), device to device [1].
        noise: standard deviation of the current, read to read [A].
    """

    current: Annotated[float, Unit("A")]
    settled: float
    log_spread: float
    noise: Annotated[float, Unit("A")]

    @property
    def spread(self) -> float:
        """Standard deviation of the current, device to device [A]: that of the log-normal distribution."""
        variance = self.log_spread**2
        return abs(self.current) * math.exp(variance / 2) * math.sqrt(math.expm1(variance))


class ReadResult(Result):
    """Outcome of a read.

    Args:
        P, AP: the two states, bit 0 and bit 1.
        reference: current that separates them [A].
        error_0, error_1: probability that a stored 0 or 1 is read as the other, over devices and reads [1].
        energy: of one read, the whole voltage on the cell from the step to the end of the averaging.
        voltage: of the read [V].
    """

    KIND: ClassVar[str] = "read"

    P: ReadState
    AP: ReadState
    reference: Annotated[float, Unit("A")]
    error_0: float
    error_1: float
    energy: PulseEnergy
    voltage: Annotated[float, Unit("V")]

    @property
    def margin(self) -> float:
        """Distance of the nearer state from the reference [A]; negative where it lies on the wrong side."""
        return min(abs(self.P.current) - abs(self.reference), abs(self.reference) - abs(self.AP.current))

    @property
    def relative_margin(self) -> float:
        """The margin over the reference current [1]."""
        return self.margin / abs(self.reference)

    @property
    def margin_voltage(self) -> float:
        """The error of the read voltage that would move the reference current by the margin [V]."""
        return self.relative_margin * abs(self.voltage)

    @property
    def error(self) -> float:
        """Read error probability of a bit that is as often 0 as 1 [1]."""
        return (self.error_0 + self.error_1) / 2


def read(junction: Junction, scheme: ReadScheme) -> ReadResult:
    """Return currents, margin, errors and energy of a read.

    The free layer stands at the bottom of its well at the read voltage, tilted by the in-plane field. The line
    settles exponentially, a state of higher resistance later: with an amplifier as resistive as the cell, an
    early average sees a larger ratio of the currents than a settled line.

    ln(R_P) and ln(R_AP / R_P) are taken as independent normal variables around the nominal values, so that no
    tail reaches a negative resistance; noise and offset are Gaussian and added to that. The line's filtering
    of the noise and the amplifier's damping of the spread are left out: both make the errors upper estimates.
    What the read does to the bit is :func:`read_disturb`.

    Args:
        junction: all devices are equal but for the spread.
        scheme: of the read.

    Returns:
        The two states and what follows from them.

    Raises:
        InputError: the junction has no two wells at the read voltage.
    """
    voltage, junction = scheme.voltage, _read_through(junction)
    if (cosines := _cosines(junction, voltage)) is None:
        raise InputError(f"no two wells are left at the read voltage {voltage:g} V; lower it or turn its sign")
    P, AP = (_sensed(junction, scheme, cosine) for cosine in cosines)
    TMR = junction.TMR(voltage)
    AP = AP.model_copy(update={"log_spread": math.hypot(P.log_spread, scheme.TMR_spread * TMR / (1 + TMR))})
    reference = (P.current + AP.current) / 2 if scheme.reference is None else scheme.reference
    return ReadResult(
        P=P,
        AP=AP,
        reference=reference,
        error_0=_below(abs(reference), P, scheme.offset, sign=1),
        error_1=_below(abs(reference), AP, scheme.offset, sign=-1),
        energy=pulse_energy(junction, scheme.pulse, line_capacitance=scheme.line_capacitance),
        voltage=voltage,
    )


def _read_through(junction: Junction) -> Junction:
    """The junction as a read sees it: its voltage lies across the pillar, whatever line writes it."""
    return replace(junction, line=None) if junction.line is not None else junction


def _cosines(junction: Junction, voltage: float) -> tuple[float, float] | None:
    """Cosines between the layers at the bottoms of the wells at a read voltage; None without two wells.

    With further terms the torque of the read is left out, and the oxide sees its share in the middle of both states.
    """
    if junction.terms:
        calm, across = replace(junction, spin_transfer=None, R_series=0.0), oxide_voltage(junction, voltage)
        return Energy.of(calm, across, kT=k_B * (junction.temperature or 300.0)).bottoms()
    from voltaspin.device.equilibrium import well_bottom

    if junction.barrier(voltage) == 0:
        return None
    biased = replace(junction, K_i=junction.K_i - junction.xi * voltage / junction.t_ox)
    return float(well_bottom(biased, "up")[2]), float(well_bottom(biased, "down")[2])


def _sensed(junction: Junction, scheme: ReadScheme, m_z: float) -> ReadState:
    """The cell and the amplifier's input resistance divide the voltage; the line delays the current."""
    from scipy.optimize import brentq

    R_amp, at_cell = scheme.input_resistance, scheme.voltage
    R_in = R_amp + junction.R_series
    if R_in > 0:
        # The conductance grows with the voltage, so there is one root between zero and the full voltage.
        excess = lambda v: v * (1 + R_in * float(junction.conductance(m_z, v))) - scheme.voltage  # noqa: E731
        at_cell = float(brentq(excess, 0.0, scheme.voltage, xtol=1e-15, rtol=1e-13))
    divider = 1 + R_in * (G := float(junction.conductance(m_z, at_cell)))
    tau, window = scheme.line_capacitance * R_amp * (1 + junction.R_series * G) / divider, scheme.integration_time
    settled = 1.0
    if tau > 0:
        settled += tau / window * math.exp(-scheme.delay / tau) * math.expm1(-window / tau)
    barrier = current_noise(junction, voltage=at_cell, m_z=m_z, bandwidth=scheme.bandwidth)
    return ReadState(
        current=float(read_current(junction, voltage=at_cell, m_z=m_z)) * settled,
        settled=settled,
        log_spread=scheme.resistance_spread,
        noise=math.hypot(float(barrier) / divider, scheme.amplifier_noise * math.sqrt(scheme.bandwidth)),
    )


def _below(reference: float, state: ReadState, offset: float, *, sign: int) -> float:
    """Probability that |current| exp(s u) + sigma w falls below the reference (above it for ``sign`` -1).

    u and w are standard normal, s the log-spread and sigma noise and offset together. The narrower of the two
    is integrated in closed form, so that the rest is smooth on the scale of one and the trapezoid rule
    converges to rounding; all terms are positive, so that no tail cancels.
    """
    from scipy.special import log_ndtr, logsumexp

    current, s, sigma = abs(state.current), state.log_spread, math.hypot(state.noise, offset)
    x, step = np.linspace(-40, 40, 2561, retstep=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        if sigma <= s * current:
            gap = np.log(np.maximum(reference - sigma * x, 0) / current)
            z = gap / s if s > 0 else np.where(gap == 0, 0.0, gap * math.inf)
        else:
            z = (reference - current * np.exp(s * x)) / sigma
    return float(np.exp(logsumexp(log_ndtr(sign * z) - x**2 / 2)) * step / math.sqrt(2 * math.pi))


def read_disturb(
    junction: Junction,
    *,
    voltage: float,
    duration: float,
    well: Well = "up",
    spin_torque: bool = False,
    rate: float | None = None,
) -> float:
    """Return the probability that a read at this voltage flips the bit: 1 - exp(-rate duration).

    For a positive ``xi`` a positive voltage lowers the barrier and a negative one raises it.

    Args:
        junction: parameters.
        voltage: of the read, with its sign [V]; across the junction and its series resistance, not along a line.
        duration: of the read [s].
        well: the state that is read.
        spin_torque: add the torque of the read current to the rate.
        rate: of flips out of that well [1/s]; the Fokker-Planck rate at this voltage where absent.

    Returns:
        Probability [1], exact to rounding for the smallest rates; zero where it is below the smallest float.

    Raises:
        InputError: a voltage that is not finite, a negative duration or rate, or no rate
            (:func:`voltaspin.device.flip_rate`).
    """
    _require_voltage(voltage)
    require_positive("duration", duration, "s", "give the length of the read, e.g. 25 * ns", zero=True)
    if rate is None:
        from voltaspin.device.retention import flip_rate

        rate = flip_rate(_read_through(junction), voltage=voltage, well=well, spin_torque=spin_torque)
    if not 0 <= rate < math.inf:  # a rate may be as small as it likes
        raise InputError(f"rate = {rate!r} 1/s must be finite and zero or more; give flips per second, or leave it out")
    return -math.expm1(-rate * duration)


# --- energy --------------------------------------------------------------------------------------------


def oxide_capacitance(junction: Junction, *, eps_r: float = PERMITTIVITY.value) -> float:
    """Return the plate capacitance of the tunnel oxide [F] for a relative permittivity ``eps_r`` [1].

    Raises:
        InputError: a permittivity that is not positive.
    """
    require_positive("eps_r", eps_r, "", "give the oxide's relative permittivity, e.g. 9.7")
    return epsilon_0 * eps_r * junction.area / junction.t_ox


def _squared_current(junction: Junction, voltage: float) -> float:
    """Square of the current that a pulse draws, of the line included, as the mean of both states [A^2]."""
    line = 0.0 if junction.line is None else junction.line.current(voltage)
    currents = [
        line + float(read_current(junction, voltage=oxide_voltage(junction, voltage, side), m_z=side))
        for side in (1.0, -1.0)
    ]
    return float(np.mean(np.square(currents)))


def pulse_energy(
    junction: Junction,
    pulse: Pulse,
    *,
    line_capacitance: float = 0.0,
    line_resistance: float = 0.0,
    eps_r: float = PERMITTIVITY.value,
) -> PulseEnergy:
    """Return the energy that a pulse draws from the supply, split.

    A capacitance draws the full C V^2 per charge and discharge: half is lost going up, half coming down,
    whatever the resistance on the way. The loss of the cell's current in the line is the mean of both states,
    as the ohmic part is; the line's own voltage drop is neglected beside the pulse.

    Args:
        junction: parameters.
        pulse: on the cell.
        line_capacitance: of the line charged with the cell [F].
        line_resistance: in series with the cell [ohm].
        eps_r: relative permittivity of the oxide [1].

    Returns:
        Ohmic (``Pulse.energy``), capacitive and line energy.

    Raises:
        InputError: a negative capacitance or resistance, a permittivity that is not positive.
    """
    require_positive("line_capacitance", line_capacitance, "F", "give e.g. 50 * fF", zero=True)
    require_positive("line_resistance", line_resistance, "ohm", "give e.g. 1e3", zero=True)
    capacitance = oxide_capacitance(junction, eps_r=eps_r)

    volts = abs(pulse.voltage) * np.arange(257) / 256
    squares = [_squared_current(junction, float(v)) for v in volts]
    end = pulse.duration + pulse.tail
    time = (np.arange(8192) + 0.5) / 8192 * end
    loss = line_resistance * end * float(np.mean(np.interp(np.abs(pulse.voltage_at(time)), volts, squares)))
    return PulseEnergy(
        ohmic=pulse.energy(junction),
        capacitive=capacitance * oxide_voltage(junction, pulse.voltage, -1.0) ** 2,
        line=line_capacitance * pulse.voltage**2 + loss,
    )
