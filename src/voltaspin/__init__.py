"""Voltaspin runs diffusion models on voltage-controlled magnetic memory.

``import voltaspin`` costs milliseconds: a package is loaded when one of its names is first used.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.core.context import RunContext as RunContext
    from voltaspin.core.errors import InputError as InputError
    from voltaspin.core.errors import NoiseExhaustedError as NoiseExhaustedError
    from voltaspin.core.ledger import Ledger as Ledger
    from voltaspin.core.progress import progress as progress
    from voltaspin.core.quantity import Sourced as Sourced
    from voltaspin.cost import price as price
    from voltaspin.device import Junction as Junction
    from voltaspin.device import Pulse as Pulse
    from voltaspin.device import SwitchingModel as SwitchingModel
    from voltaspin.device import presets as presets
    from voltaspin.diffusion import load_images as load_images
    from voltaspin.diffusion import sample as sample
    from voltaspin.diffusion import train as train
    from voltaspin.memory import MagnetoelectricMemory as MagnetoelectricMemory
    from voltaspin.metrics import evaluate as evaluate
    from voltaspin.noise import MemorySource as MemorySource
    from voltaspin.noise import PseudoSource as PseudoSource
    from voltaspin.noise import RecordedSource as RecordedSource
    from voltaspin.whole_chain import demo as demo

    __version__: str
else:
    _get, _dir, _names = attach(__name__, __file__)
    __all__ = [*_names, "__version__"]

    def __getattr__(name: str) -> Any:
        return version("voltaspin") if name == "__version__" else _get(name)

    def __dir__() -> list[str]:
        return __all__
