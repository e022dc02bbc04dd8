"""Every reader of a file that the package has, and a small file or folder that each of them accepts.

Most of these files are in ``tests/data/v0.1.0``; :func:`make` writes the formats that are not.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = Path(__file__).parents[1] / "data" / "v0.1.0"


def _spec(module: str, name: str) -> Callable[[Path], Any]:
    return lambda path: getattr(import_module(module), name).load(path)


def _array(path: Path) -> Any:
    from voltaspin import MagnetoelectricMemory

    return MagnetoelectricMemory.load(path).read()


def _recording(**options: Any) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        from voltaspin import RecordedSource

        return RecordedSource(path, **options).bits(64)

    return read


def _switching(path: Path) -> Any:
    from voltaspin import SwitchingModel

    return SwitchingModel.load(path)


def _gaussian_model(path: Path) -> Any:
    from voltaspin import PseudoSource, sample
    from voltaspin.diffusion import load_pipeline

    return sample(load_pipeline(path), PseudoSource(seed=0), count=1, steps=1)


def _in_place_model(path: Path) -> Any:
    from voltaspin.diffusion import inplace, load_pipeline

    return load_pipeline(path), inplace.trained_for(path)


def _images(path: Path) -> Any:
    from voltaspin.metrics import read_images

    return read_images(path)


def _training_images(path: Path) -> Any:
    from voltaspin.diffusion import load_images

    return load_images(str(path), split="train")


def _measurements(path: Path) -> Any:
    from voltaspin.device import ResistanceData
    from voltaspin.device.fit.data import load

    return load(ResistanceData, path, {"voltage": "V", "R": "R", "state": "state"})


_TINY: dict[str, Any] = {
    "batch": 8, "channels": (4, 8), "norm_groups": 2, "warmup": 2, "precision": "float32", "data": "squares", "seed": 2,
    "steps": 6,
}  # fmt: skip


def _squares() -> Any:
    """What the tiny models of 0.1.0 were trained on."""
    from voltaspin.diffusion.data import ImageSet
    from voltaspin.metrics.shipped import data_sha256

    images = np.zeros((32, 1, 8, 8), np.uint8)
    for i in range(32):
        images[i, 0, i // 8 : i // 8 + 3, i % 8 : i % 8 + 3] = 255
    return ImageSet(images, None, "squares", "train", data_sha256(images))


def _checkpoint(path: Path) -> Any:
    """Training that goes on from its checkpoint."""
    from voltaspin import MagnetoelectricMemory
    from voltaspin.diffusion import TrainSpec, train
    from voltaspin.noise import MemorySource

    source = MemorySource(memory=MagnetoelectricMemory(rows=64, columns=64, seed=3), k=2, seed=3)
    spec = TrainSpec(noise="memory", checkpoint_every=2, **_TINY)
    return train(_squares(), source, path, spec=spec, resume=True)


def _in_place_checkpoint(path: Path) -> Any:
    return _in_place_training(path, resume=True)


def _in_place_training(path: Path, **how: Any) -> Any:
    from voltaspin.diffusion import inplace

    spec = inplace.InPlaceTrainSpec(
        cells_per_pixel=3, cells=inplace.CellSpec(junction="ideal"), checkpoint_every=2, **_TINY
    )
    return inplace.train(_squares(), path, spec=spec, **how)


def _stop(step: int, *_: Any) -> None:
    if step == 3:
        raise KeyboardInterrupt


def _study_results(path: Path) -> Any:
    from voltaspin.report.study_page import page
    from voltaspin.study import StudySpec
    from voltaspin.study.equivalence import judge

    spec = StudySpec.load(SAMPLES / "study/study.json")
    return page(spec, judge(spec, path), path, "voltaspin study")


def _reference(path: Path) -> Any:
    from voltaspin.metrics.shipped import load_reference

    return load_reference(path)


READERS: dict[str, Callable[[Path], Any]] = {
    "array": _array,
    "switching": _switching,
    "gaussian-model": _gaussian_model,
    "in-place-model": _in_place_model,
    "checkpoint": _checkpoint,
    "in-place-checkpoint": _in_place_checkpoint,
    "images": _images,
    "training-images": _training_images,
    "parquet": _training_images,
    "measurements": _measurements,
    "measurements-hdf5": _measurements,
    "study-results": _study_results,
    "reference": _reference,
    "array-spec": _spec("voltaspin.memory", "ArraySpec"),
    "cost-table": _spec("voltaspin.cost.pricing", "CostTable"),
    "demo": _spec("voltaspin.report.demo_results", "DemoResults"),
    "device": _spec("voltaspin.device", "Characterisation"),
    "junction": _spec("voltaspin.device", "JunctionSpec"),
    "study": _spec("voltaspin.study", "StudySpec"),
    "noise-specification": _spec("voltaspin.requirements.specification", "NoiseSpecification"),
}  # fmt: skip

#: A file or folder that each reader accepts: below tests/data/v0.1.0, or made by :func:`make`.
GOOD: dict[str, str] = {
    "array": "memory-array/everything.safetensors",
    "switching": "switching-model/llg.json",
    "gaussian-model": "gaussian-model",
    "in-place-model": "made/in-place",
    "checkpoint": "gaussian-training",
    "in-place-checkpoint": "made/in-place-training",
    "images": "images/ddim",
    "training-images": "made/pictures",
    "parquet": "made/images.parquet",
    "measurements": "made/resistance.csv",
    "measurements-hdf5": "made/resistance.h5",
    "study-results": "study/results",
    "reference": "reference",
    "array-spec": "crossbar/array.json",
    "cost-table": "cost/table.json",
    "demo": "demo/results.json",
    "device": "device/device.json",
    "junction": "device/junction.json",
    "study": "study/study.json",
    "noise-specification": "noise-specification/specification.json",
}

#: Formats of recorded bits: what stands in the file, and the options that it needs.
RECORDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "packed": ("bits.bin", {}),
    "described": ("recording/bits.bin", {}),
    "text": ("recording/bits.txt", {}),
    "utf16": ("bits16.txt", {}),
    "gzip": ("bits.bin.gz", {}),
    "hex": ("bits.hex", {"format": "hex"}),
    "base64": ("bits.b64", {"format": "base64"}),
    "json": ("bits.json", {}),
    "csv": ("bits.csv", {"threshold": "5.4kohm"}),
    "semicolons": ("comma.csv", {"threshold": "0.5V", "column": "CH1"}),
    "npy": ("bits.npy", {}),
    "npz": ("bits.npz", {}),
    "mat": ("bits.mat", {}),
    "hdf5": ("bits.h5", {}),
    "samples": ("samples.raw", {"format": "samples", "sample_type": "int16", "threshold": "0"}),
}
for _kind, (_name, _options) in RECORDINGS.items():
    READERS[f"recording-{_kind}"] = _recording(**_options)
    GOOD[f"recording-{_kind}"] = _name if "/" in _name else f"made/{_name}"


def good(kind: str) -> Path:
    """The file or folder that a reader accepts."""
    name = GOOD[kind]
    return made() / name.removeprefix("made/") if name.startswith("made/") else SAMPLES / name


def copied(kind: str, folder: Path) -> Path:
    """A copy of it in a folder, with the description that lies beside a recording."""
    source, target = good(kind), folder / good(kind).name
    if source.is_dir():
        return shutil.copytree(source, target)
    for beside in source.parent.glob(source.name + ".json"):
        shutil.copyfile(beside, folder / beside.name)
    return shutil.copyfile(source, target)


MADE: list[Path] = []  #: the folder of :func:`made`, once it is there


def made() -> Path:
    """A folder with what :func:`make` writes; removed with the process that made it."""
    import atexit

    if not MADE:
        folder = Path(tempfile.mkdtemp(prefix="voltaspin-fuzz-made-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        make(folder)
        MADE.append(folder)
    return MADE[0]


def make(folder: Path) -> None:
    """Write one small file of every further format."""
    import h5py
    import pyarrow
    import pyarrow.parquet
    import scipy.io
    import torch
    from PIL import Image

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes that read: another number would be warned of
    _in_place_training(folder / "in-place")
    with contextlib.suppress(KeyboardInterrupt):
        _in_place_training(folder / "in-place-training", progress=_stop)
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, 4096, dtype=np.uint8)
    packed = np.packbits(bits).tobytes()
    text = "".join(map(str, bits))
    (folder / "bits.bin").write_bytes(packed)
    (folder / "bits16.txt").write_bytes(text.encode("utf-16"))
    (folder / "bits.bin.gz").write_bytes(gzip.compress(packed, mtime=0))
    (folder / "bits.hex").write_text(packed.hex())
    (folder / "bits.b64").write_bytes(base64.b64encode(packed))
    (folder / "bits.json").write_text(json.dumps(bits[:512].tolist()))
    volts = rng.normal(0, 1, 512)
    table = "".join(f"{k},{5.4e3 + 1e3 * v:.1f}\n" for k, v in enumerate(volts))
    (folder / "bits.csv").write_text("# device 3\nindex,resistance (ohm)\n" + table)
    table = "".join(f"{k}e-9;{v:.4f}\n".replace(".", ",") for k, v in enumerate(volts))
    (folder / "comma.csv").write_text("Time (s);CH1 (V)\n" + table)
    np.save(folder / "bits.npy", bits)
    np.savez(folder / "bits.npz", bits=bits)
    scipy.io.savemat(folder / "bits.mat", {"bits": bits})
    with h5py.File(folder / "bits.h5", "w") as file:
        file["bits"] = bits
    (folder / "samples.raw").write_bytes((volts * 1000).astype("<i2").tobytes())
    states = ["P", "AP"] * 8
    with h5py.File(folder / "resistance.h5", "w") as file:
        file["V"], file["R"], file["state"] = np.linspace(-1, 1, 16), np.linspace(1e3, 2e3, 16), np.array(states, "S2")
    rows = [f"{v:.3f},{r:.1f},{s}" for v, r, s in zip(np.linspace(-1, 1, 16), np.linspace(1e3, 2e3, 16), states,
                                                      strict=True)]  # fmt: skip
    (folder / "resistance.csv").write_text("\n".join(["V,R,state", *rows]) + "\n")
    pictures = folder / "pictures"
    pictures.mkdir()
    encoded = []
    for k in range(16):
        picture = Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8))
        picture.save(pictures / f"p{k:02}.png")
        picture.save(stream := io.BytesIO(), "png")
        encoded.append({"bytes": stream.getvalue(), "path": f"p{k:02}.png"})
    pyarrow.parquet.write_table(pyarrow.table({"image": encoded}), folder / "images.parquet")
