"""What every test runs under."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No test depends on the clock: a slow machine is not a bug.
settings.register_profile("gate", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("gate")
