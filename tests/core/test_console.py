"""What a terminal, a pipe or a closed stream can take."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltaspin.core import console
from voltaspin.core.console import LONGEST, as_options, one_line


@given(st.text(st.characters(codec=None), max_size=3 * LONGEST))  # surrogates included
def test_any_text_becomes_one_printable_line(text):
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= LONGEST + 10
    line.encode()  # which a lone surrogate refuses


def test_what_is_escaped_can_be_read():
    assert one_line("a\n\tb") == "a b"
    assert one_line("\x1b[31m") == r"\x1b[31m"
    assert one_line("\u202e.png") == r"\u202e.png"
    assert one_line(os.fsdecode(b"m\xf6we")) == r"m\xf6we"
    assert one_line("µ Δ 漢 é") == "µ Δ 漢 é"


def voltaspin(command: str, *arguments: bytes | str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell command in which ``V`` is the command line and ``$1``, ... are the arguments."""
    shell = f'V() {{ "$0" -m voltaspin "$@"; }}; set -o pipefail; {command}'
    return subprocess.run(["bash", "-c", shell, sys.executable, *arguments], capture_output=True,
                          env=os.environ | environment)  # fmt: skip


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("V device list | true", 141),  # its reader went away, as for a program that a signal ended
        ("V device list >&-", 0),
        ("V device list >/dev/full", 2),
    ],
)
def test_output_that_cannot_be_written(command, status):
    ended = voltaspin(command)
    assert ended.returncode == status
    lines = ended.stderr.decode().splitlines()
    assert len(lines) == (1 if status == 2 else 0)
    assert all(line.startswith("voltaspin: No space left") for line in lines)


def test_a_name_that_is_no_utf8_and_a_terminal_that_takes_ascii_only(tmp_path):
    name = os.fsencode(tmp_path) + b"/m\xf6we.bin"
    made = voltaspin('V bits --count 64 --noise software --out "$1"', name, PYTHONIOENCODING="ascii")
    assert (made.returncode, made.stderr) == (0, b"")
    refused = voltaspin('V evaluate "$1"', name, PYTHONIOENCODING="ascii")
    assert refused.returncode == 2
    assert refused.stderr.count(b"\n") == 1
    assert rb"m\xf6we.bin" in refused.stderr


def test_no_home_and_no_folder_that_can_be_written_for_caches(tmp_path):
    nowhere = dict.fromkeys(
        ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "VOLTASPIN_CACHE", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"),
        "/proc/nothing",
    )
    done = voltaspin('V device export --format ngspice --out "$1"', str(tmp_path / "cell.sp"), **nowhere)
    assert (done.returncode, done.stderr) == (0, b"")


SOURCE = Path(console.__file__).parents[1]
#: Options of other programs that we start.
FOREIGN = ("--query-gpu=", "--format=csv", "--id=0", "--loop-ms=")


def texts_of(tree):
    """Every text of a module but its docstrings, an f-string as one text with {} in it."""
    inner = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    inner |= {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in inner:
            continue
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_nothing_below_the_command_line_names_an_option():
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.parent.name == "cli":
            continue
        for line, text in texts_of(ast.parse(path.read_text(encoding="utf-8"))):
            if text.startswith((*FOREIGN, "<!DOCTYPE")):
                continue
            # a line that is a command, on a page or in a record, is shown as it would be typed
            said = [one for one in text.split("\n") if not re.match(r"\s*`?(voltaspin|\{\}) ", one)]
            if any(re.search(r"(^|[\s'\"`(])--[a-zA-Z]", one) for one in said):
                found.append(f"{path.relative_to(SOURCE)}:{line}: {text[:80]}")
    assert not found


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("continue that run with resume=True", "continue that run with --resume"),
        ("use extractor='inception'", "use --extractor inception"),
        ("by extractor='inception' reference_images= (real)", "by --extractor inception --reference-images (real)"),
        ("shard='9/2': give i/N", "--shard 9/2: give i/N"),
        ("steps = 5: give these, and steps == 5", "--steps 5: give these, and steps == 5"),
        ('out="it\'s" is no folder', "--out it's is no folder"),
        ("choose another folder with out=, or", "choose another folder with --out, or"),
        ("with out='width=width (s):ns', or", "with --out 'width=width (s):ns', or"),
        ("say out='a | b'", "say --out 'a | b'"),
        ("RecordedSource(out=3) and about=1, x.out=True", "RecordedSource(out=3) and about=1, x.out=True"),
    ],
)
def test_arguments_become_options_on_the_command_line(message, shown):
    names = ("resume", "extractor", "reference_images", "shard", "out", "steps")
    assert as_options(message, {name: "--" + name.replace("_", "-") for name in names}) == shown
