"""Gaussian noise from the memory: pulse, read, XOR of different cells, Gaussian transform."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from threading import Lock
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.renamed import renamed
from voltaspin.device import SwitchingModel
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.memory.dynamics import Disturbance, Imperfections
from voltaspin.noise.gaussian import GaussianTransform, transform_of
from voltaspin.noise.memory_sequence import ArraySequence, affine_map, cells_of_bits, check_room, checked_mapping
from voltaspin.noise.source import AddressableSource, Provenance, bit_key, checked_count
from voltaspin.random.bernoulli import GROUP, pulse_and_xor
from voltaspin.random.streams import Stream

_CACHE_BYTES = 256 << 20  # states of streams kept for their next step: 10,000 images of 784 pixels at k = 2


@final
@renamed(shaping="transform", bits="bits_per_sample")
class MemorySource(AddressableSource):
    """Random numbers of a simulated magnetoelectric memory.

    Each stream (image) finds the array reset to 0; then every draw pulses its cells once, reads them,
    combines k different cells into one bit and transforms ``b = bits_per_sample`` bits into one number. Pixel ``i`` of
    an image owns bits ``i b`` to ``(i + 1) b - 1`` of the draw, the first one highest. The draw of (stream,
    step) is a function of the arguments, the memory's probabilities, stream, step and size alone; the
    memory's stored ``state`` is not touched, but everything counts into its ledger.

    Args:
        memory: None takes ``MagnetoelectricMemory()``: 65,536 cells under the shipped pulse.
        seed: of the pulses (the variation has the memory's own).
        k: different cells combined by XOR into one bit; 1 takes the raw bits.
        transform: ``"inverse_cdf"`` or ``"popcount"``, or a :class:`GaussianTransform` with its own bits.
        bits_per_sample: bits per number.
        mapping: which cells serve which pixel, see :mod:`voltaspin.noise.memory_sequence`.
        reset: reset the cells before every pulse. Without it a cell carries its state to the next draw, with
            a correlation of 1 - p01 - p10.
        init: state in which each stream finds the array: ``"reset"`` to 0, or ``"stationary"``, as an array that has
            run for long, with every cell at 1 with its own p01 / (p01 + p10). It holds for the draws of images; a
            sequence of bits begins at the reset.
        settled: old name of ``init="stationary"``.

    Which conditions of a comparison coincide. Bit ``j`` of draw (stream, step) owns one 16-bit word ``w`` of the
    seed, and every source answers it in the same direction (:mod:`voltaspin.random.bernoulli`). So at equal seed
    and bits:

    * cells with p01 = p10 = 1/2, any k, mapping or reset: equal, bit for bit, to
      ``PseudoSource(precision=bits)``;
    * ``PseudoSource(precision="full")``: the same to within the width of one of the 65,536 levels;
    * k = 1 and other probabilities: the bits differ from the software's exactly where ``w`` lies between
      32768 and the threshold of the cell, a fraction ``|p - 1/2|`` of them;
    * k > 1 and other probabilities: a bit differs where an odd number of its cells differ from 1/2 in this
      way.

    Counting: per draw of n numbers ``n bits k`` pulses and reads, ``n bits (k - 1)`` XORs, n bits, n look-ups
    (inverse CDF only) and n normals. Resets: ``n bits k`` at every draw with ``reset=True``, else at step 0
    the cells that the stream will use (all of them where the mapping moves). Counts follow what was asked
    for, not what the simulator remembers: a step that it has to replay is not counted again.

    >>> MemorySource(seed=1).normal((1, 28, 28), streams=[0], step=0).shape
    (1, 28, 28)
    """

    def __init__(
        self,
        *,
        memory: MagnetoelectricMemory | None = None,
        seed: int = 0,
        k: int = 2,
        transform: Literal["inverse_cdf", "popcount"] | GaussianTransform = "inverse_cdf",
        bits_per_sample: int = 16,
        mapping: Literal["fixed", "rotated", "hashed"] = "fixed",
        reset: bool = False,
        imperfections: Imperfections | None = None,
        init: Literal["reset", "stationary"] = "reset",
        settled: bool | None = None,
    ) -> None:
        if settled is not None:
            init = "stationary" if settled else "reset"
        if init not in ("reset", "stationary"):
            raise InputError(f"init {init!r} is unknown; use 'reset' or 'stationary'")
        if not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"k = {k!r} must be an integer of at least 1: the cells combined into one bit")
        checked_mapping(mapping)
        self.memory = MagnetoelectricMemory() if memory is None else memory
        check_room(n_bits=1, k=k, cells=self.memory.cells)
        name = f"memory, k = {k}" if k > 1 else "memory, raw"
        super().__init__(name, seed=seed, transform=transform_of(transform, bits_per_sample))
        self.k, self.mapping, self.reset, self.init = int(k), mapping, bool(reset), init
        self.ledger.children[self.memory.ledger.name] = self.memory.ledger
        self._keys = np.array([bit_key(seed, i) for i in range(k)], np.uint64)
        self.imperfections = imperfections
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self.disturbance: Disturbance | None = None
        if self.imperfections is not None:
            q0, q1 = self.memory.thresholds
            self.disturbance = Disturbance(
                self.imperfections, self.memory.model, rows=self.memory.rows, columns=self.memory.columns,
                q0=q0, q1=q1, seed=self.seed,
            )  # fmt: skip
        self.sequence = ArraySequence(
            self.memory, seed=self.seed, keys=self._keys, reset=self.reset, mapping=self.mapping,
            disturbance=self.disturbance,
        )  # fmt: skip
        self._states: OrderedDict[tuple[int, int], tuple[int, NDArray[np.uint8]]] = OrderedDict()
        self._bytes = 0
        self.__dict__.pop("_in_the_long_run", None)

    def _as_in_0_1_0(self) -> Callable[[], None] | None:
        if not self.memory.shipped:
            return None
        now = self.memory.model

        def use(model: SwitchingModel) -> None:
            self.memory.respond_by(model)
            self._begin()

        use(SwitchingModel.shipped("0.1.0"))
        return lambda: use(now)

    def _with_seed(self, seed: int) -> MemorySource:
        return MemorySource(
            memory=self.memory, seed=seed, k=self.k, transform=self.transform,
            mapping=self.mapping, reset=self.reset, imperfections=self.imperfections, init=self.init,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def _arrived(self, path: tuple[int, ...]) -> None:
        super()._arrived(path)
        self._lock = Lock()  # another thread may have held it at the fork

    def _position_of_sequence(self) -> Any:
        return self.sequence.position()

    def _set_position_of_sequence(self, position: Any) -> None:
        self.sequence.go_to(position)

    @property
    def n_cells(self) -> int:
        return self.sequence.per_pulse

    @property
    def provenance(self) -> Provenance:
        kept = "reset before every pulse" if self.reset else "not reset between draws"
        how = f"XOR of {self.k} different cells" if self.k > 1 else "raw bits"
        bits, kind = self.transform.bits_per_sample, self.transform.label
        return Provenance(
            "simulated",
            f"simulated {self.memory.rows} x {self.memory.columns} magnetoelectric memory, {how}, {kept}, "
            f"{bits}-bit {kind}, {self.mapping} mapping, seed {self.seed}"
            f"{', settled before each image' if self.init == 'stationary' else ''}"
            f"{'' if self.imperfections is None else ', with imperfections'}",
            {
                "memory": self.memory.describe(),
                "seed": int(self.seed),
                "k": self.k,
                "shaping": kind,
                "bits": bits,
                "mapping": self.mapping,
                "reset": self.reset,
                "driven_by": "Philox4x32-10",
                **({"settled": True} if self.init == "stationary" else {}),
                **({} if self.imperfections is None else {"imperfections": self.imperfections.to_json()}),
            },
        )

    def cells(self, size: int, *, step: int = 0) -> NDArray[np.int64]:
        """Return the cells behind the bits of a draw of ``size`` numbers at a step: int64 (k, size b)."""
        return cells_of_bits(
            n_bits=size * self.transform.bits_per_sample, k=self.k, cells=self.memory.cells,
            mapping=self.mapping, step=step, seed=self.seed,
        )  # fmt: skip

    def samples(
        self, draws: int, *, size: int, stream: int = 0, start: int = 0
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the bits before and after conditioning, for tests of the source; nothing is counted.

        Args:
            draws: successive steps, from ``start``.
            size: numbers per draw.
            stream: whose draws.
            start: first step.

        Returns:
            (raw uint8 (draws, k, size b), conditioned uint8 (draws, size b)), one bit a byte: the states of the
            cells, and exactly the bits that ``normal((1, size), streams=[stream], step=...)`` transforms, errors of
            the reads included.
        """
        self._check_size(checked_count(size, "size"))
        n_bits = size * self.transform.bits_per_sample
        raw, scratch = np.empty((draws, self.k, n_bits), np.uint8), _scratch(n_bits)
        for i in range(draws):
            state = self._state_after(stream, start + i, n_bits, scratch)
            raw[i] = state[self.cells(size, step=start + i)]
            self._remember(stream, start + i, n_bits, state)
        conditioned = np.bitwise_xor.reduce(raw, axis=1)
        if self.disturbance is not None:
            for i in range(draws):
                self.disturbance.misread(conditioned[i], k=self.k, stream=stream, at=start + i)
        return raw, conditioned

    def _check_size(self, n: int) -> None:
        check_room(n_bits=n * self.transform.bits_per_sample, k=self.k, cells=self.memory.cells)

    def _draw(self, stream: int, step: int, out: NDArray[np.float32]) -> None:
        n_bits = out.shape[0] * self.transform.bits_per_sample
        bits = _scratch(n_bits)
        state = self._state_after(stream, step, n_bits, bits)
        self._remember(stream, step, n_bits, state)
        if self.disturbance is not None:
            self.disturbance.misread(bits[:n_bits], k=self.k, stream=stream, at=step)
        self.transform.fill(bits, out)
        used = n_bits * self.k
        moves = self.memory.cells if self.mapping != "fixed" else used
        with self._lock:
            self._count_array(n_bits, resets=used if self.reset else moves if step == 0 and self.init == "reset" else 0)
            self._count_normals(out.shape[0])

    def _state_after(self, stream: int, step: int, n_bits: int, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the state of the cells after draw ``step``; its bits go into ``bits``."""
        with self._lock:
            last, state = self._states.pop((stream, n_bits), (-1, np.empty(0, np.uint8)))
            self._bytes -= state.nbytes
        if last == step:
            cells = self.cells(n_bits // self.transform.bits_per_sample, step=step)
            bits[:n_bits] = np.bitwise_xor.reduce(state[cells], axis=0)
            return state
        if last < 0 or last > step:
            whole = self.mapping != "fixed" or self.disturbance is not None
            span = self.memory.cells if whole else n_bits * self.k
            last, state = -1, self._found(stream, span)
        # With a reset before every pulse nothing of the past survives, so there is nothing to replay.
        for at in range(step if self.reset else last + 1, step + 1):
            self._pulse(stream, np.uint64(at << 32), at, n_bits, state, bits)
        return state

    def _found(self, stream: int, span: int) -> NDArray[np.uint8]:
        """Return the first ``span`` cells as a stream finds them."""
        if self.init == "reset":
            return np.zeros(span, np.uint8)
        words = Stream.of(self.seed, "noise", "settled", stream=stream).words(span)
        return (words < self._in_the_long_run[:span]).view(np.uint8)

    @cached_property
    def _in_the_long_run(self) -> NDArray[np.uint32]:
        """Words on 2**32 below which a cell of an array that has run for long is a 1; of one that is stuck, half."""
        q0, q1 = (q.astype(np.float64) for q in self.memory.thresholds)
        moves = q0 + 65536 - q1
        p = np.where(moves > 0, q0 / np.maximum(moves, 1), 0.5)
        return np.minimum(np.rint(p * 2**32), 2**32 - 1).astype(np.uint32)

    def _pulse(
        self, stream: int, block: np.uint64, step: int, n_bits: int, state: NDArray[np.uint8], out: NDArray[np.uint8]
    ) -> None:
        cells = self.memory.cells
        q0, q1 = self.memory.thresholds
        if self.disturbance is not None:
            im = self.disturbance.imperfections
            before = np.zeros_like(state) if self.reset else state
            q0, q1 = self.disturbance.thresholds(
                (im.steps * stream + step) * im.step, before, stream=stream, at=step
            )  # fmt: skip
        factor, offset = affine_map(self.mapping, step=step, cells=cells, seed=self.seed)
        pulse_and_xor(
            self._keys, np.uint64(stream), block, factor, offset, cells, state, q0, q1, self.reset, n_bits, out,
        )  # fmt: skip

    def _remember(self, stream: int, step: int, n_bits: int, state: NDArray[np.uint8]) -> None:
        with self._lock:
            self._states[stream, n_bits] = (step, state)
            self._bytes += state.nbytes
            while self._bytes > _CACHE_BYTES and len(self._states) > 1:
                _, (_, old) = self._states.popitem(last=False)
                self._bytes -= old.nbytes

    def _packed(self, n: int) -> NDArray[np.uint8]:
        with self._lock:
            return self._next_bits(n)

    def _next_bits(self, n: int) -> NDArray[np.uint8]:
        begun = self.sequence.pulses
        packed = self.sequence.take(n)
        if pulses := self.sequence.pulses - begun:
            used = self.sequence.per_pulse * self.k
            first = 0 if begun else used if self.mapping == "fixed" else self.memory.cells
            self._count_array(self.sequence.per_pulse * pulses, resets=used * pulses if self.reset else first)
        return packed

    def _sequence_normals(self, n: int) -> NDArray[np.float32]:
        with self._lock:
            packed = self._next_bits(n * self.transform.bits_per_sample)
            self._count_normals(n)
        return self.transform.from_packed(packed, n)

    def _count_array(self, n_bits: int, *, resets: int) -> None:
        if resets:
            self.memory.ledger.count("reset", resets)
        self.memory.ledger.count("pulse", n_bits * self.k)
        self.memory.ledger.count("read", n_bits * self.k)
        self.ledger.count("xor", n_bits * (self.k - 1))

    def _own_state(self) -> dict[str, Any]:
        return {"sequence": self.sequence.state_dict()}

    def _load_own(self, state: Mapping[str, Any]) -> None:
        self.sequence.load_state_dict(state["sequence"])


def _scratch(n_bits: int) -> NDArray[np.uint8]:
    """Return room for the bits of a draw, one a byte, in whole groups."""
    return np.empty(-(-n_bits // GROUP) * GROUP, np.uint8)
