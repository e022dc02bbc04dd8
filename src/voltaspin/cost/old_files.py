"""Costs as 0.1.0 wrote them."""

from __future__ import annotations

from typing import Any


def cost_of_version_1(old: dict[str, Any]) -> dict[str, Any]:
    """The priced ledger as version 1 had it: single numbers, and a range of energies alone.

    Its plain ratios stand in the figure of merit with their ranges, and its price of drivers alone is not known.
    """

    def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any] | None:
        if value is None:
            return None
        return {"value": value, "low": value if low is None else low, "high": value if high is None else high}

    def row(r: dict[str, Any], energy: dict[str, Any] | None, *more: str) -> dict[str, Any]:
        kept = {k: r[k] for k in ("key", "name", "ours", "boundary", "rate", "node_nm", "how", "family", "grade",
                                  "area_grade", "source")}  # fmt: skip
        return kept | {"energy": energy, "area": estimate(r["area_um2"])} | {k: estimate(r[k]) for k in more}

    def parts(net: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
        """Energies of a list of parts by boundary and name; the range is that of the macro."""
        by: dict[str, dict[str, Any]] = {}
        for part in net[key]:
            for b, pJ in part["energy"].items():
                ends = (part["low"], part["high"]) if b == "macro" else ()
                by.setdefault(b, {})[part["name"]] = estimate(pJ, *ends)
        return by

    pulse = old["pulse_energy_fJ"]
    cell = 1e-3 * (pulse["ohmic"] + pulse["charging"])
    own = {r["boundary"]: r for r in old["rows"] if r["ours"]}
    network, merit = None, old["claim"]
    if net := old["network"]:
        actions, layers, digital = parts(net, "actions"), parts(net, "layers"), parts(net, "conventional")["macro"]
        network = {k: net[k] for k in ("array", "mac_fraction", "cells", "grade", "assumptions")} | {
            "environment": {}, "seconds": estimate(net["seconds"]),
            "steps": float(net["steps"]), "area": estimate(*net["area_mm2"]), "writes": 0,
            "writing": None, "total": {b: by.pop("in all") for b, by in actions.items()}, "by_action": actions,
            "conventional_total": digital.pop("in all"), "conventional": digital,
            "layers": [{"name": name, "in_memory": True, "counts": {}, "energy": {}, "seconds": 0.0,
                        "total": {b: by[name] for b, by in layers.items()}} for name in layers.get("macro", {})],
        }  # fmt: skip
    if merit:
        merit = {"environment": {}, **{k: v for k, v in merit.items() if k not in ("kind", "schema_version")}}
        merit["work"] = merit.get("work") and {"environment": {}, **merit["work"]}
    return {
        "environment": {}, "table": old["table"], "samples": merit["samples"] if merit else 1, "counts": old["counts"],
        "per_pulse": {"cell": estimate(cell), "cell+line": estimate(cell + 1e-3 * pulse["line"])},
        "per_image": {b: estimate(r["energy_per_image"]) for b, r in own.items() if r["energy_per_image"]},
        "parts": {a: estimate(pJ) for a, pJ in own["macro"]["parts"].items()},
        "rows": [row(r, estimate(r["energy_per_bit"], r["low"], r["high"]), "energy_area", "energy_over_area")
                 for r in old["rows"] if r["energy_per_bit"] is not None],
        "normals": [row(r, estimate(r["energy_per_normal"])) for r in old["normals"]],
        "counterweights": old["counterweights"], "network": network, "figure_of_merit": merit,
    }  # fmt: skip
