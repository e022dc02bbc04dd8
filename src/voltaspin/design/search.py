"""Explore a design space: every design of a grid, or generations of NSGA-II, on the runner of studies.

Whatever was computed stays in the folder by the hash of all that decides it, so that a run that was killed goes on and
two processes share the work. A search asks for whole generations and is told their results in the order in which it
asked, so that its designs depend on the seed alone, and on no number of workers and no interruption.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object
from voltaspin.core.forecast import memory_now
from voltaspin.core.quantity import Estimate
from voltaspin.design.evaluate import Job, Point, do, job_of, network_of
from voltaspin.design.feasible import Reason, middling, reason_of
from voltaspin.design.result import DesignPoint, DesignResult, PrunedPoint, with_fronts
from voltaspin.design.space import Choices, DesignSpace, Range, Setting
from voltaspin.study.runner import Crew, crew_of, execute
from voltaspin.study.work import seconds_of

EVALUATIONS = "evaluations"  #: folder of what was computed
_REPEATS = 4  # times as many designs as wanted are asked for at most, since a search may ask for one again
NEEDS_OPTUNA = "a search needs optuna: pip install 'voltaspin[design]'; a space of at most trials designs does not"

Asked = tuple[Setting, Choices]
Progress = Callable[[str, int, int], None]
Batch = Callable[[list[Asked]], "list[DesignPoint | PrunedPoint]"]


def check_search(space: DesignSpace) -> None:
    """Raise InputError where a space must be searched and Optuna is not installed."""
    from importlib.util import find_spec

    if not space.is_grid and find_spec("optuna") is None:
        raise InputError(f"design space {space.name!r}: {NEEDS_OPTUNA}")


def explore(space: DesignSpace, out: Path, *, crew: Crew, progress: Progress | None = None) -> DesignResult:
    """Evaluate the designs of a space at the cheap stage, and mark the fronts.

    Args:
        space: checked by :func:`voltaspin.design.check_space`.
        out: folder of the exploration; what is finished in it is not repeated.
        crew: that does the work.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: a search without Optuna, or no design that can be built.
    """
    table = _Table(space, out, crew, progress)
    if space.is_grid:
        choices = list(space.grid())
        table.evaluate([(setting, one) for setting in space.settings() for one in choices])
    else:
        _search(space, table)
    points = [p for p in table.found.values() if isinstance(p, DesignPoint)]
    pruned = [p for p in table.found.values() if isinstance(p, PrunedPoint)]
    if not points:
        raise InputError(f"design space {space.name!r}: no design of it can be built: {pruned[0].reason}")
    return DesignResult(
        space=space, search="grid" if space.is_grid else "NSGA-II",
        points=with_fronts(points, space.objectives), pruned=tuple(pruned), repeated=table.repeated,
        errors=len(table.errors), notes=_notes(space),
    )  # fmt: skip


def forecast(space: DesignSpace) -> tuple[float, float]:
    """Return about how long an exploration takes in one process [s], and its memory [byte], from one of its designs."""
    reason, choices = reason_of(space), space.grid() if space.is_grid else middling(space)
    one = next((c for c in choices if not reason(c)), None)
    if one is None:
        return 0.0, memory_now()
    with TemporaryDirectory() as folder, crew_of(1) as crew:
        table, began = _Table(space, Path(folder), crew, None), time.monotonic()
        for setting in space.settings():
            table.evaluate([(setting, one)])
        seconds = (time.monotonic() - began) / len(space.settings())
    designs = space.trials if space.size is None else min(space.size, space.trials)
    images = (space.survivors + 1) * space.kid_images if space.survivors else 0
    if images:
        seconds += seconds_of(images * max(s.steps for s in space.settings())) / designs
    return designs * seconds, memory_now()


def _notes(space: DesignSpace) -> tuple[str, ...]:
    notes = [
        "energy: of the whole image, with random numbers or pulses, the sampler's state and the digital work; the "
        "time of random numbers is not added, since they are drawn while the network computes",
    ]
    if "quality" in space.objectives:
        notes.insert(0, "quality: error of the network's output in arrays over its root mean square, on "
                     f"{space.images} noisy images at three times; it says nothing of the number of evaluations nor of "
                     "diffusion in place, so that designs compete within one way of sampling")  # fmt: skip
    return tuple(notes)


class _Table:
    """Designs that were asked for, each evaluated once."""

    def __init__(self, space: DesignSpace, out: Path, crew: Crew, progress: Progress | None) -> None:
        self.space, self.crew, self.out = space, crew, out / EVALUATIONS
        self.progress = progress or (lambda *_: None)
        self.why: Reason = reason_of(space)
        self.found: dict[str, DesignPoint | PrunedPoint] = {}  # by what was asked for
        self.errors: set[str] = set()
        self.repeated = 0

    def evaluate(self, batch: Sequence[Asked]) -> list[DesignPoint | PrunedPoint]:
        """Evaluate designs, all that are new at once; in the order in which they were asked for."""
        fresh: dict[str, tuple[int, Setting, Choices, Point | str]] = {}
        for setting, choices in batch:
            name = f"{setting} {choices}"
            if name in self.found or name in fresh:
                self.repeated += 1
                continue
            asked: Point | str = self.why(choices)
            if not asked:
                images = self.space.images if "quality" in self.space.objectives else None
                design = self.space.design(setting, choices)
                asked = Point(design, network_of(setting.model).identity, images)
            fresh[name] = (len(self.found) + len(fresh) + 1, setting, choices, asked)
        self._do([asked for *_, asked in fresh.values() if isinstance(asked, Point)])
        for name, (number, setting, choices, asked) in fresh.items():
            self.found[name] = self._read(number, setting, choices, asked)
        return [self.found[f"{setting} {choices}"] for setting, choices in batch]

    def _do(self, points: list[Point]) -> None:
        parts: dict[str, Job] = {}
        for p in points:
            parts.setdefault(p.numbers.key, p.numbers)
            if p.error is not None:
                parts.setdefault(p.error.key, p.error)
                self.errors.add(p.error.key)
        for what, jobs in (("errors and random numbers", list(parts.values())), ("designs", list(points))):
            execute(
                jobs, self.out, work=partial(do, self.out.resolve()), crew=self.crew, read=job_of,
                progress=lambda done, total, _, what=what: self.progress(what, done, total),  # type: ignore[misc]
            )  # fmt: skip

    def _read(self, number: int, setting: Setting, choices: Choices, asked: Point | str) -> DesignPoint | PrunedPoint:
        if isinstance(asked, str):
            return PrunedPoint(number=number, setting=setting.name, choices=choices, reason=asked)
        found = read_object(self.out / "runs" / asked.key / "result.json")
        if "reason" in found:
            return PrunedPoint(number=number, setting=setting.name, choices=choices, reason=found["reason"])
        parts: dict[str, Any] = {
            name: {k: Estimate(**e) for k, e in found[name].items()} for name in ("objectives", "energy", "area")
        }
        return DesignPoint(
            number=number, key=asked.key, **setting.to_json(), setting=setting.name, choices=choices,
            array=asked.design.array.to_json(), macro=asked.design.macro.to_json(), arrays=found["arrays"],
            cells=found["cells"], utilisation=found["utilisation"], warnings=tuple(found["warnings"]), **parts,
        )  # fmt: skip


def _search(space: DesignSpace, table: _Table) -> None:
    """Let NSGA-II choose, one search for each setting, all generations side by side."""
    import warnings

    try:
        import optuna
    except ImportError:
        raise InputError(NEEDS_OPTUNA) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = space.settings()
    population = max(2, min(space.population, space.trials // len(settings)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # equal seeds: the first generations are equal, and their output errors are measured once
        studies = [
            optuna.create_study(
                directions=["minimize"] * len(space.objectives),
                sampler=optuna.samplers.NSGAIISampler(population_size=population, seed=space.seed),
            )
            for _ in settings
        ]  # fmt: skip
    asked = 0
    while (left := space.trials - len(table.found)) > 0 and asked < _REPEATS * space.trials:
        shares = [min(population, n) for n in _shared(left, len(settings))]
        trials = [
            (study, setting, study.ask()) for study, setting, n in zip(studies, settings, shares, strict=True)
            for _ in range(n)
        ]  # fmt: skip
        batch = [(setting, _suggested(space, trial)) for _, setting, trial in trials]
        asked += len(batch)
        for (study, _, trial), found in zip(trials, table.evaluate(batch), strict=True):
            if isinstance(found, DesignPoint):
                study.tell(trial, [found.objectives[name].value for name in space.objectives])
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _shared(whole: int, parts: int) -> Iterator[int]:
    each, rest = divmod(whole, parts)
    return (each + (i < rest) for i in range(parts))


def _suggested(space: DesignSpace, trial: Any) -> Choices:
    """The search's choice on each axis."""
    found: Choices = {}
    for name, axis in space.varied.items():
        if isinstance(axis, Range):
            if axis.whole:
                step = {} if axis.step is None else {"step": axis.step}
                found[name] = trial.suggest_int(name, axis.low, _last(axis), log=axis.log, **step)
            else:
                step = {} if axis.step is None else {"step": axis.step}
                found[name] = trial.suggest_float(name, axis.low, _last(axis), log=axis.log, **step)
        else:
            found[name] = axis[trial.suggest_categorical(name, list(range(len(axis))))]
    return found


def _last(axis: Range) -> float:
    """The largest value of an axis: its high, or the last step below it."""
    return axis.values[-1] if axis.step is not None and axis.values else axis.high
