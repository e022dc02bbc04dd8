"""How large a study is, and whether its networks, images and references fit, before anything runs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from diffusers import UNet2DModel

from voltaspin.core.errors import InputError
from voltaspin.core.forecast import Forecast
from voltaspin.core.format import duration
from voltaspin.core.result import Result, Unit
from voltaspin.diffusion import TrainSpec, load_images, load_pipeline, shipped_model
from voltaspin.diffusion.backend import outputs_per_image
from voltaspin.diffusion.classes import ClassSpec, Told, classes_of_model
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.objective import classes_of
from voltaspin.diffusion.pipelines import shape_of
from voltaspin.diffusion.recipe import make_model
from voltaspin.diffusion.stepping import check_prediction
from voltaspin.metrics import FeatureStatistics
from voltaspin.metrics.features import FEATURES, SIDE
from voltaspin.metrics.statistics import SHAPES, SHIPPED
from voltaspin.study.arrays import tuning_of
from voltaspin.study.specification import Condition, Run, StudySpec
from voltaspin.study.work import scored_by, seconds_of, training_spec

_USUAL = TrainSpec.model_fields["data"].default
_BYTES_OF_USUAL = 47e6  # of its pixels
_BYTES_OF_OTHERS = 600e6  # of libraries and their kernels in each process
_COPIES = 5  # of the weights in a training: weights, gradient, two moments and the average
_AT_ONCE = 64  # images that the network sees while it samples


class Size(Result):
    """The size of a study.

    Args:
        conditions, runs, trainings: how many; runs of equal key count once.
        images: in all runs.
        evaluations: of the network, by image, in all runs.
        training_images: images times optimiser steps, in all trainings and fine-tunings.
        bytes: of the features and pictures that it keeps.
        seconds: that it takes in one process of this machine, about; None where that was not estimated.
        work: evaluations of the shipped network, by image, that cost what all of it costs.
        memory: that one process takes at most, about.
    """

    KIND: ClassVar[str] = "study-size"
    conditions: int
    runs: int
    trainings: int
    images: int
    evaluations: int
    training_images: int
    bytes: Annotated[int, Unit("byte")]
    seconds: Annotated[float | None, Unit("s")] = None
    work: float = 0.0
    memory: Annotated[float, Unit("byte")] = 0.0

    def __str__(self) -> str:
        time = "" if self.seconds is None else f"; about {duration(self.seconds)} in one process of this machine"
        return (
            f"{self.conditions} conditions, {self.runs} runs and {self.trainings} trainings; "
            f"{self.images} images by {self.evaluations} network evaluations, {self.training_images} training images; "
            f"{self.bytes / 1e6:.1f} MB of results, {self.memory / 1e9:.1f} GB of memory for each process{time}"
        )

    @classmethod
    def of(cls, spec: StudySpec) -> Size:
        runs = {r.key: r.condition for r in spec.runs()}
        trainings = [training_spec(t) for t in spec.trainings()]
        tunings = [tuning_of(c) for c in runs.values() if c.tune]
        images = sum(c.images for c in runs.values())
        work, memory = _work_and_memory(spec, trainings)
        work += sum(3 * t["steps"] * t["batch"] for t in tunings)
        return cls(
            conditions=len(spec.named()), runs=len(runs), trainings=len(trainings), images=images,
            evaluations=sum((c.images + 2 * c.correct) * c.steps for c in runs.values() if c.diffusion != "real"),
            training_images=sum(t.steps * t.batch for t in trainings) + sum(t["steps"] * t["batch"] for t in tunings),
            bytes=4 * FEATURES * images + 40_000 * len(runs), work=work, memory=memory + _BYTES_OF_OTHERS,
        )  # fmt: skip


def _work_and_memory(spec: StudySpec, trainings: list[TrainSpec]) -> tuple[float, float]:
    """Evaluations of the shipped network that cost the same, and bytes of the largest job."""
    shipped = load_pipeline(shipped_model()).unet
    unit, work, memory = _operations(shipped), 0.0, 0.0
    for t in trainings:
        more, bytes_ = _of_training(t, unit)
        work, memory = work + more, max(memory, bytes_)
    for run in {r.key: r for r in spec.runs()}.values():
        c = run.condition
        if c.diffusion == "real":
            continue
        model = shipped if not c.model else load_pipeline(c.model, told=True).unet
        if (training := run.training) is not None:
            model = _network(training_spec(training))
        more, bytes_ = _of_sampling(model, c.images + 2 * c.correct, c.steps, _AT_ONCE, unit)
        work, memory = work + more, max(memory, bytes_ + 2.0 * c.images * _numbers(model))
    return work, memory


def _of_training(spec: TrainSpec, unit: float) -> tuple[float, float]:
    """Work and memory of a training, as :func:`_work_and_memory`."""
    model = _network(spec)
    outputs, _ = _outputs(model)
    weights = sum(p.numel() for p in model.parameters())
    pixels = _images_of(spec.data).images.nbytes if spec.data != _USUAL else _BYTES_OF_USUAL
    work = 3 * spec.steps * spec.batch * _operations(model) / unit  # forward, and twice that backward
    return work, 4.0 * (_COPIES * weights + outputs * spec.batch // spec.accumulate) + pixels


def _of_sampling(model: UNet2DModel, images: int, steps: int, batch: int, unit: float) -> tuple[float, float]:
    """Work and memory of a sampling, as :func:`_work_and_memory`."""
    _, largest = _outputs(model)
    return (
        images * steps * _operations(model) / unit,
        8.0 * batch * largest + 4 * sum(p.numel() for p in model.parameters()),
    )


def forecast_of_training(spec: TrainSpec) -> Forecast:
    """Return time and memory of a training, within a factor of two or three.

    Raises:
        InputError: images that do not fit the network.
    """
    work, memory = _of_training(spec, _operations(load_pipeline(shipped_model()).unet))
    return Forecast(
        work=f"{spec.steps} training steps of {spec.batch} images", seconds=seconds_of(work),
        memory=memory + _BYTES_OF_OTHERS,
    )  # fmt: skip


def forecast_of_sampling(model: UNet2DModel, *, images: int, steps: int, batch: int, crossbars: bool) -> Forecast:
    """Return time and memory of a sampling, within a factor of two or three.

    Args:
        model: the network; images: how many, of so many ``steps``; batch: images at once.
        crossbars: whether arrays compute, which takes longer than is said.

    Raises:
        InputError: another network than a UNet2DModel.
    """
    if not isinstance(model, UNet2DModel):
        raise InputError(f"{type(model).__name__}: the time of a UNet2DModel alone is foreseen; sample a few images")
    work, memory = _of_sampling(
        model, images, steps, min(batch, images), _operations(load_pipeline(shipped_model()).unet)
    )
    return Forecast(
        work=f"{images} images by {images * steps} network evaluations", seconds=seconds_of(work),
        memory=memory + _BYTES_OF_OTHERS, note="arrays take several times as long" if crossbars else "",
    )  # fmt: skip


@lru_cache(maxsize=8)
def _images_of(data: str) -> ImageSet:
    return load_images(data)


@lru_cache(maxsize=32)
def _made(fields: str, channels: int, size: int, classes: int) -> UNet2DModel:
    """A network without weights, which takes no memory."""
    with torch.device("meta"):
        return make_model(TrainSpec.model_validate_json(fields), channels=channels, size=size, classes=classes)


def _network(spec: TrainSpec) -> UNet2DModel:
    """The network of a training, of the size of its images; raises InputError where they do not fit."""
    if spec.start:
        return load_pipeline(spec.start, told=True).unet
    channels, size, classes = 1, SIDE, 10 if spec.labels else 0
    if spec.data != _USUAL:
        images = _images_of(spec.data)
        _, channels, size, width = images.images.shape
        if size != width:
            raise InputError(f"images of {spec.data} are {width}x{size} pixels; crop or pad them to a square")
        classes = classes_of(images, spec)
    fields = {name: getattr(spec, name) for name in TrainSpec.model_fields}
    return _made(TrainSpec(**fields).model_dump_json(), channels, size, classes)


def _numbers(model: UNet2DModel) -> int:
    channels, height, width = shape_of(model)
    return channels * height * width


@lru_cache(maxsize=64)
def _outputs(model: UNet2DModel) -> tuple[int, int]:
    return outputs_per_image(model, shape_of(model))


@lru_cache(maxsize=64)
def _operations(model: UNet2DModel) -> float:
    """Multiplications and additions of one evaluation for one image, from shapes alone."""
    from torch.utils.flop_counter import FlopCounterMode

    channels, height, width = shape_of(model)
    config: Any = model.config
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        copy = UNet2DModel.from_config(config).eval()
        told = {"class_labels": torch.zeros(1, dtype=torch.long)} if config.num_class_embeds else {}
        copy(torch.zeros(1, channels, height, width), torch.zeros(1, dtype=torch.long), **told)
    return float(counter.get_total_flops())


def check_fit(condition: Condition) -> None:
    """Refuse a condition whose network, images, labels, guidance or reference do not belong together.

    Raises:
        InputError: which of them, and the remedy.
    """
    shape, classes, sampler = (1, SIDE, SIDE), None, condition.sampling.get("sampler", "ddpm")
    if condition.model:
        pipeline = load_pipeline(condition.model, told=True)
        shape = shape_of(pipeline.unet)
        check_prediction(sampler, pipeline.scheduler.config.prediction_type)
        classes = classes_of_model(Path(condition.model))
    if (training := Run("", condition, 0, 0).training) is not None:
        spec = training_spec(training)
        model = _network(spec)
        shape = shape_of(model)
        check_prediction(sampler, spec.prediction_type)
        if spec.labels:
            classes = ClassSpec(classes=model.config.num_class_embeds - 1, unconditional=spec.label_dropout > 0)
    if condition.diffusion == "real" and condition.data:
        _, channels, height, width = _images_of(condition.data).images.shape
        shape = channels, height, width
    Told.of(classes, *(condition.sampling.get(name) for name in ("label", "guidance")))
    if classes is not None and condition.compute is not None:
        raise InputError("a network that is told a class does not compute in arrays; train it without labels")
    if condition.reference:
        scored_by(condition)
    extractor = FeatureStatistics.load(condition.reference).word if condition.reference else SHIPPED
    if (takes := SHAPES.get(extractor, shape)) != shape:
        said = ["images of {2}x{1} pixels in {0} channel(s)".format(*each) for each in (shape, takes)]
        raise InputError(
            f"{said[0]}, and the {extractor} extractor takes {said[1]}; give reference, a file of "
            "`voltaspin reference` by another extractor, such as cifar10 (colour of 32x32) or inception (any)"
        )
