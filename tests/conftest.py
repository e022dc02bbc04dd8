"""In CI every property is tried on the same inputs each time, so that a run can be repeated; elsewhere on new ones."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
