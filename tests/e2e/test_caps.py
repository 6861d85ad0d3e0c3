"""A hard budget that is spent, from the governator to the callers: refused, told why, and let in again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno.governance.v1.governance_service_pb2_grpc import (
    GovernanceServiceServicer,
    add_GovernanceServiceServicer_to_server,
)
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from inferno_governator.cap_service import CapService
from inferno_governator.caps import Cap, Caps
from inferno_runtime import rpc
from inferno_runtime.identity.api_keys import hash_of, new_key
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.integration.inferno_proxy.tritons import Served, Triton, triton
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

KEYS = {name: new_key() for name in ("boss", "ci", "app", "ads")}
CLIENTS = f"""
proxy:
  clients:
    boss: {{keys: ["{hash_of(KEYS["boss"])}"], role: operator}}
    ci: {{keys: ["{hash_of(KEYS["ci"])}"], team: search}}
    app: {{keys: ["{hash_of(KEYS["app"])}"], team: search}}
    ads: {{keys: ["{hash_of(KEYS["ads"])}"]}}
"""
OK, SPENT = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED
WHY = "budget search-month is spent"


class Told(CapService, GovernanceServiceServicer):
    """The governator's service, as far as caps go."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps


class Mesh:
    """A proxy that knows its clients before a model server, and the caps it is told of."""

    def __init__(self, running: Proxy, server: Triton, caps: Caps) -> None:
        self.running = running
        self.server = server
        self.caps = caps
        self.operators: Any = mesh_stubs.MeshServiceStub(running.channel)
        self._infer: Any = service_pb2_grpc.GRPCInferenceServiceStub(running.channel).ModelInfer

    def begin(self, key: str, model: str = "m", name: str = "1") -> Any:
        request = service_pb2.ModelInferRequest(model_name=model, id=name)
        return self._infer(request, timeout=60, metadata=self.credential(key))

    def credential(self, key: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {KEYS[key]}"),)

    async def end(self, key: str, model: str = "m") -> grpc.StatusCode:
        code: grpc.StatusCode = await self.begin(key, model).code()
        return code

    async def until(self, **wanted: grpc.StatusCode) -> None:
        """Wait until calls of clients end so."""

        async def so() -> bool:
            return {key: await self.end(key) for key in wanted} == wanted

        await eventually(so, 30, f"calls end as {wanted}")


@asynccontextmanager
async def capped(folder: Path, tmp_path: Path) -> AsyncIterator[Mesh]:
    """All of it, once calls are answered."""
    settings, caps = tmp_path / "inferno.yaml", Caps()
    settings.write_text(CLIENTS)
    governator = rpc.server()
    add_GovernanceServiceServicer_to_server(cast("Any", Told)(caps), governator)
    address = rpc.bind(governator, "127.0.0.1:0")
    await governator.start()
    try:
        async with triton() as server:
            server.models = {"m": Served(), "other": Served()}
            flags = ["--backends", str(server.address), "--governator", address, "--config", str(settings)]
            async with proxy(folder, *flags) as running:
                made = Mesh(running, server, caps)
                await made.until(ci=OK, app=OK, ads=OK)
                yield made
    finally:
        caps.close()
        await governator.stop(0.2)


async def test_a_team_that_has_spent_its_budget_is_refused_until_it_may_call_again(
    socket_dir: Path, tmp_path: Path
) -> None:
    async with capped(socket_dir, tmp_path) as running:
        held = running.begin("ci", name="held")
        await eventually(lambda: running.server.calls["ModelInfer"] > 3, 20, "the call is under way")
        running.caps.set([Cap("search", "", "", int(time.time()) + 3600, WHY)])
        await running.until(ci=SPENT, app=SPENT, ads=OK)
        refused = running.begin("ci")
        assert f"calls of team search are refused until {time.strftime('%Y')}" in await refused.details()
        assert WHY in await refused.details()
        assert await running.end("ci", "other") is SPENT
        await over_rest(running)
        await told_to_operators(running)
        # What nobody has lifted outlives the control plane.
        running.running.child("inferno_proxy.control_plane").kill()
        await running.until(ci=SPENT, ads=OK)
        # What was under way is not cut.
        running.server.release.set()
        assert await held.code() is OK
        running.caps.set([])
        await running.until(ci=OK, app=OK, ads=OK)


async def test_a_models_budget_is_everybodys_and_ends_by_itself(socket_dir: Path, tmp_path: Path) -> None:
    async with capped(socket_dir, tmp_path) as running:
        running.caps.set([Cap("", "", "m", int(time.time()) + 6, WHY), Cap("", "app", "other", 2**33, WHY)])
        await running.until(ci=SPENT, ads=SPENT)
        assert await running.end("ads", "other") is OK
        assert await running.end("app", "other") is SPENT
        await running.until(ci=OK, ads=OK)
        assert await running.end("app", "other") is SPENT


async def over_rest(running: Mesh) -> None:
    url = f"http://{running.running.endpoint}/v2/models/m/infer"
    said = dict(running.credential("ci"))
    async with aiohttp.ClientSession() as session, session.post(url, json={}, headers=said) as answer:
        assert answer.status == 429
        assert WHY in (await answer.json())["error"]
        assert "GMT" in answer.headers["retry-after"]


async def told_to_operators(running: Mesh) -> None:
    boss = {"metadata": running.credential("boss"), "timeout": 10}
    orders = (await running.operators.ListOrders(mesh.ListOrdersRequest(), **boss)).orders
    assert [(each.kind, each.subject, each.by, each.reason, each.idle) for each in orders] == [
        (mesh.ORDER_KIND_CAP, "team search", "the governator", WHY, False)
    ]
    explained = await running.operators.Explain(mesh.ExplainRequest(model="m"), **boss)
    assert any("Calls of team search are refused until" in rule and WHY in rule for rule in explained.rules)
    noted = (await running.operators.ListAudit(mesh.ListAuditRequest(), **boss)).entries
    assert any((each.action, each.subject) == ("CAP", "team search") for each in noted)
