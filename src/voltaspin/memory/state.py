"""The file of an array: its state bit for bit, all that defines it, and a checksum over both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import parse_json, write_bytes
from voltaspin.core.ledger import Ledger
from voltaspin.core.spec import built, shown
from voltaspin.device import Junction, SwitchingModel
from voltaspin.memory.dynamics import Imperfections
from voltaspin.memory.pulses import Line
from voltaspin.memory.variation import Access, Variation

T = TypeVar("T")

KIND, VERSION = "magnetoelectric-memory", "1"


def save(memory: Any, path: Path) -> None:
    """Write a ``MagnetoelectricMemory`` into a file, complete or not at all."""
    from safetensors.numpy import save as serialise

    if not isinstance(memory.model, SwitchingModel):
        raise InputError(f"a memory with a {type(memory.model).__name__} cannot be saved; use a SwitchingModel")
    what = {
        "rows": memory.rows, "columns": memory.columns, "seed": int(memory.seed), "stuck": memory.stuck,
        "model": memory.model.to_json(), "variation": memory.variation.to_json(),
        "junction": None if memory.junction is None else asdict(memory.junction),
        **{n: None if (part := getattr(memory, n)) is None else part.to_json()
           for n in ("access", "line", "imperfections")},
        "cycle": memory.cycle, "worn_all": memory._worn_all, "most_worn": memory._most_worn,
        "ledger": memory.ledger.to_dict(),
    }  # fmt: skip
    text = json.dumps(what, sort_keys=True)
    tensors: dict[str, NDArray[Any]] = {
        "state": np.packbits(memory._state),
        "p01": memory._p01,
        "p10": memory._p10,
        "worn": memory._worn,
    }
    head = {"kind": KIND, "schema_version": VERSION, "memory": text, "sha256": _checksum(tensors, text)}
    try:
        write_bytes(path, serialise(tensors, metadata=head))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error}); nothing was changed there") from None


def load(path: Path, make: Callable[..., Any]) -> Any:
    """Read what :func:`save` wrote.

    Args:
        path: of the file.
        make: the class of the memory, which imports this module.

    Raises:
        InputError: the file is missing, damaged, of another kind, or its parts do not fit each other.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path} does not exist; MagnetoelectricMemory.save writes such a file")
    try:
        with safe_open(path, "numpy") as file:
            head: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError) as error:  # TypeError: a type that NumPy does not have
        raise InputError(f"{path} cannot be read ({error}); it is truncated or no saved memory") from None
    if head.get("kind") != KIND or head.get("schema_version") != VERSION:
        raise InputError(
            f"{path} is {shown(head.get('kind'))} version {shown(head.get('schema_version'))}, not {KIND!r} version "
            f"{VERSION!r}; save it again with this version of voltaspin"
        )
    if head.get("sha256") != _checksum(tensors, head.get("memory", "")):
        raise InputError(f"{path}: its checksum is wrong, so bits have changed since it was saved; restore a copy")
    what = built(_Saved, parse_json(head["memory"], where=str(path)), where=str(path))
    _check_sizes(what, tensors, path)
    try:
        # what was computed once is taken from the file, so that no library's rounding can change a threshold
        memory = make(
            rows=what.rows, columns=what.columns, model=SwitchingModel.from_json(what.model, where="model"),
            variation=built(Variation, what.variation, where="variation"), access=_or_none(Access, what.access),
            stuck=what.stuck, junction=_or_none(Junction, what.junction), seed=what.seed,
        )  # fmt: skip
        memory.line = _or_none(Line, what.line)
        memory.imperfections = _or_none(Imperfections, what.imperfections)
        memory._set_responses(tensors["p01"].copy(), tensors["p10"].copy())
        memory.ledger = Ledger.from_dict(what.ledger)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    memory._state[:] = np.unpackbits(tensors["state"], count=memory.cells).reshape(memory.rows, memory.columns)
    memory.cycle, memory._worn_all, memory._worn = what.cycle, what.worn_all, tensors["worn"].copy()
    memory._most_worn = what.most_worn
    memory._wear(None, 0)
    return memory


def _or_none(kind: type[T], data: dict[str, Any] | None) -> T | None:
    return None if data is None else built(kind, data, where=kind.__name__.lower())


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """The fields of the file beside its tensors."""

    rows: int
    columns: int
    seed: int
    stuck: float
    model: dict[str, Any]
    variation: dict[str, Any]
    junction: dict[str, Any] | None
    access: dict[str, Any] | None
    line: dict[str, Any] | None
    imperfections: dict[str, Any] | None
    cycle: int
    worn_all: int
    most_worn: int
    ledger: dict[str, Any]


def _check_sizes(what: _Saved, tensors: dict[str, NDArray[Any]], path: Path) -> None:
    """Refuse arrays that are not those of so many cells, before anything of that size is made."""
    cells = what.rows * what.columns
    for name in ("rows", "columns", "cycle", "worn_all", "most_worn"):
        if not 0 <= (count := getattr(what, name)) < 2**63:
            raise InputError(f"{path}: {name} is {shown(count)}, which no memory counts to")
    wanted: dict[str, tuple[type, set[tuple[int, ...]]]] = {
        "state": (np.uint8, {(-(-cells // 8),)}),
        "p01": (np.float64, {(what.rows, what.columns)}),
        "p10": (np.float64, {(what.rows, what.columns)}),
        "worn": (np.int64, {(0,), (cells,)}),
    }
    for name, (kind, shapes) in wanted.items():
        found = tensors.get(name)
        if found is None or found.dtype != kind or found.shape not in shapes:
            told = "missing" if found is None else f"{found.dtype} of shape {found.shape}"
            raise InputError(f"{path}: {name} is {told}, which does not fit {what.rows} x {what.columns} cells")
    if not all(((tensors[p] >= 0) & (tensors[p] <= 1)).all() for p in ("p01", "p10")):  # also false for NaN
        raise InputError(f"{path}: p01 or p10 holds what is no probability; restore a copy")


def _checksum(tensors: dict[str, NDArray[Any]], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
