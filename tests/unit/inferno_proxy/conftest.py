"""What the control plane's unit tests share."""

from __future__ import annotations

import pytest

from tests.unit.inferno_proxy.registries import World


@pytest.fixture
def world() -> World:
    """An empty registry."""
    return World()
