"""The page of a junction's characterisation. It leaves out a part that the junction lacks, and says why."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from voltaspin.core.format import duration, number, quantity, stretch
from voltaspin.device.breakdown import statement
from voltaspin.device.characterisation import Characterisation
from voltaspin.device.junction import Pulse
from voltaspin.device.parameters import parameters_html
from voltaspin.report.page import picture, render

#: Figure: its title, its function in ``plots.device``, the part that it needs, its caption.
_FIGURES: dict[str, tuple[str, str, Callable[[Characterisation], object], str]] = {
    "pulses": (
        "Switching", "switching_curves", lambda r: r.curves,
        "Switching probability of a rectangular pulse. The bit is judged after a time of rest.",
    ),
    "shmoo": (
        "Write errors", "write_error_map", lambda r: r.map,
        "Write error rate of the direction that fails more often. Orange, and purple for the other "
        "direction where it differs: within 5 % of 1/2.",
    ),
    "bathtub": (
        "Around the write pulse", "bathtub", lambda r: r.bathtub,
        "Write error rate around the write pulse. Pale: numerical error.",
    ),
    "retention": (
        "Retention", "retention", lambda r: r.retention and any(r.retention.at_temperature + r.retention.at_voltage),
        "Mean life of a bit in the shallower well. The material follows assumed temperature laws; a constant "
        "voltage moves the barrier and nothing else.",
    ),
    "energy": (
        "Energy", "pulse_energies", lambda r: r.write or r.coin,
        "Energy of one pulse by where it goes. Resets and reads are not in it.",
    ),
    "sensitivity": (
        "Sensitivity", "sensitivities", lambda r: r.write or r.coin,
        "First-order change for the step named at each bar; beyond some ten percent an error rate leaves this straight "
        "line. Temperature moves the thermal field alone.",
    ),
    "astroid": (
        "Switching fields", "astroid", lambda r: r.astroid,
        "Switching fields without thermal help; the two wells end there.",
    ),
}  # fmt: skip


def device_charts(result: Characterisation) -> dict[str, bytes]:
    """Return PNG bytes of every figure whose part exists, by name."""
    from voltaspin.plots import device
    from voltaspin.plots.drawing import png

    return {name: png(getattr(device, draw)(result)) for name, (_, draw, part, _) in _FIGURES.items() if part(result)}


def _facts(result: Characterisation) -> list[tuple[str, str]]:
    d, facts = result.derived, []
    facts.append(("Delta, barrier", f"{number(d.Delta)}, {number(d.barrier)} k_B T"))
    facts.append(("B_k", quantity(d.B_k, "T")))
    if d.V_c is not None:
        facts.append(("V_c", quantity(d.V_c, "V")))
    if d.period is not None:
        facts.append(("turn about the in-plane field", quantity(d.period, "s")))
    facts.append(("R_P, R_AP", f"{quantity(d.R_P, 'Ω')}, {quantity(d.R_AP, 'Ω')}"))
    for name, pulse in (("write", result.write), ("coin", result.coin)):
        if pulse is None:
            continue
        facts.append((f"{name} pulse", pulse.verdict))
        shot = Pulse(voltage=pulse.voltage, width=pulse.width)
        facts.append((f"oxide under it, {name}", statement(result.junction, shot, failure=result.oxide.failure)))
    if result.coin and result.coin.band:
        low, high = result.coin.band
        facts.append(("widths within 0.01 of 1/2", stretch(quantity(low, "s"), quantity(high, "s"))))
    if result.retention and result.retention.life:
        facts.append(("mean life of a bit", duration(result.retention.life)))
    if result.read:
        r = result.read
        facts.append(
            (
                f"read at {number(r.voltage)} V for {duration(r.integration_time)}",
                f"{quantity(abs(r.P), 'A')} or {quantity(abs(r.AP), 'A')}, margin {quantity(r.margin, 'A')}, "
                f"error {number(r.error, 2)}" + (f", disturb {number(r.disturb, 2)}" if r.disturb is not None else ""),
            )
        )
    return facts


def device_page(result: Characterisation, pictures: dict[str, bytes]) -> str:
    """Return one self-contained HTML page: what follows from the parameters, the figures, and what does not exist.

    Args:
        result: every number.
        pictures: of :func:`device_charts`.
    """
    from voltaspin.plots.drawing import narrow

    with narrow():
        phone = device_charts(result)
    figures = []
    for name, data in pictures.items():
        title, _, _, caption = _FIGURES[name]
        figures.append((title, picture(data, caption, phone.get(name), kind="own"), caption))
    parameters = Markup(parameters_html(result.junction))  # escaped where it is made
    return render(
        "device", title=result.junction.name, r=result, facts=_facts(result), figures=figures, parameters=parameters
    )
