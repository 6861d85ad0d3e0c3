"""Orders over a real connection: what is taken, what is refused and why, and what of it is noted."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from inferno.mesh.v1 import mesh_service_pb2 as wire
from inferno.mesh.v1 import mesh_service_pb2_grpc as stubs
from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.routing.aliases import Alias
from tests.integration.inferno_proxy.control import Control
from tests.unit.inferno_proxy.nodes import model, node


@pytest_asyncio.fixture
async def stub(plane: Control) -> Any:
    """A mesh of two nodes with one model, in two versions."""
    plane.registry.join(node("gpu-1", port=1, labels={"track": "old"}))
    plane.registry.join(node("gpu-2", port=2, labels={"track": "new"}, models=(model(version="2"), model("n"))))
    return stubs.MeshServiceStub(plane.channel)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


def noted(plane: Control) -> list[dict[str, str]]:
    return [json.loads(line) for line in plane.audit.read_text().splitlines()]


async def test_orders_are_listed_with_who_when_why_and_until_when(plane: Control, stub: Any) -> None:
    hour = Duration(seconds=3600)
    request = wire.SetNodeWeightRequest(node_id="gpu-1", factor=0.1, reason="new driver", lifetime=hour)
    placed = (await stub.SetNodeWeight(request)).order
    await stub.QuarantineModel(wire.QuarantineModelRequest(model="n"))
    first, second = (await stub.ListOrders(wire.ListOrdersRequest())).orders
    assert first == placed
    assert (first.kind, first.subject, first.summary) == (wire.ORDER_KIND_NODE_WEIGHT, "gpu-1", "0.1 times the weight")
    assert (first.by, first.reason, first.idle) == ("local", "new driver", False)
    assert first.expires.seconds - first.time.seconds in (3599, 3600)
    assert (second.kind, second.HasField("expires")) == (wire.ORDER_KIND_MODEL_QUARANTINE, False)
    nodes = (await stub.ListNodes(wire.ListNodesRequest())).nodes
    assert [[order.summary for order in each.orders] for each in nodes] == [["0.1 times the weight"], []]
    models = (await stub.ListModels(wire.ListModelsRequest())).models
    assert [[order.summary for order in each.orders] for each in models] == [[], ["that it takes no calls"]]
    assert {each.node: each.weight for each in plane.plan().models["m"].grpc} == {"gpu-1": 100, "gpu-2": 1000}
    assert [(each["action"], each["subject"], each["detail"]) for each in noted(plane)] == [
        ("SET_NODE_WEIGHT", "gpu-1", "0.1 times the weight, for 3600 s (new driver)"),
        ("QUARANTINE_MODEL", "n", "that it takes no calls"),
    ]


async def test_a_quarantine_holds_until_it_is_released_and_either_can_be_said_twice(plane: Control, stub: Any) -> None:
    for _ in range(2):
        await stub.QuarantineNode(wire.QuarantineNodeRequest(node_id="gpu-1"))
        assert len(plane.plan().models["m"].grpc) == 1
    released = [await stub.ReleaseNode(wire.ReleaseNodeRequest(node_id="gpu-1")) for _ in range(2)]
    assert [each.HasField("order") for each in released] == [True, False]
    await stub.QuarantineModel(wire.QuarantineModelRequest(model="m"))
    assert plane.plan().models["m"].grpc == ()
    released = [await stub.ReleaseModel(wire.ReleaseModelRequest(model="m")) for _ in range(2)]
    assert [each.HasField("order") for each in released] == [True, False]
    assert len(plane.plan().models["m"].grpc) == 2


async def test_a_split_and_a_limit_lie_over_the_settings(plane: Control, stub: Any) -> None:
    shares = {"old": 100, "new": 0}
    order = (await stub.SetSplit(wire.SetSplitRequest(model="m", by="label:track", shares=shares))).order
    assert order.summary == "shares by track: new 0 %, old 100 %"
    assert [each.node for each in plane.plan().models["m"].grpc] == ["gpu-1"]
    rate = wire.Rate(calls=5, seconds=60, per="address")
    await stub.SetLimit(wire.SetLimitRequest(model="m", rate=rate, max_concurrency=3))
    settings = plane.settings.value.models["m"]
    assert settings.rate is not None
    assert (settings.rate.calls, settings.rate.per, settings.max_concurrency) == (5, "address", 3)
    await stub.SetLimit(wire.SetLimitRequest(model="*", max_concurrency=9))
    assert plane.settings.value.models["*"].max_concurrency == 9
    gone = await stub.ClearOrders(wire.ClearOrdersRequest(subject="m", kinds=[wire.ORDER_KIND_SPLIT]))
    assert [each.summary for each in gone.orders] == [order.summary]
    assert len(plane.plan().models["m"].grpc) == 2
    assert len((await stub.ClearOrders(wire.ClearOrdersRequest(all=True))).orders) == 2
    assert plane.settings.value.models == {}
    assert (await stub.ClearOrders(wire.ClearOrdersRequest(all=True))).orders == []


async def test_an_order_about_a_node_that_left_is_idle_until_it_returns(plane: Control, stub: Any) -> None:
    await stub.QuarantineNode(wire.QuarantineNodeRequest(node_id="gpu-2"))
    plane.registry.deregister("gpu-2", 1)
    assert [each.idle for each in (await stub.ListOrders(wire.ListOrdersRequest())).orders] == [True]
    plane.registry.join(node("gpu-2", 2, port=2))
    assert [each.node for each in plane.plan().models["m"].grpc] == ["gpu-1"]


NODE, WEIGHT, SPLIT, LIMIT = (
    wire.QuarantineNodeRequest,
    wire.SetNodeWeightRequest,
    wire.SetSplitRequest,
    wire.SetLimitRequest,
)


@pytest.mark.parametrize(
    ("method", "request_", "code", "said"),
    [
        ("QuarantineNode", NODE(node_id="gpu1"), "NOT_FOUND", "There is no node 'gpu1'. Did you mean 'gpu-1'?"),
        ("DrainNode", wire.DrainNodeRequest(node_id="gone"), "NOT_FOUND", "Nodes: gpu-1, gpu-2."),
        ("ReleaseNode", wire.ReleaseNodeRequest(node_id="gone"), "NOT_FOUND", "There is no node 'gone'"),
        ("ReleaseModel", wire.ReleaseModelRequest(model="gone"), "NOT_FOUND", "There is no model 'gone'"),
        ("QuarantineModel", wire.QuarantineModelRequest(model="*"), "NOT_FOUND", "There is no model '*'"),
        ("SetLimit", LIMIT(model="mm", max_concurrency=1), "NOT_FOUND", "Did you mean 'm'?"),
        ("SetLimit", LIMIT(model="best", max_concurrency=1), "INVALID_ARGUMENT", "'best' is an alias of 'm'"),
        ("SetLimit", LIMIT(model="m"), "INVALID_ARGUMENT", "neither a rate nor max_concurrency is given"),
        ("SetLimit", LIMIT(model="m", rate=wire.Rate()), "INVALID_ARGUMENT", "rate.calls: Input should be"),
        ("SetLimit", LIMIT(model="m", rate=wire.Rate(calls=1, per="x")), "INVALID_ARGUMENT", "it must be model"),
        ("SetNodeWeight", WEIGHT(node_id="gpu-1"), "INVALID_ARGUMENT", "factor: it is missing"),
        ("SetNodeWeight", WEIGHT(node_id="gpu-1", factor=11), "INVALID_ARGUMENT", "factor: 11 is not from 0 to 10"),
        ("SetNodeWeight", WEIGHT(node_id="gpu-1", factor=float("nan")), "INVALID_ARGUMENT", "nan is not from 0 to 10"),
        ("SetSplit", SPLIT(model="m", by="version", shares={"1": 50, "2": 40}), "INVALID_ARGUMENT", "add up to 90"),
        ("SetSplit", SPLIT(model="m", by="version"), "INVALID_ARGUMENT", "add up to 0 percent, not 100 (none)"),
        ("SetSplit", SPLIT(model="m", by="colour", shares={"1": 100}), "INVALID_ARGUMENT", "by: String should match"),
        (
            "SetSplit",
            SPLIT(model="m", by="version", shares={"1": 50, "3": 50}),
            "INVALID_ARGUMENT",
            "no node that has 'm' is of the group '3' by version. Groups: 1, 2.",
        ),
        ("QuarantineNode", NODE(node_id="gpu-1", reason="a\nb"), "INVALID_ARGUMENT", "reason: it is not plain text"),
        ("QuarantineNode", NODE(node_id="gpu-1", reason="x" * 201), "INVALID_ARGUMENT", "at most 200 characters"),
        ("QuarantineNode", NODE(node_id="gpu-1", lifetime=Duration()), "INVALID_ARGUMENT", "0 s is not from 1 s"),
        ("ClearOrders", wire.ClearOrdersRequest(), "INVALID_ARGUMENT", "No subject is named"),
        ("ClearOrders", wire.ClearOrdersRequest(subject="gpu-1"), "NOT_FOUND", "No order is about 'gpu-1'"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused_in_a_sentence_and_noted(
    plane: Control, stub: Any, method: str, request_: Any, code: str, said: str
) -> None:
    plane.aliases = {"best": Alias("m", "")}
    got, details = await refusal(getattr(stub, method)(request_))
    assert (got.name, said in details) == (code, True), details
    (line,) = noted(plane)
    assert line["refused"]
    assert (plane.desk.book.value, plane.settings.value.models) == ({}, {})


async def test_an_act_that_cannot_be_noted_is_not_done(plane: Control, stub: Any) -> None:
    plane.audit.mkdir()
    code, details = await refusal(stub.DrainNode(wire.DrainNodeRequest(node_id="gpu-1")))
    assert (code, "cannot be noted" in details) == (grpc.StatusCode.UNAVAILABLE, True)
    assert plane.registry.member("gpu-1").takes_work


async def test_operators_read_who_did_what_and_others_do_not(plane: Control, stub: Any) -> None:
    ada = (("x-inferno-door", "public"), ("x-inferno-client", "ada"), ("x-inferno-role", "operator"))
    await stub.DrainNode(wire.DrainNodeRequest(node_id="gpu-1", reason="cleaning"), metadata=ada)
    await refusal(stub.UndrainNode(wire.UndrainNodeRequest(node_id="gone"), metadata=ada))
    entries = (await stub.ListAudit(wire.ListAuditRequest(caller="operator ada"), metadata=ada)).entries
    assert [(each.action, each.subject, each.detail) for each in entries] == [
        ("UNDRAIN_NODE", "gone", ""),
        ("DRAIN_NODE", "gpu-1", "cleaning"),
    ]
    assert entries[0].refused.startswith("UNKNOWN_NODE: ")
    assert entries[1].time.seconds > 1_500_000_000
    node_door = (("x-inferno-door", "mesh"), ("x-forwarded-client-cert", "URI=spiffe://inferno/node/gpu-1"))
    await stub.ListNodes(wire.ListNodesRequest(), metadata=node_door)
    for call in (stub.ListAudit(wire.ListAuditRequest(), metadata=node_door),
                 stub.DrainNode(wire.DrainNodeRequest(node_id="gpu-2"), metadata=node_door)):  # fmt: skip
        assert (await refusal(call))[0] is grpc.StatusCode.PERMISSION_DENIED
    refused = (await stub.ListAudit(wire.ListAuditRequest(refused=True, subject="gpu-2"))).entries
    assert [(each.caller, each.action) for each in refused] == [("node gpu-1", "DRAIN_NODE")]


async def test_endpoints_are_listed_with_their_share_and_the_reason(plane: Control, stub: Any) -> None:
    await stub.SetNodeWeight(wire.SetNodeWeightRequest(node_id="gpu-2", factor=0.25))
    first, second, other = (await stub.ListEndpoints(wire.ListEndpointsRequest())).endpoints
    assert [(each.model, each.node_id) for each in (first, second, other)] == [
        ("m", "gpu-1"),
        ("m", "gpu-2"),
        ("n", "gpu-2"),
    ]
    assert (first.expected_share, second.expected_share, second.weight, second.factor) == (0.8, 0.2, 250, 0.25)
    assert list(second.reasons) == ["Its weight is ordered: local ordered 0.25 times the weight."]
    assert not first.HasField("observed")
    only = wire.ListEndpointsRequest(model="m", node_id="gpu-1")
    assert [each.node_id for each in (await stub.ListEndpoints(only)).endpoints] == ["gpu-1"]
    for unknown in (wire.ListEndpointsRequest(model="x"), wire.ListEndpointsRequest(node_id="x")):
        assert (await refusal(stub.ListEndpoints(unknown)))[0] is grpc.StatusCode.NOT_FOUND


async def test_watched_endpoints_follow_orders(plane: Control, stub: Any) -> None:
    call = stub.WatchEndpoints(wire.WatchEndpointsRequest(node_id="gpu-1"))
    assert (await call.read()).endpoints[0].takes_calls
    await stub.QuarantineNode(wire.QuarantineNodeRequest(node_id="gpu-1"))
    assert not (await call.read()).endpoints[0].takes_calls
    call.cancel()


async def test_models_and_clients_are_watched(plane: Control, stub: Any) -> None:
    models, clients = stub.WatchModels(wire.WatchModelsRequest()), stub.WatchClients(wire.WatchClientsRequest())
    assert (await models.read()).models[1].serving_nodes == ["gpu-2"]
    assert not (await clients.read()).clients
    plane.registry.drain("gpu-2")
    assert (await models.read()).models[1].serving_nodes == []
    plane.clients.connected("envoy-1", Dialect.ENVOY, "envoy")
    assert [each.client_id for each in (await clients.read()).clients] == ["envoy-1"]
    models.cancel()
    clients.cancel()


async def test_events_are_listed_by_subject_and_the_last_ones_only(plane: Control, stub: Any) -> None:
    plane.registry.drain("gpu-1")
    events = (await stub.ListEvents(wire.ListEventsRequest(subject="gpu-1"))).events
    assert events[0].kind == "NODE_JOINED"
    assert {"NODE_DRAINED", "NODE_DRAINING"} < {each.kind for each in events}
    assert list((await stub.ListEvents(wire.ListEventsRequest(subject="gpu-1", limit=1))).events) == [events[-1]]
    assert len((await stub.ListEvents(wire.ListEventsRequest())).events) > len(events)


async def test_a_model_a_node_and_a_call_are_explained(plane: Control, stub: Any) -> None:
    made = await stub.Explain(wire.ExplainRequest(model="m"))
    assert (made.model, [each.node_id for each in made.candidates]) == ("m", ["gpu-1", "gpu-2"])
    assert (await stub.Explain(wire.ExplainRequest(node_id="gpu-2"))).summary.startswith("Node 'gpu-2' is serving")
    there = Try(
        "m", Address("127.0.0.1", 2), Outcome.FAILED, 0.25, plane.clock.monotonic(), request_id="r", status="gRPC 14"
    )
    plane.recent.kept([there, Try("m", Address("127.0.0.9", 9), Outcome.RESET, 0.1, there.at, 2, request_id="r")])
    made = await stub.Explain(wire.ExplainRequest(request_id="r"))
    assert [(each.node_id, each.address, each.attempt) for each in made.tries] == [
        ("gpu-2", "127.0.0.1:2", 1),
        ("", "127.0.0.9:9", 2),
    ]
    assert made.tries[0].meaning == "The node answered with an error of its own (gRPC 14)."
    assert abs(made.tries[0].ended.seconds - plane.clock.wall()) < 5
    assert made.tries[0].duration.ToMilliseconds() == 250
    for unknown in (
        wire.ExplainRequest(model="x"),
        wire.ExplainRequest(node_id="x"),
        wire.ExplainRequest(request_id="x"),
    ):
        assert (await refusal(stub.Explain(unknown)))[0] is grpc.StatusCode.NOT_FOUND
    assert (await refusal(stub.Explain(wire.ExplainRequest())))[0] is grpc.StatusCode.INVALID_ARGUMENT
