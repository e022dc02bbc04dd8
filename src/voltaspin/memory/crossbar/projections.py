"""Attention with layers of its own for its projections, so that each can lie in memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class ProjectedAttention(nn.Module):
    """``nn.MultiheadAttention`` with its packed projections split into four linear layers.

    It takes the same arguments and gives the same results; ``state_dict`` has other names, ``load_state_dict`` takes
    either. The products of queries and keys, and of weights and values, stay digital.

    Args:
        source: whose weights are taken over.
    """

    in_proj_bias = None  # tells torch's transformer layers to call this module and not the fused kernel

    def __init__(self, source: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.batch_first = source.embed_dim, source.num_heads, source.batch_first
        self.dropout, self.add_zero_attn = source.dropout, source.add_zero_attn
        self.bias_k, self.bias_v = source.bias_k, source.bias_v
        if source.in_proj_weight is not None:
            parts = source.in_proj_weight.detach().chunk(3)
        else:
            parts = tuple(getattr(source, f"{n}_proj_weight").detach() for n in "qkv")
        biases = (None,) * 3 if source.in_proj_bias is None else source.in_proj_bias.detach().chunk(3)
        self.q, self.k, self.v = (_linear(w, b) for w, b in zip(parts, biases, strict=True))
        out = source.out_proj
        self.out = _linear(out.weight.detach(), None if out.bias is None else out.bias.detach())
        self.train(source.training)
        self.register_load_state_dict_pre_hook(_unpacked)

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None, need_weights: bool = True,
        attn_mask: torch.Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
        """As ``nn.MultiheadAttention``; ``is_causal`` wants its mask given as well."""
        flat = query.dim() == 2
        if flat:
            query, key, value = (x[None] if self.batch_first else x[:, None] for x in (query, key, value))
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self.q(query), self.k(key), self.v(value)
        for name, at in (("bias_k", "k"), ("bias_v", "v")):
            extra = getattr(self, name)
            if extra is not None:
                grown = torch.cat([k if at == "k" else v, extra.expand(len(k), 1, -1)], 1)
                k, v = (grown, v) if at == "k" else (k, grown)
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        if self.add_zero_attn:
            k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        more = k.shape[2] - key.shape[1]
        for mask, shape in ((attn_mask, None), (key_padding_mask, (len(k), 1, 1, -1))):
            if mask is None:
                continue
            if mask.dim() == 3:
                mask = mask.view(len(k), self.num_heads, *mask.shape[-2:])
            seen = mask if shape is None else (mask[None] if flat else mask).view(*shape)
            seen = F.pad(seen, (0, more)) if more else seen
            scores = scores.masked_fill(seen, -torch.inf) if seen.dtype == torch.bool else scores + seen
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        y = self.out((weights @ v).transpose(1, 2).flatten(2))
        y = y if self.batch_first else y.transpose(0, 1)
        shown: Any = None
        if need_weights:
            shown = weights.mean(1) if average_attn_weights else weights
            shown = shown[0] if flat else shown
        return (y.squeeze(0 if self.batch_first else 1) if flat else y), shown


def _unpacked(module: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    """Give the tensors of a ``nn.MultiheadAttention`` the names of the four layers."""
    for ending in ("weight", "bias"):
        if f"{prefix}in_proj_{ending}" in state:
            parts = state.pop(f"{prefix}in_proj_{ending}").chunk(3)
            state.update({f"{prefix}{n}.{ending}": part for n, part in zip("qkv", parts, strict=True)})
        if f"{prefix}out_proj.{ending}" in state:
            state[f"{prefix}out.{ending}"] = state.pop(f"{prefix}out_proj.{ending}")
    for n in "qkv":
        if f"{prefix}{n}_proj_weight" in state:
            state[f"{prefix}{n}.weight"] = state.pop(f"{prefix}{n}_proj_weight")


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")  # draws no numbers
    made.weight = nn.Parameter(weight.clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.clone())
    return made


def split_projections(model: nn.Module, compared: dict[nn.Module, str] | None = None) -> nn.Module:
    """Every plain ``nn.MultiheadAttention`` of the model replaced, in place; returns the model, or what replaces it.

    Args:
        compared: modules that were compared with the plain layer; those of the projections follow theirs.
    """
    new: dict[nn.Module, nn.Module] = {}
    for module in list(model.modules()):
        if _plain(module):
            new[module] = ProjectedAttention(module)  # type: ignore[arg-type]
            if compared is not None:
                compared.pop(module.out_proj, None)  # type: ignore[arg-type]
    for owner in list(model.modules()):
        for name, child in owner._modules.items():
            if child is not None and child in new:
                owner._modules[name] = new[child]
    return new.get(model, model)


def _plain(module: nn.Module) -> bool:
    """Whether a module is a MultiheadAttention that computes as torch's own."""
    if type(module) is not nn.MultiheadAttention or "forward" in vars(module):
        return False
    parts = (module, module.out_proj)
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in parts)
    changed = any(hasattr(m, "parametrizations") for m in parts)
    return not hooked and not changed and not any(p.is_complex() for p in module.parameters())
