"""Switching sweeps: every point on the disk at once, resumed after a kill, read and fitted as they stand."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.core.units import ns
from voltaspin.device import Junction, Pulse
from voltaspin.device.fit.tables import read_measurements
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.lab import InstrumentError, Profile, Pulses, measure
from voltaspin.lab.profile import TEMPLATE

EXAMPLES = Path(__file__).parents[2] / "examples"
PULSES = {
    "set_width": "W {width}", "set_voltage": "V {voltage}", "width_unit": "ns", "reset_P": "RP", "reset_AP": "RA",
    "trigger": "T", "read": "R?",
}  # fmt: skip
GRID = {"widths": [2e-10, 3e-10], "voltages": [1.1, 1.2]}


def rows(path):
    return [line.split(",") for line in path.read_text().splitlines() if not line.startswith("#")]


def at_bench(address, **more):
    """The template, at another address."""
    profile = Profile.load(TEMPLATE)
    return Profile(**{**vars(profile), "address": address, **more})


def scripted(server, **more):
    return Profile(address=server.address, **{"timeout": 1.0, "retries": 0, "sweep": Pulses(**PULSES), **more})


def test_the_shares_are_those_of_the_density_and_the_reader_takes_the_table(bench, tmp_path):
    out = tmp_path / "s.csv"
    found = measure(at_bench(bench(seed=1)), out, **GRID, directions=["P->AP", "AP->P"], repeats=200)
    assert (found.points, found.resumed, found.instrument) == (8, 0, "Voltaspin,simulated generator,0,1")
    sets = read_measurements([out]).sets
    assert [one.initial for one in sets] == ["up", "down"]
    assert {one.relax for one in sets} == {10 * ns}
    junction, seen = Junction.of("generator"), 0
    for one in sets:
        assert one.trials.tolist() == [200] * 4
        for V, w, count in zip(one.voltage, one.width, one.counts, strict=True):
            p = switching_probability(junction, Pulse(voltage=V, width=w), initial=one.initial).value
            low, high = binom.interval(1 - 1e-6, 200, p)  # of eight points: a wrong table fails, chance does not
            assert low <= count <= high
            seen += 1
    assert seen == 8
    assert [(one.voltage.tolist(), one.width.tolist()) for one in sets] == [
        ([1.1, 1.1, 1.2, 1.2], GRID["widths"] * 2)
    ] * 2


def test_the_same_seed_gives_the_same_table(bench, tmp_path):
    made = []
    for name in ("a.csv", "b.csv"):
        measure(at_bench(bench(seed=3)), tmp_path / name, **GRID, repeats=20)
        made.append(rows(tmp_path / name))
    assert made[0] == made[1]


def test_each_pulse_is_programmed_reset_sent_and_read_in_turn(serve, tmp_path):
    server = serve({"R?": ["0", "1", "0", "0", "1", "1", "1", "0"]})
    measure(
        scripted(server),
        tmp_path / "s.csv",
        widths=[0.35 * ns],
        voltages=[1.2],
        directions=["P->AP", "AP->P"],
        repeats=2,
    )
    program = ["W 0.35", "V 1.2"]
    assert server.heard == program + ["RP", "R?", "T", "R?"] * 2 + program + ["RA", "R?", "T", "R?"] * 2
    assert rows(tmp_path / "s.csv")[1:] == [
        ["1.2", "3.5e-10", "up", "1", "2", "0.5"], ["1.2", "3.5e-10", "down", "1", "2", "0.5"],
    ]  # fmt: skip


def test_a_reset_that_fails_is_repeated_and_one_that_always_fails_is_a_stuck_junction(serve, tmp_path):
    server = serve({"R?": ["1", "1", "0", "0"]})
    measure(scripted(server), tmp_path / "s.csv", widths=[1 * ns], voltages=[1], repeats=1)
    assert server.heard.count("RP") == 3
    stuck = serve({"R?": "1"})
    with pytest.raises(InstrumentError, match="10 resets by 'RP' did not bring the junction to P: it is stuck"):
        measure(scripted(stuck), tmp_path / "t.csv", widths=[1 * ns], voltages=[1], repeats=1)
    assert not (tmp_path / "t.csv").exists()
    blind = scripted(stuck, sweep=Pulses(**PULSES, check_reset=False))
    measure(blind, tmp_path / "t.csv", widths=[1 * ns], voltages=[1], repeats=3)
    assert rows(tmp_path / "t.csv")[1][3] == "3"


@pytest.mark.parametrize(("answer", "said"), [
    ("0.5", "with 0.5 where the state is 0 for P or 1 for AP; a measured value needs a threshold"),
    ("0,1", "2 numbers"),
    ("9.9E37", "SCPI means infinity"), ("AP", "'AP', no number"), (None, "has not answered 'R\\?'"), (0.0, "R\\?"),
])  # fmt: skip
def test_an_answer_that_is_no_state_ends_the_sweep_and_keeps_the_points(serve, tmp_path, answer, said):
    server = serve({"R?": ["0", "1", "0", answer]})
    out = tmp_path / "s.csv"
    with pytest.raises(InstrumentError, match=rf"{said}.*1 of 4 points are in .*s\.csv; go on with resume=True"):
        measure(scripted(server), out, **GRID, repeats=1)
    assert len(rows(out)) == 2
    server.turns["R?"] = iter(["0", "0", "0", "1", "0", "1"])
    found = measure(scripted(server), out, **GRID, repeats=1, resume=True)
    assert (found.points, found.resumed) == (4, 1)
    assert [row[3] for row in rows(out)[1:]] == ["1", "0", "1", "1"]


def test_a_connection_that_dies_begins_its_point_again(serve, tmp_path):
    server = serve({"R?": ["0", "1", 0.0, "0", "1", "0", "0"]})
    found = measure(scripted(server, retries=2), tmp_path / "s.csv", widths=[1 * ns], voltages=[1], repeats=2)
    assert found.asked_again == 1
    assert server.heard.count("W 1") == 2
    assert rows(tmp_path / "s.csv")[1][3] == "1"


def test_a_pulse_that_the_instrument_refuses_is_named(bench, tmp_path):
    profile = at_bench(bench())
    broken = Pulses(**{**vars(profile.sweep), "set_voltage": "PULS:VLOT {voltage}"})
    with pytest.raises(
        InstrumentError,
        match=r"-113,.Undefined header.* after a pulse of 1\.1 V and 200 ps was set.*no point is finished",
    ):
        measure(at_bench(profile.address, sweep=broken), tmp_path / "s.csv", **GRID)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_plan_is_not_gone_on_with(serve, tmp_path):
    server = serve({"R?": ["0"] * 100})
    out = tmp_path / "s.csv"
    profile = scripted(server)
    measure(profile, out, **GRID, repeats=2)
    text = out.read_text()
    for given, said in (
        ({"repeats": 3}, "repeats 2, not 3"), ({"voltages": [1.1]}, r"voltages \[1.1, 1.2\], not \[1.1\]"),
        ({"directions": ["AP->P"]}, "directions"), ({"widths": [1e-9]}, "widths"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"is of another plan .*{said}"):
            measure(profile, out, **{**GRID, "repeats": 2, **given}, resume=True)
    other = scripted(server, sweep=Pulses(**{**PULSES, "trigger": "TT"}))
    with pytest.raises(InputError, match=r"profile: sweep: trigger 'T', not 'TT'"):
        measure(other, out, **GRID, repeats=2, resume=True)
    with pytest.raises(InputError, match="exists"):
        measure(profile, out, **GRID, repeats=2)
    assert out.read_text() == text
    more = scripted(server, timeout=9.0, retries=5)  # which decide no number
    assert measure(more, out, **GRID, repeats=2, resume=True).resumed == 4
    for wrong, said in (
        (text.replace("1.1,2e-10", "1.1,2.5e-10"), "line 4.* no point 1"),
        (text.replace(",0,2,0.0", ",3,2,0.0"), "line 4"),
        (f"{text}{text.splitlines()[-1]}\n", "line 8.* no point 5"),
        ("a,b\n1,2\n", "no sweep that can go on"), ("", "no sweep"),
        (text.replace('{"widths"', '{widths'), "not readable JSON"),
        (text.replace("initial,switched", "switched,initial"), "first three lines"),
    ):  # fmt: skip
        out.write_text(wrong)
        with pytest.raises(InputError, match=said):
            measure(profile, out, **GRID, repeats=2, resume=True)
        assert out.read_text() == wrong
    measure(profile, out, **GRID, repeats=2, overwrite=True)
    assert out.read_text() == text


def test_a_row_that_was_cut_is_measured_again(serve, tmp_path):
    server = serve({"R?": "0"})
    out = tmp_path / "s.csv"
    whole = measure(scripted(server), out, **GRID, repeats=2)
    text = out.read_text()
    out.write_text(text[:-9])
    again = measure(scripted(server), out, **GRID, repeats=2, resume=True)
    assert (again.resumed, again.sha256) == (3, whole.sha256)


@pytest.mark.parametrize(("given", "said"), [
    ({"widths": []}, "widths = none"), ({"voltages": [1, 1.0]}, "each once"), ({"widths": [-1e-9]}, "width = -1e-09 s"),
    ({"voltages": [float("nan")]}, "voltage = nan"), ({"directions": ["AP-P"]}, "did you mean 'AP->P'"),
    ({"repeats": 0}, "repeats = 0"), ({"directions": ["AP->P"]}, "has no reset_AP"),
])  # fmt: skip
def test_a_plan_that_is_none(tmp_path, given, said):
    profile = Profile(address="A", sweep=Pulses(**{**PULSES, "reset_AP": ""}))
    with pytest.raises(InputError, match=said):
        measure(profile, tmp_path / "s.csv", **{**GRID, **given})
    with pytest.raises(InputError, match=r"no part \[sweep\]"):
        measure(Profile(address="A"), tmp_path / "s.csv", **GRID)


SIMULATED = """
spec: "1.1"
devices:
  pulser:
    eom:
      TCPIP INSTR: {q: "\\n", r: "\\n"}
    error: ERROR
    dialogues:
      - {q: "T"}
    properties:
      width: {default: 1, setter: {q: "W {:.6g}"}}
      voltage: {default: 1, setter: {q: "V {:.6g}"}}
      state: {default: 4800, setter: {q: "RES {:d}"}, getter: {q: "R?", r: "{:d}"}}
resources:
  TCPIP0::lab::inst0::INSTR: {device: pulser}
"""


def test_a_sweep_of_pyvisa_sim(tmp_path):
    (tmp_path / "bench.yaml").write_text(SIMULATED)
    pulses = Pulses(**{**PULSES, "reset_P": "RES 4800", "reset_AP": "RES 6100", "threshold": "5.4kohm"})
    profile = Profile(
        address="TCPIP0::lab::inst0::INSTR", backend=f"{tmp_path / 'bench.yaml'}@sim", timeout=2.0, sweep=pulses
    )
    measure(profile, tmp_path / "s.csv", **GRID, directions=["P->AP", "AP->P"], repeats=3)
    assert {row[3] for row in rows(tmp_path / "s.csv")[1:]} == {"0"}  # a trigger changes no property


SWEEP = ["device", "measure", "--profile", "p", "--out", "o"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return done.value.code, out, err


@pytest.fixture
def profile(bench, tmp_path):
    """The file of a profile of a simulated instrument."""
    path = tmp_path / "lab.toml"
    path.write_text(TEMPLATE.read_text().replace("TCPIP0::127.0.0.1::5025::SOCKET", bench(seed=2)))
    return path


def test_the_command_measures_and_bits_and_randomness_take_the_instrument(capsys, tmp_path, profile):
    sweep = ["device", "measure", "--profile", profile, "--widths", "0.2:0.3:0.1ns", "--voltages", "1.1,1.2V"]
    code, out, err = run(capsys, *sweep, "--out", tmp_path / "s.csv", "--repeats", 20, "--direction", "P->AP,AP->P")
    assert code == 0, err
    assert out.startswith("8 points in")
    code, out, _ = run(capsys, *sweep, "--out", tmp_path / "t.csv", "--repeats", 5, "--json")
    assert (json.loads(out)["kind"], json.loads(out)["widths"]) == ("sweep", [2e-10, 3e-10])
    code, out, err = run(capsys, *sweep, "--out", tmp_path / "t.csv", "--repeats", 6, "--resume")
    assert (code, "is of another plan (repeats 5, not 6)" in err) == (2, True)
    rec = tmp_path / "rec"
    code, out, err = run(
        capsys, "randomness", "--noise", f"instrument:{profile}", "--bits", "100k", "--record", rec, "--json"
    )
    assert code == 0, err
    live = json.loads(out)
    assert live["noise"]["kind"] == "instrument"
    code, out, err = run(capsys, "randomness", rec, "--json")
    apart = {"noise", "input"}
    assert {k: v for k, v in live.items() if k not in apart} == {
        k: v for k, v in json.loads(out).items() if k not in apart
    }
    address = Profile.load(profile).address
    command = ["bits", "--instrument", address, "--query", "MEAS:ARR? 500", "--threshold", "750kohm", "--count", "9k"]
    code, _, err = run(capsys, *command, "--out", tmp_path / "lab.bin", "--condition", "health:0.9")
    assert code == 0, err
    assert "threshold 750 kohm, 10" in err
    bits = np.unpackbits(np.fromfile(tmp_path / "lab.bin", np.uint8), count=9000)
    p = switching_probability(
        Junction.of("generator"), Pulse(voltage=Junction.of("generator").V_c, width=0.3 * ns)
    ).value
    assert abs(bits.mean() - p) < 5 * (p * (1 - p) / 9000) ** 0.5


@pytest.mark.parametrize(("arguments", "said"), [
    (["bits", "--query", "Q?", "--count", 8, "--out", "o"], "--query is of an instrument"),
    (["bits", "x.bin", "--profile", "p", "--count", 8, "--out", "o"], "x.bin and --profile are two sources"),
    (["bits", "--noise", "system", "--instrument", "A", "--count", 8, "--out", "o"], "are two sources"),
    (["bits", "--instrument", "", "--query", "Q?", "--count", 8, "--out", "o"], "value of --instrument is empty"),
    (["bits", "--instrument", "A", "--query", "Q?", "--count", 8, "--out", "o"], "need a threshold"),
    (["bits", "--instrument", "A", "--count", 8, "--out", "o"], "no query for bits; give --query"),
    (["bits", "--instrument", "B", "--query", "Q", "--threshold", 1, "--count", 8, "--out", "o"], "cannot be opened"),
    (["bits", "--instrument", "A", "--query", "Q", "--file-format", "npy", "--count", 8, "--out", "o"], "is unknown"),
    (["bits", "--instrument", "A", "--query", "Q", "--delimiter", "tab", "--count", 8, "--out", "o"], "delimiter"),
    (["randomness", "--noise", "instrument:none.toml"], "none.toml does not exist"),
    ([*SWEEP, "--widths", "0.1:1:0ns", "--voltages", "1V"], "steps of 0ns"),
    ([*SWEEP, "--widths", "1", "--voltages", "1V"], "--widths 1 has no unit"),
    ([*SWEEP, "--widths", "1ns", "--voltages", "1:2V"], "START:STOP:STEP"),
    ([*SWEEP, "--widths", "1ns", "--voltages", "1V"], "p does not exist"),
])  # fmt: skip
def test_bad_requests_are_one_line_and_leave_nothing(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert (code, err.count("\n")) == (2, 1), err
    assert said in err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_kill_keeps_the_points_and_the_sweep_goes_on(serve, tmp_path):
    server = serve({"R?": "0"})
    profile, out = tmp_path / "p.toml", tmp_path / "s.csv"
    commands = "\n".join(f"{name} = {json.dumps(text)}" for name, text in PULSES.items())
    final = 'final = ["OFF"]\nsettling = "20ms"\n'
    profile.write_text(f'address = "{server.address}"\n{final}[sweep]\n{commands}\n')
    command = [sys.executable, "-m", "voltaspin", "device", "measure", "--profile", profile, "--widths", "0.1:2:0.1ns",
               "--voltages", "1V", "--out", out, "--repeats", "5"]  # fmt: skip
    said = []
    for stop in (signal.SIGKILL, signal.SIGINT):
        before = len(rows(out)) if out.exists() else 0
        work = subprocess.Popen([*command, *(["--resume"] if before else [])], stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while (len(rows(out)) if out.exists() else 0) < before + 3 and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(work.pid, stop)
        said.append(work.communicate(timeout=30)[1])
    assert work.returncode == 130
    assert "of 20 points are in" in said[1]
    assert "go on with --resume" in said[1]
    assert server.heard.count("OFF") == 1  # after the interrupt
    kept = len(rows(out)) - 1
    done = subprocess.run([*command, "--resume", "--json"], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["resumed"] == kept
    assert [row[1] for row in rows(out)[1:]] == [str(float(f"{i}e-10")) for i in range(1, 21)]


def test_the_example_starts_and_says_its_address(tmp_path):
    command = [sys.executable, str(EXAMPLES / "instrument.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as work:
        address = work.stdout.readline().strip()
        try:
            found = measure(at_bench(address), tmp_path / "s.csv", widths=[0.3 * ns], voltages=[1.2], repeats=10)
        finally:
            work.terminate()
    assert found.instrument == "Voltaspin,simulated generator,0,1"


@pytest.mark.slow
def test_a_junction_comes_back_from_its_sweep(capsys, bench, tmp_path):
    address = bench(seed=7, junction="generator, xi=110fJ/(V m)")
    out = tmp_path / "s.csv"
    widths, voltages = [2e-10, 3e-10, 4e-10], [0.9, 1.3]
    measure(at_bench(address), out, widths=widths, voltages=voltages, directions=["P->AP", "AP->P"], repeats=500)
    code, found, err = run(capsys, "device", "fit", out, "--free", "xi", "--quick", "--out", tmp_path / "f", "--json")
    assert code == 0, err
    xi = json.loads(found)["parameters"]["xi"]
    assert abs(xi["value"] - 110e-15) < 4 * xi["error"] < 10e-15, xi


PROFILE = """address = "TCPIP0::127.0.0.1::9::SOCKET"
backend = "@py"
[sweep]
set_width = "W {width}"
set_voltage = "V {voltage}"
reset_P = "P"
trigger = "T"
read = "R?"
"""


def test_a_sweep_neither_replaces_its_profile_nor_goes_on_and_begins_again(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p").write_text(PROFILE)
    Path("mine.csv").write_text("1,2\n")
    asked = ["device", "measure", "--profile", "p", "--widths", "1ns", "--voltages", "1V", "--out"]
    for more, says in (
        (["p", "--force"], "is read by this run"),
        (["p", "--resume"], "is read by this run"),
        (["mine.csv", "--force", "--resume"], "--resume goes on with a sweep and --force begins it again"),
        (["mine.csv", "--resume"], "or replace it with --force"),
        (["mine.csv"], "mine.csv exists"),
    ):
        code, _, err = run(capsys, *asked, *more)
        assert (code, err.count("\n")) == (2, 1), err
        assert says in err
    assert Path("p").read_text() == PROFILE
    assert Path("mine.csv").read_text() == "1,2\n"
