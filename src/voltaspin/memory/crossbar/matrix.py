"""A matrix in crossbars, and the oracle that computes its products cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.memory.crossbar.context import CrossbarContext
from voltaspin.memory.crossbar.layer import MemoryLayer
from voltaspin.memory.crossbar.periphery import converter_step, read_noise
from voltaspin.memory.crossbar.program import Programmed, conductances
from voltaspin.memory.crossbar.programmed import power_of_two
from voltaspin.memory.crossbar.spec import ArraySpec
from voltaspin.random.streams import Stream

Floats = NDArray[np.float64]


class Crossbar:
    """A matrix whose weights are magnetic cells; ``crossbar @ x`` computes with them.

    Weights and inputs that are whole numbers and fit their bits are taken as they are (in noisy cells, the largest
    multiple of the weights' rows that fits); others are scaled, the weights by row and the inputs by vector.

    Args:
        weight: (outputs, inputs), NumPy or torch.
        spec: of the arrays; the default is ``ArraySpec()``.
        name: keys the cells, so that two crossbars of one seed differ.

    >>> bar = Crossbar(np.array([[1, -2], [3, 4]]), ArraySpec(mode="digital"))
    >>> bar @ np.array([10, 1])
    array([ 8., 34.])
    """

    def __init__(self, weight: Any, spec: ArraySpec | None = None, *, name: str = "crossbar") -> None:
        matrix = _numbers(weight, "a crossbar holds real weights; give real and imaginary parts two crossbars")
        if matrix.dim() != 2 or 0 in matrix.shape:
            raise InputError(f"a crossbar holds a matrix (outputs, inputs), not a shape of {tuple(matrix.shape)}")
        self.spec = ArraySpec() if spec is None else ArraySpec(**spec.model_dump())
        self.shape: tuple[int, int] = (int(matrix.shape[0]), int(matrix.shape[1]))
        self._context = CrossbarContext(Ledger("crossbar"))
        linear = nn.Linear(self.shape[1], self.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(matrix, requires_grad=False)
        self._layer = MemoryLayer(linear, self.spec, name, self._context)

    @property
    def ledger(self) -> Ledger:
        """What was counted so far."""
        return self._context.ledger

    @property
    def cells(self) -> Programmed:
        """What stands in the arrays."""
        return self._layer.cells

    @property
    def values(self) -> Floats:
        """The matrix that the cells stand for, all fixed imperfections included: float64 (outputs, inputs)."""
        state = self._layer.program()
        return np.asarray((state.weight.double() * state.step.double()[:, None] * state.scale).numpy())

    def __matmul__(self, x: Any) -> Any:
        """``x`` (inputs,) or (..., inputs, vectors), NumPy or torch, of any real type.

        Returns the same kind: float32 for a float32 tensor, else float64.
        """
        vectors, shape, numpy = self._vectors(x)
        if not len(vectors):
            empty = torch.zeros((*shape[:-1], self.shape[0], *shape[-1:]), dtype=torch.float64)
            return empty.numpy() if numpy else empty
        self._context.call += 1
        self._context.uses.clear()
        self._layer.input_step.fill_(self._input_step(vectors))
        with torch.no_grad():
            y = self._layer(vectors)
        floats = torch.is_tensor(x) and x.dtype == torch.float32
        return _back(y.float() if floats else y, shape, numpy)

    def oracle(self, x: Any, *, draw: int = 0) -> Any:
        """The same product, cell by cell and in loops: slow, and meant for tests.

        Args:
            x: as for ``@``.
            draw: of the read noise, which is not that of ``@``.
        """
        vectors, shape, numpy = self._vectors(x)
        step = self._input_step(vectors)
        out = np.empty((len(vectors), self.shape[0]))
        scale = self._layer.program().step.double().numpy() * self._layer.program().scale
        for n, v in enumerate(vectors.numpy()):
            scale_in = power_of_two(float(np.abs(v).max()))
            largest = np.float32(np.abs(v).max() / scale_in) or np.float32(1)
            s = step or float(largest / np.float32(self.spec.input_top)) * scale_in
            q = np.clip(np.rint(v / s), self.spec.input_bottom, self.spec.input_top)
            limits = self._layer._limits(torch.from_numpy(q).float()[None], 0)
            converter = converter_step(limits, self.spec)[0].double().numpy()
            stream = Stream.of(self.spec.seed, "oracle", draw, stream=n)
            out[n] = self._cell_by_cell(q, converter, stream) * s * scale
        return _back(torch.from_numpy(out), shape, numpy)

    def _cell_by_cell(self, q: Floats, converter: Floats, stream: Stream) -> Floats:
        spec, layer = self.spec, self._layer
        bits = layer.cells.bits[:, :, 0]
        digital = spec.mode == "digital"
        noise = read_noise(spec)
        if digital:
            g, dummy = bits.double().numpy(), None
        else:
            tensor, dummies = conductances(layer.cells.bits, spec, layer._noise, layer.cells.used)
            g = tensor[:, :, 0].double().numpy()
            dummy = None if dummies is None else dummies[:, 0].double().numpy()
        size, sign = np.abs(q).astype(np.int64), np.sign(q)
        serial: list[Floats] = [((size >> k) & 1).astype(np.float64) * sign for k in range(spec.phases)]
        conversions: list[Floats] = serial if spec.inputs == "bit-serial" else [q]
        used = 0

        def current(cell: float, drive: float) -> float:
            """Current (or voltage) of one cell in one read, in counts."""
            nonlocal used
            mean = cell * drive
            if noise.silent:
                return mean
            used += 1
            variance = (noise.relative * cell * drive) ** 2 + cell * (noise.per_step * abs(drive) + noise.always)
            return mean + float(np.sqrt(variance) * stream.normals(1, start=used)[0])

        def column(cells: Floats, drives: Floats, phase: int) -> float:
            if spec.mode != "resistance_sum" or spec.inputs == "bit-serial":
                return sum(current(c, d) for c, d in zip(cells, drives, strict=True))
            return sum(2**k * sum(current(c, d) for c, d in zip(cells, bit, strict=True))
                       for k, bit in enumerate(serial_rows))  # fmt: skip

        total = np.zeros(self.shape[0])
        for phase, drives in enumerate(conversions):
            for top in range(0, self.shape[1], spec.rows):
                rows = slice(top, min(top + spec.rows, self.shape[1]))
                serial_rows = [bit[rows] for bit in serial]
                # one reading of the dummy serves every column of its tile
                common = [column(d[rows], drives[rows], phase) for d in dummy] if dummy is not None else None
                for s in np.flatnonzero(layer.cells.used.numpy()).tolist():
                    for j in range(self.shape[0]):
                        y = column(g[0, s, j, rows], drives[rows], phase)
                        if not spec.offset:
                            y -= column(g[1, s, j, rows], drives[rows], phase)
                        elif common is not None:
                            y -= common[j // spec.outputs_per_tile]
                        elif not digital:
                            y -= float(drives[rows].sum()) / spec.TMR
                        if not digital:
                            half = 2 ** (spec.adc_bits - 1)
                            y = float(np.clip(np.rint(y / converter[s]), -half, half - 1) * converter[s])
                        total[j] += 2**phase * 2**s * y
        return total - spec.offset * q.sum()

    def _vectors(self, x: Any) -> tuple[torch.Tensor, tuple[int, ...], bool]:
        numpy = not torch.is_tensor(x)
        t = _numbers(x, "x is complex; multiply its real and imaginary parts one after the other")
        inner = t.shape[0] if t.dim() == 1 else t.shape[-2] if t.dim() > 1 else 0
        if inner != self.shape[1]:
            raise InputError(
                f"x of shape {tuple(t.shape)} does not fit a crossbar of {self.shape[0]} x {self.shape[1]}; give "
                f"({self.shape[1]},) or (..., {self.shape[1]}, vectors)"
            )
        if not bool(torch.isfinite(t).all()):
            raise InputError("x holds NaN or infinite values; a crossbar takes finite numbers only")
        if t.dim() == 1:
            return t[None], (), numpy
        return t.transpose(-1, -2).reshape(-1, inner), (*tuple(t.shape[:-2]), t.shape[-1]), numpy

    def _input_step(self, vectors: torch.Tensor) -> float:
        """1 where all inputs are whole numbers that fit, else 0 for a step of each vector's own."""
        whole = bool((vectors == vectors.round()).all())
        fits = self.spec.input_bottom <= float(vectors.min()) and float(vectors.max()) <= self.spec.input_top
        return 1.0 if whole and fits else 0.0

    def __repr__(self) -> str:
        return f"Crossbar({self.shape[0]} x {self.shape[1]}, {self._layer.extra_repr()})"


def _numbers(values: Any, complex_: str) -> torch.Tensor:
    """Numbers of any real type and any strides as a float64 tensor of their own."""
    if torch.is_tensor(values):
        if values.layout != torch.strided or values.is_meta or values.is_quantized:
            raise InputError("the tensor holds no dense values; give an ordinary one on the CPU")
        if values.is_complex():
            raise InputError(complex_)
        return values.detach().to("cpu", torch.float64, copy=True)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"numbers of one shape are needed ({error})") from None
    if array.dtype.kind == "c":
        raise InputError(complex_)
    if array.dtype.kind not in "biuf":
        raise InputError(f"an array of type {array.dtype} holds no real numbers; give integers or floats")
    return torch.from_numpy(np.array(array, np.float64, order="C"))


def _back(y: torch.Tensor, shape: tuple[int, ...], numpy: bool) -> Any:
    if not shape:
        y = y[0]
    else:
        y = y.reshape(*shape, -1).transpose(-1, -2)
    return y.numpy() if numpy else y
