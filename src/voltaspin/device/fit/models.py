"""Models of switching probabilities that a fit compares: one class and one entry of :data:`MODELS` each.

The closed formulas (:mod:`voltaspin.device.fit.analytic`) come first. The macrospin solution comes last; it takes a
minute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voltaspin.device.density import least_degree
from voltaspin.device.fit import switching
from voltaspin.device.fit.analytic import LinearBarrier, Precessional, SpinOrbitBarrier, SquareBarrier
from voltaspin.device.fit.data import Floats, SwitchingData
from voltaspin.device.fit.model import FittedModel, Model, Settings
from voltaspin.device.fit.predictions import predictions
from voltaspin.device.junction import Junction


class Macrospin(Model):
    """The Fokker-Planck solution of the voltage-controlled macrospin."""

    title = "macrospin whose anisotropy falls with the voltage (VCMA)"
    law = "Fokker-Planck solution of one macrospin"
    valid = "coherent reversal, below a diameter of 40 to 50 nm"
    source = "voltaspin.device.fokker_planck"
    quick = False

    def fit(self, word: str, sets: Sequence[SwitchingData], start: Junction, settings: Settings) -> FittedModel:
        """As :meth:`Model.fit`."""
        result = switching.fit_switching(
            list(sets), start, free=tuple(settings.free or switching.DEFAULT), degree=settings.degree,
            spin_torque=settings.spin_torque, quick=settings.quick, progress=settings.progress,
            on_quick=settings.on_quick,
        )  # fmt: skip
        junction = result.junction
        assert junction is not None  # a macrospin has one

        def predict(asked: Sequence[SwitchingData]) -> Floats:
            degree = settings.degree or least_degree(junction)
            return np.asarray(predictions([junction], asked, degree=degree, spin_torque=settings.spin_torque)[0])

        return FittedModel(word=word, result=result, predict=predict)


#: The models that a fit compares, in the order in which they are fitted.
MODELS: dict[str, Model] = {
    "thermal": LinearBarrier(),
    "thermal-field": SquareBarrier(),
    "sot": SpinOrbitBarrier(),
    "stt": Precessional(),
    "vcma": Macrospin(),
}
