"""``voltaspin template``: the files that a user writes, with every field, to be edited."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from voltaspin.cli.training import recipe_of
from voltaspin.core.errors import InputError, unknown


def _train(name: str) -> dict[str, Any]:
    return recipe_of(_recipe_named(name), [], {}, "gaussian").every_field()


def _train_in_place(name: str) -> dict[str, Any]:
    return recipe_of(_recipe_named(name), [], {}, "in-place").every_field()


def _recipe_named(name: str) -> str:
    """The name of a recipe; raises InputError for any other, a file too."""
    from voltaspin.diffusion.recipe import recipe

    if name:
        recipe(name)
    return name


def _instrument(name: str) -> str:
    from voltaspin.lab.profile import TEMPLATE

    if name:
        raise InputError(f"{name!r}: there is one template of an instrument; leave the name out")
    return TEMPLATE.read_text(encoding="utf-8").rstrip()


def _array(name: str) -> dict[str, Any]:
    from voltaspin.cli.memory import array_spec

    return array_spec(name or "analog").to_json()


def _study(name: str) -> dict[str, Any]:
    from voltaspin.study.template import STUDIES

    if name and name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return {"kind": "study", "schema_version": 1, **STUDIES[name or "conditions"]}


#: By the kind of file: how it is made from the name of an example, as its text or as JSON data.
TEMPLATES: dict[str, Callable[[str], str | dict[str, Any]]] = {
    "train": _train, "train-in-place": _train_in_place, "array": _array, "instrument": _instrument,
    "study": _study,
}  # fmt: skip


def template(
    kind: Annotated[
        str, typer.Argument(help="train, train-in-place, array, instrument or study; without one, list them.")
    ] = "",
    name: Annotated[
        str,
        typer.Argument(
            help="The example to begin with: a recipe (cifar10, cifar10-small), an array (digital) or a "
            "study (own-images)."
        ),
    ] = "",
) -> None:
    """Print a file to be edited: every field with its default.

    Example: [bold]voltaspin template train > recipe.json[/bold], then
    [bold]voltaspin train --config recipe.json --out model[/bold]
    """
    if not kind:
        print("\n".join(TEMPLATES))
        return
    if kind not in TEMPLATES:
        raise unknown("KIND", kind, TEMPLATES)
    made = TEMPLATES[kind](name)
    print(made if isinstance(made, str) else json.dumps(made, indent=1))
