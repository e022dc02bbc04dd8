"""One job of a study: train a model, or sample with it and take the features of its images."""

from __future__ import annotations

import inspect
import shutil
import time
from collections.abc import Callable
from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from voltaspin.core.errors import InputError
from voltaspin.core.spec import Spec
from voltaspin.cost.images import image_costs_text, whole_image_costs
from voltaspin.device import Junction, SwitchingModel
from voltaspin.diffusion import TrainSpec, inplace, load_images, load_pipeline, sample, shipped_model, train
from voltaspin.diffusion.bitflip import from_planes, to_planes
from voltaspin.diffusion.classes import Told
from voltaspin.diffusion.grids import grid_png
from voltaspin.diffusion.inplace.array import IDEAL
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.samplers import SAMPLERS, generate, steps_for
from voltaspin.memory import ArraySpec, Imperfections, MagnetoelectricMemory
from voltaspin.memory.dynamics import Slopes
from voltaspin.metrics import Extractor, FeatureStatistics, Reference, reference, score_features
from voltaspin.metrics.moments import AnyExtractor
from voltaspin.metrics.statistics import load_extractor
from voltaspin.noise import MemorySource, NoiseSource, PeriodicSource, PseudoSource, Requantised, build
from voltaspin.noise.gaussian import transform_of
from voltaspin.noise.grammar import names_stream, stages_of
from voltaspin.study.arrays import in_arrays
from voltaspin.study.cells import Cells
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import RESULTS_OF, SOURCE_PARTS, Condition, Run, Training

_OF_CELLS = frozenset({"junction", "model", "voltage", "width", "imperfect"})  # in a description: cells of its own
SHOWN = 32  #: images of each run that are kept as a picture
UNSEEN = 50_000  #: training images from here on were not shown to the extractor


def source_of(
    noise: str, seed: int, *, memory: dict[str, Any] | None = None, imperfections: dict[str, Any] | None = None,
    cells: dict[str, Any] | None = None, source: dict[str, Any] | None = None, draws: int = 1024,
) -> NoiseSource:  # fmt: skip
    """The source that a condition names; its array is one device, drawn by the seed.

    Args:
        noise: as ``Condition.sample``.
        seed: of the source and of its array.
        memory, imperfections, cells, source: as in a :class:`~voltaspin.study.specification.Condition`.
        draws: that an image may take; only a looped source has to know.

    Raises:
        InputError: an unknown noise, fields that the array, its cells, its imperfections or the source do not have, or
            cells of a noise that has none.
    """
    if names_stream(noise):
        raise InputError(
            f"noise {noise!r} is a stream, whose bits come once, and runs of a study must be repeatable; record it, "
            "and name the recording"
        )
    fields = {"bits_per_sample" if name == "bits" else name: value for name, value in (source or {}).items()}
    stages = stages_of(noise)
    word, said = stages[0]
    array = said.keys() & inspect.signature(MagnetoelectricMemory).parameters.keys() - {"seed"}
    # without cells of its own, the table of the version whose results the runs have: a study never mixes two
    usual = {} if said.keys() & _OF_CELLS else {"model": SwitchingModel.shipped(RESULTS_OF)}
    try:
        if "shaping" in fields:
            fields["transform"] = Requantised(transform_of(*fields.pop("shaping")))
        if "period" in fields:
            if memory or imperfections or cells or stages != [("memory", {"k": 1})]:
                raise InputError("a looped source has no cells: give its period with memory-raw and nothing else")
            return build("periodic", seed=seed, draws=draws, **fields)
        if cells or (word == "memory" and (memory or (usual and not array))):
            given = Cells(**cells).memory() if cells else usual
            fields["memory"] = MagnetoelectricMemory(**{"seed": seed, **given, **(memory or {})})
        elif word == "memory":
            fields |= usual
        if imperfections:
            fields["imperfections"] = replace(Imperfections.none(), **_with_slopes(imperfections))
        return build(noise, seed=seed, **fields)
    except TypeError as error:
        raise InputError(f"the condition's cells, source, memory or imperfections: {error}") from None


def built_source(condition: Condition, *, seed: int) -> NoiseSource:
    """The source of a condition; raises InputError, as :func:`source_of`, also for a value of another type."""
    given = {part: getattr(condition, part) for part in SOURCE_PARTS}
    _check_parts(given)
    return source_of(condition.sample, seed, draws=condition.steps + 1, **given)


def training_source(job: Training) -> NoiseSource:
    """The source of a training; raises InputError as :func:`built_source`."""
    _check_parts(job.source, prefix="train_")
    return source_of(job.noise, job.seed, **job.source)


def _check_parts(given: dict[str, Any], prefix: str = "") -> None:
    source = PeriodicSource if "period" in given.get("source", {}) else MemorySource
    kinds = {"memory": MagnetoelectricMemory, "imperfections": Imperfections, "cells": Cells, "source": source}
    for part, fields in given.items():
        _check_types(fields, kinds[part], f"{prefix}{part}")


def built_spec(condition: Condition) -> ArraySpec | None:
    """The arrays of a condition; None where its network computes in floating point."""
    if condition.compute is None:
        return None
    _check_types({k: v for k, v in condition.compute.items() if k != "preset"}, ArraySpec, "compute")
    return ArraySpec.of(condition.compute, where="compute")


def _check_types(fields: dict[str, Any], kind: type | Callable[..., Any], where: str) -> None:
    """Refuse values that are not of the type of their field, such as a text for a switch.

    A field that takes an object of ours cannot be given in a study file, except the two with a spelling of their own.
    """
    data = inspect.isfunction(kind) or is_dataclass(kind) or issubclass(kind, Spec)  # type: ignore[arg-type]
    hints = get_type_hints(kind if data else kind.__init__)  # type: ignore[misc]
    for name, value in fields.items():
        if (
            name in ("shaping", "transform", "slopes") or name not in hints
        ):  # spelt in their own way; refused by their reader
            continue
        try:
            TypeAdapter(hints[name], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(
                value, strict=True
            )
        except PydanticUserError:  # a class that settles its own configuration
            TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise InputError(f"{where}.{name} = {value!r}: {error.errors()[0]['msg']}") from None


def _with_slopes(imperfections: dict[str, Any]) -> dict[str, Any]:
    """The slopes as such: those that are named as pairs, the others none."""
    if "slopes" not in imperfections:
        return imperfections
    slopes = imperfections["slopes"]
    if not isinstance(slopes, dict) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(type(v) in (int, float) for v in pair)
        for pair in slopes.values()
    ):
        raise InputError(f"imperfections.slopes = {slopes!r}: give pairs of numbers by name")
    none = {f.name: (0.0, 0.0) for f in fields_of(Slopes)}
    return {**imperfections, "slopes": Slopes(**{**none, **{k: tuple(v) for k, v in imperfections["slopes"].items()}})}


def seconds_of(evaluations: float) -> float:
    """About how long a study takes in one process of this machine, from a short sampling with the shipped model [s].

    Args:
        evaluations: of the shipped network, by image, that cost what all of it costs: ``Size.work``.

    The estimate is right within a factor of two or three: converted networks take longer, and other work on the
    machine counts.
    """
    pipeline, source = load_pipeline(shipped_model()), PseudoSource()
    sample(pipeline, source, count=8, steps=1)  # the first call compiles and allocates
    per_evaluation = sample(pipeline, source, count=32, steps=2).seconds / 64
    return per_evaluation * evaluations


def training_spec(job: Training) -> TrainSpec:
    """Return the specification of a training; raises InputError for a field that it does not have."""
    kind = inplace.InPlaceTrainSpec if job.noise == "array" else TrainSpec
    taken = {"seed": job.seed, "steps": job.steps, "channels": list(job.channels), "noise": job.noise}
    if twice := sorted(set(taken) & set(job.fields)):
        raise InputError(f"training.{twice[0]} is said by another field of the condition; leave it out")
    fields = dict(job.fields)
    if "cells" in fields:
        fields["cells"] = _cells(fields["cells"]).model_dump(mode="json")
    head = {"kind": kind.KIND, "schema_version": kind.VERSION}
    return kind.from_json(head | taken | fields, where="training")


def sampling_of(condition: Condition) -> dict[str, Any]:
    """Return the arguments of the condition's sampler that differ.

    Raises:
        InputError: an argument that it does not take, or of another type.
    """
    samplers: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
        "gaussian": (("sampler", "eta", "churn", "label", "guidance", "precision", "batch"), sample),
        "in-place": (
            (
                "label",
                "guidance",
                "cells_per_pixel",
                "cells",
                "variance",
                "dither",
                "order",
                "reads",
                "precision",
                "batch",
            ),
            inplace.InPlaceOptions,
        ),
        "real": (("bits",), to_planes),
    }
    known, function = samplers[condition.diffusion]
    if unknown := sorted(set(condition.sampling) - set(known)):
        raise InputError(f"sampling.{unknown[0]} is unknown to {condition.diffusion} images; give {', '.join(known)}")
    given = dict(condition.sampling)
    if "cells" in given:
        given["cells"] = _cells(given["cells"])
    named = given.get("sampler") in SAMPLERS
    own_way = {"label", "guidance", *(("sampler",) if named else ())}
    _check_types({k: v for k, v in given.items() if k not in own_way}, function, "sampling")
    if named:
        steps_for(given["sampler"], condition.steps)
        if other := next((name for name in given if name not in ("sampler", "batch", "label", "guidance")), None):
            raise InputError(f"sampling.{other} is not of sampler = {given['sampler']!r}; leave it out")
        if condition.compute is not None:
            raise InputError(f"sampling.sampler = {given['sampler']!r} is not taken in arrays; use ddpm or ddim")
    if condition.diffusion == "real" and not 1 <= condition.sampling.get("bits", 8) <= 8:
        raise InputError(f"sampling.bits = {condition.sampling['bits']}: a grey level has 1 to 8")
    return given


def _cells(fields: Any) -> inplace.CellSpec:
    """The cells of a condition; raises InputError for fields that they do not have."""
    head = {"kind": inplace.CellSpec.KIND, "schema_version": inplace.CellSpec.VERSION}
    return inplace.CellSpec.from_json(head | dict(fields) if isinstance(fields, dict) else fields, where="cells")


def do(out: Path, job: Run | Training, folder: Path) -> dict[str, Any]:
    """Do a job into its folder; what it found goes into ``result.json``."""
    return _train(job, folder) if isinstance(job, Training) else _sample(out, job, folder)


def _train(job: Training, folder: Path) -> dict[str, Any]:
    spec = training_spec(job)
    images = load_images(spec.data)
    held_out = load_images(spec.data, split="test") if spec.validate_every and not spec.held_out else None
    if isinstance(spec, inplace.InPlaceTrainSpec):
        result = inplace.train(images, folder / "model", spec=spec, held_out=held_out)
    else:
        result = train(images, training_source(job), folder / "model", spec=spec, held_out=held_out)
    if not result.finished:
        raise KeyboardInterrupt
    for checkpoint in (folder / "model").glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return {"loss": result.loss, "seconds": result.seconds, "spec": spec.to_json()}


def _sample(out: Path, run: Run, folder: Path) -> dict[str, Any]:
    make = {"gaussian": _gaussian, "in-place": _in_place, "real": _real}[run.condition.diffusion]
    images, record = make(out, run, folder)
    extractor, against = scored_by(run.condition)
    features = extractor.features(images)
    np.savez_compressed(folder / "features.npz", features=features.astype(np.float32))
    (folder / "images.png").write_bytes(grid_png(images[:SHOWN], columns=8))
    return {"scores": score_features(features, against).model_dump(mode="json"), **record}


def scored_by(condition: Condition) -> tuple[AnyExtractor, Reference]:
    """The extractor and the reference of a condition; raises InputError where they do not belong together."""
    if not condition.reference:
        return Extractor.load(), reference("fashion-mnist")
    statistics = FeatureStatistics.load(condition.reference)
    extractor = load_extractor(statistics.word)
    statistics.check(extractor, where=condition.reference)
    return extractor, statistics.reference()


def _gaussian(out: Path, run: Run, folder: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    condition, begin = run.condition, time.monotonic()
    pipeline = _pipeline(out, run)
    source = built_source(condition, seed=run.sampling_seed)
    given, record = dict(sampling_of(condition)), {"model_sha256": pipeline.sha256}
    if (spec := built_spec(condition)) is not None:
        converted = in_arrays(pipeline, spec, condition, source)
        pipeline, record = converted.pipeline, record | converted.record
        given["arithmetic"] = converted.arithmetic
    # each sampling seed draws images of its own, whatever the noise
    given |= _told(pipeline, given)
    made = generate(pipeline, source, count=condition.images, steps=condition.steps, **given)
    return made.images, record | {
        "seconds": time.monotonic() - begin, "noise": made.noise, "ledger": source.ledger.totals()
    }  # fmt: skip


def _told(pipeline: Pipeline, given: dict[str, Any]) -> dict[str, Told]:
    """Take label and guidance out of a sampler's arguments; they are one, of a model that is told a class."""
    told = Told.of(pipeline.classes, given.pop("label", None), given.pop("guidance", None))
    return {} if told is None else {"told": told}


def _pipeline(out: Path, run: Run) -> Pipeline:
    told = run.condition.compute is None
    if run.condition.model:
        return load_pipeline(Path(run.condition.model), told=told)
    trained = shipped_model() if run.training is None else folder_of(out, run.training) / "model"
    return load_pipeline(trained, told=told)


def _in_place(out: Path, run: Run, folder: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    condition, pipeline, given = run.condition, _pipeline(out, run), dict(sampling_of(run.condition))
    cells, computing, arithmetic = given.setdefault("cells", inplace.CellSpec()), pipeline, dict[str, Any]()
    if (spec := built_spec(condition)) is not None:
        converted = in_arrays(pipeline, spec, condition, PseudoSource(seed=run.sampling_seed))
        computing, arithmetic = converted.pipeline, converted.record
    given |= _told(pipeline, given)
    # Each sampling seed is another array and other pulses of it.
    made = inplace.sample(computing, count=condition.images, steps=condition.steps, seed=run.sampling_seed, **given)
    (folder / "path.png").write_bytes(grid_png(made.path, columns=len(made.path_times)))
    record = {
        "model_sha256": pipeline.sha256, "seconds": made.seconds, "cells_per_pixel": made.cells_per_pixel,
        "noise": {"kind": "simulated", "array": cells.junction}, "random_bits": made.random_bits,
        "ledger": made.ledger.totals(), "per_image": made.per_image, "rounding": made.rounding.to_json(),
        "coin": made.coin, "flips": made.flips, **arithmetic,
    }  # fmt: skip
    if cells.junction != IDEAL:
        works = whole_image_costs(made, pipeline, Junction.of(cells.junction))
        record["price"] = image_costs_text(works)
        record["costs"] = [work.to_json() for work in works]
    return made.images, record


def _real(out: Path, run: Run, folder: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Real images that the extractor has not seen; every sampling seed takes the next ones."""
    data = run.condition.data
    unseen = load_images(data).images if data else load_images("fashion-mnist").images[UNSEEN:]
    n = run.condition.images
    if n > len(unseen):
        raise InputError(f"{n} real images: the extractor has not seen {len(unseen)}; take as many or fewer")
    images = unseen[(run.sampling_seed * n + np.arange(n)) % len(unseen)]
    bits = sampling_of(run.condition).get("bits", 8)
    kept = from_planes(to_planes(images, bits=bits), bits=bits)
    return kept, {"seconds": 0.0, "noise": {"kind": "real images"}, "ledger": {}}
