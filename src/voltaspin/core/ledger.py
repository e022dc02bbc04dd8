"""Counts of what the hardware did. No joules here: ``voltaspin.cost`` prices a ledger afterwards.

A ledger is a tree (run, array, layer, ...) of counters, so that two processes can be merged and one run
can be priced again under another technology.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from voltaspin.core.errors import InputError

#: The actions that the package counts, with the unit of one count.
ACTIONS: dict[str, str] = {
    "pulse": "one stochastic voltage pulse on one cell",
    "reset": "one deterministic write of one cell before a stochastic pulse or a run of them",
    "write": "one deterministic write of one cell that stores data",
    "toggle": "one precessional pulse that turns one cell over, whatever it holds",
    "read": "one read of one cell",
    "raw": "one bit that a conditioner consumes",
    "xor": "one two-input XOR of two bits",
    "and": "one two-input AND of two bits",
    "hash": "one block of 512 bits through the compression function of SHA-256",
    "product": "one cell that an input of a crossbar meets (or, sensed alone, one reading of it)",
    "activation": "one driving of all rows of a layer's arrays at once",
    "drive": "one charging of a word line to an input of a crossbar",
    "conversion": "one analog-to-digital conversion",
    "add": "one digital addition behind a converter or in an adder tree",
    "mac": "one digital multiply-accumulate of a layer that is not in memory",
    "byte": "one byte moved between an array or a digital unit and a buffer",
    "evaluation": "one evaluation of a network for one image",
    "bit": "one conditioned bit handed to a user",
    "normal": "one Gaussian number handed to a user",
    "lookup": "one read of the inverse-CDF table",
}
_RENAMED = {"turn": "activation"}  # actions of 0.1.0 by their present names


class Ledger:
    """A named counter with named children.

    >>> run = Ledger("run")
    >>> run.child("array").count("pulse", 3)
    >>> run.total("pulse")
    3
    """

    def __init__(self, name: str = "run") -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self.children: dict[str, Ledger] = {}

    def count(self, action: str, n: int = 1) -> None:
        """Add ``n`` actions; raises InputError for an unknown action or a negative count."""
        if action not in ACTIONS:
            raise InputError(f"action {action!r} is not counted; known: {', '.join(ACTIONS)}")
        if n < 0:
            raise InputError(f"cannot count {n} times {action}; counts only grow")
        self.counts[action] += int(n)

    def child(self, name: str) -> Ledger:
        """The child of that name, made on first use."""
        return self.children.setdefault(name, Ledger(name))

    def total(self, action: str) -> int:
        """Count of ``action`` here and in everything below."""
        return self.counts[action] + sum(c.total(action) for c in self.children.values())

    def totals(self) -> dict[str, int]:
        """All non-zero totals, in the order of ``ACTIONS``."""
        return {a: n for a in ACTIONS if (n := self.total(a))}

    def merge(self, other: Ledger) -> None:
        """Add another ledger into this one, child by child."""
        self.counts.update(other.counts)
        for name, sub in other.children.items():
            self.child(name).merge(sub)

    def copy(self) -> Ledger:
        return Ledger.from_dict(self.to_dict())

    def since(self, before: Ledger) -> Ledger:
        """Return the counts since ``before``, an earlier copy of this ledger."""
        found = Ledger(self.name)
        found.counts = self.counts - before.counts
        for name, sub in self.children.items():
            found.children[name] = sub.since(before.children.get(name, Ledger(name)))
        return found

    def share(self, part: int, whole: int) -> Ledger:
        """The counts of ``part`` images of ``whole``, rounded: a batch may be larger than what was asked for."""
        found = Ledger(self.name)
        found.counts = Counter({action: round(n * part / whole) for action, n in self.counts.items()})
        found.children = {name: sub.share(part, whole) for name, sub in self.children.items()}
        return found

    def walk(self, path: str = "") -> Iterator[tuple[str, Counter[str]]]:
        here = f"{path}/{self.name}" if path else self.name
        yield here, self.counts
        for sub in self.children.values():
            yield from sub.walk(here)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "counts": dict(self.counts),
            "children": [c.to_dict() for c in self.children.values()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Ledger:
        try:
            ledger = cls(str(data["name"]))
            for action, n in data["counts"].items():
                ledger.count(_RENAMED.get(action, action), n)
            for sub in data["children"]:
                ledger.children[sub["name"]] = cls.from_dict(sub)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"this is no ledger ({type(error).__name__}: {error}); write it again") from None
        return ledger

    def __repr__(self) -> str:
        return f"Ledger({self.name!r}, {self.totals()})"
