"""MeshService over HTTP: the same methods, answers, errors and permissions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import json_format

from inferno.mesh.v1 import mesh_service_pb2 as wire
from inferno.mesh.v1 import mesh_service_pb2_grpc as stubs
from inferno_proxy.services.mesh_json import PATHS, Path
from tests.integration.inferno_proxy.control import Control
from tests.unit.inferno_proxy.nodes import model, node
from tests.waiting import eventually

SERVICE = wire.DESCRIPTOR.services_by_name["MeshService"]
# What each act sends beside the subject in its path.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "SetNodeWeight": {"factor": 0.5},
    "SetSplit": {"by": "version", "shares": {"1": 100}},
    "SetLimit": {"rate": {"calls": 5, "seconds": 60}},
    "ClearOrders": {"all": True},
}
QUERIES = {"Explain": {"model": "m"}, "ListAudit": {"limit": "5"}, "ListEndpoints": {"model": "m"}}


async def ask(plane: Control, path: Path, fields: Mapping[str, Any], **headers: str) -> tuple[int, Any]:
    where = path.path.format(node_id="a", model="m")
    sent: dict[str, Any] = {"json": fields} if path.method == "POST" else {"params": fields}
    async with plane.http.request(path.method, where, headers=headers, **sent) as answer:
        return answer.status, await answer.json()


def test_every_method_of_the_service_has_a_path() -> None:
    served = {name for path in PATHS for name in (path.rpc, path.watch) if name}
    assert served == set(SERVICE.methods_by_name)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.rpc)
async def test_each_path_answers_as_its_method(plane: Control, path: Path) -> None:
    plane.registry.join(node())
    fields = BODIES.get(path.rpc, {}) if path.method == "POST" else QUERIES.get(path.rpc, {})
    status, shown = await ask(plane, path, fields)
    assert status == 200, shown
    method = SERVICE.methods_by_name[path.rpc]
    named = {"node_id": "a", "model": "m"} if path.method == "POST" else {}
    subject = {field.name: named[field.name] for field in method.input_type.fields if field.name in named}
    request = json_format.ParseDict({**subject, **fields}, getattr(wire, method.input_type.name)())
    answer = await getattr(stubs.MeshServiceStub(plane.channel), path.rpc)(request)
    said = json_format.MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert shown.keys() == said.keys()
    if path.rpc not in ("ListAudit", "ListEvents", "ClearOrders", "ReleaseNode", "ReleaseModel"):
        assert _timeless(shown) == _timeless(said)


def _timeless(document: Any) -> Any:
    """Without ages, which grow, and times of acts that are done twice."""
    if isinstance(document, dict):
        return {name: _timeless(value) for name, value in document.items() if name not in ("load_age", "since")}
    return [_timeless(each) for each in document] if isinstance(document, list) else document


async def test_a_watched_list_is_a_line_for_each_change(plane: Control) -> None:
    plane.registry.join(node())
    async with plane.http.get("/mesh/v1/nodes", params={"watch": "1"}) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        first = json.loads(await answer.content.readline())
        plane.registry.drain("a")
        second = json.loads(await answer.content.readline())
        plane.closing.begin()
        last = json.loads(await answer.content.readline())
        assert await answer.content.readline() == b""
    assert [each["nodes"][0]["phase"] for each in (first, second)] == ["NODE_PHASE_SERVING", "NODE_PHASE_DRAINING"]
    assert last["reason"] == "STOPPING"


async def test_a_reader_that_goes_leaves_nothing_behind(plane: Control) -> None:
    async with plane.http.get("/mesh/v1/clients", params={"watch": "1"}) as answer:
        await answer.content.readline()
        before = len(asyncio.all_tasks())
        answer.close()
    await eventually(lambda: len(asyncio.all_tasks()) < before, 5, "the stream has ended")
    steps = "mesh-json-step"
    await eventually(lambda: not any(task.get_name() == steps for task in asyncio.all_tasks()), 5, "and its steps")


@pytest.mark.parametrize(
    ("method", "where", "sent", "status", "said"),
    [
        ("GET", "/mesh/v1/nodes?nod=1", None, 400, "Unknown field 'nod'"),
        ("GET", "/mesh/v1/endpoints?modle=m", None, 400, "Did you mean 'model'?"),
        ("GET", "/mesh/v1/nodes?watch=maybe", None, 400, "'maybe' is neither 1 nor 0"),
        ("GET", "/mesh/v1/audit?limit=many", None, 400, "cannot be read"),
        ("GET", "/mesh/v1/audit?refused=1&limit=2", None, 200, ""),
        ("GET", "/mesh/v1/explain", None, 400, "Nothing to explain is named"),
        ("GET", "/mesh/v1/explain?model=mm", None, 404, "Did you mean 'm'?"),
        ("GET", "/mesh/v1/explain?request_id=r", None, 404, "x-inferno-explain: 1"),
        ("GET", "/mesh/v1/nothing", None, 404, "Nothing is served"),
        ("POST", "/mesh/v1/nodes", "{}", 405, "does not take POST"),
        ("POST", "/mesh/v1/nodes/b/drain", "{}", 404, "There is no node 'b'"),
        ("POST", "/mesh/v1/nodes/a/drain", "{", 400, "not valid JSON"),
        ("POST", "/mesh/v1/nodes/a/drain", "[]", 400, "not a JSON object"),
        ("POST", "/mesh/v1/nodes/a/drain", '{"node_id": "b"}', 400, "the body another one"),
        ("POST", "/mesh/v1/nodes/a/weight", '{"factr": 1}', 400, "Did you mean 'factor'?"),
        ("POST", "/mesh/v1/models/m/limit", '{"rate": {"cals": 1}}', 400, "Unknown field 'cals'"),
        ("POST", "/mesh/v1/nodes/a/weight", '{"factor": "much"}', 400, "cannot be read"),
        ("POST", "/mesh/v1/models/m/split", '{"by": "version", "shares": {"1": 90}}', 400, "add up to 90 percent"),
    ],
)
async def test_what_is_wrong_is_said_in_one_sentence(
    plane: Control, method: str, where: str, sent: str | None, status: int, said: str
) -> None:
    plane.registry.join(node(models=(model(),)))
    headers = {"content-type": "application/json"} if sent else {}
    async with plane.http.request(method, where, data=sent, headers=headers) as answer:
        shown = await answer.json()
    assert (answer.status, said in json.dumps(shown)) == (status, True), shown


async def test_a_page_in_a_browser_cannot_operate_the_mesh(plane: Control) -> None:
    plane.registry.join(node())
    async with plane.http.post("/mesh/v1/nodes/a/drain", data={"reason": "fun"}) as answer:
        assert (answer.status, (await answer.json())["details"]) == (400, {"field": "content-type"})
    assert plane.registry.member("a").takes_work


async def test_who_may_not_is_refused_over_http_as_over_grpc(plane: Control) -> None:
    plane.registry.join(node())
    client = {"x-inferno-door": "public", "x-inferno-client": "shop"}
    for path in PATHS:
        if path.rpc == "ListAudit":
            continue
        status, shown = await ask(plane, path, BODIES.get(path.rpc, QUERIES.get(path.rpc, {})), **client)
        assert (status, shown["reason"]) == (403, "NOT_ALLOWED"), path.rpc
    status, shown = await ask(plane, PATHS[0], {}, **{"x-inferno-door": "public"})
    assert (status, shown["reason"]) == (401, "NO_CREDENTIAL")
    noted = [json.loads(line) for line in plane.audit.read_text().splitlines()]
    assert {"DRAIN_NODE", "SET_SPLIT", "QUARANTINE_MODEL"} <= {each["action"] for each in noted}
    assert all(each["caller"] in ("client shop", "anonymous") and each["refused"] for each in noted)
