"""Far sides of providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import kmock as stand_in
import pytest
import pytest_asyncio

from tests.integration.inferno_governator.aws import forget_all, point_at
from tests.integration.inferno_governator.providers.aws_world import AwsWorld
from tests.integration.inferno_governator.providers.kubernetes_world import Cluster, KubernetesWorld
from tests.integration.inferno_governator.providers.local_world import LocalWorld
from tests.integration.inferno_governator.providers.skypilot_world import SkyPilotWorld
from tests.integration.inferno_governator.providers.webhook_world import WebhookWorld
from tests.integration.inferno_governator.providers.world import World

WORLDS = ("local", "aws", "webhook", "kubernetes", "skypilot")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalWorld]:
    world = LocalWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AwsWorld:
    forget_all(moto)
    point_at(monkeypatch, moto, tmp_path)
    return AwsWorld()


@pytest_asyncio.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[WebhookWorld]:
    world = WebhookWorld(tmp_path)
    await world.open()
    yield world
    await world.close()


@pytest_asyncio.fixture
async def kubernetes(tmp_path: Path) -> AsyncIterator[KubernetesWorld]:
    async with Cluster() as cluster, stand_in.Server(cluster):
        yield KubernetesWorld(cluster, tmp_path)


@pytest.fixture
def skypilot() -> SkyPilotWorld:
    return SkyPilotWorld()


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    """Each provider in turn."""
    found: World = request.getfixturevalue(request.param)
    return found
