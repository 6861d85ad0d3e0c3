"""Whole clouds for end-to-end tests: every process real, started by ``inferno up``."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest

from benchmarks.cloud import Cloud, cloud
from benchmarks.faults.fault import HEALING, NO_HEALING

MODELS = Path(__file__).parent.parent / "models"
Repository = Callable[..., Path]


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Lays out a model repository with the named test models."""

    def lay_out(*models: str) -> Path:
        directory = tmp_path_factory.mktemp("repository")
        for model in models:
            shutil.copytree(MODELS / model, directory / model)
        return directory

    return lay_out


@contextmanager
def _held(manager: AbstractAsyncContextManager[Cloud]) -> Iterator[Cloud]:
    """Hold a cloud open from a loop of its own, so that synchronous and asynchronous tests may share it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cloud")
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result()
        asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def protocol_cloud(tmp_path_factory: pytest.TempPathFactory, repository: Repository) -> Iterator[Cloud]:
    """Two nodes with every kind of test model."""
    models = repository("whoami", "identity", "repeat", "accumulate")
    with _held(cloud(tmp_path_factory.mktemp("protocol"), model_repository=models)) as running:
        yield running


@pytest.fixture(scope="module")
def healing_cloud(tmp_path_factory: pytest.TempPathFactory, repository: Repository) -> Iterator[Cloud]:
    """Three nodes, healing on."""
    manager = cloud(tmp_path_factory.mktemp("healing"), nodes=3, model_repository=repository("whoami"), config=HEALING)
    with _held(manager) as running:
        yield running


@pytest.fixture(scope="module")
def unhealing_cloud(tmp_path_factory: pytest.TempPathFactory, repository: Repository) -> Iterator[Cloud]:
    """Three nodes behind a proxy without healing; the nodes themselves do come back."""
    manager = cloud(
        tmp_path_factory.mktemp("unhealing"), nodes=3, model_repository=repository("whoami"), config=NO_HEALING
    )
    with _held(manager) as running:
        yield running
