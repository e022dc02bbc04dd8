"""Every file of 0.1.0, changed in one place: its reader takes it or refuses it in words, whatever was changed.

The fuzzing of ``tests/fuzz`` changes files blindly. Here the changes are such that they pass every checksum, and every
value of a file gets its turn.
"""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltaspin import MagnetoelectricMemory, SwitchingModel
from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.cost.table import CostTable
from voltaspin.device import JunctionSpec
from voltaspin.device.characterise import Characterisation
from voltaspin.memory import ArraySpec
from voltaspin.memory.state import _checksum
from voltaspin.report.demo_results import DemoResults
from voltaspin.requirements.specification import NoiseSpecification

FILES = Path(__file__).parents[1] / "data" / "v0.1.0"
KINDS: dict[str, Any] = {
    "cost/table.json": CostTable,
    "crossbar/array.json": ArraySpec,
    "demo/results.json": DemoResults,
    "device/device.json": Characterisation,
    "device/junction.json": JunctionSpec,
    "noise-specification/specification.json": NoiseSpecification,
    "switching-model/llg.json": SwitchingModel,
    "switching-model/measured.json": SwitchingModel,
}
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 10**19, 10**400, 0.5, -1e308, 1e308, 1e-320, "", "0.5", "no", "[/T]$", "\ud800", [],
    [1], [[]], {}, {"a": 1}, {"kind": "x"}, float("nan"), float("inf"),
]  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value of JSON data."""
    found = [path]
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            found += places(value, (*path, key))
    return found


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The data with another value at one place."""
    if not path:
        return value
    data = copy.deepcopy(data)
    node = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return data


DATA = {name: json.loads((FILES / name).read_text()) for name in KINDS}
PLACES = {name: places(data) for name, data in DATA.items()}


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_changed_value_is_read_or_refused(name, data):
    # small files have every place tried; of large ones a sample
    where = data.draw(st.sampled_from(PLACES[name]))
    content = changed(DATA[name], where, data.draw(st.sampled_from(ODD)))
    try:
        read = KINDS[name].from_json(content, where="the file")
    except InputError as error:
        said = str(error)
    else:
        said = "the file is read"
        if isinstance(read, SwitchingModel):
            with contextlib.suppress(InputError):
                assert np.isfinite(read.probabilities()).all()
    assert said.startswith("the file")
    assert len(said) < 1000


@pytest.mark.parametrize(
    ("kind", "name", "field", "value"),
    [
        (ArraySpec, "crossbar/array.json", "TMR", "0.5"),
        (ArraySpec, "crossbar/array.json", "digital_ends", "no"),
        (ArraySpec, "crossbar/array.json", "rows", True),
        (ArraySpec, "crossbar/array.json", "rows", 256.0),
        (ArraySpec, "crossbar/array.json", "layers", {"conv*": {"rows": "64"}}),
        (ArraySpec, "crossbar/array.json", "schema_version", True),
        (JunctionSpec, "device/junction.json", "diameter", 10**400),
        (CostTable, "cost/table.json", "schema_version", True),
        (SwitchingModel, "switching-model/llg.json", "fit_error", False),
        (SwitchingModel, "switching-model/llg.json", "terms", [[10**15, 0]]),
        (SwitchingModel, "switching-model/llg.json", "terms", [[-1, 0]]),
        (NoiseSpecification, "noise-specification/specification.json", "limits", [None]),
    ],
)
def test_what_pydantic_would_have_bent_is_refused(kind, name, field, value):
    data = json.loads((FILES / name).read_text())
    kind.from_json(data, where="it")
    with pytest.raises(InputError, match=r"^it"):
        kind.from_json({**data, field: value}, where="it")


def memory_file(tmp_path: Path, change: Any) -> Path:
    """A saved memory after a change of its parts, with a checksum that fits."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(FILES / "memory-array/everything.safetensors", "numpy") as file:
        head, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    what = json.loads(head["memory"])
    what, tensors = change(what, tensors)
    head["memory"] = json.dumps(what)
    head["sha256"] = _checksum(tensors, head["memory"])
    save_file(tensors, tmp_path / "m.safetensors", metadata=head)
    return tmp_path / "m.safetensors"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_memory_with_a_good_checksum_is_read_or_refused(data, tmp_path_factory):
    def change(what, tensors):
        # without slopes, or with none of the imperfections' fields, they are solved for, which takes seconds
        solved = {("imperfections",), ("imperfections", "slopes")}
        where = data.draw(st.sampled_from([place for place in places(what) if place not in solved]))
        value = data.draw(st.sampled_from(ODD))
        return changed(what, where, value), tensors

    path = memory_file(tmp_path_factory.mktemp("m"), change)
    try:
        said = f"{path}: {MagnetoelectricMemory.load(path).read().shape}"
    except InputError as error:
        said = str(error)
    assert said.startswith(str(path))


@pytest.mark.parametrize(
    "array", [np.zeros(0, np.uint8), np.zeros(7, np.uint8), np.zeros((8, 8), np.float32), np.full((8, 8), np.nan), None]
)
@pytest.mark.parametrize("name", ["state", "p01", "p10", "worn"])
def test_arrays_of_another_size_or_kind_are_refused(name, array, tmp_path):
    def change(what, tensors):
        left = {k: v for k, v in tensors.items() if k != name}
        return what, left if array is None else {**left, name: array}

    with pytest.raises(InputError, match=name):
        MagnetoelectricMemory.load(memory_file(tmp_path, change))


def test_a_size_that_no_file_holds_is_refused_before_it_is_allocated(tmp_path):
    path = memory_file(tmp_path, lambda what, tensors: ({**what, "rows": 10**9, "columns": 10**9}, tensors))
    with pytest.raises(InputError, match="does not fit 1000000000 x 1000000000 cells"):
        MagnetoelectricMemory.load(path)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda x: st.lists(x, max_size=3)
                    | st.dictionaries(st.sampled_from(["name", "counts", "children", "pulse"]), x)))  # fmt: skip
def test_a_ledger_is_read_or_refused(data):
    with contextlib.suppress(InputError):
        Ledger.from_dict(data)


def test_hdf5_with_any_bit_changed_is_read_or_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    from voltaspin.device import ResistanceData
    from voltaspin.device.fit.data import load

    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["V"], file["R"] = np.linspace(-1, 1, 8), np.linspace(1e3, 2e3, 8)
        # of a fixed length: libhdf5 itself can loop for ever over damaged strings of variable length
        file["state"] = np.array(["P", "AP"] * 4, "S2")
    whole = (tmp_path / "whole.h5").read_bytes()
    rng = np.random.default_rng(0)
    read, said = 0, []
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        (tmp_path / "x.h5").write_bytes(changed)
        try:
            load(ResistanceData, tmp_path / "x.h5", {"voltage": "V", "R": "R", "state": "state"})
            read += 1
        except InputError as error:
            said.append(str(error))
    assert 50 < read < 300
    assert all(str(tmp_path) in one for one in said)
