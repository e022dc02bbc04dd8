"""Output for a terminal, a pipe or a closed stream: one line for an error, and standard streams that never fail."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Mapping

from voltaspin.core.errors import InputError

_EMPTY = re.compile(r"(--[A-Za-z][\w-]*)=")
LONGEST = 2000  #: characters of one line; what a user gave may be longer and is cut in the middle


def one_line(message: object) -> str:
    """A message on one line of printable characters; whatever else is in it is escaped.

    Line breaks become spaces. Control characters, which could steer a terminal, marks that turn the direction of
    writing, and bytes of a file name that are no UTF-8 become ``\\x1b``, ``\\u202e``, ``\\xff``.
    """
    text = " ".join(str(message).split())
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
    return text


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that Python could not decode
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def as_options(message: str, options: Mapping[str, str]) -> str:
    """Return a message whose arguments, such as ``resume=True`` or ``steps = 5``, are written as options.

    Args:
        message: of an error below the command line, which names arguments.
        options: of the command, by the names of its arguments: ``{"resume": "--resume"}``.
    """
    if not options:
        return message
    names = "|".join(map(re.escape, sorted(options, key=len, reverse=True)))

    def option(found: re.Match[str]) -> str:
        name, value = found.groups()
        if value in (None, "True"):
            return options[name]
        listed = re.findall("'([^']*)'", value) if value[0] in "('" else [value.strip('"')]
        text = ",".join(listed)
        if re.search(r"[\s()&;|$]", text):
            text = shlex.quote(text)
        return f"{options[name]} {text}"

    values = r"""True\b|\((?:'[^']*',? ?)+\)|'[^']*'|"[^"]*"|[\w./+-]*[\w/]"""
    return re.sub(rf"(?<![\w.(=-])({names}) ?= ?({values})?(?![\w(=])", option, message)


def check_argument(word: str, before: str = "") -> None:
    """Refuse a text that the system could not have given, and an empty one, which would be taken for no text at all.

    Args:
        word: of a command line; before: the one before it, which an option's value follows.

    Raises:
        InputError: it is empty, or an option's value is; it holds a null character, or half of a surrogate pair.
    """
    if not word or (found := _EMPTY.fullmatch(word)):
        option = found[1] if word and found else before if before.startswith("--") else ""
        where = f"the value of {option}" if option else "one of the arguments"
        raise InputError(f"{where} is empty (a variable without a value?); give one, or leave it out")
    try:
        encoded = os.fsencode(word)
    except UnicodeEncodeError:
        raise InputError(f"the argument {word!r} cannot be written in the system's encoding; leave it out") from None
    if b"\0" in encoded:
        raise InputError(f"the argument {word!r} holds a null character; leave it out")


def take_anything() -> None:
    """Make standard output and error take any text: what their encoding lacks is escaped, a closed one swallows all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon_output() -> None:
    """Send what is left of standard output nowhere, once its reader is gone: Python would complain at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
