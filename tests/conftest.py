"""In CI every property is tried on the same inputs each time, so that a run can be repeated; elsewhere on new ones.

``pytest -m installed`` reads only the files with tests of that mark, so that it runs where no extra is installed.
"""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_ignore_collect(collection_path, config):
    if config.option.markexpr == "installed" and collection_path.suffix == ".py":
        return "pytest.mark.installed" not in collection_path.read_text(encoding="utf-8") or None
    return None
