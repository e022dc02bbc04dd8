"""The command line: parse, call, print. Heavy packages are imported by the command that needs them."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from voltaspin.cli.cells import cells
from voltaspin.cli.cost import cost
from voltaspin.cli.design import design
from voltaspin.cli.device import app as device_app
from voltaspin.cli.evaluate import evaluate, merge, reference
from voltaspin.cli.explore import explore
from voltaspin.cli.fit import fit
from voltaspin.cli.images import sample
from voltaspin.cli.measure import measure
from voltaspin.cli.memory import app as memory_app
from voltaspin.cli.noise import bits, randomness
from voltaspin.cli.old_words import translated
from voltaspin.cli.options import AsJson, DryRun, Force, OptionError, Out, Seed, count
from voltaspin.cli.schema import schema
from voltaspin.cli.study import frontier, spec, study
from voltaspin.cli.template import template
from voltaspin.cli.terminal import QUIET_WORD, progress_of, set_quiet, show
from voltaspin.cli.training import train
from voltaspin.cli.waveform import waveform
from voltaspin.core.console import abandon_output, as_options, check_argument, one_line, take_anything
from voltaspin.core.errors import InputError
from voltaspin.core.extras import missing_package
from voltaspin.core.stopping import Stopped, stoppable

INTERRUPTED = 130  #: exit status after Ctrl-C, as shells have it
NO_READER = 141  #: and where the reader of standard output went away before all was printed


app = typer.Typer(
    name="voltaspin",
    help="Diffusion models on voltage-controlled magnetic memory.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"voltaspin {version('voltaspin')}")
        raise typer.Exit


device_app.command()(fit)
device_app.command()(measure)
app.add_typer(device_app, name="device")
app.add_typer(memory_app, name="memory")


@app.callback()
def voltaspin(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option(QUIET_WORD, help="No progress and no remarks; errors stay. Also behind a command.")
    ] = False,
) -> None:
    """Diffusion models on voltage-controlled magnetic memory.

    Exit status: 0, done; 2, bad input, in one line on standard error; 3, a verdict that --fail-on names; 130, 143 and
    129, stopped by Ctrl-C, SIGTERM and SIGHUP.
    """


@app.command()
def demo(
    out: Out = Path("demo-report"),
    images: Annotated[
        int, count("--images", least=4, most=10**6, why="which take weeks", help="Images per condition, such as 2k.")
    ] = 256,
    steps: Annotated[int, count("--steps", least=2, most=10**6, help="Ancestral steps per image.")] = 50,
    seed: Seed = 0,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """The whole job on real data: device, memory, noise, images, quality, cost, one page.

    Example: [bold]voltaspin demo --out demo-report --images 256 --steps 50[/bold]
    """
    from voltaspin.report.demo_page import summary_table
    from voltaspin.whole_chain import demo as run_demo
    from voltaspin.whole_chain import forecast as forecast_of_demo

    if dry_run:
        show(forecast_of_demo(images, steps), as_json)
        return
    with progress_of() as progress:
        results = run_demo(out=out, images=images, steps=steps, seed=seed, force=force, progress=progress)
    if as_json:
        show(results, as_json)
        return
    from rich.console import Console

    Console().print(summary_table(results))
    print(f"page: {(out / 'index.html').resolve()}")


for command in (
    bits, randomness, cells, waveform, study, design, frontier, spec, cost, train, sample, evaluate, reference,
    merge, explore, schema, template,
):  # fmt: skip
    app.command()(command)


@cache
def built() -> Any:
    """Return ``voltaspin`` with the commands below it, as click knows it; typer takes 0.1 to 0.2 s to build it."""
    return typer.main.get_command(app)


@contextlib.contextmanager
def _errors_in_one_line(arguments: list[str] | None) -> Iterator[None]:
    given = sys.argv[1:] if arguments is None else arguments
    try:
        yield
    except OptionError as error:
        _fail(str(error))
    except ImportError as error:
        if (missing := missing_package(error, "this command")) is None:
            raise
        _fail(str(missing))
    except InputError as error:
        _fail(as_options(str(error), _options_of(given)))
    except Stopped as stopped:
        print(f"voltaspin: {as_options(str(stopped), _options_of(given))}", file=sys.stderr)
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
        _fail(f"{error.format_message()} in: {' '.join(given)}; see --help")


def _options_of(arguments: list[str]) -> dict[str, str]:
    """The options of the command that was asked for, by the names of its arguments."""
    command = built()
    for word in arguments:
        command = getattr(command, "commands", {}).get(word, command)
    options = {p.name: p.opts[0] for p in command.params if p.name and p.opts[0].startswith("--")}
    options = {name.removeprefix("file_"): option for name, option in options.items()} | options
    if "force" in options:  # as functions call it that write one file
        options.setdefault("overwrite", options["force"])
    return {f"n_{name}": option for name, option in options.items()} | options


def _no_reader() -> NoReturn:
    """End like a program that a broken pipe kills: silently, since its output has no reader left."""
    abandon_output()
    sys.exit(NO_READER)


def _fail(message: str) -> None:
    print(f"voltaspin: {one_line(message)}", file=sys.stderr)
    sys.exit(2)


_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")  # for which typer has completion


def _check_shell(arguments: list[str]) -> None:
    """Refuse to complete for a shell that is not recognised, which typer would answer with status 1."""
    first = takewhile(lambda word: word.startswith("-"), arguments)
    if option := next((word for word in first if word in ("--show-completion", "--install-completion")), None):
        import shellingham

        try:
            shell = shellingham.detect_shell()[0]
        except shellingham.ShellDetectionFailure:
            shell = "none"
        if shell not in _SHELLS:
            raise InputError(f"{option}: the shell that runs this program is {shell}; run it from {', '.join(_SHELLS)}")


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``voltaspin`` command: bad input is one line on standard error and status 2."""
    take_anything()
    given = list(sys.argv[1:] if arguments is None else arguments)
    set_quiet(QUIET_WORD in given)
    arguments = [word for word in given if word != QUIET_WORD]
    arguments = translated(arguments, built())
    with _errors_in_one_line(arguments), stoppable():
        for before, word in pairwise(["", *arguments]):
            check_argument(word, before)
        _check_shell(arguments)
        status = built().main(args=arguments, prog_name="voltaspin", standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk or a reader that went away is an error with a name
        if status == INTERRUPTED:
            print("voltaspin: interrupted", file=sys.stderr)
        sys.exit(status or 0)
