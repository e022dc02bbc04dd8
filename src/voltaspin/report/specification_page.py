"""The page of the specification of a noise device, in Markdown, with its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voltaspin.core.files import write_bytes, write_text
from voltaspin.requirements.specification import NoiseSpecification

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

{trial}After reading this page you know how much of each noise defect the images of the shipped Fashion-MNIST
model tolerate, and which command compares a device with these limits.

A limit is the amplitude at which the KID of the images leaves the margin of {1e3 * spec.margin:.1f}e-3 around
that of {spec.baseline}, with its 95 % interval. The images are made by ancestral sampling with {spec.steps}
steps, and each point has {spec.images} images. One defect is switched on at a time, and everything else is
ideal.

| axis | raw bits | XOR of two cells | notes |
| --- | --- | --- | --- |
{chr(10).join(rows)}

{spec.margin_said}

![Difference of KID over the amplitude, one panel for each axis; the band is the margin]({OVERVIEW})

`voltaspin spec --junction generator` and `voltaspin spec FILE` compare a device with these limits, and
`voltaspin spec FILE --n-cells N` judges the worst cell, too ([cells.md](cells.md)).

## How to read it

- *Not reached* means that the images stay within the margin up to the largest amplitude that was tested.
  *Already outside* means that not even the smallest amplitude is within it.
- The differences are paired: a condition shares every latent and every random word with the baseline. Every
  axis begins at fair, independent cells, whose images are those of {spec.baseline} by construction. A zero
  difference is therefore expected there. The periodic source (period) is not paired, because its bits are
  different ones.
- The amplitudes follow trial runs. A grid close to the point where the margin is left is more precise than one
  that is far from it. After the first complete run, smaller amplitudes were added where the first one lay
  outside, or not surely inside (bias of 0.0005 and 0.001, negative correlation, and bias, correlation and
  spread under XOR). The margin was not moved.
- The interval contains the chance of the images. Each of the two sampling seeds has an array of its own, with
  its fixed biases and its fluctuators. Two arrays say little about other arrays, and the interval leaves that
  out.
- Bits of one cell are correlated without a reset. Each image begins with the cells of an array that has run for
  a long time, so that the first latent has no transient of its own.
- Drift and fixed biases are Gaussian or a sine. The drift is slow against an image and has four periods in the
  images of a seed.
- The axes of the pulse and the field share images with others. The notes and `voltaspin/requirements/axes.py`
  say which.
- The limits hold for one model, one data set, one sampler and one small extractor. Another model has other
  limits.

These commands made the page:

    {spec.command} --write examples/specification.json
    voltaspin study examples/specification.json --out build/specification --workers 2
    voltaspin study examples/halving.json --out build/specification --workers 2
    {spec.command} --report build/specification

They ran with {versions}. {spec.effort} All noise is simulated, and pseudo-random underneath.
"""


def axis_png(spec: NoiseSpecification, name: str) -> bytes:
    """Return the figure of one axis as PNG."""
    from voltaspin.plots.drawing import png
    from voltaspin.plots.requirements import one_axis

    return png(one_axis(spec, name))


def overview_png(spec: NoiseSpecification) -> bytes:
    """Return all axes in one figure as PNG."""
    from voltaspin.plots.drawing import png
    from voltaspin.plots.requirements import every_axis

    return png(every_axis(spec))


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
