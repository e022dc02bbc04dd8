"""``voltaspin bits`` and ``voltaspin randomness``: bits from any source, and what they are worth."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voltaspin.cli.files import Given, check_recording, file_options, input_of, opened, say_read
from voltaspin.cli.options import AsJson, Force, Seed
from voltaspin.cli.options import count as number
from voltaspin.cli.terminal import bar_per_part, print_json, progress_bars
from voltaspin.core.errors import InputError, NoiseExhaustedError, NoiseStoppedError
from voltaspin.core.files import is_stream, opened_whole, sha256_of, write_bytes
from voltaspin.core.folders import claimed_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voltaspin.noise import NoiseSource

_BITS_PER_NORMAL = 16
FORMATS = ("packed", "bytes", "text")
#: What the suffix of a file of bits says of its format.
SUFFIXES = {"": "packed", ".bin": "packed", ".dat": "packed", ".raw": "packed", ".txt": "text"}

Noise = Annotated[
    str,
    typer.Option(
        "--noise",
        "--source",
        help="software (pseudo-random), memory (the simulated array, XOR of two cells), system (the operating "
        "system's), or the path of a file recorded from a device (docs/recordings.md).",
    ),
]
Raw = Annotated[bool, typer.Option("--raw", help="Raw memory bits, without XOR.")]
Imperfect = Annotated[
    bool, typer.Option("--imperfect", help="Switch on the memory's drift, 1/f and telegraph noise, coupling, misreads.")
]
Chain = Annotated[
    str,
    typer.Option(
        "--condition",
        help="What stands behind the raw bits, from left to right, joined by commas: stabilise, health:H, xor:K, "
        "von-neumann, peres:DEPTH, toeplitz:H, sha256:H (H: min-entropy per bit; of the last two also assessed).",
    ),
]


def make_source(
    noise: str,
    *,
    seed: int,
    raw: bool = False,
    imperfect: bool = False,
    condition: str = "",
    recording: Given | None = None,
    numbers: int = 0,
) -> NoiseSource:
    """The source that ``--noise`` names, behind the conditioners that ``--condition`` names.

    ``recording`` are the options of a recorded file, as :func:`voltaspin.cli.files.file_options` gives them.
    ``numbers`` is how many normals one draw takes, an image's pixels times its channels: one pulse of the memory must
    give them all, so an array of 256 x 256 cells is doubled on both sides until it does.
    """
    from voltaspin import noise as room

    stabilise, _, chain = condition.partition(",") if condition.startswith("stabilise") else ("", "", condition)
    if stabilise not in ("", "stabilise"):
        raise InputError(f"--condition {stabilise!r} is unknown; stabilise takes no number")
    source: NoiseSource
    check_recording(noise, recording or {})
    if noise == "memory":
        from voltaspin.memory import Imperfections, MagnetoelectricMemory

        what = Imperfections() if imperfect else Imperfections.none() if stabilise else None
        k = 1 if raw or condition not in ("", "none") else 2
        side = 256
        while side * side < numbers * _BITS_PER_NORMAL * k:
            side *= 2
        array = MagnetoelectricMemory(rows=side, columns=side, seed=seed)
        source = room.MemorySource(memory=array, seed=seed, k=k, bits=_BITS_PER_NORMAL, imperfections=what)
        if stabilise:
            source = room.Stabilised(source)
        return room.conditioned(source, chain)
    if raw:
        raise InputError(f"--raw takes the memory's bits without XOR; --noise {noise} has none, so leave it out")
    if imperfect or stabilise:
        raise InputError(f"--imperfect and stabilise belong to --noise memory; --noise {noise} has no array to change")
    if noise == "software":
        source = room.PseudoSource(seed=seed)
    elif noise == "system":
        source = room.SystemSource()
    elif Path(noise).is_file():
        source = opened(noise, recording or {})
    else:
        raise InputError(f"noise {noise!r} is neither 'software', 'memory', 'system' nor a file of recorded bits")
    return room.conditioned(source, chain)


@file_options
def bits(
    out: Annotated[str, typer.Option("--out", help="File for the bits, - for standard output.")],
    count: Annotated[
        int | None,
        number("--count", most=2**52, help="How many bits, such as 8M; without it, endless, to standard output."),
    ] = None,
    noise: Noise = "memory",
    raw: Raw = False,
    imperfect: Imperfect = False,
    condition: Chain = "",
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="packed (first bit highest), bytes (0 or 1 each) or text; default: by the file's suffix, packed for "
            ".bin, .dat, .raw and none, text for .txt.",
        ),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Random bits, packed with the first bit highest and the last byte filled up with zeros, as bytes or as text.

    Example: [bold]voltaspin bits --count 8000000 --out bits.bin[/bold], or as a stream that does not end:
    [bold]voltaspin bits --condition von-neumann --out - | dieharder -a -g 200[/bold]
    """
    if format is None:
        format = "packed" if out == "-" or is_stream(out) else _format_by_suffix(out)
    if format not in FORMATS:
        raise InputError(f"--format {format!r} is unknown; use one of {', '.join(FORMATS)}")
    if count is None and out != "-":
        raise InputError(f"--out {out} needs --count: a file cannot be endless")
    source = make_source(
        noise, seed=seed, raw=raw, imperfect=imperfect, condition=condition, recording=recording
    )  # fmt: skip
    left = source.bits_at_most
    if count is not None and left is not None and left < count:
        raise InputError(f"--count {count}: {source.name} has {left} bits; ask for at most as many")
    if out == "-":
        if as_json:
            raise InputError("--json and --out - both want standard output; write the bits to a file")
        _to_standard_output(source, count, format)
        say_read(source)
        return
    assert count is not None
    if not out or Path(out).is_dir():
        raise InputError(f"--out {out!r} is a folder or empty; give the name of a file, or - for standard output")
    about = {
        "command": "bits",
        "arguments": {
            "noise": noise, "seed": seed, "count": count, "format": format, "raw": raw, "imperfect": imperfect,
            "condition": condition, "recording": recording,
        },
    }  # fmt: skip
    target = Path(out)
    from voltaspin.noise import record

    described = format == "packed" and not is_stream(target)
    how = {**about, "sidecar": _description(target, force), "kind": "recording"} if described else {}
    with claimed_file(target, force=force, **how), progress_bars() as bars:
        bar = bars.add_task("bits", total=count)
        done = 0

        def show(now: int) -> None:
            nonlocal done
            done = now
            bars.update(bar, completed=done)

        try:
            if described:
                record(source, target, bits=count, about=about, progress=lambda now, total: show(now))
            else:
                _to_file(source, target, count, format, show)
        except NoiseStoppedError as stopped:
            if not done:
                raise
            raise InputError(f"{_reason(stopped)}; the {done} good bits before that are in {target}") from None
    say_read(source)
    if as_json:
        print_json(
            {
                "file": str(target),
                "bits": count,
                "input": input_of(source),
                "noise": source.provenance.to_json(),
                "ledger": source.ledger.totals(),
            }
        )


def _format_by_suffix(out: str) -> str:
    suffix = Path(out).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"--out {out}: no format of bits has the suffix {suffix}; use .bin, .dat or .raw (packed), .txt (text), or "
            f"say it: --format {', '.join(FORMATS)}"
        )
    return SUFFIXES[suffix]


def _description(target: Path, force: bool) -> Path:
    """Where the description of a file of packed bits stands; raises InputError where it is of other bits."""
    from voltaspin.noise.recorded import Recording

    beside = Recording.beside(target)
    if target.is_file() and beside.is_file() and not force:
        try:
            known = Recording.load(beside).sha256
        except InputError:
            return beside  # whether it may be replaced is decided where the file is claimed
        if known != sha256_of(target):
            raise InputError(f"{target} is not the file that {beside} describes; choose another name, or add --force")
    return beside


def _to_file(source: NoiseSource, target: Path, count: int, format: str, show: Callable[[int], None]) -> None:
    """The bits, or those before an alarm, which is raised once they are written."""
    from voltaspin.noise.recorder import blocks

    done, stopped = 0, None
    with opened_whole(target) as file:
        try:
            for n, packed in blocks(source, count):
                file.write(_written(packed, n, format))
                done += n
                show(done)
        except NoiseStoppedError as error:
            if not done:
                raise
            stopped = error
    if stopped is not None:
        raise stopped


def _written(packed: NDArray[np.uint8], n: int, format: str) -> bytes | memoryview:
    import numpy as np

    if format == "packed":
        return packed.data
    unpacked = np.unpackbits(packed, count=n)
    return (unpacked + (48 if format == "text" else 0)).astype(np.uint8).data


def _to_standard_output(source: NoiseSource, count: int | None, format: str) -> None:
    from voltaspin.noise.recorder import blocks

    stream = sys.stdout.buffer
    done = 0
    try:
        for n, packed in blocks(source, count):
            stream.write(_written(packed, n, format))
            done += n
        stream.flush()
    except BrokenPipeError:
        # The reader has had enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except NoiseStoppedError as stopped:
        stream.flush()
        raise InputError(f"{_reason(stopped)}; the {done} good bits before that were written") from None


def _reason(stopped: NoiseStoppedError) -> str:
    return str(stopped).replace(" (nothing was handed out)", "")


@file_options
def randomness(
    file: Annotated[str | None, typer.Argument(help="File of bits; or give --source.")] = None,
    noise: Annotated[
        str | None, typer.Option("--source", "--noise", help="software, memory or system, instead of a file.")
    ] = None,
    bits: Annotated[
        int | None, number("--bits", most=2**52, help="Of one sequence; default: 1000000, or what a file holds.")
    ] = None,
    sequences: Annotated[int, number("--sequences", help="For the second level; 55 or more are useful.")] = 1,
    constants: Annotated[str, typer.Option("--constants", help="nist (as NIST's program) or corrected.")] = "nist",
    H: Annotated[float, typer.Option("--H", help="Min-entropy per bit at which the health tests are set.")] = 0.9,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="PNG of the P-values, the autocorrelation and the bits.")
    ] = None,
    raw: Raw = False,
    imperfect: Imperfect = False,
    condition: Chain = "",
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Test bits: SP 800-22, min-entropy, health, drift, repetition, and a verdict on every bit in words.

    A file is read to its end; --bits and --sequences say which part of it the battery of SP 800-22 sees.

    Example: [bold]voltaspin randomness bits.bin --bits 1000000[/bold], or of a source:
    [bold]voltaspin randomness --source memory --raw --figure raw.png[/bold]
    """
    if (file is None) == (noise is None):
        raise InputError("give either a file of bits or --source (software, memory or system)")
    if constants not in ("nist", "corrected"):
        raise InputError(f"--constants {constants!r} are unknown; use nist or corrected")
    if file is not None and not Path(file).is_file():
        raise InputError(f"{file} is not a file; give a file of bits, or --source")
    from voltaspin.noise.examination.randomness import examine

    source = make_source(
        str(file if noise is None else noise), seed=seed, raw=raw, imperfect=imperfect, condition=condition,
        recording=recording,
    )  # fmt: skip
    whole_file = bits is None
    if bits is None:
        at_most = source.bits_at_most
        bits = 10**6 if at_most is None else max(1, min(10**6, at_most // sequences))
    from voltaspin.noise.examination.whole import seconds

    claimed = contextlib.nullcontext() if figure is None else claimed_file(figure, force=force)
    with claimed:
        with progress_bars() as bars:
            show = bar_per_part(bars)

            def progress(part: str, done: int, total: int) -> None:
                if (part, done) == ("bits read", 0) and (takes := seconds(total, source.lanes)) >= 2:
                    bars.console.print(f"{total} bits are read: about {takes:.0f} s on one core")
                show(part, done, total)

            look = partial(
                examine, source, sequences=sequences, constants="corrected" if constants == "corrected" else "nist",
                H=H, progress=progress,
            )  # fmt: skip
            try:
                found = look(n_bits=bits)
            except NoiseExhaustedError:
                # of a conditioner whose rate varies it is known only now how many bits it made
                if not whole_file or not source.bits_left or source.bits_left < sequences:
                    raise
                found = look(n_bits=source.bits_left // sequences)
        if figure is not None:
            from voltaspin.plots.drawing import png

            write_bytes(figure, png(found.plot()))
    say_read(source)
    if as_json:
        print_json(found.model_copy(update={"input": input_of(source)}).to_json())
    else:
        print(found)
