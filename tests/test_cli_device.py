"""``voltaspin device`` and its commands: files, JSON, parameters by hand, and one line for bad input."""

import json

import pytest

from voltaspin.cli.app import main
from voltaspin.device import Junction, presets
from voltaspin.device.characterisation import Characterisation
from voltaspin.device.demagnetisation import cylinder_demagnetisation
from voltaspin.device.parameters import IN_TERMS, PARAMETERS
from voltaspin.device.terms import TERMS
from voltaspin.memory.lines import bit_line


def call(capsys, *arguments):
    """Exit status, standard output and standard error of one command in this process."""
    with pytest.raises(SystemExit) as caught:
        main(["device", *(str(a) for a in arguments)])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.mark.parametrize("command", ["characterise", "list", "export"])
def test_every_command_has_a_help_with_an_example(capsys, command):
    status, out, _ = call(capsys, command, "--help")
    assert status == 0
    assert f"voltaspin device {command}" in out


def test_without_a_command_it_is_one_pulse(capsys):
    status, out, _ = call(capsys, "--preset", "storage", "--width", "0.6", "--devices", "50")
    assert status == 0
    assert out.startswith("storage: Delta 76.0")
    assert out.count("\n") == 3


def test_list(capsys):
    status, out, _ = call(capsys, "list", "--json")
    assert status == 0
    rows = json.loads(out)["presets"]
    assert [row["name"] for row in rows] == list(presets.names())
    assert rows[0]["V_c_V"] == pytest.approx(1.18, abs=0.01)
    assert sum(rows[0]["grades"].values()) == len(presets.sources("generator"))
    status, out, _ = call(capsys, "list")
    assert out.count("\n") == len(presets.names()) + 1


@pytest.mark.slow
def test_characterise_writes_figures_a_page_and_all_numbers(tmp_path, capsys):
    out = tmp_path / "o"
    status, text, _ = call(capsys, "characterise", "--quick", "--set", "Delta=16", "--set", "B_x=12mT", "--out", out)
    assert status == 0
    assert text.startswith("generator, Delta=16, B_x=12mT: Delta 16.0, barrier with the in-plane field 10.4 k_B T")
    record = Characterisation.load(out / "device.json")
    assert record.junction == Junction.of("generator, Delta=16, B_x=12mT")
    assert record.line_capacitance == pytest.approx(bit_line(256))
    pictures = ["astroid", "bathtub", "energy", "pulses", "retention", "sensitivity", "shmoo"]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [f"{p}.png" for p in pictures] + ["device.json", "index.html", "run.json"]
    )


@pytest.mark.parametrize("changes", [["t_F=1.2nm"], ["t_F = 1.2e-9"], ["t_F=1.2 nm"]])
def test_set_takes_si_or_a_unit(changes):
    assert Junction.of(", ".join(["generator", *changes])).t_F == pytest.approx(1.2e-9)


def test_every_parameter_of_a_junction_can_be_set():
    by_hand = {"B_bias": {"B_x", "B_y", "B_z"}, "N": {"Nz"}, "K_i": {"K_i", "Delta"}, "name": set()}
    by_hand |= {"reference": set(), **{term: {n for n, (of, _) in IN_TERMS.items() if of == term} for term in TERMS}}
    names = [by_hand.get(field, {field}) for field in Junction.__dataclass_fields__]
    assert set().union(*names) == set(PARAMETERS)
    values = {
        "Nz": 0.9,
        "B_y": 0.01,
        "Delta": 30,
        "TMR0": "120%",
        "RA": "10 ohm um^2",
        "xi": "60fJ/Vm",
        "Ms": "1.1 MA/m",
    }
    junction = Junction.of(", ".join(["generator", *(f"{name}={value}" for name, value in values.items())]))
    assert junction.Delta() == pytest.approx(30)
    assert junction.N == pytest.approx((0.05, 0.05, 0.9))
    assert junction.B_bias == (0.03, 0.01, 0.0)
    assert (junction.TMR0, junction.RA, junction.xi, junction.Ms) == pytest.approx((1.2, 1e-11, 6e-14, 1.1e6))


def test_a_cylinder_stays_one_and_a_stated_shape_stays_as_stated():
    ours = Junction.of("generator, diameter=30nm")
    assert ours.N == pytest.approx(cylinder_demagnetisation(diameter=30e-9, height=ours.t_F))
    assert Junction.of("liu-2022, diameter=30nm").N == presets.get("liu-2022").N


def test_export_to_a_file_and_to_standard_output_are_the_same(tmp_path, capsys):
    for format, name in (("ngspice", "cell.sp"), ("verilog-a", "cell.va"), ("json", "cell.json")):
        arguments = ("export", "--preset", "storage", "--set", "B_z=1mT", "--format", format)
        status, text, _ = call(capsys, *arguments, "--out", "-")
        assert status == 0
        status, nothing, _ = call(capsys, *arguments, "--out", tmp_path / name)
        assert (status, nothing) == (0, "")
        assert (tmp_path / name).read_text() == text
    spec = Junction.load(tmp_path / "cell.json")
    assert spec.B_bias == (0.03, 0.0, 0.001)
    assert spec.name == "storage, B_z=1mT"
    assert ".subckt VCMTJ" in (tmp_path / "cell.sp").read_text()
    assert "module VCMTJ(" in (tmp_path / "cell.va").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["characterise", "--preset", "none", "--out", "o"], "known: generator, storage"),
        (["characterise", "--set", "colour=3", "--out", "o"], "known: diameter, t_F"),
        (["characterise", "--set", "t_F", "--out", "o"], "give NAME=VALUE"),
        (["characterise", "--set", "t_F=30mT", "--out", "o"], "is no unit of length; give a number with its unit (m,"),
        (["characterise", "--set", "t_F=nan", "--out", "o"], "is no length"),
        (["characterise", "--set", "Delta=4", "--set", "K_i=1e-3", "--out", "o"], "say the same twice"),
        (["characterise", "--set", "t_F=-1nm", "--out", "o"], "t_F = -1e-09 m must be finite and positive"),
        (["characterise", "--set", "temperature=0", "--quick", "--out", "o"], "temperature = 0.0 K must be"),
        (["characterise"], "--out"),
        (["--preset", "storage", "characterise", "--out", "o"], "--junction stands before characterise"),
        (["export", "--format", "spice", "--out", "-"], "use ngspice, verilog-a or json"),
        (["export", "--format", "ngspice", "--initial", "left", "--out", "-"], "use up or down"),
        (["export", "--format", "ngspice", "--name", "1x", "--out", "f"], "no identifier"),
        (["export", "--format", "ngspice", "--out", "."], "is a folder or empty"),
        (["fly"], "fly"),
        (["--devices", "0"], "--devices 0: give at least 1"),
    ],
)
def test_bad_input_is_one_line_and_status_two(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("voltaspin: ")
    assert says in err
    assert list(tmp_path.rglob("*")) == []
