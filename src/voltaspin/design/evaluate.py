"""What is computed of a design: the error of its network's output, its random numbers, its energy, time and area.

Three kinds of jobs, so that nothing is computed twice. The error depends on the network and the arrays alone, the
random numbers on the network and the way of sampling; a design takes both and adds the price of its macro.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object
from voltaspin.core.quantity import Z90, Estimate
from voltaspin.cost.images import byte_price, counts_in_place, mean_pulse, sampler_bytes
from voltaspin.cost.jobs import job
from voltaspin.cost.network import price_network
from voltaspin.cost.pricing import CellPulse, Prices, picojoules, random_pulse, weight_pulse
from voltaspin.cost.table import Draws, Floats
from voltaspin.design.space import Design, Setting, computing, key_of
from voltaspin.device import Junction
from voltaspin.diffusion import inplace, load_pipeline, sample, shipped_model
from voltaspin.diffusion.any_model import LoadedModel, build
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.sampling import normals_per_image
from voltaspin.memory import ArraySpec, NetworkTrace, calibrate, convert
from voltaspin.memory.crossbar.counting import first_tensor
from voltaspin.noise import PseudoSource

SAMPLES = 400  #: draws of the cost table for each design, whose medians are then known within some percent
_EVALUATIONS = 8  # of the short sampling whose states are the noisy images
_CALIBRATED, _MEASURED = (0, 2, 5, 7), (1, 4, 6)  # states that ranges are chosen from, and that errors are measured on
_COUNTED = 2  # images in place whose pulses are counted
_CELLS = 65536  # of an array that random numbers are drawn from, or that holds images in place


@dataclass(frozen=True)
class Network:
    """A model of a design space.

    Args:
        text: as of ``memory cost --model``; None for the shipped model.
        loaded: its network and an example; trace: of one evaluation.
        pipeline: where it is one that our samplers know.
        identity: hash of its weights, or of its shapes where it has none.
    """

    text: str | None
    loaded: LoadedModel
    trace: NetworkTrace
    pipeline: Pipeline | None
    identity: str

    @property
    def pixels(self) -> int:
        """Numbers of one image."""
        if self.pipeline is not None:
            return math.prod(self.pipeline.image_shape)
        example = first_tensor((self.loaded.args, self.loaded.kwargs))
        return 0 if example is None else example[0].numel()

    def in_float(self) -> nn.Module:
        """The network with its weights.

        Raises:
            InputError: it has none, so that its output has no error.
        """
        if self.pipeline is not None:
            return self.pipeline.unet
        if any(p.is_meta for p in self.loaded.module.parameters()):
            raise InputError(
                f"model {self.text} has no weights that could compute, so that no output error can be measured; give a "
                "pipeline that voltaspin samples, a FILE.py:FUNCTION, or objectives without quality"
            )
        return self.loaded.module


@lru_cache(maxsize=16)
def network_of(text: str | None) -> Network:
    """Load and trace a model, once in each process.

    Raises:
        InputError: no such model, or one that cannot be traced.
    """
    folder = str(shipped_model()) if text is None else text
    loaded = build(folder)
    trace, pipeline = loaded.trace(), None
    if Path(folder).is_dir():
        try:
            pipeline = load_pipeline(Path(folder))
        except InputError:  # shapes are enough for a price; who needs more of it says so
            pipeline = None
    shapes = {name: value for name, value in trace.to_json().items() if name != "environment"}
    identity = pipeline.sha256 if pipeline is not None else key_of({"trace": shapes, "weights": _weights(loaded)})
    return Network(text, loaded, trace, pipeline, identity)


def _weights(loaded: LoadedModel) -> list[float]:
    """Sums that tell the weights of two models of equal shape apart."""
    return [float(p.detach().double().square().sum()) for p in loaded.module.parameters() if not p.is_meta]


# Quality


@dataclass(frozen=True)
class OutputError:
    """Job: the error of a network's output in arrays.

    Args:
        model: as in the space; identity: of its weights.
        array: of the arrays; images: on which the error is measured.
    """

    model: str | None
    identity: str
    array: ArraySpec
    images: int

    name = "output error"

    @property
    def key(self) -> str:
        """Name of its folder."""
        return key_of({name: value for name, value in self.to_json().items() if name != "model"})

    def to_json(self) -> dict[str, Any]:
        """Return its data."""
        return {"job": "output-error", "model": self.model, "identity": self.identity, "array": self.array.to_json(),
                "images": self.images}  # fmt: skip

    def do(self, out: Path) -> dict[str, Any]:
        """Measure the error: a relative root mean square [1] with a 90 % interval over the images."""
        return {"quality": output_error(network_of(self.model), self.array, self.images).to_json()}


Call = tuple[tuple[Any, ...], dict[str, Any]]


@lru_cache(maxsize=4)
def _calls(text: str | None, images: int) -> tuple[list[Call], list[Call], list[torch.Tensor]]:
    """Calls of a network that ranges are chosen from, those that it is measured on, and its exact outputs for these.

    The noisy images are the states of a short sampling by the network itself, of images that are not calibrated on.
    """
    network = network_of(text)
    exact = network.in_float()
    if (pipeline := network.pipeline) is None:
        calls = [(network.loaded.args, network.loaded.kwargs)]
        ranges = calls
    else:
        some = max(2, images // 4)
        states: list[tuple[int, torch.Tensor]] = []
        sample(
            pipeline, PseudoSource(seed=2), count=images + some, batch=images + some, steps=_EVALUATIONS,
            observe=lambda t, x: states.append((t, x.clone())),
        )  # fmt: skip
        ranges = [((x[images:], t), {}) for t, x in (states[i] for i in _CALIBRATED)]
        calls = [((x[:images], t), {}) for t, x in (states[i] for i in _MEASURED)]
    with torch.no_grad():
        return ranges, calls, [_output(exact, call) for call in calls]


def _output(module: nn.Module, call: Call) -> torch.Tensor:
    args, kwargs = call
    found = first_tensor(((module(*args, **kwargs),), {}))
    if found is None:
        raise InputError(
            "the model returns no tensor, so that its output has no error; give objectives without quality"
        )
    return found


@torch.no_grad()
def output_error(network: Network, spec: ArraySpec, images: int) -> Estimate:
    """Return the error of a network's output in arrays over the root mean square of the output [1].

    Args:
        network: with weights.
        spec: of the arrays, whose ranges are calibrated first.
        images: noisy images at each of three times of a schedule, which are the same for all arrays.

    Returns:
        The root mean square over times and images, with the 90 % interval that the spread between images gives.

    Raises:
        InputError: a network without weights, or one that cannot be converted.
    """
    ranges, calls, exact = _calls(network.text, images)
    args, kwargs = ranges[0]
    example = None if network.pipeline is not None else (args or kwargs)
    converted, _ = convert(network.in_float(), spec, example=example)
    with warnings.catch_warnings():  # of clipped conversions, which the error holds
        warnings.simplefilter("ignore")
        calibrate(converted, lambda model: [model(*a, **k) for a, k in ranges])
    squares = []
    for call, ideal in zip(calls, exact, strict=True):
        lost = (_output(converted, call) - ideal).double().square().flatten(1).mean(1)
        squares.append((lost / ideal.double().square().mean()).numpy())
    each = np.mean(squares, axis=0)
    value = math.sqrt(each.mean())
    n = len(each)
    std = float(each.std(ddof=1) / math.sqrt(n) / (2 * value)) if n > 1 and value > 0 else 0.0
    return Estimate(value, max(value - Z90 * std, 0.0), value + Z90 * std, level=0.9, std=std, n=n)


# Random numbers


@dataclass(frozen=True)
class RandomNumbers:
    """Job: what an image takes of the memory that draws its random numbers, or diffuses it."""

    setting: Setting
    identity: str

    name = "random numbers"

    @property
    def key(self) -> str:
        """Name of its folder."""
        return key_of({name: value for name, value in self.to_json().items() if name != "model"})

    def to_json(self) -> dict[str, Any]:
        """Return its data."""
        return {"job": "random-numbers", **self.setting.to_json(), "identity": self.identity}

    def do(self, out: Path) -> dict[str, Any]:
        """Count actions and bytes of one image, and reduce all pulses to one."""
        network, steps = network_of(self.setting.model), self.setting.steps
        if self.setting.diffusion == "in-place":
            return _in_place(network, steps, self.setting.cells_per_pixel or 0)
        if network.pipeline is not None:
            numbers = normals_per_image(network.pipeline, steps=steps, sampler="ddpm")
        else:
            numbers = steps * network.pixels
        junction, pulse = random_pulse()
        counts = job("image", self.name, numbers, cells_per_bit=2).counts
        return {
            "counts": counts, "bytes": sampler_bytes(numbers), "arrays": 1, "R_P": junction.R_P,
            "pulse": asdict(CellPulse.of(junction, pulse)),
        }  # fmt: skip


def _in_place(network: Network, steps: int, cells: int) -> dict[str, Any]:
    if network.pipeline is None:
        raise InputError(f"model {network.text} is no pipeline that could diffuse in place; give one, or gaussian")
    made = inplace.sample(network.pipeline, count=_COUNTED, steps=steps, cells_per_pixel=cells)
    junction, memory = Junction.of(inplace.CellSpec().junction), made.ledger.child("memory")
    return {
        "counts": counts_in_place(made), "bytes": made.ledger.total("byte") / _COUNTED,
        "arrays": math.ceil(network.pixels * cells / _CELLS), "R_P": junction.R_P,
        "pulse": asdict(mean_pulse(junction, made.pulses, memory)),
    }  # fmt: skip


def _random_numbers(found: dict[str, Any], draws: Draws) -> tuple[Floats, Floats, Floats]:
    """Energy [J] of the actions and of the bytes, and area [m^2] of the arrays."""
    pulse = CellPulse(**found["pulse"])
    pulses = dict.fromkeys(("pulse", "reset", "write", "toggle"), pulse)
    pulses["read"] = CellPulse.read(found["R_P"], table=draws.table)
    prices = Prices.of_pulses(pulses, cells=_CELLS, draws=draws)
    moving = found["bytes"] * byte_price(draws)
    return prices.total(found["counts"], "macro"), moving, found["arrays"] * prices.area["macro"]


# Designs


@dataclass(frozen=True)
class Point:
    """Job: everything about one design, once its error and its random numbers are there.

    Args:
        design: what it is; identity: of its network.
        images: of the error; None where quality is no objective.
    """

    design: Design
    identity: str
    images: int | None

    @property
    def name(self) -> str:
        """For the progress."""
        return self.design.setting.name

    @property
    def error(self) -> OutputError | None:
        """The job of its error."""
        if self.images is None:
            return None
        return OutputError(self.design.setting.model, self.identity, _acting(self.design), self.images)

    @property
    def numbers(self) -> RandomNumbers:
        """The job of its random numbers."""
        return RandomNumbers(self.design.setting, self.identity)

    @property
    def key(self) -> str:
        """Name of its folder."""
        return key_of({name: value for name, value in self.to_json().items() if name != "model"})

    def to_json(self) -> dict[str, Any]:
        """Return its data."""
        return {"job": "point", **self.design.to_json(), "identity": self.identity, "images": self.images,
                "samples": SAMPLES}  # fmt: skip

    def do(self, out: Path) -> dict[str, Any]:
        """Price the design; see :func:`price_design`."""
        quality = None
        if self.error is not None:
            found = read_object(out / "runs" / self.error.key / "result.json")
            if "reason" in found:
                raise InputError(found["reason"])
            quality = Estimate(**found["quality"])
        numbers = read_object(out / "runs" / self.numbers.key / "result.json")
        if "reason" in numbers:
            raise InputError(numbers["reason"])
        return price_design(self.design, numbers, quality)


def _acting(design: Design) -> ArraySpec:
    """The arrays as they compute, without the fields that cells have no use for which are sensed alone.

    The error of arrays that compute alike is measured once.
    """
    array = computing(design.array, design.macro)
    if array.column.converted or array.layers:
        return array
    plain = ArraySpec()
    return array.model_copy(update={name: getattr(plain, name) for name in ("adc_bits", "adc_range", "R_P")})


@lru_cache(maxsize=2)
def _draws(samples: int) -> Draws:
    return Draws(samples=samples)


def price_design(
    design: Design, numbers: dict[str, Any], quality: Estimate | None, *, draws: Draws | None = None
) -> dict[str, Any]:
    """Return the objectives and the breakdown of a design, as JSON data.

    Args:
        design: what it is.
        numbers: of :class:`RandomNumbers`.
        quality: of :class:`OutputError`.
        draws: of the cost table; :data:`SAMPLES` of the package's own where None.

    Raises:
        InputError: a macro that cannot be built.
    """
    draws = draws or _draws(SAMPLES)
    setting, trace = design.setting, network_of(design.setting.model).trace
    write = CellPulse.of(*weight_pulse(), table=draws.table)
    priced = price_network(trace, design.array, design.macro, evaluations=setting.steps, write=write, draws=draws)
    cost, (random, moving, area) = priced.result, _random_numbers(numbers, draws)
    energy = {"random numbers": picojoules(random), "state of the sampler": picojoules(moving)}
    whole = 1e6 * (priced.area + area)
    objectives = {} if quality is None else {"quality": quality}
    objectives |= {
        "energy": picojoules(priced.energy + random + moving), "latency": cost.seconds,
        "area": Estimate.of_draws(whole, unit="mm^2"),
    }  # fmt: skip
    mapping = cost.mapping
    return {
        "objectives": {name: e.to_json() for name, e in objectives.items()},
        "energy": {name: e.to_json() for name, e in sorted(
            (cost.by_component | energy).items(), key=lambda item: -item[1].value)},
        "area": {name: e.to_json() for name, e in sorted(
            (cost.area_by | {"random numbers": Estimate.of_draws(1e6 * area, unit="mm^2")}).items(),
            key=lambda item: -item[1].value)},
        "arrays": cost.arrays, "cells": cost.cells, "utilisation": 0.0 if mapping is None else mapping.utilisation,
        "warnings": list(cost.warnings),
    }  # fmt: skip


Job = OutputError | RandomNumbers | Point


def job_of(data: dict[str, Any]) -> Job:
    """Return a job from its data."""
    if data["job"] == "point":
        return Point(Design.from_json(data), data["identity"], data["images"])
    if data["job"] == "output-error":
        return OutputError(data["model"], data["identity"], ArraySpec.from_json(data["array"]), data["images"])
    setting = Setting(data["model"], data["diffusion"], data["steps"], data["cells_per_pixel"])
    return RandomNumbers(setting, data["identity"])


def do(out: Path, asked: Job, folder: Path) -> dict[str, Any]:
    """Do a job; what cannot be built is a result as well: its reason."""
    try:
        return asked.do(out)
    except InputError as error:
        return {"reason": str(error)}
