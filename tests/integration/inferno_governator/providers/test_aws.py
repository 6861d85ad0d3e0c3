"""EC2: what is asked for, what is kept when stopped, and what its errors ask of us."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.aws import Aws
from inferno_runtime.errors import Denied, Exhausted, InfernoError, InvalidInput, Unauthenticated, Unavailable
from tests.integration.inferno_governator.aws import without_credentials
from tests.integration.inferno_governator.providers.aws_world import REGION, AwsWorld
from tests.integration.inferno_governator.providers.world import living, running


def with_options(world: AwsWorld, **more: str) -> Pool:
    return replace(world.pool, options={**world.pool.options, **more})


async def test_an_instance_bears_its_tags_and_starts_a_node_with_a_token_of_its_own(aws: AwsWorld) -> None:
    pool = replace(with_options(aws, join_token_command="echo token-of-{node}"), spot=True, zone="us-east-1a")
    await aws.provider(pool).start("small-1", pool)
    (found,) = aws.instances()
    assert {each["Key"]: each["Value"] for each in found["Tags"]} == {
        "inferno-governator": "inferno-governator",
        "inferno-node": "small-1",
        "inferno-pool": "small",
        "Name": "small-1",
    }
    assert (found["InstanceType"], found["Placement"]["AvailabilityZone"]) == ("g6.xlarge", "us-east-1a")
    assert found["InstanceLifecycle"] == "spot"
    with closing(Session().client("ec2", region_name=REGION)) as client:
        asked: Any = client.describe_instance_attribute(InstanceId=found["InstanceId"], Attribute="userData")
    import base64

    text = base64.b64decode(asked["UserData"]["Value"]).decode()
    assert text.startswith("#cloud-config\n")
    files = {each["path"]: each["content"] for each in json.loads(text.partition("\n")[2])["write_files"]}
    assert files["/var/lib/inferno/join-token"] == "token-of-small-1"
    assert "--discovery-lb 10.0.0.1:8080" in files["/var/lib/cloud/scripts/per-boot/inferno"]


async def test_of_two_that_started_one_name_at_once_the_oldest_stays(aws: AwsWorld) -> None:
    first, second = aws.provider(), aws.provider()
    await asyncio.gather(first.start("small-1", aws.pool), second.start("small-1", aws.pool))
    await first.start("small-1", aws.pool)
    assert await aws.count() == 1
    assert len(await living(first)) == 1


async def test_a_pool_may_keep_what_it_stops_and_starts_from_it(aws: AwsWorld) -> None:
    pool = with_options(aws, when_stopped="stop")
    provider = aws.provider(pool)
    await provider.start("small-1", pool)
    machine = (await running(provider, "small-1"))["small-1"].machine
    await provider.stop("small-1")
    assert await aws.count() == 0
    await provider.stop("small-1")
    await provider.start("small-2", pool)
    assert (await running(provider, "small-2"))["small-2"].machine == machine
    await provider.start("small-3", pool)
    await running(provider, "small-2", "small-3")
    assert len(aws.instances()) == 2
    for name, why in (("spot", "cannot be stopped and kept"), ("token", "cannot join the mesh anew")):
        wrong = (
            replace(pool, spot=True)
            if name == "spot"
            else with_options(aws, when_stopped="stop", join_token_command="true")
        )
        with pytest.raises(InvalidInput, match=why):
            await provider.start("small-4", wrong)


@pytest.mark.parametrize(
    ("code", "status", "reaction", "reason"),
    [
        ("InsufficientInstanceCapacity", 500, Exhausted, "NO_CAPACITY"),
        ("VcpuLimitExceeded", 400, Exhausted, "NO_CAPACITY"),
        ("RequestLimitExceeded", 503, Exhausted, "THROTTLED"),
        ("UnauthorizedOperation", 403, Denied, "NOT_ALLOWED"),
        ("AuthFailure", 401, Unauthenticated, "BAD_CREDENTIALS"),
        ("InternalError", 500, Unavailable, "PROVIDER_UNAVAILABLE"),
        ("InvalidInstanceType", 400, InvalidInput, "BAD_POOL"),
    ],
)
async def test_what_ec2_refuses_names_the_reaction_and_starts_nothing(
    aws: AwsWorld, code: str, status: int, reaction: type[InfernoError], reason: str
) -> None:
    provider = aws.provider()
    aws.answer("RunInstances", code, status)
    with pytest.raises(reaction) as caught:
        await provider.start("small-1", aws.pool)
    assert caught.value.reason == reason
    assert caught.value.fix
    with pytest.raises(reaction):
        await provider.check()
    assert aws.instances() == []


async def test_a_repeat_that_ec2_notices_before_its_list_shows_it_is_no_error(aws: AwsWorld) -> None:
    aws.answer("RunInstances", "IdempotentParameterMismatch")
    await aws.provider().start("small-1", aws.pool)


async def test_settings_that_cannot_be_are_refused_before_ec2_is_asked(
    aws: AwsWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    provider = aws.provider()
    for pool, why in (
        (replace(aws.pool, instance_type=""), "names no instance type"),
        (replace(aws.pool, region=""), "names no region"),
        (replace(aws.pool, options={}), "needs the option 'image_id'"),
        (with_options(aws, user_data_file="/no/such/file"), "cannot be read"),
        (with_options(aws, join_token_command="/no/such/program"), "cannot be started"),
    ):
        with pytest.raises(InvalidInput, match=why):
            await provider.start("small-1", pool)
    for command, why in (("false", "ended with status 1: it printed no token"), ("sh -c 'echo no >&2; exit 2'", "no")):
        with pytest.raises(Unavailable, match=why):
            await provider.start("small-1", with_options(aws, join_token_command=command))
    (tmp_path / "boot").write_text("#!/bin/sh\n", "utf-8")
    await provider.start("small-1", with_options(aws, user_data_file=str(tmp_path / "boot")))
    without_credentials(monkeypatch, tmp_path)
    with pytest.raises(Unauthenticated, match="no credentials of AWS"):
        await Aws([aws.pool]).nodes()
