"""Networks that are told a class: of which class an image is to be, and guidance towards it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from diffusers import UNet2DModel
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.spec import Spec

FILE = "classes.json"  #: of a model's folder


class ClassSpec(Spec):
    """The classes of a model.

    Args:
        classes: how many.
        unconditional: whether it was also trained on images whose class was withheld, which guidance needs.
    """

    KIND: ClassVar[str] = "class-model"
    classes: int = Field(gt=0, le=10**6)
    unconditional: bool = True


def classes_of_model(folder: Path) -> ClassSpec | None:
    """Return what a model's folder says of its classes; None for a model that is told none."""
    return ClassSpec.load(folder / FILE) if (folder / FILE).is_file() else None


@dataclass(frozen=True)
class Told:
    """The class that the network is told of each image.

    Args:
        spec: of the model.
        label: of every image; ``"all"``: the classes in turn, by the number of the image; None: none, so that the
            class is left to the model.
        guidance: output with a class less that without one, times this, plus that without one [1]. 1 is no guidance.

    Raises:
        InputError: a class that the model does not have, or guidance that it cannot give.

    Source: J. Ho and T. Salimans, arXiv 2207.12598 (2022), whose w is guidance - 1.
    """

    spec: ClassSpec
    label: int | Literal["all"] | None = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        known, label = self.spec.classes, self.label
        if not (label in (None, "all") or (isinstance(label, int) and 0 <= label < known)):
            raise InputError(f"label = {label!r} is no class of this model; give 0 to {known - 1}, or all")
        if not 0 <= self.guidance <= 100:
            raise InputError(f"guidance = {self.guidance!r} must lie from 0 to 100; 1 is no guidance")
        if label is None and self.guidance != 1:
            raise InputError(f"guidance = {self.guidance:g} is towards a class; give label= too")
        if not self.spec.unconditional and (label is None or self.guidance != 1):
            raise InputError(
                "this model was trained with the class of every image (label_dropout = 0), so it needs label= and has "
                "no guidance"
            )

    @classmethod
    def of(cls, spec: ClassSpec | None, label: int | str | None, guidance: float | None) -> Told | None:
        """Return what a model is told, from a number or ``"all"`` as a text; None for a model without classes.

        Raises:
            InputError: as the class; a label or guidance for a model without classes.
        """
        if spec is None:
            if label is not None or guidance is not None:
                given = f"label = {label}" if label is not None else f"guidance = {guidance:g}"
                raise InputError(f"{given}: this model is told no class; leave it out, or train one with labels = true")
            return None
        if isinstance(label, str) and label.isascii() and label.isdecimal():
            label = int(label)
        return cls(spec, label, 1.0 if guidance is None else guidance)  # type: ignore[arg-type]

    @property
    def passes(self) -> int:
        """How often the network computes for one evaluation: with and without the class, where there is guidance."""
        return 1 if self.guidance == 1 else 2

    def output(self, unet: UNet2DModel, x: torch.Tensor, t: int | torch.Tensor, first: int) -> torch.Tensor:
        """Return the network's output for the images from number ``first`` on."""
        nothing = torch.full((len(x),), self.spec.classes, device=x.device)
        if self.label is None:
            return unet(x, t, class_labels=nothing).sample
        if self.label == "all":
            labels = torch.arange(first, first + len(x), device=x.device) % self.spec.classes
        else:
            labels = torch.full((len(x),), self.label, device=x.device)
        if self.guidance == 1:
            return unet(x, t, class_labels=labels).sample
        both = unet(torch.cat([x, x]), t, class_labels=torch.cat([labels, nothing])).sample
        of_class, without = both.chunk(2)
        return without + self.guidance * (of_class - without)
