"""What all results are made of: frozen pieces of versioned data, a value with its interval, and their small words."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict

from voltaspin.core.spec import Spec

Boundary = Literal["cell", "cell+line", "macro"]
Provenance = Literal["simulated", "recorded", "instrument", "operating system", "pseudo"]
Numbers = tuple[float, ...]


class Part(Spec):
    """A piece of the results: frozen, closed to unknown fields, finite numbers only."""

    KIND: ClassVar[str] = "part"
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
