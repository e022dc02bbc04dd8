"""Count the package's lines of code, and say where they are.

Usage: python benchmarks/code_lines.py [REV]

A line counts if it holds a token of code: docstrings, comments and blank lines do not, and a line of more than 120
characters counts as the lines that it would fill. Templates and style sheets count by their lines that are not blank,
tables of data by their characters, 120 to a line, so that their layout does not matter. With a revision, its tree is
counted beside the working tree.
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path, PurePosixPath

PACKAGE = "src/voltaspin"
LINE = 120
TEMPLATES = {".html", ".css", ".j2", ".jinja", ".js", ".svg"}
TABLES = {".json", ".csv", ".txt", ".toml"}
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def _docstring_lines(source: str) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def code_lines(source: str) -> int:
    """Return the number of lines of a Python source that hold code, each counted once per 120 characters."""
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            held.update(range(token.start[0], token.end[0] + 1))
    text = source.splitlines()
    return sum(max(1, -(-len(text[line - 1]) // LINE)) for line in held - _docstring_lines(source))


def count(path: PurePosixPath, content: bytes) -> int:
    """Return the lines of one file; zero for one that is neither Python nor text (a table of numbers in binary)."""
    if path.suffix == ".py":
        return code_lines(content.decode())
    if path.suffix in TEMPLATES:
        return sum(bool(line.strip()) for line in content.decode().splitlines())
    if path.suffix in TABLES:
        return -(-sum(len(line.strip()) for line in content.decode().splitlines()) // LINE)
    return 0


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], check=True, capture_output=True).stdout


def at(revision: str | None) -> Counter[str]:
    """Return the lines by sub-package, at a revision or (``None``) in the working tree."""
    listed = _git("ls-tree", "-r", "--name-only", revision, PACKAGE) if revision else _git("ls-files", PACKAGE)
    found: Counter[str] = Counter()
    for name in listed.decode().splitlines():
        if not revision and not Path(name).exists():
            continue
        inside = PurePosixPath(name).relative_to(PACKAGE).parts
        content = _git("show", f"{revision}:{name}") if revision else Path(name).read_bytes()
        suffix = PurePosixPath(name).suffix
        place = "(tables)" if suffix in TABLES else "(templates)" if suffix in TEMPLATES else inside[0]
        found[place if len(inside) > 1 else "(top)"] += count(PurePosixPath(name), content)
    return found


def main() -> None:
    """Print a table of both trees."""
    trees = {name or "working tree": at(name) for name in [*sys.argv[1:2], None]}
    print(f"{'package':16}" + "".join(f"{name[:14]:>16}" for name in trees))
    for package in sorted(set().union(*trees.values())):
        print(f"{package:16}" + "".join(f"{found[package]:16,}" for found in trees.values()))
    totals = [sum(found.values()) for found in trees.values()]
    print(f"{'together':16}" + "".join(f"{total:16,}" for total in totals))
    if len(totals) == 2:
        print(f"{'':16}{'':16}{totals[1] / totals[0]:16.3f}")


if __name__ == "__main__":
    main()
