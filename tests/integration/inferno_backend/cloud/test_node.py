"""A node in a cloud: a real agent and Triton beside a stand-in for the metadata service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.metadata_service import metadata_service
from inferno.registration.v1 import node_pb2
from tests.integration.inferno_backend.agent import agent
from tests.integration.inferno_backend.mesh import mesh

pytestmark = pytest.mark.timeout(120)
Repository = Callable[..., Path]


async def test_a_node_says_what_its_cloud_says_of_it_unless_it_was_told_otherwise(
    tmp_path: Path, repository: Repository
) -> None:
    async with mesh() as far, metadata_service() as service:
        flags = ("--model-repository", str(repository("whoami")), "--discovery-lb", far.address)
        asked = ("--metadata", "aws", "--metadata-address", service.address, "--zone", "rack-7", "--no-spot")
        async with agent(tmp_path / "node", *flags, *asked) as running:
            await running.ready()
            node = await far.registry.until(lambda one: one.models, 5, "it registers")
            assert (node.region, node.zone, node.spot) == ("us-west-2", "rack-7", False)
            assert (node.hardware.provider, node.hardware.instance_type) == ("aws", "g6.xlarge")
            assert node.instance_id == "i-1234567890abcdef0"
            assert node.condition == node_pb2.NODE_CONDITION_SERVING
