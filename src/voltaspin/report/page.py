"""Pages: self-contained HTML files from templates that share one base and one style sheet.

No script, no outside address, pictures as data URIs. Every number is formatted from the results.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from voltaspin.core import format as shown
from voltaspin.core.errors import InputError
from voltaspin.core.format import Interval, number

_SYMBOL = re.compile(r"\b([A-Za-z]{1,3})_([A-Za-z0-9]{1,4})\b")


def render(template: str, **values: Any) -> str:
    """Return a page as HTML.

    Args:
        template: name of a file in ``report/templates`` without ``.html.jinja``.
        values: for the template; all text is escaped.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def source(name: str) -> str:
        return (files("voltaspin.report") / "templates" / name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {name: getattr(shown, name) for name in (
        "duration", "energies", "energy", "interval", "number", "spread", "times", "value_and_range")}  # fmt: skip
    environment.filters |= {"symbols": symbols, "energy_cell": energy_cell, "number_cell": number_cell}
    return _with_headings(environment.get_template(f"{template}.html.jinja").render(**values))


_HEADING = re.compile(r"<h2(?: id=\"(?P<id>[^\"]*)\")?>(?P<text>.*?)</h2>", re.S)
_CONTENTS = "<!-- contents -->"


def _with_headings(html: str) -> str:
    """Add what a reader and a screen reader need: contents, table captions and scopes."""
    head, main, foot = re.split(r"(?s)(?<=<main>)(.*)(?=</main>)", html)
    names: list[tuple[str, str]] = []

    def anchored(found: re.Match[str]) -> str:
        name = f"part-{len(names) + 1}"
        text = re.sub(r"<[^>]*>", "", re.sub(r"</span>", " ", found["text"])).strip()
        names.append((name, text))
        return f'<h2 id="{name}">{found["text"]}</h2>'

    main = _HEADING.sub(anchored, main)
    links = "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in names)
    contents = f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>' if len(names) > 1 else ""
    main = main.replace(_CONTENTS, contents, 1)
    main = re.sub(r'<div class="(scroll|wide)">', r'<div class="\1" tabindex="0">', main)
    return head + _scoped(main) + foot


def _scoped(html: str) -> str:
    """Say of each header cell whether it heads a column or a row, and caption tables by the heading before them."""
    parts, heading, in_head = [], "", False
    for part in re.split(
        r"(<table[^>]*>(?:\s*<caption>)?|</?thead>|<th[ >]|<h[23][^>]*>.*?</h[23]>)", html, flags=re.S
    ):
        if part.startswith(("<h2", "<h3")):
            heading = re.sub(r"<[^>]*>", "", part.replace("</span>", " ")).strip()
        elif part in ("<thead>", "</thead>"):
            in_head = part == "<thead>"
        elif part.startswith("<table") and not part.endswith("<caption>") and heading:
            part = f'{part}<caption class="unseen">{heading}</caption>'
        elif part in ("<th ", "<th>"):
            part = f'<th scope="{"col" if in_head else "row"}"{part[3:]}'
        parts.append(part)
    return "".join(parts)


def symbols(text: str) -> Markup:
    """Return escaped text in print: ``V_c`` with its index, ``+-2 mT`` as ±2 mT, ``J/m^3`` as J/m³, kOhm as kΩ."""
    for plain, printed in (("+-", "±"), ("^3", "³"), ("^2", "²"), ("Ohm", "Ω")):
        text = text.replace(plain, printed)
    return Markup(_SYMBOL.sub(r"<i>\1</i><sub>\2</sub>", str(escape(text))))


def energy_cell(e: Interval | None) -> Markup:
    """Return an energy [pJ] above its range, both in the unit that the value asks for."""
    if e is None or not e.value:
        return Markup("–")
    value, unit, range_ = shown.energy_parts(e)
    return _above(f"{value} {unit}", range_)


def number_cell(e: Interval | None, factor: float = 1.0, unit: str = "") -> Markup:
    """Return a plain number times ``factor`` above its range."""
    if e is None:
        return Markup("–")
    return _above(f"{number(factor * e.value)}{unit}", shown.ends(factor * e.low, factor * e.high))


def _above(value: str, range_: str) -> Markup:
    return Markup('{}<br><span class="ends">{}</span>').format(value, range_)


def figure(draw: Callable[[], bytes], text: str) -> Markup:
    """Return what a function draws as HTML, drawn again for a phone; see :func:`picture`."""
    from voltaspin.plots.drawing import narrow

    with narrow():
        phone = draw()
    return picture(draw(), text, phone)


def picture(wide: bytes, text: str, narrow: bytes | None = None, *, kind: str = "") -> Markup:
    """Return a picture as HTML, with another drawing for a phone where one is given.

    Args:
        wide, narrow: PNG.
        text: for those who do not see it.
        kind: CSS class of the image.
    """
    named = Markup(' class="{}"').format(kind) if kind else ""
    image = Markup('<img src="{}" alt="{}"{}>').format(data_uri(wide), text, named)
    if narrow is None:
        return image
    source = Markup('<source media="(max-width: 760px)" srcset="{}">').format(data_uri(narrow))
    return Markup("<picture>{}{}</picture>").format(source, image)


def data_uri(picture: bytes) -> str:
    """Return a PNG as a data URI; raises InputError for other bytes."""
    if not picture.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError(f"a picture of {len(picture)} bytes is no PNG; use plots.drawing.png")
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
