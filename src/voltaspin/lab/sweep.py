"""A measured switching sweep: pulses of every width and voltage, and how often the junction switched.

Each point is on the disk before the next one begins. The file is a table that ``device fit`` reads; its first lines are
remarks, of which one holds the plan, so that a sweep that was stopped goes on with the points that are missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar, Literal

from voltaspin.core.context import progress_of_wait
from voltaspin.core.errors import InputError, unknown
from voltaspin.core.files import is_stream, parse_json, sha256_of
from voltaspin.core.folders import claimed_file
from voltaspin.core.result import Result, Unit
from voltaspin.core.spec import shown
from voltaspin.core.stopping import Stopped
from voltaspin.core.units import format_quantity, require_count, require_positive, require_voltage
from voltaspin.lab.answers import numbers_of
from voltaspin.lab.profile import Profile, Pulses, State
from voltaspin.lab.session import InstrumentError, LostError, Session

Direction = Literal["P->AP", "AP->P"]
DIRECTIONS: tuple[Direction, ...] = ("P->AP", "AP->P")
_WELL = {"P": "up", "AP": "down"}  # the initial state, in the words of the reader
_TITLE = "# switching sweep of voltaspin device measure, version 1"
_PLAN = "# plan: "
_COLUMNS = ("voltage (V)", "width (s)", "initial", "switched", "trials", "P_sw")
_CONDITIONS = {"B_x": "T", "B_z": "T", "rise": "s", "fall": "s", "relax": "s"}
_RESETS = 10  # after which a junction that is still in the other state is stuck
_Point = tuple[float, float, Direction]


class MeasuredSweep(Result):
    """A sweep of pulses that was measured into a table.

    Args:
        file: its path; sha256: of it.
        instrument: the name that it gave itself, else its address.
        voltages, widths, directions, repeats: the plan: pulses of every combination.
        points: in the table; resumed: of them, those that were there before.
        asked_again: points that were begun again because an answer was lost.
    """

    KIND: ClassVar[str] = "sweep"

    file: str
    sha256: str
    instrument: str
    voltages: Annotated[tuple[float, ...], Unit("V")]
    widths: Annotated[tuple[float, ...], Unit("s")]
    directions: tuple[str, ...]
    repeats: int
    points: int
    resumed: int
    asked_again: int

    def __str__(self) -> str:
        before = f", {self.resumed} of them from before" if self.resumed else ""
        again = f"; {self.asked_again} lost answers were asked for again" if self.asked_again else ""
        return (
            f"{self.points} points in {self.file}{before}: {len(self.voltages)} voltages, {len(self.widths)} widths, "
            f"{' and '.join(self.directions)}, {self.repeats} pulses each{again}\ninstrument: {self.instrument}"
        )


def measure(
    profile: Profile,
    out: Path | str,
    *,
    widths: Sequence[float],
    voltages: Sequence[float],
    directions: Sequence[Direction] = ("P->AP",),
    repeats: int = 100,
    resume: bool = False,
    overwrite: bool = False,
    inputs: Sequence[Path] = (),
) -> MeasuredSweep:
    """Measure how often pulses switch a junction, and write each point into a table at once.

    At every point the instrument is programmed, and then ``repeats`` times the junction is reset, its state read where
    the profile asks for that, pulsed, and read. A point whose answer is lost is begun again.

    Args:
        profile: of the instrument, with a part ``sweep``.
        out: CSV file, which ``device fit`` reads: voltage, width, initial state (up is P), switched, trials, P_sw.
        widths: of the pulses [s]; voltages: [V]; directions: ``"P->AP"``, ``"AP->P"`` or both, one after the other at
            each pulse.
        repeats: pulses of each point and direction.
        resume: go on with the points that ``out`` lacks.
        overwrite: replace a file that exists.
        inputs: files that ``out`` must not replace, such as that of the profile.

    Returns:
        The plan, and what became of it.

    Raises:
        InputError: a plan without a pulse, or one that is none; a file that exists, or is of another plan or profile.
        InstrumentError: an instrument that cannot be opened, is silent or gone, or whose answer means no state; the
            points before stay in the file.
    """
    if is_stream(out):
        raise InputError(f"{out} cannot keep a sweep that is resumed; give the name of a file")
    out, pulses = Path(out), _checked(profile, widths, voltages, directions, repeats)
    plan = {
        "widths": list(widths), "voltages": list(voltages), "directions": list(directions), "repeats": repeats,
        "profile": _deciding(profile),
    }  # fmt: skip
    points: list[_Point] = list(product(voltages, widths, directions))
    if resume and overwrite:
        raise InputError("resume=True goes on with a sweep and overwrite=True begins it again; give one of them")
    with claimed_file(out, force=overwrite or resume, inputs=inputs, leave="overwrite"):
        resumed = done = _kept(out, plan, points, pulses) if resume and out.exists() else 0
        instrument, asked_again = profile.address, 0
        try:
            if done < len(points):
                with closing(Session(profile)) as session, closing(_Table(out, plan, pulses, new=not done)) as table:
                    instrument = session.identity or session.name
                    for i in range(done, len(points)):
                        table.put(points[i], _switched(session, pulses, points[i], repeats, (i, len(points))), repeats)
                        done = i + 1
                    asked_again = session.asked_again
        except (InputError, Stopped) as stopped:
            there = f"{done} of {len(points)} points are in {out}; go on with resume=True"
            kept = there if done else "no point is finished"
            if isinstance(stopped, Stopped):
                stopped.kept = kept
                raise
            raise InstrumentError(f"{stopped}; {kept}") from None
        return MeasuredSweep(
            file=str(out), sha256=sha256_of(out), instrument=instrument, voltages=tuple(voltages), widths=tuple(widths),
            directions=tuple(directions), repeats=repeats, points=len(points), resumed=resumed, asked_again=asked_again,
        )  # fmt: skip


def _checked(
    profile: Profile, widths: Sequence[float], voltages: Sequence[float], directions: Sequence[str], repeats: int
) -> Pulses:
    """Return the profile's part on pulses; raises InputError for a plan without a pulse, or that is none."""
    if profile.sweep is None:
        raise InputError(f"the profile of {profile.address} has no part [sweep], which says how to pulse and read")
    for name, values in (("widths", widths), ("voltages", voltages), ("directions", directions)):
        if not len(values) or len(set(values)) < len(values):
            raise InputError(f"{name} = {', '.join(map(str, values)) or 'none'}: give at least one, and each once")
    for direction in directions:
        if direction not in DIRECTIONS:
            raise unknown("direction", direction, DIRECTIONS)
        profile.sweep.reset(_ends(direction)[0])
    for width in widths:
        require_positive("width", width, "s", "give the width at half height, e.g. 0.3 * ns")
    for voltage in voltages:
        require_voltage("voltage", voltage)
    require_count("repeats", repeats, most=10**9)
    return profile.sweep


def _ends(direction: str) -> tuple[State, State]:
    return ("P", "AP") if direction == "P->AP" else ("AP", "P")


def _switched(session: Session, pulses: Pulses, point: _Point, repeats: int, place: tuple[int, int]) -> int:
    """Return after how many pulses of a point the other state was read; a lost answer begins the point again."""
    voltage, width, direction = point
    before, after = _ends(direction)
    told = progress_of_wait("pulses of the sweep")

    def count() -> int:
        for command in pulses.commands(voltage=voltage, width=width):
            session.write(command)
        session.check_errors(f"a pulse of {format_quantity(voltage, 'V')} and {format_quantity(width, 's')} was set")
        found = 0
        for n in range(repeats):
            _reset(session, pulses, before)
            session.write(pulses.trigger)
            found += _read(session, pulses) == after
            if told is not None:
                told(place[0] * repeats + n + 1, place[1] * repeats)
        return found

    return session.retried(count)


def _reset(session: Session, pulses: Pulses, state: State) -> None:
    """Bring the junction into a state; raises InstrumentError where it stays in the other one."""
    for _ in range(_RESETS):
        session.write(pulses.reset(state))
        if not pulses.check_reset or _read(session, pulses) == state:
            return
    raise InstrumentError(
        f"{session.name}: {_RESETS} resets by {pulses.reset(state)!r} did not bring the junction to {state}: it is "
        "stuck, or the command, threshold or above is wrong"
    )


def _read(session: Session, pulses: Pulses) -> State:
    """Return the state of the junction; raises InstrumentError for an answer that means none."""
    try:
        values = numbers_of(session.ask(pulses.read), pulses.read)
    except LostError:
        raise
    except InputError as error:
        session.check_errors(f"{pulses.read!r} ({error})")
        raise InstrumentError(f"{session.name}: {error}") from None
    state = pulses.state_of(float(values[0])) if values.size == 1 else None
    if state is None:
        shown = f"{values.size} numbers" if values.size > 1 else f"{values[0]:g}"
        wanted = (
            "one number" if pulses.threshold is not None else "0 for P or 1 for AP; a measured value needs a threshold"
        )
        raise InstrumentError(f"{session.name} answers {pulses.read!r} with {shown} where the state is {wanted}")
    return state


# --- the table -----------------------------------------------------------------------------------------


class _Table:
    """The file of a sweep, one row after the other; it begins with the first one."""

    def __init__(self, path: Path, plan: Mapping[str, Any], pulses: Pulses, *, new: bool) -> None:
        self._path, self._head = path, _head(plan, pulses) if new else ""
        self._conditions = _conditions(pulses)
        self._file: IO[bytes] | None = None

    def put(self, point: _Point, count: int, repeats: int) -> None:
        """Write a row, which is on the disk when this returns."""
        text = _row(point, count, repeats, self._conditions)
        if self._file is None:
            self._file = self._path.open("wb" if self._head else "ab")
            text = self._head + text
        self._file.write(text.encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _conditions(pulses: Pulses) -> dict[str, float]:
    return {name: x for name in _CONDITIONS if (x := getattr(pulses, name)) is not None}


def _head(plan: Mapping[str, Any], pulses: Pulses) -> str:
    """Return the lines above the first row."""
    names = (*_COLUMNS, *(f"{name} ({_CONDITIONS[name]})" for name in _conditions(pulses)))
    return f"{_TITLE}\n{_PLAN}{json.dumps(plan)}\n{','.join(names)}\n"


def _row(point: _Point, count: int, repeats: int, conditions: Mapping[str, float]) -> str:
    voltage, width, direction = point
    cells = (voltage, width, _WELL[_ends(direction)[0]], count, repeats, count / repeats, *conditions.values())
    return ",".join(map(str, cells)) + "\n"


def _deciding(profile: Profile) -> dict[str, Any]:
    """Return what of a profile decides the measurement, as JSON data."""
    found = json.loads(json.dumps(profile.to_json()))
    return {name: value for name, value in found.items() if name not in ("bits", "timeout", "retries", "backend")}


def _kept(path: Path, plan: Mapping[str, Any], points: Sequence[_Point], pulses: Pulses) -> int:
    """Return how many points of a plan a file holds; a row that was cut is removed.

    Raises:
        InputError: a file of another plan or profile, of another program, or with rows that are not of the plan.
    """
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    lines = data[:end].decode("utf-8", "replace").splitlines()
    if len(lines) < 3 or not lines[1].startswith(_PLAN):
        raise InputError(f"{path} is no sweep that can go on; choose another file, or replace it with overwrite=True")
    there = parse_json(lines[1].removeprefix(_PLAN), where=f"{path}, line 2")
    if there != plan:
        raise InputError(
            f"{path} is of another plan ({_difference(there, plan)}); give the same, or choose another file"
        )
    if not data.startswith(_head(plan, pulses).encode()):
        raise InputError(f"{path}: the first three lines are not as they were written; restore the file")
    conditions, repeats = _conditions(pulses), plan["repeats"]
    for i, line in enumerate(lines[3:]):
        count = line.split(",")[3:4]
        valid = i < len(points) and count and count[0].isdecimal() and int(count[0]) <= repeats
        if not valid or line + "\n" != _row(points[i], int(count[0]), repeats, conditions):
            raise InputError(f"{path}, line {i + 4}: {shown(line)} is no point {i + 1} of this plan; restore the file")
    if end < len(data):
        with path.open("r+b") as file:
            file.truncate(end)
    return len(lines) - 3


def _difference(there: Any, plan: Mapping[str, Any]) -> str:
    """Return the first difference between two plans in words."""
    if not isinstance(there, Mapping):
        return "its line is no plan"
    for name in {**there, **plan}:
        a, b = there.get(name), plan.get(name)
        if a != b:
            if isinstance(a, Mapping) and isinstance(b, Mapping):
                return f"{name}: {_difference(a, b)}"
            return f"{name} {shown(a)}, not {shown(b)}"
    return "no difference"
