"""Files in, checked data sets out; every broken file is named with what to do about it."""

import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.device.fit.data import (
    ResistanceData,
    ResistanceSpread,
    SwitchingData,
    SwitchingFieldData,
    TMRData,
    load,
)

MAP = {"voltage": "V", "width": ("t_ns", 1e-9), "P_sw": "p"}
SWEEP = "# sweep of device 7\nV,t_ns,p,n\n1.1,0.3,0.47,500\n\n1.1,0.4,0.61,400\n1.2,0.3,0,500\n"


def write(tmp_path: Path, text: str, name: str = "sweep.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_units_comments_and_constants(tmp_path: Path) -> None:
    data = load(SwitchingData, write(tmp_path, SWEEP), {**MAP, "trials": "n"}, B_z=2e-3, initial="down", rise=1e-10)
    assert len(data) == 3
    assert data.width == pytest.approx([3e-10, 4e-10, 3e-10])
    assert data.counts == pytest.approx([235, 244, 0])
    assert data.B_z == pytest.approx([2e-3] * 3)
    assert (data.initial, data.rise) == ("down", 1e-10)
    # Binomial, with half a flip added on both sides: never zero, and the usual one for large counts.
    assert data.error[0] == pytest.approx(np.sqrt(0.47 * 0.53 / 500), rel=1e-3)
    assert data.error[2] == pytest.approx(0.5 / 501 * np.sqrt(500.5 / 0.5 / 500), rel=1e-9)


def test_data_are_frozen() -> None:
    data = SwitchingData(voltage=1.0, width=[1e-10, 2e-10], P_sw=0.5, trials=10)  # type: ignore[arg-type]
    with pytest.raises(FrozenInstanceError):
        data.rise = 1.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        data.P_sw[0] = 0.1


def test_other_delimiters_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffV;t_ns;p\n1.1;0.3;0.47\n")
    assert len(load(SwitchingData, path, MAP, delimiter=";", trials=100)) == 1
    with pytest.raises(InputError, match=r"seem to be separated by ';': give delimiter=';'"):
        load(SwitchingData, path, MAP, trials=100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only a comment\n\n", "is empty"),
        ("V,t_ns,p\n", "no row of numbers; it may be truncated"),
        ("V,t_ns,P\n1,1,1\n", r"no column 'p'; it has 'V', 't_ns', 'P'"),
        ("V,t_ns,p,p\n1,1,1,1\n", r"2 columns 'p'"),
        ("V,t_ns,p\n1,0.3,0.4\n1,0.4", r"line 3: 2 cells where the header has 3; the file may be truncated"),
        ("V,t_ns,p\n1,0.3,nan\n", r"column 'p' in line 2 is nan; leave the row out"),
        ("V,t_ns,p\n1,0.3,\n", r"column 'p' in line 2 is empty"),
        ("V,t_ns,p\n1,0.3,high\n", r"'high', which is no number; correct the cell"),
        ('V,t_ns,p\n1,0.3,"0,4"\n', r"no number; write a decimal point"),
        ("V,t_ns,p\n1,0.3,0.4\n1,0.4,1.2\n", r"P_sw = 1\.2 in line 3 must be from 0 to 1; give a share of pulses"),
        ("V,t_ns,p\n1,0.3,-0.1\n", r"P_sw = -0\.1 in line 2 must be from 0 to 1"),
        ("V,t_ns,p\n1,0,0.1\n", r"width = 0 s in line 2 must be positive"),
        ("V,t_ns,p\n1,0.3,0.4\n1,0.4,0.5\n1,0.3,0.41\n", r"lines 2 and 4 hold the same pulse .*add repeated counts up"),
        ('V,t_ns,p\n1,0.3,"0.4\n', "not readable as CSV"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load(SwitchingData, write(tmp_path, text), MAP, trials=100)
    assert "sweep.csv" in str(caught.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    for wrong in (path, tmp_path):
        with pytest.raises(InputError, match="not readable as CSV"):
            load(SwitchingData, wrong, MAP, trials=100)
    with pytest.raises(InputError, match="does not exist"):
        load(SwitchingData, tmp_path / "none.csv", MAP, trials=100)


@pytest.mark.parametrize(
    ("columns", "fixed", "message"),
    [
        ({**MAP, "Psw": "p"}, {"trials": 9}, "no quantity 'Psw'; it takes voltage, width"),
        (MAP, {}, r"SwitchingData needs trials; map it to a column of sweep.csv or give trials=\.\.\."),
        (MAP, {"trials": 9, "width": 1e-9}, "width is given by a column and by a value"),
        ({**MAP, "width": ("t_ns", 0.0)}, {"trials": 9}, r"factor 0\.0 of width \(column 't_ns'\)"),
        (MAP, {"trials": 0}, "trials = 0 in line 3 must be a whole number from 1 on"),
        (MAP, {"trials": 2.5}, "whole number"),
        (MAP, {"trials": [1, 2]}, "trials has 2 values where others have 3"),
        (MAP, {"trials": 9, "initial": "left"}, "well 'left' is unknown"),
        (MAP, {"trials": 9, "rise": 4e-10, "fall": 4e-10}, r"width = 3e-10 s in line 3 must be at least half"),
        (MAP, {"trials": 9, "B_x": "strong"}, "B_x holds something that is no number"),
    ],
)
def test_mappings_that_cannot_work(
    tmp_path: Path, columns: dict[str, Any], fixed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(SwitchingData, write(tmp_path, SWEEP), columns, **fixed)


def test_resistance_with_states_in_a_column(tmp_path: Path) -> None:
    path = write(tmp_path, "V,kohm,state\n-0.1,509,P\n-0.1,990, ap\n")
    data = load(ResistanceData, path, {"voltage": "V", "R": ("kohm", 1e3), "state": "state"}, error=1e3)
    assert list(data.state) == ["P", "AP"]
    assert data.R == pytest.approx([509e3, 990e3])
    assert data.error == pytest.approx([1e3, 1e3])
    with pytest.raises(InputError, match=r"state 'HIGH' in row 1 is unknown; write P or AP"):
        ResistanceData(voltage=0.1, R=5e5, state="high")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"R = -5 ohm in row 1 must be positive"):
        ResistanceData(voltage=0.1, R=-5.0, state="P")  # type: ignore[arg-type]


def test_TMR_is_no_percentage() -> None:
    assert len(TMRData(voltage=[0.1, 0.2], TMR=[0.9, 0.8], error=0.01)) == 2  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"TMR = 90 in row 1 must be above 0 and at most 10; give a ratio"):
        TMRData(voltage=0.1, TMR=90.0)  # type: ignore[arg-type]


def test_switching_fields(tmp_path: Path) -> None:
    path = write(tmp_path, "down_mT,up_mT\n-60,66\n-58,64\n")
    columns = {"up_to_down": ("down_mT", 1e-3), "down_to_up": ("up_mT", 1e-3)}
    data = load(SwitchingFieldData, path, columns, ramp_rate=0.1)
    assert (len(data), data.voltage) == (4, 0.0)
    with pytest.raises(InputError, match="exchange the two columns"):
        load(SwitchingFieldData, path, {"up_to_down": "up_mT", "down_to_up": "down_mT"}, ramp_rate=0.1)
    with pytest.raises(InputError, match=r"ramp_rate = 0 T/s must be finite and positive"):
        load(SwitchingFieldData, path, columns, ramp_rate=0)
    with pytest.raises(InputError, match="no switching fields at all"):
        SwitchingFieldData(ramp_rate=1.0)


def test_resistance_spread() -> None:
    assert len(ResistanceSpread(R_P=[5e5, 5.1e5], R_AP=[1e6, 1.1e6])) == 2  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"R_AP = 500000 ohm in row 2 must be above R_P = 1e\+06 ohm"):
        ResistanceSpread(R_P=[5e5, 1e6], R_AP=[1e6, 5e5])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 values of R_P and 1 of R_AP"):
        ResistanceSpread(R_P=[5e5, 1e6], R_AP=1.1e6)  # type: ignore[arg-type]


# --- HDF5 ----------------------------------------------------------------------------------------------


def test_hdf5_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"needs h5py: pip install h5py, or export the table as CSV"):
        load(SwitchingData, tmp_path / "sweep.h5", MAP, trials=100)


class FakeFile:
    """As much of an open HDF5 file as reading takes; the true one is tested where h5py is installed."""

    content: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, path: Path, mode: str) -> None:
        if path.stat().st_size == 0:
            raise OSError("truncated file")

    def __enter__(self) -> "FakeFile":
        return self

    def __exit__(self, *_: object) -> None: ...

    def visititems(self, visit: Any) -> None:
        for name, item in self.content.items():
            visit(name, item)

    def __getitem__(self, name: str) -> Any:
        return self.content[name.strip("/")]


def test_hdf5_by_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("h5py")
    stand_in.File = FakeFile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "h5py", stand_in)
    path = tmp_path / "sweep.h5"
    with pytest.raises(InputError, match="does not exist"):
        load(SwitchingData, path, MAP, trials=100)
    path.write_bytes(b"x")
    content = {"run/V": np.array([1.0, 1.1]), "run/t": np.array([0.3, 0.4]), "run/p": np.array([0.5, 0.6])}
    monkeypatch.setattr(FakeFile, "content", content)
    columns = {"voltage": "run/V", "width": ("run/t", 1e-9), "P_sw": "/run/p"}
    data = load(SwitchingData, path, columns, trials=100)
    assert data.width == pytest.approx([3e-10, 4e-10])
    with pytest.raises(InputError, match=r"no column 'p'; it has 'run/V', 'run/p', 'run/t'|it has 'run/V'"):
        load(SwitchingData, path, {**columns, "P_sw": "p"}, trials=100)
    content["run/p"] = np.array([0.5])
    with pytest.raises(InputError, match="differ in length"):
        load(SwitchingData, path, columns, trials=100)
    content["run/p"] = np.array([[0.5, 0.6]])
    with pytest.raises(InputError, match=r"has the shape \(1, 2\)"):
        load(SwitchingData, path, columns, trials=100)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="it may be truncated"):
        load(SwitchingData, path, columns, trials=100)


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "sweep.h5"
    with h5py.File(path, "w") as file:
        file["run/V"], file["run/R"], file["run/state"] = [0.1, 0.1], [5e5, 1e6], ["P", "AP"]
    data = load(ResistanceData, path, {"voltage": "run/V", "R": "/run/R", "state": "run/state"})
    assert list(data.state) == ["P", "AP"]
    assert data.R == pytest.approx([5e5, 1e6])
    with pytest.raises(InputError, match=r"it has 'run/R', 'run/V', 'run/state'"):
        load(ResistanceData, path, {"voltage": "V", "R": "run/R", "state": "run/state"})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="may be truncated"):
        load(ResistanceData, path, {"voltage": "run/V", "R": "run/R", "state": "run/state"})
