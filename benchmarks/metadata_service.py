"""A stand-in for the metadata services of clouds, on loopback: what they document is what it answers.

Amazon EC2 as version 2 alone (no token, no answer), Google Compute Engine with its header and questions that wait for a
change, Azure with its header and its scheduled events. A test sets what they say while they run.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

AWS_DOCUMENT = {
    "accountId": "123456789012",
    "architecture": "x86_64",
    "availabilityZone": "us-west-2b",
    "imageId": "ami-5fb8c835",
    "instanceId": "i-1234567890abcdef0",
    "instanceType": "g6.xlarge",
    "region": "us-west-2",
}
AZURE_COMPUTE = {
    "azEnvironment": "AzurePublicCloud",
    "location": "westeurope",
    "name": "gpu-7",
    "priority": "Spot",
    "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
    "vmSize": "Standard_NC4as_T4_v3",
    "zone": "2",
}
GCP_INSTANCE = {
    "id": "7045908513521312873",
    "machine-type": "projects/123456789012/machineTypes/g2-standard-4",
    "name": "gpu-7",
    "scheduling/preemptible": "TRUE",
    "zone": "projects/123456789012/zones/europe-west4-b",
    "preempted": "FALSE",
    "maintenance-event": "NONE",
}


class MetadataService:
    """What it says, and what it was asked. ``silent``: it takes questions and answers none, as behind one hop too many.

    ``closed``: it refuses everybody. ``versioned``: Compute Engine says which version of a value it gives.
    ``clock_ahead``: seconds by which its clock is before ours.
    """

    def __init__(self) -> None:
        self.address = ""
        self.aws: dict[str, Any] = dict(AWS_DOCUMENT)
        self.life_cycle = "spot"
        self.gcp = dict(GCP_INSTANCE)
        self.azure: dict[str, Any] = dict(AZURE_COMPUTE)
        self.asked: list[str] = []
        self.silent = False
        self.closed = False
        self.versioned = True
        self.clock_ahead = 0.0
        self.action: dict[str, str] | None = None
        self.rebalance = ""
        self.events: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self._etags = itertools.count(1)
        self._versions = {name: self._etag() for name in self.gcp}
        self._changed = asyncio.Event()

    # --- what a test makes it say -------------------------------------------------------------------------------

    def interrupt(self, seconds: float, action: str = "terminate") -> None:
        """EC2 takes the instance back in so many seconds."""
        at = datetime.fromtimestamp(self._now() + seconds, UTC)
        self.action = {"action": action, "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def change(self, name: str, text: str) -> None:
        """Compute Engine says something else at a path, and tells who waits for it."""
        self.gcp[name], self._versions[name] = text, self._etag()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def schedule(self, what: str, seconds: float | None, *names: str) -> None:
        """Azure announces an event for machines of these names; None: it has begun."""
        moment = "" if seconds is None else format_datetime(datetime.fromtimestamp(self._now() + seconds, UTC), True)
        event = {"EventId": secrets.token_hex(4), "EventType": what, "ResourceType": "VirtualMachine"}
        status = {"EventStatus": "Started" if seconds is None else "Scheduled", "NotBefore": moment}
        self.events.append({**event, **status, "Resources": list(names), "EventSource": "Platform"})

    # --- how it answers -----------------------------------------------------------------------------------------

    def _now(self) -> float:
        return time.time() + self.clock_ahead

    def _etag(self) -> str:
        return f"{next(self._etags):016x}"

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as the cloud whose path is asked for."""
        self.asked.append(f"{request.method} {request.path}")
        if self.silent:
            await asyncio.Event().wait()
        if self.closed:
            return web.Response(status=403)
        if request.path.startswith("/computeMetadata/"):
            answer = await self._gcp(request)
        elif request.path.startswith("/metadata/"):
            answer = self._azure(request)
        else:
            answer = self._aws(request)
        answer.headers["Date"] = format_datetime(datetime.fromtimestamp(self._now(), UTC), True)
        return answer

    def _aws(self, request: web.Request) -> web.Response:
        if request.path == "/latest/api/token":
            if request.method != "PUT" or "X-aws-ec2-metadata-token-ttl-seconds" not in request.headers:
                return web.Response(status=400)
            self.tokens.add(token := secrets.token_urlsafe(40))
            return web.Response(text=token)
        if request.headers.get("X-aws-ec2-metadata-token") not in self.tokens:
            return web.Response(status=401)
        found: dict[str, Any] = {
            "/latest/dynamic/instance-identity/document": self.aws,
            "/latest/meta-data/instance-life-cycle": self.life_cycle,
            "/latest/meta-data/spot/instance-action": self.action,
            "/latest/meta-data/events/recommendations/rebalance": {"noticeTime": self.rebalance},
        }
        said = found.get(request.path)
        if said is None or said == {"noticeTime": ""}:
            return web.Response(status=404)
        return web.Response(text=said) if isinstance(said, str) else web.json_response(said)

    async def _gcp(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in request.headers:
            return web.Response(status=403)
        name = request.path.removeprefix("/computeMetadata/v1/instance/")
        if name not in self.gcp:
            return web.Response(status=404)
        if request.query.get("wait_for_change") == "true":
            try:
                async with asyncio.timeout(float(request.query.get("timeout_sec", 3600))):
                    while self._versions[name] == request.query.get("last_etag"):
                        await self._changed.wait()
            except TimeoutError:
                pass  # It answers with what it said before.
        headers = {"Metadata-Flavor": "Google"}
        if self.versioned:
            headers["ETag"] = self._versions[name]
        return web.Response(text=self.gcp[name], headers=headers)

    def _azure(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata") != "true" or "X-Forwarded-For" in request.headers:
            return web.json_response({"error": "Bad request. Required metadata header not specified"}, status=400)
        if not request.query.get("api-version"):
            return web.json_response({"error": "Bad request. api-version was not specified"}, status=400)
        if request.path == "/metadata/instance/compute":
            return web.json_response(self.azure)
        if request.path == "/metadata/scheduledevents":
            return web.json_response({"DocumentIncarnation": len(self.events), "Events": self.events})
        return web.Response(status=404)


@asynccontextmanager
async def metadata_service() -> AsyncIterator[MetadataService]:
    """Serve one on a free port of loopback."""
    service = MetadataService()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        service.address = f"{host}:{port}"
        yield service
    finally:
        await runner.cleanup()
