"""Real images: Fashion-MNIST, MNIST (IDX files), CIFAR-10, a folder of pictures, Parquet files, a set on the hub.

A named data set is looked for in this order: an explicit path, the folder in ``VOLTASPIN_DATA``, Debian's
``/usr/share/datasets``, the user's cache; only then is it downloaded, from one of several addresses in turn, those
with https first. Wherever the bytes of IDX files come from, what is inside the gzip wrapping must have the known
SHA-256; CIFAR-10's archive must have the known MD5. Its Parquet files have no official hash: the name of the set then
says the file.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import cache_folder, fetched
from voltaspin.diffusion import cifar10, hub
from voltaspin.diffusion.parquet import of_split, read_parquet
from voltaspin.diffusion.pictures import SUFFIXES, picture_files, read_pictures

Split = Literal["train", "test"]
Progress = Callable[[int, int], None]
PARQUET = ".parquet"
SYSTEM_FOLDER = Path("/usr/share/datasets")
LARGEST_IDX = 1 << 31  #: bytes that the header of an IDX file may announce


@dataclass(frozen=True)
class IdxDataset:
    """The addresses of a data set of four IDX files, tried in turn, and the hashes of its decompressed bytes."""

    name: str
    addresses: tuple[str, ...]
    licence: str
    sha256: dict[str, str]


_PREFIX = {"train": "train", "test": "t10k"}

DATASETS = {
    d.name: d
    for d in (
        IdxDataset(
            name="fashion-mnist",
            addresses=(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
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
            addresses=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "http://yann.lecun.com/exdb/mnist/",
            ),
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
        labels: int64 (n,), or None for a plain folder or a table without them.
        name: of the data set, or the path of the folder or file; it says where pictures are JPEG, which is lossy.
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


def load_images(
    name: str,
    *,
    split: Split = "train",
    path: Path | str | None = None,
    background: str | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """Load a data set by its name, or pictures of one size from a folder, a Parquet file or the hub.

    :mod:`voltaspin.diffusion.pictures` says which files are pictures and which pictures are refused. In a folder that
    ``sample`` wrote, the images that its ``run.json`` lists are taken.

    Args:
        name: ``fashion-mnist``, ``mnist`` or ``cifar10``; the path of a folder of pictures, of a Parquet file in
            the hub's layout or of a folder of them; or a data set's name on the hub, ``owner/name``.
        split: ``train`` or ``test``. Parquet files are chosen by their names where these say a split; a folder of
            pictures and a single file have no splits and are taken whole.
        path: a folder that holds the files of a named set (or a folder of that name which does).
        background: the colour behind transparent pixels, as a name or ``#rrggbb``; None refuses transparent pictures.
        progress: called as ``progress(images decoded, images in all)`` where they are decoded one by one.

    Returns:
        The images as they are stored, unscaled.

    Raises:
        InputError: unknown name, a file with a wrong magic number, a short body or another hash, a folder
            without images or with mixed sizes, a Parquet file of another layout, or a data set that is not there
            and cannot be downloaded.
    """
    if split not in _PREFIX:
        raise InputError(f"split {split!r} is unknown; use 'train' or 'test'")
    if background is not None and name in {*DATASETS, cifar10.NAME}:
        raise InputError(
            f"background {background!r} is for pictures with transparency, and {name} has none; leave it out"
        )
    if name in DATASETS:
        data = DATASETS[name]
        image_file, label_file = f"{_PREFIX[split]}-images-idx3-ubyte", f"{_PREFIX[split]}-labels-idx1-ubyte"
        images = parse_idx(_find(data, image_file, path), image_file, data.sha256[image_file])
        labels = parse_idx(_find(data, label_file, path), label_file, data.sha256[label_file])
        return ImageSet(images[:, None], labels.astype(np.int64), name, split, data.sha256[image_file])
    if name == cifar10.NAME:
        return _load_cifar10(split, path, background, progress)
    place = Path(path if path is not None else name)
    if place.is_dir():
        return _load_folder(place, split, background, progress)
    if place.suffix == PARQUET:
        if not place.is_file():
            raise InputError(f"Parquet file {place} does not exist; check its path")
        return _from_parquet([place], str(place), split, background, progress)
    if hub.is_name(name):
        return _from_parquet(hub.dataset_files(name, split), name, split, background, progress)
    raise InputError(
        f"data set {name!r} is unknown: use {', '.join(DATASETS)}, {cifar10.NAME}, the path of a folder of images or "
        "of a Parquet file, or the name of a data set on the hub (owner/name)"
    )


def _load_cifar10(split: Split, path: Path | str | None, background: str | None, progress: Progress | None) -> ImageSet:
    """From the official archive or Parquet files of that name, whichever comes first; else the archive is fetched."""
    for folder in _places(cifar10.NAME, path):
        archive = folder / cifar10.ARCHIVE
        if archive.is_file():
            return _official_cifar10(archive, split)
        tables = sorted(f.name for f in folder.glob(f"{cifar10.NAME}*{PARQUET}"))
        if tables:
            chosen = [folder / f for f in of_split(tables, split, where=str(folder))]
            return _from_parquet(chosen, f"{cifar10.NAME} of {chosen[0].name}", split, background, progress)
    if path is not None:
        raise InputError(f"{path} has neither {cifar10.ARCHIVE} nor {cifar10.NAME}*{PARQUET}; give their folder")
    remedy = (
        f"put that archive, or Parquet files {cifar10.NAME}*{PARQUET}, into a folder and set VOLTASPIN_DATA to it; "
        "the archive for Python is a pickle and is not read"
    )
    archive = fetched(
        cifar10.ADDRESS,
        cifar10.ARCHIVE,
        cache_folder() / cifar10.NAME,
        known_hash=f"md5:{cifar10.MD5}",
        missing=_missing(cifar10.NAME),
        remedy=remedy,
    )
    return _official_cifar10(archive, split)


def _official_cifar10(archive: Path, split: Split) -> ImageSet:
    images, labels = cifar10.read_archive(archive, split)
    return ImageSet(images, labels, cifar10.NAME, split, hashlib.sha256(images.tobytes()).hexdigest())


def _from_parquet(
    files: list[Path], name: str, split: Split, background: str | None, progress: Progress | None
) -> ImageSet:
    images, labels, lossy = read_parquet(files, background=background, progress=progress)
    sha256 = hashlib.sha256(images.tobytes()).hexdigest()
    return ImageSet(images, labels, f"{name} (JPEG)" if lossy else name, split, sha256)


def parse_idx(file: Path, stem: str, sha256: str | None = None) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes (LeCun's format), gzipped or not.

    Args:
        file: the file.
        stem: its name in messages; ``idx3`` files have three dimensions, ``idx1`` one.
        sha256: of the decompressed bytes; None skips that check.

    Raises:
        InputError: what is wrong with the file, and what to do.
    """
    dims = 3 if "idx3" in stem else 1
    try:
        with file.open("rb") as start:
            zipped = start.read(2) == b"\x1f\x8b"
        with cast("IO[bytes]", gzip.open(file) if zipped else file.open("rb")) as opened:
            head = opened.read(4 + 4 * dims)
            if len(head) < 4 + 4 * dims or head[:4] != bytes([0, 0, 8, dims]):
                raise InputError(
                    f"{file}: magic number {head[:4].hex() or 'missing'}, not 000008{dims:02x} of an IDX file of bytes "
                    f"with {dims} dimension(s); this is another kind of file"
                )
            shape = struct.unpack(f">{dims}I", head[4:])
            size = math.prod(shape)
            if size > LARGEST_IDX:
                raise InputError(
                    f"{file}: its header says {shape}, more than {LARGEST_IDX} bytes; fetch the file again"
                )
            data = opened.read(size)
            beyond = len(opened.read(1))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{file}: the gzip data break off ({error}); fetch the file again") from None
    if beyond or len(data) != size:
        has = f"more than {size}" if beyond else str(len(data))
        raise InputError(f"{file}: {has} bytes of data where the header says {shape}; fetch the file again")
    raw = head + data
    found = hashlib.sha256(raw).hexdigest()
    if sha256 is not None and found != sha256:
        raise InputError(f"{file}: SHA-256 {found[:16]}... is not the official {sha256[:16]}...; fetch the file again")
    return np.frombuffer(raw, np.uint8, offset=len(head)).reshape(shape)


def _find(data: IdxDataset, stem: str, path: Path | str | None) -> Path:
    """The first place that has the file; an explicit path is the only place looked at when given."""
    for folder in _places(data.name, path):
        for candidate in (folder / f"{stem}.gz", folder / stem):
            # VOLTASPIN_DATA itself may hold another data set's files of the same names: its subfolder is first.
            if candidate.is_file():
                return candidate
    if path is not None:
        raise InputError(f"{path} has no {stem}[.gz] of {data.name}; give the folder that holds the four IDX files")
    remedy = (
        f"put the IDX files into a folder and set VOLTASPIN_DATA to its parent, or install Debian's dataset-{data.name}"
    )
    return fetched(
        data.addresses,
        f"{stem}.gz",
        cache_folder() / data.name,
        check=lambda file: parse_idx(file, stem, data.sha256[stem]),
        missing=_missing(data.name),
        remedy=remedy,
    )


def _missing(name: str) -> str:
    return f"{name} is on none of the search paths"


def _places(name: str, path: Path | str | None) -> list[Path]:
    """Folders that may hold a named data set, in the order of the search."""
    if path is not None:
        return [Path(path), Path(path) / name]
    environment = os.environ.get("VOLTASPIN_DATA")
    folders = [Path(environment) / name, Path(environment)] if environment else []
    return [*folders, SYSTEM_FOLDER / name, cache_folder() / name]


def _load_folder(folder: Path, split: Split, background: str | None, progress: Progress | None) -> ImageSet:
    files = picture_files(folder, nested=True)
    tables = [str(f.relative_to(folder)) for f in folder.rglob(f"*{PARQUET}")]
    tables = [t for t in tables if not any(part.startswith(".") for part in Path(t).parts)]
    if tables and files:
        raise InputError(f"{folder} holds pictures and Parquet files; give a folder of one kind, or one file")
    if tables:
        chosen = [folder / f for f in of_split(tables, split, where=str(folder))]
        return _from_parquet(chosen, str(folder), split, background, progress)
    if not files:
        kinds = ", ".join([*sorted(SUFFIXES), PARQUET])
        raise InputError(f"{folder} has no images ({kinds}); give a folder that has")
    images = read_pictures(folder, files, progress, background=background)
    return ImageSet(images, None, str(folder), split, hashlib.sha256(images.tobytes()).hexdigest())
