"""What the fuzzer tries: command lines that work, changed in one or two places, and files that were damaged."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

from readers import GOOD, SAMPLES

#: Files and folders that stand in the working folder of every input.
PROVIDED = {
    "bits.bin": "recording/bits.bin",
    "bits.bin.json": "recording/bits.bin.json",
    "bits.txt": "recording/bits.txt",
    "model": "gaussian-model",
    "images": "images/ddim",
    "garments": "images/shipped",
    "study.json": "study/study.json",
    "array.json": "crossbar/array.json",
    "junction.json": "device/junction.json",
    "resistance.csv": "device-fit/resistance.csv",
    "garment.png": "images/ddim/image-000000.png",
    "spec.json": "noise-specification/specification.json",
}

#: Command lines that end with status 0 in a fraction of a second once everything is warm.
ACCEPTED: list[list[str]] = [
    ["--help"],
    ["device", "--devices", "64", "--width", "0.6"],
    ["device", "--preset", "storage", "--devices", "8", "--voltage", "1.1", "--width", "0.5", "--json"],
    ["device", "list"],
    ["device", "list", "--json"],
    ["device", "export", "--format", "ngspice", "--out", "cell.sp"],
    ["device", "export", "--format", "verilog-a", "--out", "-"],
    ["device", "export", "--format", "json", "--set", "t_F=1.2nm", "--out", "j.json"],
    ["bits", "--count", "1000", "--noise", "software", "--out", "new.bin"],
    ["bits", "--count", "77", "--noise", "software", "--format", "text", "--out", "new.txt"],
    ["bits", "--count", "256", "--noise", "bits.bin", "--out", "new.bin"],
    ["bits", "--count", "64", "--noise", "system", "--format", "bytes", "--out", "-"],
    ["bits", "--count", "500", "--noise", "memory", "--out", "new.bin", "--seed", "3"],
    ["sample", "--model", "model", "--noise", "software", "--count", "1", "--steps", "2", "--out", "new"],
    ["sample", "--model", "model", "--noise", "software", "--sampler", "ddim", "--eta", "0.5", "--count", "2",
     "--steps", "2", "--batch", "1", "--out", "new", "--json"],
    ["sample", "--model", "model", "--in-place", "--cells", "ideal", "--count", "1", "--steps", "2", "--out", "new"],
    ["sample", "--model", "model", "--noise", "bits.bin", "--count", "1", "--steps", "2", "--out", "new"],
    ["randomness", "bits.bin", "--bits", "128"],
    ["randomness", "bits.txt", "--bits", "100", "--file-format", "text", "--json"],
    ["cells", "bits.bin", "--n-cells", "8", "--out", "new.json"],
    ["cells", "bits.bin", "--n-cells", "4", "--rows", "2", "--max-bias", "0.1", "--json"],
    ["bits", "bits.bin", "--n-cells", "8", "--leave-out", "3,5-6", "--out", "new.bin"],
    ["memory", "coverage", "--model", "model"],
    ["memory", "coverage", "--model", "model", "--spec", "array.json", "--json"],
    ["memory", "cost", "--model", "model", "--steps", "3"],
    ["memory", "store", "garment.png", "--out", "kept.png"],
    ["memory", "yield", "--rows", "16", "--columns", "16"],
    ["cost", "--measure", "never", "--samples", "100"],
    ["device", "fit", "resistance.csv", "--columns", "voltage=V:V", "--out", "new"],
    ["evaluate", "garments", "--json"],
    ["memory", "coverage", "--help"],
    ["template", "train", "cifar10"],
    ["template", "array", "digital"],
    ["memory", "macro", "--preset", "mram-22-2025", "--set", "rows=64"],
    ["memory", "macro", "--spec", "array.json", "--json"],
    ["memory", "map", "--model", "model"],
    ["memory", "export", "--model", "model", "--steps", "2", "--out", "new"],
    ["memory", "endurance", "--model", "model", "--endurance", "1e12"],
    ["waveform", "trace.csv", "--interval", "50us", "--out", "new.bin"],
    ["waveform", "trace.csv", "--column", "1", "--threshold", "0.1V", "--json"],
    ["sample", "--model", "model", "--noise", "software", "--sampler", "heun", "--count", "1", "--steps", "9",
     "--out", "new"],
    ["design", "space.json", "--dry-run", "--out", "new"],
    ["study", "--help"],
]  # fmt: skip

#: Commands that are too slow to be let through: only what must be refused is tried on them.
REFUSED: list[list[str]] = [
    ["demo", "--images", "0", "--out", "new"],
    ["train", "--data", "images", "--steps", "0", "--out", "new"],
    ["randomness", "bits.bin", "--bits", "0"],
    ["evaluate", "missing"],
    ["study", "missing.json", "--out", "new"],
    ["spec", "--bits", "missing.bin"],
    ["spec", "--junction", "nothing", "--specification", "spec.json"],
    ["cost", "--junction", "nothing"],
    ["memory", "yield", "--rows=0"],
    ["memory", "store", "missing.png"],
    ["memory", "cost", "--spec", "nothing"],
    ["memory", "coverage", "--spec", "study.json"],
    ["device", "fit", "missing.csv", "--out", "new"],
    ["device", "fit", "switching.csv", "--model", "nothing", "--fixed", "tau_0=1ns", "--out", "new"],
    ["train", "--config", "nothing", "--set", "steps=0", "--data", "images", "--out", "new"],
    ["device", "measure", "--profile", "lab.toml", "--widths", "0.1:1:0.1ns", "--voltages", "1V", "--out", "new"],
    ["bits", "--profile", "lab.toml", "--count", "800", "--out", "new"],
    ["device", "characterise", "--preset", "nothing", "--out", "new"],
]

# fmt: off
#: What no number is, and what no count, share, time and temperature is.
_NO_NUMBER = ["", "nan", "inf", "-inf", "-5", "1e308", "-1e308", "1,5", "7 furlong"]
_NO_COUNT = [*_NO_NUMBER, "0", "-1", "2.5", "0x10", "999999999999999999999999"]
_NO_SHARE = [*_NO_NUMBER, "-0.01", "-1%", "1.01", "101%", "1e-12", "5 s"]
_NO_TIME = [*_NO_NUMBER, "-5s", "-1e-9", "1e-300", "1e30", "5 V"]
#: Every option of the commands of ``memory`` that takes a number, and values that it must refuse.
MEMORY_REFUSED: dict[tuple[str, ...], dict[str, list[str]]] = {
    ("yield",): {"--rows": _NO_COUNT, "--columns": _NO_COUNT, "--K-eff-spread": _NO_SHARE, "--eps": [*_NO_SHARE, "0.6"],
                 "--retention": _NO_TIME, "--seed": _NO_NUMBER},
    ("store", "garment.png"): {"--time": _NO_TIME, "--seed": _NO_NUMBER,
                               "--temperature": [*(t for t in _NO_NUMBER if t != "-5"), "-300", "-1K"]},
    ("cost",): {"--steps": _NO_COUNT},
    ("map",): {},
    ("macro",): {},
    ("export",): {"--steps": _NO_COUNT},
    ("endurance",): {"--steps": _NO_COUNT, "--training-steps": _NO_COUNT, "--n-cells": _NO_COUNT,
                     "--cells-per-pixel": _NO_COUNT, "--images-per-day": _NO_NUMBER},
}
NUMBERS_REFUSED: list[list[str]] = [
    ["memory", *command, f"{option}={value}"]
    for command, options in MEMORY_REFUSED.items() for option, values in options.items() for value in values
]
ODD_NUMBERS = [
    "0", "-1", "1", "2", "7", "1e308", "-1e308", "1e20", "nan", "inf", "-inf", "", " ", "0x10", "1_000", "1e999",
    "999999999999999999999999", "0.5", "-0.0", "1,5", "½", "٣", "1e-320",
]
ODD_TEXTS = [
    "", " ", "-", "--", "\u202e", "é" * 300, "a" * 5000, "[/T]", "[bold", "$x_{", "{}", "%s%n", "..", ".", "/", "~",
    "nul\ud800", "a\nb", "\x1b[31m", "=1+1", "memory", "software", "generator", "0.6ns", "600e-12", "1.4 V", "20mT",
    "10y", "5 furlong", "bits.bin", "bits.txt", "model", "images", "study.json", "array.json", "missing", "/dev/null",
    "/proc/self/mem", "fifo", "link", "folder",
]
# fmt: on


def commands() -> dict[tuple[str, ...], Any]:
    """Every command of the command line, with its options as click knows them."""
    import click
    import typer

    from voltaspin.cli.app import app

    found: dict[tuple[str, ...], Any] = {}

    def walk(path: tuple[str, ...], command: Any) -> None:
        found[path] = command
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            for name, one in command.commands.items():
                walk((*path, name), one)

    walk((), typer.main.get_command(app))
    return found


def command_line(rng: Random, known: dict[tuple[str, ...], Any]) -> tuple[str, ...]:
    """A command line that works or is refused, with up to three changes."""
    line = list(rng.choice(ACCEPTED + ACCEPTED + REFUSED))
    path: tuple[str, ...] = ()
    while (*path, *line[len(path) : len(path) + 1]) in known and len(path) < len(line):
        path = (*path, line[len(path)])
    options = [p for p in known[path].params if getattr(p, "opts", None) and p.opts[0].startswith("-")]
    slow = line in REFUSED
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        what = rng.choice(["set", "set", "set", "set", "drop", "twice", "word"])
        given = [i for i, word in enumerate(line) if i >= len(path) and word.startswith("--") and len(word) > 2]
        if what == "set" and options:
            option = rng.choice(options)
            if slow and option.opts[0] in {"--images", "--steps", "--training-steps", "--bits", "--count"}:
                continue  # keep what makes the input one that is refused
            name = rng.choice(option.opts)
            odd = rng.choice(ODD_NUMBERS + ODD_TEXTS)
            line += [name] if getattr(option, "is_flag", False) else [f"{name}={odd}"]
        elif what == "drop" and given and not slow:
            at = rng.choice(given)
            if line[at] == "--count" and "-" in line:
                continue  # without it, bits to standard output do not end
            del line[at : at + 2]
        elif what == "twice" and given:
            at = rng.choice(given)
            line += line[at : at + 2]
        elif what == "word":
            line.insert(rng.randint(len(path), len(line)), rng.choice(ODD_TEXTS))
    if "--in-place" in line and "ideal" not in line:
        line += ["--cells", "ideal"]  # the pulses of others are solved once, in minutes, and kept in the cache
    if any("fifo" in word for word in line) and any("--timeout" in p.opts for p in options):
        line += ["--timeout", "1s"]  # nobody writes into it, and minutes of patience are no fault
    return tuple(word.replace("\x00", "") for word in line)


DAMAGES = (
    "cut",
    "flip",
    "empty",
    "double",
    "swap",
    "list",
    "null",
    "deep",
    "text",
    "nan",
    "zero",
    "huge",
    "string",
    "drop",
)


def damaged(rng: Random) -> tuple[str, str, int]:
    """A reader, the damage done to what it reads, and a number that says where."""
    return rng.choice(sorted(GOOD)), rng.choice(DAMAGES), rng.getrandbits(32)


def damage(path: Path, how: str, where: int) -> None:
    """Damage a file, or one file of a folder."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        path = files[where % len(files)]
    if how == "none":
        return
    data = path.read_bytes()
    at = where % max(1, len(data))
    if how == "cut":
        path.write_bytes(data[:at])
    elif how == "flip":
        changed = bytearray(data)
        for k in range(1 + where % 4):
            changed[(at * (k + 1)) % len(data)] ^= 1 << (where >> 8) % 8
        path.write_bytes(bytes(changed))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "double":
        path.write_bytes(data + data)
    elif how == "swap":
        others = sorted(p for p in SAMPLES.rglob("*") if p.is_file() and p.stat().st_size < 100_000)
        shutil.copyfile(others[where % len(others)], path)
    elif how in ("list", "null", "deep", "text"):
        path.write_text({"list": "[1, 2]", "null": "null", "deep": "[" * 100_000, "text": "\ufeffhello\x00"}[how])
    else:
        _damage_json(path, data, how, where)


def _damage_json(path: Path, data: bytes, how: str, where: int) -> None:
    """Change one value of a JSON file; another file is left as it is."""
    try:
        content = json.loads(data)
    except ValueError:
        return
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    if not isinstance(content, dict | list):
        return
    walk(content)
    if not places:
        return
    node, key = places[where % len(places)]
    if how == "drop":
        del node[key]
    else:
        node[key] = {"nan": float("nan"), "zero": 0, "huge": 10**19, "string": "[/T]$"}[how]
    path.write_text(json.dumps(content))


_TRACE = "time (us),V (V)\n" + "".join(f"{i},{0.3 if i // 53 % 2 else -0.1}\n" for i in range(2000))
_SWITCHING = "voltage (V),width (us),switched,trials\n" + "".join(
    f"{0.3 + 0.03 * i:.2f},1,{k},1000\n" for i, k in enumerate([1, 4, 10, 25, 60, 130, 260, 450, 700, 900])
)
_SPACE = {"kind": "design-space", "schema_version": 1, "name": "x", "axes": {"array.adc_bits": [4, 6]},
          "objectives": ["energy"], "steps": 2}  # fmt: skip


def prepare(folder: Path) -> None:
    """The working folder of a command line: what a user might have there, and some traps."""
    folder.mkdir(exist_ok=True)
    for name, source in PROVIDED.items():
        if (SAMPLES / source).is_dir():
            shutil.copytree(SAMPLES / source, folder / name)
        else:
            shutil.copyfile(SAMPLES / source, folder / name)
    (folder / "folder").mkdir()
    (folder / "folder" / "mine").write_text("mine")
    (folder / "trace.csv").write_text(_TRACE)
    (folder / "switching.csv").write_text(_SWITCHING)
    (folder / "space.json").write_text(json.dumps(_SPACE))
    (folder / "link").symlink_to("garment.png")
    os.mkfifo(folder / "fifo")


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content; links and special files by their kind."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = b"-> " + str(path.readlink()).encode()
        elif path.is_file():
            found[name] = path.read_bytes()
        elif not path.is_dir():
            found[name] = b"special"
    return found
