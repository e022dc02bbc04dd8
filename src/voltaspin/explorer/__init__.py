"""The explorer: a junction, its pulse and its spread on sliders, and what follows from them.

``voltaspin explore`` opens it in a browser (extra ``explore``). The views work without it, in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.explorer.state import ExplorerState as ExplorerState
    from voltaspin.explorer.views import BitView as BitView
    from voltaspin.explorer.views import PriceView as PriceView
    from voltaspin.explorer.views import SwitchingView as SwitchingView
    from voltaspin.explorer.views import bit_view as bit_view
    from voltaspin.explorer.views import image_view as image_view
    from voltaspin.explorer.views import price_view as price_view
    from voltaspin.explorer.views import switching_view as switching_view
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
