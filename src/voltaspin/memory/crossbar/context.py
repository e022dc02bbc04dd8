"""The context that the layers of one converted model share: counts, time steps, and the position of the noise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from voltaspin.core.context import current
from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.memory.crossbar.counting import first_tensor

OTHER = "attention and other products"  #: name in the ledger of work that belongs to no layer
NETWORK = "network"  #: name in the ledger of the evaluations of the whole model, one for each image


@dataclass
class CrossbarContext:
    """The context of the converted layers of one model.

    Args:
        ledger: counts per layer, and per step where a run context says which.
        recording: whether the layers keep what they see, to choose ranges from; nothing is counted meanwhile.
        bypass: whether the layers compute as the float ones, to compare the models; nothing is counted.
        bucket: part of the diffusion's time axis that is being computed.
        call: how many times the model was called; keys the read noise where there is no run context.
        fixed: multiply-accumulates of digital work that no hook sees, by name, for an input of ``size`` numbers.
        size: of the input that ``fixed`` holds for.
    """

    ledger: Ledger = field(default_factory=lambda: Ledger("compute"))
    recording: bool = False
    bypass: bool = False
    bucket: int = 0
    call: int = 0
    uses: Counter[str] = field(default_factory=Counter)
    time_steps: int = 1000
    time_buckets: int = 1
    fixed: dict[str, int] = field(default_factory=dict)
    size: int = 1

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before every call of the model: which bucket its time step lies in."""
        self.call += 1
        self.uses.clear()
        x = first_tensor(args, kwargs)
        if x is not None and not self.recording:
            self.ledger_of(NETWORK).count("evaluation", len(x))
            for name, macs in self.fixed.items():
                self.ledger_of(name).count("mac", round(macs * x.numel() / self.size))
        t = kwargs.get("timestep", args[1] if len(args) > 1 else None)
        if self.time_buckets > 1 and t is not None:
            times = {float(v) for v in torch.as_tensor(t).reshape(-1).tolist()}
            buckets = {min(int(v * self.time_buckets / self.time_steps), self.time_buckets - 1) for v in times}
            if len(buckets) > 1:
                raise InputError(
                    f"one batch holds time steps of the buckets {sorted(buckets)}, whose converter ranges differ; "
                    "compute images of one bucket at a time, or use time_buckets=1"
                )
            self.bucket = buckets.pop()

    def position(self, layer: str, images: int) -> tuple[tuple[int, ...], int]:
        """Return the address of the numbers that a layer draws now: an identifier per image, and a step."""
        context = current()
        use = self.uses[layer]
        self.uses[layer] += 1
        ids: tuple[int, ...] = tuple(range(images))
        if context is None:
            return ids, (self.call << 12) + use
        known = context.images
        if len(known) == images:
            ids = known
        elif len(known) and images % len(known) == 0:
            each = images // len(known)
            ids = tuple((i << 20) + k + 1 for i in known for k in range(each))
        return ids, (1 << 62) + (context.step << 12) + use

    def ledger_of(self, layer: str) -> Ledger:
        context = current()
        mine = self.ledger.child(layer)
        return mine if context is None else mine.child(f"step {context.step}")


def macs_of(module: Any, args: tuple[Any, ...], output: torch.Tensor) -> int:
    """Multiply-accumulates of one application of a linear layer or convolution."""
    w = module.weight
    over = args[0] if isinstance(module, nn.ConvTranspose2d) else output
    return int(over.numel() // w.shape[0] * w.numel())


@dataclass
class DigitalCount:
    """A hook that counts the work of a layer that stays digital.

    Args:
        context: whose ledger.
        name: of the layer.
    """

    context: CrossbarContext
    name: str

    def __call__(self, module: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        if self.context.recording or self.context.bypass:
            return
        ledger = self.context.ledger_of(self.name)
        ledger.count("mac", macs_of(module, args, output))
        ledger.count("byte", args[0].numel() + 2 * output.numel())
