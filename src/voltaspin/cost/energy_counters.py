"""Energy that this machine's own counters give: processors through RAPL or amd_energy, NVIDIA cards through nvidia-smi.

A processor's package serves everything that runs, so a piece of work is measured in pairs: an idle period, then the
work, and the idle power is taken off. The interval is Student's over the pairs. Memory modules are not in a package.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced

POWERCAP = Path("/sys/class/powercap")
HWMON = Path("/sys/class/hwmon")
_SETTLE = 1.0  #: s that nvidia-smi averages over on recent cards (NVML, nvmlDeviceGetPowerUsage)
_LOOP_MS = 100


class Meter(Protocol):
    """Something that says how many joules passed while a piece of work ran."""

    @property
    def name(self) -> str: ...

    def during(self, work: Callable[[], int]) -> tuple[float, float, int]:
        """Joules, seconds, and what the work returned."""
        ...


@dataclass(frozen=True)
class CounterMeter:
    """Energy counters in files, in microjoules.

    Args:
        name: of the method.
        files: counters that are added up.
        ranges: where each begins again at 0 [uJ]; None for one that never does.
        clock: seconds.
    """

    name: str
    files: tuple[Path, ...]
    ranges: tuple[int | None, ...]
    clock: Callable[[], float] = time.perf_counter

    def during(self, work: Callable[[], int]) -> tuple[float, float, int]:
        before, begin = self._read(), self.clock()
        done = work()
        seconds, after = self.clock() - begin, self._read()
        used = 0
        for a, b, span in zip(before, after, self.ranges, strict=True):
            if b < a and span is None:
                raise InputError(f"an energy counter of {self.name} ran backwards; use measure='never'")
            used += b - a if b >= a else b + (span or 0) - a
        return used * 1e-6, seconds, done

    def _read(self) -> list[int]:
        return [int(f.read_text()) for f in self.files]


def cpu_meter(powercap: Path = POWERCAP, hwmon: Path = HWMON) -> CounterMeter:
    """The energy counters of all processor packages.

    Args:
        powercap: where Linux shows RAPL (``intel-rapl:N``, AMD's too since 5.8); zones named ``package-*`` count,
            their sub-zones and ``psys``, which hold the same joules again, do not.
        hwmon: where the older ``amd_energy`` driver shows sockets.

    Raises:
        InputError: neither is there or may be read; says which and why.
    """
    zones = sorted(z for z in powercap.glob("intel-rapl:*") if z.name.count(":") == 1)
    packages = [z for z in zones if _text(z / "name").startswith("package-")]
    files = tuple(z / "energy_uj" for z in packages)
    ranges: tuple[int | None, ...] = tuple(int(_text(z / "max_energy_range_uj") or 0) or None for z in packages)
    method = "RAPL"
    if not files:
        chips = [h for h in sorted(hwmon.glob("hwmon*")) if _text(h / "name") == "amd_energy"]
        labels = [label for h in chips for label in sorted(h.glob("energy*_label"))]
        sockets = [label for label in labels if _text(label).startswith("Esocket")]
        files = tuple(s.with_name(s.name.replace("_label", "_input")) for s in sockets)
        ranges, method = (None,) * len(files), "amd_energy"
    if not files:
        raise InputError(
            f"no energy counters of the processor: {powercap} has no zone named package-*, {hwmon} no amd_energy "
            "(virtual machines hide both); measure on the machine itself, or let the table's power stand with "
            "measure='auto'"
        )
    for file in files:
        try:
            int(file.read_text())
        except OSError as error:
            raise InputError(
                f"energy counter {file} cannot be read ({error.strerror}); Linux shows it to root only: run as root"
            ) from None
        except ValueError:
            raise InputError(f"energy counter {file} holds no number; use measure='never'") from None
    return CounterMeter(f"{method}, {len(files)} package{'s' if len(files) > 1 else ''}", files, ranges)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class NvidiaMeter:
    """Power of the first NVIDIA card, asked of nvidia-smi ten times a second; its own average settles for a second."""

    name: str
    program: str
    settle: float = _SETTLE

    def during(self, work: Callable[[], int]) -> tuple[float, float, int]:
        command = [self.program, "--query-gpu=power.draw", "--format=csv,noheader,nounits", "--id=0",
                   f"--loop-ms={_LOOP_MS}"]  # fmt: skip
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as asked:
            try:
                done = work()
            finally:
                seconds = time.perf_counter() - begin
                asked.terminate()
                said = asked.stdout.read() if asked.stdout else ""
        watts = [float(w) for w in said.split("\n") if _is_number(w)]
        kept = watts[math.ceil(self.settle * 1000 / _LOOP_MS) :]
        if not kept:
            raise InputError(f"nvidia-smi gave {len(watts)} powers in {seconds:.1f} s, too few; measure for longer")
        return float(np.mean(kept)) * seconds, seconds, done


def gpu_meter() -> NvidiaMeter:
    """The first NVIDIA card, where nvidia-smi reports its power; raises InputError where it does not."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise InputError("no NVIDIA card: nvidia-smi is not there; let the table's numbers stand with measure='auto'")
    query = [program, "--query-gpu=name,power.draw", "--format=csv,noheader,nounits", "--id=0"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"nvidia-smi does not answer ({error}); use measure='never'") from None
    card, _, power = said.strip().rpartition(",")
    if not _is_number(power):
        raise InputError(f"nvidia-smi reports no power ({said.strip() or 'nothing'!r}); use measure='never'")
    return NvidiaMeter(card.strip(), program)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def interval(values: Sequence[float], unit: str, source: str) -> Sourced:
    """Mean of repeats with Student's 90 % interval; at least two."""
    from scipy.stats import t

    x = np.asarray(values, dtype=np.float64)
    half = float(t.ppf(0.95, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    mean = float(x.mean())
    return Sourced(mean, unit, source, "measured", mean - half, mean + half)


def energy_per_item(
    meter: Meter,
    work: Callable[[], int],
    *,
    unit: str,
    idle: Callable[[float], None] = time.sleep,
    seconds: float = 1.0,
    repeats: int = 5,
) -> Sourced:
    """Energy [pJ] above idle of one of the items that ``work`` makes and counts.

    Args:
        meter: joules.
        work: makes items for about ``seconds`` and returns how many.
        unit: of the result, such as ``pJ/sample``.
        idle: what an idle period is.
        seconds: of an idle period; repeats: pairs of idle and work.

    Raises:
        InputError: the work is not told from idle: its interval reaches zero.
    """

    def waiting() -> int:
        idle(seconds)
        return 0

    found = []
    for _ in range(repeats):
        idle_joules, idle_seconds, _ = meter.during(waiting)
        joules, busy, items = meter.during(work)
        found.append(1e12 * (joules - idle_joules / idle_seconds * busy) / items)
    measured = interval(found, unit, f"{meter.name}: {repeats} pairs of {seconds:g} s idle and work, idle taken off")
    if measured.low is None or measured.low <= 0:
        raise InputError(
            f"{meter.name}: {measured.value:.3g} {unit} above idle with a 90 % interval from {measured.low:.3g} is "
            "not told from zero; stop what else runs on this machine and measure again"
        )
    return measured
