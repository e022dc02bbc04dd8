"""The wheel and the source distribution: both are built here, are complete, and work away from the checkout."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="needs hatchling: pip install hatchling")
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "voltaspin"
WITHOUT_EXTRAS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "diffusers", "accelerate", "pooch"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def built(folder, out, *targets):
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out), *targets]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (made,) = out.glob("*.whl" if targets == ("-t", "wheel") else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built(ROOT, tmp_path_factory.mktemp("wheel"), "-t", "wheel")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The source distribution, unpacked."""
    out = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built(ROOT, out, "-t", "sdist")) as archive:
        archive.extractall(out, filter="data")
    (folder,) = (p for p in out.iterdir() if p.is_dir())
    return folder


def tracked(folder):
    """Names of the files of a folder that git would keep, relative to it."""
    return {
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and not {"__pycache__", ".ruff_cache", ".hypothesis"} & set(p.parts) and p.suffix != ".pyc"
    }


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode("utf-8"))


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {n.removeprefix("voltaspin/") for n in names if n.startswith("voltaspin/")} == tracked(PACKAGE)
    others = {n.partition("/")[2] for n in names if not n.startswith("voltaspin/")}
    assert others == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    for needed in (
        "py.typed", "report/templates/base.html.jinja", "report/templates/style.css", "data/cost-table.json",
        "data/noise-specification.json", "data/model-fashion-mnist/unet/diffusion_pytorch_model.safetensors",
        "data/reference-fashion-mnist/LICENSE.txt",
    ):  # fmt: skip
        assert f"voltaspin/{needed}" in names


def test_torch_comes_with_the_extra_alone(wheel):
    needed = metadata(wheel).get_all("Requires-Dist")
    names = {re.match(r"[\w-]+", r)[0]: r.partition("; ")[2] for r in needed if "extra ==" not in r}
    assert set(names) == {
        "jinja2", "matplotlib", "numba", "numpy", "pillow", "platformdirs", "pydantic", "rich", "safetensors", "scipy",
        "typer",
    }  # fmt: skip
    extra = {re.match(r"[\w-]+", r)[0] for r in needed if "extra == 'diffusion'" in r}
    assert extra == {"accelerate", "diffusers", "pooch", "torch"}


def test_the_metadata_claim_what_is_true(wheel):
    said = metadata(wheel)
    minor = said["Requires-Python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {minor}" in said.get_all("Classifier")
    assert "Typing :: Typed" in said.get_all("Classifier")
    assert {u.partition(", ")[0] for u in said.get_all("Project-URL")} == {"Paper"}
    assert said["License-Expression"] == "MIT"


def test_the_source_distribution_holds_all_that_the_tests_read(source):
    missing = {
        name
        for part in ("src", "tests", "docs", "examples", "benchmarks", "scripts")
        for name in {f"{part}/{n}" for n in tracked(ROOT / part)} - {f"{part}/{n}" for n in tracked(source / part)}
        if not name.startswith("docs/reference/generated/")
    }
    assert missing == set()
    for name in ("README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile", "pyproject.toml"):
        assert (source / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.mark.slow
def test_the_source_distribution_builds_and_what_it_builds_passes_a_part_of_the_tests(source, wheel, tmp_path):
    again = built(source, tmp_path / "dist", "-t", "wheel")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())
    site = tmp_path / "site"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(site)]
    subprocess.run([sys.executable, *install, str(again)], check=True, capture_output=True)
    (site / "sitecustomize.py").write_text(WITHOUT_EXTRAS)  # so that the tests know no extra, as after an install
    environment = os.environ | {"PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import voltaspin; print(voltaspin.__file__, voltaspin.__version__)"],
        capture_output=True, text=True, check=True, env=environment, cwd=tmp_path,
    ).stdout.split()  # fmt: skip
    assert where == [str(site / "voltaspin" / "__init__.py"), metadata(wheel)["Version"]]
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "installed", "-p", "no:cacheprovider"],
        capture_output=True, text=True, env=environment, cwd=source,
    )  # fmt: skip
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert int(re.search(r"(\d+) passed", tests.stdout)[1]) >= 30
    as_module = [sys.executable, "-m", "voltaspin", "device", "list"]
    shown = subprocess.run(as_module, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "generator" in shown.stdout
