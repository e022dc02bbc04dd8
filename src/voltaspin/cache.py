"""Where the package keeps what it fetched or computed once."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``VOLTASPIN_CACHE``, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("VOLTASPIN_CACHE") or platformdirs.user_cache_dir("voltaspin"))
