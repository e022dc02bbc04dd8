"""Pages of the reference, written before Sphinx reads its sources: the API, the command line, JSON schemas, spec files.

Each page is made from the program itself, so that none can be forgotten: every name in an ``__all__``, every command of
the command line, every kind of result, every class that a file of a user's is read into.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import typer
from sphinx.application import Sphinx

import voltaspin
from voltaspin.cli.app import app as command_line
from voltaspin.core.result import Part, kinds
from voltaspin.core.spec import Spec

#: Packages in the order of their layers; the first that lists a thing documents it.
ORDER = (
    "core", "random", "device", "memory", "noise", "lab", "diffusion", "metrics", "cost", "study", "design",
    "requirements", "plots", "explorer", "report",
)  # fmt: skip


def packages() -> list[str]:
    """Packages with public names, lowest layer first and the package itself last."""
    found = [m.name for m in walk_packages(voltaspin.__path__, "voltaspin.") if m.ispkg]
    public = [name for name in found if getattr(import_module(name), "__all__", None)]
    return [*sorted(public, key=lambda name: (ORDER.index(name.split(".")[1]), name)), "voltaspin"]


def write(path: Path, text: str) -> None:
    """Write a page where it is not there already with this text, so that Sphinx reads again only what changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def slug(package: str) -> str:
    """Name of a package's page."""
    return package.replace(".", "-")


def summary_of(thing: Any) -> str:
    """First sentence of a docstring."""
    text = inspect.getdoc(thing) or ""
    return text.split("\n\n")[0].replace("\n", " ")


def api_pages(folder: Path) -> None:
    """A page for each package, with every public name."""
    home: dict[int, str] = {}
    for package in packages():
        module = import_module(package)
        blocks = [f"``{package}``", "=" * (len(package) + 4), "", summary_of(module), ""]
        for name in module.__all__:
            thing, full = getattr(module, name), f"{package}.{name}"
            known = None if isinstance(thing, (int, float, str)) else home.get(id(thing))
            if known == full:
                blocks += [f"``{name}`` is the module :py:mod:`{full}`.", ""]
                continue
            if known:
                blocks += [*entry(full, f"The same as :py:obj:`{known}`."), ""]
                continue
            home[id(thing)] = thing.__name__ if isinstance(thing, ModuleType) else full
            blocks += [*directive(thing, full, home), ""]
        write(folder / f"{slug(package)}.rst", "\n".join(blocks).rstrip() + "\n")
    lines = ["# Python names", ""]
    lines += ["Every public name of every package. The packages stand in the order of their layers.", ""]
    lines += ["| package | what it holds |", "| --- | --- |"]
    lines += [f"| [{p}]({slug(p)}.rst) | {markdown(summary_of(import_module(p)))} |" for p in packages()]
    lines += ["", "```{toctree}", ":hidden:", "", *map(slug, packages()), "```"]
    write(folder / "index.md", "\n".join(lines) + "\n")


def entry(full: str, text: str) -> list[str]:
    """The lines of a name that is documented elsewhere."""
    return [f".. py:data:: {full}", "   :no-index-entry:", "", f"   {text}"]


def directive(thing: Any, full: str, home: dict[int, str]) -> list[str]:
    """The lines by which autodoc shows a thing."""
    if isinstance(thing, ModuleType):
        if hasattr(thing, "__path__"):
            return entry(full, f"A package of its own: :doc:`{slug(full)}`.")
        shown = [f".. automodule:: {thing.__name__}", "   :members:"]
        if elsewhere := [
            n for n, v in vars(thing).items() if inspect.isclass(v) and home.get(id(v)) not in (None, full)
        ]:
            shown.append(f"   :exclude-members: {', '.join(elsewhere)}")
        return shown if thing.__name__ == full else [*entry(full, f"The module ``{thing.__name__}``:"), "", *shown]
    if inspect.isclass(thing):
        return [f".. autoclass:: {full}", "   :members:"]
    if callable(thing):
        return [f".. autofunction:: {full}"]
    return [f".. autodata:: {full}"]


def commands(command: Any, path: str = "voltaspin") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its words."""
    below = getattr(command, "commands", None)
    if not below or getattr(command, "invoke_without_command", False):
        yield path, command
    for name, child in (below or {}).items():
        yield from commands(child, f"{path} {name}")


def placeholder(argument: Any) -> str:
    """An argument as the usage shows it."""
    name = argument.metavar or argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def plain(text: str | None) -> str:
    """Help text in Markdown."""
    text = inspect.cleandoc(text or "").replace("[bold]", "`").replace("[/bold]", "`")
    return text.replace("\\[", "[")


def command_page(folder: Path) -> None:
    """One page with every command and option."""
    lines = ["# Commands", "", "Every command with its options, from `voltaspin COMMAND --help`.", ""]
    for path, command in commands(typer.main.get_command(command_line)):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join([path, *map(placeholder, arguments), "[OPTIONS]"])
        lines += [f"## {path}", "", "```console", f"$ {usage}", "```", "", plain(command.help), ""]
        options = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
        lines += ["| option | meaning | default |", "| --- | --- | --- |"]
        for one in [*arguments, *options]:
            names = (
                ", ".join(f"`{o}`" for o in [*one.opts, *one.secondary_opts])
                if one in options
                else f"`{one.name.upper()}`"
            )
            default = "required" if one.required else shown(one.default)
            lines.append(f"| {names} | {cell(plain(getattr(one, 'help', '')))} | {default} |")
        lines.append("")
    write(folder / "commands.md", "\n".join(lines).rstrip() + "\n")


def markdown(text: str) -> str:
    """Text of a docstring in Markdown: its roles and literals as code, no HTML."""
    text = re.sub(r":[a-z]+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return re.sub(r"<(?=[A-Za-z/])", "&lt;", text)


def shown(default: Any) -> str:
    """A default as it would be typed."""
    if default is None or default is False or default == "" or callable(default):
        return ""
    return "on" if default is True else f"`{default}`"


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def meanings(spec: type) -> dict[str, str]:
    """What the docstrings of a class and of its bases say of each argument."""
    found: dict[str, str] = {}
    for one in reversed(spec.__mro__):
        text = inspect.cleandoc(vars(one).get("__doc__") or "")
        _, begins, rest = text.partition("Args:\n")
        names: list[str] = []
        for line in rest.splitlines() if begins else ():
            if line.strip() and not line.startswith(" "):
                break  # the next section
            if entry := re.match(r" {4}([\w, ]+?): (.*)", line):
                names = [name.strip() for name in entry[1].split(",")]
                found |= dict.fromkeys(names, entry[2])
            else:
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def field_table(spec: type, schema: dict[str, Any]) -> list[str]:
    """Fields of an object in a JSON schema, with what the docstring says of them."""
    required, said = schema.get("required", []), meanings(spec)
    lines = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in schema.get("properties", {}).items():
        default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
        default = "required" if name in required else default
        meaning = markdown(field.get("description") or said.get(name, ""))
        lines.append(f"| `{name}` | {cell(type_of(field))} | {cell(default)} | {cell(meaning)} |")
    return lines


def type_of(field: dict[str, Any]) -> str:
    """The type of a field in words."""
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{json.dumps(v)}`" for v in field["enum"])
    if "$ref" in field:
        return field["$ref"].rsplit("/", 1)[-1]
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(type_of(f) for f in field["anyOf"]))
    if field.get("type") == "array":
        return f"list of {type_of(field.get('items', {}))}"
    return str(field.get("type", "any"))


def schema_pages(folder: Path) -> None:
    """A page with the fields of each kind of result, and one of the files that a user writes."""
    for module in walk_packages(voltaspin.__path__, "voltaspin."):
        if not module.name.endswith(("__main__", "explorer_app")):
            import_module(module.name)
    known = {k: c for k, c in kinds().items() if c.__module__.startswith("voltaspin.")}
    lines = [
        "# JSON of results",
        "",
        "Every command with `--json` prints one of these kinds, and files of results hold them.",
        "",
    ]
    lines += ["`voltaspin schema KIND` prints the whole JSON schema, with the parts that a field refers to.", ""]
    for kind, result in sorted(known.items()):
        lines += section(kind, result, result.schema_of())
    write(folder / "schemas.md", "\n".join(lines).rstrip() + "\n")
    lines = ["# Fields of the files that you write", ""]
    lines += [
        "A file that a command reads is checked against one of these. An unknown field is refused by its name.",
        "",
    ]
    for spec in specs():
        lines += section(spec.__name__, spec, spec.model_json_schema())
    write(folder / "fields.md", "\n".join(lines).rstrip() + "\n")


def section(title: str, what: type[Any], schema: dict[str, Any]) -> list[str]:
    """The lines of one class under a heading: its summary, where it is imported from, its fields."""
    where = f"Python: `{what.__module__}.{what.__name__}`."
    return [f"## {title}", "", markdown(summary_of(what)), "", where, "", *field_table(what, schema), ""]


def specs() -> list[type[Spec]]:
    """Every specification class, by name."""
    found: dict[str, type[Spec]] = {}
    left = list(Spec.__subclasses__())
    while left:
        one = left.pop()
        left += one.__subclasses__()
        if not issubclass(one, Part) and one.__module__.startswith("voltaspin.") and one.__name__[0] != "_":
            found[one.__name__] = one
    return [found[name] for name in sorted(found)]


def generate(sphinx: Sphinx) -> None:
    """Write all pages of the reference."""
    folder = Path(sphinx.srcdir) / "reference" / "generated"
    api_pages(folder)
    command_page(folder)
    schema_pages(folder)


def setup(sphinx: Sphinx) -> dict[str, Any]:
    """Register the pages with Sphinx."""
    sphinx.connect("builder-inited", generate)
    return {"parallel_read_safe": True}
