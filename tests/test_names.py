"""Public names: each is the thing itself for a type checker and at run time."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import voltaspin
from voltaspin.core.lazy import listed_names

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "voltaspin"
PACKAGES = {
    "voltaspin": SOURCE / "__init__.py",
    **{
        ".".join(p.parent.relative_to(SOURCE.parent).parts): p
        for p in sorted(SOURCE.rglob("__init__.py"))
        if "attach(__name__" in p.read_text(encoding="utf-8")
    },
}


def public_names():
    return [(package, name) for package, file in PACKAGES.items() for name in listed_names(str(file))]


@pytest.mark.slow
def test_a_type_checker_knows_every_public_name(tmp_path):
    names = public_names()
    lines = [f"from {package} import {name} as n{i}" for i, (package, name) in enumerate(names)]
    lines += [f"reveal_type(n{i})" for i in range(len(names))]
    file = tmp_path / "user.py"
    file.write_text("\n".join(lines) + "\n")
    shown = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(file)],
        capture_output=True, text=True, cwd=ROOT,
    ).stdout  # fmt: skip
    revealed = re.findall(r'user\.py:(\d+): note: Revealed type is "(.*)"', shown)
    assert len(revealed) == len(names), shown
    unknown = [names[int(line) - len(names) - 1] for line, kind in revealed if kind == "Any"]
    assert unknown == []


def test_each_public_name_is_the_same_after_every_module_was_imported():
    before = {(p, n): getattr(importlib.import_module(p), n) for p, n in public_names()}
    for module in pkgutil.walk_packages(voltaspin.__path__, "voltaspin."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for (package, name), thing in before.items():
        assert getattr(importlib.import_module(package), name) is thing, f"{package}.{name}"


def test_no_import_runs_in_a_circle():
    """Imports inside functions and for type checkers count: they hide a function that stands in the wrong module."""
    graph = grimp.build_graph("voltaspin", cache_dir=None)
    left = set(graph.modules)
    while leaves := {m for m in left if not graph.find_modules_directly_imported_by(m) & left}:
        left -= leaves
    while roots := {m for m in left if not graph.find_modules_that_directly_import(m) & left}:
        left -= roots
    assert sorted(left) == []
