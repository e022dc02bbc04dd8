"""What the explorer shows: a junction, a pulse, a spread, and how images are sampled, as versioned data.

A state becomes the commands that do the same work, and a condition of a study.
"""

from __future__ import annotations

import shlex
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from voltaspin.core.spec import Spec
from voltaspin.device import Junction, Pulse

JUNCTION_FILE = "junction.json"  #: that a changed junction is exported to


class ExplorerState(Spec):
    """One position of all sliders.

    Args:
        junction: text as of :meth:`Junction.of`: a preset or a file, and changes.
        voltage: of the pulse [V]; width: at half height [s].
        K_eff_spread: standard deviation of K_eff over the cells, as a share [1].
        stray_field_spread: standard deviation of the stray field along z [T].
        k: cells combined by XOR into a bit.
        images: to draw; steps: evaluations of the network for each; sampler: of them.
        seed: of all simulated chance.

    Raises:
        InputError: a junction or a pulse that cannot be, or a spread or count out of range.
    """

    KIND: ClassVar[str] = "explorer-state"
    junction: str = "generator"
    voltage: float = Field(default=1.65, allow_inf_nan=False)
    width: float = Field(default=0.274e-9, gt=0, le=1e-6, allow_inf_nan=False)
    K_eff_spread: float = Field(default=0.05, ge=0, le=0.15, allow_inf_nan=False)
    stray_field_spread: float = Field(default=0.5e-3, ge=0, le=5e-3, allow_inf_nan=False)
    k: int = Field(default=2, ge=1, le=8)
    images: int = Field(default=8, ge=1, le=64)
    steps: int = Field(default=10, ge=2, le=1000)
    sampler: Literal["ddpm", "ddim"] = "ddim"
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _ = self.cell, self.pulse
        return self

    @property
    def cell(self) -> Junction:
        """The junction of a nominal cell."""
        return Junction.of(self.junction)

    @property
    def pulse(self) -> Pulse:
        """The pulse that draws a bit."""
        return Pulse(voltage=self.voltage, width=self.width)

    def of_array(self) -> ExplorerState:
        """Return the same array and pulse with the usual images, which decide nothing about its bits."""
        return self.model_copy(update={name: getattr(ExplorerState(), name) for name in ("images", "steps", "sampler")})

    @property
    def noise(self) -> str:
        """The source in the words of ``--noise``; a changed junction is that of :data:`JUNCTION_FILE`."""
        name = JUNCTION_FILE if "," in self.junction else self.junction
        spread, stray = f"{self.K_eff_spread:.12g}", f"{self.stray_field_spread * 1e3:.12g}mT"
        given = {
            "junction": name, "voltage": f"{self.voltage:.12g}V", "width": f"{self.width * 1e9:.12g}ns",
            "K_eff_spread": spread, "stray_field_spread": stray, "k": str(self.k),
        }  # fmt: skip
        return "memory:" + ",".join(f"{name}={value}" for name, value in given.items())

    def commands(self) -> list[str]:
        """Return command lines that do in full what the views do quickly."""
        cell, noise = shlex.quote(self.junction), shlex.quote(self.noise)
        volts, width = f"{self.voltage:.12g}V", f"{self.width * 1e9:.12g}ns"
        lines = [f"voltaspin device --junction {cell} --voltage {volts} --width {width}"]
        if "," in self.junction:
            lines.append(f"voltaspin device export --junction {cell} --format json --out {JUNCTION_FILE}")
        return [
            *lines,
            f"voltaspin bits --noise {noise} --count 8M --seed {self.seed} --out bits.bin",
            "voltaspin randomness bits.bin",
            f"voltaspin cost --junction {cell} --voltage {volts} --width {width} --cells-per-bit {self.k}",
            f"voltaspin sample --noise {noise} --count {self.images} --steps {self.steps} "
            f"--sampler {self.sampler} --seed {self.seed} --out images",
        ]

    def condition(self) -> dict[str, Any]:
        """Return the condition of a study (``conditions`` of its file) with this noise in sampling."""
        sampling = {} if self.sampler == "ddpm" else {"sampling": {"sampler": self.sampler}}
        return {"sample": self.noise, "steps": self.steps, **sampling}
