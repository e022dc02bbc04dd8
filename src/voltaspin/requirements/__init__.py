"""Requirements on a noise device: the specification from a study, and whether a device complies with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.requirements.bits import judge_bits as judge_bits
    from voltaspin.requirements.compliance import Compliance as Compliance
    from voltaspin.requirements.junction import OperatingConditions as OperatingConditions
    from voltaspin.requirements.junction import judge_junction as judge_junction
    from voltaspin.requirements.specification import NoiseSpecification as NoiseSpecification
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
