"""Runs the tests from the smallest to the largest, and says where each level begins."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
LEVELS = {
    "doctests": "examples in the documentation of the code",
    "unit": "one module, no input or output, and the rules of the code base",
    "integration": "one component with real sockets, files and databases",
    "end to end": "whole processes with the real Envoy and Triton",
}
_FOLDERS = {
    "architecture": "unit",
    "golden": "unit",
    "unit": "unit",
    "contract": "integration",
    "integration": "integration",
    "chaos": "end to end",
    "e2e": "end to end",
}


def level_of(item: pytest.Item) -> str:
    """The level a test belongs to, by its folder."""
    if isinstance(item, pytest.DoctestItem):
        return "doctests"
    return _FOLDERS[item.path.relative_to(ROOT).parts[0]]


class LevelReport:
    """Sorts the tests by level, marks end-to-end tests, and prints a heading for each level."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._levels: dict[str, str] = {}
        self._sizes: Counter[str] = Counter()
        self._current = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        order = list(LEVELS)
        items.sort(key=lambda item: order.index(level_of(item)))
        for item in items:
            level = level_of(item)
            self._levels[item.nodeid] = level
            self._sizes[level] += 1
            if level == "end to end":
                item.add_marker("e2e")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        level = self._levels[nodeid]
        if level == self._current:
            return
        self._current = level
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            number = list(LEVELS).index(level) + 1
            title = f"level {number} of {len(LEVELS)}: {level} ({self._sizes[level]}), {LEVELS[level]}"
            reporter.section(title, sep="-")
