from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest tests/golden/inferno_proxy --update`` writes what the code gives now: read the diff."""
    parser.addoption("--update", action="store_true", help="rewrite the golden files")
