"""All results of a demo as versioned data: ``results.json`` holds each number that the page shows.

The models are plain: build them with keyword arguments (numpy scalars and arrays are accepted), save with
``results.save(path)``, read with ``DemoResults.load(path)``. A field that does not apply is ``None``; NaN and
infinity are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from pydantic import AliasChoices, Field, model_validator

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Numbers, Part, Provenance, Result
from voltaspin.cost.comparison import Cost
from voltaspin.metrics.conditions import ConditionComparison

# 1 device ---------------------------------------------------------------------------------------------


class Quantity(Part):
    """One derived value of the junction, e.g. ``Quantity(name="Delta", value=40, unit="k_B T")``."""

    name: str
    value: float
    unit: str = ""
    note: str = ""


class Curve(Part):
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


class Corner(Part):
    """The chosen pulse under one disturbance, e.g. 2 mT of stray field."""

    name: str
    p01: float
    p10: float
    error: float


class Device(Part):
    """What the junction does.

    Args:
        junction: name of the preset or file.
        derived: Delta, barrier, V_c, B_k, R_P and so on.
        lag1: ``1 - p01 - p10`` at the chosen pulse: the correlation of a cell that is not reset.
        n_devices, dt: trajectories behind each corner, and their time step [s].
        fit_error: leave-one-out RMS error of the switching model on its own grid, in probability.
        mirrored: p10 of the corners is p01 at the opposite stray field, by symmetry.
    """

    junction: str
    derived: tuple[Quantity, ...]
    curves: tuple[Curve, ...]
    chosen: ChosenPulse
    corners: tuple[Corner, ...]
    lag1: Estimate
    n_devices: int
    dt: float
    fit_error: float
    mirrored: bool = False


# 2 memory ---------------------------------------------------------------------------------------------


class BitQuality(Part):
    """Statistics of one bit stream.

    Args:
        label: ``"raw"`` or how it was conditioned.
        bias: mean of the bits less 1/2.
        lag1: autocorrelation at lag 1, per cell from cycle to cycle.
        autocorrelation: lags 1 to 8.
        autocorrelation_error: standard error of each lag.
        cell_std: standard deviation over cells of the per-cell mean.
        sampling_std: what sampling alone would give, ``sqrt(1/4 / cycles)``.
        histogram_edges, histogram_counts: per-cell mean; one edge more than counts.
        worst_cell: the per-cell mean furthest from 1/2.
        cycles: bits per cell.
        cell_lag1_mean, cell_lag1_std: lag-1 autocorrelation of single cells, over the cells.
        cell_lag1_sampling_std: the spread that sampling alone would give.
    """

    label: str
    bias: Estimate
    lag1: Estimate
    autocorrelation: Numbers
    autocorrelation_error: float = Field(ge=0)
    cell_std: float
    sampling_std: float
    histogram_edges: Numbers
    histogram_counts: Numbers
    worst_cell: float
    cycles: int = Field(ge=1)
    cell_lag1_mean: float
    cell_lag1_std: float
    cell_lag1_sampling_std: float

    @model_validator(mode="after")
    def _edges(self) -> Self:
        if len(self.histogram_edges) != len(self.histogram_counts) + 1:
            raise ValueError(
                f"{len(self.histogram_edges)} histogram edges for {len(self.histogram_counts)} counts; "
                "give one edge more than counts"
            )
        return self


class Memory(Part):
    """The array and its bits before and after conditioning.

    Args:
        spreads: e.g. ``{"K_eff": "5 %"}``, as text for the page.
        operation: reset before every pulse or not, and the mapping of cells to pixels.
    """

    rows: int
    columns: int
    spreads: dict[str, str]
    operation: str
    raw: BitQuality
    conditioned: BitQuality


# 3 forward, 4 reverse ---------------------------------------------------------------------------------


class Forward(Part):
    """The strip of the forward process: which steps it shows and whose noise made it."""

    steps: tuple[int, ...]
    n_steps: int
    provenance: Provenance
    noise: str


class Condition(Part):
    """One noise source under which the same model samples.

    Args:
        key: short identifier, e.g. ``"raw"``.
        name: for people, e.g. ``"Memory, raw bits"``.
        noise: one line on how the numbers are made.
        provenance: one of the five kinds.
    """

    key: str
    name: str
    noise: str
    provenance: Provenance


class Reverse(Part):
    """Sampling.

    Args:
        conditions: in the order of the page.
        sampler: e.g. ``"ancestral DDPM"``.
        steps, nfe: sampler steps and network evaluations per image.
        images_per_condition: images drawn for the live comparison.
        shared: what the conditions have in common.
    """

    conditions: tuple[Condition, ...] = Field(validation_alias=AliasChoices("conditions", "arms"))
    sampler: str
    steps: int
    nfe: int
    images_per_condition: int = Field(validation_alias=AliasChoices("images_per_condition", "images_per_arm"))
    shared: str

    @model_validator(mode="after")
    def _unique(self) -> Self:
        keys = [c.key for c in self.conditions]
        if len(set(keys)) != len(keys):
            raise ValueError(f"two conditions share a key: {', '.join(keys)}")
        return self


# 5 quality --------------------------------------------------------------------------------------------


class QualityPair(Part):
    """The small comparison of this run beside the larger one that ships with the package."""

    live: ConditionComparison
    study: ConditionComparison | None = None
    study_reason: str = ""


# all --------------------------------------------------------------------------------------------------


class DemoResults(Result):
    """Results of one run of the demo.

    Args:
        title: one sentence for the head of the page.
        command, seed: what made it.
        configuration: the resolved configuration, as JSON data.
        seconds: wall time per part.
        device, memory, forward, reverse, quality, cost: the parts of the run.
    """

    KIND: ClassVar[str] = "demo-results"
    VERSION: ClassVar[int] = 2

    title: str
    command: str
    seed: int
    configuration: dict[str, Any]
    seconds: dict[str, float]
    device: Device
    memory: Memory
    forward: Forward
    reverse: Reverse
    quality: QualityPair
    cost: Cost

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """As :meth:`Result.from_json`; version 1 is read too."""
        data = as_object(data, where=where)
        if data.get("kind") == cls.KIND and data.get("schema_version") == 1 and isinstance(data.get("cost"), dict):
            with refused(where):
                unnamed = {k: v and {"environment": {}, **v} if k in ("live", "study") else v
                           for k, v in data["quality"].items()}  # fmt: skip
                data = data | {"quality": unnamed, "cost": _cost_of_version_1(data["cost"]),
                               "schema_version": cls.VERSION}  # fmt: skip
        return super().from_json(data, where=where)

    @property
    def provenance(self) -> dict[str, str]:
        """Where the noise of each condition came from."""
        return {c.key: c.provenance for c in self.reverse.conditions}


@contextmanager
def refused(where: str) -> Iterator[None]:
    """Turn errors of a file that is not as its version says into one line."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{where} is no file of the version that it names ({type(error).__name__}: {error})") from None


def _cost_of_version_1(old: dict[str, Any]) -> dict[str, Any]:
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
        network = {k: net[k] for k in ("array", "mac_fraction", "seconds", "cells", "grade", "assumptions")} | {
            "environment": {}, "steps": float(net["steps"]), "area": estimate(*net["area_mm2"]), "writes": 0,
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
