"""Conditioners by name, one behind the other."""

from __future__ import annotations

from voltaspin.core.errors import InputError
from voltaspin.noise.checked import HealthChecked
from voltaspin.noise.extractors import Peres, VonNeumann, Xor
from voltaspin.noise.hashing import Sha256, Toeplitz
from voltaspin.noise.source import NoiseSource

_FORMS = "health:H, xor:K, von-neumann, peres:DEPTH, toeplitz:H, sha256:H (a number, or assessed)"


def conditioned(source: NoiseSource, chain: str) -> NoiseSource:
    """A source behind the conditioners that a text names, from left to right, e.g. ``"xor:2,von-neumann"``.

    Args:
        source: of raw bits.
        chain: names with one number each: ``xor:K``, ``von-neumann``, ``peres:DEPTH``, and ``toeplitz:H``,
            ``sha256:H`` and ``health:H`` (:class:`voltaspin.noise.checked.HealthChecked`) with the min-entropy per
            bit; ``toeplitz:assessed`` and ``sha256:assessed`` assess the bits that they get; parts joined by commas.
            ``none`` or nothing changes nothing.

    Raises:
        InputError: a name that is unknown or a number that does not fit.
    """
    for part in chain.split(",") if chain not in ("", "none") else []:
        name, _, value = part.strip().partition(":")
        try:
            if name == "health":
                source = HealthChecked(source, H=float(value or 0.9))
            elif name == "xor":
                source = Xor(source, k=int(value or 2))
            elif name == "von-neumann" and not value:
                source = VonNeumann(source)
            elif name == "peres":
                source = Peres(source, depth=int(value or 5))
            elif name == "toeplitz":
                source = Toeplitz(source, H_min=None if value == "assessed" else float(value))
            elif name == "sha256":
                source = Sha256(source, H_min=None if value == "assessed" else float(value))
            else:
                raise InputError(f"conditioner {part!r} is unknown; use {_FORMS}, joined by commas")
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"conditioner {part!r} needs a number: {_FORMS}") from None
    return source
