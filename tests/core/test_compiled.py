"""numba's cache of compiled functions, damaged in every way, ends in a compilation and never in an error."""

import importlib.util
import re
from pathlib import Path

import pytest

import voltaspin
from voltaspin.core import compiled

SOURCE = """
from voltaspin.core.compiled import numba

@numba.njit(cache=True)
def triple(x):
    return 3 * x
"""


def fresh(path):
    """The function as a new process would have it."""
    spec = importlib.util.spec_from_file_location("kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.triple


def test_every_damage_of_a_cached_function_is_compiled_away(tmp_path):
    path = tmp_path / "kernel.py"
    path.write_text(SOURCE)
    first = fresh(path)
    assert first(2) == 6
    home = Path(first._cache.cache_path)
    files = sorted(p for p in home.glob("kernel.*") if p.suffix in (".nbi", ".nbc"))
    assert len(files) == 2
    again = fresh(path)
    assert again(2) == 6
    assert sum(again.stats.cache_hits.values()) == 1  # an undamaged cache is used
    for file in files:
        whole = file.read_bytes()
        damages = [whole[: len(whole) // 2], whole[:1], b"", b"\0" * len(whole)]
        damages += [
            whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :]
            for at in range(0, len(whole) - 1, max(1, len(whole) // 12))
        ]
        for data in damages:
            file.write_bytes(data)
            assert fresh(path)(2) == 6
    last = fresh(path)
    assert last(2) == 6
    assert sum(last.stats.cache_hits.values()) == 1  # and was written again


def test_every_kernel_takes_numba_with_its_guarded_cache():
    compiled.guard()
    for file in Path(voltaspin.__file__).parent.rglob("*.py"):
        if file.name != "compiled.py":
            assert not re.search(r"^\s*import numba\b", file.read_text(encoding="utf-8"), re.MULTILINE), file


@pytest.mark.parametrize("name", ["_load_index", "_load_data", "_dump"])
def test_numba_still_has_what_is_guarded(name):
    from numba.core import caching

    assert callable(getattr(caching.IndexDataCacheFile, name))
    assert caching.IndexDataCacheFile.guarded_by_voltaspin
