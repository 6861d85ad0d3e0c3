"""What the control plane's integration tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.integration.inferno_proxy.control import Control, control


@pytest_asyncio.fixture
async def plane(socket_dir: Path) -> AsyncIterator[Control]:
    """Services on Unix sockets; models may not be controlled."""
    async with control(socket_dir) as made:
        yield made
