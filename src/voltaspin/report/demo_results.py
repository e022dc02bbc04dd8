"""The results of a demo: the parts of the packages that made them, in ``results.json`` and on the page."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import AliasChoices, Field, model_validator

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object
from voltaspin.core.result import Part, Result
from voltaspin.cost.comparison import Cost
from voltaspin.cost.images import ImageWork
from voltaspin.cost.old_files import cost_of_version_1
from voltaspin.device.pulse_check import PulseCheck
from voltaspin.diffusion.conditions import Condition, Forward
from voltaspin.metrics.conditions import ConditionComparison
from voltaspin.noise.examination.statistics import ArrayBits


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


class InPlace(Part):
    """Images in place.

    Args:
        cells_per_pixel: N; ``cells``: of an image; ``junction``: of the cells.
        images, steps: how many, and network evaluations of each.
        coin: probability of a one after the fair pulse.
        toggles: cells of an image that had to be flipped for certain.
        times: of the schedule, as the strips show them.
        works: an image in place, and Gaussian ones beside it.
    """

    cells_per_pixel: int
    cells: int
    junction: str
    images: int
    steps: int
    coin: float
    toggles: float
    times: tuple[int, ...]
    works: tuple[ImageWork, ...]


class QualityPair(Part):
    """The small comparison of this run beside the larger one that ships with the package."""

    live: ConditionComparison
    study: ConditionComparison | None = None
    study_reason: str = ""


class DemoResults(Result):
    """Results of one run of the demo.

    Args:
        title: one sentence for the head of the page.
        command, seed: what made it.
        configuration: the resolved configuration, as JSON data.
        seconds: wall time per part.
        device, memory, forward, reverse, quality, cost: the parts of the run; ``in_place``: None in those of 0.1.0.
    """

    KIND: ClassVar[str] = "demo-results"
    VERSION: ClassVar[int] = 2

    title: str
    command: str
    seed: int
    configuration: dict[str, Any]
    seconds: dict[str, float]
    device: PulseCheck
    memory: ArrayBits
    forward: Forward
    reverse: Reverse
    in_place: InPlace | None = None
    quality: QualityPair
    cost: Cost

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """As :meth:`Result.from_json`; version 1 is read too."""
        data = as_object(data, where=where)
        if data.get("kind") == cls.KIND and data.get("schema_version") == 1 and isinstance(data.get("cost"), dict):
            try:
                named = {k: {"environment": {}, **v} if k in ("live", "study") and v else v
                         for k, v in data["quality"].items()}  # fmt: skip
                cost = cost_of_version_1(data["cost"])
            except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
                said = f"{type(error).__name__}: {error}"
                raise InputError(f"{where} is no file of the version that it names ({said})") from None
            data = data | {"quality": named, "cost": cost, "schema_version": cls.VERSION}
        return super().from_json(data, where=where)

    @property
    def provenance(self) -> dict[str, str]:
        """Where the noise of each condition came from."""
        return {c.key: c.provenance for c in self.reverse.conditions}
