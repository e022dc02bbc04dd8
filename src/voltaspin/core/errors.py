"""The one error that means: what you gave cannot be used, and here is what to do."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input from a user: the message names the value, its unit and the remedy.

    The command line prints it as one line and exits with status 2; every other exception is a defect of
    ours and keeps its traceback.
    """


def unknown(kind: str, word: str, known: Iterable[str]) -> InputError:
    """Return the error for a word that is none of the known ones: it names the nearest, and lists them."""
    names = list(known)
    return InputError(f"{kind} {word!r} is unknown{nearest(word, names) or ';'} known: {', '.join(names)}")


class NoiseStoppedError(InputError):
    """A source of random bits delivers no more; nothing falls back to a pseudo-random generator.

    ``finished`` holds what a long piece of work had finished before, where it had finished anything.
    """

    finished: object = None


class NoiseExhaustedError(NoiseStoppedError):
    """A finite source of random bits ran dry."""


class NoiseHealthError(NoiseStoppedError):
    """A health test of a source of random bits has raised an alarm; nothing is delivered until a reset."""


class NoReplayError(InputError):
    """A source whose bits cannot be had again was asked to go back to where a stopped run stood."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word that is closest, empty where none is close."""
    found = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""
