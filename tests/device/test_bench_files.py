"""Files as benches write them: direction words, counts, currents, units in cells, several devices, and bad days."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.device import presets
from voltaspin.device.fit.bench import own_voltages, transition
from voltaspin.device.fit.data import SwitchingData
from voltaspin.device.fit.measured_pulse import switching_model_from_measurements
from voltaspin.device.fit.tables import BadDevice, Measurements, read_devices, read_measurements

HEAD = "device_id,direction,V,t_p,P_sw,n_reps"
ROWS = [
    "A,AP->P,0.90,7.5e-10,0.04,100", "A,AP->P,0.92,7.5e-10,0.58,100", "A,P->AP,0.90,7.5e-10,0.5,100",
    "B,P->AP,0.90,7.5e-10,0.4,100", "B,AP->P,0.88,7.5e-10,0.52,100",
]  # fmt: skip


def write(folder: Path, *lines: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(folder: Path, *lines: str, **how: Any) -> Measurements:
    return read_measurements([write(folder, *lines)], **how)


# --- words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    ["AP->P", "AP-P", "ap2p", "AP to P", "AP→P", "AP_P", "ap --> p", "antiparallel->parallel", "1->0",
     "Anti-Parallel to Parallel", "1-0", "down->up", "d->u", "AP/P", "AP=>P"],
)  # fmt: skip
def test_words_for_a_switch_to_parallel_begin_down(word: str) -> None:
    assert transition(word, starts=False) == "down"


@pytest.mark.parametrize("word", ["P->AP", "p2ap", "PtoAP", "0->1", "up->down", "UP -> DOWN", "parallel_antiparallel"])
def test_words_for_a_switch_to_antiparallel_begin_up(word: str) -> None:
    assert transition(word, starts=False) == "up"


@pytest.mark.parametrize(("word", "well"), [("up", "up"), ("P", "up"), ("0", "up"), ("AP", "down"), ("1", "down")])
def test_a_state_alone_needs_a_column_of_initial_states(word: str, well: str, tmp_path: Path) -> None:
    assert transition(word, starts=True) == well
    with pytest.raises(InputError, match="may be the state before or after the pulse; if it is the one before, say"):
        transition(word, starts=False)
    rows = ("V,t_ns,P_sw,n", f"1,0.5,0.5,100,{word}")
    for head, how in (("initial", {}), ("initial_state", {}), ("direction", {"columns": ["initial=direction"]})):
        found = read(tmp_path, f"V,t_p_ns,P_sw,n,{head}", rows[1], **how)
        assert found.sets[0].initial == well
    with pytest.raises(InputError, match=r"t\.csv: line 2 has the direction '\w+' may be the state before or after"):
        read(tmp_path, "V,t_p_ns,P_sw,n,direction", rows[1])


def test_set_and_reset_are_asked_for(tmp_path: Path) -> None:
    lines = ("V,t_p_ns,k,n,direction", "1,0.5,50,100,SET", "-1,0.5,40,100,reset")
    with pytest.raises(InputError, match=r"line 2 .*'SET' has no common meaning; say fixed='set=p2ap' or"):
        read(tmp_path, *lines)
    by_word = {one.initial: float(one.P_sw[0]) for one in read(tmp_path, *lines, fixed=["set=p2ap"]).sets}
    assert by_word == {"up": 0.5, "down": 0.4}
    by_word = {one.initial: float(one.P_sw[0]) for one in read(tmp_path, *lines, fixed=["set=1->0"]).sets}
    assert by_word == {"down": 0.5, "up": 0.4}


@pytest.mark.parametrize(
    ("word", "says"),
    [("sideways", "'sideways' is no direction; write AP->P"), ("P->P", "begins and ends in the same state"),
     ("", "line 3 has no direction"), ("pap", "is no direction")],
)  # fmt: skip
def test_words_that_say_no_direction(word: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read(tmp_path, "V,t_p_ns,P_sw,n,direction", "1,0.5,0.5,100,AP->P", f"1,0.5,0.5,100,{word}")
    assert "line 3" in str(caught.value)


def test_no_direction_at_all_is_said(tmp_path: Path) -> None:
    found = read(tmp_path, "V,t_p_ns,P_sw,n", "1,0.5,0.5,100")
    assert found.sets[0].initial == "up"
    assert any("no column tells the direction" in note for note in found.notes)


# --- quantities ----------------------------------------------------------------------------------------


def test_the_public_file_of_a_spin_orbit_device_is_read(tmp_path: Path) -> None:
    found = read_devices([write(tmp_path, HEAD, *ROWS)])
    assert [one.device for one in found] == ["A", "B"]
    first = found[0]
    assert isinstance(first, Measurements)
    assert {one.initial: one.voltage.tolist() for one in first.sets} == {"down": [0.9, 0.92], "up": [0.9]}
    assert first.sets[0].counts == pytest.approx([4, 58])
    assert first.files[0]["points"] == 3
    with pytest.raises(InputError, match=r"hold 2 devices \(A, B\)"):
        read_measurements([tmp_path / "t.csv"])


@pytest.mark.parametrize("cells", [("750 ps", "0.75ns", "0.00075 us"), ("0.75ns", "7.5e-10 s", "750ps")])
def test_cells_may_bring_their_own_units(cells: tuple[str, ...], tmp_path: Path) -> None:
    rows = [
        f"{0.9 + 0.1 * k},{cell},{p},100" for k, (cell, p) in enumerate(zip(cells, ("50 %", "0.6", "70%"), strict=True))
    ]
    with pytest.raises(InputError, match=r"column 'P_sw' in line 3 has no unit where other cells have one"):
        read(tmp_path, "V,t_p,P_sw,n", *rows)
    (data,) = read(tmp_path, "V,t_p,P_sw,n", *(row.replace("0.6,", "60%,") for row in rows)).sets
    assert data.width == pytest.approx([7.5e-10] * 3)
    assert data.P_sw == pytest.approx([0.5, 0.6, 0.7])


def test_a_german_table(tmp_path: Path) -> None:
    lines = ("V;t_p (ns);P_sw [%];n", "0,90;0,75;4,5;200", "0,92;1;58;200")
    (data,) = read(tmp_path, *lines).sets
    assert data.voltage == pytest.approx([0.90, 0.92])
    assert data.P_sw == pytest.approx([0.045, 0.58])
    with pytest.raises(InputError, match=r"column 'V' in line 3 has a point where line 2 has a comma; write one"):
        read(tmp_path, lines[0], lines[1], "0.92;1;58;200")


def test_percent_is_asked_for(tmp_path: Path) -> None:
    lines = ("V,t_p_ns,P_sw,n", "0.9,0.75,4,100", "0.92,0.75,58,100")
    with pytest.raises(
        InputError, match=r"P_sw = 4 in line 2 must be from 0 to 1; .*percent with columns='P_sw=COLUMN:%'"
    ):
        read(tmp_path, *lines)
    (data,) = read(tmp_path, *lines, columns=["P_sw=P_sw:%"]).sets
    assert data.P_sw == pytest.approx([0.04, 0.58])


def test_a_current_needs_a_resistance(tmp_path: Path) -> None:
    lines = ("I (uA),t_p_ns,P_sw,n,direction", "2,0.75,0.4,100,P->AP", "-2,0.75,0.5,100,AP->P")
    with pytest.raises(
        InputError, match=r"a current needs a resistance to be a voltage; .*fixed='resistance=junction'"
    ):
        read(tmp_path, *lines)
    sets = read(tmp_path, *lines, fixed=["resistance=1.2kohm"]).sets
    assert [float(one.voltage[0]) for one in sets] == pytest.approx([2.4e-3, -2.4e-3])
    junction = presets.generator
    sets = read(tmp_path, *lines, fixed=["resistance=junction"], junction=junction).sets
    for one, m_z, current in zip(sets, (1.0, -1.0), (2e-6, -2e-6), strict=True):
        V = float(one.voltage[0])
        assert V * float(junction.conductance(m_z, V)) == pytest.approx(current, rel=1e-9)
    # Parallel is ohmic; antiparallel lies between both resistances.
    assert float(sets[0].voltage[0]) == pytest.approx(2e-6 * junction.R_P, rel=1e-6)
    assert 2e-6 * junction.R_P < -float(sets[1].voltage[0]) < 2e-6 * junction.R_P * (1 + junction.TMR0)
    assert own_voltages(junction, np.zeros(1), ["up"]) == 0
    # A current that was measured beside the voltage is no axis.
    assert read(tmp_path, "V,I,t_p_ns,P_sw,n", "0.9,1e-6,0.75,0.4,100").sets[0].voltage == pytest.approx([0.9])


def test_unknown_numbers_of_pulses_are_said(tmp_path: Path) -> None:
    found = read(tmp_path, "V,t_p_ns,P_sw", "0.9,0.75,0.4", "1,0.75,0.5")
    assert not found.sets[0].counted
    assert any("chi-squared cannot judge" in note for note in found.notes)
    up, down = found.sets[0], replace(found.sets[0], initial="down")
    with pytest.raises(InputError, match="nobody counted its pulses"):
        switching_model_from_measurements(up, down)


def test_counts_that_are_all_even_are_suspected(tmp_path: Path) -> None:
    rows = [f"{0.8 + k / 100},0.75,{p / 100},100" for k, p in enumerate(range(2, 40, 2))]
    notes = read(tmp_path, "V,t_p_ns,P_sw,n", *rows).notes
    assert any("multiples of 2: if there were 2 times fewer pulses than stated, the errors are 1.4" in n for n in notes)
    odd = [*rows, "1.2,0.75,0.51,100"]
    assert not any("multiples" in note for note in read(tmp_path, "V,t_p_ns,P_sw,n", *odd).notes)


# --- bad days ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0.75e-9,0.9,0.4,100", r"width = 0\.9 s in line 3 is outside the 1e-12 to 0\.001 s of pulses; .*swapped"),
        ("7.5e-10,7.5e-10,0.4,100", r"voltage = 7\.5e-10 V in line 3 is outside the 1e-06 to 20 V"),
        ("0.9,1e308 ns,0.4,100", r"column 't_p' in line 3: 1e308 ns is 1e\+299 s, which is no time"),
        ("1e5 V,7.5e-10,0.4,100", r"column 'V' in line 3: 1e5 V is 100000 V, which is no voltage"),
        ("0.9,7.5e-10,100,0.4", r"P_sw = 100 in line 3 must be from 0 to 1; .*swapped"),
        ("0.9,7.5e-10,0.4,0", r"trials = 0 in line 3 must be a whole number from 1 on"),
        ("0.9,7.5e-10,0.4,-5", r"trials = -5 in line 3"),
        ("0.9,7.5e-10,nan,100", r"column 'P_sw' in line 3 is nan; leave the row out"),
        ("0.9,7.5e-10,,100", r"column 'P_sw' in line 3 is empty"),
        ("0.9,7.5e-10,0.4 V,100", r"column 'P_sw' in line 3: '0.4 V': 'V' is no unit of ratio"),
        ("0.8,7.5e-10,0.3,100", r"lines 2 and 3 hold the same pulse .*add repeated counts up"),
        ("0.9,0.75 fortnights,0.3,100", r"line 3: '0.75 fortnights': 'fortnights' is no unit of time"),
    ],
)
def test_the_line_is_named(line: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, "V,t_p,P_sw,n", "0.8,7.5e-10,0.3,100", line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0.9,0.75,101,100", r"flips = 101 in line 3 are more than the 100 pulses; are the columns swapped"),
        ("0.9,0.75,1.5,100", r"flips = 1\.5 in line 3 must be a whole number"),
        ("0.9,0.75,5,0", r"trials = 0 in line 3"),
    ],
)
def test_the_line_of_a_count_is_named(line: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, "V,t_p_ns,k,n", "0.8,0.75,30,100", line)


def test_counts_and_shares_must_agree(tmp_path: Path) -> None:
    head = "V,t_p_ns,k,n,P_sw"
    assert read(tmp_path, head, "0.8,0.75,31,100,0.31").sets[0].P_sw == pytest.approx([0.31])
    with pytest.raises(InputError, match=r"P_sw = 0\.5 in line 2 is not 31 flips of 100; leave one of the columns out"):
        read(tmp_path, head, "0.8,0.75,31,100,0.5")
    with pytest.raises(InputError, match="tell no kind of measurement"):
        read(tmp_path, "V,t_p_ns,k", "0.8,0.75,31")


def test_a_bad_device_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = "C,AP->P,0.9,7.5e-10,nan,100"
    found = read_devices([write(tmp_path, HEAD, *ROWS, bad)])
    assert [type(one) for one in found] == [Measurements, Measurements, BadDevice]
    assert isinstance(found[2], BadDevice)
    assert "column 'P_sw' in line 7 is nan" in found[2].reason
    with pytest.raises(InputError, match="line 2 is nan"):
        read_devices([write(tmp_path, HEAD, bad)])


@pytest.mark.parametrize(
    ("row", "says"),
    [(",AP->P,0.9,7.5e-10,0.4,100", r"t\.csv, line 7: the column 'device_id' names no device"),
     ("a,AP->P,0.8,7.5e-10,0.4,100", r"line 7: 'a' and 'A' \(.*t\.csv, line 2\) differ in case")],
)  # fmt: skip
def test_devices_without_a_name_or_with_two(row: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read_devices([write(tmp_path, HEAD, *ROWS, row)])


def test_devices_over_several_files(tmp_path: Path) -> None:
    one = write(tmp_path, HEAD, *ROWS)
    two = write(tmp_path, "V,t_p_ns,P_sw,n,direction", "0.95,0.75,0.7,100,AP->P", name="u.csv")
    with pytest.raises(InputError, match=r"u\.csv has no column for device, which .*t\.csv has"):
        read_devices([one, two])
    found = read_devices([one, two], fixed=["device=B"])
    assert [(f.device, f.points) for f in found if isinstance(f, Measurements)] == [("A", 3), ("B", 3)]


def test_a_thousand_devices_are_read_in_seconds(tmp_path: Path) -> None:
    rows = [f"d{k:04},AP->P,{0.8 + j / 100},7.5e-10,0.5,100" for k in range(1000) for j in range(20)]
    assert len(read_devices([write(tmp_path, HEAD, *rows)])) == 1000


TABLE = "V (V),t_p ({unit}),Psw,n\n1.1,{width},0.4,1000\n1.2,{width},0.5,1000\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"])
@pytest.mark.parametrize("unit", ["\N{MICRO SIGN}s", "ns"])
def test_the_encodings_of_laboratory_programs_are_read(encoding: str, unit: str, tmp_path: Path) -> None:
    text = TABLE.format(unit=unit, width="0.5" if unit == "ns" else "0.0005").replace("\n", "\r\n")
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert read_measurements([tmp_path / "t.csv"]).sets[0].width == pytest.approx(5e-10)


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n", b"V,P_sw\n1,\x80\x01", b"\xff\xfeV", b"\xef\xbb\xbfV\xb5"])
def test_bytes_that_are_no_text_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"is not readable as CSV.*export the table as CSV in UTF-8"):
        read_measurements([tmp_path / "t.csv"])


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_both_orders_of_UTF_16_are_read_by_their_mark_and_refused_without(order: str, tmp_path: Path) -> None:
    text = TABLE.format(unit="ns", width="0.5")
    (tmp_path / "t.csv").write_bytes(("\ufeff" + text).encode(order))
    assert read_measurements([tmp_path / "t.csv"]).sets[0].width == pytest.approx(5e-10)
    (tmp_path / "bare.csv").write_bytes(text.encode(order))
    with pytest.raises(InputError, match=r"UTF-16 without its byte order mark.*export the table as CSV in UTF-8"):
        read_measurements([tmp_path / "bare.csv"])


# What a table says in the wrong unit, the unit that is advised, and the value that the advice gives.
SLIPS = {
    "width (s)": ("0.5", "ns", 5e-10), "width_s": ("10", "ns", 1e-8), "voltage (V)": ("800", "mV", 0.8),
    "B_z (T)": ("30", "mT", 0.03), "B_x_T": ("250", "G", 0.025),
}  # fmt: skip


@pytest.mark.parametrize("column", SLIPS)
def test_a_unit_that_makes_no_sense_is_refused_and_the_advice_works(column: str, tmp_path: Path) -> None:
    cell, unit, value = SLIPS[column]
    given = {"width (ns)": "0.5", "voltage (V)": "1.1", "P_sw": "0.4", "trials": "1000"}
    quantity = column.split(" ")[0].removesuffix("_s").removesuffix("_T")
    given = {name: x for name, x in given.items() if not name.startswith(quantity)} | {column: cell}
    lines = ",".join(given), ",".join(given.values())
    with pytest.raises(InputError, match=rf"in line 2 is {cell} .*columns='(.*:{unit})'") as refused:
        read(tmp_path, *lines)
    remedies = re.findall(r"columns='([^']*)'", str(refused.value))
    assert len(remedies) == 2
    for remedy, expected in zip(remedies, (value, float(cell)), strict=True):
        assert getattr(read(tmp_path, *lines, columns=[remedy]).sets[0], quantity) == pytest.approx(expected)


def test_a_cell_with_its_own_unit_is_believed(tmp_path: Path) -> None:
    lines = "width (s),voltage,P_sw,trials", "200ms,1.1V,0.4,1000"
    assert read(tmp_path, *lines).sets[0].width == pytest.approx(0.2)


@pytest.mark.parametrize(("fixed", "says"), [("width=0.5", "width=0.5ns"), ("relax=20", "relax=20ns")])
def test_a_fixed_value_far_off_needs_its_unit(fixed: str, says: str, tmp_path: Path) -> None:
    lines = ("voltage,P_sw,trials,width (ns)", "1.1,0.4,1000,0.5")
    if fixed.startswith("width"):
        lines = ("voltage,P_sw,trials", "1.1,0.4,1000")
    with pytest.raises(InputError, match=f"fixed='{says}'"):
        read(tmp_path, *lines, fixed=[fixed])
    read(tmp_path, *lines, fixed=[says])
    read(tmp_path, *lines, fixed=[f"{fixed}s"])


def test_data_sets_take_no_width_of_hours() -> None:
    with pytest.raises(InputError, match=r"width = 5000 s in row 1 must be of the size of a pulse; give seconds"):
        SwitchingData(voltage=1.0, width=5000.0, P_sw=0.5, trials=100)  # type: ignore[arg-type]
