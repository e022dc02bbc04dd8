"""Options that commands share, and the kinds of option: quantities with units, counts, words.

An option's text becomes a value here, so a command gets numbers in SI. What is wrong is said with the option's name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from voltaspin.core import units
from voltaspin.core.errors import InputError, nearest
from voltaspin.core.units import Dimension, parse_count, parse_quantity, parse_range


class OptionError(Exception):
    """An option's text that is no such value. It is no ``ValueError``, whose message typer would replace."""


def _option(
    read: Callable[[str], Any],
    names: tuple[str, ...],
    help: str,
    metavar: str,
    shown: bool | str = True,
    panel: str | None = None,
) -> Any:
    def parse(given: Any) -> Any:
        if not isinstance(given, str):  # a default
            return given
        try:
            return read(given)
        except InputError as error:
            raise OptionError(str(error)) from None

    return typer.Option(*names, parser=parse, help=help, metavar=metavar, show_default=shown, rich_help_panel=panel)


def quantity(
    *names: str,
    dimension: Dimension,
    help: str,
    bare: str | None = None,
    signed: bool = False,
    zero: bool = True,
    shown: bool | str = True,
    panel: str | None = None,
) -> Any:
    """An option like ``--width 0.6ns``, as a number in SI.

    Args:
        names: its spellings; dimension: its units.
        help: for ``--help``, which says the unit of a number alone, ``bare``.
        signed: whether it may be negative; zero: whether it may be zero.
        shown: the default as a user would write it.
        panel: of the help.
    """
    return _option(
        lambda text: parse_quantity(text, dimension, name=names[0], bare=bare, signed=signed, zero=zero),
        names, help, "QUANTITY", shown, panel,
    )  # fmt: skip


def quantities(name: str, *, dimension: Dimension, help: str, signed: bool = False) -> Any:
    """An option like ``--widths 0.1:1.5:0.05ns`` or ``0.2,0.3,1ns``, as numbers in SI."""
    return _option(lambda text: parse_range(text, dimension, name=name, signed=signed), (name,), help, "RANGE")


def ratio(*names: str, low: float = 1e-9, high: float = 1.0, zero: bool = True, help: str) -> Any:
    """An option like ``--spread 5%``, or 0.05."""
    return quantity(*names, dimension=units.RATIO.within(low, high), bare="", zero=zero, help=help)


def count(
    *names: str, help: str, least: int = 1, most: int = 10**9, why: str = "which take years", panel: str | None = None
) -> Any:
    """An option like ``--devices 20k``, a whole number from ``least`` to ``most``; ``why`` not more."""
    return _option(
        lambda text: parse_count(text, name=names[0], least=least, most=most, why=why), names, help, "NUMBER",
        panel=panel,
    )  # fmt: skip


def word(*names: str, words: Collection[str], help: str) -> Any:
    """An option that takes one of a few words."""

    *others, last = words
    listed = f"{', '.join(others)} or {last}"

    def read(text: str) -> str:
        if text and text not in words:
            raise InputError(f"{names[0]} {text!r} is unknown; use {listed}{nearest(text, words)}")
        return text

    return _option(read, names, help, "WORD")


Out = Annotated[Path, typer.Option("--out", help="Folder for the results; made if it does not exist.")]
_SEED = typer.Option("--seed", min=0, help="Decides every simulated random number.")
Seed = Annotated[int, _SEED]
SeedIfAny = Annotated[int | None, _SEED]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Overwrite the file, or use a folder that is not empty: of its files only those are replaced that its "
        "run.json lists.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Check all that was given, say how long it takes and how much memory, do nothing."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")]
Model = Annotated[
    Path | None, typer.Option("--model", help="Pipeline folder; default: the shipped Fashion-MNIST model.")
]
Background = Annotated[
    str | None,
    typer.Option(
        "--background", help="Colour behind transparent pixels, a name or #rrggbb; transparency is refused without it."
    ),
]
SpinTorque = Annotated[bool, typer.Option("--spin-torque", help="Add the torque of the tunnel current.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="NAME=VALUE, repeated: changes a parameter: --set t_F=1.2nm --set B_x=20mT; a number alone is in SI.",
    ),
]
Voltage = Annotated[
    float | None,
    quantity("--voltage", dimension=units.JUNCTION_VOLTAGE, bare="V", signed=True,
             help="Of the pulse, 1.2V; a number alone is in V."),
]  # fmt: skip
Width = Annotated[
    float | None,
    quantity(
        "--width",
        dimension=units.PULSE_WIDTH,
        bare="ns",
        zero=False,
        help="Of the pulse, 0.6ns; a number alone is in ns.",
    ),
]
