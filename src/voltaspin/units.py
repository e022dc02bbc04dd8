"""Old name of :mod:`voltaspin.core.units`, kept for one minor version."""

from voltaspin.core.units import *  # noqa: F403
from voltaspin.core.units import e_charge, gamma_e, hbar, k_B, mu_0  # noqa: F401
