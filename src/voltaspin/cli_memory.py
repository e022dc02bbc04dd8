"""``voltaspin memory``: what arrays hold and compute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voltaspin.terminal import print_json

if TYPE_CHECKING:
    from voltaspin.memory import ArraySpec

app = typer.Typer(name="memory", help="Arrays that store and compute.", no_args_is_help=True, add_completion=False)

SpecOption = Annotated[
    str,
    typer.Option("--spec", help="Array: digital, analog, analog-fine, resistance-sum, or a JSON file of an ArraySpec."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def array_spec(text: str) -> ArraySpec:
    """The specification of ``--spec``: a JSON file, or a preset's name."""
    from voltaspin.memory import ArraySpec

    return ArraySpec.load(text) if text.endswith(".json") or Path(text).is_file() else ArraySpec.preset(text)


@app.command()
def coverage(
    model: Annotated[
        Path | None, typer.Option("--model", help="Pipeline folder; default: the shipped Fashion-MNIST model.")
    ] = None,
    spec: SpecOption = "analog",
    as_json: AsJson = False,
) -> None:
    """Which share of a diffusion model's work crossbars can do, and which layers stay digital and why.

    Example: [bold]voltaspin memory coverage --spec analog[/bold]
    """
    chosen = array_spec(spec)
    from voltaspin.diffusion.sampling import load_pipeline, shipped_model
    from voltaspin.memory import convert

    _, report = convert(load_pipeline(shipped_model() if model is None else model).unet, chosen, inplace=True)
    if as_json:
        print_json(report.to_json())
    else:
        print(report)
