"""Run every command of docs/tutorial-lab.md in a new folder: sweep, fit, junction, bits, tests, images.

    python examples/round_trip.py lab

The page is the script: its commands are the lines that begin with a dollar sign. Under `echo $?` the page says with
which status the command before it ends; the others end with 0.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial-lab.md"


def commands(page: str) -> list[tuple[str, int]]:
    """Commands of the console blocks in order, each with its exit status."""
    found: list[tuple[str, int]] = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for command, shown in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            if command == "echo $?":
                found[-1] = (found[-1][0], int(shown))
            else:
                found.append((command, 0))
    return found


def run(folder: Path, port: int) -> None:
    """Run the page's commands in a folder, with the interpreter that runs this file."""
    python = shlex.quote(sys.executable)
    shell = f'python() {{ {python} "$@"; }}; voltaspin() {{ {python} -m voltaspin "$@"; }}; set -o pipefail; '
    example = shlex.quote(str(ROOT / "examples" / "instrument.py"))
    instruments: list[subprocess.Popen[str]] = []
    begin = time.monotonic()
    try:
        for command, status in commands(PAGE.read_text(encoding="utf-8")):
            if command.startswith(("mkdir", "kill")):
                continue
            print(f"$ {command}", flush=True)
            since = time.monotonic()
            if command.endswith("&"):
                here = command.rstrip("& ").replace("../examples/instrument.py", f"{example} --port {port}")
                here = "exec " + here.replace("python", python, 1)
                instrument = subprocess.Popen(["bash", "-c", here], cwd=folder, stdout=subprocess.PIPE, text=True)
                instruments.append(instrument)
                assert instrument.stdout is not None
                print(instrument.stdout.readline(), end="")
                continue
            here = command.replace("template instrument", f"template instrument | sed s/:5025:/:{port}:/")
            ended = subprocess.run(["bash", "-c", shell + here], cwd=folder, env=os.environ | {"MPLBACKEND": "agg"})
            if ended.returncode != status:
                sys.exit(f"status {ended.returncode} where the page has {status}: {command}")
            print(f"# {time.monotonic() - since:.1f} s", flush=True)
    finally:
        for instrument in instruments:
            instrument.terminate()
            instrument.wait()
    print(f"# all: {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run the commands of docs/tutorial-lab.md in a new folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=5025, help="of the simulated instrument")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    run(given.folder, given.port)
