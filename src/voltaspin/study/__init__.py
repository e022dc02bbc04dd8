"""Studies: many conditions times seeds, each run once, kept, and compared with the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.study.runner import execute as execute
    from voltaspin.study.specification import Condition as Condition
    from voltaspin.study.specification import Run as Run
    from voltaspin.study.specification import StudySpec as StudySpec
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
