from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import pytest
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.instances import Envoys
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.envoy.standby import write_standby
from inferno_proxy.envoy.waiting_room import WaitingRoom
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.resources import build
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.certificates import authority, identity, issued
from tests.integration.inferno_proxy.envoy.world import Server, member, model, resource_settings, serving, view
from tests.waiting import eventually


@pytest_asyncio.fixture
async def settings(socket_dir: Path) -> AsyncIterator[EnvoySettings]:
    """An Envoy's settings, with a standby file that leads to a server."""
    listen = Address("127.0.0.1", free_port())
    async with serving(Server("n1")) as server:
        settings = EnvoySettings(socket_dir, socket_dir / "control.sock", listen, workers=1)
        fleet = view(member(server, [model("magika")]))
        built = build(plan(fleet, RoutingSettings()), resource_settings(socket_dir, listen), 1, {})
        write_standby(settings.standby_file, built[Dialect.ENVOY])
        yield settings


@contextlib.asynccontextmanager
async def kept(*several: EnvoySettings) -> AsyncIterator[list[EnvoyProcess]]:
    """Envoys on one port, kept alive."""
    ready = Latest(initial=False)
    envoys = [EnvoyProcess(each, ready, grace=0.5) for each in several]
    async with Envoys({several[0].listen: None}, envoys, SystemClock()) as together, asyncio.TaskGroup() as group:
        keeper = group.create_task(together.keep())
        yield envoys
        keeper.cancel()


def dial(listen: Address) -> grpc.aio.Channel:
    """A client as anybody has it: it retries nothing, and dials again after a second."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(str(listen), options=options)


async def lost(channel: grpc.aio.Channel) -> None:
    """Wait until the client knows that its connection has ended: what it sends before that is lost with it."""
    while (state := channel.get_state()) is grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)


async def infer(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    await stub.ModelInfer(pb.ModelInferRequest(model_name="magika"), timeout=60)


def kill(envoy: EnvoyProcess) -> None:
    assert envoy.life.value is not None
    envoy.life.value.process.send_signal(signal.SIGKILL)


async def test_calls_made_while_no_envoy_lives_are_answered_by_the_next_one(settings: EnvoySettings) -> None:
    async with kept(settings) as (envoy,), dial(settings.listen) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await infer(stub)
        kill(envoy)
        await envoy.life.wait_for(lambda life: life is None)
        await lost(channel)
        await asyncio.gather(*[infer(stub) for _ in range(20)])
        assert envoy.restarts == 1


async def test_a_stream_opened_while_no_envoy_lives_is_answered_by_the_next_one(settings: EnvoySettings) -> None:
    async with kept(settings) as (envoy,), dial(settings.listen) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await infer(stub)
        kill(envoy)
        await envoy.life.wait_for(lambda life: life is None)
        await lost(channel)
        stream = stub.ModelStreamInfer(iter([pb.ModelInferRequest(model_name="magika")]), timeout=60)
        assert [answer async for answer in stream]


async def test_over_rest_it_asks_to_come_again(settings: EnvoySettings) -> None:
    url = f"http://{settings.listen}/v2/models/magika"
    async with kept(settings) as (envoy,), aiohttp.ClientSession() as session:
        kill(envoy)
        await envoy.life.wait_for(lambda life: life is None)
        async with session.get(url) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (503, "0")
        async with session.get(url) as answer:
            assert answer.status == 200


async def test_a_client_that_says_nothing_is_not_waited_for_when_the_port_is_closed(settings: EnvoySettings) -> None:
    serving, clock = Latest(initial=True), SystemClock()
    async with asyncio.TaskGroup() as group:
        room = group.create_task(WaitingRoom(settings.listen, serving, clock, patience=0.3).run())

        def refused() -> bool:
            connection = probe(settings.listen)
            if connection is not None:
                connection.close()
            return connection is None

        silent = await eventually(lambda: probe(settings.listen), 2, "connections are taken")
        assert silent is not None
        serving.set(False)
        await eventually(refused, 2, "nobody waits for an Envoy that does not come")
        silent.close()
        serving.set(True)
        again = await eventually(lambda: probe(settings.listen), 2, "it is open again")
        assert again is not None
        again.close()
        room.cancel()


async def test_where_envoy_speaks_tls_so_does_it(settings: EnvoySettings, tmp_path: Path) -> None:
    serving, clock = Latest(initial=True), SystemClock()
    ca = authority(clock.wall() - 1)
    shown = identity(tmp_path / "served", ca, issued(ca, "", "localhost", now=clock.wall() - 1))
    context = ssl.create_default_context(cadata=ca.trusted.decode())
    context.set_alpn_protocols(["h2"])
    async with asyncio.TaskGroup() as group:
        room = group.create_task(WaitingRoom(settings.listen, serving, clock, patience=5, tls=shown).run())
        plain = await eventually(lambda: probe(settings.listen), 2, "connections are taken")
        serving.set(False)
        reader, writer = await asyncio.open_connection(
            settings.listen.host, settings.listen.port, ssl=context, server_hostname="localhost"
        )
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        serving.set(True)
        # SETTINGS, then GOAWAY with last stream 0: RFC 9113, sections 6.5 and 6.8.
        said = await reader.readexactly(9 + 17)
        assert (said[3], said[9 + 3], said[18:22]) == (4, 7, bytes(4))
        writer.close()
        assert plain is not None
        plain.close()
        room.cancel()


async def test_who_has_waited_too_long_is_sent_away_all_the_same(settings: EnvoySettings) -> None:
    serving, clock = Latest(initial=True), SystemClock()
    async with asyncio.TaskGroup() as group:
        room = group.create_task(WaitingRoom(settings.listen, serving, clock, patience=0.3).run())
        waiting = await eventually(lambda: probe(settings.listen), 2, "connections are taken")
        assert waiting is not None
        serving.set(False)
        reader, writer = await asyncio.open_connection(sock=waiting)
        writer.write(b"POST /v2/models/m/infer HTTP/1.1\r\n\r\n")
        assert b"503" in await reader.read()
        writer.close()
        room.cancel()


async def test_an_ipv6_address_has_no_waiting_room() -> None:
    listen = Address("::1", free_port("::1"))
    await WaitingRoom(listen, Latest(initial=True), SystemClock()).run()
    assert probe(listen) is None


@pytest.mark.parametrize("victim", [0, 1])
async def test_of_two_envoys_on_the_port_one_takes_every_new_call_when_the_other_dies(
    settings: EnvoySettings, victim: int
) -> None:
    pair = [EnvoySettings(settings.directory, settings.xds_socket, settings.listen, f"envoy-{n}", 1) for n in (1, 2)]
    async with kept(*pair) as envoys:
        kill(envoys[victim])
        await envoys[victim].life.wait_for(lambda life: life is None)
        assert envoys[1 - victim].life.value is not None
        async with dial(settings.listen) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            await asyncio.gather(*[infer(stub) for _ in range(20)])
        await envoys[victim].life.wait_for(lambda life: life is not None)
        assert envoys[1 - victim].restarts == 0


async def test_an_envoy_that_cannot_be_replaced_goes_on(settings: EnvoySettings) -> None:
    nobody = Latest(initial=False)
    envoy = EnvoyProcess(settings, nobody, grace=0.5, patience=0.2)
    async with Envoys({settings.listen: None}, [envoy], SystemClock()) as envoys, dial(settings.listen) as channel:
        before = envoys.pids
        await envoys.replace()
        assert envoys.pids == before
        await infer(service_pb2_grpc.GRPCInferenceServiceStub(channel))


def probe(listen: Address) -> socket.socket | None:
    """A connection, or None when it is refused."""
    with contextlib.suppress(ConnectionRefusedError):
        return socket.create_connection((listen.host, listen.port))
    return None
