"""How much memory this process may still take and how long work may last, asked before any is begun."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voltaspin.core.errors import InputError

_PROC = Path("/proc")
_GROUP = Path("/sys/fs/cgroup")
#: What allocators of NumPy, PyTorch and numba say where there is no memory.
_NO_MEMORY = re.compile(r"not enough memory|can't allocate|cannot allocate|out of memory|bad allocation", re.IGNORECASE)


def available_memory() -> int | None:
    """Bytes that can be allocated: the machine's, the container's and the process's limits; None where unknown."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        line = next(x for x in (_PROC / "meminfo").read_text().splitlines() if x.startswith("MemAvailable:"))
        found.append(1024 * int(line.split()[1]))
    with contextlib.suppress(OSError, ValueError):
        limit, used = ((_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        found.append(max(0, int(limit) - int(used)))
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit_of_process, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit_of_process != resource.RLIM_INFINITY:
            pages = int((_PROC / "self" / "statm").read_text().split()[0])
            found.append(max(0, limit_of_process - pages * resource.getpagesize()))
    return min(found) if found else None


def check_memory(needed: float, *, what: str, remedy: str) -> None:
    """Refuse what surely does not fit.

    Args:
        needed: bytes, estimated from below.
        what: needs them, and ``remedy``: what to do, both for the message.

    Raises:
        InputError: more is needed than :func:`available_memory` says.
    """
    left = available_memory()
    if left is not None and needed > left:
        raise InputError(
            f"{what} takes at least {needed / 1e9:.1f} GB of memory, and {left / 1e9:.1f} GB are available; {remedy}"
        )


def check_time(seconds: float, *, most: float, what: str, remedy: str) -> None:
    """Refuse work that would take too long.

    Args:
        seconds: of one core, estimated from above.
        most: that is begun [s].
        what: takes them, and ``remedy``: what to do, both for the message.

    Raises:
        InputError: ``seconds`` is above ``most``, or no number.
    """
    if not seconds <= most:
        raise InputError(
            f"{what} take about {seconds / 3600:,.3g} hours of one core, more than {most / 3600:g} hours; {remedy}"
        )


@contextmanager
def memory_errors(*, what: str, remedy: str) -> Iterator[None]:
    """Turn an allocation that failed in the block into an InputError with a remedy; other errors pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        raise InputError(f"{what} does not fit into memory; {remedy}") from None
