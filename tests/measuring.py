"""Which tests are measured for coverage. To measure is half of what a test costs, and most of them go the same lines.

Not measured are suites of whole products and property tests; of those that ask the same of every API, each fourth row.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any, Final

import coverage
import pytest

from tests.sampling import function_of

_NEVER: Final = (
    "compat",
    "test_bench.py",
    "test_docs.py",
    "test_example.py",
    "test_mutated_recordings.py",
    "test_odd_requests.py",
    "test_packaging.py",
    "test_real_callers.py",
)
"""Files, and folders of them."""
_SOMETIMES: Final = (
    "test_client_leaving.py",
    "test_every_caller.py",
    "test_faults_google.py",
    "test_faults_midstream.py",
    "test_faults_timeouts.py",
    "test_faults_upstream.py",
    "test_hook_answers.py",
    "test_hook_edits.py",
    "test_hook_events.py",
    "test_hooks.py",
    "test_openai_sdk_failures.py",
    "test_recordings.py",
    "test_sdks.py",
    "test_seed_parity.py",
)
_EACH: Final = 4
_PASSED_ON: Final = "COVERAGE_PROCESS_CONFIG"  # by which a program that a test starts is measured too


class Measuring:
    """A plugin of pytest: turns the measuring of pytest-cov on for some tests, and off for all that is around them."""

    def __init__(self, coverage: Any) -> None:
        self._coverage = coverage
        self._passed_on = os.environ.get(_PASSED_ON, "")
        self._measured: set[pytest.Item] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """What modules do when they are imported is measured once, and not where a test happens to need them."""
        import aigateway  # noqa: PLC0415 - from here on it is measured

        for module in pkgutil.walk_packages(aigateway.__path__, "aigateway."):
            if not module.name.endswith(("__main__", ".env", ".0001_tables")):
                importlib.import_module(module.name)
        self._pause()

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Choose."""
        seen: Counter[str] = Counter()
        for item in items:
            function = function_of(item)
            seen[function] += 1
            is_property = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
            if is_property or item.path.name in _NEVER or item.path.parent.name in _NEVER:
                continue
            if item.path.name not in _SOMETIMES or seen[function] % _EACH == 1:
                self._measured.add(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """One test, with its fixtures."""
        if item not in self._measured:
            return (yield)
        os.environ[_PASSED_ON] = self._passed_on
        self._coverage.start()
        try:
            return (yield)
        finally:
            self._pause()

    def pytest_sessionfinish(self) -> None:
        """As pytest-cov left it."""
        self._coverage.start()

    def _pause(self) -> None:
        self._coverage.stop()
        os.environ.pop(_PASSED_ON, None)


def measure(config: pytest.Config) -> None:
    """Measure like that, where something is measured at all in this process."""
    plugin = config.pluginmanager.getplugin("_cov")
    controller = getattr(plugin, "cov_controller", None)
    if controller is None:
        return
    while (one := coverage.Coverage.current()) is not None:  # a worker is a program that was started, and measured too
        one.stop()
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        controller.cov.start()
        config.pluginmanager.register(Measuring(controller.cov), "measuring")
