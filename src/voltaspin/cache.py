"""Where the package keeps what it fetched or computed once, and how it fetches a file that has one address."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from voltaspin.errors import InputError


def cache_folder() -> Path:
    """``VOLTASPIN_CACHE``, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("VOLTASPIN_CACHE") or platformdirs.user_cache_dir("voltaspin"))


def fetched(address: str, file: str, folder: Path, *, known_hash: str | None = None, missing: str, remedy: str) -> Path:
    """A file in ``folder``, downloaded if it is not there; an interrupted download leaves nothing.

    Args:
        address: where the file lies, with the last slash.
        known_hash: ``md5:...`` or ``sha256:...`` that it must have.
        missing: what is not at hand, and ``remedy``: what to do, both for the message.

    Raises:
        InputError: it cannot be fetched, or is another file.
    """
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        return Path(
            pooch.retrieve(
                address + file, known_hash=known_hash, fname=file, path=folder, progressbar=sys.stderr.isatty()
            )
        )
    except Exception as error:
        raise InputError(
            f"{missing} and {address}{file} cannot be fetched ({type(error).__name__}); {remedy}"
        ) from None
    finally:
        logger.setLevel(level)
