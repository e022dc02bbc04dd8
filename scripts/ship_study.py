"""Take the quality section of a finished demo run over as the study that ships with the package.

voltaspin demo --images 5000 --steps 50 --seed 1 --out study
python scripts/ship_study.py study/results.json
"""

import sys
from pathlib import Path

from voltaspin.core.files import write_json
from voltaspin.report.demo_results import DemoResults

DATA = Path(__file__).parents[1] / "src" / "voltaspin" / "data"


def main() -> None:
    results = DemoResults.load(sys.argv[1])
    study = results.quality.live.model_copy(update={"label": "Shipped study"})
    study.save(DATA / "study.json")
    card = {
        "command": study.command,
        "model_sha256": results.configuration["model_sha256"],
        "configuration": {k: v for k, v in results.configuration.items() if k != "argv"},  # it names a folder
        "environment": results.environment,
        "seconds": results.seconds,
        "noise": {c.key: c.noise for c in results.reverse.conditions},
    }
    write_json(DATA / "study-card.json", card)
    print(f"{study.n} images per condition, {study.steps} steps, {study.command}")


if __name__ == "__main__":
    main()
