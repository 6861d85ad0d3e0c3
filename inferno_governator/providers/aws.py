"""Nodes as instances of Amazon EC2, through boto3. Every call runs in a thread.

EC2's ClientToken is given and not relied on: before anything is started, what bears the node's name is listed, and
afterwards it is listed again and all but the oldest are ended. Instances are found by their tags alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic

from inferno_governator.pools.pool import Pool
from inferno_governator.providers import aws_errors
from inferno_governator.providers.cloud_init import Boot, user_data
from inferno_governator.providers.join_token import join_token
from inferno_governator.providers.options import Options, read
from inferno_governator.providers.provider import TAG, TAG_NODE, TAG_POOL, Machine, MachineState
from inferno_runtime.background import in_background
from inferno_runtime.errors import InvalidInput, Unsupported

_SECONDS = 30
_STATES: Mapping[str, MachineState] = {
    "pending": MachineState.PENDING,
    "running": MachineState.RUNNING,
    "shutting-down": MachineState.STOPPING,
    "stopping": MachineState.STOPPING,
    "stopped": MachineState.STOPPED,
}
_LIVE = ("pending", "running")
Item = Mapping[str, Any]
T = TypeVar("T")


class AwsOptions(Options):
    """What a pool tells this provider."""

    image_id: str = pydantic.Field(description="Machine image, with inferno-mesh installed.")
    discovery_lb: str = pydantic.Field("", description="Proxies to register with, as for inferno backend.")
    join_token_command: str = pydantic.Field("", description="Program here that prints a join token for {node}.")
    model_repository: str = pydantic.Field("", description="Models, as for inferno backend.")
    arguments: str = pydantic.Field("", description="Further arguments of inferno backend, as in a shell.")
    user_data_file: str = pydantic.Field("", description="Your own user data instead.")
    when_stopped: Literal["terminate", "stop"] = pydantic.Field(
        "terminate", description="stop keeps the disk, which costs, and starts from it the next time."
    )
    subnet_id: str = pydantic.Field("", description="Subnet; the default one when empty.")
    security_group_ids: str = pydantic.Field("", description="Security groups, comma-separated.")
    instance_profile: str = pydantic.Field("", description="Name of the instance profile, for example to read S3.")
    key_name: str = pydantic.Field("", description="Key pair for SSH.")


class Aws:
    """Starts, stops and lists instances. Credentials are found where AWS's own tools find them."""

    name = "aws"

    def __init__(self, pools: Sequence[Pool], session: Any = None) -> None:
        """``session`` is a boto3 session; without it one is made.

        Raises:
            Unsupported: boto3 is not installed.
        """
        try:
            from boto3.session import Session
        except ImportError:
            raise Unsupported(
                "The provider aws needs boto3, which is not installed.",
                reason="EXTRA_MISSING",
                fix="Install the extra: pip install 'inferno-mesh[aws]'.",
            ) from None
        # One of our own: boto3's default session is not safe in threads.
        self._session: Any = session or Session()
        self._pools = {pool.name: pool for pool in pools}

    async def check(self) -> str:
        """As :meth:`inferno_governator.providers.provider.Provider.check`."""
        return await in_background(self._check)

    async def start(self, node: str, pool: Pool) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.start`. A pool that may not act is asked with
        EC2's own dry run."""
        await in_background(lambda: self._start(node, pool))

    async def stop(self, node: str) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.stop`."""
        await in_background(lambda: self._stop(node))

    async def nodes(self) -> Sequence[Machine]:
        """As :meth:`inferno_governator.providers.provider.Provider.nodes`."""
        return await in_background(self._nodes)

    def _check(self) -> str:
        regions = sorted({self._region(pool) for pool in self._pools.values()})
        for pool in self._pools.values():
            with self._client(self._region(pool)) as client:
                list(_instances(client))
                _dry_run(client.run_instances, self._asked("check", replace(pool, act=False)))
        keys = self._session.get_credentials()
        who = f"as the access key that ends in {keys.access_key[-4:]}" if keys else "without credentials"
        return f"EC2 in {', '.join(regions)}, {who}."

    def _start(self, node: str, pool: Pool) -> None:
        asked = self._asked(node, pool)
        with self._client(self._region(pool)) as client:
            if not pool.act:
                _dry_run(client.run_instances, asked)
                return
            named = _by_age(_instances(client, node))
            if any(_state(each) in _LIVE for each in named):
                return
            if read(pool, AwsOptions).when_stopped == "stop" and self._start_stopped(client, node, pool, named):
                return
            try:
                client.run_instances(**asked)
            except Exception as error:
                # A repeat that EC2 has noticed by itself, whose instance the list did not show yet.
                if aws_errors.code_of(error) != "IdempotentParameterMismatch":
                    raise
            twins = [each["InstanceId"] for each in _by_age(_instances(client, node)) if _state(each) in _LIVE][1:]
            if twins:
                client.terminate_instances(InstanceIds=twins)

    def _start_stopped(self, client: Any, node: str, pool: Pool, named: Sequence[Item]) -> bool:
        """Start a stopped instance of the pool as this node: the one that bears its name already, before others."""
        known = [each for each in _instances(client, pool=pool.name) if each["InstanceType"] == pool.instance_type]
        stopped = [each["InstanceId"] for each in (*named, *_by_age(known)) if _state(each) == "stopped"]
        if not stopped:
            return False
        # Named first: should we end between the two, the next call finds it by its name.
        client.create_tags(Resources=stopped[:1], Tags=_tags({TAG_NODE: node, "Name": node}))
        client.start_instances(InstanceIds=stopped[:1])
        return True

    def _stop(self, node: str) -> None:
        for region in self._regions():
            with self._client(region) as client:
                for each in list(_instances(client, node)):
                    pool = self._pools.get(_tag(each, TAG_POOL))
                    keep = pool is not None and read(pool, AwsOptions).when_stopped == "stop"
                    if _state(each) == "shutting-down" or (keep and _state(each) in ("stopping", "stopped")):
                        continue
                    call = client.stop_instances if keep else client.terminate_instances
                    call(InstanceIds=[each["InstanceId"]])

    def _nodes(self) -> list[Machine]:
        found: list[Machine] = []
        for region in self._regions():
            with self._client(region) as client:
                found += [_machine(each) for each in _instances(client)]
        return found

    def _asked(self, node: str, pool: Pool) -> dict[str, Any]:
        """The arguments of RunInstances."""
        options = read(pool, AwsOptions)
        if not pool.instance_type:
            raise _bad(pool, "it names no instance type", "Give instance_type, for example g6.xlarge.")
        if options.join_token_command and options.when_stopped == "stop":
            raise _bad(pool, "a machine that was stopped cannot join the mesh anew", "Leave when_stopped out.")
        if pool.spot and options.when_stopped == "stop":
            raise _bad(pool, "a spot machine cannot be stopped and kept", "Leave when_stopped out.")
        tags = _tags({TAG: TAG, TAG_NODE: node, TAG_POOL: pool.name, "Name": node})
        market = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}
        groups = [each.strip() for each in options.security_group_ids.split(",") if each.strip()]
        wanted = {
            "SubnetId": options.subnet_id,
            "SecurityGroupIds": groups,
            "KeyName": options.key_name,
            "IamInstanceProfile": {"Name": options.instance_profile} if options.instance_profile else None,
            "InstanceMarketOptions": market if pool.spot else None,
            "Placement": {"AvailabilityZone": pool.zone} if pool.zone else None,
        }
        return {
            "ImageId": options.image_id,
            "InstanceType": pool.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": hashlib.sha256(node.encode()).hexdigest(),
            "UserData": _user_data(node, pool, options),
            "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
            **{name: value for name, value in wanted.items() if value},
        }

    def _region(self, pool: Pool) -> str:
        region = pool.region or self._session.region_name
        if not region:
            raise _bad(pool, "it names no region", "Give region, for example us-east-1.")
        return str(region)

    def _regions(self) -> list[str]:
        return sorted({self._region(pool) for pool in self._pools.values()})

    @contextmanager
    def _client(self, region: str) -> Iterator[Any]:
        from botocore.config import Config

        patience = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"mode": "standard"})
        with aws_errors.named(), closing(self._session.client("ec2", region_name=region, config=patience)) as client:
            yield client


def _instances(client: Any, node: str = "", pool: str = "") -> Iterator[Item]:
    """Instances that bear our tag and are not gone for good."""
    wanted = {f"tag:{TAG}": TAG, f"tag:{TAG_NODE}": node, f"tag:{TAG_POOL}": pool}
    filters = [{"Name": name, "Values": [value]} for name, value in wanted.items() if value]
    filters.append({"Name": "instance-state-name", "Values": list(_STATES)})
    for page in client.get_paginator("describe_instances").paginate(Filters=filters):
        for reservation in page["Reservations"]:
            yield from reservation["Instances"]


def _by_age(items: Iterator[Item] | Sequence[Item]) -> list[Item]:
    """The oldest first; two of the same second always in the same order."""
    return sorted(items, key=lambda each: (each["LaunchTime"], each["InstanceId"]))


def _machine(each: Item) -> Machine:
    return Machine(
        node=_tag(each, TAG_NODE),
        pool=_tag(each, TAG_POOL),
        state=_STATES[_state(each)],
        born_at=each["LaunchTime"].timestamp(),
        machine=each["InstanceId"],
        zone=each.get("Placement", {}).get("AvailabilityZone", ""),
        why=str(each.get("StateReason", {}).get("Message", "")),
    )


def _state(each: Item) -> str:
    return str(each["State"]["Name"])


def _tag(each: Item, key: str) -> str:
    return next((str(tag["Value"]) for tag in each.get("Tags", ()) if tag["Key"] == key), "")


def _tags(given: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in given.items()]


def _dry_run(call: Callable[..., Any], asked: Mapping[str, Any]) -> None:
    """Ask whether it would be done. EC2 says yes by an error of its own."""
    try:
        call(**asked, DryRun=True)
    except Exception as error:
        if aws_errors.code_of(error) != "DryRunOperation":
            raise


def _user_data(node: str, pool: Pool, options: AwsOptions) -> str:
    try:
        if options.user_data_file:
            return Path(options.user_data_file).read_text(encoding="utf-8")
    except OSError as error:
        raise _bad(pool, f"{error.filename} cannot be read: {error.strerror}", "Check the path.") from error
    # A rehearsal needs none, and each is good for one node.
    token = join_token(pool, options.join_token_command, node) if options.join_token_command and pool.act else ""
    return user_data(Boot(pool, options.discovery_lb, token, options.model_repository, options.arguments))


def _bad(pool: Pool, why: str, fix: str) -> InvalidInput:
    return InvalidInput(f"Pool {pool.name!r}: {why}.", reason="BAD_POOL", fix=fix)
