"""Real images: Fashion-MNIST, MNIST (IDX files) or any folder of pictures.

A named data set is looked for in this order: an explicit path, the folder in ``VOLTASPIN_DATA``, Debian's
``/usr/share/datasets``, the user's cache; only then is it downloaded, from the data set's official address.
Wherever the bytes come from, what is inside the gzip wrapping must have the known SHA-256.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.cache import cache_folder
from voltaspin.errors import InputError

Split = Literal["train", "test"]
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
SYSTEM_FOLDER = Path("/usr/share/datasets")


@dataclass(frozen=True)
class IdxDataset:
    """Where a data set of four IDX files lives and what its decompressed bytes hash to."""

    name: str
    address: str
    licence: str
    sha256: dict[str, str]


_PREFIX = {"train": "train", "test": "t10k"}

DATASETS = {
    d.name: d
    for d in (
        IdxDataset(
            name="fashion-mnist",
            address="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            licence="MIT, Zalando SE 2017",
            sha256={
                "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
        ),
        IdxDataset(
            name="mnist",
            address="http://yann.lecun.com/exdb/mnist/",
            licence="CC BY-SA 3.0, Y. LeCun, C. Cortes, C. J. C. Burges",
            sha256={
                "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            },
        ),
    )
}


@dataclass(frozen=True)
class ImageSet:
    """Images in memory.

    Args:
        images: uint8 (n, channels, height, width).
        labels: int64 (n,), or None for a plain folder.
        name: of the data set, or the folder's path.
        split: ``train`` or ``test``.
        sha256: of the image bytes, so that a run can say what it was trained on.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    name: str
    split: Split
    sha256: str

    def __len__(self) -> int:
        return len(self.images)


def load_images(name: str, *, split: Split = "train", path: Path | str | None = None) -> ImageSet:
    """Load a named data set, or a folder of equally sized pictures.

    Args:
        name: ``fashion-mnist``, ``mnist``, or the path of a folder.
        split: ``train`` or ``test``; a plain folder has no splits and is taken whole.
        path: a folder that holds the IDX files (or a folder of that name which does).

    Returns:
        The images as they are stored, unscaled.

    Raises:
        InputError: unknown name, a file with a wrong magic number, a short body or another hash, a folder
            without images or with mixed sizes, or a data set that is not there and cannot be downloaded.
    """
    if split not in _PREFIX:
        raise InputError(f"split {split!r} is unknown; use 'train' or 'test'")
    if name in DATASETS:
        data = DATASETS[name]
        image_file, label_file = f"{_PREFIX[split]}-images-idx3-ubyte", f"{_PREFIX[split]}-labels-idx1-ubyte"
        images = parse_idx(_find(data, image_file, path), image_file, data.sha256[image_file])
        labels = parse_idx(_find(data, label_file, path), label_file, data.sha256[label_file])
        return ImageSet(images[:, None], labels.astype(np.int64), name, split, data.sha256[image_file])
    folder = Path(path if path is not None else name)
    if folder.is_dir():
        return _load_folder(folder, split)
    raise InputError(f"data set {name!r} is unknown: use {', '.join(DATASETS)}, or the path of a folder of images")


def parse_idx(file: Path, stem: str, sha256: str | None = None) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes (LeCun's format), gzipped or not.

    Args:
        file: the file.
        stem: its name in messages; ``idx3`` files have three dimensions, ``idx1`` one.
        sha256: of the decompressed bytes; None skips that check.

    Raises:
        InputError: what is wrong with the file, and what to do.
    """
    raw = file.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{file}: the gzip data break off ({error}); fetch the file again") from None
    dims = 3 if "idx3" in stem else 1
    if len(raw) < 4 + 4 * dims or raw[:4] != bytes([0, 0, 8, dims]):
        raise InputError(
            f"{file}: magic number {raw[:4].hex() or 'missing'}, not 000008{dims:02x} of an IDX file of bytes "
            f"with {dims} dimension(s); this is another kind of file"
        )
    shape = struct.unpack(f">{dims}I", raw[4 : 4 + 4 * dims])
    body = np.frombuffer(raw, np.uint8, offset=4 + 4 * dims)
    if body.size != int(np.prod(shape)):
        raise InputError(f"{file}: {body.size} bytes of data where the header says {shape}; fetch the file again")
    found = hashlib.sha256(raw).hexdigest()
    if sha256 is not None and found != sha256:
        raise InputError(f"{file}: SHA-256 {found[:16]}... is not the official {sha256[:16]}...; fetch the file again")
    return body.reshape(shape)


def _find(data: IdxDataset, stem: str, path: Path | str | None) -> Path:
    """The first place that has the file; an explicit path is the only place looked at when given."""
    if path is not None:
        folders = [Path(path), Path(path) / data.name]
    else:
        environment = os.environ.get("VOLTASPIN_DATA")
        folders = [Path(environment) / data.name, Path(environment)] if environment else []
        folders += [SYSTEM_FOLDER / data.name, cache_folder() / data.name]
    for folder in folders:
        for candidate in (folder / f"{stem}.gz", folder / stem):
            # VOLTASPIN_DATA itself may hold another data set's files of the same names: its subfolder is first.
            if candidate.is_file():
                return candidate
    if path is not None:
        raise InputError(f"{path} has no {stem}[.gz] of {data.name}; give the folder that holds the four IDX files")
    return _download(data, f"{stem}.gz")


def _download(data: IdxDataset, file: str) -> Path:
    import pooch

    target = cache_folder() / data.name
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        fetched = Path(pooch.retrieve(data.address + file, known_hash=None, fname=file, path=target))
    except Exception as error:
        raise InputError(
            f"{data.name} is on none of the search paths and {data.address}{file} cannot be fetched "
            f"({type(error).__name__}); put the IDX files into a folder and set VOLTASPIN_DATA to its parent, "
            f"or install Debian's dataset-{data.name}"
        ) from None
    finally:
        logger.setLevel(level)
    try:
        stem = file.removesuffix(".gz")
        parse_idx(fetched, stem, data.sha256[stem])
    except InputError:
        fetched.unlink()
        raise
    return fetched


def read_pictures(folder: Path, files: list[Path]) -> NDArray[np.uint8]:
    """Read pictures of one size: uint8 (n, channels, h, w), grey if every picture is."""
    from PIL import Image, UnidentifiedImageError

    arrays = []
    for file in files:
        try:
            with Image.open(file) as picture:
                if picture.mode.startswith("I") or picture.mode == "F":
                    raise InputError(f"{file} has more than 8 bit per pixel ({picture.mode}); save it with 8 bit")
                grey = picture.mode in ("1", "L", "LA")
                arrays.append(np.asarray(picture.convert("L" if grey else "RGB")))
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise InputError(f"{file} cannot be read as an image ({error}); remove it or save it again") from None
        if arrays[-1].shape[:2] != arrays[0].shape[:2]:
            raise InputError(
                f"{folder} mixes sizes: {files[0].name} is {_size(arrays[0])} and {file.name} is "
                f"{_size(arrays[-1])} pixels; resize them to one size first"
            )
    colour = any(a.ndim == 3 for a in arrays)
    stack = np.stack([np.repeat(a[..., None], 3, 2) if colour and a.ndim == 2 else a for a in arrays])
    return np.ascontiguousarray(stack.transpose(0, 3, 1, 2) if colour else stack[:, None])


def _size(a: NDArray[np.uint8]) -> str:
    return f"{a.shape[1]}x{a.shape[0]}"


def _load_folder(folder: Path, split: Split) -> ImageSet:
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PICTURES)
    if not files:
        raise InputError(f"{folder} has no images ({', '.join(sorted(PICTURES))}); give a folder that has")
    images = read_pictures(folder, files)
    return ImageSet(images, None, str(folder), split, hashlib.sha256(images.tobytes()).hexdigest())
