"""Old name of :mod:`voltaspin.core.errors`, kept for one minor version."""

from voltaspin.core.errors import *  # noqa: F403
