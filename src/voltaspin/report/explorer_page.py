"""The panels of the explorer's page, and the ranges of its sliders."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from voltaspin.core.display import table_html
from voltaspin.core.errors import InputError
from voltaspin.core.result import Result
from voltaspin.device import Junction, SwitchingModel, presets
from voltaspin.device.pulse_design import period
from voltaspin.diffusion.grids import grid_png
from voltaspin.explorer.state import ExplorerState
from voltaspin.explorer.views import bit_view, image_view, price_view, switching_view
from voltaspin.plots.drawing import png
from voltaspin.report.page import data_uri

Span = tuple[float, float, float, float]  #: from, to, step, value


def heading() -> str:
    """Return the text on top of the page."""
    return (
        "# Voltaspin explorer\n\nMove a slider: the switching curve, the random bits, their price and images drawn "
        "with them follow. Delta is the barrier without the in-plane field; spreads are standard deviations over the "
        "cells of an array of 256 x 256. Everything is simulated; its chance is pseudo-random underneath."
    )


def examples() -> list[str]:
    """Return presets whose bit turns about an in-plane field, the kind of junction that the sliders describe."""
    found = []
    for name in presets.names():
        junction = Junction.of(name)
        if not junction.terms and junction.xi and junction.B_bias[0] and junction.Delta() > 5:
            found.append(name)
    return found


def _start(base: Junction) -> tuple[float, float]:
    """Voltage [V] and width [s] to begin with: the shipped fair pulse of the generator, scaled to the junction."""
    shipped = SwitchingModel.shipped()
    assert shipped.junction is not None, "the shipped model knows its junction"
    assert shipped.pulse is not None, "and its pulse"
    turn, own = period(shipped.junction), period(base)
    scale = own / turn if own and turn else 1.0
    return shipped.pulse.voltage * base.V_c / shipped.junction.V_c, shipped.pulse.width * scale


def span_of_voltage(base: Junction) -> Span:
    """Return the range of the voltage's slider [V]."""
    return 0.05, round(2 * abs(base.V_c), 2), 0.01, round(_start(base)[0], 2)


def span_of_width(base: Junction) -> Span:
    """Return the range of the width's slider [ns]."""
    value = _start(base)[1] * 1e9
    return 0.02, max(3.0, round(2 * value, 1)), 0.002, round(value / 0.002) * 0.002


def junction_text(name: str, base: Junction, values: dict[str, float]) -> str:
    """Return the junction's text with the parameters that its sliders changed.

    Args:
        name: text of the junction to begin with; base: that junction.
        values: of the sliders, in SI.
    """
    held = {"Delta": base.Delta(), "xi": base.xi, "B_x": base.B_bias[0], "temperature": base.temperature}
    step = {"Delta": 0.26, "xi": 0.51e-15, "B_x": 0.51e-3, "temperature": 0.51}  # what a slider rounds away
    changed = [f"{key}={value:.12g}" for key, value in values.items() if abs(value - held[key]) > step[key]]
    return ", ".join([name, *changed])


def table(result: Result, caption: str) -> str:
    """Return the summary of a result as an HTML table that scrolls in itself."""
    return f'<div style="overflow-x:auto">{table_html(caption, result.summary())}</div>'


def code(text: str) -> str:
    """Return text as a block that scrolls sideways in itself."""
    return f'<pre style="overflow-x:auto;padding:.6em 0" tabindex="0">{html.escape(text)}</pre>'


class Panels:
    """The panels, made with marimo's elements.

    Args:
        mo: the module ``marimo``.
    """

    def __init__(self, mo: Any) -> None:
        self.mo = mo

    def _panel(self, title: str, make: Callable[[], list[Any]]) -> Any:
        try:
            inside = make()
        except InputError as error:
            inside = [self.mo.callout(self.mo.md(html.escape(str(error))), kind="warn")]
        return self.mo.vstack([self.mo.md(f"## {title}"), *inside])

    def switching(self, state: ExplorerState) -> Any:
        """The switching curve of the nominal cell."""

        def make() -> list[Any]:
            view = switching_view(state)
            said = "; ".join(f"{name} {text}" for name, text in view.summary())
            picture = self.mo.image(png(view.plot()), alt=f"Switching probability against width: {said}", width="100%",
                                    style={"max-width": "640px"})  # fmt: skip
            return [picture, self.mo.Html(table(view, "The chosen pulse on a nominal cell"))]

        return self._panel("Switching", make)

    def bits(self, state: ExplorerState) -> Any:
        """Bits of the array and their tests."""
        return self._panel("Random bits", lambda: [self.mo.Html(table(bit_view(state), "An array of 256 x 256 cells"))])

    def price(self, state: ExplorerState) -> Any:
        """Energy and area."""
        title = "Medians, with 90 % ranges over the cost table"
        return self._panel("Price", lambda: [self.mo.Html(table(price_view(state), title))])

    def images(self, state: ExplorerState) -> Any:
        """Images drawn with these bits."""

        def make() -> list[Any]:
            images = image_view(state)
            said = f"{len(images)} images of the shipped model, {state.steps} evaluations, noise of this array"
            return [
                self.mo.image(grid_png(images, 8, scale=3), alt=said, width="100%", style={"max-width": "700px"}),
                self.mo.md(said),
            ]

        return self._panel("Images", make)


def still(state: ExplorerState) -> str:
    """Return the panels of a state as HTML that does not move, for the site."""
    panels = Panels(_Still())
    return "".join(panel(state) for panel in (panels.switching, panels.bits, panels.price, panels.images))


class _Still:
    """The elements that :class:`Panels` takes of marimo, as HTML texts."""

    @staticmethod
    def md(text: str) -> str:
        return f"<p><strong>{text[3:]}</strong></p>" if text.startswith("## ") else f"<p>{text}</p>"

    @staticmethod
    def Html(text: str) -> str:
        return text

    @staticmethod
    def image(data: bytes, *, alt: str, width: str, style: dict[str, str]) -> str:
        held = ";".join(f"{name}:{value}" for name, value in {"width": width, **style}.items())
        return f'<img src="{data_uri(data)}" alt="{html.escape(alt)}" style="{held}">'

    @staticmethod
    def vstack(parts: list[str]) -> str:
        return "".join(parts)

    @staticmethod
    def callout(text: str, *, kind: str) -> str:
        return f'<div class="admonition {kind}">{text}</div>'
