"""A crossbar: programmed cells and a readout; and the oracle that computes its products cell by cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.memory.crossbar.converted import Converted, readout_of
from voltaspin.memory.crossbar.converters import converter_step
from voltaspin.memory.crossbar.counting import CrossbarContext
from voltaspin.memory.crossbar.drive import Planes
from voltaspin.memory.crossbar.geometry import Geometry
from voltaspin.memory.crossbar.normals import ReadNoise
from voltaspin.memory.crossbar.program import LARGE, Programmed, Written, conductances, power_of_two, require_finite
from voltaspin.memory.crossbar.readout import Call, Measured
from voltaspin.memory.crossbar.spec import ArraySpec
from voltaspin.random.streams import Stream

Floats = NDArray[np.float64]

_LARGEST, _SMALLEST = 1e38, 1e-30  # that float32 holds with room for products


class Crossbar:
    """Matrices whose weights are magnetic cells, read by a readout; ``crossbar @ x`` computes with them.

    Weights and inputs that are whole numbers and fit their bits are taken as they are (in noisy cells, the largest
    multiple of the weights' rows that fits); others are scaled, the weights by row and the inputs by vector.

    Args:
        weight: (outputs, inputs), NumPy or torch; with a geometry, the weight of its layer.
        spec: of the arrays; the default is ``ArraySpec()``.
        name: keys the cells, so that two crossbars of one seed differ.
        geometry: of a layer whose operation meets the matrices; a plain matrix where absent.
        context: shared by the crossbars of one model.

    >>> bar = Crossbar(np.array([[1, -2], [3, 4]]), ArraySpec(mode="digital"))
    >>> bar @ np.array([10, 1])
    array([ 8., 34.])
    """

    def __init__(
        self, weight: Any, spec: ArraySpec | None = None, *, name: str = "crossbar", geometry: Geometry | None = None,
        context: CrossbarContext | None = None,
    ) -> None:  # fmt: skip
        self.spec = ArraySpec() if spec is None else ArraySpec(**spec.model_dump())
        self.name = name
        self._weight: torch.Tensor | None = None
        if geometry is None:
            weight = _numbers(weight, "a crossbar holds real weights; give real and imaginary parts two crossbars")
            if weight.dim() != 2 or 0 in weight.shape:
                raise InputError(f"a crossbar holds a matrix (outputs, inputs), not a shape of {tuple(weight.shape)}")
            geometry, self._weight = Geometry(weight), weight
        require_finite(weight, f"layer {name!r}: its weight")
        self.geometry = geometry
        self.context = CrossbarContext(Ledger("crossbar")) if context is None else context
        self.readout = readout_of(self.spec, where=f"layer {name!r}")
        self.noise = ReadNoise(self.spec.seed, name)
        self._written: Written | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs of a matrix."""
        return self.geometry.shape[1:]

    @property
    def ledger(self) -> Ledger:
        """Actions counted so far."""
        return self.context.ledger

    @property
    def cells(self) -> Programmed:
        """The cells as they stand in the arrays."""
        return self.program().cells

    @property
    def values(self) -> Floats:
        """The matrix that the cells stand for, all fixed imperfections included: float64 (outputs, inputs)."""
        state = self.program()
        return np.asarray((state.weight.double() * state.step.double()[:, None] * state.scale).numpy())

    @torch.inference_mode(False)
    @torch.no_grad()
    def program(self, weight: torch.Tensor | None = None) -> Written:
        """Write weights into the cells, unless they are there already.

        The weights themselves are compared with those that were written, since edits of ``weight.data``, of a tied
        parameter or of another copy of it leave no other trace.

        Args:
            weight: in the shape of the geometry; without one, what was written before, or the matrix.

        Raises:
            InputError: a weight on the meta device, or with values that are NaN or infinite.
        """
        state = self._written
        if weight is None and (weight := self._weight) is None:
            assert state is not None
            return state
        weight = weight.detach()
        where = f"layer {self.name!r}: its weight"
        if weight.is_meta:
            raise InputError(f"{where} lies on the meta device and holds no values")
        if state is not None and state.source.device == weight.device:
            same = weight if weight.dtype == state.source.dtype else weight.to(state.source.dtype)
            if torch.equal(same, state.source):
                return state
        require_finite(weight, where)
        self._written = Written.of(weight, self.spec, self.geometry, self.noise)
        if state is None or not torch.equal(state.source.cpu(), self._written.source.cpu()):  # not merely moved
            self.ledger.child(self.name).count("write", self._written.cells.bits.numel())
        return self._written

    def prepared(
        self, x: torch.Tensor, fixed: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return inputs as float32, their step, and the power of two that each image was divided by.

        The power is None where every image and the weights lie well inside float32's range.

        Args:
            x: inputs of the programmed layer.
            fixed: step of a calibration; without one it comes from each image's largest input.

        Raises:
            InputError: negative inputs of one bit.
        """
        if self.spec.input_bits == 1 and bool((x.detach() < 0).any()):
            raise InputError(
                f"layer {self.name!r}: its input is negative at places, and input_bits = 1 stands for 0 and 1 only; "
                "input_bits = 2 has -1, 0 and 1 and takes as many phases"
            )
        state, size = self.program(), x.detach()
        shape = (-1, *[1] * (x.dim() - 1))
        scale = None
        if fixed is not None:
            step = fixed
            if state.scale != 1 or (x.dtype == torch.float64 and float(size.abs().amax()) > _LARGEST):
                scale = torch.ones((), device=x.device)
        else:
            largest = size.abs().flatten(1).amax(1)
            odd = (largest > LARGE) | ((largest < 1 / LARGE) & (largest > 0))
            if bool(odd.any()) or state.scale != 1:
                power = torch.ldexp(torch.ones_like(largest, dtype=torch.float64), torch.frexp(largest.double())[1] - 1)
                scale = torch.where(odd, power, 1.0).view(shape)
                largest = largest / scale.view(-1)
            largest = largest.where(largest > 0, _SMALLEST).float()  # an image of zeros has no noise either
            step = (largest / self.spec.input_top).view(shape)
        return (x if scale is None else (x / scale).clamp(-_LARGEST, _LARGEST)).float(), step, scale

    def quantised(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Return inputs as whole numbers of steps; gradients pass where an input is not clipped."""
        return torch.fake_quantize_per_tensor_affine(x / step, 1.0, 0, self.spec.input_bottom, self.spec.input_top)

    def call(self, measured: Measured | None = None) -> Call:
        """Return what the readout computes with."""
        return Call(self.program(), self.geometry, self.noise, self._counters, measured)

    def product(
        self, x: torch.Tensor, step: torch.Tensor, scale: torch.Tensor | None, bias: torch.Tensor | None = None,
        measured: Measured | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Return the layer's output for inputs that :meth:`prepared` made; float64 where they were scaled."""
        q = self.quantised(x, step)
        if scale is None:
            return self.readout.outputs(self.call(measured), q, step, bias)
        y = self.readout.outputs(self.call(measured), q, step, None).double() * (scale.double() * self.program().scale)
        return y if bias is None else y + self.geometry.per_output(bias).double()

    def count(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Count the actions of one product with inputs ``x`` and outputs ``y``."""
        ledger, slices = self.context.ledger_of(self.name), int(self.program().cells.used.sum())
        self.readout.count(ledger, self.geometry.shape, self.geometry.positions(x, y), slices)
        ledger.count("byte", math.ceil(x.numel() * self.spec.input_bits / 8) + 2 * y.numel())

    def __matmul__(self, x: Any) -> Any:
        """``x`` (inputs,) or (..., inputs, vectors), NumPy or torch, of any real type.

        Returns the same kind: float32 for a float32 tensor, else float64.
        """
        vectors, shape, numpy = self._vectors(x)
        if not len(vectors):
            empty = torch.zeros((*shape[:-1], self.shape[0], *shape[-1:]), dtype=torch.float64)
            return empty.numpy() if numpy else empty
        self.context.call += 1
        self.context.uses.clear()
        self.program()
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            inputs, step, scale = self.prepared(vectors, self._whole_step(vectors))
            y = self.product(inputs, step, scale).double()
        self.count(vectors, y)
        floats = torch.is_tensor(x) and x.dtype == torch.float32
        return _back(y.float() if floats else y, shape, numpy)

    def oracle(self, x: Any, *, draw: int = 0) -> Any:
        """The same product, cell by cell and in loops: slow, and meant for tests.

        Args:
            x: as for ``@``.
            draw: of the read noise, which is not that of ``@``.
        """
        vectors, shape, numpy = self._vectors(x)
        step = self._whole_step(vectors)
        out = np.empty((len(vectors), self.shape[0]))
        state = self.program()
        scale = state.step.double().numpy() * state.scale
        for n, v in enumerate(vectors.numpy()):
            scale_in = power_of_two(float(np.abs(v).max()))
            largest = np.float32(np.abs(v).max() / scale_in) or np.float32(1)
            s = 1.0 if step is not None else float(largest / np.float32(self.spec.input_top)) * scale_in
            q = np.clip(np.rint(v / s), self.spec.input_bottom, self.spec.input_top)
            converter = None
            if isinstance(self.readout, Converted):
                limits = self.readout.limits(self.call(), torch.from_numpy(q).float()[None])
                converter = converter_step(limits, self.spec)[0].double().numpy()
            stream = Stream.of(self.spec.seed, "oracle", draw, stream=n)
            out[n] = self._cell_by_cell(q, converter, stream) * s * scale
        return _back(torch.from_numpy(out), shape, numpy)

    def _cell_by_cell(self, q: Floats, converter: Floats | None, stream: Stream) -> Floats:
        spec, cells, noise, drive = self.spec, self.cells, self.spec.column.noise(), self.spec.drive
        g, dummy = cells.bits[:, :, 0].double().numpy(), None
        if converter is not None:
            tensor, dummies = conductances(cells.bits, spec, self.noise, cells.used)
            g = tensor[:, :, 0].double().numpy()
            dummy = None if dummies is None else dummies[:, 0].double().numpy()
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

        def column(cells: Floats, reads: list[tuple[float, Floats]]) -> float:
            return sum(w * sum(current(c, d) for c, d in zip(cells, drives, strict=True)) for w, drives in reads)

        total = np.zeros(self.shape[0])
        for weight, drives in _as_arrays(drive.planes, q):
            for top in range(0, self.shape[1], spec.rows):
                rows = slice(top, min(top + spec.rows, self.shape[1]))
                reads = _as_arrays(drive.reads, drives[rows])
                # one reading of the dummy serves every column of its tile
                common = [column(d[rows], reads) for d in dummy] if dummy is not None else None
                for s in np.flatnonzero(cells.used.numpy()).tolist():
                    for j in range(self.shape[0]):
                        y = column(g[0, s, j, rows], reads)
                        if not spec.offset:
                            y -= column(g[1, s, j, rows], reads)
                        elif common is not None:
                            y -= common[j // spec.outputs_per_tile]
                        elif converter is not None:
                            y -= float(drives[rows].sum()) / spec.TMR
                        if converter is not None:
                            half = 2 ** (spec.adc_bits - 1)
                            y = float(np.clip(np.rint(y / converter[s]), -half, half - 1) * converter[s])
                        total[j] += weight * 2**s * y
        return total - spec.offset * q.sum()

    def _counters(self, images: int) -> NDArray[np.uint64]:
        return self.noise.counters(*self.context.position(self.name, images))

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

    def _whole_step(self, vectors: torch.Tensor) -> torch.Tensor | None:
        """1 where all inputs are whole numbers that fit, else None for a step of each vector's own."""
        whole = bool((vectors == vectors.round()).all())
        fits = self.spec.input_bottom <= float(vectors.min()) and float(vectors.max()) <= self.spec.input_top
        return torch.ones(()) if whole and fits else None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_written": None}

    def extra_repr(self) -> str:
        """Return kind, size and arrays in words."""
        groups, outputs, inputs = self.geometry.shape
        size = f"{self.geometry.kind}, {groups * outputs} x {inputs}"
        return f"{size}, {self.spec.mode}, {self.spec.weight_bits}-bit weights"

    def __repr__(self) -> str:
        return f"Crossbar({self.shape[0]} x {self.shape[1]}, {self.extra_repr()})"


def _as_arrays(planes: Callable[[torch.Tensor], Planes], x: Floats) -> list[tuple[float, Floats]]:
    return [(weight, plane.double().numpy()) for weight, plane in planes(torch.from_numpy(x).float())]


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
