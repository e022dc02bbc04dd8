"""Time of an exploration of designs with the shipped model on one core: one price, a cheap stage, its overhead.

Run: python benchmarks/design.py [--points 60]

Times are of the processor, beside those of the wall. The bare runs are the same work without the exploration: a loop
that measures the same errors, counts the same random numbers and prices the same designs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from voltaspin.core.errors import InputError
from voltaspin.cost.macro import MacroSpec
from voltaspin.cost.network import price_network
from voltaspin.cost.table import Draws
from voltaspin.design import DesignResult, DesignSpace, check_space, explore
from voltaspin.design.evaluate import Point, _calls, network_of, output_error, price_design
from voltaspin.design.feasible import reason_of
from voltaspin.diffusion.backend import keep_freed_memory
from voltaspin.memory import ArraySpec
from voltaspin.study.runner import crew_of

ASKED = 500  # designs, in 20 minutes on two cores
_EXAMPLE = Path(__file__).parents[1] / "examples" / "design.json"


def clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def since(begin: tuple[float, float]) -> tuple[float, float]:
    now = clocks()
    return now[0] - begin[0], now[1] - begin[1]


def bare(points: list[Point]) -> None:
    """The work of an exploration in a loop."""
    errors, numbers, refused = {}, {}, set()
    for p in points:
        network, error = network_of(p.design.setting.model), p.error
        assert error is not None
        if error.key in refused:
            continue
        try:
            if error.key not in errors:
                errors[error.key] = output_error(network, error.array, error.images)
        except InputError:  # such as lines of too much resistance, which the exploration finds in the same way
            refused.add(error.key)
            continue
        if p.numbers.key not in numbers:
            numbers[p.numbers.key] = p.numbers.do(Path())
        price_design(p.design, numbers[p.numbers.key], errors[error.key])


def asked_for(space: DesignSpace, result: DesignResult) -> list[Point]:
    """The designs whose work an exploration did, in its order."""
    why, settings = reason_of(space), {s.name: s for s in space.settings()}
    found = []
    for p in sorted((*result.points, *result.pruned), key=lambda p: p.number):
        if not why(p.choices):
            setting = settings[p.setting]
            identity = network_of(setting.model).identity
            found.append(Point(space.design(setting, p.choices), identity, space.images))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=60, help="designs of the cheap stage")
    given = parser.parse_args()
    keep_freed_memory()
    network = network_of(None)
    for name in ("digital", "analog", "resistance-sum"):
        draws = Draws()
        price_network(network.trace, ArraySpec.preset(name), evaluations=50, draws=draws)
        begin = clocks()
        price_network(network.trace, ArraySpec.preset(name), MacroSpec(node=22e-9), evaluations=50, draws=draws)
        used, wall = since(begin)
        print(f"one cost of the mapped network, {name}: {used:.2f} s of the processor, {wall:.2f} s (asked: 1 s)")
    data = json.loads(_EXAMPLE.read_text()) | {"trials": given.points, "survivors": 0}
    data["population"] = max(2, given.points // 12)
    space = DesignSpace.from_json(data)
    with tempfile.TemporaryDirectory() as folder, crew_of() as crew:
        begin = clocks()
        check_space(space)
        print(f"check of the space: {since(begin)[0]:.2f} s")
        # compiled kernels and libraries are loaded before either way is timed
        small = data | {"trials": 4, "population": 2, "images": 2, "steps": 2}
        explore(DesignSpace.from_json(small), Path(folder) / "warm", crew=crew)
        _calls.cache_clear()
        begin = clocks()
        result = explore(space, Path(folder) / "one", crew=crew)
        used, wall = since(begin)
        begin = clocks()
        explore(space, Path(folder) / "one", crew=crew)
        again = since(begin)[0]
    n = len(result.points)
    print(
        f"{n} designs, {len(result.pruned)} that cannot be built, {result.errors} errors measured (hits of the cache: "
        f"{1 - result.errors / n:.0%}): {used:.0f} s of the processor, {wall:.0f} s"
    )
    whole = used * ASKED / n
    print(f"extrapolated to {ASKED} designs on two cores, at this rate of hits: {whole / 120:.1f} min (asked: 20 min)")
    points = asked_for(space, result)
    _calls.cache_clear()
    begin = clocks()
    bare(points)
    alone = since(begin)[0]
    print(f"the same work in a loop: {alone:.0f} s; overhead of the exploration {used / alone - 1:+.1%} (asked: 10 %)")
    print(f"all of it again from the folder: {again:.2f} s, {again / alone:.1%} of the bare runs")


if __name__ == "__main__":
    main()
