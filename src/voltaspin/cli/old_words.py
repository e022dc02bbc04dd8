"""Options that had another name before: the old words work, and stand in no help."""

from __future__ import annotations

from typing import Any

from voltaspin.core.errors import InputError
from voltaspin.core.units import parse_count

#: Old word, new word, and the commands in which the old one meant the new one ("" for every command that has the new).
OLD_WORDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("--source", "--noise", ("",)),
    ("--condition", "--conditioning", ("",)),
    ("--lanes", "--n-cells", ("",)),
    ("--cells", "--junction", ("sample", "train")),
    ("--cells", "--n-cells", ("memory endurance",)),
    ("--preset", "--junction", ("device", "device characterise", "device export", "device fit")),
    ("--preset", "--published", ("memory macro",)),
    ("--columns", "--column", ("device fit",)),
    ("--model", "--switching-model", ("device fit",)),
    ("--spec", "--array", ("",)),
    ("--count", "--bits", ("spec",)),
    ("--steps", "--training-steps", ("train",)),
    ("--image-steps", "--steps", ("cost",)),
    ("--training-batch", "--batch", ("cost",)),
    ("--out", "--figure", ("cost", "memory cost", "memory endurance", "memory macro", "memory map", "memory yield")),
    ("--years", "--time", ("memory store",)),
    ("--celsius", "--temperature", ("memory store",)),
    ("--seconds", "--retention", ("memory yield",)),
)  # fmt: skip


def translated(arguments: list[str], app: Any) -> list[str]:
    """Return the words of a command line with the new word for each old one.

    Args:
        arguments: behind ``voltaspin``.
        app: the command of ``voltaspin``, with its commands below it.
    """
    made: list[str] = []
    command, path = app, ""
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*made, word, *words]
        if not word.startswith("--"):
            if (below := getattr(command, "commands", {}).get(word)) is not None:
                command, path = below, f"{path} {word}".strip()
            made.append(word)
            continue
        name, equals, value = word.partition("=")
        if path == "spec" and name == "--bits":  # was a file, and is a number
            value = value if equals else next(words, "")
            made += ["--bits", value] if _is_count(value) else [value]
            continue
        options = {spelling for p in command.params for spelling in p.opts}
        new = next((new for old, new, where in OLD_WORDS if old == name and new in options - {name}
                    and (path in where or ("" in where and old not in options))), name)  # fmt: skip
        made.append(f"{new}{equals}{value}")
    return made


def _is_count(text: str) -> bool:
    try:
        parse_count(text, name="--bits", least=1, most=2**63, why="")
    except InputError:
        return False
    return True
