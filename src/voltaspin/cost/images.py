"""An image that diffuses in the array, priced beside Gaussian samplers of as many evaluations.

Bytes that are moved: a Gaussian sampler moves for each evaluation the state to the network and back, float32, and for
each number the 16 bits that it is made of, from the array. A sampler in place moves the counts to the network and the
state of each cell between the controller and its memory, and tells each pulse its cell and its kind. A byte costs an
eighth of a 64-bit access to 32 KB of SRAM, at the macro only. The arithmetic of the network is the same for all and
stands beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.format import energies, spread
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Estimate, Grade
from voltaspin.core.result import Boundary, Result
from voltaspin.cost.jobs import ARRAY, BITS, job
from voltaspin.cost.network import priced_network
from voltaspin.cost.pricing import BOUNDARIES, CellPulse, Prices, picojoules, price, random_pulse
from voltaspin.cost.table import Draws, Floats
from voltaspin.device import Junction, Pulse
from voltaspin.memory import ArraySpec

if TYPE_CHECKING:
    from voltaspin.diffusion.inplace.sampling import InPlaceSamples
    from voltaspin.diffusion.pipelines import Pipeline

_STATE = 4  # bytes of a number of the sampler's state
_ACCESS = 8  # of one access that the table prices


def sampler_bytes(normals: int) -> int:
    """Return the bytes that a Gaussian sampler moves for so many numbers: its state, read and written, and the bits."""
    return normals * 2 * _STATE + normals * BITS // 8


def byte_price(draws: Draws) -> Floats:
    """Return the energy [J] of a byte between a memory of the sampler's size and its use; float64 (samples,)."""
    return draws["SRAM 32 KB"] / _ACCESS


def counts_in_place(samples: InPlaceSamples) -> dict[str, float]:
    """Return the counted actions of the array for one image; a certain write costs what a reset does."""
    memory, n = samples.ledger.child("memory"), len(samples.images)
    return {a: memory.total(a) / n for a in ("pulse", "read", "xor", "lookup")} | {"reset": memory.total("write") / n}


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
        whole: with the bytes and the network's arithmetic, at the macro, by where that is done.
        over: energy over that of the first sampler, by boundary; ``with bytes`` at the macro with them, and ``with
            bytes and network in ...`` of the whole image.
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
    whole: dict[str, Estimate] = Field(default_factory=dict)
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


def image_costs(
    samples: InPlaceSamples,
    junction: Junction,
    *,
    networks: Mapping[str, Floats] | None = None,
    draws: Draws | None = None,
) -> tuple[ImageWork, ...]:
    """Price an image that diffused in an array, and Gaussian samplers (two cells to a bit, and one) at as many steps.

    Args:
        samples: of the run.
        junction: of its cells; the Gaussian samplers take the shipped pulse of the generator.
        networks: drawn energy [J] of an image's arithmetic by where it is done; float64 (samples,).
        draws: of the cost table, which all samplers share; a thousand of the package's own where None.

    Raises:
        InputError: pulses of ideal cells, which have no price.
    """
    draws, networks = draws or Draws(), networks or {}
    n, steps = len(samples.images), samples.steps
    pulse = mean_pulse(junction, samples.pulses, samples.ledger.child("memory"))
    own_counts = counts_in_place(samples)
    own = Prices.of(junction, pulse, draws=draws)
    byte, fair = byte_price(draws), Prices.of(*random_pulse(), draws=draws)
    numbers = steps * math.prod(samples.images.shape[1:])
    asked = [("in place", samples.random_bits, own_counts, samples.ledger.total("byte") / n, own)]
    for name, cells in (("Gaussian, XOR of two cells", 2), ("Gaussian, raw bits", 1)):
        g = job("image", name, numbers, cells_per_bit=cells)
        asked.append((name, g.bits, g.counts, sampler_bytes(numbers), fair))
    works, first = [], dict[str, Floats]()
    for name, bits, counts, moved, prices in asked:
        totals: dict[str, Floats] = {str(b): prices.total(counts, b) for b in BOUNDARIES}
        totals["with bytes"] = totals["macro"] + moved * byte
        whole = {where: totals["with bytes"] + energy for where, energy in networks.items()}
        totals |= {f"with bytes and network in {where}": energy for where, energy in whole.items()}
        first = first or totals
        works.append(ImageWork(
            name=name, evaluations=steps, random_bits=bits, pulses=counts["pulse"], resets=counts["reset"],
            reads=counts["read"], xors=counts["xor"], lookups=counts["lookup"], bytes_moved=moved,
            energy=price(counts, prices), moving=picojoules(moved * byte),
            whole={where: picojoules(energy) for where, energy in whole.items()},
            over={b: Estimate.of_draws(energy / first[b]) for b, energy in totals.items()},
        ))  # fmt: skip
    return tuple(works)


def whole_image_costs(
    samples: InPlaceSamples, pipeline: Pipeline, junction: Junction, *, draws: Draws | None = None
) -> tuple[ImageWork, ...]:
    """As :func:`image_costs`, with the arithmetic of the pipeline's network on a digital machine and in crossbars."""
    draws, passes = draws or Draws(), round(samples.per_image["evaluation"])  # with guidance two for each step
    network = priced_network(pipeline, ArraySpec.preset(ARRAY), steps=passes, array=ARRAY, draws=draws)
    return image_costs(samples, junction, networks=network.by_machine(), draws=draws)


def image_costs_text(works: Sequence[ImageWork]) -> str:
    """Return a table in Markdown."""
    counted = ("random bits", "pulses", "resets", "reads", "bytes moved")
    rows = [
        ("network evaluations", [f"{w.evaluations}" for w in works]),
        *((name, [f"{getattr(w, name.replace(' ', '_')):,.0f}" for w in works]) for name in counted),
        *((f"energy, {b}", [energies(w.energy[b]) for w in works]) for b in BOUNDARIES),
        ("energy of the bytes", [energies(w.moving) for w in works]),
        *(
            (f"energy of the whole image, network in {where}", [energies(w.whole[where]) for w in works])
            for where in works[0].whole
        ),
        *((f"energy over that in place, {b}", [spread(w.over[b]) for w in works]) for b in works[0].over),
    ]
    lines = ["| per image | " + " | ".join(w.name for w in works) + " |", f"|{' --- |' * (1 + len(works))}"]
    return "\n".join(lines + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows])
