"""A memory in a file: its state bit for bit, all that defines it, and a checksum over both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import write_bytes
from voltaspin.core.ledger import Ledger
from voltaspin.device import Junction, SwitchingModel
from voltaspin.memory.access import Access
from voltaspin.memory.imperfections import Imperfections, Slopes
from voltaspin.memory.lines import Line
from voltaspin.memory.variation import Variation

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
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path} does not exist; MagnetoelectricMemory.save writes such a file")
    try:
        with safe_open(path, "numpy") as file:
            head: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); it is truncated or no saved memory") from None
    if head.get("kind") != KIND or head.get("schema_version") != VERSION:
        raise InputError(
            f"{path} is {head.get('kind')!r} version {head.get('schema_version')!r}, not {KIND!r} version {VERSION!r}; "
            "save it again with this version of voltaspin"
        )
    if head["sha256"] != _checksum(tensors, head["memory"]):
        raise InputError(f"{path}: its checksum is wrong, so bits have changed since it was saved; restore a copy")
    what: dict[str, Any] = json.loads(head["memory"])
    # what was computed once is taken from the file, so that no library's rounding can change a threshold
    memory = make(
        rows=what["rows"], columns=what["columns"], model=SwitchingModel.from_json(what["model"], where=str(path)),
        variation=_variation(what["variation"]), access=_access(what["access"]), stuck=what["stuck"],
        junction=None if what["junction"] is None else Junction(**_tuples(what["junction"])), seed=what["seed"],
    )  # fmt: skip
    memory.line = None if what["line"] is None else Line(**what["line"])
    memory.imperfections = None if what["imperfections"] is None else _imperfections(what["imperfections"])
    memory._settle(tensors["p01"].copy(), tensors["p10"].copy())
    memory._state[:] = np.unpackbits(tensors["state"], count=memory.cells).reshape(memory.rows, memory.columns)
    memory.cycle, memory._worn_all, memory._worn = what["cycle"], what["worn_all"], tensors["worn"].copy()
    memory._most_worn = what["most_worn"]
    memory._wear(None, 0)
    memory.ledger = Ledger.from_dict(what["ledger"])
    return memory


def _checksum(tensors: dict[str, NDArray[Any]], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}


def _variation(data: dict[str, Any]) -> Variation:
    gradient = {k: (v[0], v[1]) for k, v in data["gradient"].items()}
    return Variation(**_tuples({**data, "gradient": gradient}))


def _access(data: dict[str, Any] | None) -> Access | None:
    return None if data is None else Access(**_tuples(data))


def _imperfections(data: dict[str, Any]) -> Imperfections:
    slopes = data.pop("slopes")
    return Imperfections(**data, slopes=None if slopes is None else Slopes(**_tuples(slopes)))
