"""How long cells last: cycles of each cell for an image, a day and a training run, against an endurance assumed.

Every write, reset and pulse counts as one cycle of its cell. The busiest cell decides, since one worn cell is a fault.
Three kinds of cells wear:

* cells that draw random bits: a reset and a pulse for each bit, in the cells that serve the image's pixels;
* cells that hold weights: written once, or again in every evaluation where the chip has too few arrays; a training in
  the memory writes them at every step;
* cells in which pixels diffuse: some pulses for each evaluation, which roles that roll on spread over a pixel's cells.

The oxide is a second limit: :mod:`voltaspin.device.breakdown` says how many pulses it survives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.format import duration, ends, number, spread
from voltaspin.core.quantity import Estimate, Sourced
from voltaspin.core.result import Part, Result, Unit
from voltaspin.core.units import year
from voltaspin.cost.cycles import CellsOfPixels, inplace_cycles, random_bit_cycles, weight_cycles
from voltaspin.cost.jobs import USUAL_BATCH, USUAL_STEPS, Job, image_job, job, training_job, training_size
from voltaspin.cost.network import price_network
from voltaspin.cost.pricing import CellPulse, weight_pulse
from voltaspin.cost.table import Draws, Floats

if TYPE_CHECKING:
    from voltaspin.cost.macro import MacroSpec
    from voltaspin.device import Junction, Pulse
    from voltaspin.diffusion.any_model import LoadedModel
    from voltaspin.diffusion.pipelines import Pipeline
    from voltaspin.memory import ArraySpec, NetworkTrace

#: Cycles that a cell survives. Nothing lasts for ever here: an upper end is the most that was reported.
LIMITS: dict[str, Sourced] = {
    "vcma": Sourced(
        1e11, "1", "voltage-controlled junctions: 1e10 and 1e11 pulses without failure are reported (imec, recalled), "
        "which are lower bounds; the upper end is what current-written cells of a 14 nm memory reached", "recalled",
        1e10, 1e14,
    ),
    "stt-embedded": Sourced(
        1e6, "1", "current-written memories in place of flash, as the press reports them: 1e5 (GF 22FDX), above 1e6 "
        "(Intel 22FFL, Samsung 28 nm), 1e7 (GF 40 Mb)", "recalled", 1e5, 1e7,
    ),
    "stt-fast": Sourced(
        1e14, "1", "current-written memory in place of SRAM: 1e14 (Samsung 14 nm, as the press reports it); lower end "
        "assumed, upper end a projection of breakdown (Kan et al. 2017, abstract)", "recalled", 1e12, 1e15,
    ),
}  # fmt: skip
HORIZON = 10 * year  #: life that is asked of a chip [s]; chosen
DAY = 86400.0
_FAILURE = 1e-6  # share of oxides that have broken down at the end of their life

Case = Literal["random bits", "weights", "trained weights", "in place"]
_CELLS: dict[Case, str] = {
    "random bits": "Cells that draw random bits", "weights": "Cells that hold weights",
    "trained weights": "Cells whose weights are trained in the memory", "in place": "Cells in which images diffuse",
}  # fmt: skip


class Wear(Part):
    """Cells of one kind and how long they last. The busiest cell decides; ranges hold 90 % unless said otherwise.

    Args:
        case: of the cells; what: in words.
        cells: that share the work.
        per_image: cycles of a cell for one image of its own: mean over the cells, least and busiest one.
        per_day: cycles of the busiest cell in a day.
        per_training: cycles of a cell in one training run: mean, least and busiest; None where it does not wear them.
        images: of the chip until the busiest cell reaches the endurance; None where images do not wear the cells.
        seconds: until then.
        trainings: training runs until then.
        oxide_seconds: until one oxide in a million has broken down; None where images do not wear the cells.
    """

    case: Case
    what: str
    cells: int
    per_image: Estimate
    per_day: Estimate
    per_training: Estimate | None = None
    images: Estimate | None = None
    seconds: Annotated[Estimate | None, Unit("s")] = None
    trainings: Estimate | None = None
    oxide_seconds: Annotated[Estimate | None, Unit("s")] = None

    @property
    def lasts(self) -> Literal["yes", "no", "unsure"]:
        """Whether both limits lie beyond ten years: ``unsure`` where a range holds ten years."""
        limits = [e for e in (self.seconds, self.oxide_seconds) if e is not None]
        if any(e.high < HORIZON for e in limits):
            return "no"
        return "yes" if all(e.low >= HORIZON for e in limits) else "unsure"

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people."""
        rows = [("cells", f"{self.cells:,}: {self.what}")]
        if self.images is not None:
            rows += [("cycles of a cell for an image", _cells(self.per_image)),
                     ("cycles of the busiest cell in a day", spread(self.per_day))]  # fmt: skip
        if self.per_training is not None:
            rows.append(("cycles of a cell in a training run", _cells(self.per_training)))
        if self.trainings is not None:
            rows.append(("training runs until the endurance", spread(self.trainings)))
        if self.images is not None and self.seconds is not None:
            rows += [("images until the endurance", spread(self.images)),
                     ("time until the endurance", _times(self.seconds))]  # fmt: skip
        if self.oxide_seconds is not None:
            rows.append(("time until an oxide in a million breaks down", _times(self.oxide_seconds)))
        return rows


class Endurance(Result):
    """What wears out first, and when.

    Args:
        model: name of the network.
        limit: cycles that a cell survives.
        images_per_day: that the chip makes; paced_by: what sets them, in words.
        cases: each kind of cells.
        findings: sentences that follow from the numbers.
        assumptions: in words.
    """

    KIND: ClassVar[str] = "endurance"
    model: str
    limit: Sourced
    images_per_day: Estimate
    paced_by: str
    cases: tuple[Wear, ...]
    findings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: the limit, each kind of cells, the findings."""
        limit = f"{spread(self.limit.estimate(''))} cycles [{self.limit.grade}: {self.limit.source}]"
        rows = [("endurance", limit), ("images in a day", f"{spread(self.images_per_day)}: {self.paced_by}")]
        rows += [("finding", text) for text in self.findings]
        for wear in self.cases:
            rows += [(f"{wear.case}: {name}", text) for name, text in wear.summary()]
        return rows + [("assumption", text) for text in self.assumptions]


def oxide_pulses(junction: Junction, pulse: Pulse, draws: Draws, *, failure: float = _FAILURE) -> Floats:
    """Draw how many pulses the oxide survives, over the ranges of the power law of breakdown; float64 (samples,).

    Args:
        junction: of the cells; pulse: on each.
        draws: whose samples and seed are taken.
        failure: share of cells that have failed.

    Raises:
        InputError: a pulse above the field at which the barrier breaks at once.
    """
    from voltaspin.device.breakdown import PowerLaw, lifetime, stress

    nominal, across = PowerLaw(), stress(junction, pulse)
    drawn = {f.name: draws.of(replace(getattr(nominal, f.name), unit="1"), "breakdown", f.name)
             for f in fields(nominal) if f.name != "limit"}  # fmt: skip
    lives = [
        lifetime(junction, voltage=across, failure=failure, model=PowerLaw(**{
            name: replace(getattr(nominal, name), value=float(values[i]), low=None, high=None)
            for name, values in drawn.items()
        }))
        for i in range(draws.samples)
    ]  # fmt: skip
    return np.minimum(np.array(lives) / pulse.width, 1e300)


@dataclass(frozen=True)
class Pace:
    """How much a chip does, and what its cells stand; all drawn.

    Args:
        images_per_day: float64 (samples,).
        limit: cycles that a cell survives; float64 (samples,).
    """

    images_per_day: Floats
    limit: Floats

    @classmethod
    def of(cls, images_per_day: Estimate, limit: Sourced, draws: Draws) -> Pace:
        """Draw both over their ranges.

        Raises:
            InputError: one is not positive.
        """
        for name, value in (("images_per_day", images_per_day.low), ("limit", limit.value)):
            if not value > 0:
                raise InputError(f"{name} = {value:g} must be positive")
        rate = Sourced(images_per_day.value, "1", "of the chip", "derived", images_per_day.low, images_per_day.high)
        return cls(draws.of(rate, "endurance", "images"), draws.of(limit, "endurance", "limit"))

    def wear(
        self, case: Case, what: str, *, cells: int, per_image: Estimate, places: int = 1,
        per_training: Estimate | None = None, oxide: Floats | None = None,
    ) -> Wear:  # fmt: skip
        """Return how long cells last.

        Args:
            case, what, cells, per_image, per_training: see :class:`Wear`.
            places: images that the cells hold side by side, so that each place serves one image of so many.
            oxide: pulses that it survives; float64 (samples,).
        """
        busiest = per_image.high / places
        found = Wear(
            case=case, what=what, cells=cells, per_image=per_image,
            per_day=Estimate.of_draws(busiest * self.images_per_day), per_training=per_training,
            trainings=Estimate.of_draws(self.limit / per_training.high) if per_training and per_training.high else None,
        )  # fmt: skip
        if not busiest:
            return found
        images = self.limit / busiest
        return found.model_copy(update={
            "images": Estimate.of_draws(images),
            "seconds": Estimate.of_draws(DAY * images / self.images_per_day, unit="s"),
            "oxide_seconds": None if oxide is None else Estimate.of_draws(
                DAY * oxide / (busiest * self.images_per_day), unit="s"
            ),
        })  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """What a model asks of the cells: its trace, the random numbers of an image, and those of a training run."""

    trace: NetworkTrace
    image: Job
    training: Job
    run: int


def _asked(model: Pipeline | LoadedModel, steps: int, training_steps: int | None) -> _Asked:
    from voltaspin.diffusion.pipelines import Pipeline
    from voltaspin.memory import trace
    from voltaspin.memory.crossbar.counting import first_tensor

    if isinstance(model, Pipeline):
        run = training_steps or training_size(model)[0]
        return _Asked(trace(model.unet), image_job(model, steps), training_job(model, training_steps, None), run)
    example, run = first_tensor((model.args, model.kwargs)), training_steps or USUAL_STEPS
    if example is None or not example[0].numel():
        raise InputError(f"{model.name}: its example holds no tensor, so that no image has a size; give one that does")
    numbers = example[0].numel()
    image = job("image", f"{steps} draws of {numbers:,} numbers", steps * numbers, cells_per_bit=2)
    each = f"{run:,} steps of {USUAL_BATCH} examples of {numbers:,} numbers"
    return _Asked(model.trace(), image, job("training run", each, run * USUAL_BATCH * numbers, cells_per_bit=2), run)


def model_endurance(
    model: Pipeline | LoadedModel,
    spec: ArraySpec,
    macro: MacroSpec | None = None,
    *,
    steps: int = 50,
    images_per_day: float | None = None,
    limit: Sourced | None = None,
    cells: int = 65536,
    mapping: CellsOfPixels = "fixed",
    cells_per_pixel: int = 31,
    training_steps: int | None = None,
    draws: Draws | None = None,
) -> Endurance:
    """Say which cells of a chip wear out, and when.

    Args:
        model: a pipeline, or any model with an example: its first tensor is taken to be what is drawn at each
            evaluation, and nothing is said of images in place, which need the schedule of a pipeline.
        spec: of the arrays that hold its weights; macro: what they are built of.
        steps: network evaluations of an image.
        images_per_day: of the chip; as many as it can make where None.
        limit: cycles that a cell survives; those of voltage-controlled junctions where None.
        cells: of the memory that draws the random bits; mapping: which of them serve which pixel.
        cells_per_pixel: of an image that diffuses in place.
        training_steps: of a training run; the model's own where None, else 12000.
        draws: of the cost table; a thousand of the package's own where None.

    Raises:
        InputError: a network or chip that cannot be priced, a memory that is too small for an image's bits, or more
            images than the chip makes.
    """
    from voltaspin.device import fair_pulse, presets
    from voltaspin.diffusion.pipelines import Pipeline

    draws, limit = draws or Draws(), limit or LIMITS["vcma"]
    storage, turn = weight_pulse()
    asked = _asked(model, steps, training_steps)
    image, training, run = asked.image, asked.training, asked.run
    network = price_network(
        asked.trace, spec, macro, evaluations=steps, write=CellPulse.of(storage, turn), draws=draws
    ).result
    assert network.throughput is not None
    assert network.mapping is not None
    most = network.throughput.scaled(DAY, "")
    if images_per_day is not None and not 0 < images_per_day <= most.high:
        raise InputError(
            f"images_per_day = {images_per_day:g}: give more than 0 and at most the {number(most.high)} that this chip "
            "makes, or a macro with more arrays"
        )
    rate = most if images_per_day is None else Estimate(images_per_day, images_per_day, images_per_day, level=1.0)
    pace = Pace.of(rate, limit, draws)
    generator = presets.get("generator")
    fair = fair_pulse(generator).pulse
    coin, weight = (oxide_pulses(j, p, draws) for j, p in ((generator, fair), (storage, turn)))
    bits = random_bit_cycles(image, draws=steps, cells=cells, mapping=mapping)
    held = network.mapping
    places = max(1, math.ceil(rate.value / DAY * network.seconds.value))
    turns = math.ceil(held.needed / held.arrays) if held.reloaded else 1  # of weights in one cell
    built = round(held.cells / held.utilisation / held.needed * held.arrays) if held.reloaded else held.cells
    again = f"written again in every evaluation: {held.arrays} arrays hold the weights of {held.needed} in turn"
    once = Estimate(float(run), float(run), float(run), level=1.0)
    cases = [
        pace.wear(
            "random bits", f"two cells to a bit, a reset before each pulse, {mapping} cells of a pixel", cells=cells,
            per_image=bits, per_training=_times_each(bits, training.pulses / image.pulses), oxide=coin,
        ),
        pace.wear("weights", again if held.reloaded else "written once", cells=built,
                  per_image=weight_cycles(held, steps), oxide=weight),
        pace.wear("trained weights", f"written in each of {run:,} training steps", cells=built,
                  per_image=Estimate(0.0, 0.0, 0.0, level=1.0), per_training=_times_each(once, turns)),
    ]  # fmt: skip
    if isinstance(model, Pipeline):
        cases.append(pace.wear(
            "in place", f"{cells_per_pixel} cells for a pixel, {places} images side by side", places=places,
            cells=places * math.prod(model.image_shape) * cells_per_pixel, oxide=coin,
            per_image=inplace_cycles(model, steps=steps, cells_per_pixel=cells_per_pixel),
            per_training=_times_each(once, 2.0),
        ))  # fmt: skip
    return Endurance(
        model=network.mapping.model, limit=limit, images_per_day=rate, cases=tuple(cases), findings=findings(cases),
        paced_by="the throughput of the network, many images in flight" if images_per_day is None else "as given",
        assumptions=(
            "every write, reset and pulse is one cycle of its cell, whatever it changes (assumed)",
            "one endurance for all cells, and no levelling of wear beyond what the design does by itself (assumed)",
            "a training in memory writes every weight at every step; one in place writes the counts of an example and "
            "pulses every cell once, in an array that holds a whole batch",
            f"oxide: power law of breakdown, generator cells at {fair.voltage:.3g} V and storage cells at "
            f"{turn.voltage:.3g} V; the field and time of its anchor are assumed, and their ranges make that of the "
            "lifetime, so that a measured one decides",
            *(() if isinstance(model, Pipeline) else (
                "the first tensor of the example is drawn anew at each evaluation; nothing is said of images in place, "
                "which need the schedule of a pipeline (assumed)",
            )),
        ),
    )  # fmt: skip


def findings(cases: Sequence[Wear]) -> tuple[str, ...]:
    """Say which cells wear out and when, the first to go first."""

    def first(wear: Wear) -> float:
        return min((e.value for e in (wear.seconds, wear.oxide_seconds) if e is not None), default=math.inf)

    said = []
    for wear in sorted(cases, key=first):
        if wear.seconds is None:
            runs = "" if wear.trainings is None else f"; {spread(wear.trainings)} training runs reach the endurance"
            said.append(f"{_CELLS[wear.case]} ({wear.what}) are not worn by images{runs}.")
            continue
        text = f"{_CELLS[wear.case]}: the busiest reaches the endurance after {_times(wear.seconds)}, "
        text += _against_ten_years(wear.seconds)
        if (oxide := wear.oxide_seconds) is not None:
            text += f"; one oxide in a million breaks down after {_times(oxide)}, {_against_ten_years(oxide)}"
        said.append(f"{text}.")
    return tuple(said)


def _times_each(e: Estimate, factor: float) -> Estimate:
    return Estimate(e.value * factor, e.low * factor, e.high * factor, level=e.level)


def _against_ten_years(e: Estimate) -> str:
    if e.high < HORIZON:
        return "within ten years"
    return "beyond ten years" if e.low >= HORIZON else "within or beyond ten years"


def _cells(e: Estimate) -> str:
    return f"{number(e.value)} on average, {number(e.high)} in the busiest"


def _times(e: Estimate) -> str:
    low, high = duration(e.low), duration(e.high)
    return duration(e.value) + (f" ({low} to {high})" if ends(e.low, e.high) else "")
