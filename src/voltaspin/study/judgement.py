"""What a study found: every condition against its baseline, paired, with intervals, equivalence and power."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.errors import InputError
from voltaspin.metrics import paired_difference, reference
from voltaspin.metrics.shipped import Reference
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import Run, StudySpec

_Z90, _Z95 = 1.6448536269514722, 1.959963984540054


@dataclass(frozen=True)
class Verdict:
    """One condition less the baseline, in KID.

    Args:
        name: of the condition.
        trainings, images: that went into it, the images of all sampling seeds together.
        difference, std: mean over the training seeds and its standard error.
        low, high: 95 % interval, with Student's t over three or more training seeds.
        equivalent: whether the 90 % interval lies within the margin: two one-sided tests at 5 %.
        power: of that test if there is no difference at all.
        fd: difference in FD extrapolated, or None with too few images; fd_std: its standard error.
        by_training: (difference, std) of each training seed.
    """

    name: str
    trainings: int
    images: int
    difference: float
    std: float
    low: float
    high: float
    equivalent: bool
    power: float
    fd: float | None
    fd_std: float | None
    by_training: tuple[tuple[float, float], ...]

    @property
    def detected(self) -> bool:
        """Whether the 95 % interval leaves out zero."""
        return self.low > 0 or self.high < 0

    @property
    def said(self) -> str:
        """The outcome in words."""
        return "equivalent" if self.equivalent else "different" if self.detected else "not shown equivalent"


def combined(each: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Mean over training seeds, its standard error, and the factors of 95 and 90 % intervals.

    One or two seeds: the images' own errors, which know nothing of the training's chance. Three or more: the spread
    between seeds, with Student's t, which holds both.
    """
    values = np.array([v for v, _ in each])
    if len(each) < 3:
        std = math.sqrt(sum(s * s for _, s in each)) / len(each)
        return float(values.mean()), std, _Z95, _Z90
    from scipy.stats import t

    freedom = len(each) - 1
    std = float(values.std(ddof=1) / math.sqrt(len(each)))
    return float(values.mean()), std, float(t.ppf(0.975, freedom)), float(t.ppf(0.95, freedom))


def power_of(margin: float, std: float, factor: float) -> float:
    """Probability that two one-sided tests show equivalence where there is no difference."""
    from scipy.special import ndtr

    return max(0.0, float(2 * ndtr(margin / std - factor) - 1)) if std > 0 else 1.0


def judge(spec: StudySpec, out: Path, *, against: Reference | None = None) -> list[Verdict]:
    """Compare every condition with the baseline, run by run of equal seeds.

    Raises:
        InputError: runs are missing.
    """
    against = against or reference("fashion-mnist")
    runs = spec.runs()
    missing = [r for r in runs if not (folder_of(out, r) / "features.npz").is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(runs)} runs are not done, the first one {missing[0].name!r} with seeds "
            f"{missing[0].training_seed} and {missing[0].sampling_seed}; run the study to its end, every shard of it"
        )
    by_name: dict[str, dict[tuple[int, int], Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, {})[run.training_seed, run.sampling_seed] = run
    found = []
    for name, mine in by_name.items():
        if name == spec.baseline:
            continue
        each, fds, images = [], [], 0
        seeds = spec.training_seeds
        shipped = all(r.condition.train == "shipped" for r in (*mine.values(), *by_name[spec.baseline].values()))
        for training in seeds[:1] if shipped else seeds:
            a, b = (_features(out, rows, training, spec.sampling_seeds) for rows in (mine, by_name[spec.baseline]))
            n = min(len(a), len(b))
            score = paired_difference(a[:n], b[:n], against)
            each.append((score.value, score.std))
            images += n
            if n >= 4 * a.shape[1]:
                fd = paired_difference(a[:n], b[:n], against, metric="FD")
                fds.append((fd.value, fd.std))
        value, std, z95, z90 = combined(each)
        fd_value, fd_std, *_ = combined(fds) if fds else (None, None)
        found.append(Verdict(
            name=name, trainings=len(each), images=images, difference=value, std=std, low=value - z95 * std,
            high=value + z95 * std, equivalent=abs(value) + z90 * std < spec.margin,
            power=power_of(spec.margin, std, z90), fd=fd_value, fd_std=fd_std, by_training=tuple(each),
        ))  # fmt: skip
    return found


def _features(
    out: Path, runs: dict[tuple[int, int], Run], training: int, sampling: tuple[int, ...]
) -> NDArray[np.float64]:
    parts = []
    for seed in sampling:
        with np.load(folder_of(out, runs[training, seed]) / "features.npz") as file:
            parts.append(file["features"].astype(np.float64))
    return np.concatenate(parts)


def table_csv(verdicts: list[Verdict]) -> str:
    """The verdicts as CSV."""
    buffer = io.StringIO()
    fields = [f for f in asdict(verdicts[0]) if f != "by_training"]
    writer = csv.DictWriter(buffer, fields, lineterminator="\n")
    writer.writeheader()
    for v in verdicts:
        writer.writerow({f: getattr(v, f) for f in fields})
    return buffer.getvalue()


def verdicts_png(spec: StudySpec, verdicts: list[Verdict]) -> bytes:
    """Differences with 95 % intervals, and the margin."""
    import matplotlib
    from matplotlib.figure import Figure

    from voltaspin.report.drawing import BLUE, DPI, GREEN, INK, ORANGE, STYLE, figure_png

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.3 + 0.36 * len(verdicts)), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-1e3 * spec.margin, 1e3 * spec.margin, color=GREEN, alpha=0.18, lw=0)
        axes.axvline(0, color=INK, lw=0.8)
        for i, v in enumerate(verdicts):
            colour = BLUE if v.equivalent else ORANGE
            axes.plot([1e3 * v.low, 1e3 * v.high], [i, i], color=colour, lw=2)
            axes.plot(1e3 * v.difference, i, "o", color=colour, ms=5)
        axes.set_yticks(range(len(verdicts)), [v.name for v in verdicts])
        axes.set_ylim(len(verdicts) - 0.4, -0.6)
        axes.set_xscale("symlog", linthresh=2e3 * spec.margin)
        axes.set_xlabel(f"KID less that of {spec.baseline}, x 1000; 95 % intervals; green: the margin")
        axes.set_title(spec.name)
        return figure_png(figure)


def page(spec: StudySpec, verdicts: list[Verdict], out: Path, command: str) -> str:
    """One HTML page that asks nobody: question, figure, table, images."""
    from base64 import b64encode

    from markupsafe import escape

    def picture(data: bytes, text: str) -> str:
        return f'<img alt="{escape(text)}" src="data:image/png;base64,{b64encode(data).decode()}">'

    def line(v: Verdict) -> str:
        fd = "–" if v.fd is None or v.fd_std is None else f"{v.fd:.2f} ± {_Z95 * v.fd_std:.2f}"
        cells = [v.name, v.trainings, v.images, f"{1e3 * v.difference:.2f} ({1e3 * v.low:.2f} to {1e3 * v.high:.2f})",
                 fd, v.said, f"{v.power:.0%}"]  # fmt: skip
        return "<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in cells) + "</tr>"

    shown: dict[str, Path] = {}
    for run in spec.runs():
        shown.setdefault(run.name, folder_of(out, run) / "images.png")
    head = [
        "condition",
        "trainings",
        "images",
        "KID less baseline × 1000 (95 %)",
        "FD less baseline",
        "verdict",
        "power",
    ]
    body = [
        f"<h1>{escape(spec.name)}</h1><p>{escape(spec.question)}</p>",
        f"<p>Baseline: {escape(spec.baseline)}. Margin, declared in the study file: {1e3 * spec.margin:g}e-3 in KID; "
        "equivalent: the 90 % interval lies within it (two one-sided tests at 5 %). Conditions are paired by common "
        "random numbers: equal seeds share latents and the uniform words behind every bit, so cells that flip with 1/2 "
        "exactly would give the software's 16-bit images by construction. All arrays are simulated: their noise is "
        "pseudo-random underneath.</p>",
        picture(verdicts_png(spec, verdicts), "Differences in KID with intervals"),
        f"<table><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>{''.join(map(line, verdicts))}</table>",
        *(f"<h2>{escape(n)}</h2>{picture(p.read_bytes(), n)}" for n, p in shown.items() if p.is_file()),
        f"<footer><code>{escape(command)}</code></footer>",
    ]
    style = ("body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2430}"
             "table{border-collapse:collapse}td,th{padding:.2rem .6rem;text-align:left;border-bottom:1px solid #e4e7ee}"
             "img{max-width:100%}")  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(spec.name)}</title>'
        f"<style>{style}</style></head><body>{''.join(body)}</body></html>"
    )


def to_json(spec: StudySpec, verdicts: list[Verdict]) -> dict[str, Any]:
    return {"kind": "study-verdicts", "schema_version": 1, "study": spec.to_json(),
            "verdicts": [{**asdict(v), "detected": v.detected} for v in verdicts]}  # fmt: skip
