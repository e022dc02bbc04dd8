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


def test_importing_the_package_loads_nothing_heavy():
    loaded = run("import sys, voltaspin; print(' '.join(sys.modules))").split()
    assert not {"torch", "diffusers", "numba", "scipy", "matplotlib", "numpy"} & set(loaded)


def test_importing_the_package_costs_at_most_half_a_second():
    # CPU time of the process less that of an empty interpreter, the best of three: a busy machine does not count.
    def cpu(code: str) -> float:
        clock = "import time; b = time.process_time(); {}; print(time.process_time() - b)"
        return min(float(run(clock.format(code))) for _ in range(3))

    assert cpu("import voltaspin") <= 0.5


def test_the_help_loads_no_torch():
    code = (
        "import sys; from voltaspin.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert run(code).splitlines()[-1] == "False"


def test_public_names_are_few_and_all_there():
    assert len(voltaspin.__all__) <= 25
    for name in voltaspin.__all__:
        assert getattr(voltaspin, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = voltaspin.nothing


#: Calls that draw from a generator other than ``streams``, and the only functions that may: training shuffles
#: its images (no chance of the hardware) and initialises its weights.
DRAWS = re.compile(
    r"(torch|np|numpy)\.(random\.)?(randn?|rand_like|randn_like|randint|normal|bernoulli|default_rng|manual_seed|"
    r"Generator|Philox|RandomState|choice|permutation|randperm)$|^random\.|^os\.urandom$|^secrets\."
)
ALLOWED = {
    ("diffusion/training.py", "make_model"): {"torch.manual_seed"},
    ("diffusion/training.py", "_batch"): {"np.random.Generator", "np.random.Philox"},
}


def test_noise_has_one_door():
    found: dict[tuple[str, str], set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef | ast.Module):
                continue
            body = function.body if isinstance(function, ast.Module) else [function]
            for node in (n for part in body for n in ast.walk(part)):
                if isinstance(node, ast.Call) and DRAWS.search(called := ast.unparse(node.func)):
                    where = (file.relative_to(SOURCE).as_posix(), getattr(function, "name", "module"))
                    if where[1] != "module":
                        found.setdefault(where, set()).add(called)
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
