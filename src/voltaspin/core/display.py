"""How objects show themselves in a notebook: one table of names and values."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

_LONGEST = 60  #: characters of one value


def table_html(caption: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return rows of (name, value) as an HTML table."""
    body = "".join(
        f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
        for name, text in rows
    )
    return f"<table><caption>{html.escape(caption)}</caption>{body}</table>"


def short(value: Any) -> str:
    """Return the repr of a value, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 20]} ... {text[-14:]}"
