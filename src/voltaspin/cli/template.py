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


def _nameless(kind: str, name: str) -> None:
    if name:
        raise InputError(f"{name!r}: there is one template of a {kind}; leave the name out")


def _macro(name: str) -> dict[str, Any]:
    from voltaspin.cost.macro import MacroSpec

    _nameless("macro", name)
    return MacroSpec().to_json()


def _cost_table(name: str) -> dict[str, Any]:
    from voltaspin.cost import CostTable

    _nameless("cost table", name)
    return CostTable.default().to_json()


def _design(name: str) -> dict[str, Any]:
    from voltaspin.design.space import DesignSpace

    _nameless("design space", name)
    axes: dict[str, Any] = {"array.rows,array.columns": [128, 256], "array.adc_bits": {"low": 5, "high": 9}}
    return DesignSpace(name="My designs", question="Which array is best?", axes=axes).to_json()


def _junction(name: str) -> dict[str, Any]:
    from voltaspin.device import Junction

    return Junction.of(name or "generator").to_json()


def _measurements(name: str) -> str:
    _nameless("table of measurements", name)
    return "\n".join(
        ["# What voltaspin device fit reads: a row for each pulse, with its unit in the heading.", "# Other columns: "
         "current, B_x, B_z, device, flips; other kinds of tables: voltaspin device fit --help.",
         "direction,voltage (V),width (ns),P_sw,trials", "P->AP,1.2,0.3,0.412,1000", "AP->P,1.2,0.3,0.431,1000"]
    )  # fmt: skip


def _specification(name: str) -> dict[str, Any]:
    from voltaspin.requirements import NoiseSpecification

    _nameless("specification", name)
    return NoiseSpecification.shipped().to_json()


def _model(name: str) -> str:
    _nameless("model", name)
    return '''"""A network for `voltaspin memory cost --model model.py:network`, which calls this function."""

import torch


def network():
    """Return the model and an example of its input, whose numbers do not matter."""
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.SiLU(), torch.nn.Conv2d(16, 1, 3))
    return model.eval(), torch.zeros(1, 1, 28, 28)'''


#: By the kind of file: how it is made from the name of an example, as its text or as JSON data.
TEMPLATES: dict[str, Callable[[str], str | dict[str, Any]]] = {
    "train": _train, "train-in-place": _train_in_place, "array": _array, "instrument": _instrument,
    "study": _study, "design": _design, "macro": _macro, "cost-table": _cost_table,
    "junction": _junction, "measurements": _measurements, "specification": _specification, "model": _model,
}  # fmt: skip


def template(
    kind: Annotated[
        str,
        typer.Argument(
            help="train, train-in-place, array, instrument, study, design, macro, cost-table, junction, measurements, "
            "specification or model; without one, list them."
        ),
    ] = "",
    name: Annotated[
        str,
        typer.Argument(
            help="The example to begin with: a recipe (cifar10, cifar10-small), an array (digital), a study "
            "(own-images) or a junction (storage)."
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
