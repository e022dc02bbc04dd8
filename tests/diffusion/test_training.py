"""Training: the loss, the schedule of what is drawn, checkpoints, interruption and resumption."""

import errno
import json
import os
import signal

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.files import read_json, write_json
from voltaspin.diffusion import checkpoints
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.objective import Batch
from voltaspin.diffusion.pipelines import load_pipeline
from voltaspin.diffusion.recipe import TrainSpec, learning_rate, make_model, make_scheduler, timesteps
from voltaspin.diffusion.sampling import to_uint8
from voltaspin.diffusion.training import diffusion_loss, encode, train
from voltaspin.noise import PseudoSource, RecordedSource


def weights(folder):
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_loss_is_the_one_diffusers_schedules_define():
    scheduler = DDPMScheduler(prediction_type="v_prediction", beta_schedule="squaredcos_cap_v2")
    g = torch.Generator().manual_seed(0)
    x0, noise, answer = (torch.randn(5, 1, 4, 4, generator=g) for _ in range(3))
    t = torch.tensor([0, 10, 500, 900, 999])
    seen = {}

    def model(x, t):
        seen["x"] = x
        return type("Output", (), {"sample": answer})

    for kind, target in (
        ("v_prediction", scheduler.get_velocity(x0, noise, t)),
        ("epsilon", noise),
        ("sample", x0),
    ):
        loss = diffusion_loss(model, x0, noise, t, scheduler.alphas_cumprod, kind)
        assert loss.item() == pytest.approx(torch.nn.functional.mse_loss(answer, target).item(), rel=1e-6)
    assert torch.allclose(seen["x"], scheduler.add_noise(x0, noise, t), atol=1e-6)


ALPHA_BAR = make_scheduler(TrainSpec()).alphas_cumprod.double().numpy()


def test_learning_rate_warms_up_and_ends_at_zero():
    spec = TrainSpec(steps=1000, warmup=100, learning_rate=1e-3)
    rates = [learning_rate(spec, i) for i in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == rates[100] == pytest.approx(1e-3)
    assert rates[-1] < 1e-8
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_time_steps_are_stratified_and_batches_are_a_permutation_per_epoch(squares, spec):
    for step in range(5):
        t = np.sort(timesteps(spec, step, ALPHA_BAR))
        assert np.array_equal(t * spec.batch // spec.num_train_timesteps, np.arange(spec.batch))
    epoch = np.concatenate([Batch.of(squares.images, spec, i).images for i in range(8)])
    assert {x.tobytes() for x in epoch} == {x.tobytes() for x in squares.images}
    again = np.concatenate([Batch.of(squares.images, spec, i).images for i in range(8, 16)])
    assert not np.array_equal(epoch, again)


def test_every_grey_level_survives_encoding_and_black_survives_a_little_noise():
    levels = np.arange(256, dtype=np.uint8)
    x = encode(levels, margin=0.05)
    assert np.array_equal(to_uint8(torch.from_numpy(x)), levels)
    assert x[0] == np.float32(-1.05)
    assert x[255] == np.float32(1.05)
    assert np.array_equal(encode(levels, margin=0.0), levels.astype(np.float32) / 127.5 - 1)
    assert to_uint8(torch.tensor([x[0] + 0.045, x[255] - 0.045])).tolist() == [0, 255]


def test_the_margin_is_for_black_backgrounds_alone(squares, spec, tmp_path):
    rng = np.random.default_rng(0)
    photographs = np.clip(rng.normal(150, 70, (16, 3, 8, 8)), 0, 255).astype(np.uint8)
    assert ((photographs == 0) | (photographs == 255)).mean() > 0.07  # in single channels: what was bent before
    on_black = photographs.copy()
    on_black[..., :5] = 0
    plain = [a.astype(np.float32) / 127.5 - 1 for a in (photographs, on_black)]
    # in colour only pixels that are black or white in every channel move
    for images, x in zip((photographs, on_black), plain, strict=True):
        moved = encode(images, margin=0.05) != x
        black, white = ((images == level).all(axis=1, keepdims=True) for level in (0, 255))
        assert np.array_equal(moved, np.broadcast_to(black | white, images.shape))
    # and only of a set with a black background, grey or in colour
    grey = np.clip(rng.normal(150, 70, (16, 1, 8, 8)), 0, 255).astype(np.uint8)
    for i, (images, margin) in enumerate([(photographs, 0.0), (grey, 0.0), (on_black, 0.05), (squares.images, 0.05)]):
        one = spec.model_copy(update={"steps": 1})
        train(ImageSet(images, None, "x", "train", "0" * 64), PseudoSource(seed=1), tmp_path / str(i), spec=one)
        recorded = read_json(tmp_path / str(i) / "train.json")
        assert recorded["saturation_margin"] == margin
        scheduler = read_json(tmp_path / str(i) / "scheduler" / "scheduler_config.json")
        assert scheduler["clip_sample_range"] == 1 + margin


def test_training_lowers_the_loss_and_diffusers_loads_the_folder(squares, spec, tmp_path):
    losses = []
    longer = spec.model_copy(update={"steps": 60, "checkpoint_every": 1000, "learning_rate": 4e-3})
    result = train(
        squares, PseudoSource(seed=1), tmp_path / "m", spec=longer, progress=lambda i, n, x: losses.append(x)
    )
    assert result.finished
    assert result.step == len(losses) == 60
    # Stratified time steps leave batch means of about 10 %; a factor of 1.5 is far outside.
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 1.5
    pipe = DDPMPipeline.from_pretrained(tmp_path / "m")
    pipe.set_progress_bar_config(disable=True)
    assert pipe(batch_size=1, num_inference_steps=2, output_type="np").images.shape == (1, 8, 8, 1)
    record = json.loads((tmp_path / "m" / "train.json").read_text())
    assert TrainSpec.from_json({k: record[k] for k in longer.to_json()}) == longer
    assert not [p for p in (tmp_path / "m").rglob("*") if p.suffix in (".bin", ".pt", ".pkl")]


def test_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_run(squares, spec, tmp_path):
    train(squares, PseudoSource(seed=1), tmp_path / "whole", spec=spec)

    def interrupt(step, steps, loss):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    broken = train(squares, PseudoSource(seed=1), tmp_path / "parts", spec=spec, progress=interrupt)
    assert (broken.step, broken.finished) == (3, False)
    assert load_pipeline(tmp_path / "parts").unet is not None
    rest = train(squares, PseudoSource(seed=1), tmp_path / "parts", spec=spec, resume=True)
    assert rest.finished
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    done = train(squares, PseudoSource(seed=1), tmp_path / "parts", spec=spec, resume=True)
    assert done.step == spec.steps
    assert done.loss is None


def test_a_recorded_source_goes_on_where_it_stood(squares, spec, tmp_path):
    file = tmp_path / "bits.bin"
    file.write_bytes(PseudoSource(seed=3).bits(spec.steps * spec.batch * 64 * 16).tobytes())

    def stop(step, steps, loss):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    train(squares, RecordedSource(file), tmp_path / "whole", spec=spec)
    train(squares, RecordedSource(file), tmp_path / "parts", spec=spec, progress=stop)
    train(squares, RecordedSource(file), tmp_path / "parts", spec=spec, resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_a_full_disk_leaves_the_last_checkpoint_whole(squares, spec, tmp_path, monkeypatch):
    out = tmp_path / "m"
    written = []
    save = checkpoints.save_file

    def full(tensors, path):
        written.append(path)
        if len(written) == 5:  # the second checkpoint: its second file breaks off
            path.write_bytes(b"half")
            raise checkpoints.SafetensorError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            )
        save(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        train(squares, PseudoSource(seed=1), out, spec=spec)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(checkpoints, "save_file", save)
    assert [p.name for p in sorted(out.glob("*checkpoint*"))] == ["checkpoint-00000002"]
    train(squares, PseudoSource(seed=1), out, spec=spec, resume=True)
    train(squares, PseudoSource(seed=1), tmp_path / "whole", spec=spec)
    assert same(weights(out), weights(tmp_path / "whole"))


def test_what_cannot_be_trained_or_resumed_is_said(squares, spec, tmp_path):
    out = tmp_path / "m"
    with pytest.raises(InputError, match="no run to resume"):
        train(squares, PseudoSource(), out, spec=spec, resume=True)
    train(squares, PseudoSource(), out, spec=spec.model_copy(update={"steps": 2}))
    with pytest.raises(InputError, match="is not empty"):
        train(squares, PseudoSource(), out, spec=spec)
    with pytest.raises(InputError, match="steps=2, not 6"):
        train(squares, PseudoSource(), out, spec=spec, resume=True)
    with pytest.raises(InputError, match="another source"):
        train(squares, PseudoSource(seed=9), out, spec=spec.model_copy(update={"steps": 2}), resume=True)
    with pytest.raises(InputError, match="cannot be halved 4 times"):
        train(squares, PseudoSource(), tmp_path / "n", spec=spec.model_copy(update={"channels": (8,) * 5}))
    with pytest.raises(InputError, match="fewer than the batch of 100"):
        train(squares, PseudoSource(), tmp_path / "n", spec=spec.model_copy(update={"batch": 100}))


def test_no_example_shares_its_stream_with_an_image_that_sampling_draws(squares, spec, tmp_path):
    class Spy:
        def __init__(self):
            self.inner, self.streams = PseudoSource(seed=1), []

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def normal(self, shape, *, streams, step):
            self.streams += streams
            return self.inner.normal(shape, streams=streams, step=step)

    spy = Spy()
    train(squares, spy, tmp_path / "m", spec=spec)
    assert len(set(spy.streams)) == len(spy.streams) == spec.steps * spec.batch
    assert min(spy.streams) >= 2**60


def test_recorded_bits_that_cannot_last_are_refused_before_the_first_step(squares, spec, tmp_path):
    file = tmp_path / "bits.bin"
    file.write_bytes(bytes(64 * 8 * 2 * 3))
    with pytest.raises(NoiseExhaustedError, match=r"6 training steps need 49152 bits .* has 24576 .* at most 3 steps"):
        train(squares, RecordedSource(file), tmp_path / "m", spec=spec)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_stopped_before_its_first_checkpoint_begins_again(squares, spec, tmp_path, resume):
    out = tmp_path / "m"
    train(squares, PseudoSource(seed=1), tmp_path / "whole", spec=spec)
    out.mkdir()
    (out / "train.json").write_text((tmp_path / "whole" / "train.json").read_text())
    (out / "log.jsonl").write_text("half a li")
    assert train(squares, PseudoSource(seed=1), out, spec=spec, resume=resume).finished
    assert same(weights(out), weights(tmp_path / "whole"))


def test_a_run_that_lost_its_export_gets_it_back(squares, spec, tmp_path):
    out = tmp_path / "m"
    train(squares, PseudoSource(seed=1), out, spec=spec)
    before = weights(out)
    (out / "model_index.json").unlink()
    (out / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    train(squares, PseudoSource(seed=1), out, spec=spec, resume=True)
    assert same(weights(out), before)
    assert (out / "model_index.json").is_file()


def test_resuming_with_other_threads_is_said(squares, spec, tmp_path):
    out = tmp_path / "m"
    short = spec.model_copy(update={"checkpoint_every": 2})
    train(squares, PseudoSource(seed=1), out, spec=short)
    state = next(out.glob("checkpoint-*")) / "state.json"
    write_json(state, {**read_json(state), "threads": torch.get_num_threads() + 1})
    with pytest.warns(UserWarning, match="threads and goes on with"):
        train(squares, PseudoSource(seed=1), out, spec=short, resume=True)


def test_the_shared_loop_does_what_a_plain_loop_does_bit_for_bit(squares, spec, tmp_path):
    """Three steps of AdamW written out, so that no change of the loop can move a weight unseen."""
    longer = spec.model_copy(update={"steps": 3, "checkpoint_every": 100})
    train(squares, PseudoSource(seed=1), tmp_path / "m", spec=longer)
    model, scheduler, source = make_model(longer, channels=1, size=8), make_scheduler(longer), PseudoSource(seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=longer.weight_decay, foreach=True)
    ema = EMAModel(model.parameters(), decay=longer.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    model.train()
    for step in range(3):
        x0 = torch.from_numpy(encode(Batch.of(squares.images, longer, step).images, margin=longer.saturation_margin))
        streams = range(2**60 + 8 * step, 2**60 + 8 * step + 8)
        noise = torch.from_numpy(source.normal(tuple(x0.shape), streams=streams, step=0))
        t = torch.from_numpy(timesteps(longer, step, ALPHA_BAR))
        loss = diffusion_loss(model, x0, noise, t, scheduler.alphas_cumprod, "v_prediction")
        optimizer.param_groups[0]["lr"] = learning_rate(longer, step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), longer.clip)
        optimizer.step()
        ema.step(model.parameters())
    found = weights(tmp_path / "m")
    for (name, _), average in zip(model.named_parameters(), ema.shadow_params, strict=True):
        assert torch.equal(found[name], average), name
