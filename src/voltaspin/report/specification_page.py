"""The page and the figures of the specification of a noise device."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from voltaspin.core.files import write_bytes, write_text
from voltaspin.core.quantity import Z95
from voltaspin.plots.drawing import BLUE, DPI, GREEN, INK, ORANGE, STYLE, figure_png
from voltaspin.requirements.specification import Limit, NoiseSpecification

OVERVIEW = "pictures/specification.png"


def page(spec: NoiseSpecification, pictures: dict[str, str]) -> str:
    """One page of Markdown; ``pictures`` names the file of each axis."""
    rows = []
    for name in spec.names:
        both = [spec.limit(name, t) for t in ("raw", "xor")]
        some = next(x for x in both if x is not None)
        notes = "; ".join(dict.fromkeys(x.note for x in both if x is not None and x.note))
        cells = ["-" if x is None else x.text for x in both]
        rows.append(f"| [{some.title}]({pictures[name]}) | {cells[0]} | {cells[1]} | {notes} |")
    versions = ", ".join(f"{k} {v}" for k, v in spec.environment.items() if k in ("voltaspin", "torch", "diffusers"))
    trial = "**This is a trial of the pipeline with few images and steps, and no result.**\n\n" if spec.reduced else ""
    return f"""# The specification of a noise device

{trial}How much of each imperfection the images of the shipped Fashion-MNIST model tolerate: the amplitude at which
their KID leaves the margin of {1e3 * spec.margin:.1f}e-3 around that of {spec.baseline}, with its 95 % interval.
Ancestral sampling, {spec.steps} steps, {spec.images} images for each point; one imperfection at a time, all else ideal.

| axis | raw bits | XOR of two cells | notes |
| --- | --- | --- | --- |
{chr(10).join(rows)}

{spec.margin_said}

![Difference of KID over the amplitude, one panel for each axis; the band is the margin]({OVERVIEW})

`voltaspin spec --junction generator` and `voltaspin spec --bits FILE` compare a device with this.

## How to read it

- *Not reached* means: within the margin up to the largest amplitude that was asked. *Already outside*: not even the
  smallest one is within it.
- The differences are paired: a condition shares every latent and every random word with the baseline. Every axis begins
  at fair, independent cells, whose images are those of {spec.baseline} by construction: a zero
  difference is expected there by construction. The looped source (period) is not paired: its bits are others.
- The amplitudes follow trial runs: a grid about where the margin is left tells more than one that is far from it. After
  the first whole run smaller ones were added where the first one lay outside, or not surely inside (bias of 0.0005 and
  0.001, negative correlation, and bias, correlation and spread under XOR). The margin was not moved.
- The interval holds the chance of the images. Each of the two sampling seeds has an array of its own (its fixed
  biases, its fluctuators); two arrays say little about other arrays, and the interval leaves that out.
- Bits of one cell are correlated without a reset. Each image begins with cells as an array leaves them that has run
  for long, so that the first latent has no transient of its own.
- Drift and fixed biases are Gaussian or a sine. The drift is slow against an image and has four periods in the images
  of a seed.
- The axes of the pulse and the field share images with others: see the notes, and `voltaspin/study/axes.py`.
- One model, one data set, one sampler, one small extractor. Another model has other limits.

Made by

    {spec.command} --write examples/specification.json
    voltaspin study examples/specification.json --out build/specification --workers 2
    voltaspin study examples/halving.json --out build/specification --workers 2
    {spec.command} --report build/specification

with {versions}. {spec.effort} All noise is simulated, pseudo-random underneath.
"""


def axis_png(spec: NoiseSpecification, name: str) -> bytes:
    """The KID differences of one axis over its amplitude with 95 % intervals, the margin, and where it is left."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.5), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        limits = _draw(axes, spec, name)
        axes.set_xlabel(limits[0].title + (f" [{limits[0].unit}]" if limits[0].unit else ""))
        axes.set_ylabel(f"KID less {spec.baseline}, x 1000")
        axes.set_title("\n".join(f"{x.treatment}: {x.text}" for x in limits), fontsize=8.5)
        axes.legend()
        return figure_png(figure)


def overview_png(spec: NoiseSpecification) -> bytes:
    """All axes in one picture, on one scale of KID."""
    columns = min(4, len(spec.names))
    rows = -(-len(spec.names) // columns)
    with matplotlib.rc_context({**STYLE, "font.size": 7.5}):
        figure = Figure(figsize=(2.6 * columns, 2.1 * rows), dpi=DPI, layout="constrained")
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes, name in zip(panels, spec.names, strict=False):
            unit = _draw(axes, spec, name)[0].unit
            axes.set_title(name + (f" [{unit}]" if unit else ""), fontsize=8.5)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8)
        for axes in panels[len(spec.names) :]:
            axes.set_axis_off()
        figure.supylabel(f"KID less {spec.baseline}, x 1000", fontsize=8.5)
        return figure_png(figure)


def _draw(axes: Axes, spec: NoiseSpecification, name: str) -> list[Limit]:
    """The curves of one axis, onto axes of matplotlib; returns what was drawn."""
    limits = [x for x in spec.limits if x.name == name]
    axes.axhspan(-1e3 * spec.margin, 1e3 * spec.margin, color=GREEN, alpha=0.15, lw=0)
    axes.axhline(0, color=INK, lw=0.8)
    for x in limits:
        colour, label = (ORANGE, "XOR of two cells") if x.treatment == "xor" else (BLUE, "raw")
        at = [x.per_unit * a for a in x.amplitudes]
        axes.errorbar(at, [1e3 * p.difference for p in x.points], [1e3 * Z95 * p.std for p in x.points], fmt="o-",
                      color=colour, ms=4, capsize=3, label=label)  # fmt: skip
        low, high = (x.per_unit * (end if v is None else v) for v, end in
                     ((x.low, x.amplitudes[0]), (x.high, x.amplitudes[-1])))  # fmt: skip
        if x.said == "reached":
            axes.axvspan(low, high, color=colour, alpha=0.12, lw=0)
            axes.axvline(x.per_unit * float(x.value or 0.0), color=colour, lw=1.2, ls="--")
    axes.set_yscale("symlog", linthresh=2e3 * spec.margin)
    axes.set_yticks([-100, 0, 100, 1000, 10000], ["-100", "0", "100", "1000", "10,000"])
    axes.set_ylim(-150, max(1500.0, *(1.5e3 * p.difference for x in spec.limits for p in x.points)))
    asked = [x.per_unit * a for x in limits for a in x.amplitudes]
    decades = math.log10(max(asked) / min(asked))
    if decades > 0.9:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.6 else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        if max(asked) < 1000:
            axes.xaxis.set_major_formatter("{x:g}")
    if limits[0].falling:
        axes.invert_xaxis()
    return limits


def write(spec: NoiseSpecification, docs: Path, data: Path | None) -> dict[str, Any]:
    """The page and its figures into ``docs``, the JSON into ``data``; returns the names of what was written."""
    (docs / "pictures").mkdir(parents=True, exist_ok=True)
    pictures = {name: f"pictures/specification-{name}.png" for name in spec.names}
    for name, file in pictures.items():
        write_bytes(docs / file, axis_png(spec, name))
    write_bytes(docs / OVERVIEW, overview_png(spec))
    write_text(docs / "specification.md", page(spec, pictures))
    if data is not None:
        spec.save(data)
    return {
        "page": str(docs / "specification.md"),
        "figures": len(pictures) + 1,
        "data": None if data is None else str(data),
    }
