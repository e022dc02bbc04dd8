"""Sampling: diffusers' own steps on identical noise, batches, streams, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler
from diffusers.schedulers import scheduling_ddim, scheduling_ddpm

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.diffusion.pipelines import Pipeline, load_pipeline, shipped_model
from voltaspin.diffusion.sampling import normals_per_image, sample, to_uint8
from voltaspin.noise import MemorySource, PseudoSource, RecordedSource


class Replay:
    """Hands diffusers' ``randn_tensor`` the numbers that a source gives our sampler."""

    def __init__(self, source, ids):
        self.source, self.ids, self.step = source, ids, 0

    def __call__(self, shape, generator=None, device=None, dtype=None, layout=None):
        z = self.source.normal(tuple(shape), streams=self.ids, step=self.step)
        self.step += 1
        return torch.from_numpy(z)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_ancestral_sampling_equals_diffusers_on_identical_noise(pipeline, monkeypatch, prediction, variance, spacing):
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2" if prediction != "epsilon" else "linear",
        prediction_type=prediction,
        variance_type=variance,
        timestep_spacing=spacing,
    )
    ours = Pipeline(pipeline.unet, scheduler, pipeline.folder, pipeline.sha256)
    made = sample(ours, PseudoSource(seed=5), count=3, steps=10)

    replay = Replay(PseudoSource(seed=5), [0, 1, 2])
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", replay)
    x = replay((3, 1, 8, 8))
    scheduler.set_timesteps(10)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(pipeline.unet(x, t).sample, t, x).prev_sample
    # float32 rounding over ten steps is 1e-5; a grey level is 8e-3.
    difference = np.abs(made.images.astype(int) - to_uint8(x).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_equals_diffusers_on_identical_noise(pipeline, monkeypatch, eta):
    made = sample(pipeline, PseudoSource(seed=6), count=2, steps=10, sampler="ddim", eta=eta)
    replay = Replay(PseudoSource(seed=6), [0, 1])
    monkeypatch.setattr(scheduling_ddim, "randn_tensor", replay)
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(10)
    x = replay((2, 1, 8, 8))
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(pipeline.unet(x, t).sample, t, x, eta=eta).prev_sample
    assert np.abs(made.images.astype(int) - to_uint8(x).astype(int)).max() <= 1


def test_noise_is_bit_identical_in_any_batch_and_pixels_agree_within_one_grey_level(pipeline):
    class Spy:
        """A source that keeps what it gave each image."""

        def __init__(self):
            self.inner, self.given = MemorySource(seed=2), {}

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def normal(self, shape, *, streams, step):
            z = self.inner.normal(shape, streams=streams, step=step)
            self.given |= {(i, step): row.tobytes() for i, row in zip(streams, z, strict=True)}
            return z

    runs = []
    for batch in (1, 3, 7):
        spy = Spy()
        runs.append((sample(pipeline, spy, count=7, steps=8, batch=batch).images, spy.given))
    for images, given in runs[1:]:
        assert given == runs[0][1]
        exceptions = int((np.abs(images.astype(int) - runs[0][0].astype(int)) > 1).sum())
        assert exceptions == 0


def test_first_chooses_the_streams(pipeline):
    both = sample(pipeline, PseudoSource(seed=4), count=4, steps=4).images
    later = sample(pipeline, PseudoSource(seed=4), count=2, steps=4, first=2).images
    assert np.abs(both[2:].astype(int) - later.astype(int)).max() <= 1


def test_draws_and_ledger_count_the_first_latent_and_the_steps_between(pipeline):
    source = PseudoSource(seed=0, precision=16)
    made = sample(pipeline, source, count=3, steps=5)
    assert made.draws == 5 * 64
    assert source.ledger.total("normal") == 3 * 5 * 64
    assert normals_per_image(pipeline, steps=5, sampler="ddim") == 64
    assert normals_per_image(pipeline, steps=5, sampler="ddim", eta=1.0) == 5 * 64
    assert made.noise["kind"] == "pseudo"


def test_a_recorded_source_that_is_too_short_says_both_numbers_before_it_starts(pipeline, tmp_path):
    file = tmp_path / "bits.bin"
    file.write_bytes(bytes(64 * 16 // 8 * 5))
    made = sample(pipeline, RecordedSource(file), count=1, steps=5)
    assert made.images.shape == (1, 1, 8, 8)
    with pytest.raises(NoiseExhaustedError, match=r"need 10240 bits and .* has 5120 left.*at most 1 images"):
        sample(pipeline, RecordedSource(file), count=2, steps=5)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"count": 0}, "count=0"),
        ({"count": -3}, "count=-3"),
        ({"steps": 0}, "0 sampling steps"),
        ({"steps": 1001}, "1001 sampling steps"),
        ({"batch": 0}, "batch=0"),
        ({"eta": 2.0}, "eta=2"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(pipeline, wrong, says):
    with pytest.raises(InputError, match=says):
        sample(pipeline, PseudoSource(), **({"count": 1, "steps": 2} | wrong))


def test_the_shipped_model_runs_unmodified_in_diffusers_and_fits_ten_megabytes():
    folder = shipped_model()
    pipe = DDPMPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    image = pipe(batch_size=1, num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 28, 28, 1)
    assert sum(f.stat().st_size for f in folder.rglob("*.safetensors")) <= 10e6
    assert json.loads((folder / "train.json").read_text())["kind"] == "train"


def test_models_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_pipeline(tmp_path / "none")
    with pytest.raises(InputError, match="is missing"):
        load_pipeline(tmp_path)
    with pytest.raises(InputError, match="is a pickle"):
        load_pipeline(tmp_path / "model.ckpt")
    folder = tmp_path / "m"
    shutil.copytree(shipped_model(), folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    with pytest.raises(InputError, match="truncated"):
        load_pipeline(folder)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(InputError, match="is a pickle"):
        load_pipeline(folder)
    weights.with_suffix(".bin").unlink()
    weights.write_bytes(whole)
    (folder / "unet" / "config.json").write_text('{"_class_name": "UNet2DModel", ')
    with pytest.raises(InputError, match="not readable JSON"):
        load_pipeline(folder)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("unet/config.json", "[1]", "no JSON object"),
        ("scheduler/scheduler_config.json", '{"beta_schedule": "foo"}', "cannot be loaded"),
        ("scheduler/scheduler_config.json", '{"num_train_timesteps": "x"}', "cannot be loaded"),
        ("scheduler/scheduler_config.json", '{"prediction_type": "nonsense"}', "prediction_type='nonsense'"),
        ("scheduler/scheduler_config.json", '{"thresholding": true}', "thresholding=True is not supported"),
    ],
)
def test_damaged_configurations_are_refused(tmp_path, file, content, says):
    folder = tmp_path / "m"
    shutil.copytree(shipped_model(), folder)
    (folder / file).write_text(content)
    with pytest.raises(InputError, match=says):
        load_pipeline(folder)
    with pytest.raises(InputError, match="is a file; give the pipeline folder"):
        load_pipeline(folder / "model_index.json")


def test_an_alarm_stops_the_sampling_says_where_and_keeps_what_was_finished(tmp_path):
    from voltaspin.core.errors import NoiseHealthError
    from voltaspin.noise import HealthChecked, PseudoSource, RecordedSource

    pipeline = load_pipeline(shipped_model())
    per_image = normals_per_image(pipeline, steps=2, sampler="ddpm") * 16
    good = np.unpackbits(PseudoSource(seed=1).bits(1024 + 3 * per_image))
    stuck = np.concatenate([good, np.ones(10 * per_image, np.uint8)])
    (tmp_path / "stuck.bin").write_bytes(np.packbits(stuck).tobytes())
    source = HealthChecked(RecordedSource(tmp_path / "stuck.bin"))
    with pytest.raises(NoiseHealthError, match="images 2 to 3, draw 1 of each; 2 images before them") as stopped:
        sample(pipeline, source, count=6, steps=2, batch=2)
    finished = stopped.value.finished
    assert finished.images.shape == (2, 1, 28, 28)
    assert finished.ids == (0, 1)
    healthy = HealthChecked(RecordedSource(tmp_path / "stuck.bin"))
    assert np.array_equal(sample(pipeline, healthy, count=2, steps=2, batch=2).images, finished.images)
