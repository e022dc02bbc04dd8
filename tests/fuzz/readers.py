"""Every reader of a file that the package has, by the kind of file in ``tests/data/v0.1.0`` that it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def _spec(module: str, name: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        from importlib import import_module

        return getattr(import_module(module), name).load(path)

    return read


def _array(path: Path) -> Any:
    from voltaspin import MagnetoelectricMemory

    memory = MagnetoelectricMemory.load(path)
    return memory.read()


def _recording(path: Path) -> Any:
    from voltaspin import RecordedSource

    return RecordedSource(path).bits(8)


def _switching(path: Path) -> Any:
    from voltaspin import SwitchingModel

    return SwitchingModel.load(path)


def _gaussian_model(path: Path) -> Any:
    from voltaspin import PseudoSource, sample
    from voltaspin.diffusion import load_pipeline

    return sample(load_pipeline(path), PseudoSource(seed=0), count=1, steps=1)


def _bit_model(path: Path) -> Any:
    from voltaspin.diffusion import bitflip

    return bitflip.load_model(path)


def _checkpoint(path: Path) -> Any:
    from voltaspin.diffusion.checkpoints import latest

    return latest(path)


def _images(path: Path) -> Any:
    from voltaspin.metrics import read_images

    return read_images(path)


def _measurements(path: Path) -> Any:
    from voltaspin.device import ResistanceData
    from voltaspin.device.measurements import load

    return load(ResistanceData, path, {"voltage": "V", "resistance": "R"})


READERS: dict[str, Callable[[Path], Any]] = {
    "array": _array,
    "recording": _recording,
    "switching": _switching,
    "gaussian-model": _gaussian_model,
    "bit-model": _bit_model,
    "checkpoint": _checkpoint,
    "images": _images,
    "measurements": _measurements,
    "array-spec": _spec("voltaspin.memory", "ArraySpec"),
    "cost-table": _spec("voltaspin.report.cost", "CostTable"),
    "demo": _spec("voltaspin.report.results", "DemoResults"),
    "device": _spec("voltaspin.device", "Characterisation"),
    "junction": _spec("voltaspin.device", "JunctionSpec"),
    "study": _spec("voltaspin.study", "StudySpec"),
    "noise-specification": _spec("voltaspin.study.noise_specification", "NoiseSpecification"),
}

#: A file or folder below tests/data/v0.1.0 that each reader accepts.
GOOD: dict[str, str] = {
    "array": "memory-array/everything.safetensors",
    "recording": "recording/bits.bin",
    "switching": "switching-model/llg.json",
    "gaussian-model": "gaussian-model",
    "bit-model": "bitflip-model/ideal",
    "checkpoint": "gaussian-training",
    "images": "images/ddim",
    "measurements": "device-fit/resistance.csv",
    "array-spec": "crossbar/array.json",
    "cost-table": "cost/table.json",
    "demo": "demo/results.json",
    "device": "device/device.json",
    "junction": "device/junction.json",
    "study": "study/study.json",
    "noise-specification": "noise-specification/specification.json",
}
