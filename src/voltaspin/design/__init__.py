"""Design exploration: quality, energy, time and area of networks in arrays over a space of choices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.design.feasible import check_space as check_space
    from voltaspin.design.result import DesignPoint as DesignPoint
    from voltaspin.design.result import DesignResult as DesignResult
    from voltaspin.design.result import nondominated as nondominated
    from voltaspin.design.search import explore as explore
    from voltaspin.design.space import DesignSpace as DesignSpace
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
