"""A repository in an object store is read by Triton itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from inferno.registration.v1 import node_pb2
from tests.integration.inferno_backend.agent import agent, infer
from tests.integration.inferno_backend.mesh import mesh
from tests.integration.inferno_backend.object_store import s3

Repository = Callable[..., Path]


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for any client of S3: from the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.mark.usefixtures("credentials")
async def test_models_of_a_bucket_are_served_and_mended_like_those_of_a_folder(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository("whoami", "repeat")
    with s3(folder.parent) as bucket:
        arguments = ("--model-repository", f"{bucket}/models")
        async with mesh() as far, agent(tmp_path / "node", *arguments, "--discovery-lb", far.address) as node:
            facts = await node.ready()
            assert facts["models"] == ["repeat", "whoami"]
            assert await infer(facts["grpc"]) == str(facts["triton_pid"])
            (stub,) = [one for one in node.triton().children() if "whoami_0_0" in " ".join(one.cmdline())]
            stub.send_signal(signal.SIGKILL)

            def lost(one: node_pb2.Node) -> bool:
                return any("whoami_0_0 was killed" in v.reason for m in one.models for v in m.versions)

            await far.registry.until(lost, 5, "its process has died")
            ready = node_pb2.MODEL_STATE_READY
            await far.registry.until(
                lambda one: all(v.state == ready for m in one.models for v in m.versions), 30, "it is back"
            )
            assert isinstance(node.triton(), psutil.Process)


@pytest.mark.usefixtures("credentials")
async def test_a_store_that_does_not_answer_is_told_when_the_time_to_start_is_over(tmp_path: Path) -> None:
    arguments = ("--model-repository", "s3://http://127.0.0.1:1/bucket/models", "--start-timeout", "3")
    async with agent(tmp_path / "node", *arguments) as node:
        async with asyncio.timeout(60):
            assert await node.process.wait() == 124
        told = "Triton did not get ready within 3 s (--start-timeout): it has read no model from "
        assert f"{told}s3://http://127.0.0.1:1/bucket/models." in node.said()
