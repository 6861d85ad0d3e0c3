"""Clients by token, as a real Envoy verifies it: keys in the settings, and keys from a server."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import grpc
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inferno_proxy.routing.access import AccessTable, Client, TokenRules
from inferno_proxy.routing.plan import RoutingSettings
from inferno_runtime.identity.caller import Door
from tests.integration.inferno_proxy.envoy.test_access import World, hashed
from tests.integration.inferno_proxy.envoy.world import Server, controlling, member, model, proxied, serving, view
from tests.integration.inferno_proxy.signed_tokens import KEY, public_keys, token
from tests.waiting import eventually

CLIENTS = (
    Client("team", (hashed("inf_team"),), ("alice",), models=("magika",)),
    Client("boss", subjects=("bob",)),
)


@contextlib.asynccontextmanager
async def world(folder: Path, jwks: str, ca: str = "") -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(Server("n1")))
        await stack.enter_async_context(controlling(folder))
        address = await stack.enter_async_context(
            proxied(
                folder,
                view(member(server, [model("magika"), model("magika2")])),
                routing=RoutingSettings(access=AccessTable.of(CLIENTS)),
                door=Door.PUBLIC,
                clients=CLIENTS,
                tokens=TokenRules("https://id.example", ("mesh",), jwks, ca, leeway=1),
            )
        )
        made = World(address, [server], await stack.enter_async_context(aiohttp.ClientSession()))
        stack.push_async_callback(made.channel.close)
        yield made


async def test_a_token_makes_its_subject_a_client(socket_dir: Path) -> None:
    async with world(socket_dir, public_keys()) as mesh:
        for given in (token(), "inf_team"):
            assert await mesh.infer("magika", metadata=[("authorization", f"Bearer {given}")]) == "n1"
            assert (await mesh.refused("magika2", given))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert (await mesh.rest("/v2/models/magika2/infer", token(sub="bob")))[0] == 200
        for call, name in zip(mesh.servers[0].calls, ("team", "team", "boss"), strict=True):
            sent = {key.lower(): value for key, value in call.metadata.items()}
            assert sent["x-inferno-client"] == name
            assert not {"authorization", "x-inferno-subject"} & set(sent)


async def test_a_token_that_is_not_good_is_refused_with_the_reason(socket_dir: Path) -> None:
    async with world(socket_dir, public_keys()) as mesh:

        async def why(given: str) -> str:
            code, sentence = await mesh.refused("magika", given)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            return sentence

        assert "Jwt is expired" in await why(token(exp=int(time.time()) - 5))
        assert "verification fails" in await why(token(ec.generate_private_key(ec.SECP256R1())))
        assert "issuer is not configured" in await why(token(iss="https://other.example"))
        assert "Audiences in Jwt are not allowed" in await why(token(aud="other"))
        assert "its subject is no client here" in await why(token(sub="mallory"))
        assert "not known here" in await why("inf_other")
        # Tokens are taken from their header alone.
        async with mesh.http.post(f"{mesh.url}/v2/models/magika/infer?access_token={token()}", json={}) as answer:
            assert answer.status == 401
        assert not mesh.executed


@contextlib.asynccontextmanager
async def key_server(folder: Path, name: x509.GeneralName) -> AsyncIterator[str]:
    """A server of keys with a certificate of its own for ``name``; yields its port."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keys")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    app = web.Application()

    async def keys(_: web.Request) -> web.Response:
        return web.Response(text=public_keys(), content_type="application/json")

    app.router.add_get("/keys", keys)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/keys"
    finally:
        await runner.cleanup()


async def accepted(mesh: World) -> bool:
    try:
        await mesh.infer("magika", metadata=[("authorization", f"Bearer {token()}")])
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_keys_come_from_a_server_that_proves_who_it_is(socket_dir: Path) -> None:
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    async with (
        key_server(socket_dir, here) as url,
        world(socket_dir, url, str(socket_dir / "ca.pem")) as mesh,
    ):
        await eventually(partial(accepted, mesh), 5, "the keys are there")


async def test_a_server_of_keys_with_another_name_is_not_believed(socket_dir: Path) -> None:
    async with (
        key_server(socket_dir, x509.DNSName("elsewhere")) as url,
        world(socket_dir, url, str(socket_dir / "ca.pem")) as mesh,
    ):
        code, sentence = await mesh.refused("magika", token())
        assert (code, "Jwks" in sentence) == (grpc.StatusCode.UNAUTHENTICATED, True)
        # Whoever has a key is served all the same.
        assert await mesh.infer("magika", metadata=[("x-api-key", "inf_team")]) == "n1"
