"""Tokens for certificates, and certificates for newer ones, over real connections; the headers are those Envoy sets."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from cryptography import x509

from inferno.identity.v1 import identity_service_pb2 as wire
from inferno.identity.v1 import identity_service_pb2_grpc as stubs
from inferno_runtime import rpc
from inferno_runtime.errors import AlreadyExists, Denied, Exhausted, Fenced, InfernoError, InvalidInput, NotFound
from inferno_runtime.errors import Unauthenticated as Unknown
from inferno_runtime.identity.authority import NODE_HOST, make_request, pinned
from inferno_runtime.identity.caller import CERTIFICATE, CLIENT, DOOR, ROLE
from inferno_runtime.identity.join_token import JoinToken
from inferno_runtime.identity.preflight import facts_of
from tests.integration.inferno_proxy.control import Control
from tests.unit.inferno_proxy.nodes import node

Headers = tuple[tuple[str, str], ...]
STRANGER: Headers = ((DOOR, "mesh"),)
OPERATOR: Headers = ((DOOR, "public"), (CLIENT, "ann"), (ROLE, "operator"))


def member(role: str, name: str) -> Headers:
    return (*STRANGER, (CERTIFICATE, f"Hash=00;URI=spiffe://inferno/{role}/{name}"))


class Caller:
    """A client of the service with what Envoy says of it."""

    def __init__(self, plane: Control, headers: Headers) -> None:
        self._stub: Any = stubs.IdentityServiceStub(plane.channel)
        self._headers = headers

    async def _call(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self._stub, method)(request, metadata=self._headers)
        except grpc.aio.AioRpcError as error:
            raise rpc.error_from_rpc(error, "the proxy") from None

    async def token(self, pattern: str = "gpu-*", role: wire.MemberRole.ValueType = wire.MEMBER_ROLE_NODE) -> str:
        answer = await self._call("CreateToken", wire.CreateTokenRequest(role=role, name_pattern=pattern))
        return str(answer.token)

    async def join(
        self,
        token: str,
        name: str = "gpu-7",
        csr: bytes | None = None,
        role: wire.MemberRole.ValueType = wire.MEMBER_ROLE_NODE,
    ) -> wire.Credential:
        request = wire.JoinRequest(token=token, role=role, name=name)
        request.certificate_request = make_request().csr if csr is None else csr
        answer: wire.JoinResponse = await self._call("Join", request)
        return answer.credential

    async def renew(self, csr: bytes | None = None) -> wire.Credential:
        request = wire.RenewRequest(certificate_request=make_request().csr if csr is None else csr)
        answer: wire.RenewResponse = await self._call("Renew", request)
        return answer.credential

    async def listed(self) -> list[wire.Token]:
        return list((await self._call("ListTokens", wire.ListTokensRequest())).tokens)

    async def revoke(self, token_id: str) -> wire.Token:
        answer: wire.RevokeTokenResponse = await self._call("RevokeToken", wire.RevokeTokenRequest(id=token_id))
        return answer.token


def noted(plane: Control) -> list[str]:
    lines = [json.loads(line) for line in plane.audit.read_text().splitlines()]
    return [
        f"{one['caller']} {one['action']} {one['subject']} {one.get('refused', 'done').partition(':')[0]}"
        for one in lines
    ]


async def test_a_token_becomes_a_certificate_and_that_a_newer_one(plane: Control) -> None:
    token = await Caller(plane, OPERATOR).token()
    async with plane.http.get("/identity/authority", headers=dict(STRANGER)) as answer:
        offered = await answer.read()
        assert answer.status == 200
    assert pinned(offered, JoinToken.parse(token).pin) == offered
    credential = await Caller(plane, STRANGER).join(token)
    assert credential.name == "spiffe://inferno/node/gpu-7"
    assert credential.authority == offered
    certificate = facts_of(credential.certificate)
    assert certificate.names == (credential.name, NODE_HOST)
    assert certificate.not_after == credential.expires.seconds
    assert 86_000 < certificate.not_after - plane.clock.wall() <= 86_400
    newer = await Caller(plane, member("node", "gpu-7")).renew()
    assert facts_of(newer.certificate).serial != certificate.serial
    assert newer.name == credential.name
    x509.load_pem_x509_certificate(newer.certificate).verify_directly_issued_by(
        x509.load_pem_x509_certificate(newer.authority)
    )
    assert noted(plane) == [
        "operator ann CREATE_TOKEN node gpu-* done",
        "anonymous JOIN node gpu-7 done",
        "node gpu-7 RENEW node gpu-7 done",
    ]
    for secret in (JoinToken.parse(token).secret, "BEGIN"):
        assert secret not in plane.audit.read_text()


@pytest.mark.parametrize("role", ["proxy", "client", "operator"])
async def test_every_member_renews_its_own_name(plane: Control, role: str) -> None:
    plane.authority.made()
    assert (await Caller(plane, member(role, "x")).renew()).name == f"spiffe://inferno/{role}/x"


async def test_each_wrong_token_has_its_own_answer_and_its_line(plane: Control) -> None:
    operator, stranger = Caller(plane, OPERATOR), Caller(plane, STRANGER)
    used, revoked, gpus = await operator.token(), await operator.token(), await operator.token()
    await stranger.join(used)
    await operator.revoke(JoinToken.parse(revoked).token_id)
    wrong = str(JoinToken.make("0" * 64))
    cases: list[tuple[type[InfernoError], str, str, str]] = [
        (InvalidInput, "BAD_TOKEN", "garbage", "gpu-8"),
        (Unknown, "TOKEN_WRONG", wrong, "gpu-8"),
        (Unknown, "TOKEN_USED", used, "gpu-8"),
        (Unknown, "TOKEN_REVOKED", revoked, "gpu-8"),
        (Denied, "TOKEN_OF_ANOTHER", gpus, "cpu-8"),
        (InvalidInput, "BAD_NAME", gpus, "a/b"),
    ]
    for kind, reason, token, name in cases:
        with pytest.raises(kind) as refused:
            await stranger.join(token, name)
        assert refused.value.reason == reason
        assert refused.value.fix
    assert [line for line in noted(plane) if not line.endswith(" done")] == [
        f"anonymous JOIN node {name} {reason}" for _, reason, _, name in cases
    ]
    assert (await stranger.join(gpus, "gpu-8")).name == "spiffe://inferno/node/gpu-8"


async def test_a_request_of_no_use_costs_no_token(plane: Control) -> None:
    token, stranger = await Caller(plane, OPERATOR).token(), Caller(plane, STRANGER)
    for csr, role, reason in (
        (b"garbage", wire.MEMBER_ROLE_NODE, "BAD_REQUEST"),
        (None, wire.MEMBER_ROLE_UNSPECIFIED, "BAD_ROLE"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await stranger.join(token, csr=csr, role=role)
        assert refused.value.reason == reason
    assert (await stranger.join(token)).certificate


async def test_a_name_that_is_live_is_nobody_elses(plane: Control) -> None:
    token, stranger = await Caller(plane, OPERATOR).token(), Caller(plane, STRANGER)
    lease = plane.registry.join(node("gpu-7"))
    with pytest.raises(AlreadyExists) as refused:
        await stranger.join(token)
    assert refused.value.reason == "NAME_IN_USE"
    plane.registry.deregister("gpu-7", node("gpu-7").incarnation)
    lease.detach()
    assert (await stranger.join(token)).certificate


async def test_a_lost_answer_is_given_again_and_to_nobody_else(plane: Control) -> None:
    token, stranger, csr = await Caller(plane, OPERATOR).token(), Caller(plane, STRANGER), make_request().csr
    await stranger.join(token, csr=csr)
    assert (await stranger.join(token, csr=csr)).certificate
    with pytest.raises(Unknown) as refused:
        await stranger.join(token)
    assert refused.value.reason == "TOKEN_USED"


async def test_failed_joins_are_bounded_and_good_ones_are_not(plane: Control) -> None:
    token, stranger = await Caller(plane, OPERATOR).token(), Caller(plane, STRANGER)
    reasons = []
    for _ in range(30):
        with pytest.raises((InvalidInput, Exhausted)) as refused:
            await stranger.join("garbage")
        reasons.append(refused.value.reason)
    assert reasons[:20] == ["BAD_TOKEN"] * 20
    assert "TOO_MANY_FAILED_JOINS" in reasons[20:]
    assert noted(plane).count("anonymous JOIN node gpu-7 BAD_TOKEN") == reasons.count("BAD_TOKEN")
    assert (await stranger.join(token)).certificate


async def test_who_shows_no_certificate_renews_none(plane: Control) -> None:
    plane.authority.made()
    client: Headers = ((DOOR, "public"), (CLIENT, "app"))
    for headers, reason in ((STRANGER, "NO_CREDENTIAL"), (client, "NO_CERTIFICATE"), ((), "NO_CERTIFICATE")):
        with pytest.raises(Unknown) as refused:
            await Caller(plane, headers).renew()
        assert refused.value.reason == reason
    with pytest.raises(InvalidInput) as bad:
        await Caller(plane, member("node", "a")).renew(b"garbage")
    assert bad.value.reason == "BAD_REQUEST"


async def test_tokens_are_the_operators_affair(plane: Control) -> None:
    for headers in (STRANGER, member("node", "a"), member("proxy", "a"), ((DOOR, "public"), (CLIENT, "app"))):
        caller = Caller(plane, headers)
        for call in (caller.token(), caller.listed(), caller.revoke("x")):
            with pytest.raises((Denied, Unknown)):
                await call
    assert plane.tokens.tokens == ()


async def test_tokens_are_listed_and_revoked(plane: Control) -> None:
    operator = Caller(plane, OPERATOR)
    assert await operator.listed() == []
    first, second = JoinToken.parse(await operator.token()), JoinToken.parse(await operator.token("app"))
    await Caller(plane, STRANGER).join(str(first))
    await operator.revoke(second.token_id)
    assert [(one.id, one.name_pattern, one.state, one.used_by, one.creator) for one in await operator.listed()] == [
        (first.token_id, "gpu-*", wire.TOKEN_STATE_USED, "gpu-7", "operator ann"),
        (second.token_id, "app", wire.TOKEN_STATE_REVOKED, "", "operator ann"),
    ]
    for token_id, kind in ((first.token_id, Fenced), ("nothing", NotFound)):
        with pytest.raises(kind):
            await operator.revoke(token_id)
    assert "operator ann REVOKE_TOKEN nothing NO_SUCH_TOKEN" in noted(plane)


async def test_a_token_for_nobody_is_refused(plane: Control) -> None:
    operator = Caller(plane, OPERATOR)
    with pytest.raises(InvalidInput) as refused:
        await operator.token("[a]")
    assert refused.value.reason == "BAD_SCOPE"
    with pytest.raises(InvalidInput):
        await operator.token(role=wire.MEMBER_ROLE_UNSPECIFIED)
    assert noted(plane)[-1] == "operator ann CREATE_TOKEN member gpu-* BAD_ROLE"


async def test_before_there_is_an_authority_nobody_is_shown_one(plane: Control) -> None:
    async with plane.http.get("/identity/authority", headers=dict(STRANGER)) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (404, "NO_AUTHORITY")
    with pytest.raises(NotFound):
        await Caller(plane, member("node", "a")).renew()
