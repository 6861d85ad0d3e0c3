"""A node in a cloud: a real agent and Triton beside a stand-in for the metadata service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from benchmarks.metadata_service import metadata_service
from inferno.registration.v1 import node_pb2
from tests.integration.inferno_backend.agent import agent, infer
from tests.integration.inferno_backend.mesh import mesh
from tests.waiting import eventually

Repository = Callable[..., Path]
DRAINING = node_pb2.NODE_CONDITION_DRAINING


async def test_a_node_says_what_its_cloud_says_of_it_and_uses_the_time_its_machine_has_left(
    tmp_path: Path, repository: Repository
) -> None:
    async with mesh() as far, metadata_service() as service:
        flags = ("--model-repository", str(repository("whoami")), "--discovery-lb", far.address)
        asked = ("--metadata", "aws", "--metadata-address", service.address, "--drain-timeout", "1")
        said = ("--zone", "rack-7", "--no-spot")
        async with agent(tmp_path / "node", *flags, *asked, *said) as running:
            address = str((await running.ready())["grpc"])
            node = await far.registry.until(lambda one: one.models, 5, "it registers")
            assert (node.region, node.zone, node.spot) == ("us-west-2", "rack-7", False)
            assert (node.hardware.provider, node.hardware.instance_type) == ("aws", "g6.xlarge")
            assert node.instance_id == "i-1234567890abcdef0"
            long = asyncio.create_task(infer(address, hold_ms=4000))
            service.interrupt(18)
            node = await far.registry.until(lambda one: one.condition == DRAINING, 10, "it drains")
            assert node.condition_reason.startswith("The provider takes this machine back at ")
            assert node.condition_reason.endswith(" UTC (terminate).")
            await eventually(lambda: far.store.notices, 10, "the governator is told")
            assert far.store.notices[0].instance_id == "i-1234567890abcdef0"
            # Clouds shut the machine down as they give notice: the second that a stop has is not all the time there is.
            # The call ends some three seconds before the stop goes on.
            assert not long.done()
            ending = asyncio.create_task(running.end(within=25))
            assert await long == str(running.triton().pid), "the answer came from the Triton that is to end"
            assert not far.registry.goodbyes, "it says goodbye when the time is used"
            assert await ending == 0
            assert far.registry.goodbyes
