"""The views of a study: a table, a figure, and one page."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from voltaspin.core.files import read_object
from voltaspin.study.equivalence import Equivalence, factors, standing
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import StudySpec


def table_csv(verdicts: Sequence[Equivalence]) -> str:
    """The verdicts as CSV; a name that a spreadsheet would take for a formula begins with an apostrophe."""
    buffer = io.StringIO()
    fields = [name for name in Equivalence.model_fields if name != "by_training"]
    writer = csv.DictWriter(buffer, fields, lineterminator="\n")
    writer.writeheader()
    for v in verdicts:
        writer.writerow({f: getattr(v, f) for f in fields} | {"name": _no_formula(v.name)})
    return buffer.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def verdicts_png(spec: StudySpec, verdicts: Sequence[Equivalence]) -> bytes:
    """Differences with 95 % intervals, and the margin."""
    import matplotlib
    from matplotlib.figure import Figure

    from voltaspin.plots.drawing import BLUE, DPI, GREEN, INK, ORANGE, STYLE, figure_png

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.3 + 0.36 * len(verdicts)), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-1e3 * spec.margin, 1e3 * spec.margin, color=GREEN, alpha=0.18, lw=0)
        axes.axvline(0, color=INK, lw=0.8)
        for i, v in enumerate(verdicts):
            colour = BLUE if v.equivalent else ORANGE
            axes.plot([1e3 * v.low, 1e3 * v.high], [i, i], color=colour, lw=2)
            axes.plot(1e3 * v.difference, i, "o", color=colour, ms=5)
        axes.set_yticks(range(len(verdicts)), [v.name for v in verdicts], parse_math=False)
        axes.set_ylim(len(verdicts) - 0.4, -0.6)
        if max(abs(end) for v in verdicts for end in (v.low, v.high)) > 6 * spec.margin:
            axes.set_xscale("symlog", linthresh=2e3 * spec.margin)
            axes.xaxis.set_major_formatter("{x:,g}")
        axes.set_xlabel(
            f"KID less that of {spec.baseline}, x 1000; 95 % intervals; green: the margin", parse_math=False
        )
        axes.set_title(spec.name, parse_math=False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page has the name as text
            return figure_png(figure)


def axes_png(spec: StudySpec, verdicts: Sequence[Equivalence]) -> bytes:
    """Differences in KID and FD along each axis of a study, a panel each."""
    import matplotlib
    from matplotlib.figure import Figure

    from voltaspin.plots.drawing import DPI, STYLE, figure_png
    from voltaspin.plots.study_axes import along_axis

    rows = -(-len(spec.axes) // 3)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.2 * rows), dpi=DPI, layout="constrained")
        panels = figure.subplots(rows, 3, squeeze=False).ravel()
        for path, ax in zip(spec.axes, panels, strict=False):
            along_axis(spec, verdicts, path, ax=ax)
        for ax in panels[len(spec.axes) :]:
            ax.set_axis_off()
        return figure_png(figure)


HEAD = ("condition", "trainings", "images", "KID × 1000", "KID less baseline × 1000", "FD less baseline",
        "precision less baseline", "recall less baseline", "verdict", "power")  # fmt: skip


def rows(verdicts: Sequence[Equivalence]) -> list[list[str]]:
    """The cells below ``HEAD``, with 95 % intervals."""

    def less(value: float | None, std: float | None, trainings: int, digits: int) -> str:
        if value is None or std is None:
            return "–"
        return f"{value:.{digits}f} ± {factors(trainings)[0] * std:.{digits}f}"

    return [
        [v.name + (f" (less {v.against})" if v.against else ""), str(v.trainings), str(v.images),
         "–" if v.kid is None else f"{1e3 * v.kid:.1f}",
         f"{1e3 * v.difference:.2f} ({1e3 * v.low:.2f} to {1e3 * v.high:.2f})",
         less(v.fd, v.fd_std, v.trainings, 2), less(v.precision, v.precision_std, v.trainings, 3),
         less(v.recall, v.recall_std, v.trainings, 3), v.said, f"{v.power:.0%}"]
        for v in verdicts
    ]  # fmt: skip


def explained(spec: StudySpec, verdicts: Sequence[Equivalence]) -> list[str]:
    """Return the paragraphs that a reader needs before the table."""
    if not verdicts:
        alone = f"Baseline: {spec.baseline}, the only condition: there is nothing to compare it with."
        return [p for p in (spec.question, alone) if p]
    kids = [v.baseline_kid for v in verdicts if v.baseline_kid is not None]
    its_kid = f", KID {1e3 * kids[0]:.1f}e-3" if kids else ""
    paragraphs = [
        spec.question,
        f"Baseline: {spec.baseline}{its_kid}. Margin, declared in the study file: {1e3 * spec.margin:g}e-3 in KID; "
        "equivalent: the 90 % interval lies within it (two one-sided tests at 5 %). Intervals are of 95 %; with three "
        "trainings or more they come from the spread between trainings (Student's t), with fewer from the images. "
        "Power: the chance to show equivalence if there were no difference.",
        " ".join(standing(spec, verdicts)),
        "Conditions are paired by common random numbers: equal seeds share initial weights, batches, latents and the "
        "uniform words behind every bit, so cells that flip with 1/2 exactly would give the software's 16-bit images "
        "by construction. All arrays are simulated: their noise is pseudo-random underneath.",
        "Bit-flip and real images share nothing with the others: their differences are those of independent images."
        if any(c.diffusion != "gaussian" for c in spec.named().values())
        else "",
    ]
    return [p for p in paragraphs if p]


def effort(spec: StudySpec, out: Path) -> str:
    """How long the work took, as its runs recorded it; work that two conditions share counts once."""
    parts = []
    for what, jobs in (("trainings", spec.trainings()), ("samplings", spec.runs())):
        folders = {folder_of(out, job) for job in jobs}
        seconds = sum(float(read_object(f / "result.json").get("seconds", 0)) for f in folders)
        if folders:
            parts.append(f"{len(folders)} {what} {seconds / 60:.1f} min")
    return f"Time in all processes: {', '.join(parts)}."


def facts(spec: StudySpec, out: Path) -> dict[str, list[tuple[str, str]]]:
    """Rows of (name, value) that each condition's first run recorded beside its scores, and those of the trainings."""
    found: dict[str, list[tuple[str, str]]] = {}
    for run in spec.runs():
        if run.name not in found:
            found[run.name] = list(_recorded(_record(folder_of(out, run))))
    for training in spec.trainings():
        record = _record(folder_of(out, training))
        of = record.get("spec", {})
        found[training.name] = [
            ("steps x batch", f"{training.steps:,} x {of['batch']}"), ("learning rate", f"{of['learning_rate']:g}"),
            ("minutes", f"{record['seconds'] / 60:.1f}"), ("last loss", f"{record['loss']:.4f}"),
        ] if of else []  # fmt: skip
    return {name: rows for name, rows in found.items() if rows}


def _record(folder: Path) -> dict[str, Any]:
    file = folder / "result.json"
    return read_object(file) if file.is_file() else {}


def _recorded(record: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for head in ("output_error", "schedule", "rounding", "per_image"):
        for name, value in record.get(head, {}).items():
            yield f"{head}: {name}".replace("_", " "), f"{value:.4g}"
    if "losses" in record:
        first, last = (sum(part) / len(part) for part in (record["losses"][:20], record["losses"][-20:]))
        yield "loss of the tuning, first and last 20 steps", f"{first:.4f}, {last:.4f}"
    for head, name in (("arithmetic", "variance of the arithmetic, each step"), ("levels", "flip probabilities used")):
        if record.get(head):
            yield name, ", ".join(f"{v:.2g}" for v in record[head])
    for line in record.get("price", "").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if not set(line) <= set("|- "):
            yield f"price of an image: {cells[0]}", "; ".join(cells[1:])


def summary(spec: StudySpec, verdicts: Sequence[Equivalence], out: Path, command: str) -> str:
    """The same as the page in Markdown, for a document of one's own."""
    lines = [HEAD, ("---",) * len(HEAD), *([_literal(cell) for cell in row] for row in rows(verdicts))]
    table = ["\n".join(f"| {' | '.join(line)} |" for line in lines)] if verdicts else []
    made = f"Made by {_code(command)}. {effort(spec, out)}"
    words = [_literal(p) for p in explained(spec, verdicts)]
    more = [
        f"## {_literal(name)}\n\n" + "\n".join(f"- {_literal(k)}: {_literal(v)}" for k, v in rows_)
        for name, rows_ in facts(spec, out).items()
    ]  # fmt: skip
    return "\n\n".join([f"# {_literal(spec.name)}", made, *words, *table, *more]) + "\n"


def _literal(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    return re.sub(r"([\\`*_\[\]<>|$&#~])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def page(spec: StudySpec, verdicts: Sequence[Equivalence], out: Path, command: str) -> str:
    """One HTML page that asks nobody: question, figure, table, images."""
    from base64 import b64encode

    from markupsafe import escape

    def picture(data: bytes, text: str) -> str:
        return f'<img alt="{escape(text)}" src="data:image/png;base64,{b64encode(data).decode()}">'

    def line(cells: Iterable[str], tag: str = "td") -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

    shown: dict[str, list[Path]] = {}
    for run in spec.runs():
        shown.setdefault(run.name, [folder_of(out, run) / name for name in ("images.png", "path.png")])
    told = facts(spec, out)
    body = [
        f"<h1>{escape(spec.name)}</h1>",
        *(f"<p>{escape(p)}</p>" for p in explained(spec, verdicts)),
        *(
            [
                picture(verdicts_png(spec, verdicts), "Differences in KID with intervals"),
                picture(axes_png(spec, verdicts), "The same along each axis") if spec.axes else "",
                f"<table>{line(HEAD, 'th')}{''.join(map(line, rows(verdicts)))}</table>",
            ]
            if verdicts
            else []
        ),
        *(
            f"<h2>{escape(n)}</h2>"
            + "".join(picture(p.read_bytes(), n) for p in shown.get(n, ()) if p.is_file())
            + (f"<table>{''.join(map(line, told[n]))}</table>" if n in told else "")
            for n in dict.fromkeys((*shown, *told))
        ),
        f"<footer><code>{escape(command)}</code> {escape(effort(spec, out))}</footer>",
    ]
    style = ("body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#1f2430}"
             "p{max-width:60rem}table{border-collapse:collapse;font-size:.9rem}"
             "td,th{padding:.2rem .6rem;text-align:left;border-bottom:1px solid #e4e7ee}"
             "img{max-width:100%}")  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(spec.name)}</title>'
        f"<style>{style}</style></head><body>{''.join(body)}</body></html>"
    )
