"""The input of one evaluation for one image, from the configuration of a diffusers network.

A new network is one function here and its class name in :data:`INPUTS`. What has none takes the arguments that its
``forward`` names, as far as their names say what they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from voltaspin.core.errors import InputError

REMEDY = "write module.py:function that returns (model, example) and give that"

#: Tokens of a text, by class: the longest that the published pipelines of this network give it.
TEXT_TOKENS = {
    "AuraFlowTransformer2DModel": 256,
    "FluxTransformer2DModel": 512,
    "PixArtTransformer2DModel": 120,
    "SanaTransformer2DModel": 300,
    "SD3Transformer2DModel": 333,
}
_TOKENS = 77  # of all others: those of CLIP
_SIDE, _FRAMES = 64, 16  # of a latent and of a film, where the configuration says nothing
_FLUX_TOKENS = 64  # along each side of an image of 1024 x 1024 pixels: 8 x 8 pixels a latent, 2 x 2 latents a token


@dataclass
class Inputs:
    """Zeros in the shapes that a network takes, and what was assumed.

    Args:
        model: a network of diffusers.

    Attributes:
        assumed: in words, what the configuration leaves open.
    """

    model: Any
    assumed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = type(self.model).__name__
        self.dtype = next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    def config(self, key: str) -> Any:
        """Return a value of the configuration; None where it has none."""
        return self.model.config.get(key)

    def needed(self, *keys: str) -> int:
        """Return the first of some values that is set; raises InputError where none is."""
        for key in keys:
            if isinstance(value := self.config(key), int) and value > 0:
                return value
        raise InputError(
            f"config.json of this {self.name} sets no {' or '.join(keys)}, from which the example follows; add it, or "
            f"{REMEDY}"
        )

    def zeros(self, *shape: int) -> torch.Tensor:
        """Return zeros (1, ...) in the network's floating-point type."""
        return torch.zeros(1, *shape, dtype=self.dtype)

    def image(self, *, side: int = 0, frames: int = 0) -> torch.Tensor:
        """Return an image or a latent (1, channels, height, width), or a film of them (1, channels, frames, ...).

        Args:
            side: assumed where the configuration says none.
            frames: of a film.
        """
        size = self.config("sample_size")
        if size is None and side:
            self.assumed.append(f"an image of {side} x {side}, which config.json does not say")
            size = side
        if not (isinstance(size, list | tuple) and len(size) == 2):
            size = 2 * (size if isinstance(size, int) and size > 0 else self.needed("sample_size"),)
        if frames:
            self.assumed.append(f"{frames} frames")
        return self.zeros(self.needed("in_channels"), *((frames,) if frames else ()), *size)

    @property
    def tokens(self) -> int:
        """Tokens of a text."""
        return TEXT_TOKENS.get(self.name, _TOKENS)

    def text(self, *widths: str) -> torch.Tensor:
        """Return an encoded text (1, tokens, width); ``widths`` are keys of the configuration."""
        tokens = self.tokens
        self.assumed.append(f"a text of {tokens} tokens")
        return self.zeros(tokens, self.needed(*widths))


def _when() -> torch.Tensor:
    return torch.ones(1, dtype=torch.long)


def _unet(x: Inputs, image: torch.Tensor | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"sample": x.image() if image is None else image, "timestep": 1}
    kind, labels = x.config("class_embed_type"), x.config("num_class_embeds")
    if labels or kind == "timestep":
        made["class_labels"] = torch.zeros(1, dtype=torch.long)
    elif kind in ("projection", "simple_projection"):
        made["class_labels"] = x.zeros(x.needed("projection_class_embeddings_input_dim"))
    elif kind == "identity":
        made["class_labels"] = x.zeros(x.config("time_embedding_dim") or 4 * x.config("block_out_channels")[0])
    elif kind is not None:
        raise InputError(f"class_embed_type={kind!r} of this {x.name} is unknown here; {REMEDY}")
    return made


def _conditional_unet(x: Inputs, image: torch.Tensor | None = None) -> dict[str, Any]:
    made = _unet(x, image)
    width, hidden, more = x.config("cross_attention_dim"), x.config("encoder_hid_dim_type"), {}
    if isinstance(width, list | tuple):
        if len(set(width)) > 1:
            raise InputError(
                f"cross_attention_dim={list(width)} of this {x.name} differs from block to block; {REMEDY}"
            )
        width = width[0]
    if hidden in (None, "text_proj", "text_image_proj"):
        x.assumed.append(f"a text of {(tokens := x.tokens)} tokens")
        made["encoder_hidden_states"] = x.zeros(tokens, x.config("encoder_hid_dim") or width)
    elif hidden == "image_proj":
        made["encoder_hidden_states"] = None
    else:
        raise InputError(f"encoder_hid_dim_type={hidden!r} of this {x.name} is unknown here; {REMEDY}")
    if hidden in ("image_proj", "text_image_proj"):
        more["image_embeds"] = x.zeros(x.needed("encoder_hid_dim") if hidden == "image_proj" else int(width))
    added = x.config("addition_embed_type")
    if added == "text_time":
        ids = 6  # original size, corner and size of the crop
        text = x.needed("projection_class_embeddings_input_dim") - ids * x.needed("addition_time_embed_dim")
        if text < 1:
            raise InputError(
                f"projection_class_embeddings_input_dim of this {x.name} leaves {text} numbers for a text; {REMEDY}"
            )
        more |= {"text_embeds": x.zeros(text), "time_ids": x.zeros(ids)}
    elif added == "image":
        more["image_embeds"] = x.zeros(x.needed("encoder_hid_dim"))
    elif added == "text_image":
        more |= {"text_embeds": x.zeros(int(width)), "image_embeds": x.zeros(int(width))}
    elif added not in (None, "text"):
        raise InputError(f"addition_embed_type={added!r} of this {x.name} is unknown here; {REMEDY}")
    if more:
        made["added_cond_kwargs"] = more
    if dim := x.config("time_cond_proj_dim"):
        made["timestep_cond"] = x.zeros(dim)
    return made


def _control_net(x: Inputs) -> dict[str, Any]:
    image = x.image(side=_SIDE)
    scale = 2 ** (len(x.config("conditioning_embedding_out_channels") or ()) - 1)
    shown = x.zeros(x.config("conditioning_channels") or 3, *(int(scale * n) for n in image.shape[2:]))
    return _conditional_unet(x, image) | {"controlnet_cond": shown}


def _film(x: Inputs) -> dict[str, Any]:
    return _conditional_unet(x, x.image(side=_SIDE, frames=_FRAMES))


def _film_of_image(x: Inputs) -> dict[str, Any]:
    film = x.image(side=_SIDE, frames=x.config("num_frames") or _FRAMES).transpose(1, 2)
    width = x.config("cross_attention_dim")
    seen = x.zeros(1, width[0] if isinstance(width, list | tuple) else width)
    return {"sample": film, "timestep": 1, "encoder_hidden_states": seen, "added_time_ids": x.zeros(3)}


def _by_names(x: Inputs) -> dict[str, Any]:
    """The arguments of a network without a function of its own, by their names."""
    made: dict[str, Any] = {}
    widths = ("cross_attention_dim", "joint_attention_dim", "caption_channels", "encoder_hid_dim")
    wide = next((w for w in widths if isinstance(x.config(w), int)), "")
    for name, p in inspect.signature(x.model.forward).parameters.items():
        required = p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        if name in ("sample", "hidden_states") and (vectors := x.config("num_vector_embeds")):
            made[name] = torch.zeros(1, x.needed("sample_size") ** 2, dtype=torch.long)
            x.assumed.append(f"an image of {vectors} words of a code book")
        elif name in ("sample", "hidden_states"):
            made[name] = x.image(side=_SIDE)
        elif name == "timestep":
            made[name] = _when()
        elif name == "encoder_hidden_states" and wide:
            made[name] = x.text(wide)
        elif name == "class_labels" and (required or x.config("norm_type") == "ada_norm_zero"):
            made[name] = torch.zeros(1, dtype=torch.long)
        elif name == "pooled_projections" and required:
            made[name] = x.zeros(x.needed("pooled_projection_dim"))
        elif required:
            raise InputError(
                f"no example input is known for a {x.name}, whose forward needs {name} (known: {', '.join(INPUTS)}); "
                f"{REMEDY}"
            )
    x.assumed.append(f"the arguments of {x.name} by their names: {', '.join(made)}")
    return made


def _unet_of_sequences(x: Inputs) -> dict[str, Any]:
    return {"sample": x.zeros(x.needed("in_channels"), x.needed("sample_size")), "timestep": _when()}


def _dit(x: Inputs) -> dict[str, Any]:
    return {"hidden_states": x.image(), "timestep": _when(), "class_labels": torch.zeros(1, dtype=torch.long)}


def _pixart(x: Inputs) -> dict[str, Any]:
    made = {"hidden_states": x.image(), "encoder_hidden_states": x.text("caption_channels", "cross_attention_dim")}
    sized = bool(getattr(x.model, "use_additional_conditions", False))
    more = {"resolution": x.zeros(2) if sized else None, "aspect_ratio": x.zeros(1) if sized else None}
    return {**made, "timestep": _when(), "added_cond_kwargs": more}


def _sd3(x: Inputs) -> dict[str, Any]:
    return {
        "hidden_states": x.image(), "encoder_hidden_states": x.text("joint_attention_dim"),
        "pooled_projections": x.zeros(x.needed("pooled_projection_dim")), "timestep": _when(),
    }  # fmt: skip


def _flux(x: Inputs) -> dict[str, Any]:
    x.assumed.append("an image of 1024 x 1024 pixels, which config.json does not say")
    text, tokens = x.text("joint_attention_dim"), _FLUX_TOKENS**2
    made = {
        "hidden_states": x.zeros(tokens, x.needed("in_channels")), "encoder_hidden_states": text,
        "pooled_projections": x.zeros(x.needed("pooled_projection_dim")), "timestep": x.zeros(),
        "img_ids": x.zeros(tokens, 3)[0], "txt_ids": x.zeros(text.shape[1], 3)[0],
    }  # fmt: skip
    return made | ({"guidance": x.zeros()} if x.config("guidance_embeds") else {})


def _prior(x: Inputs) -> dict[str, Any]:
    width, tokens = x.needed("embedding_dim"), x.needed("num_embeddings")
    return {
        "hidden_states": x.zeros(width), "timestep": _when(),
        "proj_embedding": x.zeros(x.needed("embedding_proj_dim", "embedding_dim")),
        "encoder_hidden_states": x.zeros(tokens, width),
    }  # fmt: skip


def _aura(x: Inputs) -> dict[str, Any]:
    text = x.text("joint_attention_dim")
    return {"hidden_states": x.image(), "encoder_hidden_states": text, "timestep": x.zeros()}


def _sana(x: Inputs) -> dict[str, Any]:
    made = {"hidden_states": x.image(), "encoder_hidden_states": x.text("caption_channels"), "timestep": _when()}
    return made | ({"guidance": x.zeros()} if x.config("guidance_embeds") else {})


#: How the keyword arguments of one evaluation follow from a network's configuration.
INPUTS: dict[str, Callable[[Inputs], dict[str, Any]]] = {
    "AuraFlowTransformer2DModel": _aura,
    "ControlNetModel": _control_net,
    "DiTTransformer2DModel": _dit,
    "FluxTransformer2DModel": _flux,
    "PixArtTransformer2DModel": _pixart,
    "PriorTransformer": _prior,
    "SanaTransformer2DModel": _sana,
    "SD3Transformer2DModel": _sd3,
    "UNet1DModel": _unet_of_sequences,
    "UNet2DConditionModel": _conditional_unet,
    "UNet2DModel": _unet,
    "UNet3DConditionModel": _film,
    "UNetSpatioTemporalConditionModel": _film_of_image,
}


def inputs_of(model: nn.Module) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the keyword arguments of one evaluation for one image, and what was assumed.

    Args:
        model: a network of diffusers; one without weights will do.

    Raises:
        InputError: no network of diffusers, one that needs an argument which is not known here, or one whose
            configuration leaves a size open.
    """
    name = type(model).__name__
    if not hasattr(model, "config") or not hasattr(model.config, "get"):
        raise InputError(f"no example input is known for a {name} (known: {', '.join(INPUTS)}); {REMEDY}")
    inputs = Inputs(model)
    return INPUTS.get(name, _by_names)(inputs), tuple(inputs.assumed)
