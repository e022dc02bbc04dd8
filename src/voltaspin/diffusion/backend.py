"""The arithmetic and the memory allocator that are fast on this machine."""

from __future__ import annotations

import ctypes
import functools
import platform
import warnings
from typing import Any

import torch

from voltaspin.core.errors import InputError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def bf16_is_faster(device: str) -> bool:
    """bf16 pays off where ``device`` multiplies it: 0.66 against 1.29 s per training step on AVX512-BF16."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        return bool(torch.cpu._is_avx512_bf16_supported())
    except AttributeError:
        return False


@functools.cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep freed tensors instead of giving their pages back to the system at every layer.

    A layer's activations are megabytes, which glibc maps anew each time; the page faults then cost more than
    the arithmetic (benchmarks/allocator.py prints the ratio). Affects this process only, and only its speed.

    Returns:
        Whether the allocator took it; False where there is no glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 64 << 20))
    return all(libc.mallopt(option, value) == 1 for option, value in settings)


def outputs_per_image(model: torch.nn.Module, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Numbers that the layers of a network put out for one image: (all together, the largest layer).

    Args:
        model: called with (images, time step).
        shape: channels, height and width of its input.
    """
    sizes = [0]

    def count(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if torch.is_tensor(output):
            sizes.append(output.numel())

    hooks = [m.register_forward_hook(count) for m in model.modules() if not list(m.children())]
    try:
        device = next(model.parameters()).device
        config = getattr(model, "config", None)
        told = {"class_labels": torch.zeros(1, dtype=torch.long, device=device)} if config and config.get(
            "num_class_embeds"
        ) else {}  # fmt: skip
        with torch.no_grad():
            model(torch.zeros(1, *shape, device=device), 0, **told)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes), max(sizes)


@functools.cache
def check_compiler() -> None:
    """Refuse torch.compile where it cannot translate even a small function, for want of a compiler.

    Raises:
        InputError: it cannot run here; the message says why.
    """
    try:
        with warnings.catch_warnings():  # of PyTorch about itself
            warnings.simplefilter("ignore")
            torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device="cuda" if torch.cuda.is_available() else "cpu"))
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"compile = true: torch.compile cannot run here ({type(error).__name__}: {reason}); install a C++ "
            "compiler, or leave compile out"
        ) from None
