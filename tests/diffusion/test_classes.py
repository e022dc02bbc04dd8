"""Networks that are told a class: what they are told, guidance, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.diffusion import TrainSpec, inplace, load_pipeline, open_model, sample, train
from voltaspin.diffusion.classes import ClassSpec, Told
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.samplers import generate
from voltaspin.diffusion.stepping import SAMPLERS, SteppedPipeline, stepped, steps_for
from voltaspin.metrics.evaluation import read_images
from voltaspin.noise import PseudoSource


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two classes that anybody tells apart: dark and bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(256) % 2
    pixels = (rng.integers(0, 60, (256, 1, 8, 8)) + 180 * labels[:, None, None, None]).astype(np.uint8)
    images = ImageSet(pixels, labels, "two classes", "train", "0" * 64)
    spec = TrainSpec(
        channels=(16, 32), batch=32, steps=150, precision="float32", warmup=5, learning_rate=5e-3, ema_decay=0.95,
        labels=True, label_dropout=0.2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("classes") / "m"
    train(images, PseudoSource(seed=1), folder, spec=spec)
    return folder


class Recorded(torch.nn.Module):
    """A network whose output is the square of the class that it was told, plus the image."""

    def forward(self, x: torch.Tensor, t: int, class_labels: torch.Tensor) -> Any:
        class Output:
            sample = x + class_labels[:, None, None, None].float() ** 2

        return Output()


def test_guidance_goes_from_the_output_without_a_class_through_that_with_one() -> None:
    x = torch.arange(4.0).reshape(4, 1, 1, 1)
    spec = ClassSpec(classes=3)  # so that 3 is no class

    def told(**given: Any) -> list[float]:
        return [float(v) for v in (Told(spec, **given).output(Recorded(), x, 5, 10) - x).ravel()]  # type: ignore[arg-type]

    assert told() == [9.0] * 4
    assert told(label=2) == [4.0] * 4
    assert told(label="all") == [1.0, 4.0, 0.0, 1.0]  # images 10 to 13 modulo 3
    assert told(label=2, guidance=3.0) == [9 + 3 * (4 - 9)] * 4
    assert told(label=2, guidance=0.0) == [9.0] * 4


def test_a_model_makes_the_class_that_it_is_told(model: Path) -> None:
    pipeline = load_pipeline(model, told=True)
    assert pipeline.classes == ClassSpec(classes=2)
    mean = {}
    for label in (0, 1):
        made = sample(pipeline, PseudoSource(seed=2), count=8, steps=10, told=Told(pipeline.classes, label))
        mean[label] = made.images.mean(axis=(1, 2, 3))
    # The classes are 180 levels apart.
    assert mean[0].max() + 60 < mean[1].min()
    turns = Told(pipeline.classes, "all")
    both = sample(pipeline, PseudoSource(seed=2), count=8, steps=10, told=turns).images
    alone = sample(pipeline, PseudoSource(seed=2), count=3, steps=10, first=5, rows=4, told=turns).images
    assert np.abs(alone.astype(int) - both[5:]).max() <= 1
    assert [int(m > 128) for m in both.mean(axis=(1, 2, 3))] == [0, 1] * 4
    # Without a class it makes either.
    free = sample(pipeline, PseudoSource(seed=2), count=32, steps=10).images.mean(axis=(1, 2, 3)) > 128
    assert 2 <= free.sum() <= 30


def test_a_model_of_classes_is_opened_where_a_class_is_told_alone(model: Path) -> None:
    assert getattr(open_model(model), "classes", None) == ClassSpec(classes=2)
    with pytest.raises(InputError, match="holds a model of classes"):
        load_pipeline(model)
    assert getattr(open_model(model, in_place=True), "classes", None) == ClassSpec(classes=2)


class Fixed(torch.nn.Module):
    """A network that is told the same class or guided in the same way whatever it is asked, by hand."""

    def __init__(self, unet: Any, label: int, guidance: float) -> None:
        super().__init__()
        self.unet, self.label, self.guidance = unet, label, guidance
        self.config, self.device = unet.config, unet.device

    def forward(self, x: torch.Tensor, t: Any) -> Any:
        of_class, without = (self.unet(x, t, class_labels=torch.full((len(x),), c)).sample for c in (self.label, 2))

        class Output:
            sample = without + self.guidance * (of_class - without)

        return Output()


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of diffusers, which NumPy 2 is about to give up
@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_diffusers_samplers_tell_the_class_and_guide(model: Path, sampler: str) -> None:
    pipeline = load_pipeline(model, told=True)
    told = Told(ClassSpec(classes=2), 1, 1.5)
    made = generate(pipeline, PseudoSource(seed=2), sampler=sampler, steps=11, count=4, told=told).images
    by_hand = SteppedPipeline(
        Fixed(pipeline.unet, 1, 1.5), stepped(pipeline.unet, pipeline.scheduler, sampler).scheduler
    )
    with PseudoSource(seed=2).drive_torch():
        steps = steps_for(sampler, 11)
        direct = by_hand(
            batch_size=4, generator=[torch.Generator().manual_seed(i) for i in range(4)], num_inference_steps=steps
        ).images
    assert np.abs(made[:, 0] / 255 - direct[..., 0]).max() <= 0.51 / 255 + 1e-4  # rounding to grey levels

    def of(label: int | str) -> np.ndarray:
        told = Told(ClassSpec(classes=2), label)  # type: ignore[arg-type]
        given = {"sampler": sampler, "steps": 11, "count": 6, "first": 1, "batch": 4, "told": told}
        return generate(pipeline, PseudoSource(seed=2), **given).images.astype(int)

    turns, of_0, of_1 = of("all"), of(0), of(1)
    assert np.abs(turns[0::2] - of_1[0::2]).max() <= 1  # images 1, 3 and 5
    assert np.abs(turns[1::2] - of_0[1::2]).max() <= 1
    if sampler != "heun":  # whose six steps this network, trained for 150, does not follow
        assert of_0.mean(axis=(1, 2, 3)).max() < of_1.mean(axis=(1, 2, 3)).min()


def test_an_array_makes_the_class_that_it_is_told_and_guidance_takes_the_network_twice(model: Path) -> None:
    pipeline = load_pipeline(model, told=True)
    spec, cells = ClassSpec(classes=2), inplace.CellSpec(junction="ideal")
    turns = inplace.sample(pipeline, count=6, batch=4, steps=8, cells=cells, told=Told(spec, "all"))
    assert [int(m > 128) for m in turns.images.mean(axis=(1, 2, 3))] == [0, 1] * 3
    assert turns.per_image["evaluation"] == 8
    guided = inplace.sample(pipeline, count=4, steps=8, cells=cells, told=Told(spec, 1, 1.5), variance="matched")
    assert guided.images.mean(axis=(1, 2, 3)).min() > 128
    assert guided.per_image["evaluation"] == 16
    free = inplace.sample(pipeline, count=32, steps=8, cells=cells).images.mean(axis=(1, 2, 3)) > 128
    assert 2 <= free.sum() <= 30


@pytest.mark.parametrize(
    ("given", "evaluations"),
    [
        (["--sampler", "heun", "--steps", "9"], 36),  # steps are evaluations, whatever the sampler
        (["--sampler", "euler", "--steps", "9"], 36),
        (["--label", "1", "--steps", "9"], 36),
        (["--label", "1", "--guidance", "2", "--steps", "9"], 72),  # with and without the class
        (["--label", "1", "--guidance", "2", "--steps", "9", "--in-place"], 72),
    ],
)
def test_a_dry_run_counts_what_the_network_computes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], evaluations: int
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sample", "--model", str(model), "--count", "4", *given, "--dry-run", "--out", str(tmp_path / "o")])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    assert f"by {evaluations} network evaluations" in out
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("way", [["--sampler", "unipc"], ["--in-place"]])
def test_the_command_tells_the_class(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], way: Any) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["sample", "--model", str(model), "--label", "1", "--guidance", "1.5", "--count", "2", "--steps", "4",
              *way, "--out", str(out)])  # fmt: skip
    assert not ended.value.code, capsys.readouterr().err
    record = json.loads((out / "run.json").read_text())
    assert (record["label"], record["guidance"]) == (1, 1.5)
    assert read_images(out).mean() > 128


@pytest.mark.parametrize(
    ("spec", "label", "guidance", "words"),
    [
        (ClassSpec(classes=10), 10, None, "label = 10 is no class of this model; give 0 to 9, or all"),
        (ClassSpec(classes=10), -1, None, "label = -1"),
        (ClassSpec(classes=10), "dress", None, "label = 'dress'"),
        (ClassSpec(classes=10), "³", None, "label = '³'"),
        (ClassSpec(classes=10), None, 2.0, "towards a class; give label="),
        (ClassSpec(classes=10), 3, float("nan"), "guidance = nan"),
        (ClassSpec(classes=10, unconditional=False), None, None, "needs label="),
        (ClassSpec(classes=10, unconditional=False), 3, 2.0, "has no guidance"),
        (None, 3, None, "label = 3: this model is told no class"),
        (None, None, 2.0, "guidance = 2: this model is told no class"),
    ],
)
def test_what_a_model_cannot_be_told_is_refused(spec: Any, label: Any, guidance: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Told.of(spec, label, guidance)
