"""Amazon EC2: the instance metadata service, version 2.

Sources: "Use the Instance Metadata Service to access instance metadata", "Instance metadata categories", "Spot Instance
interruption notices" and "EC2 instance rebalance recommendations" in the Amazon EC2 user guide.
"""

from __future__ import annotations

from datetime import datetime

from inferno_backend.cloud.machine import Kind, Machine, Notice
from inferno_backend.cloud.metadata import Answer, Metadata, told
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Unavailable

_TOKEN_SECONDS = 21_600
_DOCUMENT = "/latest/dynamic/instance-identity/document"
_LIFE_CYCLE = "/latest/meta-data/instance-life-cycle"
_ACTION = "/latest/meta-data/spot/instance-action"
_REBALANCE = "/latest/meta-data/events/recommendations/rebalance"


class Aws:
    """An instance of EC2. Every question carries a token, which the service gives for a PUT and refuses (401) when it
    is too old."""

    # AWS advises 5 s, which would leave none of the 2 s within which a replacement is asked for.
    pause = 1.0

    def __init__(self, metadata: Metadata, clock: Clock) -> None:
        self._metadata = metadata
        self._clock = clock
        self._token = ""

    async def machine(self) -> Machine:
        """What the instance is.

        Raises:
            Unavailable: The service does not answer, or refuses.
        """
        document = (await self._ask(_DOCUMENT)).document()
        life = told(_LIFE_CYCLE, await self._ask(_LIFE_CYCLE))
        return Machine(
            "aws",
            region=str(document.get("region") or ""),
            zone=str(document.get("availabilityZone") or ""),
            instance_type=str(document.get("instanceType") or ""),
            instance_id=str(document.get("instanceId") or ""),
            spot=life == "spot" if life else None,
        )

    @staticmethod
    def gives_notice(machine: Machine) -> bool:
        """Only spot instances are told of their end."""
        return machine.spot is not False

    async def look(self) -> tuple[Notice, ...]:
        """The interruption that is due, and the advice to be gone before one.

        Raises:
            Unavailable: The service does not answer, or refuses.
        """
        found = []
        if (answer := await self._ask(_ACTION)).status == 200:
            said = answer.document()
            action = str(said.get("action") or "terminate")
            found.append(Notice(Kind.RECLAIM, action, _seconds_until(str(said.get("time")), answer, self._clock)))
        if (advice := await self._ask(_REBALANCE)).status == 200:
            found.append(Notice(Kind.REBALANCE, f"rebalance recommended {advice.document().get('noticeTime', '')}"))
        return tuple(found)

    async def _ask(self, path: str) -> Answer:
        answer = await self._with_token(path)
        if answer.status == 401:
            self._token = ""
            answer = await self._with_token(path)
        told(path, answer)
        return answer

    async def _with_token(self, path: str) -> Answer:
        if not self._token:
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
            answer = await self._metadata.ask("/latest/api/token", lifetime, method="PUT")
            if answer.status != 200 or not answer.text:
                raise Unavailable(
                    f"The metadata service gives no token: it answered {answer.status}.",
                    reason="METADATA_REFUSED",
                    fix="Switch the instance's metadata endpoint on, or give --metadata off.",
                )
            self._token = answer.text
        return await self._metadata.ask(path, {"X-aws-ec2-metadata-token": self._token})


def _seconds_until(moment: str, answer: Answer, clock: Clock) -> float | None:
    """How far away a moment (``2026-11-23T15:40:00Z``) is; None when it is none."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return None if at.tzinfo is None else at.timestamp() - answer.wall(clock.wall())
