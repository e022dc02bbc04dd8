"""Published models: every kind of unconditional pipeline on a source, and what is refused."""

import json
import shutil

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    LDMPipeline,
    PNDMPipeline,
    PNDMScheduler,
    ScoreSdeVePipeline,
    ScoreSdeVeScheduler,
    UNet2DModel,
    VQModel,
)
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.diffusion.pipelines import Pipeline, load_pipeline
from voltaspin.diffusion.published import Unmodified, open_model, sample_unmodified
from voltaspin.diffusion.sampling import sample
from voltaspin.noise import MemorySource, PseudoSource, RecordedSource

SIDE, STEPS = 8, 4


def network(out=3, **more):
    """A network with attention and random weights, as small as it can be."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return UNet2DModel(
            sample_size=SIDE,
            in_channels=3,
            out_channels=out,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=8,
            **more,
        )


def decoder():
    blocks = {"down_block_types": ("DownEncoderBlock2D",), "up_block_types": ("UpDecoderBlock2D",)}
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return VQModel(block_out_channels=(8,), norm_num_groups=4, num_vq_embeddings=8, **blocks)


#: Pipelines, and how many numbers of a pixel and channel each draws for an image in four steps.
KINDS = {
    "PNDM": (lambda: PNDMPipeline(network(), PNDMScheduler()), 1),  # an ODE: the first latent only
    "DDPM, learned variance": (lambda: DDPMPipeline(network(6), DDPMScheduler(variance_type="learned_range")), 4),
    "DDIM, another end": (lambda: DDIMPipeline(network(), DDIMScheduler(set_alpha_to_one=False)), 1),
    "ScoreSdeVe": (lambda: ScoreSdeVePipeline(network(), ScoreSdeVeScheduler()), 1 + 2 * STEPS),  # correction and step
    "consistency": (lambda: ConsistencyModelPipeline(network(), CMStochasticIterativeScheduler()), 1 + STEPS),
    "latent": (lambda: LDMPipeline(decoder(), network(), DDIMScheduler()), 1),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home, made = tmp_path_factory.mktemp("models"), {}
    for kind, (pipeline, _) in KINDS.items():
        made[kind] = home / kind.replace(", ", "-").replace(" ", "-")
        pipeline().save_pretrained(made[kind])
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_runs_unmodified_and_every_draw_of_an_image_comes_from_its_stream(folders, kind):
    model = open_model(folders[kind])
    assert isinstance(model, Unmodified)
    state = torch.get_rng_state()
    source = MemorySource(seed=1)
    made = sample_unmodified(model, source, count=3, steps=STEPS, batch=2, first=7)
    assert torch.equal(torch.get_rng_state(), state)
    draws = KINDS[kind][1]
    assert (made.images.shape, made.images.dtype) == ((3, 3, SIDE, SIDE), np.uint8)
    assert (made.ids, made.draws, made.unaddressed) == ((7, 8, 9), draws * 3 * SIDE**2, 0)
    assert source.ledger.total("normal") == 3 * made.draws
    assert made.noise["kind"] == "simulated"

    # diffusers' own loop, fed with the numbers of the streams by the arguments that it takes for them
    class Stream:
        def __init__(self, seed):
            self.seed, self.step = seed, 0

    def fed(shape, generator=None, device=None, dtype=None, layout=None):
        z = np.concatenate(
            [MemorySource(seed=1).normal((1, *shape[1:]), streams=[g.seed], step=g.step) for g in generator]
        )
        for g in generator:
            g.step += 1
        return torch.from_numpy(z)

    kind_of = type(model.pipeline)
    with pytest.MonkeyPatch.context() as patch:
        for module in (kind_of.__module__, type(model.pipeline.scheduler).__module__):
            found = __import__(module, fromlist=["x"])
            if hasattr(found, "randn_tensor"):
                patch.setattr(found, "randn_tensor", fed)
        theirs = model.pipeline(
            batch_size=2, generator=[Stream(7), Stream(8)], num_inference_steps=STEPS, output_type="np"
        ).images
    assert np.array_equal(made.images[:2], np.round(255 * theirs).astype(np.uint8).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"ScoreSdeVe"}))
def test_an_image_does_not_depend_on_its_batch(folders, kind):
    runs = [
        sample_unmodified(open_model(folders[kind]), PseudoSource(seed=2), count=3, steps=STEPS, batch=batch).images
        for batch in (1, 3)
    ]
    assert np.abs(runs[0].astype(int) - runs[1].astype(int)).max() <= 1


def test_the_old_karras_pipeline_runs_where_diffusers_offers_it(tmp_path, monkeypatch):
    def save():
        diffusers.KarrasVePipeline(network(), KarrasVeScheduler()).save_pretrained(tmp_path)
        index = tmp_path / "model_index.json"  # diffusers writes the folder's name for the library of this one
        index.write_text(index.read_text().replace('"deprecated"', '"diffusers"'))

    save()
    with monkeypatch.context() as absent:
        dummy = type("KarrasVeScheduler", (), {"__module__": "diffusers.utils.dummy_pt_objects"})
        absent.setattr(diffusers, "KarrasVeScheduler", dummy)
        with pytest.raises(InputError, match="offers KarrasVeScheduler only where more packages are installed"):
            open_model(tmp_path)
    monkeypatch.setattr(diffusers, "KarrasVeScheduler", KarrasVeScheduler)
    made = sample_unmodified(open_model(tmp_path), PseudoSource(seed=1), count=2, steps=STEPS)
    # Heun's method: two evaluations a step but for the last; a draw at the start and before each step.
    assert (made.steps, made.draws) == (2 * STEPS - 1, (1 + STEPS) * 3 * SIDE**2)


def test_ddpm_and_ddim_go_through_our_own_sampler(tmp_path):
    for pipeline in (DDPMPipeline(network(), DDPMScheduler()), DDIMPipeline(network(), DDIMScheduler())):
        folder = tmp_path / type(pipeline).__name__
        pipeline.save_pretrained(folder)
        model = open_model(folder)
        assert isinstance(model, Pipeline)
        assert sample(model, PseudoSource(seed=1), count=1, steps=2).images.shape == (1, 3, SIDE, SIDE)


def test_the_first_models_of_the_hub_lie_flat_with_attention_of_old_names(tmp_path):
    from safetensors.torch import load_file, save_file

    pipeline = DDPMPipeline(network(), DDPMScheduler())
    pipeline.save_pretrained(tmp_path / "new")
    flat = tmp_path / "flat"
    shutil.copytree(tmp_path / "new" / "unet", flat)
    shutil.copy(tmp_path / "new" / "scheduler" / "scheduler_config.json", flat)
    shutil.copy(tmp_path / "new" / "model_index.json", flat)
    weights = flat / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in load_file(weights).items():
        for new, was in old.items():
            name = name.replace(f".{new}.", f".{was}.")
        renamed[name] = tensor
    assert sum(".query." in name for name in renamed) > 0
    save_file(renamed, weights)
    images = [
        sample(load_pipeline(folder), PseudoSource(seed=1), count=2, steps=3).images
        for folder in (tmp_path / "new", flat)
    ]
    assert np.array_equal(*images)


def test_weights_that_do_not_fit_are_not_filled_up_by_chance(tmp_path):
    from safetensors.torch import load_file, save_file

    PNDMPipeline(network(), PNDMScheduler()).save_pretrained(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    whole = load_file(weights)
    save_file({k: v for k, v in whole.items() if k != "conv_out.bias"}, weights)
    with pytest.raises(InputError, match=r"1 weights do not fit, conv_out\.bias first"):
        open_model(tmp_path)
    raw = weights.read_bytes()
    weights.write_bytes(raw[:-50])
    with pytest.raises(InputError, match="truncated"):
        open_model(tmp_path)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(InputError, match="is a pickle"):
        open_model(tmp_path)


@pytest.fixture
def index(tmp_path):
    """A PNDM pipeline whose index a test rewrites: ``index(key=value)``."""
    PNDMPipeline(network(), PNDMScheduler()).save_pretrained(tmp_path / "m")
    file = tmp_path / "m" / "model_index.json"

    def rewrite(**changes):
        file.write_text(json.dumps({k: v for k, v in (json.loads(file.read_text()) | changes).items() if v}))
        return tmp_path / "m"

    return rewrite


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"]},
            "is a StableDiffusionPipeline: it is conditioned by its text_encoder, a CLIPTextModel; only unconditional",
        ),
        ({"unet": ["diffusers", "UNet2DConditionModel"]}, "its network needs a condition, such as a text"),
        ({"unet": ["diffusers", "UNet1DModel"]}, "it makes sequences, such as sound, and no images"),
        ({"_class_name": "DiTPipeline"}, "is a DiTPipeline: it needs class_labels"),
        ({"_class_name": "RePaintPipeline"}, "it needs image, mask_image"),
        ({"_class_name": "DanceDiffusionPipeline"}, "it does not take output_type"),
        ({"_class_name": "OwnPipeline"}, "no such pipeline is in diffusers"),
        ({"_class_name": ["pipeline", "OwnPipeline"]}, "names no pipeline of diffusers, perhaps code of its own"),
        ({"unet": ["own_code", "OwnModel"]}, "its unet is a OwnModel of own_code, not a class of diffusers"),
        ({"unet": None}, "it has no UNet2DModel with a scheduler"),
        ({"unet": "UNet2DModel"}, "it has no UNet2DModel with a scheduler"),
        ({"unet": ["UNet2DModel"]}, "not a library and a class"),
    ],
)
def test_a_model_that_is_not_unconditional_says_what_it_is(index, changes, says):
    with pytest.raises(InputError) as caught:
        open_model(index(**changes))
    assert says in str(caught.value)


def test_a_class_embedding_is_refused(tmp_path):
    for folder, pipeline in {
        "consistency": ConsistencyModelPipeline(network(num_class_embeds=10), CMStochasticIterativeScheduler()),
        "ddpm": DDPMPipeline(network(num_class_embeds=10), DDPMScheduler()),
    }.items():
        pipeline.save_pretrained(tmp_path / folder)
        with pytest.raises(InputError, match="its network is told a class"):
            open_model(tmp_path / folder)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"count": 0}, "count=0"),
        ({"batch": -1}, "batch=-1"),
        ({"steps": 0}, "steps=0"),
        ({"eta": 0.5}, "PNDMPipeline takes no eta"),
        ({"steps": 5000}, "5000 sampling steps: give 1 to 1000"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(folders, wrong, says):
    with pytest.raises(InputError, match=says):
        sample_unmodified(open_model(folders["PNDM"]), PseudoSource(), **({"count": 1, "steps": 4} | wrong))


def test_what_a_pipeline_itself_refuses_is_passed_on(folders, monkeypatch):
    def refuses(self, steps, **options):
        raise ValueError("only even numbers")

    monkeypatch.setattr(PNDMScheduler, "set_timesteps", refuses)
    with pytest.raises(InputError, match="PNDMPipeline refuses 3 steps: only even numbers"):
        sample_unmodified(open_model(folders["PNDM"]), PseudoSource(), count=1, steps=3)


def test_draws_that_no_source_serves_are_refused(folders, monkeypatch):
    model = open_model(folders["PNDM"])
    step = PNDMScheduler.step

    def noisy(self, *args, **kwargs):
        torch.poisson(torch.ones(3))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(PNDMScheduler, "step", noisy)
    with pytest.raises(InputError, match="draws by poisson, which no source serves"):
        sample_unmodified(model, PseudoSource(), count=1, steps=4)


def test_draws_for_no_image_in_particular_are_counted(folders):
    # LDMPipeline does not hand its generators to the step.
    made = sample_unmodified(open_model(folders["latent"]), PseudoSource(seed=3), count=2, steps=STEPS, eta=1.0)
    assert made.unaddressed == STEPS


def test_a_recorded_source_that_runs_dry_says_where_and_keeps_what_was_finished(folders, tmp_path):
    bits = 3 * SIDE**2 * 16
    (tmp_path / "bits.bin").write_bytes(PseudoSource(seed=1).bits(3 * bits).tobytes())
    model = open_model(folders["PNDM"])
    with pytest.raises(NoiseExhaustedError, match="stopped at images 2 to 3; 2 images before them") as stopped:
        sample_unmodified(model, RecordedSource(tmp_path / "bits.bin"), count=4, steps=4, batch=2)
    assert stopped.value.finished.images.shape == (2, 3, SIDE, SIDE)


class Hub:
    """Stands for the hub with one model: notes what is asked for and hands out only that."""

    def __init__(self, monkeypatch, model, home):
        import huggingface_hub
        from huggingface_hub.utils import filter_repo_objects

        self.fetched = []
        files = [str(f.relative_to(model)) for f in model.rglob("*") if f.is_file()]

        def repo_info(api, name, *, repo_type, revision, timeout):
            assert (name, repo_type) == ("somebody/model", "model")
            return type("Info", (), {"siblings": [type("S", (), {"rfilename": f})() for f in files]})()

        def snapshot_download(name, *, allow_patterns, **options):
            for f in filter_repo_objects(files, allow_patterns=allow_patterns):
                (home / f).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(model / f, home / f)
                self.fetched.append(f)
            return str(home)

        monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", repo_info)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


def test_a_model_of_the_hub_is_fetched_without_pickles_and_sampled(folders, tmp_path, monkeypatch, capsys):
    model = tmp_path / "theirs"
    shutil.copytree(folders["PNDM"], model)
    for extra in ("unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors", "setup.py"):
        (model / extra).write_bytes(b"x")
    hub = Hub(monkeypatch, model, tmp_path / "cache")
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        main(["sample", "--model", "somebody/model", "--count", "2", "--steps", "4", "--out", str(out), "--json"])
    assert caught.value.code == 0
    assert set(hub.fetched) == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }
    record = json.loads(capsys.readouterr().out)
    assert record["model"]["folder"] == "somebody/model"
    assert record["sampler"] == "PNDMPipeline with PNDMScheduler, unmodified"
    assert record["normals_per_image"] == 3 * SIDE**2
    assert record["provenance"]["kind"] == "simulated"
    assert len(list(out.glob("image-*.png"))) == 2


def test_models_of_the_hub_that_are_refused_before_their_weights_are_fetched(folders, index, tmp_path, monkeypatch):
    conditional = index(_class_name="StableDiffusionPipeline", text_encoder=["transformers", "CLIPTextModel"])
    hub = Hub(monkeypatch, conditional, tmp_path / "first")
    with pytest.raises(InputError, match="conditioned by its text_encoder"):
        open_model("somebody/model")
    assert hub.fetched
    assert all(f.endswith(".json") for f in hub.fetched)
    shutil.copytree(folders["PNDM"], tmp_path / "pickled")
    weights = tmp_path / "pickled" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    hub = Hub(monkeypatch, tmp_path / "pickled", tmp_path / "second")
    with pytest.raises(InputError, match=r"has only unet/diffusion_pytorch_model\.bin, a pickle, which can run code"):
        open_model("somebody/model")
    assert all(f.endswith(".json") for f in hub.fetched)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text('{"architectures": ["BertModel"]}')
    Hub(monkeypatch, tmp_path / "text", tmp_path / "third")
    with pytest.raises(InputError, match=r"has no model_index\.json, so it is no pipeline of diffusers"):
        open_model("somebody/model")


def test_a_model_out_of_reach_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    import huggingface_hub

    def run():
        with pytest.raises(SystemExit) as caught:
            main(["sample", "--model", "somebody/model", "--out", str(tmp_path / "out")])
        out, err = capsys.readouterr()
        assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
        assert not (tmp_path / "out").exists()
        return err

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "as a model of the hub it is out of reach (HF_HUB_OFFLINE is set) and not whole in the local" in run()

    def unreachable(api, name, **options):
        assert options["timeout"] == 10
        raise TimeoutError("no answer")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unreachable)
    assert "out of reach (TimeoutError)" in run()


def test_a_name_that_the_hub_does_not_know_says_so(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    def unknown(api, name, **options):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unknown)
    with pytest.raises(InputError, match="'somebody/model' is no path here, and the hub has no such model"):
        open_model("somebody/model")


def test_our_samplers_options_are_refused_for_a_pipeline_of_its_own_loop(folders, tmp_path, capsys):
    for option in (["--sampler", "ddim"], ["--compute", "memory"]):
        with pytest.raises(SystemExit) as caught:
            main(["sample", "--model", str(folders["PNDM"]), *option, "--out", str(tmp_path / "out")])
        err = capsys.readouterr().err
        assert (caught.value.code, err.count("\n")) == (2, 1)
        assert f"runs in its own loop; {' '.join(option)} is for pipelines of our samplers" in err
