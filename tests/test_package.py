"""Promises about the package as a whole: what it imports, where chance comes from, what the README shows."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import voltaspin

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "voltaspin"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


HELP = """
from voltaspin.cli.app import main
try:
    main(["--help"])
except SystemExit:
    pass
"""


def test_importing_the_package_loads_nothing_heavy():
    loaded = run("import sys, voltaspin; print(' '.join(sys.modules))").split()
    assert not {"torch", "diffusers", "numba", "scipy", "matplotlib", "numpy"} & set(loaded)


def test_importing_and_the_help_are_quick():
    # CPU time, the best of three, so that a busy machine does not count.
    def cpu(code: str) -> float:
        timed = f"import time; begin = time.process_time()\n{code}\nprint(time.process_time() - begin)"
        return min(float(run(timed).splitlines()[-1]) for _ in range(3))

    assert cpu("import voltaspin") <= 0.5
    assert cpu(HELP) <= 1.0


def test_the_help_loads_no_torch():
    assert run(HELP + "import sys; print({'torch', 'numpy'} & set(sys.modules))").splitlines()[-1] == "set()"


def test_public_names_are_few_and_all_there():
    assert len(voltaspin.__all__) <= 25
    for name in voltaspin.__all__:
        assert getattr(voltaspin, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = voltaspin.nothing


#: Calls that draw from a generator other than ``streams``.
DRAWS = re.compile(
    r"(torch|np|numpy)\.(random\.)?(randn?|rand_like|randn_like|randint|normal|bernoulli|default_rng|manual_seed|"
    r"Generator|Philox|RandomState|choice|permutation|randperm)$|^random\.|^os\.urandom$|^secrets\."
)
#: The only ones: training shuffles its images and initialises its weights, which is no chance of the hardware;
#: the source that says of itself that it is the operating system; generators that are timed and thrown away; and those
#: that name an image's stream to a pipeline, whose draws drive_torch serves.
ALLOWED = {
    "diffusion/published.py": {"torch.Generator"},
    "noise/torch_block.py": {"torch.Generator"},  # whose newly seeded state is read; it never draws
    "diffusion/objective.py": {"np.random.Generator", "np.random.Philox"},
    "diffusion/recipe.py": {"torch.manual_seed"},
    "noise/system.py": {"os.urandom"},
    "cost/processors.py": {"np.random.Generator"},
}


def test_noise_has_one_door():
    found = {}
    for file in SOURCE.rglob("*.py"):
        calls = {ast.unparse(n.func) for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)}
        if drawn := {call for call in calls if DRAWS.search(call)}:
            found[file.relative_to(SOURCE).as_posix()] = drawn
    assert found == ALLOWED


def test_nothing_is_unpickled():
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"torch\.load\(|\bpickle\b.*load|allow_pickle=True", text), file


def test_the_lock_pins_one_torch_and_no_torchvision():
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    assert "torch==2.13.0" in lock
    assert not [line for line in lock if line.startswith(("torchvision", "torchaudio", "nvidia", "triton"))]
    both = set((ROOT / "requirements-test.lock").read_text().splitlines())
    assert set(lock) <= both


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 12
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "garments.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted(p.name for p in (ROOT / "examples").glob("[0-9]*.py")))
def test_examples_run_and_are_short(example, tmp_path):
    path = ROOT / "examples" / example
    assert len(path.read_text().splitlines()) <= 60
    environment = os.environ | {"MPLBACKEND": "agg"}
    subprocess.run([sys.executable, str(path)], cwd=tmp_path, check=True, capture_output=True, env=environment)
