"""What a model of switching probabilities is: what it may be told, and what its fit answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from voltaspin.device.fit.data import Floats, SwitchingData
from voltaspin.device.fit.likelihood import FitResult
from voltaspin.device.junction import Junction


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a model may be told.

    Args:
        constants: ``tau_0`` and ``tau_D`` [s], where they are known.
        free, degree, spin_torque, quick, progress, on_quick: of the macrospin, as
            :func:`voltaspin.device.fit.switching.fit_switching` takes them.
    """

    constants: Mapping[str, float] = field(default_factory=dict)
    free: Sequence[str] | None = None
    degree: int | None = None
    spin_torque: bool = False
    quick: bool = False
    progress: Callable[[int, None, float], None] | None = None
    on_quick: Callable[[FitResult], None] | None = None


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """A model with its parameters.

    Args:
        word: key of :data:`MODELS`.
        result: parameters with errors and the judgement.
        predict: P_sw of every row of data sets.
        outside: rows at which the model does not hold.
        fixed: what was not fitted, in SI.
    """

    word: str
    result: FitResult
    predict: Callable[[Sequence[SwitchingData]], Floats]
    outside: int = 0
    fixed: Mapping[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that were fitted."""
        return self.result.dof + len(self.result.parameters)

    @property
    def AICc(self) -> float | None:
        """Akaike's criterion, corrected for few rows; None where nobody counted, or too few rows are left.

        Source: C. M. Hurvich, C.-L. Tsai, Biometrika 76, 297 (1989).
        """
        k, n, likelihood = len(self.result.parameters), self.rows, self.result.log_likelihood
        return None if likelihood is None or n <= k + 1 else -2 * likelihood + 2 * k + 2 * k * (k + 1) / (n - k - 1)


class Model(ABC):
    """A model of switching probabilities.

    ``title`` and ``law`` say what it is, ``valid`` where it holds, ``source`` who derived it.
    """

    title: ClassVar[str]
    law: ClassVar[str]
    valid: ClassVar[str]
    source: ClassVar[str]
    quick: ClassVar[bool] = True

    @abstractmethod
    def fit(self, word: str, sets: Sequence[SwitchingData], start: Junction, settings: Settings) -> FittedModel:
        """Fit the model to data sets.

        Args:
            word: its key.
            sets: the data.
            start: the junction at which a macrospin starts, and whose relaxation time stands in where one width tells
                none.
            settings: what it may be told.

        Raises:
            InputError: data that do not determine the parameters.
        """
