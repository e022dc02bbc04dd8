"""Put the layers of a torch model into crossbars, and say what was done."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.memory.attention import split_projections
from voltaspin.memory.layers import KINDS, MemoryLayer
from voltaspin.memory.machine import DigitalCount, Machine, macs_of
from voltaspin.memory.specification import ArraySpec

_LIKE_LAYERS = (nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose3d, nn.Bilinear, nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True)
class LayerCoverage:
    """What became of one layer.

    Args:
        name, kind: as in the model.
        in_memory: whether it computes in crossbars.
        reason: why not; empty where it does.
        macs: multiply-accumulates of one application of the model (one image).
        weights: in its matrix.
        cells: that hold them, dummies included; tiles: arrays that hold these.
    """

    name: str
    kind: str
    in_memory: bool
    reason: str
    macs: int
    weights: int
    cells: int = 0
    tiles: int = 0


@dataclass(frozen=True)
class Coverage:
    """What :func:`convert` put into memory.

    Args:
        layers: of the model, in its order.
        other_macs: multiply-accumulates that belong to no layer, such as attention products.
        counted: how they were counted.
        rows, columns: of a tile.
    """

    layers: tuple[LayerCoverage, ...]
    other_macs: int
    counted: str
    rows: int
    columns: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image in all."""
        return self.other_macs + sum(layer.macs for layer in self.layers)

    @property
    def mac_fraction(self) -> float:
        """Share of the multiply-accumulates that are done in memory."""
        return sum(layer.macs for layer in self.layers if layer.in_memory) / max(self.macs, 1)

    @property
    def weight_fraction(self) -> float:
        """Share of the layers' weights that lie in memory."""
        return sum(w.weights for w in self.layers if w.in_memory) / max(sum(w.weights for w in self.layers), 1)

    @property
    def arrays(self) -> int:
        """Tiles in use."""
        return sum(layer.tiles for layer in self.layers)

    @property
    def cells(self) -> int:
        """Cells in use."""
        return sum(layer.cells for layer in self.layers)

    @property
    def utilisation(self) -> float:
        """Share of the tiles' cells that are in use."""
        return self.cells / max(self.arrays * self.rows * self.columns, 1)

    def to_json(self) -> dict[str, Any]:
        return {
            "mac_fraction": self.mac_fraction, "weight_fraction": self.weight_fraction, "macs": self.macs,
            "other_macs": self.other_macs, "counted": self.counted, "arrays": self.arrays, "cells": self.cells,
            "utilisation": self.utilisation, "rows": self.rows, "columns": self.columns,
            "layers": [asdict(layer) for layer in self.layers],
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [
            f"{self.mac_fraction:.2%} of {self.macs:,} multiply-accumulates and {self.weight_fraction:.2%} of the "
            f"weights in memory ({self.counted})",
            f"{self.arrays} arrays of {self.rows} x {self.columns}, {self.cells:,} cells used, {self.utilisation:.1%}",
            "digital:",
        ]
        lines += [f"  {w.name} ({w.kind}, {w.macs:,}): {w.reason}" for w in self.layers if not w.in_memory]
        if self.other_macs:
            lines.append(f"  products of no layer, such as attention's: {self.other_macs:,}")
        return "\n".join(lines)


def convert(
    model: nn.Module,
    spec: ArraySpec,
    *,
    example: Any = None,
    calibration: Callable[[nn.Module], object] | Iterable[Any] | None = None,
    inplace: bool = False,
) -> tuple[nn.Module, Coverage]:
    """Put every layer that can be into crossbars.

    Linear, Conv1d, Conv2d and ConvTranspose2d go into memory, and the projections of ``nn.MultiheadAttention``, which
    becomes a module with a layer for each. The first and the last of them stay digital (a model of
    one or two has no inside, so all of it goes in), and so does the time embedding of a diffusers UNet;
    ``spec.layers`` decides otherwise by name.

    Args:
        model: any torch model. It is copied unless ``inplace``.
        spec: of the arrays.
        example: what one call takes (a tensor, a tuple of arguments or a dict of keywords) for one image, to count
            multiply-accumulates; found by itself for a ``UNet2DModel`` and where the first layer is linear.
        calibration: fixes the ranges, see :func:`calibrate`. Without it each image's inputs are scaled by
            their own largest value, and the converters' range follows from the mean square.

    Returns:
        The converted model and the coverage report.

    Raises:
        InputError: nothing can be converted, a layer holds NaN, or a pattern of ``spec.layers`` matches nothing.
    """
    if not inplace:
        model = copy.deepcopy(model)
    model = split_projections(model)
    layers, blocked = _layers(model)
    reasons = _reasons(model, spec, layers)
    if not any(name not in reasons for name in layers):
        why = (
            "; ".join(f"{n}: {r}" for n, r in {**reasons, **blocked}.items()) or "it has no linear layer or convolution"
        )
        raise InputError(
            f"no layer of this {type(model).__name__} can go into memory ({why}); Linear, Conv1d, Conv2d and "
            "ConvTranspose2d can, unless digital_ends or layers of the ArraySpec keep them digital"
        )
    macs, other, counted = _count_macs(model, layers, example)
    machine = Machine(Ledger("compute"), time_steps=spec.time_steps, time_buckets=spec.time_buckets, other_macs=other)
    report = []
    for name, layer in layers.items():
        weights = layer.weight.numel()
        if name in reasons:
            report.append(LayerCoverage(name, type(layer).__name__, False, reasons[name], macs[name], weights))
            layer.register_forward_hook(DigitalCount(machine, name))
            continue
        own = spec.of_layer(name)
        assert own is not None
        new = MemoryLayer(layer, own, name or "model", machine)
        new.train(layer.training)
        new.program()
        cells, tiles = _tiles(new)
        report.append(LayerCoverage(name, type(layer).__name__, True, "", macs[name], weights, cells, tiles))
        if not name:
            model = new
        else:
            parent, _, leaf = name.rpartition(".")
            owner = model.get_submodule(parent)
            if isinstance(owner, nn.Sequential | nn.ModuleList):
                owner[int(leaf)] = new
            else:
                setattr(owner, leaf, new)
    report += [LayerCoverage(n, type(model.get_submodule(n)).__name__, False, r, 0,
                             sum(p.numel() for p in model.get_submodule(n).parameters()))
               for n, r in blocked.items()]  # fmt: skip
    model.register_forward_pre_hook(machine.begin, with_kwargs=True)
    coverage = Coverage(tuple(report), other, counted, spec.rows, spec.columns)
    if calibration is not None:
        calibrate(model, calibration)
    return model, coverage


def machine_of(model: nn.Module) -> Machine:
    """What the converted layers of ``model`` share, its ledger among it; raises InputError where it has none."""
    for module in model.modules():
        if isinstance(module, MemoryLayer):
            return module.machine
    raise InputError(f"this {type(model).__name__} has no layer in memory; convert(model, spec) makes one")


def calibrate(model: nn.Module, run: Callable[[nn.Module], object] | Iterable[Any]) -> dict[str, float]:
    """Fix the ranges of inputs and converters from typical work.

    Args:
        model: converted.
        run: calls the model (a function of it), or arguments to call it with, one batch after another. With several
            time buckets each must occur; one that does not takes its neighbour's ranges.

    Returns:
        Share of clipped conversions per layer; more than ``clip_share`` of the specification is a warning.
    """
    machine = machine_of(model)
    layers = [m for m in model.modules() if isinstance(m, MemoryLayer)]
    machine.recording = True
    try:
        with torch.no_grad():
            if callable(run):
                run(model)
            else:
                for batch in run:
                    _call(model, batch)
    finally:
        machine.recording = False
    unseen = [layer.name for layer in layers if not layer.seen]
    if unseen:
        for layer in layers:
            layer.seen = {}
        raise InputError(f"the calibration never reached {', '.join(unseen[:5])}; run the whole model")
    return {layer.name: layer.settle() for layer in layers}


def _call(model: nn.Module, batch: Any) -> Any:
    if isinstance(batch, dict):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def _layers(model: nn.Module) -> tuple[dict[str, Any], dict[str, str]]:
    """Layers that can go into memory, and modules with weights that cannot, with the reason."""
    found: dict[str, Any] = {}
    blocked: dict[str, str] = {}
    inside: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in inside):
            continue
        if isinstance(module, MemoryLayer):
            raise InputError(f"layer {name!r} is in memory already; convert the float model")
        if isinstance(module, _LIKE_LAYERS):
            blocked[name] = f"{type(module).__name__} is not supported"
            inside.append(name)
        elif isinstance(module, KINDS):
            if getattr(module, "padding_mode", "zeros") != "zeros":
                blocked[name] = f"padding_mode={module.padding_mode!r} is not supported"
            else:
                found[name] = module
    return found, blocked


def _reasons(model: nn.Module, spec: ArraySpec, layers: dict[str, Any]) -> dict[str, str]:
    from fnmatch import fnmatchcase

    for pattern in spec.layers:
        if layers and not any(fnmatchcase(name, pattern) for name in layers):
            raise InputError(f"the pattern {pattern!r} of layers matches none of {', '.join(list(layers)[:8])} ...")
    reasons = {}
    names = list(layers)
    for name in names:
        chosen = spec.override(name)
        if chosen == "digital":
            reasons[name] = "kept digital by the specification"
        elif chosen is None and spec.digital_ends and len(names) > 2 and name in (names[0], names[-1]):
            reasons[name] = "first layer" if name == names[0] else "last layer"
        elif chosen is None and name.startswith("time_embedding.") and type(model).__name__.startswith("UNet"):
            reasons[name] = "time embedding"
    return reasons


def _tiles(layer: MemoryLayer) -> tuple[int, int]:
    spec, outputs = layer.spec, layer.out_features // layer.groups
    blocks = math.ceil(outputs / spec.outputs_per_tile)
    columns = outputs * spec.columns_per_output + blocks * spec.dummies
    cells = layer.groups * layer.in_features * columns
    return cells, layer.groups * blocks * math.ceil(layer.in_features / spec.rows)


def _example(model: nn.Module, layers: dict[str, Any]) -> Any:
    if type(model).__name__ == "UNet2DModel":
        c: Any = model.config
        size = c["sample_size"] or 32
        height, width = (size, size) if isinstance(size, int) else size
        return (torch.zeros(1, c["in_channels"], height, width), 1)
    first = next(iter(layers.values()))
    return torch.zeros(1, first.in_features) if isinstance(first, nn.Linear) else None


def _count_macs(model: nn.Module, layers: dict[str, Any], example: Any) -> tuple[dict[str, int], int, str]:
    """Multiply-accumulates per layer, those of no layer, and how they were counted."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    given = example is not None
    if not given:
        example = _example(model, layers)
    once = {name: int(layer.weight.numel()) for name, layer in layers.items()}
    if example is None:
        return once, 0, "one application of each matrix; give convert an example to count positions and attention"
    macs = dict.fromkeys(layers, 0)

    def hook(name: str) -> Callable[..., None]:
        def count(module: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
            macs[name] += macs_of(module, args, output)

        return count

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    parameter = next(model.parameters())
    try:
        # the mathematical form of attention is the one whose products are counted
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            _call(model, _to(example, parameter.device))
    except Exception as error:
        if given:
            raise InputError(f"the model does not take the example: {error}") from error
        return once, 0, "one application of each matrix; give convert an example to count positions and attention"
    finally:
        for handle in handles:
            handle.remove()
    total = counter.get_total_flops() // 2
    return macs, max(total - sum(macs.values()), 0), "one image, attention products included"


def _to(batch: Any, device: torch.device) -> Any:
    if torch.is_tensor(batch):
        return batch.to(device)
    if isinstance(batch, dict):
        return {k: _to(v, device) for k, v in batch.items()}
    return tuple(_to(v, device) for v in batch) if isinstance(batch, tuple | list) else batch
