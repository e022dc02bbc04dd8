"""The parameters of a junction by the names under which a text changes them, and the terms that are off by default."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from voltaspin.core import units
from voltaspin.core.display import table_html
from voltaspin.core.units import Dimension
from voltaspin.device.terms import TERMS

#: What :meth:`Junction.of` changes: each name with its dimension, whose first unit is that of a number alone (SI).
PARAMETERS: dict[str, Dimension] = {
    "diameter": units.JUNCTION_LENGTH,
    "t_F": units.JUNCTION_LENGTH,
    "t_ox": units.JUNCTION_LENGTH,
    "Ms": units.MAGNETISATION,
    "K_i": units.AREAL_ENERGY,
    "Delta": units.NUMBER.within(1e-3, 1e4),
    "xi": units.VCMA,
    "alpha_G": units.NUMBER.within(1e-6, 10),
    "B_x": units.FIELD,
    "B_y": units.FIELD,
    "B_z": units.FIELD,
    "temperature": units.TEMPERATURE,
    "RA": units.RESISTANCE_AREA,
    "TMR0": units.RATIO.within(1e-6, 1e3),
    "V_h": units.JUNCTION_VOLTAGE,
    "Nz": units.RATIO.within(1e-9, 1e3),
    "diameter_y": units.JUNCTION_LENGTH,
    "K2": units.ENERGY_DENSITY,
    "R_series": units.RESISTANCE,
}
#: Where the parameters of a term stand: the field of the junction, and that of the term.
IN_TERMS: dict[str, tuple[str, str]] = {}
for _term, _kind in TERMS.items():
    for _field in fields(_kind):
        if "parameter" in _field.metadata:
            _name, PARAMETERS[_field.metadata["parameter"][0]] = _field.metadata["parameter"]
            IN_TERMS[_name] = _term, _field.name
#: What a junction has where a term is off, by the field.
OFF: dict[str, Any] = {
    "diameter_y": None, "K2": 0.0, "R_series": 0.0, "reference": (0.0, 0.0, 1.0), **dict.fromkeys(TERMS)
}  # fmt: skip
#: What a junction has at zero volt of the terms that act under a voltage alone.
AT_REST: dict[str, Any] = {name: OFF[name] for name in ("R_series", "spin_transfer", "line", "heating")}


def is_on(junction: Any, term: str) -> bool:
    """Whether a junction has what a field switches on."""
    return bool(getattr(junction, term) != OFF[term])


def as_lists(value: Any) -> Any:
    """JSON data with lists for tuples, as a file has them."""
    if isinstance(value, dict):
        return {key: as_lists(part) for key, part in value.items()}
    return list(value) if isinstance(value, tuple) else value


def parameters_html(junction: Any) -> str:
    """Return the parameters of a junction that are not zero, with their units, as a table for a notebook."""
    found = {
        "Delta": junction.Delta(),
        "Nz": junction.N[2],
        **dict(zip(("B_x", "B_y", "B_z"), junction.B_bias, strict=True)),
    }
    rows = []
    for name, dimension in PARAMETERS.items():
        if name in IN_TERMS:
            term, field = IN_TERMS[name]
            value = getattr(getattr(junction, term), field, None)
        else:
            value = found.get(name, getattr(junction, name, None))
        if isinstance(value, int | float) and value:
            rows.append((name, units.format_quantity(value, next(iter(dimension.units)))))
    return table_html(junction.name or "Junction", rows)
