"""Instruments on the bench: a profile says how one is asked, a session talks to it, a sweep measures with it.

``profile.py`` is the TOML file, ``session.py`` the connection through PyVISA, ``answers.py`` reads what comes back, and
``sweep.py`` measures switching probabilities into a table. Bits of an instrument are a source of
:mod:`voltaspin.noise`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.lab.profile import Bits as Bits
    from voltaspin.lab.profile import Profile as Profile
    from voltaspin.lab.profile import Pulses as Pulses
    from voltaspin.lab.session import InstrumentError as InstrumentError
    from voltaspin.lab.session import Session as Session
    from voltaspin.lab.sweep import MeasuredSweep as MeasuredSweep
    from voltaspin.lab.sweep import measure as measure
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
