"""Everything a run has found, as versioned data: ``results.json`` holds each number that the page shows.

The models are plain: build them with keyword arguments (numpy scalars and arrays are accepted), save with
``results.save(path)``, read with ``DemoResults.load(path)``. A field that does not apply is ``None``; NaN and
infinity are refused.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Boundary, Numbers, Part, Provenance
from voltaspin.core.spec import Spec
from voltaspin.cost.results import Claim, Cost, CostRow, Network, NetworkPart, Ratio

__all__ = [
    "Arm",
    "BitQuality",
    "Boundary",
    "ChosenPulse",
    "Claim",
    "Control",
    "Corner",
    "Cost",
    "CostRow",
    "Curve",
    "DemoResults",
    "Device",
    "Difference",
    "Estimate",
    "Forward",
    "Memory",
    "Network",
    "NetworkPart",
    "Numbers",
    "Part",
    "Provenance",
    "Quality",
    "QualityPair",
    "QualityRow",
    "Quantity",
    "Ratio",
    "Reverse",
    "Score",
]


class Score(Part):
    """A quality score, never a bare number.

    Args:
        name: e.g. ``"KID"``, ``"FD"``.
        value, low, high: 95 % interval, which need not hold the value of a biased score.
        n: images behind the value.
        extractor, extractor_sha256: feature network.
        noise: where the arm's noise came from, e.g. ``"simulated, junction gen-50"``.
        shared: what the compared arms have in common, e.g. ``"weights, labels, initial latents"``.
    """

    name: str
    value: float
    low: float
    high: float
    n: int = Field(ge=1)
    extractor: str
    extractor_sha256: str
    noise: str
    shared: str

    @classmethod
    def of(cls, score: Any) -> Self:
        """From a dataclass with these fields, such as ``voltaspin.metrics.distance.Score``."""
        return cls(**{name: value for name, value in asdict(score).items() if name in cls.model_fields})


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


class Arm(Part):
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
        arms: in the order of the page.
        sampler: e.g. ``"ancestral DDPM"``.
        steps, nfe: sampler steps and network evaluations per image.
        images_per_arm: images drawn per arm for the live comparison.
        shared: what the arms have in common.
    """

    arms: tuple[Arm, ...]
    sampler: str
    steps: int
    nfe: int
    images_per_arm: int
    shared: str

    @model_validator(mode="after")
    def _unique(self) -> Self:
        keys = [arm.key for arm in self.arms]
        if len(set(keys)) != len(keys):
            raise ValueError(f"two arms share a key: {', '.join(keys)}")
        return self


# 5 quality --------------------------------------------------------------------------------------------


class QualityRow(Part):
    """Scores of one arm or yardstick; ``fd`` is ``None`` only with a reason."""

    arm: str
    name: str
    kid: Score
    fd: Score | None = None
    fd_reason: str = ""

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.fd is None and not self.fd_reason:
            raise ValueError(f"row {self.arm!r} has no FD and no reason; say why in fd_reason")
        return self


class Difference(Part):
    """Paired difference of one arm against software noise.

    Args:
        arm, name: as in :class:`Arm`.
        kid: KID of the arm less KID of software, paired.
        fd: the same for the extrapolated FD, where there are images enough.
        margin: equivalence margin declared beforehand, in the unit of ``kid``.
        equivalent: verdict of two one-sided tests at that margin, ``None`` where none was declared.
    """

    arm: str
    name: str
    kid: Score
    fd: Score | None = None
    margin: float | None = None
    equivalent: bool | None = None


class Control(Part):
    """The arm that must be told apart, or the comparison says nothing.

    Args:
        row: its scores.
        difference: paired difference against software.
        detected: whether the interval of the difference lies above zero.
        what: how it was broken, e.g. ``"raw bits with p = 0.55"``.
    """

    row: QualityRow
    difference: Difference
    detected: bool
    what: str


class Quality(Part):
    """One comparison of image quality, run live or shipped with the package.

    Args:
        label: e.g. ``"This run"``.
        n: images per arm; steps: sampler steps; command: how to run it again.
        floor: real against real images at the same n.
        yardsticks: what blur and noise do to real images in the same extractor.
        extractor_accuracy: share of held-out images that the extractor classifies correctly.
    """

    label: str
    n: int
    steps: int
    command: str
    extractor: str
    extractor_sha256: str
    extractor_accuracy: float | None = None
    rows: tuple[QualityRow, ...]
    differences: tuple[Difference, ...]
    floor: QualityRow
    yardsticks: tuple[QualityRow, ...]
    control: Control | None
    control_reason: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _controlled(self) -> Self:
        if self.control is None and not self.control_reason:
            raise ValueError(f"comparison {self.label!r} has no control; say why in control_reason")
        return self


class QualityPair(Part):
    """The small comparison of this run beside the larger one that ships with the package."""

    live: Quality
    study: Quality | None = None
    study_reason: str = ""


# all --------------------------------------------------------------------------------------------------


class DemoResults(Spec):
    """Results of one run of the demo.

    Args:
        title: one sentence for the head of the page.
        command, seed: what made it.
        configuration: the resolved configuration, as JSON data.
        environment: versions, from ``specs.environment()``.
        seconds: wall time per part.
    """

    KIND: ClassVar[str] = "demo-results"
    VERSION: ClassVar[int] = 1
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    title: str
    command: str
    seed: int
    configuration: dict[str, Any]
    environment: dict[str, str]
    seconds: dict[str, float]
    device: Device
    memory: Memory
    forward: Forward
    reverse: Reverse
    quality: QualityPair
    cost: Cost

    @property
    def provenance(self) -> dict[str, str]:
        """Where the noise of each arm came from."""
        return {arm.key: arm.provenance for arm in self.reverse.arms}
