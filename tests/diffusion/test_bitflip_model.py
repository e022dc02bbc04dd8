"""A bit-flip model: what it is trained on, that it resumes bit for bit, its folder, and what sampling counts."""

import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_json, write_json
from voltaspin.diffusion import bitflip
from voltaspin.diffusion.bitflip.model import IDEAL, BitModelSpec, CellSpec
from voltaspin.diffusion.bitflip.network import clean_logits, evidence
from voltaspin.diffusion.bitflip.sampling import moved_per_step
from voltaspin.diffusion.bitflip.training import CleanBits, flipped, time_weights

#: Cells of the generator preset that are all equal: one map of pulses to solve, two seconds.
EQUAL = CellSpec(junction="generator", K_eff_spread=0.0, stray_field_spread=0.0)


@pytest.fixture(scope="module")
def small():
    return bitflip.BitTrainSpec(
        steps=6, batch=8, channels=(8, 16), norm_groups=4, checkpoint_every=2, warmup=2, precision="float32", bits=2,
        flip_steps=5, cells=EQUAL, self_condition=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(small, squares, tmp_path_factory):
    out = tmp_path_factory.mktemp("bits") / "m"
    bitflip.train(squares, out, spec=small)
    return out


def weights(folder):
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def test_an_image_of_time_t_gets_t_pulses(small, squares):
    objective = CleanBits(small, channels=1, size=8)
    clean = bitflip.to_planes(squares.images[:8], bits=2)
    t = np.array([0, 1, 2, 3, 4, 5, 5, 1])
    noisy = flipped(objective.memory, objective.flips, clean, t)
    assert np.array_equal(noisy[0], clean[0])
    assert (noisy[5] != clean[5]).any()
    cells = 2 * 8 * 8
    assert objective.memory.ledger.total("pulse") == cells * t.sum()
    assert objective.memory.ledger.total("write") == objective.memory.ledger.total("read") == cells * 8
    by_hand = CleanBits(small, channels=1, size=8).memory  # the last two images alone, other cells masked
    by_hand.write(clean.reshape(by_hand.state.shape))
    for step, pulse in enumerate(objective.flips.pulses, 1):
        by_hand.pulse(pulse, mask=np.repeat(np.repeat(t >= step, 2)[:, None], 64, 1))
    assert np.array_equal(by_hand.state, noisy.reshape(by_hand.state.shape))


def test_what_a_bit_says_of_itself_is_exact():
    """With nothing else known and a fair prior, Bayes gives log((1 - p_t) / p_t)."""
    process = bitflip.Process([0.1, 0.2, 0.5])
    odds = torch.from_numpy(evidence(process))

    class Blind(torch.nn.Module):
        def forward(self, x, t):
            return type("Output", (), {"sample": torch.zeros_like(x)})

    x = torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2)
    for t in (1, 2, 3):
        p = torch.sigmoid(clean_logits(Blind(), x, None, torch.tensor([t]), odds)).ravel()
        assert p.tolist() == pytest.approx([1 - process.marginal(t), process.marginal(t)], abs=1e-6)


def test_weights_of_times_have_mean_one_and_fall():
    process = bitflip.Process.cosine(20)
    for power in (0.0, 0.5, 1.0):
        w = time_weights(process, power)[1:]
        assert w.mean() == pytest.approx(1, abs=1e-6)
        assert power == 0 or w[0] > w[8]


def test_training_lowers_the_loss(small, squares, tmp_path):
    losses = []
    longer = small.model_copy(update={"steps": 60, "checkpoint_every": 1000, "learning_rate": 4e-3})
    bitflip.train(squares, tmp_path / "m", spec=longer, progress=lambda i, n, x: losses.append(x))
    # batch means vary by about 10 %
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 1.5


def test_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_run(folder, small, squares, tmp_path):
    def interrupt(step, steps, loss):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    broken = bitflip.train(squares, tmp_path / "parts", spec=small, progress=interrupt)
    assert (broken.step, broken.finished) == (3, False)
    assert bitflip.train(squares, tmp_path / "parts", spec=small, resume=True).finished
    a, b = weights(folder), weights(tmp_path / "parts")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_the_folder_says_all_that_sampling_needs(folder, small):
    assert bitflip.is_bit_model(folder)
    model = bitflip.load_model(folder)
    assert (model.spec.planes, model.spec.size, model.spec.cells) == (2, 8, EQUAL)
    assert len(model.process) == 5
    flips = CleanBits(small, channels=1, size=8).flips
    assert np.allclose(model.process.betas, flips.process.betas)
    assert all(step.voltage > 0 and step.width > 0 for step in model.spec.steps)
    record = read_json(folder / "train.json")
    assert bitflip.BitTrainSpec.from_json({k: record[k] for k in small.to_json()}) == small
    assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".pkl")]


def blind(model):
    """The model whose network says nothing, so that every cell wants the same flip."""
    with torch.no_grad():
        model.unet.conv_out.weight.zero_()
        model.unet.conv_out.bias.zero_()
    return model


@pytest.mark.parametrize(("count", "batch"), [(4, 4), (5, 2)])
def test_the_ledger_of_sampling_by_hand(folder, count, batch):
    model = blind(bitflip.load_model(folder))
    samples = bitflip.sample(model, count=count, batch=batch, dither=False)
    assert samples.images.shape == (count, 1, 8, 8)
    T, cells = 5, 2 * 8 * 8
    levels = bitflip.Levels.of(CleanBits(small_of(model), channels=1, size=8).memory)
    pulsed = 0
    for t in range(T, 0, -1):
        one = model.process.posterior(1, 1 - model.process.marginal(t), t)
        pulsed += bool(levels.choose(np.array([1 - one]), dither=False)[0])
    # a write and a fair pulse at first, a read then and after every step
    assert samples.per_image == {
        "pulse": cells * (1 + pulsed), "write": cells, "read": cells * (T + 1), "evaluation": T,
        "byte": T * moved_per_step(cells, len(levels.flips), self_condition=True),
    }  # fmt: skip
    assert moved_per_step(128, 25, self_condition=True) == 16 + 80 + 256
    assert moved_per_step(128, 2, self_condition=False) == 16 + 16
    assert samples.path.shape == (len(samples.path_times), 2, 8, 8)


def small_of(model):
    return bitflip.BitTrainSpec(batch=1, bits=model.spec.bits, flip_steps=len(model.process), cells=model.spec.cells)


def test_sampling_is_decided_by_the_seed_and_planes_become_images(folder):
    model = bitflip.load_model(folder)
    a, b, c = (bitflip.sample(model, count=4, seed=s) for s in (1, 1, 2))
    assert np.array_equal(a.images, b.images)
    assert not np.array_equal(a.images, c.images)
    assert np.array_equal(a.images[0, 0], bitflip.from_planes(a.path[-1][None], bits=2)[0, 0])
    assert a.rounding.cells == 4 * 5 * 128


def test_a_folder_that_cannot_be_sampled_is_refused(folder, tmp_path):
    import shutil

    def copy(name):
        return shutil.copytree(folder, tmp_path / name)

    with pytest.raises(InputError, match="does not exist"):
        bitflip.load_model(tmp_path / "nothing")
    bare = copy("bare")
    (bare / "bitflip.json").unlink()
    with pytest.raises(InputError, match=r"holds no bitflip\.json"):
        bitflip.load_model(bare)
    torn = copy("torn")
    file = torn / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be loaded"):
        bitflip.load_model(torn)
    half = copy("half")
    (half / "bitflip.json").write_text((half / "bitflip.json").read_text()[:200])
    with pytest.raises(InputError, match="not readable JSON"):
        bitflip.load_model(half)
    spec = BitModelSpec.load(folder / "bitflip.json")
    other = copy("other")
    spec.model_copy(update={"bits": 3}).save(other / "bitflip.json")
    with pytest.raises(InputError, match=r"takes 4 planes, gives 2 .* says 6, 3 and 8"):
        bitflip.load_model(other)
    newer = copy("newer")
    write_json(newer / "bitflip.json", {**spec.to_json(), "schema_version": 99})
    with pytest.raises(InputError, match="version 99"):
        bitflip.load_model(newer)
    with pytest.raises(InputError, match="count=0"):
        bitflip.sample(bitflip.load_model(folder), count=0)


def test_resuming_another_run_is_refused(folder, small, squares):
    with pytest.raises(InputError, match="bits=2, not 3"):
        bitflip.train(squares, folder, spec=small.model_copy(update={"bits": 3}), resume=True)
    with pytest.raises(InputError, match="is not empty"):
        bitflip.train(squares, folder, spec=small)


def test_ideal_cells_train_and_sample_too(small, squares, tmp_path):
    spec = small.model_copy(update={"cells": CellSpec(junction=IDEAL), "self_condition": False, "steps": 2})
    bitflip.train(squares, tmp_path / "m", spec=spec)
    samples = bitflip.sample(bitflip.load_model(tmp_path / "m"), count=2)
    assert samples.pulses == ()
    assert set(np.unique(samples.images)) <= {0, 85, 170, 255}
