"""``voltaspin device fit``: round trips through files, the record, and one line for every ugly table."""

import hashlib
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import voltaspin.device
import voltaspin.report
from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z95
from voltaspin.device import Junction
from voltaspin.device.fit import data as measurements
from voltaspin.device.fit.data import ResistanceData, SwitchingData, TMRData
from voltaspin.device.fit.field import switched
from voltaspin.device.fit.kinds import KINDS
from voltaspin.device.fit.predictions import predict
from voltaspin.device.fit.resistance import resistance
from voltaspin.device.fit.tables import joined

#: A low barrier, so that a few harmonics resolve it.
TRUTH = ["--set", "Delta=8", "--set", "B_x=20mT", "--set", "B_z=1mT"]
NEARBY = ["--set", "Delta=7.8", "--set", "B_x=20.5mT", "--set", "xi=102fJ/Vm"]
UPRIGHT = ["--set", "B_x=0", "--set", "B_z=4mT"]
VOLTS = np.linspace(-0.6, 0.4, 21)


def call(capsys, *arguments):
    """Exit status, standard output and standard error of one fit in this process."""
    with pytest.raises(SystemExit) as caught:
        main(["device", "fit", *(str(a) for a in arguments)])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def truth_of(options: list[str]):
    return Junction.of(", ".join(["generator", *options[1::2]]))


def write(path: Path, header: str, *columns: Any, separator: str = ",") -> Path:
    lines = [separator.join(str(cell) for cell in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def fitted(capsys, out: Path, *arguments: Any) -> dict[str, Any]:
    """The record that ``--json`` prints, which is also fit.json."""
    status, text, err = call(capsys, *arguments, "--out", out, "--json")
    assert (status, err) == (0, ""), err
    record = json.loads(text)
    assert record == json.loads((out / "fit.json").read_text())
    return record


def close(record: dict[str, Any], truth: dict[str, float], sigmas: float = 4.0) -> None:
    for name, value in truth.items():
        found = record["parameters"][name]
        assert abs(found["value"] - value) < sigmas * found["error"], f"{name}: {found}, truth {value}"
        assert found["high"] - found["low"] == pytest.approx(2 * Z95 * found["error"])


# --- round trips ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """P_sw in percent from both wells, with units in the names."""
    rng, rows = np.random.default_rng(1), []
    V, w = (x.ravel() for x in np.meshgrid([0.15, 0.25, 0.35], np.linspace(0.1, 0.9, 8) * 1e-9, indexing="ij"))
    for initial in ("up", "down"):
        blank = SwitchingData(voltage=V, width=w, P_sw=0.0, trials=1000, initial=initial, relax=1e-9)  # type: ignore[arg-type]
        P, _ = predict(truth_of(TRUTH), blank, degree=24)
        shares = rng.binomial(1000, P) / 10
        rows += [(f"{1e3 * a:.6g}", f"{1e9 * b:.8g}", p, initial) for a, b, p in zip(V, w, shares, strict=True)]
    path = tmp_path_factory.mktemp("sweep") / "sweep.csv"
    return write(path, "# pulses on device 7\nVoltage (mV),t_ns,P_sw [%],initial", *zip(*rows, strict=True))


SWEPT = ["--columns", "width=t_ns", "--fixed", "trials=1000", "--fixed", "relax=1ns", "--degree", 24]


def test_switching_round_trip(sweep, tmp_path, capsys):
    out = tmp_path / "o"
    record = fitted(capsys, out, sweep, *NEARBY, *SWEPT)
    truth = truth_of(TRUTH)
    close(record, {"xi": truth.xi, "K_eff": truth.K_eff(), "B_x": 20e-3, "B_z": 1e-3})
    assert sorted(p.name for p in out.iterdir()) == ["fit.json", "fit.png", "junction.json", "run.json"]
    made = Junction.load(out / "junction.json")
    assert made.xi == record["parameters"]["xi"]["value"]
    assert made.name == "generator, Delta=7.8, B_x=20.5mT, xi=102fJ/Vm, fitted to sweep.csv"
    assert record["junction"] == json.loads((out / "junction.json").read_text())
    assert Junction.from_json(record["start"]) == truth_of(NEARBY)
    assert Image.open(io.BytesIO((out / "fit.png").read_bytes())).size == (1536, 672)
    assert (record["measurement"], record["points"], record["dof"], record["degree"]) == ("switching", 48, 44, 24)
    assert record["chi2"] < 80  # of 44 degrees of freedom: more once in a thousand
    assert np.diag(record["correlation"]) == pytest.approx(1)
    assert np.sqrt(np.diag(record["covariance"])) == pytest.approx([p["error"] for p in record["parameters"].values()])
    (file,) = record["files"]
    assert file["sha256"] == hashlib.sha256(sweep.read_bytes()).hexdigest()
    assert file["columns"]["voltage"] == {"column": "Voltage (mV)", "unit": "mV"}
    assert file["columns"]["initial"] == {"column": "initial", "unit": None}
    assert file["columns"]["width"] == {"column": "t_ns", "unit": "ns"}
    assert record["fixed"] == ["trials=1000", "relax=1ns"]
    assert {"voltaspin", "numpy"} <= set(record["environment"])


def test_what_is_printed(sweep, tmp_path, capsys):
    status, out, err = call(capsys, sweep, *NEARBY, *SWEPT, "--free", "xi, Delta,B_x,B_z", "--out", tmp_path / "o")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["parameter", "value", "error", "95", "%", "interval", "unit"]
    assert [line.split()[0] for line in lines[1:5]] == ["xi", "Delta", "B_x", "B_z"]
    assert lines[1].endswith(" fJ/(V m)")
    assert lines[3].endswith(" mT")
    assert lines[5].startswith("48 points; chi2 ")
    assert lines[-2].endswith("junction.json")
    assert lines[-1].endswith("fit.png")


def test_resistance_round_trip(tmp_path, capsys):
    truth, rng = replace(truth_of(UPRIGHT), RA=0.9e-9, TMR0=1.3, V_h=0.42), np.random.default_rng(3)
    R = {s: resistance(truth, ResistanceData(voltage=VOLTS, R=np.ones(21), state=np.array(s))) for s in ("P", "AP")}
    noisy = {s: r * (1 + 0.01 * rng.standard_normal(21)) / 1e3 for s, r in R.items()}
    error = np.concatenate([R["P"], R["AP"]]) * 0.01 / 1e3
    long = write(
        tmp_path / "long.csv", "voltage;R (kΩ);state;error (kΩ)", np.tile(VOLTS, 2), np.concatenate([*noisy.values()]),
        ["P"] * 21 + ["AP"] * 21, error, separator=";",
    )  # fmt: skip
    wide = write(tmp_path / "wide.csv", "voltage,R_P_kohm,R_AP_kohm", VOLTS, noisy["P"], noisy["AP"])
    weighed = fitted(capsys, tmp_path / "a", long, *UPRIGHT)
    plain = fitted(capsys, tmp_path / "b", wide, *UPRIGHT, "--kind", "resistance")
    for record in (weighed, plain):
        close(record, {"RA": 0.9e-9, "TMR0": 1.3, "V_h": 0.42})
        assert record["points"] == 42
    assert weighed["p_value"] > 1e-3
    assert (plain["chi2"], plain["p_value"]) == (None, None)
    out = call(capsys, wide, *UPRIGHT, "--kind", "resistance", "--out", tmp_path / "c")[1]
    assert "no errors in the data" in out
    assert "ohm um^2" in out


def test_TMR_round_trip_over_two_files_and_a_note(tmp_path, capsys):
    truth, rng = replace(truth_of(UPRIGHT), TMR0=1.3, V_h=0.42), np.random.default_rng(4)
    TMR = np.array([truth.TMR(float(v)) for v in VOLTS]) + 0.02 * rng.standard_normal(21)
    files = [write(tmp_path / f"{k}.csv", "voltage,TMR (%)", VOLTS[k::2], 100 * TMR[k::2]) for k in (0, 1)]
    record = fitted(capsys, tmp_path / "o", *files, "--fixed", "error=2%")
    close(record, {"TMR0": 1.3, "V_h": 0.42})
    assert [file["points"] for file in record["files"]] == [11, 10]
    bent = write(tmp_path / "bent.csv", "voltage,TMR", VOLTS, TMR * (1 + VOLTS))
    status, out, err = call(capsys, bent, "--fixed", "error=0.02", "--out", tmp_path / "b")
    assert (status, err) == (0, "")
    assert "the model does not describe these data within their errors" in out


def ramps(folder: Path, voltages: list[float], torque: float) -> list[Path]:
    """One file for each voltage, switching fields in mT."""
    rng, files, truth, B = np.random.default_rng(7), [], truth_of(UPRIGHT), np.linspace(-0.12, 0.12, 2001)
    for V in voltages:
        pair = []
        for well, falling in (("up", -1), ("down", 1)):
            here = replace(truth, B_bias=(0.0, 0.0, 4e-3 + torque * V))
            share = switched(here, B, ramp_rate=0.5, initial=well, voltage=V)  # type: ignore[arg-type]
            pair.append(1e3 * np.interp(rng.random(300), share[::falling], B[::falling]))
        columns = ([V] * 300, *pair)
        files.append(write(folder / f"{V}V.csv", "voltage_V,up_to_down_mT,down_to_up_mT", *columns))
    return files


def test_switching_fields_round_trip(tmp_path, capsys):
    truth = truth_of(UPRIGHT)
    files = ramps(tmp_path, [-0.4, 0.0, 0.4], 5e-3)
    start = ["--set", "B_x=0", "--set", "Delta=60", "--fixed", "ramp_rate=500mT/s"]
    one = fitted(capsys, tmp_path / "one", files[1], *start)
    close(one, {"Delta": truth.Delta(), "B_k": truth.B_k(), "B_z": 4e-3})
    assert one["points"] == 600
    made = Junction.load(tmp_path / "one" / "junction.json")
    assert made.Delta() == pytest.approx(one["parameters"]["Delta"]["value"])
    several = fitted(capsys, tmp_path / "several", *files, *start)
    expected = {"Delta": truth.Delta(), "B_k": truth.B_k(), "B_z": 4e-3, "xi": truth.xi, "B_z_per_volt": 5e-3}
    close(several, expected)
    status, _, err = call(capsys, *files, *start, "--free", "xi", "--out", tmp_path / "free")
    assert (status, err.count("\n")) == (2, 1)
    assert "fields at 3 voltages fit xi and all that goes with it" in err
    assert not (tmp_path / "free").exists()


def test_both_directions_may_come_in_files_of_their_own(tmp_path, capsys):
    (both,) = ramps(tmp_path, [0.0], 0.0)
    _, *rows = (line.split(",") for line in both.read_text().splitlines())
    down = write(tmp_path / "down.csv", "up_to_down (Oe)", [10 * float(row[1]) for row in rows])
    up = write(tmp_path / "up.csv", "B", [row[2] for row in rows[:200]])
    options = ["--set", "B_x=0", "--fixed", "ramp_rate=0.5"]
    record = fitted(capsys, tmp_path / "o", down, up, *options, "--columns", "down_to_up=B:mT")
    close(record, {"B_z": 4e-3})
    assert record["points"] == 500
    status, _, err = call(capsys, down, *options, "--out", tmp_path / "one")
    assert status == 2
    assert "fix B_z: --free Delta,B_k" in err
    assert fitted(capsys, tmp_path / "two", down, *options, "--free", "B_k")["dof"] > 0


def test_spread_round_trip_without_a_junction(tmp_path, capsys):
    rng = np.random.default_rng(0)
    R_P = 5e5 * np.exp(0.08 * rng.standard_normal(400))
    R_AP = R_P * 2.1 * np.exp(0.05 * 1.1 / 2.1 * rng.standard_normal(400))
    path = write(tmp_path / "wafer.csv", "device,R_P,R_AP", range(400), R_P, R_AP)
    out = tmp_path / "o"
    record = fitted(capsys, out, path)
    close(record, {"R_P": 5e5, "TMR": 1.1, "resistance_spread": 0.08, "TMR_spread": 0.05})
    assert (record["measurement"], record["junction"]) == ("spread", None)
    assert sorted(p.name for p in out.iterdir()) == ["fit.json", "fit.png", "run.json"]
    (out / "junction.json").write_text("{}")
    status, _, err = call(capsys, path, "--out", out)
    assert status == 2
    assert "holds the junction of another fit" in err
    assert (out / "junction.json").read_text() == "{}"


@pytest.mark.parametrize("options", [["--junction", "generator"], ["--set", "Delta=35"]])
def test_a_spread_refuses_the_junction_of_a_start(options, tmp_path, capsys):
    path = write(tmp_path / "wafer.csv", "R_P,R_AP", [5e5] * 20, [1e6] * 20)
    status, _, err = call(capsys, path, "--out", tmp_path / "o", *options)
    assert status == 2
    assert f"{options[0]}: a fit of a spread starts at no junction and gives none; leave it out" in err
    assert not (tmp_path / "o").exists()


def test_a_long_fit_says_so_before_it_begins(tmp_path, capsys, monkeypatch):
    said = []

    def fit_switching(*_, **__):
        said.append(capsys.readouterr().err)
        raise InputError("enough")

    monkeypatch.setattr("voltaspin.device.fit.switching.fit_switching", fit_switching)
    for n in (4, 200):
        path = write(tmp_path / f"{n}.csv", "voltage,width_ns,B_z_mT,P_sw", [1.2] * n, [0.3] * n, range(n), [0.5] * n)
        call(capsys, path, "--fixed", "trials=1000", "--out", tmp_path / str(n))
    assert said[0] == ""
    assert re.search(r"the fit may take \d{3} s of one core; --quick ends", said[1])


def test_HDF5_finds_columns_in_groups(tmp_path, capsys, monkeypatch):
    path = tmp_path / "rv.h5"
    path.write_bytes(b"x")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "h5py", None)
        status, _, err = call(capsys, path, "--out", tmp_path / "o")
    assert status == 2
    assert "needs h5py" in err
    h5py = pytest.importorskip("h5py")
    truth = replace(truth_of(UPRIGHT), TMR0=1.3)
    TMR = np.array([truth.TMR(float(v)) for v in VOLTS]) + 0.01 * np.random.default_rng(1).standard_normal(21)
    with h5py.File(path, "w") as file:
        file["run/voltage_mV"], file["run/TMR"] = 1e3 * VOLTS, TMR
    close(fitted(capsys, tmp_path / "o", path), {"TMR0": 1.3, "V_h": truth.V_h})


# --- names and kinds -----------------------------------------------------------------------------------


def test_kinds_know_what_their_data_take():
    for kind in KINDS.values():
        known = set(getattr(measurements, kind.data).__dataclass_fields__)
        split = {f"{name}_{state}" for name in ("R", "error") for state in ("P", "AP")}
        assert set(kind.names) - known <= split | {*kind.made_of, "device"}
        assert known - {"counted"} <= set(kind.names)


def test_joined_wants_errors_of_all_or_of_none():
    one = TMRData(voltage=VOLTS, TMR=np.ones(21))
    assert len(joined([one, one])) == 42
    with pytest.raises(InputError, match="have a column error and some have none"):
        joined([one, replace(one, error=0.1)])


def test_the_rooms_name_what_a_fit_needs():
    for room, names in {
        voltaspin.device: ["fit_switching", "fit_xi", "FitResult", "SwitchingData", "Characterisation", "measurements"],
        voltaspin.report: ["fit_overlay"],
    }.items():
        assert set(names) <= set(room.__all__)
        assert all(getattr(room, name) is not None for name in room.__all__)


def test_help_has_an_example(capsys):
    status, out, _ = call(capsys, "--help")
    assert status == 0
    assert "voltaspin device fit" in out


# --- bad input -----------------------------------------------------------------------------------------

GOOD = "voltage,width_ns,P_sw,trials\n1.1,0.3,0.47,500\n1.1,0.4,0.61,400\n1.2,0.3,0,500\n"


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (None, [], "t.csv does not exist"),
        ("", [], "is empty"),
        ("voltage,width,P_sw,trials\n", [], "no row of numbers"),
        ("voltage,width,P_sw,trials\n1,3e-10,0.4\n", [], "line 2: 3 cells where the header has 4"),
        (GOOD.replace("0.47", "47"), [], "P_sw = 47 in line 2 must be from 0 to 1; give a share of pulses"),
        (GOOD.replace("0.47", "-0.1"), [], "P_sw = -0.1 in line 2"),
        (GOOD.replace("0.47", "much"), [], "'much', which is no number"),
        (GOOD.replace(",0.47", ","), [], "is empty; correct the cell"),
        (GOOD.replace("400", "500")[:-2], [], "line 4: the last line has no line break, and its last cell '50' may be"),
        (
            GOOD,
            ["--preset", "arm-2021-stt", "--free", "xi"],
            "arm-2021-stt has spin_transfer; fit a closed formula to it, --switching-model stt for spin transfer or "
            "--switching-model sot",
        ),
        (GOOD, [], "3 points cannot determine and test 4 parameters"),
        (GOOD, ["--free", "xi,colour"], "--free xi,colour must name each parameter once, out of xi, K_eff"),
        (GOOD, ["--free", "xi", "--degree", "2"], "degree"),
        (GOOD, ["--set", "colour=3"], "known: diameter, t_F"),
        (GOOD, ["--preset", "none"], "known: generator"),
        (GOOD, ["--kind", "colour"], "--kind colour is unknown; use switching, resistance"),
        (GOOD, ["--kind", "tmr"], "has no column for TMR; name one with --column TMR=COLUMN"),
        (GOOD, ["--columns", "width"], "give QUANTITY=COLUMN"),
        (GOOD, ["--columns", "width=t"], "no file has that column; there are 'voltage', 'width_ns'"),
        (GOOD, ["--columns", "colour=width_ns"], "this kind of measurement has voltage, width"),
        (GOOD, ["--columns", "width=width_ns:ell"], "unit 'ell' of width (column 'width_ns') is unknown; write it as"),
        (GOOD, ["--columns", "width=width_ns", "--columns", "width=x"], "names width twice"),
        (GOOD, ["--fixed", "trials=9"], "--fixed trials: every file has it in a column ('trials')"),
        (GOOD, ["--fixed", "relax=9nm"], "--fixed relax = '9nm': 'nm' is no unit of time; give a number with its unit"),
        (GOOD, ["--fixed", "colour=9"], "the name 'colour' is unknown; known: voltage, width"),
        (GOOD, ["--fixed", "initial=left"], "left"),
        (GOOD.replace("_ns", " (days)"), [], "unit 'days' of width (column 'width (days)') is unknown"),
        (GOOD.replace("voltage", "x"), [], "has no column for voltage; name one with --column voltage=COLUMN:V, or"),
        (GOOD.replace("trials", "width_s"), [], "'width_ns' and 'width_s' may both be width"),
        ("a,b\n1,2\n", [], "the columns 'a', 'b' tell no kind of measurement; give --kind switching or resistance"),
        ("voltage,R_P,R_AP\n0,1,2\n", [], "may be resistance or spread; give --kind resistance or spread"),
        ("voltage,R\n0,1\n", [], "has no column for state"),
        ("voltage,R\n0,1\n", ["--fixed", "state=high"], "state 'HIGH' in line 2 is unknown; write P or AP"),
        ("voltage,TMR\n0,120\n", [], "TMR = 120 in line 2 must be above 0 and at most 10"),
        ("voltage,TMR\n0,1\n", ["--free", "V_h"], "a tmr fit has no choice of parameters"),
        ("voltage,TMR\n0,1\n", ["--degree", "9"], "--degree is of a switching fit"),
        ("voltage,TMR\n0,1\n", ["--spin-torque"], "--spin-torque is of a switching fit"),
        ("voltage,R_P,R_AP\n0,1,2\n0.1,1,2\n", ["--kind", "spread"], "voltage = 0 and 0.1: data of one fit have one"),
        ("R_P,R_AP\n1,2\n", [], "1 devices tell no spread"),
        ("up_to_down,down_to_up\n-0.06,0.06\n", [], "has no column for ramp_rate"),
        ("voltage,up_to_down,down_to_up\n0,0.06,0.05\n1,-1,1\n", ["--fixed", "ramp_rate=1"], "rows with voltage = 0.0"),
    ],
)
def test_bad_input_is_one_line_and_status_two(capsys, tmp_path, monkeypatch, text, options, says):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("t.csv").write_text(text)
    status, out, err = call(capsys, "t.csv", *options, "--out", "o")
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("voltaspin: ")
    assert says in err
    assert not Path("o").exists()


def test_no_file_and_the_same_file_twice(capsys, tmp_path):
    assert call(capsys, "--out", tmp_path / "o")[0] == 2
    path = tmp_path / "t.csv"
    path.write_text(GOOD)
    status, _, err = call(capsys, path, path, "--out", tmp_path / "o")
    assert (status, err.count("\n")) == (2, 1)
    assert "was given before, or holds the same bytes" in err
    assert "is no file" in call(capsys, tmp_path, "--out", tmp_path / "o")[2]
    (tmp_path / "binary.csv").write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    assert "not readable as CSV" in call(capsys, tmp_path / "binary.csv", "--out", tmp_path / "o")[2]


# --- models and devices --------------------------------------------------------------------------------


def bench(path: Path, seeds: dict[str, int], *more: str) -> Path:
    """Counts of several devices by the linear barrier, in both directions, with Delta and V_c of each device."""
    rows = []
    for device, seed in seeds.items():
        rng = np.random.default_rng(seed)
        Delta, V_c = 30 + 3 * rng.standard_normal(), 0.8 + 0.02 * rng.standard_normal()
        for direction, sign in (("P->AP", 1), ("AP->P", -1)):
            for t in (10, 1000):
                for V in np.linspace(0.5, 0.8, 7):
                    P = -np.expm1(-t * np.exp(-Delta * (1 - V / V_c)))
                    rows.append(f"{device},{direction},{sign * V:.4f},{t},{rng.binomial(200, P)},200")
    path.write_text("\n".join(["device_id,direction,V,t_p (ns),k,n", *rows, *more]) + "\n")
    return path


def test_models_are_compared(sweep, tmp_path, capsys):
    out = tmp_path / "o"
    status, text, err = call(capsys, sweep, *NEARBY, *SWEPT, "--model", "all", "--out", out)
    assert (status, err) == (0, "")
    record = json.loads((out / "fit.json").read_text())
    assert record["model"] == "vcma"
    assert "vcma describes these data" in record["comparison"]["conclusion"]
    assert "Without support: " in record["comparison"]["conclusion"]
    assert record["comparison"]["conclusion"] in text
    assert [one["model"] for one in record["comparison"]["models"]] == [
        "thermal",
        "thermal-field",
        "sot",
        "stt",
        "vcma",
    ]
    assert Junction.of(str(out / "fit.json")) == Junction.of(str(out / "junction.json"))
    best = next(one for one in record["comparison"]["models"] if one["model"] == "vcma")
    assert best["parameters"] == record["parameters"]


def test_an_analytic_model_gives_no_junction(tmp_path, capsys):
    path = bench(tmp_path / "t.csv", {"A": 1})
    record = fitted(capsys, tmp_path / "o", path, "--model", "thermal")
    assert (record["model"], record["junction"], record["device"]) == ("thermal", None, "A")
    assert set(record["parameters"]) == {"Delta (P->AP)", "V_c (P->AP)", "Delta (AP->P)", "V_c (AP->P)"}
    assert record["p_value"] > 1e-3
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["fit.json", "fit.png", "run.json"]
    other = fitted(capsys, tmp_path / "p", path, "--model", "thermal", "--fixed", "tau_0=0.1ns")
    assert other["parameters"]["Delta (P->AP)"]["value"] > record["parameters"]["Delta (P->AP)"]["value"]


@pytest.fixture
def devices(tmp_path) -> Path:
    """Five devices, of which one never switches and one has a broken cell."""
    dead = [f"dead,P->AP,{V},10,0,200" for V in (0.5, 0.6, 0.7)]
    return bench(tmp_path / "t.csv", {"A1": 1, "B 2": 2, "c/3": 3}, *dead, "torn,AP->P,0.5,10,many,200")


def test_devices_have_fits_of_their_own_and_a_spread(devices, tmp_path, capsys):
    out = tmp_path / "o"
    overlay = tmp_path / "overlay.png"
    status, text, err = call(capsys, devices, "--model", "thermal,sot", "--out", out, "--figure", overlay)
    assert (status, err) == (0, "")
    assert f"overlay: {overlay}" in text
    picture = np.asarray(Image.open(overlay).convert("RGBA")).astype(int)
    # three panels side by side, each with the blue and the orange of two widths
    for panel in np.array_split(picture, 3, axis=1):
        for colour in ((0, 114, 178), (213, 94, 0)):
            assert (np.abs(panel[..., :3] - colour).sum(-1) < 30).sum() > 100
    status, _, err = call(capsys, devices, "--model", "thermal", "--out", tmp_path / "p", "--figure", overlay)
    assert (status, "exists; choose another name" in err) == (2, True)
    record = json.loads((out / "fit.json").read_text())
    assert (record["kind"], record["model"]) == ("device-fits", "thermal")
    assert [row["device"] for row in record["devices"]] == ["A1", "B 2", "c/3"]
    assert {row["device"]: row["reason"][:60] for row in record["failed"]}.keys() == {"dead", "torn"}
    assert "dead has no fit: P->AP: none of 600 pulses switched" in text
    assert re.search(r"torn has no fit: .*column 'k' in line 89 is 'many', which is no number", text)
    assert [row["file"] for row in record["devices"]] == ["devices/A1.json", "devices/B_2.json", "devices/c_3.json"]
    one = json.loads((out / "devices" / "B_2.json").read_text())
    assert (one["kind"], one["device"], one["points"]) == ("fit", "B 2", 28)
    spread = next(s for s in record["spreads"] if s["parameter"] == "V_c (P->AP)")
    assert spread["devices"] == 3
    assert spread["between"]["low"] <= spread["between"]["value"] <= spread["between"]["high"]
    assert "standard deviation between devices, without the errors of the fits" in text
    assert Image.open(io.BytesIO((out / "fit.png").read_bytes())).size[0] > 500
    assert set(json.loads((out / "run.json").read_text())["files"]) == {
        "fit.json", "fit.png", "devices/A1.json", "devices/B_2.json", "devices/c_3.json"
    }  # fmt: skip


def test_many_devices_go_on_where_they_were_stopped(devices, tmp_path, capsys, monkeypatch):
    from voltaspin.core.stopping import Stopped
    from voltaspin.device.fit import record as module

    out, begun, fit = tmp_path / "o", [], module.fit_measurements

    def stopped(found, *rest, **how):
        begun.append(found.device)
        if len(begun) == 2:
            raise Stopped(2)
        return fit(found, *rest, **how)

    monkeypatch.setattr(module, "fit_measurements", stopped)
    status, _, err = call(capsys, devices, "--model", "thermal", "--out", out)
    assert status == 130
    assert "1 of 5 devices are in" in err
    assert "start it again to go on" in err
    first = (out / "devices" / "A1.json").read_bytes()
    overlay = tmp_path / "overlay.png"  # of the device too that was fitted before
    assert call(capsys, devices, "--model", "thermal", "--out", out, "--figure", overlay)[0] == 0
    assert overlay.stat().st_size > 5000
    assert begun == ["A1", "B 2", "B 2", "c/3", "dead"]
    assert (out / "devices" / "A1.json").read_bytes() == first
    assert len(json.loads((out / "fit.json").read_text())["devices"]) == 3


def test_a_fitted_device_goes_into_other_commands(tmp_path, capsys):
    rng, rows = np.random.default_rng(4), []
    V, w = (x.ravel() for x in np.meshgrid([0.15, 0.25, 0.35], np.linspace(0.1, 0.9, 6) * 1e-9, indexing="ij"))
    blank = SwitchingData(voltage=V, width=w, P_sw=0.0, trials=1000, relax=1e-9)  # type: ignore[arg-type]
    P, _ = predict(truth_of(TRUTH), blank, degree=24)
    for device in ("A1", "A2"):
        rows += [(device, "P->AP", v, t, k, 1000) for v, t, k in zip(V, w, rng.binomial(1000, P), strict=True)]
    path = write(tmp_path / "t.csv", "device,direction,V,t_p,k,n", *zip(*rows, strict=True))
    status, text, err = call(
        capsys, path, *NEARBY, "--free", "xi,B_x", "--fixed", "relax=1ns", "--degree", 24, "--out", tmp_path / "o"
    )
    assert (status, err) == (0, ""), err
    assert "xi (fJ/(V m))" in text
    made = Junction.of(f"{tmp_path / 'o' / 'devices' / 'A2.json'}, t_F=1.2nm")
    assert made.t_F == 1.2e-9
    assert made.name == "generator, Delta=7.8, B_x=20.5mT, xi=102fJ/Vm, fitted to t.csv (A2), t_F=1.2nm"


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (GOOD, ["--model", "sst"], "model 'sst' is unknown; did you mean 'stt'"),
        (GOOD, ["--model", "stt", "--free", "xi"], "--free is of the macrospin, and --switching-model stt has none"),
        (GOOD, ["--model", "stt", "--quick"], "--quick is of the macrospin"),
        (GOOD, ["--model", "thermal"], "these data cannot tell Delta from V_c"),
        ("voltage,TMR\n0,1\n", ["--model", "stt"], "--switching-model stt is of switching probabilities, and"),
        (GOOD, ["--columns", "tau_0=width_ns"], "this kind of measurement has voltage, width"),
        (GOOD.replace("0.47", "47").replace("0.61", "61"), [], "say that it is percent with --column P_sw=COLUMN:%"),
        ("V,t_p_ns,P_sw,n,direction\n1,1,0.5,9,set\n", [], "say --fixed set=p2ap or --fixed set=ap2p"),
        ("I_uA,t_p_ns,P_sw,n\n1,1,0.5,9\n", [], "give its value with --fixed resistance=1.2kohm, or say"),
        ("die,V,t_p_ns,P_sw,n\nA,1,1,0,9\nB,1,1,0,9\n", ["--model", "stt"], "none of the 2 devices could be fitted; A"),
        ("device,V,t_p_ns,P_sw,n\nA,1,1,0,9\n,1,1,0,9\n", [], "t.csv, line 3: the column 'device' names no device"),
    ],
)  # fmt: skip
def test_bad_benches_are_one_line_and_status_two(capsys, tmp_path, monkeypatch, text, options, says):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(text)
    status, out, err = call(capsys, "t.csv", *options, "--out", "o")
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert says in err
    assert not Path("o").exists()


@pytest.mark.parametrize("told", ["tau_0=2", "tau_0=1e3", "tau_D=5", "tau_0=1as"])
def test_a_time_of_a_model_that_no_junction_has_is_refused(told, tmp_path, capsys):
    # A bare number is in SI: 2 for 2 ns would be two seconds, and the fit answered with half the barrier.
    volts, k = np.linspace(0.3, 0.6, 12), [1, 2, 4, 10, 25, 60, 130, 260, 450, 700, 900, 990]
    table = write(tmp_path / "t.csv", "voltage (V),width (s),switched,trials", volts, [1e-6] * 12, k, [1000] * 12)
    status, _, err = call(capsys, table, "--model", "thermal", "--fixed", told, "--out", tmp_path / "new")
    assert (status, err.count("\n")) == (2, 1)
    assert "which is no time of this kind" in err
    assert not (tmp_path / "new").exists()
    assert call(capsys, table, "--model", "thermal", "--fixed", "tau_0=2ns", "--out", tmp_path / "new")[0] == 0
