"""``voltaspin bits`` and ``voltaspin randomness``: bits from any source, and what they are worth."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voltaspin.cli_files import Given, check_recording, file_options, input_of, opened, say_read
from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.terminal import at_least, bar_per_part, print_json, progress_bars, writable, write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voltaspin.noise import NoiseSource

_BLOCK = 8 * 2**20  # bits drawn at once
_BITS_PER_NORMAL = 16
FORMATS = ("packed", "bytes", "text")

Seed = Annotated[int, typer.Option("--seed", help="Decides every simulated random number.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
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

    ``recording`` are the options of a recorded file, as :func:`voltaspin.cli_files.file_options` gives them.
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
        int | None, typer.Option("--count", help="How many bits; without it, endless, to standard output.")
    ] = None,
    noise: Noise = "memory",
    raw: Raw = False,
    imperfect: Imperfect = False,
    condition: Chain = "",
    format: Annotated[
        str, typer.Option("--format", help="packed (first bit highest), bytes (0 or 1 each) or text.")
    ] = "packed",
    seed: Seed = 0,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Random bits, packed with the first bit highest and the last byte filled up with zeros, as bytes or as text.

    Example: [bold]voltaspin bits --count 8000000 --out bits.bin[/bold], or as a stream that does not end:
    [bold]voltaspin bits --condition von-neumann --out - | dieharder -a -g 200[/bold]
    """
    at_least(0, seed=seed)
    if format not in FORMATS:
        raise InputError(f"--format {format!r} is unknown; use one of {', '.join(FORMATS)}")
    if count is None and out != "-":
        raise InputError(f"--out {out} needs --count: a file cannot be endless")
    if count is not None:
        at_least(1, count=count)
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
    target = Path(out)
    if not out or target.is_dir():
        raise InputError(f"--out {out!r} is a folder or empty; give the name of a file, or - for standard output")
    writable(target.parent)
    with progress_bars() as bars:
        bar = bars.add_task("bits", total=count)
        if format == "packed":
            from voltaspin.noise import record

            record(source, target, bits=count, progress=lambda done, total: bars.update(bar, completed=done))
        else:
            part = target.with_name(f".{target.name}.{os.getpid()}.part")
            try:
                with part.open("wb") as file:
                    done = 0
                    for n, packed in _blocks(source, count):
                        file.write(_written(packed, n, format))
                        done += n
                        bars.update(bar, completed=done)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
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


def _blocks(source: NoiseSource, count: int | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The bits in blocks: (how many, packed); where no count is given, of a finite source all that it has."""
    left = count
    while left is None or left > 0:
        n = _BLOCK if left is None else min(_BLOCK, left)
        try:
            yield n, source.bits(n)
        except NoiseExhaustedError:
            if count is not None:
                raise
            if rest := source.bits_left:
                yield rest, source.bits(rest)
            return
        left = None if left is None else left - n


def _written(packed: NDArray[np.uint8], n: int, format: str) -> bytes | memoryview:
    import numpy as np

    if format == "packed":
        return packed.data
    unpacked = np.unpackbits(packed, count=n)
    return (unpacked + (48 if format == "text" else 0)).astype(np.uint8).data


def _to_standard_output(source: NoiseSource, count: int | None, format: str) -> None:
    stream = sys.stdout.buffer
    try:
        for n, packed in _blocks(source, count):
            stream.write(_written(packed, n, format))
        stream.flush()
    except BrokenPipeError:
        # The reader has had enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@file_options
def randomness(
    file: Annotated[str | None, typer.Argument(help="File of bits; or give --source.")] = None,
    noise: Annotated[
        str | None, typer.Option("--source", "--noise", help="software, memory or system, instead of a file.")
    ] = None,
    bits: Annotated[
        int | None, typer.Option("--bits", help="Of one sequence; default: 1000000, or what a file holds.")
    ] = None,
    sequences: Annotated[int, typer.Option("--sequences", help="For the second level; 55 or more are useful.")] = 1,
    constants: Annotated[str, typer.Option("--constants", help="nist (as NIST's program) or corrected.")] = "nist",
    H: Annotated[float, typer.Option("--H", help="Min-entropy per bit at which the health tests are set.")] = 0.9,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="PNG of the P-values, the autocorrelation and the bits.")
    ] = None,
    raw: Raw = False,
    imperfect: Imperfect = False,
    condition: Chain = "",
    seed: Seed = 0,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Test bits: SP 800-22, min-entropy, health, drift, repetition, and a verdict on every bit in words.

    A file is read to its end; --bits and --sequences say which part of it the battery of SP 800-22 sees.

    Example: [bold]voltaspin randomness bits.bin --bits 1000000[/bold], or of a source:
    [bold]voltaspin randomness --source memory --raw --figure raw.png[/bold]
    """
    at_least(0, seed=seed)
    at_least(1, sequences=sequences)
    if bits is not None:
        at_least(1, bits=bits)
    if (file is None) == (noise is None):
        raise InputError("give either a file of bits or --source (software, memory or system)")
    if constants not in ("nist", "corrected"):
        raise InputError(f"--constants {constants!r} are unknown; use nist or corrected")
    if file is not None and not Path(file).is_file():
        raise InputError(f"{file} is not a file; give a file of bits, or --source")
    if figure is not None:
        writable(figure.parent)
    from voltaspin.noise.randomness import examine

    source = make_source(
        str(file if noise is None else noise), seed=seed, raw=raw, imperfect=imperfect, condition=condition,
        recording=recording,
    )  # fmt: skip
    whole_file = bits is None
    if bits is None:
        at_most = source.bits_at_most
        bits = 10**6 if at_most is None else max(1, min(10**6, at_most // sequences))
    from voltaspin.noise.whole import seconds

    with progress_bars() as bars:
        show = bar_per_part(bars)

        def progress(part: str, done: int, total: int) -> None:
            if (part, done) == ("bits read", 0) and (takes := seconds(total, source.lanes)) >= 2:
                bars.console.print(f"{total} bits are read: about {takes:.0f} s on one core")
            show(part, done, total)

        look = partial(
            examine, source, sequences=sequences, constants="corrected" if constants == "corrected" else "nist", H=H,
            progress=progress,
        )  # fmt: skip
        try:
            found = look(n_bits=bits)
        except NoiseExhaustedError:
            # of a conditioner whose rate varies it is known only now how many bits it made
            if not whole_file or not source.bits_left or source.bits_left < sequences:
                raise
            found = look(n_bits=source.bits_left // sequences)
    if figure is not None:
        from voltaspin.report.noise_figures import randomness_png

        write_whole(figure, randomness_png(found))
    say_read(source)
    if as_json:
        print_json({**found.to_json(), "input": input_of(source)})
    else:
        print(found)
