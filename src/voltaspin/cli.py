"""The command line: parse, call, print. Heavy packages are imported by the command that needs them."""

from __future__ import annotations

import contextlib
import errno
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from voltaspin.cli_bitflip import sample_bits, train_bits
from voltaspin.cli_cost import cost
from voltaspin.cli_device import app as device_app
from voltaspin.cli_fidelity import fidelity
from voltaspin.cli_files import Given, check_recording, file_options, input_of, refuse_recording, say_read
from voltaspin.cli_fit import fit
from voltaspin.cli_memory import app as memory_app
from voltaspin.cli_memory import array_spec
from voltaspin.cli_noise import Chain, Noise, bits, make_source, randomness
from voltaspin.cli_study import spec as spec_command
from voltaspin.cli_study import study
from voltaspin.core.console import abandon_output, one_line, take_anything
from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.core.ledger import Ledger
from voltaspin.terminal import at_least, bar_per_part, leave_nothing, print_json, progress_bars, writable

if TYPE_CHECKING:
    from voltaspin.noise import NoiseSource

INTERRUPTED = 130  #: exit status after Ctrl-C, as shells have it
NO_READER = 141  #: and where the reader of standard output went away before all was printed

app = typer.Typer(
    name="voltaspin",
    help="Diffusion models on voltage-controlled magnetic memory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
device_app.command()(fit)
app.add_typer(device_app, name="device")
app.add_typer(memory_app, name="memory")

Out = Annotated[Path, typer.Option("--out", help="Folder for the results; made if it does not exist.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides every simulated random number.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


@app.command()
def demo(
    out: Out = Path("demo-report"),
    images: Annotated[int, typer.Option("--images", help="Images per arm.")] = 256,
    steps: Annotated[int, typer.Option("--steps", help="Ancestral steps per image.")] = 50,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """The whole job on real data: device, memory, noise, images, quality, cost, one page.

    Example: [bold]voltaspin demo --out demo-report --images 256 --steps 50[/bold]
    """
    at_least(0, seed=seed)
    at_least(4, images=images)
    at_least(2, steps=steps)
    writable(out)
    from voltaspin.demo import run_demo
    from voltaspin.report.page import summary_table

    with progress_bars() as bars:
        results = run_demo(out=out, images=images, steps=steps, seed=seed, progress=bar_per_part(bars))
    if as_json:
        print_json(results.to_json())
        return
    from rich.console import Console

    Console().print(summary_table(results))
    print(f"page: {(out / 'index.html').resolve()}")


app.command()(bits)
app.command()(randomness)
app.command()(study)
app.command("spec")(spec_command)
app.command()(cost)


@app.command()
@file_options
def train(
    out: Out,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="fashion-mnist, mnist, cifar10, a folder of images, a Parquet file or a folder of them, or a data set "
            "of the hub (owner/name).",
        ),
    ] = "fashion-mnist",
    noise: Noise = "software",
    diffusion: Annotated[
        str, typer.Option("--diffusion", help="gaussian, or bitflip: bits that flip in the array that stores them.")
    ] = "gaussian",
    planes: Annotated[int, typer.Option("--planes", help="Bits of a grey level, of --diffusion bitflip.")] = 4,
    cells: Annotated[str, typer.Option("--cells", help="Junction of its array: a preset, or ideal.")] = "generator",
    steps: Annotated[int, typer.Option("--steps", help="Optimizer steps in all.")] = 12000,
    batch: Annotated[int, typer.Option("--batch", help="Images per step.")] = 64,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in --out.")] = False,
    checkpoint_every: Annotated[int, typer.Option("--checkpoint-every", help="Steps.")] = 500,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Train a diffusion model with the noise of a source; leaves a diffusers pipeline folder, or a bit-flip model.

    Example: [bold]voltaspin train --data fashion-mnist --noise memory --steps 12000 --out model[/bold]
    """
    at_least(0, seed=seed)
    at_least(1, steps=steps, batch=batch, checkpoint_every=checkpoint_every)
    if diffusion not in ("gaussian", "bitflip"):
        raise InputError(f"--diffusion {diffusion!r} is unknown; use gaussian or bitflip")
    if diffusion == "bitflip":
        refuse_recording(recording, "--diffusion bitflip draws in its own array")
    check_recording(noise, recording)
    writable(out)
    from voltaspin.diffusion import TrainSpec, load_images
    from voltaspin.diffusion import train as run_training

    with progress_bars() as bars:
        show_part = bar_per_part(bars)
        images = load_images(data, split="train", progress=lambda done, total: show_part("decode", done, total))
    fields: dict[str, Any] = {"data": data, "seed": seed, "steps": steps, "batch": batch}
    fields["checkpoint_every"] = checkpoint_every
    source: NoiseSource | None = None
    with progress_bars() as bars:
        bar = bars.add_task("train", total=steps)

        def show(step: int, total: int, loss: float) -> None:
            bars.update(bar, completed=step, description=f"train, loss {loss:.4f}")

        if diffusion == "bitflip":
            result = train_bits(images, out, noise=noise, planes=planes, cells=cells, resume=resume,
                                progress=show, **fields)  # fmt: skip
        else:
            source = make_source(noise, seed=seed, recording=recording, numbers=images.images[0].size)
            spec = TrainSpec(noise=noise, **fields)
            result = run_training(images, source, out, spec=spec, resume=resume, progress=show)
    if not result.finished:
        print(f"stopped after step {result.step}; continue with --resume", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    if source is not None:
        say_read(source)
    if as_json:
        read = {} if source is None else {"input": input_of(source)}
        print_json({"model": str(out), "steps": result.step, "loss": result.loss, "seconds": result.seconds} | read)
    else:
        loss = "nothing left to do" if result.loss is None else f"mean loss of the last 50 {result.loss:.4f}"
        print(f"{out}: {result.step} steps, {loss}, {result.seconds:.0f} s")


@app.command()
@file_options
def sample(
    out: Out,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Folder, or name on the hub (owner/name), of an unconditional diffusers pipeline; default: the "
            "shipped Fashion-MNIST model. A folder of `train --diffusion bitflip` is sampled in its array.",
        ),
    ] = "",
    noise: Noise = "memory",
    count: Annotated[int, typer.Option("--count", help="Images.")] = 64,
    steps: Annotated[int, typer.Option("--steps", help="Network evaluations per image.")] = 50,
    sampler: Annotated[
        str,
        typer.Option(
            "--sampler",
            help="ddpm (ancestral, the default) or ddim; neither for a pipeline that is sampled in its own loop, with "
            "every draw served.",
        ),
    ] = "",
    eta: Annotated[float, typer.Option("--eta", help="Noise of ddim, 0 to 1.")] = 0.0,
    batch: Annotated[int, typer.Option("--batch", help="Images at a time.")] = 64,
    condition: Chain = "",
    compute: Annotated[
        str, typer.Option("--compute", help="Where the network computes: digital, or memory (its crossbars).")
    ] = "digital",
    spec: Annotated[
        str,
        typer.Option(
            "--spec", help="Of --compute memory: digital, analog, analog-fine, resistance-sum or a JSON file."
        ),
    ] = "",
    seed: Seed = 0,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Generate images: one PNG each, a grid, and run.json that says how.

    Example: [bold]voltaspin sample --noise memory --count 64 --steps 50 --out images[/bold]

    A published model: [bold]voltaspin sample --model google/ddpm-cifar10-32 --steps 100 --out images[/bold]
    """
    at_least(0, seed=seed)
    at_least(1, count=count, steps=steps, batch=batch)
    check_recording(noise, recording)
    writable(out)
    from voltaspin.diffusion.bitflip import is_bit_model
    from voltaspin.diffusion.published import Unmodified, open_model, sample_unmodified
    from voltaspin.diffusion.sampling import Samples, shipped_model
    from voltaspin.diffusion.sampling import sample as run_sampling
    from voltaspin.report.images import write_images

    if sampler not in ("", "ddpm", "ddim"):
        raise InputError(f"sampler {sampler!r} is unknown; use ddpm or ddim")
    if compute not in ("digital", "memory") or (spec and compute != "memory"):
        raise InputError(
            f"--compute {compute} --spec {spec!r}: give --compute memory for arrays, --compute digital without"
        )
    if model and is_bit_model(model):
        others = {"noise": noise != "memory" and noise, "sampler": sampler, "eta": eta, "condition": condition,
                  "compute": compute != "digital" and compute}  # fmt: skip
        refuse_recording(recording, f"{model} is a bit-flip model, whose array draws by itself")
        sample_bits(Path(model), out, count=count, steps=steps, batch=batch, seed=seed, others=others, as_json=as_json)
        return
    chosen = array_spec(spec or "analog") if compute == "memory" else None
    pipeline = open_model(model or shipped_model())
    if isinstance(pipeline, Unmodified) and (sampler or chosen is not None):
        given = f"--sampler {sampler}" if sampler else "--compute memory"
        raise InputError(
            f"{model} is a {pipeline.sampler}, which runs in its own loop; {given} is for pipelines of our samplers: "
            "leave it out"
        )
    source = make_source(
        noise, seed=seed, condition=condition, recording=recording, numbers=math.prod(pipeline.image_shape)
    )
    spent: Ledger | None = None
    if chosen is not None and not isinstance(pipeline, Unmodified):
        from voltaspin.memory import convert
        from voltaspin.memory.conversion import machine_of

        converted, coverage = convert(pipeline.unet, chosen)
        pipeline = replace(pipeline, unet=converted)
        spent = machine_of(converted).ledger
    stopped: NoiseStoppedError | None = None
    with progress_bars() as bars:
        bar = bars.add_task("sample", total=count * steps)
        work: dict[str, Any] = {
            "count": count,
            "steps": steps,
            "batch": batch,
            "eta": eta,
            "progress": lambda done, total: bars.update(bar, completed=done),
        }
        try:
            if isinstance(pipeline, Unmodified):
                samples = sample_unmodified(pipeline, source, **work)
            else:
                samples = run_sampling(pipeline, source, sampler="ddim" if sampler == "ddim" else "ddpm", **work)
        except NoiseStoppedError as error:
            if not isinstance(error.finished, Samples):
                raise
            stopped, samples = error, error.finished
    priced: dict[str, Any] | None = None
    if chosen is not None:
        from voltaspin.report.compute_cost import compute_cost

        priced = compute_cost(converted, coverage, images=len(samples.images)).to_json()
    record = write_images(
        out,
        samples,
        command=["voltaspin", *sys.argv[1:]],
        settings={
            "noise": noise,
            "seed": seed,
            "sampler": pipeline.sampler if isinstance(pipeline, Unmodified) else sampler or "ddpm",
            "eta": eta,
            "batch": batch,
            "condition": condition,
            "recording": recording,
            "input": input_of(source),
            "compute": compute if chosen is None else chosen.to_json(),
        },
        model={"folder": model or pipeline.folder.name, "sha256": pipeline.sha256},
        ledger=source.ledger if spent is None else _both(source.ledger, spent),
        compute_cost=priced,
    )
    if stopped is not None:
        raise InputError(f"{stopped}; they are in {out}")
    say_read(source)
    if as_json:
        print_json(record)
    else:
        print(f"{out}: {count} images, grid.png, run.json ({samples.seconds:.1f} s)")


def _both(noise: Ledger, compute: Ledger) -> Ledger:
    """The ledgers of a run's noise and of its arithmetic, side by side."""
    run = Ledger("run")
    run.child(noise.name).merge(noise)
    run.child(compute.name).merge(compute)
    return run


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of PNG images of one size.")],
    reference: Annotated[
        str, typer.Option("--reference", help="Reference statistics of the shipped extractor.")
    ] = "fashion-mnist",
    extractor: Annotated[
        str,
        typer.Option(
            "--extractor",
            help="shipped (grey 28x28 garments: FD), inception (FID) or dinov2 (FD), the last two for images of any "
            "size and colour, by torch-fidelity (extra fid). dinov2 fetches code of facebookresearch and runs it.",
        ),
    ] = "shipped",
    reference_images: Annotated[
        str,
        typer.Option(
            "--reference-images",
            help="Real images for inception and dinov2: a folder, a Parquet file, cifar10, another data set's name.",
        ),
    ] = "",
    reference_split: Annotated[
        str,
        typer.Option(
            "--reference-split",
            help="Of --reference-images: test (held out) or train, as in published FIDs of CIFAR-10.",
        ),
    ] = "test",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Score a folder of images against real ones: KID and FD or FID, with intervals.

    Example: [bold]voltaspin evaluate images --reference fashion-mnist[/bold]

    In colour: [bold]voltaspin evaluate images --extractor inception --reference-images cifar10[/bold]
    """
    at_least(0, seed=seed)
    if extractor == "shipped":
        if reference_images:
            raise InputError(
                "--reference-images is for --extractor inception or dinov2; the shipped extractor has --reference"
            )
        from voltaspin.metrics import evaluate_folder

        scores: Any = evaluate_folder(folder, reference=reference, seed=seed)
    else:
        scores = fidelity(folder, extractor, reference_images, reference_split)
    if as_json:
        print_json(scores.to_json())
    else:
        print(scores)


@contextlib.contextmanager
def _errors_in_one_line(arguments: list[str] | None) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        leave_nothing()
        print("voltaspin: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _no_reader()
    except SystemExit:
        if hasattr(sys.stdout, "wrapped"):  # what typer puts there when it meets a broken pipe
            _no_reader()
        raise
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        remedy = (
            "free some space or choose another folder"
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
            else ("check the path and its permissions")
        )
        _fail(f"{error.strerror or error}{where}; {remedy}")
    except MemoryError as error:
        _fail(f"not enough memory ({error}); ask for less at once")
    except Exception as error:
        # typer's usage errors, whose base class moved between its versions, know how to say what was wrong.
        if not hasattr(error, "format_message"):
            raise
        if not error.format_message():  # no command at all: the help is printed already
            sys.exit(2)
        given = " ".join(sys.argv[1:] if arguments is None else arguments)
        _fail(f"{error.format_message()} in: {given}; see --help")


def _no_reader() -> NoReturn:
    """End like a program that a broken pipe kills: silently, since nobody reads on."""
    leave_nothing()
    abandon_output()
    sys.exit(NO_READER)


def _fail(message: str) -> None:
    leave_nothing()
    print(f"voltaspin: {one_line(message)}", file=sys.stderr)
    sys.exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``voltaspin`` command: bad input is one line on standard error and status 2."""
    take_anything()
    with _errors_in_one_line(arguments):
        status = typer.main.get_command(app).main(args=arguments, prog_name="voltaspin", standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk or a reader that went away is an error with a name
        if status == INTERRUPTED:
            leave_nothing()
            print("voltaspin: interrupted", file=sys.stderr)
        sys.exit(status or 0)
