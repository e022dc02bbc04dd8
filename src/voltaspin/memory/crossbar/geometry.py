"""How the operation of a layer meets matrices: linear layers, convolutions, transposed convolutions."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

#: Layers that can go into memory.
KINDS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


class Geometry:
    """A linear layer: its weight is the matrix, and the last axis of an input meets it.

    Args:
        weight: of the layer, whose shape counts.

    Attributes:
        kind: name of the plain layer.
        shape: of the matrices, (groups, outputs, inputs).
        channels: of an input, on ``axis``.
        trailing: axes of an output behind its channels.
        wanted: shape of an input, for messages.
    """

    kind, wanted, trailing, axis, dims = "Linear", "(..., {})", 0, -1, range(1, 99)
    shape: tuple[int, int, int]

    def __init__(self, weight: torch.Tensor) -> None:
        self.shape, self.channels = (1, *weight.shape), weight.shape[1]

    @property
    def out_channels(self) -> int:
        """Channels of an output."""
        return self.shape[0] * self.shape[1]

    def rows(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights with one row per output channel, each with a step of its own."""
        return weight.reshape(self.out_channels, -1)

    def matrices(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the matrices (groups, outputs, inputs) of :meth:`rows`."""
        return rows.reshape(self.shape)

    def weight(self, matrices: torch.Tensor) -> torch.Tensor:
        """Return matrices in the shape of the layer's weight."""
        return matrices.reshape(matrices.shape[1:])

    def per_weight(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a number for each output channel in a shape that multiplies the layer's weight."""
        return rows[:, None]

    def per_output(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a number for each output channel in a shape that multiplies the layer's output."""
        return rows.view(-1, *[1] * self.trailing)

    def always(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the variance of each output channel that does not depend on the input, from that of each output."""
        return rows.reshape(-1)

    def apply(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Compute as the plain layer does."""
        return F.linear(x, weight, bias)

    def positions(self, x: torch.Tensor, y: torch.Tensor) -> int:
        """Return how many vectors meet the matrices."""
        return y.numel() // self.out_channels

    def unfold(self, x: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the matrices: (images, groups, inputs, positions)."""
        return x.reshape(len(x), 1, -1, x.shape[-1]).transpose(2, 3)

    def fold(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return outputs (images, groups, outputs, positions) in the layer's own shape, for its input ``x``."""
        return y[:, 0].transpose(1, 2).reshape(*x.shape[:-1], -1)

    def unfolded(self, x: torch.Tensor) -> int:
        """Return how many numbers :meth:`unfold` makes of one image."""
        return math.prod(x.shape[1:])


class Convolution(Geometry):
    """A convolution in one or two dimensions: every position of the kernel meets the matrices."""

    def __init__(self, layer: Any) -> None:
        self.stride, self.dilation = layer.stride, layer.dilation
        self.padding, self.groups = layer.padding, layer.groups
        self.kernel = tuple(layer.kernel_size)
        self.trailing = len(self.kernel)
        self.kind, self.axis = f"Conv{self.trailing}d", -self.trailing - 1
        self.dims = range(self.trailing + 1, self.trailing + 3)
        self.wanted = "(images, {}, length)" if self.trailing == 1 else "(images, {}, rows, columns)"
        outputs, inputs = layer.weight.shape[:2]
        self._weight = tuple(layer.weight.shape)
        self.channels = inputs * self.groups
        self.shape = (self.groups, outputs // self.groups, inputs * math.prod(self.kernel))

    def weight(self, matrices: torch.Tensor) -> torch.Tensor:
        """Return matrices in the shape of the layer's weight."""
        return matrices.reshape(self._weight)

    def per_weight(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a number for each output channel in a shape that multiplies the layer's weight."""
        return rows.view(-1, *[1] * (self.trailing + 1))

    def apply(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Compute as the plain layer does."""
        of = F.conv1d if self.trailing == 1 else F.conv2d
        return of(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def unfold(self, x: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the matrices: (images, groups, inputs, positions)."""
        stride, dilation, kernel, padding = self.stride, self.dilation, self.kernel, self.padding
        if isinstance(padding, str):
            same = padding == "same"
            lost = [d * (k - 1) if same else 0 for d, k in zip(dilation, kernel, strict=True)]
            x = F.pad(x, [side for n in reversed(lost) for side in (n // 2, n - n // 2)])
            padding = (0,) * len(kernel)
        if self.trailing == 1:
            x, kernel, stride = x[:, :, None], (1, *kernel), (1, *stride)
            dilation, padding = (1, *dilation), (0, *padding)
        columns = F.unfold(x, kernel, dilation, padding, stride)
        return columns.view(len(x), self.groups, -1, columns.shape[-1])

    def fold(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return outputs (images, groups, outputs, positions) in the layer's own shape, for its input ``x``."""
        return y.reshape(len(y), -1, *self._size(x))

    def unfolded(self, x: torch.Tensor) -> int:
        """Return how many numbers :meth:`unfold` makes of one image at most."""
        return math.prod(x.shape[1:]) * math.prod(self.kernel)

    def _size(self, x: torch.Tensor) -> tuple[int, ...]:
        with torch.device("meta"):
            return tuple(self.apply(torch.empty(x.shape), torch.empty(self._weight)).shape[2:])


class Transposed(Convolution):
    """A transposed convolution: every input position meets the matrices, whose outputs (taps) then add up."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.kind, self.output_padding = "ConvTranspose2d", layer.output_padding
        self.channels, outputs = layer.weight.shape[:2]
        self.shape = (self.groups, outputs * math.prod(self.kernel), self.channels // self.groups)

    @property
    def out_channels(self) -> int:
        """Channels of an output."""
        return self._weight[1] * self.groups

    def rows(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights with one row per output channel, each with a step of its own."""
        groups, _, inputs = self.shape
        split = weight.reshape(groups, inputs, self._weight[1], -1).permute(0, 2, 1, 3)
        return split.reshape(self.out_channels, -1)

    def matrices(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the matrices (groups, outputs, inputs) of :meth:`rows`."""
        groups, _, inputs = self.shape
        return rows.reshape(groups, self._weight[1], inputs, -1).transpose(2, 3).reshape(self.shape)

    def weight(self, matrices: torch.Tensor) -> torch.Tensor:
        """Return matrices in the shape of the layer's weight."""
        return matrices.transpose(1, 2).reshape(self._weight)

    def per_weight(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a number for each output channel in a shape that multiplies the layer's weight."""
        each = rows.view(self.groups, 1, -1).expand(self.groups, self.shape[2], -1)
        return each.reshape(*self._weight[:2], 1, 1)

    def always(self, rows: torch.Tensor) -> torch.Tensor:
        """Return one term for each tap that meets an input, as in the interior of an image."""
        return rows.view(self.groups, -1, math.prod(self.kernel)).sum(2).reshape(-1) / math.prod(self.stride)

    def apply(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Compute as the plain layer does."""
        return F.conv_transpose2d(
            x, weight, bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )

    def positions(self, x: torch.Tensor, y: torch.Tensor) -> int:
        """Return how many vectors meet the matrices."""
        return x.numel() // x.shape[1]

    def unfold(self, x: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the matrices: (images, groups, inputs, positions)."""
        return x.reshape(len(x), self.groups, self.shape[2], -1)

    def fold(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the taps (images, groups, outputs, positions), added up in the layer's own shape."""
        taps = y.reshape(len(y), -1, y.shape[-1])
        return F.fold(taps, self._size(x), self.kernel, self.dilation, self.padding, self.stride)

    def unfolded(self, x: torch.Tensor) -> int:
        """Return how many numbers :meth:`unfold` makes of one image."""
        return math.prod(x.shape[1:])

    def converted(
        self, x: torch.Tensor, y: torch.Tensor, variance: torch.Tensor | None, weight: torch.Tensor,
        gain: torch.Tensor, shift: torch.Tensor, lost: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Return outputs and variance when the taps are converted before they are added up.

        Args:
            x, weight, y, variance: of the layer's operation without conversion.
            gain, shift, lost: of the conversions: (images or 1, taps). One gain serves all images: their mean.
        """

        def added(each: torch.Tensor) -> torch.Tensor:
            return self.apply(torch.ones_like(x[:1]), per_weight(each).contiguous()) / self.shape[2]

        def per_weight(each: torch.Tensor) -> torch.Tensor:
            return self.weight(each.view(self.groups, -1, 1).expand(-1, -1, self.shape[2]))

        if len(gain) > 1:
            gain, shift, lost = (t.mean(0, keepdim=True) for t in (gain, shift, lost))
        if bool((gain != 1).any()):
            y = self.apply(x, weight * per_weight(gain)) + added(shift)
        white = torch.cat([added(each) for each in lost])
        return y, (white.expand(y.shape) if variance is None else variance + white)


def geometry_of(layer: Any) -> Geometry:
    """Return the geometry of a layer of one of the :data:`KINDS`, or of a class derived from one."""
    if isinstance(layer, nn.Linear):
        return Geometry(layer.weight)
    return (Transposed if isinstance(layer, nn.ConvTranspose2d) else Convolution)(layer)
