"""Who has no place in the mesh and tries to take one: row 31, its part at the mesh port."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import duration_pb2

from benchmarks.cloud import Cloud, CloudError, load, wait_until
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import relay
from benchmarks.faults.view import RECOVERY, after, mesh_of, settled
from benchmarks.members import DOMAIN, certified, new_authority
from inferno.identity.v1 import identity_service_pb2 as identity
from inferno.identity.v1 import identity_service_pb2_grpc
from inferno.registration.v1 import node_pb2, registration_service_pb2_grpc
from inferno.registration.v1 import registration_service_pb2 as wire
from inferno_backend.joining import join
from inferno_backend.link import PLAIN, Link
from inferno_runtime import rpc
from inferno_runtime.errors import InfernoError
from inferno_runtime.identity.authority import Authority, KeyPair, make_request
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.join_token import JoinToken
from inferno_runtime.identity.names import Role
from inferno_runtime.process import free_port

MESH_ADDRESS = f"127.0.0.1:{free_port()}"
WITH_MESH_PORT = f"proxy:\n  mesh_port: {MESH_ADDRESS.rpartition(':')[2]}\n  models:\n    whoami: {{hedge_after: 1}}\n"
LET_IN = "strangers let in"
NOTED = "refusals in the audit log"

# How each attempt ends: gRPC status, and the reason in the audit log.
REFUSALS = {
    "expired certificate": ("UNAVAILABLE", "CERTIFICATE_EXPIRED"),
    "certificate of another CA": ("UNAVAILABLE", "CERTIFICATE_UNTRUSTED"),
    "no certificate": ("UNAUTHENTICATED", "NO_CREDENTIAL"),
    "another node's certificate": ("PERMISSION_DENIED", "NOT_YOURS"),
    "wrong token": ("UNAUTHENTICATED", "TOKEN_WRONG"),
    "expired token": ("UNAUTHENTICATED", "TOKEN_EXPIRED"),
    "replayed token": ("UNAUTHENTICATED", "TOKEN_USED"),
    "another node's token": ("PERMISSION_DENIED", "TOKEN_OF_ANOTHER"),
}


@dataclass(frozen=True, slots=True)
class _Stranger:
    """Tries to register as ``node_id``, over what ``way`` gives it or refuses it."""

    what: str
    node_id: str
    way: Callable[[], Awaitable[Link]]


async def strangers(cloud: Cloud, path: Route) -> Measured:
    """Row 31: nodes with bad certificates and tokens, or without, register a server of theirs for the load's model."""
    own = AuthorityFolder(_folder(cloud) / "authority").open(DOMAIN, time.time())
    async with rpc.channel(f"unix:{_folder(cloud) / 'control.sock'}") as local:
        tries = [*_with_certificates(own), *await _with_tokens(own, local)]
    return await _tried(cloud, path, MESH_ADDRESS, tries)


async def strangers_unasked(cloud: Cloud, path: Route) -> Measured:
    """Control of row 31: the same nodes at a proxy that knows nobody by name. There is nothing to show there."""

    async def plain() -> Link:
        return PLAIN

    tries = [_Stranger(what, f"stranger-{number}", plain) for number, what in enumerate(REFUSALS)]
    return await _tried(cloud, path, cloud.endpoint, tries)


async def _tried(cloud: Cloud, path: Route, proxy: str, tries: Sequence[_Stranger]) -> Measured:
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        real = min(one.node.grpc_address for one in (await view.nodes()).values())
        async with relay(real) as (server, address), load(path.target, env=path.env) as running:
            ends = {each.what: await _ends(proxy, each, address) for each in tries}
            noted = await _noted(cloud)
            report = await after(running, 2)
        inside = sorted(name for name in await view.nodes() if name.startswith("stranger"))
        await _leave(cloud, inside)
    wrong = {what: code for what, code in ends.items() if code not in ("OK", REFUSALS[what][0])}
    if wrong:
        raise CloudError(f"refused otherwise than promised: {wrong}")
    let_in = sum(ends[each.what] == "OK" or each.node_id in inside for each in tries)
    report.failed += server.calls
    note = f"{len(ends)} attempts, {', '.join(f'{what}: {code}' for what, code in ends.items())}"
    note += f"; {server.calls} calls to their server"
    return Measured(report, figures={LET_IN: float(let_in), NOTED: float(noted)}, note=note)


async def _ends(proxy: str, stranger: _Stranger, address: str) -> str:
    """The status with which an attempt ends."""
    ready = node_pb2.ModelVersion(version="1", state=node_pb2.MODEL_STATE_READY)
    node = node_pb2.Node(
        node_id=stranger.node_id,
        incarnation=1,
        grpc_address=address,
        models=[node_pb2.Model(name="whoami", versions=[ready])],
        condition=node_pb2.NODE_CONDITION_SERVING,
    )
    try:
        link = await stranger.way()
        async with link.channel(proxy) as channel:
            stub: Any = registration_service_pb2_grpc.RegistrationServiceStub(channel)
            await stub.Announce(wire.AnnounceRequest(node=node), timeout=5)
    except InfernoError as error:
        return error.grpc_code_name
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def _with_certificates(own: Authority) -> list[_Stranger]:
    """Strangers with a certificate, or without."""

    def showing(pair: KeyPair) -> Callable[[], Awaitable[Link]]:
        async def way() -> Link:
            return Link(own.trusted, pair.certificate, pair.key)

        return way

    pairs = {
        "expired certificate": certified(own, Role.NODE, "stranger-0", ended=True),
        "certificate of another CA": certified(new_authority(), Role.NODE, "stranger-1"),
        "no certificate": KeyPair(b"", b""),
        "another node's certificate": certified(own, Role.NODE, "somebody-else"),
    }
    return [_Stranger(what, f"stranger-{number}", showing(pair)) for number, (what, pair) in enumerate(pairs.items())]


async def _with_tokens(own: Authority, local: grpc.aio.Channel) -> list[_Stranger]:
    """Strangers with tokens: each is no good by the time it is shown."""
    mesh = [MESH_ADDRESS]

    def joining(token: JoinToken, node_id: str) -> Callable[[], Awaitable[Link]]:
        async def way() -> Link:
            request = make_request()
            credential = await join(mesh, token, node_id, request)
            return Link(own.trusted, credential.certificate, request.key)

        return way

    ended, used = await _token(local, "stranger-*", seconds=1), await _token(local, "stranger-*")
    await asyncio.gather(join(mesh, used, "stranger-6", make_request()), asyncio.sleep(1.1))
    tokens = {
        "wrong token": JoinToken.make(own.pin),
        "expired token": ended,
        "replayed token": used,
        "another node's token": await _token(local, "somebody-else"),
    }
    names = [(f"stranger-{number}", each) for number, each in enumerate(tokens.items(), start=4)]
    return [_Stranger(what, name, joining(token, name)) for name, (what, token) in names]


async def _token(local: grpc.aio.Channel, pattern: str, seconds: int = 60) -> JoinToken:
    stub: Any = identity_service_pb2_grpc.IdentityServiceStub(local)
    request = identity.CreateTokenRequest(
        role=identity.MEMBER_ROLE_NODE, name_pattern=pattern, lifetime=duration_pb2.Duration(seconds=seconds)
    )
    return JoinToken.parse(str((await stub.CreateToken(request, timeout=5)).token))


async def _noted(cloud: Cloud) -> int:
    """How many of the reasons have their line, once all have or five seconds are over."""
    file, expected = _folder(cloud) / "audit.jsonl", {reason for _, reason in REFUSALS.values()}

    def found() -> set[str]:
        lines = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        return expected & {str(one.get("refused", "")).partition(":")[0] for one in lines}

    try:
        await wait_until(lambda: found() == expected, 5, "every refusal is noted")
    except CloudError:
        return len(found())
    return len(expected)


async def _leave(cloud: Cloud, names: Sequence[str]) -> None:
    async with rpc.channel(cloud.endpoint) as channel:
        stub: Any = registration_service_pb2_grpc.RegistrationServiceStub(channel)
        for name in names:
            await stub.Deregister(wire.DeregisterRequest(node_id=name, incarnation=1), timeout=RECOVERY)


def _folder(cloud: Cloud) -> Path:
    return cloud.data_dir / "proxy"
