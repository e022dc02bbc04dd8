"""The demo's page: everything that a run found in one file, and its summary for the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table

from voltaspin.core.errors import InputError
from voltaspin.core.files import write_text
from voltaspin.core.folders import RECORD, OutputFolder
from voltaspin.core.format import duration, energies, interval, number
from voltaspin.core.result import Provenance
from voltaspin.cost.merit import UNITS
from voltaspin.cost.pricing import BOUNDARIES
from voltaspin.device.pulse_check import PulseCheck
from voltaspin.metrics.conditions import ConditionComparison, ConditionScores
from voltaspin.report.demo_results import DemoResults
from voltaspin.report.page import picture, render

#: Files of a report that 0.1.0 wrote into a folder without listing them.
FILES_OF_0_1_0 = (
    "index.html", "results.json",
    *(f"pictures/{name}.png" for name in (
        "switching", "conditioning", "quality_live", "quality_study", "cost", "claim", "image", "main", "forward",
        "arm-software", "arm-software16", "arm-raw", "arm-conditioned",
    )),
    *(f"samples/{key}.{suffix}" for key in ("software", "software16", "raw", "conditioned", "control")
      for suffix in ("npy", "json")),
)  # fmt: skip

#: The meaning of each kind of provenance.
MEANING: dict[Provenance, str] = {
    "simulated": "The junctions are simulated; their chance is drawn from a counter-based pseudo-random "
    "generator. Statistics of the device, no physical randomness.",
    "recorded": "Bits measured on a device earlier and replayed; nothing is pseudo-random.",
    "instrument": "Bits read from an instrument while it ran; nothing is pseudo-random.",
    "operating system": "Bits of the operating system's generator; no magnetic device was involved.",
    "pseudo": "Software pseudo-random numbers, the baseline; no device was involved.",
}


#: Ledger actions as the page counts them.
COUNTED = {
    "pulse": "stochastic pulses",
    "reset": "resets",
    "write": "writes",
    "read": "reads",
    "raw": "raw bits conditioned",
    "xor": "XORs",
    "and": "ANDs",
    "hash": "SHA-256 blocks",
    "bit": "conditioned bits",
    "normal": "Gaussian numbers",
    "lookup": "table reads",
}


def pictures_of(results: DemoResults) -> dict[str, bytes]:
    """Return PNG bytes of the figures that follow from the numbers alone; add the pictures of images to them."""
    from voltaspin.plots import cost, device, noise, quality
    from voltaspin.plots.drawing import png

    drawn = {
        "switching": device.fair_pulse(results.device),
        "conditioning": noise.bits_of_cells(results.memory),
        "quality_live": quality.scores(results.quality.live),
        "cost": cost.energies_per_bit(results.cost),
    }
    if results.quality.study:
        drawn["quality_study"] = quality.scores(results.quality.study)
    if merit := results.cost.figure_of_merit:
        drawn["claim"] = cost.ratios(merit)
        if merit.work:
            drawn["image"] = cost.image_energies(merit.work)
    return {name: png(ax) for name, ax in drawn.items()}


def required_pictures(results: DemoResults) -> dict[str, str]:
    """Return the names of the pictures that the page of these results needs, with their alternative texts."""
    named = {
        "main": "Images sampled with noise drawn by the memory",
        "switching": "Switching probability against pulse width at two voltages",
        "conditioning": "Autocorrelation and mean of each cell, raw and conditioned",
        "forward": "Images on their way into noise",
        "quality_live": "Image quality of this run with intervals",
        "cost": "Energy per random bit of several generators on a logarithmic axis",
    }
    named |= {f"condition:{c.key}": f"Images sampled with {c.name}" for c in results.reverse.conditions}
    if merit := results.cost.figure_of_merit:
        named["claim"] = "Ratios of conventional generators to the memory in four metrics, with ranges"
        if merit.work:
            named["image"] = "Energy of the random numbers of one image from several sources, beside its arithmetic"
    if results.quality.study:
        named["quality_study"] = "Image quality of the shipped study with intervals"
    return named


#: Pictures that the page shows where they are given.
OPTIONAL_PICTURES = {
    "reverse": "Noise on its way to images",
    "in_place": "An image that dissolves in the array and one that forms there, beside Gaussian ones",
    "in_place_images": "Images that formed in the array",
}


def write_page(results: DemoResults, pictures: dict[str, bytes], path: Path | str) -> None:
    """Write the page, complete or not at all.

    Args:
        results: every number.
        pictures: PNG bytes named as in :func:`required_pictures`. :func:`pictures_of` draws those that follow from the
            numbers; ``main``, ``forward`` and a ``condition:<key>`` each are grids of images; ``reverse`` may be added.
        path: of the HTML file; its folder must exist.

    Raises:
        InputError: a picture is missing, unknown, or no PNG.
    """
    texts = required_pictures(results)
    if missing := [name for name in texts if name not in pictures]:
        raise InputError(f"the page lacks {', '.join(missing)}; draw them with report.pictures_of")
    if unknown := [name for name in pictures if name not in texts | OPTIONAL_PICTURES]:
        raise InputError(f"the page has no place for {', '.join(unknown)}; known: {', '.join(texts)}")
    from voltaspin.plots.drawing import narrow

    with narrow():
        phone = pictures_of(results)
    provenance = provenance_groups(results)
    html = render(
        "demo",
        title=f"Voltaspin: {results.title}",
        r=results,
        picture={
            name: picture(
                data, (texts | OPTIONAL_PICTURES)[name], phone.get(name), kind="" if name in phone else "crisp"
            )
            for name, data in pictures.items()
        },
        provenance=provenance,
        barrier=barrier_text(results.device),
        device_kinds=[kind for kind, _, _ in provenance if kind in ("simulated", "recorded", "instrument")],
        units={m: u.replace("um^2", "µm²") for m, u in UNITS.items()},
        boundaries=BOUNDARIES,
        counted=[(COUNTED.get(action, action), n) for action, n in results.cost.counts.items()],
        own={row.boundary: row for row in results.cost.rows if row.ours},
    )
    write_text(path, html)


def files_before(out: Path, command: str) -> Sequence[str]:
    """Return the files that 0.1.0 wrote into ``out`` if the report there is of this command, and none otherwise."""
    with contextlib.suppress(InputError):
        results = out / "results.json"
        if results.is_file() and not (out / RECORD).is_file() and DemoResults.load(results).command == command:
            return FILES_OF_0_1_0
    return ()


def write_report(results: DemoResults, images: dict[str, bytes], folder: OutputFolder) -> None:
    """Write page, pictures and numbers, each whole or not at all; the page, which shows the others, comes last.

    Args:
        results: every number.
        images: pictures of images, see :func:`write_page`.
        folder: of the report.
    """
    pictures = pictures_of(results) | images
    for name, png in pictures.items():
        folder.write_bytes(f"pictures/{name.replace(':', '-')}.png", png)
    folder.write_json("results.json", results.to_json())
    with folder.replacing("index.html") as part:
        write_page(results, pictures, part)


def summary_table(results: DemoResults) -> Group:
    """Return the page's summary for the terminal: device and bits, quality, cost. Print it with rich."""
    tables = [_bits_table(results), _quality_table(results.quality.live)]
    if results.quality.study:
        tables.append(_quality_table(results.quality.study))
    return Group(*tables, _cost_table(results))


def provenance_groups(results: DemoResults) -> list[tuple[str, str, list[str]]]:
    """Each kind of provenance in the run: its name, what it means, the conditions that have it."""
    kinds: dict[str, list[str]] = {}
    for condition in results.reverse.conditions:
        kinds.setdefault(condition.provenance, []).append(condition.name)
    return [(kind, MEANING[kind], kinds[kind]) for kind in MEANING if kind in kinds]


def barrier_text(device: PulseCheck) -> str:
    """Return a sentence on the life of the generator's bits, from its barrier where the run gives one."""
    found = [q for q in device.derived if q.name.lower().startswith("barrier")]
    height = f" (barrier {number(found[0].value)} {found[0].unit})" if found else ""
    return (
        f"The generator junction{height} forgets within minutes: it draws bits and is no long-term memory. "
        "The storage junction, a different preset, keeps them. One junction cannot be both."
    )


def _bits_table(results: DemoResults) -> Table:
    chosen, memory = results.device.chosen, results.memory
    table = Table(title="Device and memory", title_justify="left", show_header=False)
    meets = "meets" if chosen.meets else "misses"
    table.add_row("junction", results.device.junction)
    table.add_row("pulse", f"{chosen.voltage:.3g} V, {duration(chosen.width)}")
    table.add_row("worst |p − 1/2|", f"{number(chosen.worst_deviation)}, {meets} ±{number(chosen.tolerance)}")
    table.add_row("lag 1 = 1 − p01 − p10", interval(results.device.lag1))
    for bits in (memory.raw, memory.conditioned):
        table.add_row(f"bias, {bits.label}", interval(bits.bias))
        table.add_row(f"lag-1 autocorrelation, {bits.label}", interval(bits.lag1))
        spread = f"{number(bits.cell_std)} (sampling alone {number(bits.sampling_std)}), worst {bits.worst_cell:.4f}"
        table.add_row(f"spread of the cells' means, {bits.label}", spread)
        lag1 = f"{number(bits.cell_lag1_mean)} ± {number(bits.cell_lag1_std)}"
        table.add_row(
            f"lag 1 of single cells, {bits.label}", f"{lag1} (sampling alone ± {number(bits.cell_lag1_sampling_std)})"
        )
    return table


def _quality_table(quality: ConditionComparison) -> Table:
    table = Table(
        title=f"{quality.label}: {quality.n} images, {quality.steps} steps, {quality.extractor}",
        title_justify="left",
    )
    for heading in ("noise", "KID (95 %)", "FD (95 %)", "KID less software", "verdict"):
        table.add_column(heading)
    less = {d.condition: interval(d.kid) for d in quality.differences}

    def add(row: ConditionScores, less_software: str, said: str) -> None:
        table.add_row(row.name, interval(row.kid), interval(row.fd) if row.fd else "–", less_software, said)

    for row in quality.rows:
        add(row, less.get(row.condition, ""), quality.verdict(row.condition))
    for row in (quality.floor, *quality.yardsticks):
        add(row, "", "")
    if quality.control:
        said = "detected" if quality.control.detected else "NOT DETECTED"
        add(quality.control.row, interval(quality.control.difference.kid), said)
    if not quality.floor.fd:
        table.caption = quality.floor.fd_reason
    return table


def _cost_table(results: DemoResults) -> Table:
    table = Table(title="Cost of randomness", title_justify="left")
    for heading in ("source", "boundary", "energy per bit", "area (µm²)", "grade"):
        table.add_column(heading)
    for row in results.cost.rows:
        area = "–" if row.area is None else number(row.area.value)
        table.add_row(row.name, row.boundary, energies(row.energy), area, row.grade, style="bold" if row.ours else None)
    return table
