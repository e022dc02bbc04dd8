"""Old name of :mod:`voltaspin.core.units`, kept for one minor version."""

from voltaspin.core.units import *  # noqa: F403
