"""The specification of a noise device: its study file, and the page, figures and data that follow from the results.

python scripts/specification_study.py --write examples/specification.json
voltaspin study examples/specification.json --out build/specification --workers 2
voltaspin study examples/halving.json --out build/specification --workers 2
python scripts/specification_study.py --report build/specification

The first step takes a minute and also writes halving.json beside its file; the second takes an hour on two cores (it
may be stopped and goes on; --shard shares it out), the third, which shows with more images what halving the steps does,
five minutes, and the last two. The last writes docs/specification.md, docs/pictures/specification-*.png and
src/voltaspin/data/noise-specification.json.

--reduced is a trial of the pipeline with few axes, images and steps; its report is no result and ships nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from voltaspin.core.files import write_json
from voltaspin.report.specification_page import write
from voltaspin.report.study_page import effort
from voltaspin.requirements.axes import chosen, halving_study, plan, shared_axes
from voltaspin.requirements.specification import NoiseSpecification
from voltaspin.study.equivalence import judge
from voltaspin.study.specification import StudySpec

ROOT = Path(__file__).parents[1]
HALVING = "halving.json"
REDUCED = ("bias", "bits", "period")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="study file to write")
    parser.add_argument("--report", type=Path, help="folder of results to read")
    parser.add_argument("--study", type=Path, default=ROOT / "examples" / "specification.json", help="that was run")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page")
    parser.add_argument(
        "--reduced", action="store_true", help=f"only the axes {', '.join(REDUCED)}, 64 images, 5 steps"
    )
    given = parser.parse_args()
    if (given.write is None) == (given.report is None):
        parser.error("give either --write or --report")
    if given.reduced and given.report is not None and given.docs == ROOT / "docs":
        parser.error("--reduced with --report needs --docs: its page is no result")
    axes = chosen(plan(junction=False), REDUCED) if given.reduced else plan()
    if given.write is not None:
        study = axes.study(images=64, steps=5, seeds=(1,)) if given.reduced else axes.study()
        write_json(given.write, study.to_json())
        if not given.reduced:
            write_json(given.write.with_name(HALVING), halving_study().to_json())
        runs = {r.key: r.condition for r in study.runs()}
        work = sum(c.images * c.steps for c in runs.values())
        print(f"{given.write}: {len(runs)} runs, {work} images times steps")
        return
    study = StudySpec.load(given.study)
    every = axes.axes if given.reduced else (*axes.axes, *shared_axes(axes))
    halving = None
    if not given.reduced:
        (halving,) = judge(StudySpec.load(given.study.with_name(HALVING)), given.report)
    found = NoiseSpecification.of(
        study, judge(study, given.report), every, halving=halving, effort=effort(study, given.report),
        reduced=given.reduced,
    )  # fmt: skip
    data = given.docs / "noise-specification.json" if given.reduced else (
        ROOT / "src" / "voltaspin" / "data" / "noise-specification.json"
    )  # fmt: skip
    print(write(found, given.docs, data))
    done = {(limit.name, limit.treatment) for limit in found.limits}
    for axis in every:
        if (axis.name, axis.treatment) not in done:
            print(f"{axis.name} {axis.treatment}: left out, the study has not all of its conditions")
    for limit in found.limits:
        print(f"{limit.name} {limit.treatment}: {limit.text}")
    print(found.margin_said)


if __name__ == "__main__":
    main()
