"""Packages that come with an extra, and the error that says how to install them."""

from __future__ import annotations

from contextlib import ContextDecorator
from types import TracebackType

from voltaspin.core.errors import InputError

#: The extra that brings a package which the core does without.
EXTRA_OF = {
    "torch": "diffusion",
    "diffusers": "diffusion",
    "accelerate": "diffusion",
    "huggingface_hub": "diffusion",
    "pooch": "diffusion",
}


class MissingPackageError(InputError, ImportError):
    """A package of an extra is not installed; the message is the command that installs it."""


def missing_package(error: ImportError, what: str) -> MissingPackageError | None:
    """Return the error that names the extra of the package that was not found.

    Args:
        error: of the failed import.
        what: needs the package, such as ``voltaspin.memory.convert``.

    Returns:
        None where the missing module belongs to no extra, which is a defect and keeps its traceback.
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRA_OF:
        return None
    remedy = f'pip install "voltaspin[{EXTRA_OF[package]}]"'
    found = MissingPackageError(f"{what} needs {package}, which is not installed: {remedy}")
    found.name = package
    return found


class NeedsExtra(ContextDecorator):
    """Around a function or a block that imports packages of an extra: a missing one becomes one line.

    Args:
        what: the name of the function, or what is done, for the message.

    Raises:
        MissingPackageError: a package of an extra is not installed.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> NeedsExtra:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, MissingPackageError) or not isinstance(error, ImportError):
            return
        if (found := missing_package(error, self.what)) is not None:
            raise found from None
