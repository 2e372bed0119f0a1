from __future__ import annotations

import os

from hypothesis import settings

# Under CI the same examples on every run, so that a red run can be repeated. At home new ones each
# time. No deadline in either: how long an example takes says more about the machine than about us.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("local", deadline=None)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "local")
)
