"""YAML of plain data. The files that are written are so regular that no library is needed."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_PLAIN = re.compile(r"[a-z][a-z0-9_]*")  # texts that YAML takes for nothing but text, unless they are words of its own
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def yaml_text(value: Any, indent: int = 0) -> str:
    """Return nested dicts and lists of texts and finite numbers as YAML in block style.

    Every text but a plain lower-case word is quoted as JSON quotes it. Floats have a point and a signed exponent, as
    YAML 1.1 wants them.

    Args:
        value: a dict or a list; keys are texts.
        indent: levels that it stands inside of.

    Raises:
        ValueError: a float that is not finite.
    """
    pad = "  " * indent
    if isinstance(value, dict):
        return "".join(f"{pad}{_scalar(k)}:{_nested(v, indent)}" for k, v in value.items())
    return "".join(f"{pad}- {_nested(item, indent).lstrip()}" for item in value)


def _nested(value: Any, indent: int) -> str:
    if isinstance(value, dict | list) and value:
        return "\n" + yaml_text(value, indent + 1)
    return f" {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value not in _WORDS else json.dumps(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place in these files; give a finite number")
        mantissa, e, exponent = repr(value).partition("e")
        point = mantissa if "." in mantissa else f"{mantissa}.0"
        return point if not e else f"{point}e{exponent if exponent[0] in '+-' else '+' + exponent}"
    return json.dumps(value)
