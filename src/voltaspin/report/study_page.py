"""The findings of a study as a table, a figure and one page."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from voltaspin.core.files import read_object
from voltaspin.report.page import data_uri, figure, render
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
    """Return the figure of the differences as PNG."""
    from voltaspin.plots.drawing import png
    from voltaspin.plots.study import differences

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page has the name as text
        return png(differences(spec, verdicts))


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
        "Images in place and real images share nothing with the others: those differences are of independent images."
        if any(c.diffusion != "gaussian" for c in spec.named().values())
        else "",
    ]
    return [p for p in paragraphs if p]


def effort(spec: StudySpec, out: Path) -> str:
    """Return the time of the work, as its runs recorded it; work that two conditions share counts once."""
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
    for name in ("cells_per_pixel", "random_bits", "coin"):
        if name in record:
            yield name.replace("_", " "), f"{record[name]:,.4g}"
    for head in ("output_error", "rounding", "per_image"):
        for name, value in record.get(head, {}).items():
            yield f"{head}: {name}".replace("_", " "), f"{value:.4g}"
    if "losses" in record:
        first, last = (sum(part) / len(part) for part in (record["losses"][:20], record["losses"][-20:]))
        yield "loss of the tuning, first and last 20 steps", f"{first:.4f}, {last:.4f}"
    if record.get("arithmetic"):
        yield "variance of the arithmetic, each step", ", ".join(f"{v:.2g}" for v in record["arithmetic"])
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
    """Return one self-contained HTML page: question, figures, table, images and records."""
    from voltaspin.plots.drawing import png
    from voltaspin.plots.study import along_axis

    parts: dict[str, list[Path]] = {}
    for run in spec.runs():
        parts.setdefault(run.name, [folder_of(out, run) / name for name in ("images.png", "path.png")])
    told = facts(spec, out)

    def over(path: str) -> bytes:
        return png(along_axis(spec, verdicts, path))

    figures = []
    if verdicts:
        figures = [figure(partial(verdicts_png, spec, verdicts), "Differences in KID with intervals")]
        figures += [figure(partial(over, path), f"Differences over {path}") for path in spec.axes]
    return render(
        "study",
        title=spec.name,
        paragraphs=explained(spec, verdicts),
        figure=figures[0] if figures else "",
        axes=figures[1:],
        head=HEAD,
        rows=rows(verdicts),
        parts=[
            (name, [data_uri(p.read_bytes()) for p in parts.get(name, ()) if p.is_file()], told.get(name, ()))
            for name in dict.fromkeys((*parts, *told))
        ],
        command=command,
        effort=effort(spec, out),
    )
