"""Examine bits: the battery of SP 800-22, estimates of min-entropy, and a verdict on every bit of a recording.

Read in this order: ``randomness.py`` asks everything at once and gives the verdict. ``sp800_22.py`` tests one sequence,
and ``randomness.py`` many. ``entropy.py`` estimates min-entropy, and ``entropy_limits.py`` says which estimates ideal
bits get. ``whole.py`` reads a recording of any length, with the counts of ``whole_parts.py``. ``kernels.py`` holds the
compiled loops. ``cells.py`` examines each cell of an array that is read in turn: it counts, ``cell_tests.py`` has the
estimates and P-values, ``cell_period.py`` says whether the number of cells is right, ``cell_result.py`` is the result.
``statistics.py`` is apart: bias and autocorrelation of an array of cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.noise.examination import entropy as entropy
    from voltaspin.noise.examination import sp800_22 as sp800_22
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
