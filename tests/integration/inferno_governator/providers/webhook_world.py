"""A service that somebody has written from the page of documentation."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import Provider
from inferno_governator.providers.webhook import Webhook
from inferno_runtime.clock import SystemClock

SECRET = b"not-secret"


class WebhookWorld:
    def __init__(self, folder: Path) -> None:
        (folder / "secret").write_bytes(SECRET + b"\n")
        self.machines: dict[str, dict[str, Any]] = {}
        self.foreigners: set[str] = set()
        self.keys: list[str] = []
        self.answers: list[web.Response] = []
        self.asked = 0
        self._folder = folder
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/nodes", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/nodes"
        options = {"url": url, "secret_file": str(self._folder / "secret")}
        self.pool = Pool("small", "webhook", ("m",), maximum=4, act=True, options=options)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def provider(self, *pools: Pool) -> Provider:
        return Webhook(pools or (self.pool,), SystemClock())

    async def foreign(self) -> str:
        self.foreigners.add("theirs")
        return "theirs"

    async def lives(self, machine: str) -> bool:
        return machine in self.foreigners

    async def count(self) -> int:
        return len(self.foreigners) + len(self.machines)

    async def go_away(self) -> None:
        await self.close()

    async def _handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await request.read()
        signed = dict(part.split("=", 1) for part in request.headers["X-Inferno-Signature"].split(","))
        text = f"{signed['t']}.{request.method}.".encode() + body
        known = hmac.compare_digest(hmac.new(SECRET, text, hashlib.sha256).hexdigest(), signed["v1"])
        if not known or abs(time.time() - int(signed["t"])) > 300:
            return web.Response(status=401, text="The signature is wrong.")
        if self.answers:
            return self.answers.pop(0)
        if request.method == "GET":
            return web.json_response({"nodes": list(self.machines.values())})
        asked = json.loads(body)
        if asked["verb"] == "start" and not asked["rehearsed"]:
            assert request.headers["Idempotency-Key"] == asked["node"]
            self.machines.setdefault(
                asked["node"],
                {
                    "node": asked["node"],
                    "pool": asked["pool"]["name"],
                    "state": "running",
                    "born_at": time.time(),
                    "machine": f"m-{len(self.machines)}",
                },
            )
        elif asked["verb"] == "stop":
            self.machines.pop(asked["node"], None)
        return web.json_response({})
