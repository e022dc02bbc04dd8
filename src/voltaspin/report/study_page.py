"""The findings of a study as a table, a figure and one page."""

from __future__ import annotations

import csv
import io
import re
import warnings
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from voltaspin.core.files import read_object
from voltaspin.report.page import data_uri, render
from voltaspin.study.judgement import Verdict, factors, standing
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import StudySpec


def table_csv(verdicts: list[Verdict]) -> str:
    """The verdicts as CSV; a name that a spreadsheet would take for a formula begins with an apostrophe."""
    buffer = io.StringIO()
    fields = [f.name for f in dataclass_fields(Verdict) if f.name != "by_training"]
    writer = csv.DictWriter(buffer, fields, lineterminator="\n")
    writer.writeheader()
    for v in verdicts:
        writer.writerow({f: getattr(v, f) for f in fields} | {"name": _no_formula(v.name)})
    return buffer.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


HEAD = ("condition", "trainings", "images", "KID × 1000", "KID less baseline × 1000", "FD less baseline",
        "precision less baseline", "recall less baseline", "verdict", "power")  # fmt: skip


def rows(verdicts: list[Verdict]) -> list[list[str]]:
    """The cells below ``HEAD``, with 95 % intervals."""

    def less(value: float | None, std: float | None, trainings: int, digits: int) -> str:
        if value is None or std is None:
            return "–"
        return f"{value:.{digits}f} ± {factors(trainings)[0] * std:.{digits}f}"

    return [
        [v.name, str(v.trainings), str(v.images), "–" if v.kid is None else f"{1e3 * v.kid:.1f}",
         f"{1e3 * v.difference:.2f} ({1e3 * v.low:.2f} to {1e3 * v.high:.2f})",
         less(v.fd, v.fd_std, v.trainings, 2), less(v.precision, v.precision_std, v.trainings, 3),
         less(v.recall, v.recall_std, v.trainings, 3), v.said, f"{v.power:.0%}"]
        for v in verdicts
    ]  # fmt: skip


def explained(spec: StudySpec, verdicts: list[Verdict]) -> list[str]:
    """What a reader must know before the table, a paragraph each."""
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


def summary(spec: StudySpec, verdicts: list[Verdict], out: Path, command: str) -> str:
    """The same as the page in Markdown, for a document of one's own."""
    lines = [HEAD, ("---",) * len(HEAD), *([_literal(cell) for cell in row] for row in rows(verdicts))]
    table = ["\n".join(f"| {' | '.join(line)} |" for line in lines)] if verdicts else []
    made = f"Made by {_code(command)}. {effort(spec, out)}"
    words = [_literal(p) for p in explained(spec, verdicts)]
    return "\n\n".join([f"# {_literal(spec.name)}", made, *words, *table]) + "\n"


def _literal(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    return re.sub(r"([\\`*_\[\]<>|$&#~])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def verdicts_png(spec: StudySpec, verdicts: list[Verdict]) -> bytes:
    """Return the figure of the differences as PNG."""
    from voltaspin.plots.drawing import png
    from voltaspin.plots.study import differences

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page has the name as text
        return png(differences(spec, verdicts))


def page(spec: StudySpec, verdicts: list[Verdict], out: Path, command: str) -> str:
    """Return one self-contained HTML page: question, figure, table, images."""
    pictures: dict[str, Path] = {}
    for run in spec.runs():
        pictures.setdefault(run.name, folder_of(out, run) / "images.png")
    return render(
        "study",
        title=spec.name,
        paragraphs=explained(spec, verdicts),
        figure=data_uri(verdicts_png(spec, verdicts)) if verdicts else "",
        head=HEAD,
        rows=rows(verdicts),
        images=[(name, data_uri(p.read_bytes())) for name, p in pictures.items() if p.is_file()],
        command=command,
        effort=effort(spec, out),
    )


def to_json(spec: StudySpec, verdicts: list[Verdict]) -> dict[str, Any]:
    """Specification, verdicts and what the study says of its own worth."""
    return {"kind": "study-verdicts", "schema_version": 1, "study": spec.to_json(),
            "standing": standing(spec, verdicts),
            "verdicts": [{**asdict(v), "detected": v.detected} for v in verdicts]}  # fmt: skip
