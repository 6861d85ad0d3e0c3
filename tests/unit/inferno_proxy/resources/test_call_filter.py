from __future__ import annotations

from pathlib import Path

import pytest

from inferno_proxy.resources import access_filter, call_filter
from tools.build_filters import MODULES, digest, module_of


@pytest.mark.parametrize("source", MODULES, ids=lambda source: source.name)
def test_the_committed_module_was_built_from_the_committed_source(source: Path) -> None:
    built = module_of(source).read_bytes()
    assert built.endswith(b"source-sha256" + digest(source)), "run: python tools/build_filters.py"


def test_the_modules_fit_into_a_listener_without_notice() -> None:
    modules = (access_filter.budgets_module(), access_filter.callers_module(), access_filter.names_module())
    for module in (call_filter.module(), *modules):
        assert len(module) < 16 * 1024
