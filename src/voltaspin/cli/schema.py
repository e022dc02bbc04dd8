"""``voltaspin schema``: what the JSON of every result looks like."""

from __future__ import annotations

import json
from importlib import import_module
from pkgutil import walk_packages
from typing import Annotated

import typer

import voltaspin
from voltaspin.cli.terminal import remark
from voltaspin.core.errors import InputError, nearest
from voltaspin.core.extras import MissingPackageError, missing_package


def schema(
    kind: Annotated[str, typer.Argument(help="Kind of a result, as its JSON says; default: list them.")] = "",
) -> None:
    """List the kinds of results, or print the JSON schema of one.

    Example: [bold]voltaspin schema cost-claim[/bold]
    """
    from voltaspin.core.result import kinds

    absent: MissingPackageError | None = None
    for module in walk_packages(voltaspin.__path__, "voltaspin."):
        if not module.name.endswith(("__main__", "explorer_app")):  # the app needs marimo, and has no kind
            try:
                import_module(module.name)
            except ImportError as error:
                if (absent := missing_package(error, "the rest")) is None:
                    raise
    known = {name: result for name, result in kinds().items() if result.__module__.startswith("voltaspin.")}
    if not kind:
        wide = max(map(len, known))
        for name, result in known.items():
            print(f"{name:<{wide}}  {(result.__doc__ or '').splitlines()[0]}")
        if absent is not None:
            remark(f"voltaspin: not every kind is listed; {absent}")
        return
    if kind not in known:
        if absent is not None:
            raise InputError(f"KIND {kind!r} is not among the kinds that are installed; {absent}")
        raise InputError(f"KIND {kind!r} is unknown{nearest(kind, known)}; `voltaspin schema` lists them")
    print(json.dumps(known[kind].schema_of(), indent=1))
