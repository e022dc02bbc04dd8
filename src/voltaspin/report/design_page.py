"""An exploration of designs as a table and as one page, whose columns are sorted without a script."""

from __future__ import annotations

import csv
import io
from typing import Any

from voltaspin.core.errors import InputError
from voltaspin.core.format import number, quantity, spread
from voltaspin.core.quantity import Estimate
from voltaspin.design.result import DesignPoint, DesignResult, objective_text
from voltaspin.report.page import figure, render

NO_PARQUET = "no points.parquet, which needs pyarrow: pip install 'voltaspin[hub]'; points.csv has the same"


def table(result: DesignResult) -> list[dict[str, Any]]:
    """Return a row of plain numbers, texts and truth values for each design, all with the same columns."""
    axes = list(result.space.varied)
    parts = {
        kind: list(dict.fromkeys(n for p in result.points for n in getattr(p, kind))) for kind in ("energy", "area")
    }
    return [
        {"number": p.number, "front": p.front, "model": p.model or "shipped", "diffusion": p.diffusion,
         "steps": p.steps, "cells_per_pixel": p.cells_per_pixel, **{name: _plain(p.choices[name]) for name in axes},
         **_ends(p.objectives), **({} if result.baseline_kid is None else _ends({"kid": p.kid})), "arrays": p.arrays,
         "cells": p.cells, "utilisation": p.utilisation,
         **{f"{kind}: {n} [{unit}]": getattr(p, kind)[n].value if n in getattr(p, kind) else None
            for kind, unit in (("energy", "pJ"), ("area", "mm^2")) for n in parts[kind]},
         "warnings": "; ".join(p.warnings), "key": p.key}
        for p in result.points
    ]  # fmt: skip


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)


def _ends(found: Any) -> dict[str, float | None]:
    units = {"energy": " [pJ]", "latency": " [s]", "area": " [mm^2]"}
    return {
        f"{name}{end}{units.get(name, '')}": None if e is None else getattr(e, which)
        for name, e in found.items() for end, which in (("", "value"), (" low", "low"), (" high", "high"))
    }  # fmt: skip


def table_csv(result: DesignResult) -> str:
    """Return the designs as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    rows, buffer = table(result), io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"'{v}" if isinstance(v, str) and v.startswith(("=", "+", "-", "@")) else v
                         for k, v in row.items()})  # fmt: skip
    return buffer.getvalue()


def table_parquet(result: DesignResult) -> bytes | None:
    """Return the designs as Parquet; None without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return None
    rows = table(result)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name, values in columns.items():
        kinds = {type(v) for v in values if v is not None}
        if kinds == {int, float}:
            columns[name] = [None if v is None else float(v) for v in values]
        elif len(kinds) > 1:  # an axis of words and numbers
            columns[name] = [None if v is None else str(v) for v in values]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def design_page(result: DesignResult, command: str) -> str:
    """Return one self-contained HTML page: figure, table with breakdowns, and what cannot be built.

    Raises:
        InputError: a result without designs.
    """
    from voltaspin.plots.drawing import png

    if not result.points:
        raise InputError("the exploration has no designs; give a result of explore")
    columns = _columns(result)
    order = {
        name: {p.number: place for place, p in enumerate(sorted(result.points, key=key))} for name, _, key in columns
    }
    return render(
        "design",
        title=result.space.name,
        paragraphs=[p for p in (result.space.question, *(_sentence(n) for n in result.notes)) if p],
        counted=dict(result.summary()[:2]),
        figure=figure(lambda: png(result.plot()), "Output error against energy, with the fronts"),
        columns=[name for name, *_ in columns],
        rows=[
            {
                "front": p.front,
                "cells": [text(p) for _, text, _ in columns],
                "places": [order[name][p.number] for name, *_ in columns],
                "energy": _parts(p.energy), "area": _parts(p.area), "warnings": p.warnings, "setting": p.setting,
                "facts": f"{p.arrays} arrays, {p.utilisation:.0%} of their cells hold weights",
            }
            for p in result.points
        ],
        pruned=[(p.number, p.setting, ", ".join(f"{k}={v}" for k, v in p.choices.items()), p.reason)
                for p in result.pruned],
        baseline="" if result.baseline_kid is None else spread(result.baseline_kid, 1e3, "x 1e-3"),
        command=command,
    )  # fmt: skip


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _columns(result: DesignResult) -> list[Any]:
    """(name, text of a design, what it is sorted by) of each column."""

    def sortable(value: Any) -> tuple[int, float, str]:
        plain = isinstance(value, int | float)
        return (0, float(value), "") if plain else (1, 0.0, str(value))

    found: list[Any] = [
        ("design", lambda p: str(p.number), lambda p: p.number),
        ("front", lambda p: "yes" if p.front else "", lambda p: (not p.front, p.number)),
        ("sampling", lambda p: p.setting, lambda p: (p.setting, p.number)),
    ]
    for name in result.space.varied:
        found.append((name.replace(",", ", "), lambda p, n=name: _choice(p.choices[n]),
                      lambda p, n=name: (sortable(p.choices[n]), p.number)))  # fmt: skip
    for name in result.points[0].objectives:
        found.append((name, lambda p, n=name: objective_text(n, p.objectives[n]),
                      lambda p, n=name: (p.objectives[n].value, p.number)))  # fmt: skip
    if result.baseline_kid is not None:
        found.append(("KID × 1000", _kid, lambda p: (float("inf") if p.kid is None else p.kid.value, p.number)))
    return found


def _kid(p: DesignPoint) -> str:
    return "" if p.kid is None else spread(p.kid, 1e3)


def _choice(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _parts(parts: dict[str, Estimate]) -> list[tuple[str, str, str]]:
    whole = sum(e.value for e in parts.values()) or 1.0
    shown = [(name, e, e.value / whole) for name, e in parts.items() if e.value > 0]
    return [
        (name, quantity(e.value * 1e-12, "J") if e.unit == "pJ" else f"{number(e.value)} mm²", f"{share:.1%}")
        for name, e, share in shown
    ]
