"""The core without the extra ``diffusion``: junctions, bits, their tests and the price of a bit need no PyTorch.

A child process refuses to import the packages of the extra, as a machine without them does.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.installed

ROOT = Path(__file__).parents[1]
REMEDY = 'which is not installed: pip install "voltaspin[diffusion]"'
BLOCKED = """
import contextlib, io, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "diffusers", "accelerate", "huggingface_hub", "pooch"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
COMMANDS = (
    BLOCKED
    + """
from voltaspin.cli.app import main
ended = {}
for name, arguments in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(arguments)
    except SystemExit as end:
        ended[name] = end.code, out.getvalue(), err.getvalue()
print(json.dumps(ended))
"""
)
WORKS = {
    "a junction": ["device", "--devices", "500"],
    "bits of the memory": ["bits", "--count", "20k", "--out", "lab.bin"],
    "tests of bits": ["randomness", "--source", "memory", "--bits", "20k"],
    "yield": ["memory", "yield", "--rows", "32", "--columns", "32"],
    "the price of a bit": ["cost", "--no-work", "--samples", "100"],
    "a schema": ["schema", "cost-claim"],
}
PARTLY = {"cost": ["cost", "--samples", "100"], "schema": ["schema"]}
NEEDS = {
    "price of an image": ["cost", "--image-steps", "10", "--samples", "100"],
    "demo": ["demo", "--out", "made"],
    "sample": ["sample", "--out", "made"],
    "train": ["train", "--out", "made"],
    "study": ["study", str(ROOT / "examples" / "arms.json"), "--out", "made"],
    "design": ["design", str(ROOT / "examples" / "design.json"), "--out", "made"],
    "network": ["memory", "cost"],
    "map": ["memory", "map"],
    "macro": ["memory", "macro"],
    "endurance": ["memory", "endurance"],
    "export": ["memory", "export", "--out", "made"],
    "an unknown kind": ["schema", "sampel"],
}


def child(code, *arguments, folder=ROOT):
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Status, output and errors of each command, and the names of what they leave."""
    folder = tmp_path_factory.mktemp("core")
    found = json.loads(child(COMMANDS, json.dumps(WORKS | PARTLY | NEEDS), folder=folder))
    return found | {"left": sorted(p.name for p in folder.iterdir())}


@pytest.mark.parametrize("name", WORKS)
def test_the_core_works_without_torch(ended, name):
    status, _, err = ended[name]
    assert status == 0, err
    assert "voltaspin[" not in err


@pytest.mark.parametrize("name", PARTLY)
def test_a_command_that_does_a_part_says_what_is_missing(ended, name):
    status, out, err = ended[name]
    assert status == 0, err
    assert out.strip()
    (line,) = err.splitlines()
    assert line.startswith(("voltaspin: only the random bit is priced; ", "voltaspin: not every kind is listed; "))
    assert line.endswith(REMEDY)


@pytest.mark.parametrize("name", NEEDS)
def test_a_command_that_needs_torch_says_so_in_one_line(ended, name):
    status, out, err = ended[name]
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("voltaspin: ")
    assert line.endswith(REMEDY)


def test_a_refused_command_leaves_nothing(ended):
    assert ended["left"] == ["lab.bin", "lab.bin.json"]


#: Public names that need the extra, by package; the names of all other packages need nothing more.
MISSING = {
    "voltaspin": {"demo", "sample", "train"},
    "voltaspin.design": {"check_space", "explore"},
    "voltaspin.diffusion": {
        "Samples",
        "TrainSpec",
        "load_pipeline",
        "open_model",
        "sample",
        "sample_unmodified",
        "shipped_model",
        "train",
    },
    "voltaspin.diffusion.inplace": {
        "CELLS_PER_PIXEL",
        "InPlaceOptions",
        "InPlaceSamples",
        "InPlaceSpec",
        "InPlaceTrainSpec",
        "sample",
        "train",
        "trained_for",
    },
    "voltaspin.memory": {"ClippingWarning", "Crossbar", "MemoryLayer", "NetworkTrace", "calibrate", "convert", "trace"},
    "voltaspin.memory.crossbar": {
        "ClippingWarning",
        "Crossbar",
        "CrossbarContext",
        "MemoryLayer",
        "NetworkTrace",
        "ReadNoise",
        "calibrate",
        "convert",
    },
}
NAMES = (
    BLOCKED
    + """
import pkgutil
from importlib import import_module
import voltaspin
for package in ["voltaspin", *(m.name for m in pkgutil.walk_packages(voltaspin.__path__, "voltaspin.") if m.ispkg)]:
    home = import_module(package)
    for name in getattr(home, "__all__", ()):
        try:
            getattr(home, name)
        except ImportError as error:
            print(package, name, f"{type(error).__name__}: {error}", sep="\\t")
"""
)


def test_a_name_that_needs_torch_says_so_and_the_others_are_there():
    found = {}
    for line in child(NAMES).splitlines():
        package, name, error = line.split("\t")
        assert error.startswith("MissingPackageError: voltaspin."), line
        assert f".{name} needs " in error
        assert error.endswith(REMEDY), line
        found.setdefault(package, set()).add(name)
    assert found == MISSING
