"""``voltaspin bits`` and ``voltaspin randomness``: bits from any source, and what they are worth."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voltaspin.cli.files import (
    SPELLED,
    Given,
    Streaming,
    check_recording,
    file_options,
    input_of,
    is_live,
    refuse_streaming,
    say_read,
)
from voltaspin.cli.options import AsJson, DryRun, Force, Seed, word
from voltaspin.cli.options import count as number
from voltaspin.cli.terminal import (
    check_fail_on,
    end_on,
    print_json,
    progress_of,
    show,
)
from voltaspin.core.console import abandon_output, as_options
from voltaspin.core.context import progress_of_wait
from voltaspin.core.errors import InputError, NoiseExhaustedError, NoiseStoppedError
from voltaspin.core.files import is_stream, sha256_of, write_bytes
from voltaspin.core.folders import claimed_file

if TYPE_CHECKING:
    from voltaspin.core.forecast import Forecast
    from voltaspin.noise import NoiseSource

#: Format of a file of bits by its suffix.
SUFFIXES: dict[str, Literal["packed", "text"]] = {
    "": "packed",
    ".bin": "packed",
    ".dat": "packed",
    ".raw": "packed",
    ".txt": "text",
}

NOISE = typer.Option(
    "--noise",
    help="software (pseudo-random), memory (the simulated array, XOR of two cells), system (the operating system's), "
    "the path of a file recorded from a device, or a stream: - (standard input), a FIFO, a device, tcp://HOST:PORT, "
    "unix:///PATH, serial:///PATH?baud=115200 (docs/recordings.md), or instrument:PROFILE.toml (docs/instruments.md); "
    "with parameters, such as memory:k=4,mapping=rotated.",
)
Noise = Annotated[str, NOISE]
_LAB = "Instruments"
Raw = Annotated[bool, typer.Option("--raw", help="Raw memory bits, without XOR.")]
Imperfect = Annotated[
    bool, typer.Option("--imperfect", help="Switch on the memory's drift, 1/f and telegraph noise, coupling, misreads.")
]
Chain = Annotated[
    str,
    typer.Option(
        "--conditioning",
        help="Stages behind the raw bits, from left to right, joined by | or commas: feedback, health:H, xor:K, "
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
    streaming: Streaming | None = None,
    force: bool = False,
    lab: dict[str, Any] | None = None,
    numbers: int = 0,
) -> NoiseSource:
    """Return the source that ``--noise`` names, behind the conditioners that ``--conditioning`` names.

    ``recording`` and ``streaming`` are the options of a recorded file and of a stream, as
    :func:`voltaspin.cli.files.file_options` gives them. ``force`` lets a stream's recording be replaced.
    ``lab`` are further parameters of an instrument.
    ``numbers`` is how many normals one draw takes, an image's pixels times its channels.
    """
    from voltaspin.noise import FileError, build
    from voltaspin.noise.grammar import names_stream

    check_recording(noise, recording or {})
    given = {
        **(recording or {}),
        **(lab or {}),
        **({"k": 1} if raw else {}),
        **({"imperfect": True} if imperfect else {}),
    }
    live = names_stream(noise)
    if streaming is not None:
        if not live:
            refuse_streaming(streaming, noise)
        given |= streaming.options | ({"overwrite": True} if force and "record" in streaming.options else {})
    try:
        with progress_of() if progress_of_wait("") is None else contextlib.nullcontext():
            source = build(noise, conditioning=condition, seed=seed, normals=numbers, **given)
    except FileError as error:
        raise InputError(as_options(str(error), SPELLED)) from None
    if streaming is not None:
        streaming.opened.callback(source.close)
    return source


def stand_in(make: Callable[..., NoiseSource], noise: str, **given: Any) -> NoiseSource:
    """Return the source of a dry run; for one that has to be waited for, another that goes on in the same way stands.

    Args:
        make: :func:`make_source` with all but ``noise``, and but ``given``: the options of a file or of a stream.
    """
    from voltaspin.core.forecast import foreseen_wait
    from voltaspin.noise.grammar import names_stream

    if names_stream(noise):
        found = make("system")
        found.name = noise
        return found
    source, _, _ = foreseen_wait(lambda: make(noise, **given))
    return source or make("software")


@file_options
def bits(
    out: Annotated[str, typer.Option("--out", help="File for the bits, - for standard output.")],
    file: Annotated[
        str | None, typer.Argument(help="Recorded file or stream, - for standard input; or give --noise.")
    ] = None,
    count: Annotated[
        int | None,
        number(
            "--count",
            most=2**52,
            help="How many bits, such as 8M; default: all of a recorded file, and without end to standard output.",
        ),
    ] = None,
    noise: Annotated[str | None, NOISE] = None,
    instrument: Annotated[
        str | None,
        typer.Option(
            "--instrument", help="VISA address of an instrument that is asked for bits.", rich_help_panel=_LAB
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", help="The question, in place of that of the profile.", rich_help_panel=_LAB),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", help="TOML file of the instrument (docs/instruments.md).", rich_help_panel=_LAB),
    ] = None,
    raw: Raw = False,
    imperfect: Imperfect = False,
    condition: Chain = "",
    format: Annotated[
        Literal["packed", "bytes", "text"] | None,
        word(
            "--format",
            words=("packed", "bytes", "text"),
            help="packed (first bit highest), bytes (0 or 1 each) or text; default: by the file's suffix, packed for "
            ".bin, .dat, .raw and none, text for .txt.",
        ),
    ] = None,
    seed: Seed = 0,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
    streaming: Streaming,
) -> None:
    """Random bits, packed with the first bit highest and the last byte filled up with zeros, as bytes or as text.

    Example: [bold]voltaspin bits --count 8000000 --out bits.bin[/bold], or as a stream that does not end:
    [bold]voltaspin bits --conditioning von-neumann --out - | dieharder -a -g 200[/bold]

    Of a device on the network: [bold]nc lab 5000 | voltaspin bits - --count 8M --out lab.bin[/bold]

    Of an instrument: [bold]voltaspin bits --instrument TCPIP0::lab::5025::SOCKET --query "READ?" --threshold 5.4kohm
    --count 8M --out lab.bin[/bold]
    """
    of_lab = {"--instrument": instrument, "--query": query, "--profile": profile}
    given = [name for name, value in of_lab.items() if value is not None]
    sources = [f"{file}"] * (file is not None) + [f"--noise {noise}"] * (noise is not None) + given[:1]
    if len(sources) > 1:
        raise InputError(f"{sources[0]} and {sources[1]} are two sources; give one of them")
    lab: dict[str, Any] = {}
    if given:
        from voltaspin.lab import Profile

        if profile is None and instrument is None:
            raise InputError("--query is of an instrument; give its address with --instrument, or its --profile")
        lab = {"profile": str(profile) if profile is not None else Profile(address=str(instrument))}
        lab |= {name: x for name, x in (("address", instrument), ("query", query)) if x is not None}
        noise = "instrument"
    noise = _path(file) if file is not None else noise or "memory"
    record_file = streaming.options.get("record")
    if record_file is not None and Path(record_file).resolve() == Path(out).resolve():
        raise InputError(f"--record {record_file} is --out too; give the recording a name of its own")
    if format is None:
        format = "packed" if out == "-" or is_stream(out) else _format_by_suffix(out)
    from voltaspin.noise.grammar import names_stream
    from voltaspin.noise.recorded import BitsWritten, RecordedSource, record, write_bits, write_file

    if count is None and out != "-" and names_stream(noise):
        raise InputError(f"--out {out} needs --count: how much of the stream is to be taken")
    make = partial(
        make_source, noise, seed=seed, raw=raw, imperfect=imperfect, condition=condition, recording=recording,
        streaming=streaming, force=force, lab=lab,
    )  # fmt: skip
    if dry_run:
        show(_forecast(make, noise, count), as_json)
        return
    source = make()
    left = source.bits_at_most
    if count is None and out != "-":
        if left is None or left != source.bits_left:
            raise InputError(f"--out {out} needs --count: {source.name} does not say how many bits it has")
        count = left
    if count is not None and left is not None and left < count:
        raise InputError(f"--count {count}: {source.name} has {left} bits; ask for at most as many")
    if out == "-":
        if as_json:
            raise InputError("--json and --out - both want standard output; write the bits to a file")
        try:
            with progress_of() if is_live(source) else contextlib.nullcontext():
                write_bits(source, sys.stdout.buffer, count=count, format=format)
            sys.stdout.buffer.flush()
        except NoiseStoppedError as stopped:
            sys.stdout.flush()
            raise InputError(f"{_reason(stopped)}; the {stopped.finished} good bits before that were written") from None
        except BrokenPipeError:  # the reader has had enough
            abandon_output()
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
            **{name[2:]: str(value) for name, value in of_lab.items() if value is not None},
        },
    }  # fmt: skip
    target = Path(out)
    described = format == "packed" and not is_stream(target)
    # Nobody can write the bits of a stream again, so that the same command is no reason to replace them.
    same = {} if is_live(source) else about
    how = {**same, "sidecar": described_beside(target, force), "kind": "recording"} if described else {}
    with claimed_file(target, force=force, inputs=[noise], **how), progress_of("bits") as report:
        try:
            if described:
                record(source, target, bits=count, about=about, progress=report)
            else:
                write_file(source, target, count=count, format=format, progress=lambda done: report(done, count))
        except NoiseStoppedError as stopped:
            if not (kept := stopped.finished):
                raise
            good = kept.bits_left if isinstance(kept, RecordedSource) else kept
            raise InputError(f"{_reason(stopped)}; the {good} good bits before that are in {target}") from None
    say_read(source)
    if as_json:
        print_json(BitsWritten(
            file=str(target), bits=count, input=input_of(source), noise=source.provenance.to_json(),
            ledger=source.ledger.totals(),
        ).to_json())  # fmt: skip


def _format_by_suffix(out: str) -> Literal["packed", "text"]:
    suffix = Path(out).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"--out {out}: no format of bits has the suffix {suffix}; use .bin, .dat or .raw (packed), .txt (text), or "
            "say it: --format packed, bytes or text"
        )
    return SUFFIXES[suffix]


def described_beside(target: Path, force: bool) -> Path:
    """Return where the description of a file of packed bits stands; raises InputError where it is of other bits."""
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


def _reason(stopped: NoiseStoppedError) -> str:
    return str(stopped).replace(" (nothing was handed out)", "")


def _forecast(make: Callable[[], NoiseSource], noise: str, count: int | None) -> Forecast:
    """Time and memory of so many bits of a source, from a few of them; pulses that were never solved count too."""
    from voltaspin.core.forecast import Forecast, foreseen_wait, memory_now
    from voltaspin.noise.grammar import names_stream

    if names_stream(noise):
        raise InputError(f"--dry-run: the bits of {noise} take as long as they take to come")
    source, wait, seconds = foreseen_wait(make)
    bits = count if count is not None else None if source is None else source.bits_at_most
    if bits is None and source is not None:
        raise InputError(f"--dry-run needs --count: {source.name} does not say how many bits it has")
    if source is not None and bits is not None:
        few = min(bits, 1 << 22)
        source.take(min(bits, 1 << 16))  # compiles
        began = time.perf_counter()
        with contextlib.suppress(NoiseExhaustedError):
            source.take(few)
        seconds = bits * (time.perf_counter() - began) / few
    said = "bits" if bits is None else f"{bits} bits"
    note = f"{wait}, which is kept for later runs; in one thread" if wait else ""
    return Forecast(work=f"{said} of {noise}", seconds=seconds, memory=memory_now(), note=note)


def chosen_source(file: str | None, noise: str | None) -> str:
    """The recorded file or stream, or the source of ``--noise``; raises InputError unless one of them was given."""
    if (file is None) == (noise is None):
        raise InputError("give either a file of bits or --noise (software, memory or system)")
    return _path(file) if file is not None else str(noise)


def _path(text: str) -> str:
    """A recorded file or a stream that was given without --noise; raises InputError where it is neither."""
    from voltaspin.noise.endpoint import is_address

    if not (Path(text).is_file() or is_address(text)):
        raise InputError(f"{text} is not a file; give a file of bits, a stream (- for standard input), or --noise")
    plain = text == "-" or "://" in text or Path(text).is_absolute()
    return text if plain else f"./{text}"  # which is no word, whatever its name


@file_options
def randomness(
    file: Annotated[
        str | None, typer.Argument(help="File of bits or stream, - for standard input; or give --noise.")
    ] = None,
    noise: Annotated[str | None, typer.Option("--noise", help="software, memory or system, instead of a file.")] = None,
    bits: Annotated[
        int | None,
        number(
            "--bits",
            most=2**52,
            help="Of one sequence; default: 1000000, or what a file holds. More than 10M of a stream or file: the "
            "sequence is their first million, and all are read.",
        ),
    ] = None,
    sequences: Annotated[int, number("--sequences", help="For the second level; 55 or more are useful.")] = 1,
    constants: Annotated[
        Literal["nist", "corrected"],
        word("--constants", words=("nist", "corrected"), help="nist (as NIST's program) or corrected."),
    ] = "nist",
    H: Annotated[float, typer.Option("--H", help="Min-entropy per bit at which the health tests are set.")] = 0.9,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="PNG of the P-values, the autocorrelation and the bits.")
    ] = None,
    raw: Raw = False,
    imperfect: Imperfect = False,
    condition: Chain = "",
    seed: Seed = 0,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", help="faults: end with status 3 where the bits are not ideal.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
    streaming: Streaming,
) -> None:
    """Test bits: SP 800-22, min-entropy, health, drift, repetition, and a verdict on every bit in words.

    A file is read to its end; --bits and --sequences say which part of it the battery of SP 800-22 sees. Of a stream
    they say how much is taken.

    Example: [bold]voltaspin randomness bits.bin --bits 1000000[/bold], or of a source:
    [bold]voltaspin randomness --noise memory --raw --figure raw.png[/bold]

    Of a stream: [bold]cat /dev/urandom | voltaspin randomness - --bits 100M[/bold]
    """
    check_fail_on(fail_on, {"faults": "the bits are not ideal"})
    noise = chosen_source(file, noise)
    from voltaspin.noise.examination.randomness import examine
    from voltaspin.noise.examination.sp800_22 import LONGEST

    source = make_source(
        noise, seed=seed, raw=raw, imperfect=imperfect, condition=condition, recording=recording, streaming=streaming,
        force=force,
    )  # fmt: skip
    whole_file, at_most, total = bits is None, source.bits_at_most, None
    if bits is not None and bits > LONGEST and sequences == 1 and (is_live(source) or (at_most or 0) >= bits):
        total, bits = bits, 10**6
    if bits is None:
        bits = 10**6 if at_most is None else max(1, min(10**6, at_most // sequences))
    from voltaspin.noise.examination.whole import seconds

    claimed = (
        contextlib.nullcontext() if figure is None else claimed_file(figure, force=force, suffix=".png", inputs=[noise])
    )
    with claimed:
        with progress_of() as report:

            def progress(part: str, done: int, total: int) -> None:
                if (part, done) == ("bits read", 0) and (takes := seconds(total, source.n_cells)) >= 2:
                    report.say(f"{total} bits are read: about {takes:.0f} s on one core")
                report(part, done, total)

            look = partial(
                examine, source, sequences=sequences, total=total, constants=constants, H=H, progress=progress,
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
    show(found.model_copy(update={"input": input_of(source)}), as_json)
    end_on(fail_on, {"faults": not found.ideal})
