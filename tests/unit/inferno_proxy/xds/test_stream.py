"""One stream with real bytes and an event loop, without gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from envoy_data_plane.google.protobuf import Struct, Value
from envoy_data_plane.google.rpc import Status

from inferno_proxy.envoy.bootstrap import LISTEN
from inferno_proxy.publishing.snapshot import Dialect, Resource, ResourceType, Snapshot, content_version
from inferno_proxy.xds.clients import ClientTable, SyncState
from inferno_proxy.xds.order import Bounds
from inferno_proxy.xds.stream import DELTA, Stream, dialect_of
from inferno_runtime.clock import ManualClock, SystemClock
from inferno_runtime.errors import Denied, InvalidInput
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.xds.peers import CDS, EDS, LDS, RDS, fleet

Requests = asyncio.Queue[DeltaDiscoveryRequest | Exception | None]


class Conversation:
    """A client's end: put requests in, take answers out."""

    def __init__(self, snapshot: Snapshot | None, *, bounds: Bounds | None = None) -> None:
        initial: Mapping[Dialect, Snapshot] = {} if snapshot is None else {Dialect.ENVOY: snapshot}
        self.snapshots: Latest[Mapping[Dialect, Snapshot]] = Latest(initial)
        self.table = ClientTable(ManualClock())
        self.requests: Requests = asyncio.Queue()
        self.stream = Stream(
            DELTA,
            self.snapshots,
            self.table,
            SystemClock(),
            admit=self.admit,
            bounds=bounds or Bounds(),
            version=content_version,
        )

    def admit(self, client_id: str, dialect: Dialect) -> None:
        assert dialect is Dialect.ENVOY
        if client_id == "stranger":
            raise Denied("No.", reason="NOT_YOURS")

    async def _read(self) -> AsyncIterator[bytes]:
        while (item := await self.requests.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield bytes(item)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[DeltaDiscoveryResponse]]:
        async def parsed() -> AsyncIterator[DeltaDiscoveryResponse]:
            async for raw in self.stream.answers():
                yield DeltaDiscoveryResponse.parse(raw)

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self.stream.read(self._read()))
            yield parsed()
            self.stream.close()
            reading.cancel()

    def ask(self, kind: str, *names: str, node: str = "", nonce: str = "", error: str = "", listen: str = "") -> None:
        said = Struct(fields={LISTEN: Value(string_value=listen)}) if listen else None
        self.requests.put_nowait(
            DeltaDiscoveryRequest(
                node=Node(id=node, user_agent_name="envoy", metadata=said) if node else None,
                type_url=kind,
                resource_names_subscribe=list(names),
                response_nonce=nonce,
                error_detail=Status(message=error) if error else None,
            )
        )


async def test_nothing_is_answered_before_the_first_snapshot() -> None:
    talk = Conversation(None)
    async with talk.open() as answers:
        talk.ask(CDS, node="me")

        async def next_answer() -> DeltaDiscoveryResponse:
            return await anext(answers)

        first = asyncio.create_task(next_answer())
        done, _ = await asyncio.wait([first], timeout=0.05)
        assert not done
        talk.snapshots.set({Dialect.ENVOY: fleet(1, ["a"])})
        talk.stream.wake()
        assert [r.name for r in (await first).resources] == ["a"]


async def test_the_table_shows_what_the_client_has_and_what_it_refused() -> None:
    talk = Conversation(fleet(1, ["a"]), bounds=Bounds(additions=0.02))
    async with talk.open() as answers:
        talk.ask(CDS, node="me")
        talk.ask(EDS)
        first = await anext(answers)
        assert talk.table.clients[0].types[CDS].state is SyncState.PENDING
        talk.ask(CDS, nonce=first.nonce)
        talk.ask(LDS)
        second = await anext(answers)
        assert talk.table.clients[0].types[CDS].state is SyncState.SYNCED
        assert talk.table.clients[0].types[CDS].version == first.system_version_info
        talk.ask(LDS, nonce=second.nonce, error="bad filter")
        talk.ask(RDS, "public")
        await anext(answers)
        (seen,) = talk.table.clients
        assert (seen.types[LDS].state, seen.types[LDS].reason) == (SyncState.NACKED, "bad filter")
        assert seen.types[EDS].state is SyncState.UNKNOWN
        assert (seen.client_id, seen.dialect) == ("me", Dialect.ENVOY)
    assert talk.table.clients == ()


async def test_a_wait_that_nobody_ends_is_ended_by_time() -> None:
    talk = Conversation(fleet(1, ["a"]), bounds=Bounds(additions=0.05))
    async with talk.open() as answers:
        talk.ask(CDS, node="me")
        first = await anext(answers)
        talk.ask(CDS, nonce=first.nonce)
        talk.ask(RDS, "public")
        assert (await anext(answers)).type_url == RDS


async def test_the_end_of_requests_ends_the_stream() -> None:
    talk = Conversation(fleet(1, ["a"]))
    async with talk.open() as answers:
        talk.requests.put_nowait(None)
        assert [answer async for answer in answers] == []


async def test_a_client_that_is_not_let_in_gets_nothing_and_no_place_in_the_table() -> None:
    talk = Conversation(fleet(1, ["a"]))
    async with talk.open() as answers:
        talk.ask(CDS, node="stranger")
        with pytest.raises(Denied):
            await anext(answers)
        assert talk.table.clients == ()


async def test_closing_ends_the_stream_and_the_place_in_the_table() -> None:
    talk = Conversation(fleet(1, ["a"]))
    async with talk.open() as answers:
        talk.ask(CDS, node="me")
        await anext(answers)
        talk.stream.close()
        talk.stream.close()
        assert [answer async for answer in answers] == []
        assert talk.table.clients == ()


async def test_a_client_without_a_name_is_refused() -> None:
    talk = Conversation(fleet(1, ["a"]))
    async with talk.open() as answers:
        talk.ask(CDS)
        with pytest.raises(InvalidInput, match="which client"):
            await anext(answers)


async def test_a_stream_that_asks_for_too_many_types_is_refused() -> None:
    talk = Conversation(fleet(1, ["a"]))
    async with talk.open() as answers:
        for number in range(33):
            talk.ask(f"type/{number}", node="me")
        with pytest.raises(InvalidInput, match="more than 32 types"):
            async for _ in answers:
                pass


async def test_a_defect_while_reading_ends_this_stream_with_the_defect() -> None:
    talk = Conversation(fleet(1, ["a"]))
    async with talk.open() as answers:
        talk.requests.put_nowait(ZeroDivisionError("a defect"))
        with pytest.raises(ZeroDivisionError):
            await anext(answers)


@pytest.mark.parametrize(
    ("user_agent", "dialect"),
    [
        ("envoy", Dialect.ENVOY),
        ("gRPC C-core linux Python C-core 58.0.0 Python 1.85.1", Dialect.GRPC),
        ("grpc-java 1.70", Dialect.GRPC),
        ("", Dialect.ENVOY),
    ],
)
def test_a_client_is_known_by_its_name_for_its_software(user_agent: str, dialect: Dialect) -> None:
    assert dialect_of(user_agent) is dialect


async def test_an_envoy_of_another_machine_is_told_of_its_own_address() -> None:
    there = {ResourceType.LISTENER: {"public": Resource.of("public", bytes(Listener(name="public")))}}
    talk = Conversation(replace(fleet(1, ["a"]), elsewhere=there))
    async with talk.open() as answers:
        talk.ask(LDS, "*", node="edge", listen="10.0.0.9:80")
        answer = await anext(answers)
        (found,) = answer.resources
        assert found.resource is not None
        listener = Listener.parse(found.resource.value)
        assert listener.address is not None
        assert listener.address.socket_address is not None
        assert listener.address.socket_address.address == "10.0.0.9"


async def test_an_address_that_is_none_ends_the_stream_before_anybody_counts_it() -> None:
    talk = Conversation(fleet(1, ["a"]))
    async with talk.open() as answers:
        talk.ask(LDS, "*", node="edge", listen="nowhere")
        with pytest.raises(InvalidInput, match=r"inferno\.listen in the node's metadata"):
            await anext(answers)
    assert talk.table.clients == ()
