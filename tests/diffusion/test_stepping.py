"""Every schedule that diffusers exports, in the folder of a DDPM: its own images, or one sentence."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, EulerDiscreteScheduler, PNDMPipeline, UNet2DModel

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.diffusion.pipelines import Pipeline, load_pipeline
from voltaspin.diffusion.published import Unmodified, open_model, sample_unmodified
from voltaspin.diffusion.stepping import STEPPED, why_not
from voltaspin.noise import PseudoSource

SIDE, STEPS, CHANNELS = 8, 6, 1


def exported():
    for name in sorted(dir(diffusers)):
        if name.endswith("Scheduler"):
            kind = getattr(diffusers, name, None)
            if kind is not None and not kind.__module__.startswith("diffusers.utils.dummy"):
                yield name


def network(out=CHANNELS):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return UNet2DModel(
            sample_size=SIDE,
            in_channels=CHANNELS,
            out_channels=out,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
        ).eval()


def save(folder, schedule, kind=DDPMPipeline, out=CHANNELS):
    """A pipeline folder with that schedule, whatever the pipeline makes of it."""
    DDPMPipeline(network(out), schedule).save_pretrained(folder)
    if kind is not DDPMPipeline:
        index = folder / "model_index.json"
        index.write_text(index.read_text().replace("DDPMPipeline", kind.__name__))
    return folder


def by_diffusers(unet, schedule, source, ids, steps):
    """The loop that diffusers documents for its schedules, with the noise of the streams fed by hand."""
    used = dict.fromkeys(ids, 0)

    def fed(shape, **_):
        rows = []
        for i in ids:
            rows.append(source.normal((1, *shape[1:]), streams=[i], step=used[i]))
            used[i] += 1
        return torch.from_numpy(np.concatenate(rows))

    schedule.set_timesteps(steps)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        module = __import__(type(schedule).__module__, fromlist=["x"])
        if hasattr(module, "randn_tensor"):
            patch.setattr(module, "randn_tensor", fed)
        x = fed((len(ids), CHANNELS, SIDE, SIDE)) * schedule.init_noise_sigma
        for t in schedule.timesteps:
            output = unet(schedule.scale_model_input(x, t), t)["sample"]
            x = schedule.step(output, t, x, return_dict=False)[0]
    return np.round(255 * ((x / 2 + 0.5).clamp(0, 1).numpy())).astype(np.uint8)


VARIANTS = {
    **{name: (name, {}) for name in STEPPED},
    "Karras sigmas": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "epsilon": ("EulerDiscreteScheduler", {"prediction_type": "epsilon"}),
    "epsilon, two steps": ("DPMSolverSinglestepScheduler", {"prediction_type": "epsilon"}),
    "v": ("EulerAncestralDiscreteScheduler", {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}),
    "SDE-DPM": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "without a warm-up": ("PNDMScheduler", {"skip_prk_steps": True}),
    "UniPC, order 1": ("UniPCMultistepScheduler", {"solver_order": 1}),
}


@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # in the reference
@pytest.mark.parametrize("case", VARIANTS)
def test_images_are_those_of_diffusers_own_loop_on_the_same_noise(case, tmp_path):
    name, options = VARIANTS[case]
    kind = getattr(diffusers, name)
    model = open_model(
        save(tmp_path, kind.from_config(DDPMScheduler(prediction_type="v_prediction").config, **options))
    )
    assert isinstance(model, Unmodified)
    assert model.sampler == f"loop of a {name}"
    made = sample_unmodified(model, PseudoSource(seed=1), count=3, steps=STEPS, batch=2, first=7)
    theirs = by_diffusers(network(), kind.from_pretrained(tmp_path / "scheduler"), PseudoSource(seed=1), [7, 8], STEPS)
    assert np.array_equal(made.images[:2], theirs)
    assert len(np.unique(theirs)) > 20 or options.get("prediction_type") == "epsilon"  # which a random network blows up
    assert made.unaddressed == 0
    alone = sample_unmodified(model, PseudoSource(seed=1), count=1, steps=STEPS, first=9)
    assert np.abs(made.images[2].astype(int) - alone.images[0].astype(int)).max() <= 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", sorted(set(exported()) - {*STEPPED, "DDPMScheduler", "DDIMScheduler"}))
def test_every_other_schedule_is_refused_with_the_reason(name, tmp_path):
    folder = save(tmp_path, DDPMScheduler())
    for file in (folder / "model_index.json", folder / "scheduler" / "scheduler_config.json"):
        file.write_text(file.read_text().replace("DDPMScheduler", name))
    with pytest.raises(InputError) as caught:
        open_model(folder)
    assert why_not(name)
    assert f"has a {name}, which {why_not(name)}; a DDPM is sampled with one of" in str(caught.value)


def test_a_ddim_pipeline_is_not_given_another_schedule(tmp_path):
    euler = EulerDiscreteScheduler()
    model = open_model(save(tmp_path / "ddim", euler, DDIMPipeline))
    assert model.sampler == "loop of a EulerDiscreteScheduler"  # diffusers would put its DDIMScheduler there
    with pytest.raises(InputError, match="PNDMPipeline puts a PNDMScheduler in the place of its EulerDiscreteSchedul"):
        open_model(save(tmp_path / "pndm", euler, PNDMPipeline))
    with pytest.raises(InputError, match=r"learned variance, which a EulerDiscreteScheduler does not take"):
        open_model(save(tmp_path / "learned", euler, out=2 * CHANNELS))


def test_a_schedule_under_two_names_is_refused(tmp_path):
    folder = save(tmp_path, EulerDiscreteScheduler())
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("EulerDiscreteScheduler", "DDPMScheduler"))
    with pytest.raises(InputError, match=r"names a DDPMScheduler and scheduler_config\.json a EulerDiscreteScheduler"):
        open_model(folder)
    with pytest.raises(InputError, match="has a EulerDiscreteScheduler, and another schedule would not give its"):
        load_pipeline(folder)
    index.unlink()
    with pytest.raises(InputError, match="has a EulerDiscreteScheduler, and another schedule would not give its"):
        open_model(folder)


def test_the_command_records_the_schedule(tmp_path, capsys):
    import json

    folder = save(tmp_path / "m", EulerDiscreteScheduler())
    with pytest.raises(SystemExit) as caught:
        main(["sample", "--model", str(folder), "--count", "2", "--steps", "4", "--noise", "software", "--json",
              "--out", str(tmp_path / "out")])  # fmt: skip
    out, err = capsys.readouterr()
    assert caught.value.code == 0
    assert err == ""
    assert json.loads(out)["sampler"] == "loop of a EulerDiscreteScheduler"


def test_ddpm_and_ddim_keep_our_own_steps(tmp_path):
    for pipeline, schedule in ((DDPMPipeline, diffusers.DDIMScheduler()), (DDIMPipeline, diffusers.DDIMScheduler())):
        assert isinstance(open_model(save(tmp_path / pipeline.__name__, schedule, pipeline)), Pipeline)
