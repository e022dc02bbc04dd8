"""Any torch model, from a folder of diffusers or a function of the user, with the input of one image."""

import json
import sys

import diffusers
import pytest
import torch

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.diffusion.any_model import build
from voltaspin.diffusion.network_inputs import INPUTS, inputs_of
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.memory import ArraySpec, convert, trace
from voltaspin.memory.crossbar.counting import as_found, counted

UNET = {"sample_size": 16, "block_out_channels": [8, 16], "norm_num_groups": 4, "layers_per_block": 1}
CONDITIONAL = UNET | {
    "cross_attention_dim": 12,
    "attention_head_dim": 4,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
PLAIN = UNET | {
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}
SMALL = {"num_attention_heads": 2, "attention_head_dim": 8}
#: Small networks: class, configuration, and arguments that must be there.
CONFIGS = {
    "plain": ("UNet2DModel", PLAIN, set()),
    "classes": ("UNet2DModel", PLAIN | {"num_class_embeds": 3}, {"class_labels"}),
    "wide": ("UNet2DModel", PLAIN | {"sample_size": [8, 16]}, set()),
    "text": ("UNet2DConditionModel", CONDITIONAL, {"encoder_hidden_states"}),
    "text and size": (
        "UNet2DConditionModel",
        CONDITIONAL
        | {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
        | {"projection_class_embeddings_input_dim": 40},
        {"added_cond_kwargs"},
    ),
    "projected class": (
        "UNet2DConditionModel",
        CONDITIONAL | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 10},
        {"class_labels"},
    ),
    "projected text": (
        "UNet2DConditionModel",
        CONDITIONAL | {"encoder_hid_dim": 20, "encoder_hid_dim_type": "text_proj", "time_cond_proj_dim": 6},
        {"timestep_cond"},
    ),
    "image": (
        "UNet2DConditionModel",
        CONDITIONAL | {"encoder_hid_dim": 20, "encoder_hid_dim_type": "image_proj", "addition_embed_type": "image"},
        {"added_cond_kwargs"},
    ),
    "sequence": (
        "UNet1DModel",
        {
            "sample_size": 32, "in_channels": 14, "out_channels": 14, "block_out_channels": [8, 8, 16, 16],
            "time_embedding_type": "positional", "use_timestep_embedding": True, "freq_shift": 1,
            "down_block_types": ["DownResnetBlock1D"] * 4, "up_block_types": ["UpResnetBlock1D"] * 3, "act_fn": "swish",
            "mid_block_type": "MidResTemporalBlock1D", "out_block_type": "OutConv1DBlock", "flip_sin_to_cos": False,
        },
        set(),
    ),
    "DiT": ("DiTTransformer2DModel", SMALL | {"num_layers": 2, "sample_size": 8}, {"class_labels"}),
    "PixArt": (
        "PixArtTransformer2DModel",
        SMALL | {"num_layers": 1, "sample_size": 8, "cross_attention_dim": 16, "caption_channels": 20},
        set(),
    ),
    "PixArt of 1024": (
        "PixArtTransformer2DModel",
        {
            "num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 1, "sample_size": 8,
            "cross_attention_dim": 24, "caption_channels": 20, "use_additional_conditions": True,
        },
        {"added_cond_kwargs"},
    ),
    "SD3": (
        "SD3Transformer2DModel",
        SMALL
        | {
            "num_layers": 2, "sample_size": 8, "joint_attention_dim": 20, "caption_projection_dim": 16,
            "pooled_projection_dim": 12, "pos_embed_max_size": 8, "in_channels": 4,
        },
        {"pooled_projections"},
    ),
    "Flux": (
        "FluxTransformer2DModel",
        SMALL
        | {
            "num_layers": 1, "num_single_layers": 1, "in_channels": 4, "joint_attention_dim": 20,
            "pooled_projection_dim": 12, "axes_dims_rope": [2, 2, 4], "guidance_embeds": True,
        },
        {"guidance", "img_ids"},
    ),
    "prior": (
        "PriorTransformer", SMALL | {"num_layers": 1, "embedding_dim": 12, "num_embeddings": 7}, {"proj_embedding"}
    ),
    "AuraFlow": (
        "AuraFlowTransformer2DModel",
        SMALL
        | {
            "num_mmdit_layers": 1, "num_single_dit_layers": 1, "sample_size": 8, "joint_attention_dim": 20,
            "caption_projection_dim": 16, "pos_embed_max_size": 64,
        },
        set(),
    ),
    "Sana": (
        "SanaTransformer2DModel",
        SMALL
        | {
            "num_layers": 1, "sample_size": 8, "in_channels": 4, "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 8, "cross_attention_dim": 16, "caption_channels": 20, "guidance_embeds": True,
        },
        {"guidance"},
    ),
    "control": (
        "ControlNetModel",
        {name: value for name, value in CONDITIONAL.items() if name not in ("sample_size", "up_block_types")}
        | {"conditioning_embedding_out_channels": [4, 8]},
        {"controlnet_cond", "encoder_hidden_states"},
    ),
    "film": (
        "UNet3DConditionModel",
        CONDITIONAL | {
            "sample_size": 4, "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
            "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
        },
        {"encoder_hidden_states"},
    ),
    "film of an image": (
        "UNetSpatioTemporalConditionModel",
        {
            "sample_size": 8, "num_frames": 3, "block_out_channels": [32, 64], "layers_per_block": 1,
            "cross_attention_dim": 12, "num_attention_heads": [2, 2], "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 12,
            "down_block_types": ["CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"],
            "up_block_types": ["UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"],
        },
        {"added_time_ids"},
    ),
    "autoencoder": ("AutoencoderKL", {"sample_size": 16, "block_out_channels": [8], "norm_num_groups": 4}, {"sample"}),
    "autoencoder of a code book": (
        "VQModel", {"sample_size": 16, "block_out_channels": [8], "norm_num_groups": 4}, {"sample"}
    ),
    "autoencoder of no size": (
        "AutoencoderTiny",
        {"encoder_block_out_channels": [4, 4], "decoder_block_out_channels": [4, 4], "num_encoder_blocks": [1, 1],
         "num_decoder_blocks": [1, 1]},
        {"sample"},
    ),
    "blocks of a transformer": (
        "Transformer2DModel",
        SMALL | {"in_channels": 16, "sample_size": 8, "norm_num_groups": 4, "cross_attention_dim": 12,
                 "norm_type": "layer_norm"},
        {"encoder_hidden_states", "timestep"},
    ),
}  # fmt: skip


def folder(at, kind, config):
    at.mkdir(parents=True, exist_ok=True)
    (at / "config.json").write_text(json.dumps({"_class_name": kind} | config))
    return at


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return exit_.value.code, capsys.readouterr()


@pytest.mark.filterwarnings("ignore:.*Transformer2DModelOutput:FutureWarning")  # of diffusers about itself
@pytest.mark.parametrize("name", CONFIGS)
def test_a_network_is_traced_from_its_configuration_as_with_its_weights(name, tmp_path):
    kind, config, arguments = CONFIGS[name]
    loaded = build(str(folder(tmp_path / "network", kind, config)))
    assert arguments <= loaded.kwargs.keys()
    assert all(p.is_meta for n, p in loaded.module.named_parameters() if not n.endswith("mix_factor"))  # one number
    found = loaded.trace()
    assert found.model == kind
    assert found.uncounted == ()
    assert "the folder holds no weights; everything follows from its config.json" in found.assumed
    model = getattr(diffusers, kind).from_config(config)
    kwargs, _ = inputs_of(model)
    with as_found(model):
        count, _ = counted(model, (), **kwargs)
    assert sum(count.macs.values()) == found.macs
    assert found.model_copy(update={"assumed": ()}) == trace(model, **kwargs)


def test_every_input_that_is_known_is_tried():
    assert {kind for kind, _, _ in CONFIGS.values()} >= set(INPUTS)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_network_compiled_by_torchscript_is_refused_in_one_line():
    model = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)))
    found = trace(model, torch.zeros(1, 4))
    assert found.macs == 32
    assert {w.reason for w in found.layers} == {"it is compiled by TorchScript; convert the Python module"}
    with pytest.raises(InputError, match="compiled by TorchScript; convert the Python module"):
        found.coverage(ArraySpec())


def test_a_published_network_has_the_published_number_of_multiply_accumulates(tmp_path):
    """DiT-XL/2 at 256 x 256: 118.64 G in all (Peebles and Xie, ICCV 2023, table 4)."""
    config = {"num_layers": 28, "out_channels": 8, "sample_size": 32}
    found = build(str(folder(tmp_path, "DiTTransformer2DModel", config))).trace()
    d, tokens = 1152, 256
    time = 256 * d + d**2  # diffusers embeds the time for every block and once at the end; the paper once in all
    block = tokens * 12 * d**2 + 2 * tokens**2 * d + 6 * d**2 + time
    ends = tokens * 16 * d + time + 2 * d**2 + tokens * d * 32
    assert found.macs == 28 * block + ends
    # the paper does not say how it counts 57 normalisations: as less than two operations for each number
    assert 0 < 118.64e9 - (found.macs - 28 * time) < 2 * 57 * tokens * d


def test_a_pipeline_names_its_network(tmp_path):
    folder(tmp_path / "transformer", *CONFIGS["DiT"][:2])
    folder(tmp_path / "vae", "AutoencoderKL", {})
    index = {"_class_name": "DiTPipeline", "transformer": ["diffusers", "DiTTransformer2DModel"], "unet": [None, None]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert build(str(tmp_path)).trace().model == "DiTTransformer2DModel"
    (tmp_path / "model_index.json").write_text(json.dumps({"transformer": ["own_code", "Net"]}))
    with pytest.raises(InputError, match="a Net of own_code, whose code is not run; write module"):
        build(str(tmp_path))
    (tmp_path / "model_index.json").write_text(json.dumps({"vae": ["diffusers", "AutoencoderKL"]}))
    with pytest.raises(InputError, match=r"names none of unet, transformer, prior; give the folder .* one of: vae"):
        build(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "config", "says"),
    [
        ("UNet2DModel", {"sample_size": None}, "sets no sample_size.*add it"),
        ("UNet2DModel", {"sample_size": 1e30}, r"sample_size is 1e\+30, no number up to"),
        ("UNet2DModel", {"layers_per_block": 10**6}, "layers_per_block is 1000000, no number up to 1,000"),
        ("UNet2DModel", {"block_out_channels": [32] * 500}, "lists 500 things"),
        ("UNet2DModel", {"sample_size": 16, "norm_num_groups": 5}, "makes no UNet2DModel"),
        ("UNet2DModel", PLAIN | {"sample_size": 15}, "does not take the example: .*write module.py:function"),
        ("UNet2DConditionModel", CONDITIONAL | {"cross_attention_dim": [12, 16]}, "differs from block to block"),
        ("Lumina2Transformer2DModel", SMALL, "for a Lumina2Transformer2DModel, whose forward needs .*write module"),
        ("Nothing", {}, "_class_name is 'Nothing', no network of diffusers"),
        ("DDPMPipeline", {}, "_class_name is 'DDPMPipeline', no network of diffusers"),
        (7, {}, "_class_name is 7, no network"),
    ],
)  # fmt: skip
def test_a_configuration_of_no_network_is_refused_with_the_remedy(kind, config, says, tmp_path):
    with pytest.raises(InputError, match=says):
        build(str(folder(tmp_path, kind, config))).trace()


def test_folders_that_hold_no_network_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds neither model_index.json nor config.json"):
        build(str(tmp_path))
    with pytest.raises(InputError, match="does not exist"):
        build(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="no JSON object"):
        build(str(tmp_path))


def test_the_shipped_model_keeps_its_report():
    spec = ArraySpec.preset("analog")
    _, report = convert(load_pipeline(shipped_model()).unet, spec)
    assert build(str(shipped_model())).trace().coverage(spec) == report


FILE = """
import torch
from dataclasses import dataclass
from torch import nn

@dataclass
class Output:
    sample: torch.Tensor
    more: tuple

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Conv1d(8, 4, 3, padding=1)

    def forward(self, x, t=None, *, scale=1):
        return Output(self.b(self.a(x).transpose(1, 2)), (t, scale))

def tensor():
    print("printed by the file")
    return Net(), torch.zeros(1, 5, 8)

def arguments():
    return Net(), (torch.zeros(1, 5, 8), 3)

def keywords():
    return Net(), {"scale": 2, "x": torch.zeros(1, 5, 8)}

def half():
    return Net().to(torch.bfloat16), torch.zeros(1, 5, 8, dtype=torch.bfloat16)

def elsewhere():
    with torch.device("meta"):
        return Net(), torch.zeros(1, 5, 8)

def alone():
    return Net()

def many():
    return Net(), torch.zeros(3, 5, 8)

def needs(width, *, depth, other=1):
    return Net()

def nothing():
    return None

def three():
    return Net(), 1, 2

def text():
    return Net(), "an image"

def wrong():
    return Net(), torch.zeros(1, 5, 9)

def fails():
    return [][3]

def leaves():
    raise SystemExit(1)

def full():
    raise MemoryError

ready = Net()
number = 5
"""


def line_of(text):
    return next(i for i, line in enumerate(FILE.splitlines(), 1) if line.strip() == text)


GOOD = ["tensor", "arguments", "keywords", "half", "elsewhere", "many"]
REFUSED = {
    "ready": "returns a Net without an example; return .model, example.",
    "alone": "returns a Net without an example; return .model, example.",
    "needs": "needs width, depth; give a function without arguments",
    "nothing": "returns a NoneType, not a torch.nn.Module or a pair",
    "three": "returns a tuple, not a torch.nn.Module or a pair",
    "text": "an example of type str; give a tensor, a tuple",
    "wrong": "does not take the example: .*; check the example",
    "fails": f"fails at line {line_of('return [][3]')}: IndexError: list index out of range",
    "leaves": f"fails at line {line_of('raise SystemExit(1)')}: SystemExit: 1",
    "full": f"fails at line {line_of('raise MemoryError')}: MemoryError; build a model that is too large",
    "number": "is a int, not a function",
    "tensr": "has no tensr; did you mean 'tensor'. callables there: Output, Net, tensor, arguments",
}


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "networks.py"
    made.write_text(FILE)
    return made


@pytest.mark.parametrize("name", GOOD)
def test_a_function_of_the_user_gives_a_model_and_its_input(name, file, capsys):
    found = build(f"{file}:{name}").trace()
    assert found.macs == 5 * 8 * 8 + 5 * 4 * 24
    assert found.counted == "from shapes alone; no weight was read"
    assert capsys.readouterr().out == ""
    assert not (file.parent / "__pycache__").exists()


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_that_gives_no_model_is_refused_with_the_remedy(name, file):
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        build(f"{file}:{name}").trace()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_of_that_name\n", "line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("a = 1\nb = a +\n", "line 2: SyntaxError"),
        ("a = 1\n\nraise ValueError('too\\nlong')\n", "line 3: ValueError: too$"),
    ],
)
def test_a_file_that_fails_says_where(text, says, tmp_path):
    made = tmp_path / "broken.py"
    made.write_text(text)
    with pytest.raises(InputError, match=says):
        build(f"{made}:net")
    assert "_voltaspin_model_broken" not in sys.modules


def test_a_module_is_found_where_the_command_runs(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    before = list(sys.path)
    assert build("networks:tensor").trace().model == "Net"
    assert sys.path == before
    del sys.modules["networks"]
    for text, says in (
        ("network:tensor", "no module 'network' can be imported here"),
        ("torch.nothing:net", "no module 'torch.nothing'"),
        ("networks.py", "names no function; give networks.py:FUNCTION"),
        ("none.py:net", "none.py does not exist"),
        ("networks.py:a b", "names no function; give module.py:function"),
    ):
        with pytest.raises(InputError, match=says):
            build(text)


def test_the_command_takes_any_model_and_says_what_it_assumed(file, tmp_path, capsys):
    code, said = run(capsys, "memory", "coverage", "--model", f"{file}:tensor", "--json")
    assert code == 0
    assert json.loads(said.out)["macs"] == 800
    assert "printed by the file" in said.err
    text = folder(tmp_path / "text", *CONFIGS["text"][:2])
    code, said = run(capsys, "memory", "coverage", "--model", text)
    assert code == 0
    assert "a text of 77 tokens" in said.out
    assert "the folder holds no weights" in said.out
    code, said = run(capsys, "memory", "coverage", "--model", f"{file}:fails")
    assert code == 2
    assert len(said.err.splitlines()) <= 3
    assert "IndexError" in said.err


def test_the_input_has_the_precision_of_the_network(tmp_path):
    loaded = build(str(folder(tmp_path, *CONFIGS["SD3"][:2])))
    whole = loaded.trace()
    half = loaded.module.to(torch.bfloat16)
    kwargs, _ = inputs_of(half)
    assert kwargs["hidden_states"].dtype == torch.bfloat16
    assert trace(half, **kwargs).layers == whole.layers
