"""The SP 800-22 battery against public implementations, in one run.

    python benchmarks/sp800_22.py

Installs nistrng (Python) and sp80022suite (the C code of NIST as an extension) into a temporary folder, without their
dependencies and without touching this environment, and skips what cannot be had. Each is timed on the tests that it
can run, on 10^6 bits and one thread; ours runs all fifteen.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from voltaspin.noise import PseudoSource, sp800_22

N = 10**6
AIM = 10  #: times as fast as the fastest public one


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def of_nistrng(bits: np.ndarray[Any, Any]) -> dict[str, Callable[[], object]]:
    nistrng = importlib.import_module("nistrng")
    # it writes into its input, so each test gets its own copy
    return {
        name: lambda test=test: test.run(bits.astype(np.int8).copy())
        for name, test in nistrng.SP800_22R1A_BATTERY.items()
    }


def of_sp80022suite(bits: np.ndarray[Any, Any]) -> dict[str, Callable[[], object]]:
    suite = importlib.import_module("sp80022suite")
    # one byte holds one bit; given packed bytes it reads beyond them
    data = bytes(bits.astype(np.uint8))
    sizes = {
        "block_frequency": (128,), "non_overlapping_template_matchings": (9,), "overlapping_template_matchings": (9,),
        "approximate_entropy": (10,), "linear_complexity": (500,), "serial": (16,),
    }  # fmt: skip
    names = [name for name in dir(suite) if not name.startswith("_")]
    return {name: partial(getattr(suite, name), *sizes.get(name, ()), data) for name in names}


def main() -> None:
    bits = np.unpackbits(PseudoSource(seed=1).bits(N))
    sp800_22.run(bits)
    ours = min(seconds(lambda: sp800_22.run(bits)) for _ in range(5))
    print(f"voltaspin, fifteen tests, 148 templates: {ours:.3f} s per 10^6 bits (at most 0.5)")
    best = None
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("sp80022suite", of_sp80022suite), ("nistrng", of_nistrng)):
            target = Path(folder) / name
            install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), name]
            if subprocess.run(install, capture_output=True, check=False).returncode:
                print(f"{name}: cannot be installed here; skipped")
                continue
            sys.path.insert(0, str(target))
            theirs, failed = 0.0, []
            for test, work in make(bits).items():
                try:
                    theirs += seconds(work)
                except Exception as error:  # whatever a foreign package does with good bits
                    failed.append(f"{test} ({type(error).__name__})")
            best = theirs if best is None else min(best, theirs)
            without = f", without {', '.join(failed)}, which it cannot run" if failed else ""
            print(f"{name}: {theirs:.2f} s{without}; {theirs / ours:.0f} times as long")
    if best is not None:
        verdict = "met" if best / ours >= AIM else "MISSED"
        print(f"ratio to the fastest: {best / ours:.1f} (at least {AIM}: {verdict})")


if __name__ == "__main__":
    main()
