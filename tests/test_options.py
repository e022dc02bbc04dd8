"""One meaning for each option, one option for each meaning, and the old words that still work."""

from collections import defaultdict

import pytest
import typer

from voltaspin.cli.app import app, main
from voltaspin.cli.device import JUNCTION_HELP
from voltaspin.cli.old_words import OLD_WORDS, translated

ROOT = typer.main.get_command(app)


def commands(command, path=""):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{path} {name}".strip())


def options():
    """(command, option) for every spelling, the help and the kind of value of each."""
    return {
        (path, word): (p.help or "", p.metavar, bool(p.is_flag))
        for path, command in commands(ROOT) for p in command.params if p.opts[0].startswith("--") for word in p.opts
    }  # fmt: skip


#: What a word means, where commands put it differently. Whoever gives a word another text looks here whether it fits.
MEANINGS = {
    "--against": "what is compared with",
    "--array": "the array in which a network computes",
    "--batch": "images at once",
    "--bits": "how many bits are read",
    "--cells-per-pixel": "of images in place",
    "--column": "which column of a table",
    "--columns": "of an array of cells",
    "--count": "how many are made",
    "--extractor": "network of the features",
    "--fail-on": "the verdict that ends with status 3",
    "--figure": "PNG of the result",
    "--format": "of the file that is written",
    "--junction": "the junction",
    "--macro": "what arrays are built of",
    "--model": "the network",
    "--n-cells": "how many cells",
    "--noise": "source of random bits",
    "--out": "file or folder of what is made",
    "--quick": "a coarser answer sooner",
    "--reset": "whether a write precedes every pulse",
    "--rows": "of an array of cells",
    "--set": "changes a field of what the command is about",
    "--shard": "a part of the work",
    "--steps": "network evaluations of an image",
    "--training-steps": "optimiser steps of a training",
}


def test_words_that_are_put_differently_have_one_meaning():
    texts = defaultdict(set)
    for (_, word), (text, _, _) in options().items():
        texts[word].add(text)
    assert {word for word, said in texts.items() if len(said) > 1} == set(MEANINGS)


def test_a_word_has_one_kind_of_value_everywhere():
    kinds = defaultdict(set)
    for (_, word), (_, metavar, flag) in options().items():
        kinds[word].add((metavar, flag))
    assert {word: found for word, found in kinds.items() if len(found) > 1} == {}


def test_a_junction_is_called_junction_everywhere():
    said = {(path, word) for (path, word), (text, _, _) in options().items() if JUNCTION_HELP[:40] in text}
    assert {word for _, word in said} == {"--junction"}
    assert {path for path, _ in said} >= {
        "cost", "spec", "explore", "sample", "train", "device", "device fit", "device characterise", "device export",
    }  # fmt: skip


def test_no_spelling_stands_in_a_help_twice():
    for path, command in commands(ROOT):
        for p in command.params:
            assert sum(word.startswith("--") for word in p.opts) <= 1, (path, p.opts)


@pytest.mark.parametrize(("old", "new", "where"), OLD_WORDS)
def test_an_old_word_means_the_new_one_and_is_no_word_of_that_command(old, new, where):
    known = options()
    for path in where if "" not in where else [path for path, word in known if word == new]:
        assert (path, new) in known, path
        if "" not in where:
            assert (path, old) not in known, path
        if (path, old) not in known:
            assert translated([*path.split(), old, "x", f"{old}=y"], ROOT) == [*path.split(), new, "x", f"{new}=y"]


@pytest.mark.parametrize(("given", "taken"), [
    ("spec --bits b.bin --count 8M", "spec b.bin --bits 8M"), ("spec b.bin --bits 1e6", "spec b.bin --bits 1e6"),
    ("spec --bits=b.bin", "spec b.bin"), ("sample --cells ideal", "sample --junction ideal"),
    ("cells --columns 4 --source memory", "cells --columns 4 --noise memory"),
    ("bits -- --source", "bits -- --source"), ("evaluate a --against b", "evaluate a --against b"),
])  # fmt: skip
def test_a_command_line_of_old_words_is_read(given, taken):
    assert translated(given.split(), ROOT) == taken.split()


def test_an_old_word_runs(capsys):
    said = []
    for word in ("--preset", "--junction"):
        with pytest.raises(SystemExit) as end:
            main(["device", word, "storage", "--devices", "100", "--voltage", "2V", "--json"])
        assert end.value.code == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
