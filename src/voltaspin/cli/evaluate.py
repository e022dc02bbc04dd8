"""``voltaspin evaluate``, ``reference`` and ``merge``: scores of images, what they are against, one set from parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voltaspin.cli.options import AsJson, Background, Force, Out, SeedIfAny, word
from voltaspin.cli.terminal import check_fail_on, end_on, progress_of, show
from voltaspin.core.errors import InputError

if TYPE_CHECKING:
    from voltaspin.metrics.moments import ImageParts
    from voltaspin.metrics.statistics import FeatureStatistics

_SHIPPED = "shipped"
_EXTRACTORS = (_SHIPPED, "cifar10", "inception", "dinov2")
_SUFFIX = ".safetensors"  # of a file of statistics

Split = Annotated[
    Literal["test", "train"] | None,
    word("--reference-split", words=("test", "train"),
         help="Of a data set of --reference-images: test (held out, the default) or train, as in published FIDs of "
         "CIFAR-10."),
]  # fmt: skip


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of images of one size, or one that `sample` wrote.")],
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Another such folder: difference of the scores, by pairs of equal number."),
    ] = None,
    reference: Annotated[
        str,
        typer.Option("--reference", help="Reference statistics: fashion-mnist (of the shipped extractor), or a file "
                     "that `voltaspin reference` wrote."),
    ] = "fashion-mnist",
    extractor: Annotated[
        str,
        word(
            "--extractor", words=_EXTRACTORS,
            help="shipped (grey 28x28 garments: FD), cifar10 (colour 32x32: FD), inception (FID) or dinov2 (FD), the "
            "last two for images of any size and colour, by torch-fidelity (extra fid). dinov2 fetches code of "
            "facebookresearch and runs it. Default: that of the statistics.",
        ),
    ] = "",
    reference_images: Annotated[
        str,
        typer.Option(
            "--reference-images",
            help="Real images for cifar10, inception and dinov2: a folder, a Parquet file, cifar10, another data set's "
            "name.",
        ),
    ] = "",
    reference_split: Split = None,
    background: Background = None,
    seed: SeedIfAny = None,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", help="different: of --against: end with status 3 where the interval of a "
                          "difference leaves zero out.")
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Score a folder of images against real ones: KID and FD or FID, with intervals.

    Example: [bold]voltaspin evaluate images --reference fashion-mnist[/bold]

    Two folders: [bold]voltaspin evaluate memory-images --against software-images[/bold]

    In colour: [bold]voltaspin evaluate images --extractor cifar10 --reference-images cifar10[/bold]
    """
    check_fail_on(fail_on, {"different": "the interval of a difference leaves zero out"})
    if fail_on is not None and against is None:
        raise InputError(f"--fail-on {fail_on} is of --against; give both or neither")
    _check_split(reference_split, reference_images, "--reference-split")
    from voltaspin.metrics import compare_folders, evaluate_fidelity, evaluate_folder
    from voltaspin.metrics import reference as shipped_reference
    from voltaspin.metrics.evaluation import single_images
    from voltaspin.metrics.features import Extractor
    from voltaspin.metrics.moments import ImageParts
    from voltaspin.metrics.statistics import FeatureStatistics, load_extractor

    statistics: FeatureStatistics | None = None
    of_file = reference.endswith(_SUFFIX) or Path(reference).is_file()
    if seed is not None and (of_file or against is not None or extractor not in ("", _SHIPPED)):
        raise InputError(
            f"--seed {seed}: chance has a part in the scores of one folder by the shipped reference, and in no others; "
            "leave it out"
        )
    if of_file:
        if reference_images:
            raise InputError("--reference FILE holds the real images; leave --reference-images out")
        statistics = FeatureStatistics.load(reference)
        network = load_extractor(extractor or statistics.word)
        statistics.check(network, where=reference)
    elif extractor in ("", _SHIPPED):
        if reference_images:
            raise InputError(
                "--reference-images is for --extractor cifar10, inception or dinov2; the shipped one has --reference"
            )
        if against is None:
            show(evaluate_folder(folder, reference=reference, background=background, seed=seed or 0), as_json)
            return
        network = Extractor.load()
    elif not reference_images:
        raise InputError(
            f"--extractor {extractor} needs real images to compare with; give --reference-images with a folder, a "
            "Parquet file or a data set such as cifar10"
        )
    else:
        single_images(folder)
        network = load_extractor(extractor)
        statistics = _statistics(reference_images, reference_split or "test", extractor, background, network)
    with progress_of("features") as progress:
        if against is not None:
            real = shipped_reference(reference) if statistics is None else statistics
            found = compare_folders(folder, against, real, extractor=network, background=background, progress=progress)
            show(found, as_json)
            end_on(fail_on, {"different": any(not d.low <= 0 <= d.high for d in found.differences)})
            return
        assert statistics is not None, "the shipped reference is scored above"
        images = ImageParts.of_files(folder, single_images(folder), background=background)
        scores = evaluate_fidelity(
            images, (statistics.features, statistics.moments, statistics.size), extractor=network, progress=progress,
            reference=statistics.name, yardsticks=statistics.yardsticks,
        )  # fmt: skip
    show(scores, as_json)


def _check_split(split: str | None, name: str, option: str) -> None:
    """Refuse a split of what has none: no real images, or a folder or a file, which are read entirely."""
    if split is not None and (not name or Path(name).exists()):
        what = f"{name} is read entirely" if name else "no --reference-images are given"
        raise InputError(f"{option} {split} is of a named data set, and {what}; leave it out")


def _real(name: str, split: Literal["test", "train"], background: str | None) -> tuple[ImageParts, str]:
    """Real images, a folder of pictures read in parts, and their name."""
    from voltaspin.diffusion import load_images
    from voltaspin.diffusion.pictures import picture_files
    from voltaspin.metrics.moments import ImageParts

    if Path(name).is_dir() and (files := picture_files(name, nested=True)):
        return ImageParts.of_files(Path(name), files, background=background), name
    with progress_of("decode") as progress:
        real = load_images(name, split=split, background=background, progress=progress)
    return ImageParts.of(real.images), f"{real.name}, {split}" if real.labels is not None else real.name


def _statistics(
    name: str, split: Literal["test", "train"], extractor: str, background: str | None, network: Any = None
) -> FeatureStatistics:
    from voltaspin.metrics.statistics import FeatureStatistics

    images, said = _real(name, split, background)
    with progress_of("features of real images") as progress:
        return FeatureStatistics.of(images, name=said, word=extractor, extractor=network, progress=progress)


def reference(
    data: Annotated[
        str, typer.Argument(help="A folder of images, a Parquet file, or a data set: cifar10, mnist, fashion-mnist.")
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write, NAME.safetensors.")],
    extractor: Annotated[
        str,
        word("--extractor", words=_EXTRACTORS,
             help="shipped (grey 28x28 images), cifar10 (colour 32x32), inception or dinov2 (any, by torch-fidelity, "
             "extra fid)."),
    ] = _SHIPPED,
    split: Annotated[
        Literal["test", "train"] | None,
        word("--split", words=("test", "train"), help="Of a named set: test, the default, or train."),
    ] = None,
    background: Background = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Keep the reference statistics of a data set in a file, for `voltaspin evaluate --reference FILE`.

    The file names its extractor by the hash of its weights, and another one is refused.

    Example: [bold]voltaspin reference cifar10 --extractor cifar10 --out cifar10-test.safetensors[/bold]
    """
    from voltaspin.core.folders import claimed_file

    _check_split(split, data, "--split")
    if out.suffix != _SUFFIX:
        raise InputError(f"--out {out}: statistics are kept in a file NAME{_SUFFIX}; give such a name")
    with claimed_file(out, force=force):
        made = _statistics(data, split or "test", extractor, background).save(out)
    show(made, as_json)


def merge(
    parts: Annotated[list[Path], typer.Argument(help="Folders that `sample --shard` or `--first` wrote.")],
    out: Out,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Put the parts of one set of images, made on several machines, into one folder, as if one run had made it.

    Example: [bold]voltaspin merge part-1 part-2 part-3 --out images[/bold]
    """
    from voltaspin.report.merging import merged

    show(merged(parts, out, force=force), as_json)
