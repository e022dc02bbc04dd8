"""Manners of the command line: version, help, quiet, completion, statuses of verdicts, and templates."""

import json
import shlex
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import shellingham
import typer

from voltaspin.cli import terminal
from voltaspin.cli.app import built, main
from voltaspin.cli.template import TEMPLATES
from voltaspin.cost import CostTable
from voltaspin.cost.macro import MacroSpec
from voltaspin.design.space import DesignSpace
from voltaspin.device import Junction
from voltaspin.device.fit.tables import read_devices
from voltaspin.memory import ArraySpec
from voltaspin.requirements import NoiseSpecification
from voltaspin.study.specification import StudySpec


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code, capsys.readouterr()


@pytest.fixture
def bits(tmp_path):
    """Files of ideal bits, of biased ones, and of two cells of which one is stuck."""
    rng = np.random.default_rng(3)
    fair, biased = rng.integers(0, 2, 80_000, np.uint8), (rng.random(2_000_000) < 0.6).astype(np.uint8)
    cells = rng.integers(0, 2, (40_000, 2), np.uint8)
    cells[:, 1] = 1
    for name, values in {"fair": fair, "biased": biased, "cells": cells.ravel()}.items():
        (tmp_path / f"{name}.bin").write_bytes(np.packbits(values).tobytes())
    # switching probabilities of a thermal law but for two widths, and a square wave, whose dwells are all alike
    law = {(w, V): 1 - np.exp(-w * np.exp(-10 * (1 - V / 1.5))) for V in (1.2, 1.35) for w in range(1, 9)}
    rows = [f"{w},{V},{abs(P - 0.3 * (w in (3, 6))):.4f}" for (w, V), P in law.items()]
    (tmp_path / "law.csv").write_text("\n".join(["width (ns),voltage,P_sw", *rows]))
    square = np.tile(np.repeat([0.0, 1.0], 10), 200) + 0.01 * rng.standard_normal(4000)
    (tmp_path / "square.csv").write_text("\n".join(f"{1e-4 * i:.6g},{v:.4f}" for i, v in enumerate(square)))
    return tmp_path


def test_the_version_and_a_short_help(capsys):
    assert run(capsys, "--version") == (0, (f"voltaspin {version('voltaspin')}\n", ""))
    for line in (["-h"], ["bits", "-h"], ["device", "-h"], ["device", "fit", "-h"], ["memory", "cost", "-h"]):
        code, said = run(capsys, *line)
        assert (code, "Usage:" in said.out) == (0, True)


def test_completion_can_be_installed():
    line = f"{shlex.quote(sys.executable)} -m voltaspin --show-completion; exit $?"  # with bash around it
    made = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert made.returncode == 0
    assert "complete" in made.stdout


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_completion_for_no_known_shell_is_one_line(capsys, monkeypatch, option):
    def none():
        raise shellingham.ShellDetectionFailure

    for detected, named in ((none, "none"), (lambda: ("dash", "/bin/dash"), "dash")):
        monkeypatch.setattr(shellingham, "detect_shell", detected)
        code, said = run(capsys, option)
        assert (code, said.out, said.err.count("\n")) == (2, "", 1)
        assert f"{option}: the shell that runs this program is {named}; run it from bash" in said.err


def test_quiet_leaves_out_remarks_and_keeps_errors(bits, capsys):
    loud = run(capsys, "randomness", bits / "fair.bin")
    for line in (["--quiet", "randomness", bits / "fair.bin"], ["randomness", bits / "fair.bin", "--quiet"]):
        code, said = run(capsys, *line)
        assert (code, said.err) == (0, "")
        assert said.out == loud[1].out
    assert "read as" in loud[1].err
    code, said = run(capsys, "--quiet", "randomness", bits / "none.bin")
    assert code == 2
    assert said.err.count("\n") == 1
    assert loud[1].err.splitlines()[-1] in run(capsys, "randomness", bits / "fair.bin")[1].err  # it does not last


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (["randomness", "fair.bin", "--fail-on", "faults"], 0),
        (["randomness", "biased.bin", "--fail-on", "faults"], terminal.VERDICT),
        (["randomness", "biased.bin"], 0),
        (["randomness", "biased.bin", "--fail-on", "anything"], 2),
        (["cells", "cells.bin", "--n-cells", "2", "--fail-on", "bad-cells"], terminal.VERDICT),
        (["cells", "cells.bin", "--n-cells", "2"], 0),
        (["spec", "biased.bin", "--fail-on", "raw"], terminal.VERDICT),
        (["spec", "--bits", "biased.bin"], 0),
        (["spec", "biased.bin", "--fail-on", "both"], 2),
        (
            [
                "device",
                "fit",
                "law.csv",
                "--fixed",
                "trials=1000",
                "--switching-model",
                "thermal",
                "--out",
                "f",
                "--fail-on",
                "misfit",
            ],
            terminal.VERDICT,
        ),
        (["device", "fit", "law.csv", "--out", "f", "--fail-on", "fit"], 2),
        (["memory", "endurance", "--endurance", "1e6", "--fail-on", "wear"], terminal.VERDICT),
        (["waveform", "square.csv", "--fail-on", "law"], terminal.VERDICT),
        (["waveform", "square.csv", "--no-telegraph", "--period", "1ms", "--fail-on", "law"], 2),
        (["evaluate", ".", "--fail-on", "different"], 2),
        (["device", "characterise", "--out", "c", "--fail-on", "fair"], 2),
    ],
)
def test_a_pipeline_can_stop_on_a_verdict(bits, capsys, monkeypatch, line, status):
    monkeypatch.chdir(bits)
    code, said = run(capsys, *line)
    assert code == status
    assert bool(said.out) is (status != 2)  # the verdict itself is printed all the same


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_template_is_a_file_that_its_command_reads(kind, capsys):
    code, said = run(capsys, "template", kind)
    assert (code, said.err) == (0, "")
    read = {
        "array": ArraySpec.from_json, "design": DesignSpace.from_json, "macro": MacroSpec.from_json,
        "cost-table": CostTable.from_json, "study": StudySpec.from_json, "junction": Junction.from_json,
        "specification": NoiseSpecification.from_json,
    }  # fmt: skip
    if kind in read:
        read[kind](json.loads(said.out))
    code, said = run(capsys, "template", kind, "nosuchname")
    assert code == 2
    assert said.err.count("\n") == 1


def test_templates_of_a_table_and_of_a_network_are_read(capsys, tmp_path):
    for kind, name in (("measurements", "table.csv"), ("model", "model.py")):
        (tmp_path / name).write_text(run(capsys, "template", kind)[1].out)
    (found,) = read_devices([tmp_path / "table.csv"], junction=Junction.of("generator"))
    assert (found.kind, found.points) == ("switching", 2)
    code, said = run(capsys, "memory", "coverage", "--model", f"{tmp_path / 'model.py'}:network")
    assert code == 0, said.err


def test_a_call_builds_the_commands_once(capsys, monkeypatch):
    built.cache_clear()
    made = []
    monkeypatch.setattr(typer.main, "get_command", lambda app, make=typer.main.get_command: made.append(1) or make(app))
    for _ in range(2):
        assert run(capsys, "memory", "yield", "--rows", "nan")[0] == 2
    assert len(made) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["sample", "--in-place", "--sampler", "heun"], "--sampler heun has no effect on images in place"),
        (["sample", "--in-place", "--junction", "nonsense"], "'nonsense' is unknown"),
        (["sample", "--in-place", "--shard", "1/2"], "leave --shard and --first out"),
        (["sample", "--order", "2"], "is of images in place"),
        (["sample", "--cells-per-pixel", "3"], "--cells-per-pixel is of --in-place"),
        (["sample", "--noise", "nonsense"], "noise 'nonsense' is unknown"),
        (["sample", "--noise", "software", "--conditioning", "bogus"], "conditioner 'bogus' is unknown"),
        (["sample", "--noise", "-", "--conditioning", "bogus"], "conditioner 'bogus' is unknown"),
        (["sample", "--noise", "-", "--shard", "1/2"], "- hands out one sequence in the order of the work"),
        (["sample", "--noise", "system", "--first", "8"], "use --noise memory or --noise software"),
        (["sample", "--sampler", "heun", "--compute", "memory"], "--compute memory is not taken with --sampler heun"),
        (["sample", "--sampler", "heun", "--churn", "2"], "--churn 2 is not taken with --sampler heun"),
        (["sample", "--compute", "memory", "--array", "nonsense"], "array preset 'nonsense' is unknown"),
        (["sample", "--steps", "2000"], "2000 sampling steps"),
        (["sample", "--label", "3"], "this model is told no class"),
        (["sample", "--resume", "--force"], "--resume goes on with a run and --force begins it again"),
        (["train", "--noise", "nonsense"], "noise 'nonsense' is unknown"),
        (["train", "--noise", "software", "--conditioning", "bogus"], "conditioner 'bogus' is unknown"),
        (["train", "--diffusion", "in-place", "--junction", "nonsense"], "'nonsense' is unknown"),
        (["train", "--resume", "--force"], "--resume goes on with a run and --force begins it again"),
    ],
)  # fmt: skip
def test_a_dry_run_refuses_what_the_run_would_refuse(tmp_path, capsys, monkeypatch, line, says):
    monkeypatch.chdir(tmp_path)
    code, said = run(capsys, *line, "--out", "x", "--dry-run")
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert says in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        ["bits", "--noise", "software", "--count", "8M", "--out", "x.bin"],
        ["bits", "--noise", "memory:junction=generator,voltage=1.31V,width=0.3ns", "--count", "8M", "--out", "x.bin"],
        ["device", "characterise", "--quick", "--out", "x"],
        ["device", "fit", "law.csv", "--fixed", "trials=1000", "--out", "x"],
        ["train", "--training-steps", "10", "--set", "channels=[16,16]", "--out", "x"],
        ["sample", "--count", "4", "--steps", "2", "--out", "x"],
        ["demo", "--images", "4", "--steps", "2", "--out", "x"],
    ],
)
def test_a_dry_run_says_time_and_memory_and_leaves_nothing(bits, capsys, monkeypatch, line):
    monkeypatch.chdir(bits)
    monkeypatch.setenv("VOLTASPIN_CACHE", str(bits / "cache"))
    before = {p.name for p in bits.iterdir()} | {"cache"}
    code, said = run(capsys, *line, "--dry-run", "--json")
    assert code == 0, said.err
    found = json.loads(said.out)
    assert found["kind"] == "forecast"
    assert found["seconds"] > 0
    assert 1e7 < found["memory"] < 1e10
    assert {p.name for p in bits.iterdir()} <= before
