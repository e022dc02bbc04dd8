"""The one error that means: what you gave cannot be used, and here is what to do."""


class InputError(ValueError):
    """Bad input from a user: the message names the value, its unit and the remedy.

    The command line prints it as one line and exits with status 2; every other exception is a defect of
    ours and keeps its traceback.
    """


class NoiseExhaustedError(InputError):
    """A finite source of random bits ran dry; nothing falls back to a pseudo-random generator."""


class NoiseHealthError(InputError):
    """A health test of a source of random bits has raised an alarm; nothing is delivered until a reset."""
