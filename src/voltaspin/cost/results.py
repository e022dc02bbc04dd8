"""The cost part of the results, as versioned data: priced rows, ratios, the network, and the published claim."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from voltaspin.core.quantity import Estimate, Grade
from voltaspin.core.result import Boundary, Part

Metric = Literal["energy", "area", "energy x area", "energy / area"]
CLAIM = 1e3  #: "about 10^3", of the published abstract
ABOUT_A_THOUSAND = (10**2.5, 10**3.5)  #: within half a decade
LIKELY = 0.5  #: a reading meets the claim where its ratio is about 10^3 with more than this probability


class CostRow(Part):
    """What randomness costs from one source at one boundary.

    ``energy_*`` are [pJ]; ``energy_area`` is energy per bit x area [pJ um^2]; ``energy_over_area`` is
    energy per bit / area [pJ/um^2]. ``low``/``high`` bound ``energy_per_bit``. ``parts`` splits the whole
    energy of a ledger by action [pJ]. ``grade`` and ``area_grade`` are the weakest among the numbers used.
    """

    key: str
    name: str
    ours: bool
    boundary: Boundary
    energy_per_bit: float | None = None
    low: float | None = None
    high: float | None = None
    energy_per_normal: float | None = None
    energy_per_image: float | None = None
    area_um2: float | None = None
    array_area_um2: float | None = None
    energy_area: float | None = None
    energy_over_area: float | None = None
    rate: str = ""
    node_nm: int | None = None
    how: str = ""
    family: Literal["cmos", "spin", "vcma"] = "cmos"
    grade: str
    area_grade: str | None = None
    source: str
    parts: dict[str, float] = Field(default_factory=dict)


class Ratio(Part):
    """One reading of "so many times better": conventional over ours, so above 1 the memory wins."""

    metric: Metric
    boundary: Boundary
    against: str
    ratio: float
    assumption: str


class NetworkPart(Part):
    """Energy per image [pJ] of one kind of action, or of one layer, by boundary, with the range at the macro."""

    name: str
    energy: dict[Boundary, float]
    low: float
    high: float


class Network(Part):
    """The network in crossbars, for one image, beside the same network on a digital machine.

    Args:
        array: preset of the arrays.
        mac_fraction: share of the multiply-accumulates in memory.
        steps: network evaluations.
        actions: and their sum, called ``in all``, last.
        layers: the dearest; energy at the macro.
        conventional: of the digital machine, and their sum last; energy at the macro.
        seconds, cells, area_mm2: of the arrays, the area with (low, high).
        grade: the weakest number.
        assumptions: in words.
    """

    array: str
    mac_fraction: float
    steps: int
    actions: tuple[NetworkPart, ...]
    layers: tuple[NetworkPart, ...]
    conventional: tuple[NetworkPart, ...]
    seconds: float
    cells: int
    area_mm2: tuple[float, float, float]
    grade: str
    assumptions: tuple[str, ...]


class Reading(Part):
    """One way to read "better per bit per area": conventional over ours, by Monte Carlo over the grades.

    Args:
        metric, boundary, against: which.
        ratio: median and 90 % interval; above 1 the memory wins.
        about: probability that the ratio is about 10^3, between 10^2.5 and 10^3.5.
        needed: energy [pJ] or area [um^2] or their combination that the memory would need for 10^3.
    """

    metric: Metric
    boundary: Boundary
    against: str
    ratio: Estimate
    about: float
    needed: float

    @property
    def verdict(self) -> str:
        if self.ratio.high < CLAIM:
            return "missed"
        return "exceeded" if self.ratio.low > CLAIM else "within the range"

    @property
    def likely(self) -> bool:
        """Whether the ratio is about 10^3 with more than even odds."""
        return self.about > LIKELY


class Job(Part):
    """A piece of work and the random numbers that it takes.

    Args:
        name: ``image`` or ``training run``.
        what: in words.
        normals, bits: Gaussian numbers, and the conditioned bits behind them.
        pulses, resets: of cells of the memory.
    """

    name: str
    what: str
    normals: int
    bits: int
    pulses: int
    resets: int


class Supply(Part):
    """Random numbers from one source, and what the jobs take of them. Medians and 90 % intervals.

    Args:
        key, name: e.g. ``ours-macro``.
        kind: what draws them.
        per_bit, per_normal: energy [pJ].
        per_job: energy [pJ] by the job's name.
        over_macro: energy of a Gaussian number over that of the memory at the macro.
        share: of all energy of an image, by the network that computes it.
        how: where the number comes from, in one sentence.
        grade: the weakest number behind it; ``measured`` where counters of this machine gave it.
    """

    key: str
    name: str
    kind: Literal["memory", "cpu", "gpu"]
    per_bit: Estimate | None = None
    per_normal: Estimate | None = None
    per_job: dict[str, Estimate] = Field(default_factory=dict)
    over_macro: Estimate | None = None
    share: dict[str, Estimate] = Field(default_factory=dict)
    how: str
    grade: str


class Work(Part):
    """Random numbers of an image and of a training run, from the memory and in software.

    Args:
        jobs: what is asked for.
        supplies: of the memory at its boundaries, then of processors.
        networks: energy [pJ] of an image's arithmetic, by where it is done.
        published: ratios that others state, in words.
        findings: sentences that follow from the numbers.
        notes: what could not be measured here, and why.
    """

    jobs: tuple[Job, ...]
    supplies: tuple[Supply, ...]
    networks: dict[str, Estimate] = Field(default_factory=dict)
    published: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Claim(Part):
    """What a junction's random bits cost, and every ratio.

    Args:
        junction, pulse: in words.
        bit: actions behind one bit.
        own: metric and boundary to median and 90 % interval.
        readings: all ratios.
        p01, p10: of the pulse.
        cells_per_bit: different cells that XOR combines: bits of the pulse per bit.
        residual_bias: largest distance of a bit's probability from 1/2, whatever the cells held before.
        samples: draws behind each.
        factors: up and down, that holds 90 % of what a number of a grade may be.
        work: an image and a training run.
    """

    KIND: ClassVar[str] = "cost-claim"
    junction: str
    pulse: str
    bit: dict[str, float]
    own: dict[Boundary, dict[Metric, Estimate]]
    readings: tuple[Reading, ...]
    p01: float | None = None
    p10: float | None = None
    cells_per_bit: int | None = None
    residual_bias: float | None = None
    samples: int
    factors: dict[Grade, float]
    work: Work | None = None


class Cost(Part):
    """The priced ledger beside conventional sources.

    Args:
        table: name of the cost table.
        counts: totals of the ledger.
        pulse_energy_fJ: ohmic and charging energy of one pulse in the cell, and of its line.
        rows, normals: sources of bits and of Gaussian numbers.
        ratios: every comparison made.
        thousand: the ratios that come to about 10^3, with the assumption behind each.
        counterweights: sentences against the memory, computed from the rows.
        network: the arithmetic of an image, in memory and not.
        claim: the published factor in every reading, with ranges.
    """

    table: str
    counts: dict[str, int]
    pulse_energy_fJ: dict[str, float]
    rows: tuple[CostRow, ...]
    normals: tuple[CostRow, ...]
    ratios: tuple[Ratio, ...]
    thousand: tuple[Ratio, ...]
    counterweights: tuple[str, ...]
    network: Network | None = None
    claim: Claim | None = None
