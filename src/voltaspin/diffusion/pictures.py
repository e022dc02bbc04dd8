"""The one reader of encoded pictures: which files of a folder are images, and what their pixels are.

``train --data``, ``evaluate``, reference images and the cells of Parquet files all come here, and one contract holds:

* A picture has 8 bit per channel, or fewer. Deeper ones (16-bit grey or colour, float) are refused: nobody but the user
  knows which level is white.
* It is grey or RGB. A palette is resolved, and a picture whose palette entries are all grey is grey. CMYK and Lab are
  refused, since their colours depend on a profile. Embedded colour profiles and gamma are not applied.
* Transparency is refused unless every pixel is opaque, or ``background`` says what lies behind it.
* It is one picture. Animations and files of several pages are refused. The pictures that a camera appends to a JPEG
  (MPO: previews, gain maps) are not read.
* It stands upright: the EXIF orientation is applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object
from voltaspin.core.folders import RECORD

if TYPE_CHECKING:
    from PIL import Image

#: Suffixes of pictures that are not read, which no folder of images silently goes without.
UNREAD = frozenset({".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".tga", ".ppm", ".pgm", ".pbm",
                    ".pnm", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw"})  # fmt: skip
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})  #: of files that are images
MAX_PIXELS = 1 << 26  #: of one picture, 8192 x 8192
GRID = "grid.png"  #: the overview that `sample` writes beside its images
_SAMPLED = "image-*.png"
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_GREY, _COLOUR = ("1", "L", "LA", "La"), ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")
_DEEPER = (
    "scale it to 8 bit with a program that keeps the full depth until then, and say which level became white; for grey "
    "pictures in Python: Image.fromarray((numpy.asarray(Image.open(FILE)) / WHITE * 255).round().astype('uint8'))"
)


# Files


def picture_files(folder: Path | str, *, nested: bool = False) -> list[Path]:
    """The image files of a folder in the order of their names; an empty list where there are none.

    In a folder that ``sample`` wrote, the images are the ``image-*.png`` of its ``run.json``. In any other folder they
    are the files with a suffix of :data:`SUFFIXES`. Hidden files and folders (``._x.png``, ``.ipynb_checkpoints``,
    ``__MACOSX``) never count, and ``grid.png`` does not where it lies beside a ``run.json`` or ``image-*.png``.

    Args:
        folder: to look into.
        nested: look into its subfolders too.

    Raises:
        InputError: no such folder, pictures of :data:`UNREAD` among the images, or a finished ``run.json`` lists an
            image that is not there.
    """
    home = Path(folder)
    if not home.is_dir():
        raise InputError(f"{home} is not a folder; give one that holds images")
    sampled = _sampled(home)
    if sampled is not None:
        return sampled
    there = [f for f in (home.rglob("*") if nested else home.iterdir()) if not _is_hidden(f.relative_to(home))]
    found = [f for f in there if f.suffix.lower() in SUFFIXES and (f.is_file() or f.is_symlink())]
    if found and (other := min((f for f in there if f.suffix.lower() in UNREAD and f.is_file()), default=None)):
        raise InputError(
            f"{other} is a picture of a kind that is not read ({', '.join(sorted(SUFFIXES))} are); save it as PNG, or "
            "move it out of the folder"
        )
    return sorted(f for f in found if not (f.name == GRID and _beside_a_run(f)))


def _sampled(home: Path) -> list[Path] | None:
    """The images of a folder that ``sample`` wrote; None for another folder."""
    record = _record(home)
    listed = record.get("files")
    if isinstance(listed, list):
        named = sorted(n for n in listed if isinstance(n, str) and Path(n).name == n and Path(n).match(_SAMPLED))
        missing = [n for n in named if not (home / n).is_file()]
        if missing and record.get("finished", True):
            raise InputError(
                f"{home / RECORD} lists {missing[0]}, which is not there ({len(missing)} of {len(named)} are missing); "
                "sample again, or remove run.json to read the images that are left"
            )
        if not record.get("finished", True):
            _check_shards(home, record)
        return [home / n for n in named if n not in missing] if named else None
    if record.get("kind") not in ("sample", "sample-bitflip"):
        return None
    return sorted(f for f in home.glob(_SAMPLED) if f.is_file()) or None  # a folder of version 0.1.0 lists no files


def _check_shards(home: Path, record: dict[str, Any]) -> None:
    """Refuse a run in parts of which some are missing; raises InputError that names them."""
    arguments = record.get("arguments")
    shards = arguments.get("shards") if isinstance(arguments, dict) else None
    if not isinstance(shards, int) or shards < 2 or not isinstance(arguments, dict):
        return
    first, count = int(arguments.get("first", 0)), int(arguments.get("count", 0))
    missing = [i for i in range(first, first + count) if not (home / image_name(i)).is_file()]
    absent = [f"{k}/{shards}" for k in range(1, shards + 1) if not (home / progress_name(f"{k}-of-{shards}")).is_file()]
    if missing or absent:
        parts = f"shard {', '.join(absent)} and " if absent else ""
        which = f"shard {absent[0]}" if absent else "every shard"
        raise InputError(
            f"{home} lacks {parts}images {stretches(missing)} of {first} to {first + count - 1}; run the command that "
            f"samples them again for {which}, to resume it"
        )


def image_name(i: int) -> str:
    """Name of the file of an image that ``sample`` writes."""
    return f"image-{i:06d}.png"


def progress_name(job: str) -> str:
    """Name of the file in which a job of ``sample`` lists what it has finished."""
    return f".progress-{job}.jsonl"


def stretches(numbers: Sequence[int]) -> str:
    """Return ascending numbers as ``"16 to 31 and 40"``, four stretches at most."""
    found: list[list[int]] = []
    for i in numbers:
        if found and i == found[-1][1] + 1:
            found[-1][1] = i
        else:
            found.append([i, i])
    said = [str(low) if low == high else f"{low} to {high}" for low, high in found]
    if len(said) > 4:
        return f"{', '.join(said[:4])} and more"
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said) or "none"


def _record(home: Path) -> dict[str, Any]:
    if not (home / RECORD).is_file():
        return {}
    try:
        return read_object(home / RECORD)
    except InputError:  # the run.json of another program
        return {}


def _beside_a_run(grid: Path) -> bool:
    return (grid.parent / RECORD).is_file() or next(grid.parent.glob(_SAMPLED), None) is not None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def read_pictures(
    folder: Path,
    files: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
    *,
    background: str | None = None,
) -> NDArray[np.uint8]:
    """Read pictures of one size: uint8 (n, channels, h, w), grey if every picture is.

    Args:
        folder: that they lie in, for the messages.
        files: of the pictures.
        progress: called as ``progress(pictures decoded, pictures in all)``.
        background: see :func:`decode`.

    Raises:
        InputError: as :func:`decode`, or pictures of several sizes; the message names the file.
    """
    pictures: list[NDArray[np.uint8]] = []
    for file in files:
        pictures.append(decode(file, str(file), background=background))
        check_size(pictures[-1], pictures[0], where=str(folder), names=(files[0].name, file.name))
        if progress is not None:
            progress(len(pictures), len(files))
    return stack(pictures)


# One picture


def decode(source: Path | BytesIO, name: str, *, background: str | None = None) -> NDArray[np.uint8]:
    """One picture: uint8 (h, w) if it is grey, else (h, w, 3).

    Args:
        source: a file or its bytes.
        name: of the picture, in messages.
        background: the colour behind transparent pixels, as a name or ``#rrggbb``; None refuses transparency.

    Raises:
        InputError: no readable picture, or one that the contract of this module refuses.
    """
    behind = None if background is None else _colour(background)
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(source, formats=_FORMATS) as picture:
                refused = _why_refused(picture, source)
                if refused is None:
                    upright = ImageOps.exif_transpose(picture)
                    pixels = _pixels(upright)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            refused = f"has too many pixels ({_first(error)}); remove it, or save it smaller"
        except Exception as error:  # decoders of damaged files raise whatever their parser met
            why = _first(error).replace(f" {source!r}", "")
            refused = f"cannot be read as an image ({why}); remove it or save it again"
    if refused is not None:
        raise InputError(f"{name} {refused}")
    return _opaque(pixels, behind, name)


def _why_refused(picture: Image.Image, source: Path | BytesIO) -> str | None:
    """Return the rule that an opened picture breaks, with the remedy; nothing is decoded for it."""
    mode = picture.mode
    if picture.width * picture.height > MAX_PIXELS:
        return (
            f"has {picture.width} x {picture.height} pixels, more than the {MAX_PIXELS} of the largest picture that is "
            "read; remove it, or save it smaller"
        )
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        return "holds several frames or pages; save each as a picture of its own"
    if (depth := _depth(picture, source)) != "8 bit":
        return f"has more than 8 bit per pixel and channel ({depth}, {mode}); {_DEEPER}"
    if mode not in _GREY + _COLOUR:
        return f"has colours of mode {mode}, which depend on a profile; convert it to RGB with that profile"
    return None


def _depth(picture: Image.Image, source: Path | BytesIO) -> str:
    """Return the bits per sample of the file; Pillow cuts 16-bit colour to its high byte, so its mode does not tell."""
    if picture.mode == "F":
        return "floating point"
    if picture.mode.startswith("I"):
        return "16 bit or more"
    if picture.format == "PNG":
        head = source.getvalue()[:25] if isinstance(source, BytesIO) else _head(source, 25)
        return "8 bit" if head[24] <= 8 else f"{head[24]} bit"  # of the header, which is the first chunk
    if picture.format == "TIFF":
        tags: Any = picture.tag_v2  # type: ignore[attr-defined]
        bits, kinds = (np.atleast_1d(tags.get(tag, default)).tolist() for tag, default in ((258, 1), (339, 1)))
        if max(bits) > 8:
            return f"{max(bits)} bit"
        if set(kinds) - {1, 4}:  # 1: unsigned, 4: undefined
            return "signed or floating point samples"
    return "8 bit"


def _head(source: Path, n: int) -> bytes:
    with source.open("rb") as file:
        return file.read(n)


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """Grey (h, w), grey and alpha (h, w, 2), RGB (h, w, 3) or RGBA (h, w, 4)."""
    transparent = picture.has_transparency_data
    grey = picture.mode in _GREY
    target = ("LA" if grey else "RGBA") if transparent else ("L" if grey else "RGB")
    if grey and transparent and picture.mode != "LA":
        picture = picture.convert("RGBA")  # the way to grey and alpha that every version of Pillow has
        found = np.asarray(picture)[..., [0, 3]]
    else:
        found = np.asarray(picture.convert(target))
    if picture.mode in ("P", "PA") and (found[..., :3] == found[..., :1]).all():
        found = found[..., [0, 3]] if transparent else found[..., 0]
    return np.asarray(found, np.uint8)


def _opaque(pixels: NDArray[np.uint8], behind: tuple[int, int, int] | None, name: str) -> NDArray[np.uint8]:
    """The colours alone, over the background where the picture is transparent."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    colours, alpha = pixels[..., :-1], pixels[..., -1:].astype(np.uint32)
    if (alpha < 255).any():
        if behind is None:
            raise InputError(
                f"{name} is transparent in {float((alpha < 255).mean()):.0%} of its pixels; say what lies behind "
                "with background='white' or another colour such as '#808080', or save it without transparency"
            )
        if colours.shape[2] == 1 and len(set(behind)) > 1:
            colours = np.repeat(colours, 3, 2)
        ground = np.array(behind[: colours.shape[2]], np.uint32)
        colours = ((alpha * colours + (255 - alpha) * ground + 127) // 255).astype(np.uint8)
    return colours[..., 0] if colours.shape[2] == 1 else np.ascontiguousarray(colours)


def _colour(text: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        colour: tuple[int, ...] = ImageColor.getrgb(text)
    except ValueError:
        colour = ()
    if len(colour) != 3:
        raise InputError(f"background {text!r} is no opaque colour; use a name such as 'white', or '#rrggbb'")
    return (colour[0], colour[1], colour[2])


def stack(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one size as uint8 (n, channels, h, w): one channel if every picture is grey, else three."""
    colour = any(a.ndim == 3 for a in pictures)
    whole = np.stack([np.repeat(a[..., None], 3, 2) if colour and a.ndim == 2 else a for a in pictures])
    return np.ascontiguousarray(whole.transpose(0, 3, 1, 2) if colour else whole[:, None])


def check_size(picture: NDArray[np.uint8], first: NDArray[np.uint8], *, where: str, names: tuple[str, str]) -> None:
    """Refuse a picture of another size than the first; ``names`` are those of the first and of this one."""
    if picture.shape[:2] != first.shape[:2]:
        raise InputError(
            f"{where} mixes sizes: {names[0]} is {_size(first)} and {names[1]} is {_size(picture)} pixels; "
            "resize them to one size first"
        )


def _size(a: NDArray[np.uint8]) -> str:
    return f"{a.shape[1]}x{a.shape[0]}"


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
