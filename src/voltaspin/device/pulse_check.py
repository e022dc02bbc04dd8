"""The fair pulse of a junction, chosen by the density and counted by trajectories, which share nothing with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from pydantic import Field, model_validator

from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Numbers, Part
from voltaspin.device import presets
from voltaspin.device.junction import Junction
from voltaspin.device.llg import LLG
from voltaspin.device.protocol import Protocol
from voltaspin.device.pulse import Pulse
from voltaspin.device.pulse_design import fair_pulse

STEP = 4e-12  #: time step of the trajectories [s]
#: Widths of the curves [s]: the short plateaus closely, then out to where memory is lost.
WIDTHS = tuple(
    round(w * 1e-12, 15)
    for w in (*range(160, 601, 20), *range(650, 1501, 50), *range(1600, 3001, 100), *range(3250, 5001, 250))
)


class DerivedValue(Part):
    """One derived value of the junction, e.g. ``DerivedValue(name="Delta", value=40, unit="k_B T")``."""

    name: str
    value: float
    unit: str = ""
    note: str = ""


class CountedCurve(Part):
    """Switching probabilities against pulse width at one voltage.

    Args:
        label: e.g. ``"V_c"``.
        voltage: [V].
        widths: [s], increasing.
        p01, p10: probability that the pulse flips a 0 and a 1, shape of ``widths``.
        error: standard error of either, shape of ``widths``.
        n_devices: trajectories behind each point.
    """

    label: str
    voltage: float
    widths: Numbers
    p01: Numbers
    p10: Numbers
    error: Numbers
    n_devices: int = Field(ge=1)

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        lengths = {name: len(getattr(self, name)) for name in ("widths", "p01", "p10", "error")}
        if len(set(lengths.values())) != 1 or not self.widths:
            raise ValueError(f"curve {self.label!r} has columns of different or no length: {lengths}")
        return self


class ChosenPulse(Part):
    """The pulse that the memory uses.

    Args:
        voltage: [V]; width: [s].
        meets: whether every corner stays within ``tolerance`` of 1/2.
        worst_deviation: largest ``|p - 1/2|`` over the corners.
        verdict: one sentence for the page.
    """

    voltage: float
    width: float
    meets: bool
    worst_deviation: float
    verdict: str
    tolerance: float = 0.01

    @property
    def pulse(self) -> Pulse:
        return Pulse(voltage=self.voltage, width=self.width)


class CountedCorner(Part):
    """The chosen pulse under one disturbance, e.g. 2 mT of stray field."""

    name: str
    p01: float
    p10: float
    error: float


class PulseCheck(Part):
    """A fair pulse that the density chose, and what trajectories make of it.

    Args:
        junction: name of the preset or file.
        derived: Delta, barrier, V_c, B_k, R_P and so on.
        lag1: ``1 - p01 - p10`` at the chosen pulse: the correlation of a cell that is not reset.
        n_devices, dt: trajectories behind each corner, and their time step [s].
        fit_error: leave-one-out RMS error of the switching model on its own grid, in probability.
        mirrored: p10 of the corners is p01 at the opposite stray field, by symmetry.
    """

    junction: str
    derived: tuple[DerivedValue, ...]
    curves: tuple[CountedCurve, ...]
    chosen: ChosenPulse
    corners: tuple[CountedCorner, ...]
    lag1: Estimate
    n_devices: int
    dt: float
    fit_error: float
    mirrored: bool = False


def check_fair_pulse(
    junction: Junction, *, seed: int, fit_error: float, progress: Callable[[int, int], None] | None = None
) -> PulseCheck:
    """Return the fair pulse of a junction and what the stochastic LLG equation counts over its box of deviations.

    Args:
        junction: with a voltage that cancels its anisotropy.
        seed: of the trajectories.
        fit_error: of the switching model that goes on from here, for the record.
        progress: called as ``progress(done, total)`` with the corners of the box.
    """
    junction.require_plain("the check of a fair pulse")
    found = fair_pulse(junction)
    assert found.tolerance is not None
    counter, sampler = (LLG(dt=STEP, devices=n, seed=seed) for n in (20_000, 2_500))
    protocols = [Protocol("up"), Protocol("down")]
    curves = []
    for voltage in (junction.V_c, found.pulse.voltage):
        pulses = [Pulse(voltage=voltage, width=width) for width in WIDTHS]
        (p01, error), (p10, _) = (sampler.curve(junction, pulses, protocol) for protocol in protocols)
        label = f"{voltage / junction.V_c:.2g} V_c".removeprefix("1 ")
        curves.append(
            CountedCurve(
                label=label, voltage=voltage, widths=WIDTHS, p01=tuple(p01), p10=tuple(p10), error=tuple(error),
                n_devices=sampler.devices,
            )
        )  # fmt: skip
    cases = list(found.tolerance.cells(junction, found.pulse))
    corners = []
    for done, (name, cell, pulse) in enumerate(cases, 1):
        up, down = (counter.switching(cell, pulse, protocol) for protocol in protocols)
        corners.append(CountedCorner(name=name, p01=up.value, p10=down.value, error=up.error))
        if progress:
            progress(done, len(cases))
    values = (
        ("Delta", junction.Delta(), "k_B T", "without the in-plane field"),
        ("barrier", junction.barrier(), "k_B T", "with the in-plane field"),
        ("V_c", junction.V_c, "V", ""),
        ("B_k", junction.B_k() * 1e3, "mT", ""),
        ("K_eff", junction.K_eff() / 1e3, "kJ/m^3", ""),
        ("R_P", junction.R_P / 1e3, "kOhm", ""),
        ("in-plane field", junction.B_in_plane * 1e3, "mT", ""),
        ("storage preset, barrier", presets.storage.barrier(), "k_B T", ""),
    )
    return PulseCheck(
        junction=f"{junction.name} (assumed)",
        derived=tuple(DerivedValue(name=n, value=v, unit=unit, note=note) for n, v, unit, note in values),
        curves=tuple(curves),
        chosen=ChosenPulse(
            voltage=found.pulse.voltage, width=found.pulse.width, meets=found.meets,
            worst_deviation=found.worst_deviation, verdict=found.verdict, tolerance=found.tolerance.probability,
        ),
        corners=tuple(corners),
        lag1=Estimate.normal(1 - corners[0].p01 - corners[0].p10, 2**0.5 * corners[0].error),
        n_devices=counter.devices,
        dt=STEP,
        fit_error=fit_error,
    )  # fmt: skip
