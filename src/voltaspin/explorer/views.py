"""The views of the explorer: switching curve, bits with their tests, price, images; each a function of the state."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.format import energies, quantity, spread
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Boundary, Numbers, Result, Unit
from voltaspin.cost.pricing import Prices, price
from voltaspin.cost.table import Draws
from voltaspin.device import FokkerPlanck, Protocol, SwitchingModel
from voltaspin.explorer.state import ExplorerState
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.noise import MemorySource, sp800_22
from voltaspin.noise.examination.p_values import SIGNIFICANCE

WIDTHS = 50  #: of a switching curve
BITS = 2**17  #: that are tested
_SOLUTIONS = 24  # of the switching model of an array: a second, where the full one takes a minute
_REACH = 5.0  # standard deviations of the cells that the model covers; 65,536 cells reach 4.4
_SAMPLES = 400  # draws of the cost table
_PIXELS, _BITS_PER_NUMBER = 784, 16  # of an image of the shipped model


class SwitchingView(Result):
    """Switching probability of the nominal cell against the width of the pulse.

    Args:
        junction: its text.
        voltage: of all pulses.
        widths: of the curve; p01, p10: probability to leave 0 and 1.
        error: largest change of any point from a lower degree of the solver.
        width: of the chosen pulse; p01_at, p10_at: there, with that error as their range.
    """

    KIND: ClassVar[str] = "switching-view"
    junction: str
    voltage: Annotated[float, Unit("V")]
    widths: Annotated[Numbers, Unit("s")]
    p01: Numbers
    p10: Numbers
    error: float
    width: Annotated[float, Unit("s")]
    p01_at: Estimate
    p10_at: Estimate

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people."""
        return [
            ("pulse", f"{self.voltage:.4g} V for {quantity(self.width, 's')}"),
            ("P(0 to 1)", f"{self.p01_at.value:.4f} (numerical error at most {self.error:.1g})"),
            ("P(1 to 0)", f"{self.p10_at.value:.4f}"),
        ]


class BitView(Result):
    """Bits of an array of such cells, and what the tests of SP 800-22 say.

    Args:
        bits: tested; ones: share of them, with the 95 % interval of independent bits.
        cell_low, cell_high: smallest and largest long-run share of ones of a cell.
        passed, judged: P-values of at least :data:`SIGNIFICANCE`, and P-values in all; failed: names of the others.
        model_error: root mean square error of the cells' probabilities, on solutions that were held out.
        source: who drew the bits.
    """

    KIND: ClassVar[str] = "bit-view"
    bits: int
    ones: Estimate
    cell_low: float
    cell_high: float
    passed: int
    judged: int
    failed: tuple[str, ...]
    model_error: float
    source: str

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people."""
        expected = SIGNIFICANCE * self.judged
        return [
            ("share of ones", f"{self.ones.value:.5f} ({self.ones.low:.5f} to {self.ones.high:.5f})"),
            ("single cells", f"from {self.cell_low:.4f} to {self.cell_high:.4f}, before XOR"),
            ("SP 800-22", f"{self.passed} of {self.judged} P-values at least {SIGNIFICANCE}; perfect bits miss "
             f"{expected:.1f} on average"),
            *([("below", ", ".join(self.failed))] if self.failed else []),
            ("bits tested", f"{self.bits:,}, simulated: pseudo-random underneath"),
            ("error of the cells' model", f"{self.model_error:.1g} as a probability, root mean square"),
        ]  # fmt: skip


class PriceView(Result):
    """Energy and area of such bits: medians with 90 % ranges over the cost table.

    Args:
        per_bit: energy [pJ], by boundary.
        per_image: random numbers of an image [pJ], at the macro; numbers: that it takes.
        area: of the array of 65,536 cells.
    """

    KIND: ClassVar[str] = "price-view"
    per_bit: dict[Boundary, Estimate]
    per_image: Estimate
    numbers: int
    area: Annotated[Estimate, Unit("um^2")]

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people."""
        return [
            *((f"a bit, {boundary}", energies(e)) for boundary, e in self.per_bit.items()),
            (f"an image, {self.numbers:,} Gaussian numbers, macro", energies(self.per_image)),
            ("area of the array", spread(self.area, 1.0, "µm²")),
        ]


@lru_cache(maxsize=64)
def _curves(junction: str, voltage: float, width: float) -> tuple[NDArray[np.float64], ...]:
    """Widths, the chosen one among them, p01 and p10 there, and the largest error."""
    cell = ExplorerState(junction=junction).cell
    reach = max(2.5e-9, 1.5 * width)
    widths = np.unique(np.append(np.linspace(0, reach, WIDTHS + 1)[1:], width))
    wells = Protocol().wells(cell)
    maps = [FokkerPlanck(threads=1).map(cell, [voltage], widths, Protocol(well)) for well in wells]
    return widths, maps[0].P_sw[0], maps[-1].P_sw[0], np.array([m.error.max() for m in maps])


def switching_view(state: ExplorerState) -> SwitchingView:
    """Return the switching curves of the nominal cell, both ways, and the chosen pulse on them.

    Args:
        state: of the explorer.

    Raises:
        InputError: as :func:`voltaspin.device.fokker_planck.switching_map`.
    """
    widths, p01, p10, errors = _curves(state.junction, state.voltage, state.width)
    error, here = float(errors.max()), int(np.searchsorted(widths, state.width))

    def at(p: NDArray[np.float64]) -> Estimate:
        value = float(p[here])
        return Estimate(value, max(value - error, 0.0), min(value + error, 1.0), level=1.0)

    return SwitchingView(
        junction=state.junction, voltage=state.voltage, widths=tuple(map(float, widths)), p01=tuple(map(float, p01)),
        p10=tuple(map(float, p10)), error=error, width=state.width, p01_at=at(p01), p10_at=at(p10),
    )  # fmt: skip


@lru_cache(maxsize=16)
def _model(junction: str, voltage: float, width: float, K_eff: float, B_z: float) -> SwitchingModel:
    state = ExplorerState(junction=junction, voltage=voltage, width=width)
    if state.cell.terms:
        raise InputError(
            f"{junction}: the model of cells with {', '.join(state.cell.terms)} takes minutes; take bits of "
            "noise.build('memory:junction=...') in its place"
        )
    return SwitchingModel.from_fokker_planck(
        state.cell, state.pulse, K_eff=K_eff, B_z=B_z, xi=0, diameter=0, RA=0, solutions=_SOLUTIONS, cached=False
    )


def source_of(state: ExplorerState) -> MemorySource:
    """Return the noise of an array of such cells, without resets between pulses.

    Raises:
        InputError: a junction with further terms, or as :meth:`SwitchingModel.from_fokker_planck`.
    """
    K_eff, B_z = max(_REACH * state.K_eff_spread, 0.02), max(_REACH * state.stray_field_spread, 1e-4)
    model = _model(state.junction, state.voltage, state.width, K_eff, B_z)
    memory = MagnetoelectricMemory(
        model=model, K_eff_spread=state.K_eff_spread, stray_field_spread=state.stray_field_spread, seed=state.seed
    )
    return MemorySource(memory=memory, seed=state.seed, k=state.k)


def bit_view(state: ExplorerState) -> BitView:
    """Return bits of the array and what tests say of them; see :func:`source_of` for errors."""
    return _bits(state.of_array())


@lru_cache(maxsize=16)
def _bits(state: ExplorerState) -> BitView:
    source = source_of(state)
    bits = np.unpackbits(source.bits(BITS), count=BITS)
    tests = sp800_22.run(bits)
    judged, failed = len(tests.applied), tests.below
    p01, p10 = source.memory.p01, source.memory.p10
    share, p = p01 / (p01 + p10), float(bits.mean())
    return BitView(
        bits=BITS, ones=Estimate.normal(p, math.sqrt(p * (1 - p) / BITS), n=BITS), cell_low=float(share.min()),
        cell_high=float(share.max()), passed=judged - len(failed), judged=judged,
        failed=tuple(dict.fromkeys(t.name for t in failed)), model_error=source.memory.model.fit_error,
        source=source.provenance.description,
    )  # fmt: skip


def price_view(state: ExplorerState) -> PriceView:
    """Return what such bits cost: ``k`` pulses and reads for each, and no reset."""
    draws = Draws(samples=_SAMPLES)
    prices = Prices.of(state.cell, state.pulse, draws=draws)
    numbers = _PIXELS * (state.steps if state.sampler == "ddpm" else 1)
    bit = {"pulse": state.k, "read": state.k, "xor": state.k - 1}
    image = {name: n * numbers * _BITS_PER_NUMBER for name, n in bit.items()} | {"lookup": numbers}
    return PriceView(
        per_bit=price(bit, prices), per_image=price(image, prices)["macro"], numbers=numbers,
        area=Estimate.of_draws(1e12 * prices.area["macro"], unit="um^2"),
    )  # fmt: skip


def image_view(state: ExplorerState) -> NDArray[np.uint8]:
    """Draw images of the shipped model with that noise; uint8 (images, 1, 28, 28).

    Raises:
        InputError: as :func:`source_of`.
    """
    from voltaspin.diffusion import load_pipeline, sample, shipped_model

    pipeline = load_pipeline(shipped_model())
    return sample(pipeline, source_of(state), count=state.images, steps=state.steps, sampler=state.sampler).images
