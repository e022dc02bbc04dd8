"""The one error that means: what you gave cannot be used, and here is what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input from a user: the message names the value, its unit and the remedy.

    The command line prints it as one line and exits with status 2; every other exception is a defect of
    ours and keeps its traceback.
    """


def unknown(kind: str, word: str, known: Iterable[str]) -> InputError:
    """Return the error for a word that is none of the known ones: it lists them, and names the nearest."""
    names = list(known)
    near = get_close_matches(word, names, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ";"
    return InputError(f"{kind} {word!r} is unknown{meant} known: {', '.join(names)}")


class NoiseStoppedError(InputError):
    """A source of random bits delivers no more; nothing falls back to a pseudo-random generator.

    ``finished`` holds what a long piece of work had finished before, where it had finished anything.
    """

    finished: object = None


class NoiseExhaustedError(NoiseStoppedError):
    """A finite source of random bits ran dry."""


class NoiseHealthError(NoiseStoppedError):
    """A health test of a source of random bits has raised an alarm; nothing is delivered until a reset."""
