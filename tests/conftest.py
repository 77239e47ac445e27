"""What every test runs under."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["AIGATEWAY_DEBUG"] = "1"  # before aigateway is imported: every translated stream is held to the laws

# No test depends on the clock: a slow machine is not a bug. CI looks at the same examples every time, so that it says
# the same of the same tree; a developer's run looks at new ones.
settings.register_profile(
    "gate",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("gate")
