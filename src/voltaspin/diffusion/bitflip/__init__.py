"""Binary images that flip in the array that stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.diffusion.bitflip.backward import reverse as reverse
    from voltaspin.diffusion.bitflip.process import Process as Process
    from voltaspin.diffusion.bitflip.process import from_planes as from_planes
    from voltaspin.diffusion.bitflip.process import to_planes as to_planes
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
