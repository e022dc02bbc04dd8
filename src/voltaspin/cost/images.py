"""The random numbers of one image, by bits that flip in place and by a Gaussian sampler of as many evaluations.

The network's own arithmetic is the same in both and left out. Bytes that are moved: a Gaussian sampler moves for each
evaluation the state to the network and back, float32, and for each number the 16 bits that it is made of, from the
array. A bit-flip sampler moves the bits to the network, the number of its pulse back for each cell, and with
self-conditioning a byte for each bit to a buffer and back. A byte costs an eighth of a 64-bit access to 32 KB of SRAM,
at the macro only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.format import energies, spread
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Estimate, Grade
from voltaspin.core.result import Boundary, Result
from voltaspin.cost.jobs import BITS, job
from voltaspin.cost.pricing import Draws, Prices, picojoules, price
from voltaspin.cost.table import BOUNDARIES, CellPulse
from voltaspin.device import Junction, Pulse, SwitchingModel

if TYPE_CHECKING:
    from voltaspin.diffusion.bitflip.sampling import BitSamples

_STATE = 4  # bytes of a number of the sampler's state
_ACCESS = 8  # of one access that the table prices


class ImageWork(Result):
    """The work for one image, network apart. Energies [pJ] are medians with 90 % intervals.

    Args:
        name: of the sampler.
        evaluations: of the network.
        random_bits: decided by chance: pulses whose outcome is one, or conditioned bits.
        pulses, resets, reads, xors, lookups: counts.
        bytes_moved: between the array, the network and the sampler's state.
        energy: of everything counted but the bytes, by boundary.
        moving: of the bytes, at the macro.
        over: energy over that of the first sampler, by boundary; ``with bytes`` at the macro with them.
        grade: the weakest number behind it.
    """

    KIND: ClassVar[str] = "image-work"
    name: str
    evaluations: int
    random_bits: float
    pulses: float
    resets: float
    reads: float
    xors: float
    lookups: float
    bytes_moved: float
    energy: dict[Boundary, Estimate]
    moving: Estimate
    over: dict[str, Estimate]
    grade: Grade = "assumed"


def mean_pulse(junction: Junction, pulses: Sequence[tuple[str, float, float]], ledger: Ledger) -> CellPulse:
    """Return the pulse that stands for all that a memory's ledger counts.

    Args:
        junction: of the cells.
        pulses: (name of the child that counts it, voltage [V], width [s]).
        ledger: of the memory.

    Raises:
        InputError: pulses were counted that are not among them.
    """
    counts = [ledger.child(name).total("pulse") for name, _, _ in pulses]
    total = ledger.total("pulse")
    if not total or sum(counts) != total:
        raise InputError(f"{total - sum(counts)} of {total} pulses have no voltage and width; they cannot be priced")
    cells = [CellPulse.of(junction, Pulse(voltage=V, width=w)) for _, V, w in pulses]
    square, ohmic, charging = np.array(counts) / total @ [(c.voltage**2, c.ohmic, c.charging) for c in cells]
    return CellPulse(voltage=math.sqrt(square), ohmic=float(ohmic), charging=float(charging))


def image_costs(samples: BitSamples, junction: Junction, *, draws: Draws | None = None) -> tuple[ImageWork, ...]:
    """Price an image of a bit-flip run, and of Gaussian samplers at as many evaluations, of two cells to a bit and one.

    Args:
        samples: of the run.
        junction: of its cells; the Gaussian samplers take the shipped pulse of the generator.
        draws: of the cost table, which all samplers share; a thousand of the package's own where None.

    Raises:
        InputError: pulses of ideal cells, which have no price.
    """
    draws = draws or Draws()
    n, steps = len(samples.images), samples.steps
    memory = samples.ledger.child("memory")
    pulse = mean_pulse(junction, samples.pulses, memory)
    flips = {a: memory.total(a) / n for a in ("pulse", "read", "xor", "lookup")} | {"reset": memory.total("write") / n}
    own = Prices.of(junction, pulse, draws=draws)
    byte = draws["SRAM 32 KB"] / _ACCESS
    first = {b: own.total(flips, b) for b in BOUNDARIES}
    first_bytes = samples.ledger.total("byte") / n

    def work(name: str, bits: float, counts: Mapping[str, float], moved: float, prices: Prices) -> ImageWork:
        totals = {b: prices.total(counts, b) for b in BOUNDARIES}
        over = {str(b): Estimate.of_draws(totals[b] / first[b]) for b in BOUNDARIES}
        both = (totals["macro"] + moved * byte) / (first["macro"] + first_bytes * byte)
        return ImageWork(
            name=name, evaluations=steps, random_bits=bits, pulses=counts["pulse"], resets=counts["reset"],
            reads=counts["read"], xors=counts["xor"], lookups=counts["lookup"], bytes_moved=moved,
            energy=price(counts, prices), moving=picojoules(moved * byte),
            over={**over, "with bytes": Estimate.of_draws(both)},
        )  # fmt: skip

    model = SwitchingModel.shipped()
    assert model.junction is not None, "the shipped model knows its junction"
    assert model.pulse is not None, "and its pulse"
    fair = Prices.of(model.junction, model.pulse, draws=draws)
    works = [work("bit-flip", flips["pulse"], flips, first_bytes, own)]
    numbers = steps * math.prod(samples.images.shape[1:])
    for name, cells in (("Gaussian, XOR of two cells", 2), ("Gaussian, raw bits", 1)):
        g = job("image", name, numbers, cells_per_bit=cells)
        works.append(work(name, g.bits, g.counts, numbers * 2 * _STATE + numbers * BITS // 8, fair))
    return tuple(works)


def image_costs_text(works: Sequence[ImageWork]) -> str:
    """Return a table in Markdown."""
    counted = ("random bits", "pulses", "resets", "reads", "bytes moved")
    rows = [
        ("network evaluations", [f"{w.evaluations}" for w in works]),
        *((name, [f"{getattr(w, name.replace(' ', '_')):,.0f}" for w in works]) for name in counted),
        *((f"energy, {b}", [energies(w.energy[b]) for w in works]) for b in BOUNDARIES),
        ("energy of the bytes", [energies(w.moving) for w in works]),
        *((f"energy over bit-flip's, {b}", [spread(w.over[b]) for w in works]) for b in (*BOUNDARIES, "with bytes")),
    ]
    lines = ["| per image | " + " | ".join(w.name for w in works) + " |", f"|{' --- |' * (1 + len(works))}"]
    return "\n".join(lines + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows])
