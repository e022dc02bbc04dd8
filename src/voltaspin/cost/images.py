"""One image by bits that flip in place, and one by a Gaussian sampler of as many network evaluations: random bits,
pulses, energy at the three boundaries, and bytes moved. The network's own arithmetic is the same in both and left out.

What is moved. Gaussian: for each evaluation the state to the network and back, float32, and for each number the 16
bits that it is made of, from the array. Bit-flip: the bits to the network, the number of its pulse back for each cell,
and with self-conditioning a byte for each bit to a buffer and back. A byte costs an eighth of a 64-bit access to 32 KB
of SRAM, at the macro only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Estimate, Grade
from voltaspin.core.result import Boundary, Part
from voltaspin.cost.claims import ActionDraws, action_draws, drawn, spread
from voltaspin.cost.comparison import energies
from voltaspin.cost.jobs import BITS, job
from voltaspin.cost.table import BOUNDARIES, CellPulse, CostTable, si
from voltaspin.device import Junction, Pulse, SwitchingModel
from voltaspin.random.streams import Stream

if TYPE_CHECKING:
    from voltaspin.diffusion.bitflip.sampling import BitSamples

_STATE = 4  # bytes of a number of the sampler's state
_ACCESS = 8  # of one access that the table prices


class ImageWork(Part):
    """What one image takes, network apart. Energies [pJ] are medians with 90 % intervals.

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


class _Sampler:
    """Counts of one image and the draws of their prices."""

    def __init__(self, name: str, evaluations: int, random_bits: float, counts: Mapping[str, float],
                 bytes_moved: float, draws: ActionDraws, table: CostTable, seed: int) -> None:  # fmt: skip
        self.name, self.evaluations, self.random_bits = name, evaluations, random_bits
        self.counts, self.bytes_moved = counts, bytes_moved
        zero = np.zeros(len(draws.area["cell"]))
        self.energy: dict[Boundary, NDArray[np.float64]] = {
            b: sum((n * draws.energy[b][a] for a, n in counts.items()), start=zero) for b in BOUNDARIES
        }
        access = table.operations["SRAM 32 KB"]
        z = Stream.of(seed, "cost", "SRAM 32 KB").normals(len(zero))
        scale = si(access) / access.value
        self.moving = drawn(access, z) * scale * (bytes_moved / _ACCESS)

    def work(self, first: _Sampler) -> ImageWork:
        c = self.counts
        over = {str(b): spread(self.energy[b] / first.energy[b]) for b in BOUNDARIES}
        both = (self.energy["macro"] + self.moving) / (first.energy["macro"] + first.moving)
        return ImageWork(
            name=self.name, evaluations=self.evaluations, random_bits=self.random_bits, pulses=c["pulse"],
            resets=c["reset"], reads=c["read"], xors=c["xor"], lookups=c["lookup"], bytes_moved=self.bytes_moved,
            energy={b: spread(1e12 * e) for b, e in self.energy.items()}, moving=spread(1e12 * self.moving),
            over={**over, "with bytes": spread(both)},
        )  # fmt: skip


def mean_pulse(junction: Junction, pulses: Sequence[tuple[str, float, float]], ledger: Ledger) -> CellPulse:
    """The pulse that stands for all that a memory's ledger counts.

    Args:
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
    share = np.array(counts) / total

    def mean(values: Sequence[float]) -> float:
        return float(share @ np.array(values))

    return CellPulse(
        voltage=math.sqrt(mean([c.voltage**2 for c in cells])), ohmic=mean([c.ohmic for c in cells]),
        charging=mean([c.charging for c in cells]),
    )  # fmt: skip


def image_costs(
    samples: BitSamples,
    junction: Junction,
    *,
    table: CostTable | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[ImageWork, ...]:
    """An image of a bit-flip run, and of Gaussian samplers at as many evaluations, with two cells to a bit and one.

    Args:
        samples: of the run.
        junction: of its cells; the Gaussian samplers take the shipped pulse of the generator.
        table: prices.
        draws, seed: of the Monte Carlo over the grades; all samplers share its prices.

    Raises:
        InputError: pulses of ideal cells, which have no price.
    """
    table = table or CostTable.default()
    n, steps = len(samples.images), samples.steps
    memory = samples.ledger.child("memory")
    pulse = mean_pulse(junction, samples.pulses, memory)
    counts = {a: memory.total(a) / n for a in ("pulse", "read", "xor", "lookup")} | {"reset": memory.total("write") / n}
    own = action_draws(junction, pulse, table=table, samples=draws, seed=seed)
    first = _Sampler("bit-flip", steps, counts["pulse"], counts, samples.ledger.total("byte") / n, own, table, seed)
    model = SwitchingModel.shipped()
    assert model.junction is not None, "the shipped model knows its junction"
    assert model.pulse is not None, "and its pulse"
    fair = action_draws(model.junction, model.pulse, table=table, samples=draws, seed=seed)
    pixels = math.prod(samples.images.shape[1:])
    works = [first.work(first)]
    for name, cells in (("Gaussian, XOR of two cells", 2), ("Gaussian, raw bits", 1)):
        g = job("image", name, steps * pixels, cells_per_bit=cells)
        counted = {"pulse": g.pulses, "reset": g.resets, "read": g.pulses, "xor": g.pulses - g.bits,
                   "lookup": g.normals}  # fmt: skip
        moved = steps * pixels * 2 * _STATE + g.normals * BITS // 8
        works.append(_Sampler(name, steps, g.bits, counted, moved, fair, table, seed).work(first))
    return tuple(works)


def image_costs_text(works: Sequence[ImageWork]) -> str:
    """A table in Markdown."""

    def times(e: Estimate) -> str:
        return f"{e.value:.3g} ({e.low:.2g} to {e.high:.2g})"

    rows = [
        ("network evaluations", [f"{w.evaluations}" for w in works]),
        ("random bits", [f"{w.random_bits:,.0f}" for w in works]),
        ("pulses", [f"{w.pulses:,.0f}" for w in works]),
        ("resets", [f"{w.resets:,.0f}" for w in works]),
        ("reads", [f"{w.reads:,.0f}" for w in works]),
        *((f"energy, {b}", [energies(w.energy[b]) for w in works]) for b in BOUNDARIES),
        ("bytes moved", [f"{w.bytes_moved:,.0f}" for w in works]),
        ("energy of the bytes", [energies(w.moving) for w in works]),
        *((f"energy over bit-flip's, {b}", [times(w.over[b]) for w in works]) for b in (*BOUNDARIES, "with bytes")),
    ]
    lines = ["| per image | " + " | ".join(w.name for w in works) + " |", f"|{' --- |' * (1 + len(works))}"]
    return "\n".join(lines + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows])
