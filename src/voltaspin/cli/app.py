"""The command line: parse, call, print. Heavy packages are imported by the command that needs them."""

from __future__ import annotations

import contextlib
import errno
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from voltaspin.cli.bitflip import train_bits
from voltaspin.cli.cost import cost
from voltaspin.cli.device import app as device_app
from voltaspin.cli.fidelity import fidelity
from voltaspin.cli.files import Given, check_recording, file_options, input_of, refuse_recording, say_read
from voltaspin.cli.fit import fit
from voltaspin.cli.memory import app as memory_app
from voltaspin.cli.memory import array_spec
from voltaspin.cli.noise import Chain, Noise, bits, make_source, randomness
from voltaspin.cli.sample import Part, run_bit_sampling, run_sampling
from voltaspin.cli.study import spec as spec_command
from voltaspin.cli.study import study
from voltaspin.cli.terminal import Force, at_least, bar_per_part, print_json, progress_bars, quantity
from voltaspin.cli.terminal import count as whole
from voltaspin.core.console import abandon_output, check_argument, one_line, take_anything
from voltaspin.core.errors import InputError
from voltaspin.core.folders import check_writable
from voltaspin.core.stopping import Stopped, stoppable
from voltaspin.core.units import RATIO

if TYPE_CHECKING:
    from voltaspin.noise import NoiseSource

INTERRUPTED = 130  #: exit status after Ctrl-C, as shells have it
NO_READER = 141  #: and where the reader of standard output went away before all was printed

_MOST_AT_ONCE = 4096  # images; the shipped network takes 6 MB for each in training, 2 MB in sampling (measured)

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
Background = Annotated[
    str | None,
    typer.Option(
        "--background", help="Colour behind transparent pixels, a name or #rrggbb; transparency is refused without it."
    ),
]


@app.command()
def demo(
    out: Out = Path("demo-report"),
    images: Annotated[str, typer.Option("--images", help="Images per arm, such as 256 or 2k.")] = "256",
    steps: Annotated[int, typer.Option("--steps", help="Ancestral steps per image.")] = 50,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """The whole job on real data: device, memory, noise, images, quality, cost, one page.

    Example: [bold]voltaspin demo --out demo-report --images 256 --steps 50[/bold]
    """
    at_least(0, seed=seed)
    number = whole("images", images, least=4, most=1_000_000, why="which take weeks")
    at_least(2, steps=steps)
    from voltaspin.demo import run_demo
    from voltaspin.report.page import summary_table

    with progress_bars() as bars:
        results = run_demo(out=out, images=number, steps=steps, seed=seed, force=force, progress=bar_per_part(bars))
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
    background: Background = None,
    noise: Noise = "software",
    diffusion: Annotated[
        str, typer.Option("--diffusion", help="gaussian, or bitflip: bits that flip in the array that stores them.")
    ] = "gaussian",
    planes: Annotated[
        int | None, typer.Option("--planes", help="Bits of a grey level, of --diffusion bitflip; default: 4.")
    ] = None,
    cells: Annotated[
        str | None,
        typer.Option(
            "--cells", help="Junction of the array of --diffusion bitflip: a preset, or ideal; default: generator."
        ),
    ] = None,
    steps: Annotated[str, typer.Option("--steps", help="Optimizer steps in all, such as 12k.")] = "12000",
    batch: Annotated[str, typer.Option("--batch", help="Images per step.")] = "64",
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in --out.")] = False,
    checkpoint_every: Annotated[int, typer.Option("--checkpoint-every", help="Steps.")] = 500,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Train a diffusion model with the noise of a source; leaves a diffusers pipeline folder, or a bit-flip model.

    Example: [bold]voltaspin train --data fashion-mnist --noise memory --steps 12000 --out model[/bold]
    """
    at_least(0, seed=seed)
    at_least(1, checkpoint_every=checkpoint_every)
    total_steps = whole("steps", steps, most=1_000_000_000, why="which take years")
    batch_size = whole("batch", batch, most=_MOST_AT_ONCE, why="which the network cannot hold in memory at once")
    if diffusion not in ("gaussian", "bitflip"):
        raise InputError(f"--diffusion {diffusion!r} is unknown; use gaussian or bitflip")
    if diffusion == "bitflip":
        refuse_recording(recording, "--diffusion bitflip draws in its own array")
    check_recording(noise, recording)
    if diffusion == "gaussian" and (planes is not None or cells is not None):
        option = "--planes" if planes is not None else "--cells"
        raise InputError(f"{option} is of --diffusion bitflip and has no effect on gaussian noise; leave it out")
    check_writable(out)
    from voltaspin.diffusion import TrainSpec, load_images
    from voltaspin.diffusion import train as run_training

    with progress_bars() as bars:
        show_part = bar_per_part(bars)
        images = load_images(
            data,
            split="train",
            background=background,
            progress=lambda done, total: show_part("decode", done, total),
        )
    fields: dict[str, Any] = {"data": data, "seed": seed, "steps": total_steps, "batch": batch_size}
    fields["checkpoint_every"] = checkpoint_every
    source: NoiseSource | None = None
    with progress_bars() as bars:
        bar = bars.add_task("train", total=total_steps)

        def show(step: int, total: int, loss: float) -> None:
            bars.update(bar, completed=step, description=f"train, loss {loss:.4f}")

        if diffusion == "bitflip":
            result = train_bits(
                images, out, noise=noise, planes=4 if planes is None else planes, cells=cells or "generator",
                resume=resume, force=force, progress=show, **fields,
            )  # fmt: skip
        else:
            source = make_source(noise, seed=seed, recording=recording, numbers=images.images[0].size)
            spec = TrainSpec(noise=noise, **fields)
            result = run_training(images, source, out, spec=spec, resume=resume, force=force, progress=show)
    if not result.finished:
        stopped = Stopped(result.signum or signal.SIGINT)
        stopped.kept = f"step {result.step} of {steps} is saved in {out}; continue with --resume"
        raise stopped
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
    images: Annotated[str, typer.Option("--count", help="Images, such as 64 or 10k.")] = "64",
    steps: Annotated[int, typer.Option("--steps", help="Network evaluations per image.")] = 50,
    sampler: Annotated[
        str,
        typer.Option(
            "--sampler",
            help="ddpm (ancestral, the default) or ddim; neither for a pipeline that is sampled in its own loop, with "
            "every draw served.",
        ),
    ] = "",
    eta: Annotated[
        str | None, typer.Option("--eta", help="Noise of --sampler ddim, 0 to 1 or in %; default: 0.")
    ] = None,
    at_once: Annotated[str, typer.Option("--batch", help="Images at a time.")] = "64",
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
    first: Annotated[int, typer.Option("--first", help="Number of the first image: a part of a larger run.")] = 0,
    shard: Annotated[
        str, typer.Option("--shard", help="Make only part i/N of the images; all parts go into one --out.")
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Make what is missing of a run that was stopped.")] = False,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Generate images: one PNG each as soon as it is finished, at the end a grid, and run.json that says how.

    Example: [bold]voltaspin sample --noise memory --count 64 --steps 50 --out images[/bold]

    A published model: [bold]voltaspin sample --model google/ddpm-cifar10-32 --steps 100 --out images[/bold]
    """
    at_least(0, seed=seed)
    check_recording(noise, recording)
    at_least(0, first=first)
    at_least(1, steps=steps)
    count = whole("count", images, most=100_000_000, why="which take years")
    batch = whole("batch", at_once, most=_MOST_AT_ONCE, why="which the network cannot hold in memory at once")
    part = Part.of(first=first, count=count, batch=batch, shard=shard, resume=resume, force=force)
    from voltaspin.diffusion.bitflip import is_bit_model
    from voltaspin.diffusion.pipelines import shipped_model
    from voltaspin.diffusion.published import Unmodified, open_model

    if sampler not in ("", "ddpm", "ddim"):
        raise InputError(f"sampler {sampler!r} is unknown; use ddpm or ddim")
    if eta is not None and sampler != "ddim":
        raise InputError(f"--eta {eta} is of --sampler ddim and has no effect on any other; leave it out")
    eta_value = 0.0 if eta is None else quantity("eta", eta, RATIO.within(0, 1), bare="")
    if compute not in ("digital", "memory") or (spec and compute != "memory"):
        raise InputError(
            f"--compute {compute} --spec {spec!r}: give --compute memory for arrays, --compute digital without"
        )
    if model and is_bit_model(model):
        others = {"noise": noise != "memory" and noise, "sampler": sampler, "eta": eta_value, "condition": condition,
                  "compute": compute != "digital" and compute}  # fmt: skip
        refuse_recording(recording, f"{model} is a bit-flip model, whose array draws by itself")
        run_bit_sampling(Path(model), out, part, steps=steps, seed=seed, others=others, as_json=as_json)
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
    run_sampling(
        out,
        part,
        pipeline=pipeline,
        source=source,
        settings={
            "noise": noise,
            "seed": seed,
            "sampler": pipeline.sampler if isinstance(pipeline, Unmodified) else sampler or "ddpm",
            "eta": eta_value,
            "batch": batch,
            "condition": condition,
            "recording": recording,
            "input": input_of(source),
            "compute": compute if chosen is None else chosen.to_json(),
        },
        model={"folder": model or pipeline.folder.name, "sha256": pipeline.sha256},
        steps=steps,
        sampler=sampler,
        eta=eta_value,
        spec=chosen,
        as_json=as_json,
    )
    say_read(source)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of images of one size, or one that `sample` wrote.")],
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
    background: Background = None,
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

        scores: Any = evaluate_folder(folder, reference=reference, background=background, seed=seed)
    else:
        scores = fidelity(folder, extractor, reference_images, reference_split, background)
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
    except Stopped as stopped:
        print(f"voltaspin: {stopped}", file=sys.stderr)
        sys.exit(stopped.status)
    except (KeyboardInterrupt, typer.Abort):
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
    abandon_output()
    sys.exit(NO_READER)


def _fail(message: str) -> None:
    print(f"voltaspin: {one_line(message)}", file=sys.stderr)
    sys.exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``voltaspin`` command: bad input is one line on standard error and status 2."""
    take_anything()
    with _errors_in_one_line(arguments), stoppable():
        for word in arguments or ():
            check_argument(word)
        status = typer.main.get_command(app).main(args=arguments, prog_name="voltaspin", standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk or a reader that went away is an error with a name
        if status == INTERRUPTED:
            print("voltaspin: interrupted", file=sys.stderr)
        sys.exit(status or 0)
