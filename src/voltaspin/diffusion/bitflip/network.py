"""A UNet from noisy bit planes to the logits of the clean ones.

The logit of a clean bit is exactly a sum of two parts, since flips are independent: the bit's own log-likelihood ratio,
log((1 - p_t) / p_t) for the value that was read, and the contribution of all other bits. The first part is known; the
network learns the second.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import UNet2DModel
from numpy.typing import NDArray

from voltaspin.diffusion.bitflip.process import Process
from voltaspin.diffusion.loop import LoopSpec, make_unet

KEPT_LEVELS = 255  #: a prediction is handed to the next evaluation in one byte
_CERTAIN = 1e-6  # least p_t for the evidence of a bit, where a schedule begins with steps that flip nothing


def make_network(spec: LoopSpec, *, planes: int, size: int, self_condition: bool) -> UNet2DModel:
    """The UNet with weights from the specification's seed; raises InputError for a size that it cannot halve.

    Args:
        planes: channels times bits of a grey level.
        self_condition: whether it also sees what it predicted before, as further planes.
    """
    return make_unet(spec, inputs=planes * (2 if self_condition else 1), outputs=planes, size=size)


def evidence(process: Process) -> NDArray[np.float32]:
    """Return the log odds that a bit read after t steps is the clean one, from the flips alone: (T + 1,)."""
    p = np.clip([process.marginal(t) for t in range(len(process) + 1)], _CERTAIN, 0.5)
    return np.log((1 - p) / p).astype(np.float32)


def clean_logits(
    unet: torch.nn.Module, x: torch.Tensor, before: torch.Tensor | None, t: torch.Tensor, evidence: torch.Tensor
) -> torch.Tensor:
    """Logits of P(x_0 = 1).

    Args:
        unet: of :func:`make_network`.
        x: noisy planes as -1 and +1, float32 (n, planes, h, w).
        before: of a network with self-conditioning, what it predicted, :func:`kept_prediction`, or zeros.
        t: steps of each image, 1 to T, int64 (n,).
        evidence: of the process, float32 (T + 1,).
    """
    time = t.float() * (1000.0 / (len(evidence) - 1))  # the range that the embedding was made for
    seen = x if before is None else torch.cat([x, before], 1)
    return unet(seen, time).sample.float() + evidence[t][:, None, None, None] * x


def kept_prediction(logits: torch.Tensor) -> torch.Tensor:
    """The prediction as the next evaluation sees it: 2 P(x_0 = 1) - 1, in 256 levels."""
    return torch.round(torch.sigmoid(logits) * KEPT_LEVELS) * (2 / KEPT_LEVELS) - 1
