"""Damaged and hostile model folders: one sentence each, before anything large is computed."""

import json
import math
import shutil
import subprocess
import sys

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, PNDMPipeline, PNDMScheduler, UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.diffusion.pipelines import load_pipeline
from voltaspin.diffusion.published import open_model, sample_unmodified
from voltaspin.diffusion.sampling import sample
from voltaspin.noise import PseudoSource


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A DDPM folder, and the texts of its three JSON files."""
    home = tmp_path_factory.mktemp("sound")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        unet = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 8), layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
        )  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(home / "m")
    return home / "m"


@pytest.fixture
def folder(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "m")
    return tmp_path / "m"


def change(folder, file, **fields):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


NETWORK, SCHEDULE = "unet/config.json", "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("file", "fields", "says"),
    [
        (NETWORK, {"sample_size": "8"}, "sample_size is '8'"),
        (NETWORK, {"sample_size": 0}, "sample_size is 0"),
        (NETWORK, {"sample_size": [8]}, r"sample_size is \[8\]"),
        (NETWORK, {"sample_size": True}, "sample_size is True"),
        (NETWORK, {"sample_size": [8, 10**9]}, "sample_size is"),
        (NETWORK, {"sample_size": 60000}, r"larger than 2\*\*28"),
        (NETWORK, {"sample_size": 9}, "makes no UNet2DModel"),
        (NETWORK, {"in_channels": 0}, "in_channels is 0"),
        (NETWORK, {"in_channels": "1"}, "in_channels is '1'"),
        (NETWORK, {"layers_per_block": 10**9}, "layers_per_block is 1000000000"),
        (NETWORK, {"block_out_channels": [8, "8"]}, "block_out_channels is"),
        (NETWORK, {"block_out_channels": [100_000, 100_000]}, "describes a network of"),
        (NETWORK, {"down_block_types": ["Nothing", "DownBlock2D"]}, "makes no UNet2DModel"),
        (NETWORK, {"norm_num_groups": 0}, "makes no UNet2DModel"),
        (NETWORK, {"norm_eps": math.nan}, "NaN is no JSON number"),
        (NETWORK, {"_class_name": "UNet1DModel"}, "holds a UNet1DModel"),
        (NETWORK, {"block_out_channels": [8, 12]}, "cannot be loaded"),
        (SCHEDULE, {"num_train_timesteps": 0}, "num_train_timesteps = 0"),
        (SCHEDULE, {"num_train_timesteps": 10**12}, "num_train_timesteps = 1000000000000"),
        (SCHEDULE, {"num_train_timesteps": 1000.0}, "num_train_timesteps = 1000.0"),
        (SCHEDULE, {"trained_betas": [0.1, 0.2]}, "2 numbers for num_train_timesteps = 1000"),
        (SCHEDULE, {"trained_betas": "0.1"}, "not a list of numbers"),
        (SCHEDULE, {"trained_betas": [0.1, -0.2], "num_train_timesteps": 2}, "does not fall from 1"),
        (SCHEDULE, {"trained_betas": [0.1, math.nan], "num_train_timesteps": 2}, "no finite number"),
        (SCHEDULE, {"beta_start": math.nan}, "beta_start = nan"),
        (SCHEDULE, {"beta_end": math.inf}, "beta_end = inf"),
        (SCHEDULE, {"beta_end": 7.0}, "alphas_cumprod of its schedule are NaN"),
        (SCHEDULE, {"beta_end": "0.02"}, "beta_end = '0.02'"),
        (SCHEDULE, {"beta_schedule": "odd"}, "cannot be loaded"),
        (SCHEDULE, {"clip_sample_range": math.nan}, "clip_sample_range = nan"),
        (SCHEDULE, {"clip_sample_range": -1}, "clip_sample_range = -1"),
        (SCHEDULE, {"rescale_betas_zero_snr": True}, "ends at alpha_bar = 0"),
    ],
)
def test_numbers_that_make_no_model(folder, file, fields, says):
    change(folder, file, **fields)
    with pytest.raises(InputError, match=says) as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers(folder, bad, capsys, tmp_path):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_in.weight"].view(-1)[3] = bad
    save_file(tensors, weights)
    says = r"1 of 72 weights of conv_in\.weight are NaN or infinite"
    with pytest.raises(InputError, match=says):
        load_pipeline(folder)
    with pytest.raises(SystemExit) as caught:
        main(["sample", "--model", str(folder), "--out", str(tmp_path / "out")])
    err = capsys.readouterr().err
    assert (caught.value.code, err.count("\n")) == (2, 1)
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_no_number_stops_the_sampling(folder, tmp_path):
    for kind in (None, PNDMPipeline):
        model = load_pipeline(folder)
        if kind is not None:
            kind(model.unet, PNDMScheduler()).save_pretrained(tmp_path / "pndm")
            model = open_model(tmp_path / "pndm")
        unet, calls = (model.unet if kind is None else model.pipeline.unet), []

        def spoiled(module, given, output, calls=calls):
            calls.append(1)
            if len(calls) == 2:
                output.sample[0, 0, 0, 0] = math.nan

        unet.register_forward_hook(spoiled)
        run = sample if kind is None else sample_unmodified
        where = r"step 2 of 4 \(t = 500\) of images 0 to 1" if kind is None else "evaluation 2 of images 0 to 1"
        with pytest.raises(InputError, match=f"output is NaN or infinite at {where}"):
            run(model, PseudoSource(seed=1), count=2, steps=4)


def test_a_bound_that_diffusers_writes_as_infinite_is_read(tmp_path, sound):
    from diffusers import DPMSolverMultistepScheduler

    DDPMPipeline(load_pipeline(sound).unet, DPMSolverMultistepScheduler()).save_pretrained(tmp_path / "m")
    assert "-Infinity" in (tmp_path / "m" / SCHEDULE).read_text()
    assert open_model(tmp_path / "m").sampler == "loop of a DPMSolverMultistepScheduler"


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**13), st.floats(), st.text(max_size=4), st.just([]), st.just({}),
    st.lists(st.integers(-1, 40), max_size=3), st.just("UNet2DModel"), st.just([[1]]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(data=st.data(), file=st.sampled_from([NETWORK, SCHEDULE, "model_index.json"]), value=ODD)
def test_any_odd_field_is_a_sentence_or_a_model(sound, tmp_path_factory, data, file, value):
    fields = json.loads((sound / file).read_text())
    name = data.draw(st.sampled_from(sorted(fields)))
    odd = tmp_path_factory.mktemp("odd") / "m"
    shutil.copytree(sound, odd)
    change(odd, file, **{name: value})
    try:
        model = open_model(odd)
        run = sample_unmodified if hasattr(model, "pipeline") else sample
        images = run(model, PseudoSource(seed=1), count=1, steps=2).images
        assert images.shape[0] == 1
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    finally:
        shutil.rmtree(odd.parent)


def test_diffusers_does_not_write_about_a_field_that_it_does_not_know(folder):
    change(folder, NETWORK, blosk_out_channels=[4, 8])
    change(folder, SCHEDULE, beta_stat=0.1)
    code = f"from voltaspin.diffusion import load_pipeline; print(load_pipeline({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("Pipeline(")
