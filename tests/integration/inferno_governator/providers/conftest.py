"""Far sides of providers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.inferno_governator.providers.local_world import LocalWorld
from tests.integration.inferno_governator.providers.world import World

WORLDS = ("local",)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalWorld]:
    world = LocalWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    """Each provider in turn."""
    found: World = request.getfixturevalue(request.param)
    return found
