"""What Inferno gives to gRPC clients is what the real gRPC library takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from inferno_proxy.envoy.outside import Outside, grpc_bootstrap
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.fleet import Address, FleetView, Phase
from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.resources import build
from inferno_proxy.routing.advised import advised
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_proxy.routing.traffic import Balance, Split, Traffic, TrafficTable
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.certificates import DOMAIN
from tests.integration.inferno_backend.members import identified, mesh_authority
from tests.integration.inferno_backend.secured import node
from tests.integration.inferno_proxy.envoy.world import Server, member, model, resource_settings, serving, view
from tests.integration.inferno_proxy.xds.world import ControlPlane

MODELS = [model("magika"), model("counter", stateful=True)]

# A program that knows nothing of Inferno but the address it is given: prints the node that answered each call.
_CLIENT = """
import os, sys, grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
name, sequence, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
secured = grpc.xds_channel_credentials() if "certificate_providers" in os.environ["GRPC_XDS_BOOTSTRAP_CONFIG"] else None
target = f"xds:///{name}"
channel = grpc.secure_channel(target, secured) if secured else grpc.insecure_channel(target)
metadata = [("x-inferno-sequence", sequence), ("x-session", sequence)] if sequence else []
stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
request = service_pb2.ModelInferRequest(model_name=name)
for _ in range(calls):
    try:
        print(stub.ModelInfer(request, metadata=metadata, timeout=60).parameters["node"].string_param)
    except grpc.RpcError as error:
        print(error.code().name)
"""


@contextlib.asynccontextmanager
async def controlled(
    directory: Path,
    fleet: FleetView,
    routing: RoutingSettings | None = None,
    advice: Advice | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[ControlPlane, Address]]:
    address = Address("127.0.0.1", free_port())
    planned = advised(plan(fleet, routing or RoutingSettings()), advice or Advice())
    built = build(planned, replace(resource_settings(directory, address), **settings), 1, {})
    snapshots: Latest[Mapping[Dialect, Snapshot]] = Latest(built)
    async with ControlPlane(str(address), snapshots) as control:
        yield control, address


async def answers(
    address: Address, name: str, *, sequence: str = "", calls: int = 20, identity: IdentityFolder | None = None
) -> list[str]:
    bootstrap = json.dumps(grpc_bootstrap(Outside("client", [address], identity, plaintext=True)))
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CLIENT, name, sequence, str(calls)),
        env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap},
        stdout=subprocess.PIPE,
    )
    out, _ = await client.communicate()
    return out.decode().split()


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[tuple[Server, Server]]:
    async with serving(Server("n1")) as one, serving(Server("n2")) as two:
        yield one, two


async def test_every_resource_is_accepted_and_calls_are_spread(socket_dir: Path, pair: tuple[Server, Server]) -> None:
    fleet = view(member(pair[0], MODELS, zone="a"), member(pair[1], MODELS))
    async with controlled(socket_dir, fleet) as (control, address):
        assert set(await answers(address, "magika")) == {"n1", "n2"}
        assert {event.kind for event in control.events} <= {"CLIENT_CONNECTED", "CLIENT_DISCONNECTED"}


async def test_nodes_that_take_tls_are_reached_with_a_certificate_of_the_mesh(
    socket_dir: Path, tmp_path: Path, pair: tuple[Server, Server]
) -> None:
    by = mesh_authority()
    client = identified(tmp_path / "client", by, "client/c")
    async with node(tmp_path / "one", by, "one") as one, node(tmp_path / "foreign", mesh_authority(), "x") as foreign:
        fleet = view(one.member, foreign.member, member(pair[0], MODELS))
        async with controlled(socket_dir, fleet, identity=tmp_path, trust_domain=DOMAIN) as (control, address):
            assert set(await answers(address, "magika", identity=client)) == {"one"}
            # Whose bootstrap names no certificates refuses the cluster.
            assert set(await answers(address, "magika", calls=1)) == {"UNAVAILABLE"}
            assert "CLIENT_REFUSED" in {event.kind for event in control.events}


async def test_a_sequence_named_in_metadata_stays_on_one_node(socket_dir: Path, pair: tuple[Server, Server]) -> None:
    async with controlled(socket_dir, view(*(member(server, MODELS) for server in pair))) as (_, address):
        assert len(set(await answers(address, "counter", sequence="7"))) == 1


async def test_a_session_stays_on_one_node_and_every_balance_is_accepted(
    socket_dir: Path, pair: tuple[Server, Server]
) -> None:
    table = {str(balance): Traffic(balance, "x-session", 5, 9, retries=0, max_concurrency=1) for balance in Balance}
    fleet = view(*(member(server, [model(name) for name in table]) for server in pair))
    async with controlled(socket_dir, fleet, RoutingSettings(TrafficTable(table))) as (control, address):
        for balance in Balance:
            kept_together = len(set(await answers(address, balance, sequence="7"))) == 1
            assert kept_together is balance.hashes
        assert {event.kind for event in control.events} <= {"CLIENT_CONNECTED", "CLIENT_DISCONNECTED"}


async def test_calls_are_shared_out_by_weight(socket_dir: Path, pair: tuple[Server, Server]) -> None:
    fleet = view(*(member(server, MODELS, labels={"track": server.name}) for server in pair))
    routing = RoutingSettings(TrafficTable({"magika": Traffic(split=Split("track", (("n1", 95), ("n2", 5))))}))
    async with controlled(socket_dir, fleet, routing) as (_, address):
        assert (await answers(address, "magika", calls=200)).count("n2") < 50


async def test_a_node_of_a_lesser_weight_gets_fewer_calls(socket_dir: Path, pair: tuple[Server, Server]) -> None:
    fleet = view(*(member(server, MODELS) for server in pair))
    learned = Advice(weights={("magika", "n2"): 50})
    async with controlled(socket_dir, fleet, advice=learned) as (control, address):
        assert (await answers(address, "magika", calls=200)).count("n2") < 50
        assert {event.kind for event in control.events} <= {"CLIENT_CONNECTED", "CLIENT_DISCONNECTED"}


async def test_a_draining_node_gets_no_new_call(socket_dir: Path, pair: tuple[Server, Server]) -> None:
    fleet = view(member(pair[0], MODELS, phase=Phase.DRAINING), member(pair[1], MODELS))
    async with controlled(socket_dir, fleet) as (_, address):
        assert set(await answers(address, "magika")) == {"n2"}


@pytest.mark.parametrize(("name", "executions"), [("magika", 4), ("counter", 1)])
async def test_a_call_a_node_did_not_take_is_repeated_for_stateless_models_only(
    socket_dir: Path, pair: tuple[Server, Server], name: str, executions: int
) -> None:
    for server in pair:
        server.failure = grpc.StatusCode.UNAVAILABLE
    async with controlled(socket_dir, view(*(member(server, MODELS) for server in pair))) as (_, address):
        assert await answers(address, name, sequence="7", calls=1) == ["UNAVAILABLE"]
        assert sum(len(server.calls) for server in pair) == executions
