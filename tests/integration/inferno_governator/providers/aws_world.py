"""EC2 as moto's server behaves like it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from boto3.session import Session

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.aws import Aws
from inferno_governator.providers.provider import Provider

REGION = "us-east-1"
IMAGE = "ami-12c6146b"


class AwsWorld:
    def __init__(self) -> None:
        self.pool = Pool(
            *("small", "aws", ("m",)),
            maximum=4,
            region=REGION,
            instance_type="g6.xlarge",
            act=True,
            options={"image_id": IMAGE, "discovery_lb": "10.0.0.1:8080"},
        )
        self.session: Any = Session()
        self._away = False

    def provider(self, *pools: Pool) -> Provider:
        return Aws(pools or (self.pool,), self.session)

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """Whatever is there, the oldest first."""
        with closing(Session().client("ec2", region_name=REGION)) as client:
            answer = client.describe_instances()
        found = [each for reservation in answer["Reservations"] for each in reservation["Instances"]]
        return [each for each in found if not states or each["State"]["Name"] in states]

    async def foreign(self) -> str:
        with closing(Session().client("ec2", region_name=REGION)) as client:
            answer = client.run_instances(ImageId=IMAGE, InstanceType="t3.small", MinCount=1, MaxCount=1)
        return str(answer["Instances"][0]["InstanceId"])

    async def lives(self, machine: str) -> bool:
        return machine in {each["InstanceId"] for each in self.instances("pending", "running")}

    async def count(self) -> int:
        return len(self.instances("pending", "running"))

    async def go_away(self) -> None:
        def nobody(**_: Any) -> None:
            from botocore.exceptions import EndpointConnectionError

            raise EndpointConnectionError(endpoint_url="http://ec2.example")

        self.session.events.register("before-send.ec2", nobody)

    def answer(self, operation: str, code: str, status: int = 400) -> None:
        """From now on this is what EC2 says to an operation."""

        class Http:
            status_code = status

        error = {"Error": {"Code": code, "Message": f"{code} it is."}, "ResponseMetadata": {"HTTPStatusCode": status}}
        self.session.events.register(f"before-call.ec2.{operation}", lambda **_: (Http, error))
