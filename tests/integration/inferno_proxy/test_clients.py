"""A whole proxy that knows its clients, and the command line that reaches it: from a key's making to its end."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno.identity.v1 import identity_service_pb2 as wire
from inferno.identity.v1 import identity_service_pb2_grpc as stubs
from inferno_runtime.identity.authority import PROXY_HOST
from tests.integration.inferno_proxy.secured import Running, running, secured
from tests.integration.inferno_proxy.signed_tokens import token
from tests.waiting import eventually

OK, DENIED, UNKNOWN = (
    grpc.StatusCode.OK,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
)
# What a client may send to seem somebody else.
CLAIMS = (
    ("x-inferno-client", "boss"),
    ("x-inferno-role", "operator"),
    ("x-inferno-access", "*"),
    ("x-inferno-subject", "alice"),
    ("x-inferno-door", "open"),
    ("x-forwarded-client-cert", "Hash=00;URI=spiffe://inferno/operator/ann"),
    ("x-envoy-original-path", "/healthz"),
    ("x-envoy-internal", "true"),
)


async def nothing_claimed_counts(mesh: Running) -> None:
    """Services and models are refused to whoever says by headers that he is somebody else."""
    create: Any = stubs.IdentityServiceStub(mesh.channel).CreateToken
    infer: Any = service_pb2_grpc.GRPCInferenceServiceStub(mesh.channel).ModelInfer
    asked = wire.CreateTokenRequest(role=wire.MEMBER_ROLE_NODE, name_pattern="gpu-*")
    for key, code in ((mesh.made.keys["team"], DENIED), ("", UNKNOWN)):
        own = (("authorization", f"Bearer {key}"),) if key else ()
        for call in (
            create(asked, metadata=(*CLAIMS, *own), timeout=60),
            infer(pb.ModelInferRequest(model_name="other"), metadata=(*CLAIMS, *own), timeout=60),
        ):
            assert await call.code() is code


async def test_a_key_opens_what_its_client_may_have_until_the_client_goes(socket_dir: Path, tmp_path: Path) -> None:
    async with secured(tmp_path, socket_dir) as made, running(made) as mesh:
        boss, team = made.keys["boss"], made.keys["team"]
        await eventually(partial(mesh.ends, "m", team, OK), 5, "the client is served")
        assert await mesh.ends("other", boss, OK)
        assert await mesh.ends("other", team, DENIED)
        assert await mesh.ends("other", token(), DENIED)
        assert await mesh.ends("m", token(), OK)
        assert await mesh.ends("m", "inf_other", UNKNOWN)
        await nothing_claimed_counts(mesh)
        held = mesh.infer("m", boss, id="held")
        made.configure("boss")
        mesh.reload()
        await eventually(partial(mesh.ends, "m", team, UNKNOWN), 10, "the key ends")
        made.server.release.set()
        # Nobody else's call ended with it.
        assert (await held).model_name == "m"


async def test_what_is_spent_stays_spent_when_clients_and_routes_change(socket_dir: Path, tmp_path: Path) -> None:
    async with secured(tmp_path, socket_dir) as made:
        await made.client("thrifty", "      budget: {calls: 40}\n")
        await made.client("late")
        made.configure("thrifty")
        days = {datetime.now(UTC).date()}
        async with running(made) as mesh:
            await eventually(partial(mesh.ends, "m", made.keys["thrifty"], OK), 5, "the client is served")
            made.configure("thrifty", "late")
            mesh.reload()
            await eventually(partial(mesh.ends, "m", made.keys["late"], OK), 10, "another client is served")
            # Over several connections, so that several of Envoy's workers count at the same time.
            async with contextlib.AsyncExitStack() as stack:
                more = [await stack.enter_async_context(mesh.another()) for _ in range(6)]
                codes = await asyncio.gather(*(each.outcome("m", made.keys["thrifty"]) for each in more * 20))
        # One day's, unless a day began meanwhile.
        days.add(datetime.now(UTC).date())
        assert set(codes) == {OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert 39 <= codes.count(OK) <= 40 * len(days) - 1
        # By which metrics and the access log know such a refusal (see metrics/translation.py).
        assert '"inferno_budget"' in made.log.read_text()


async def test_the_command_line_reaches_the_mesh_over_tls(socket_dir: Path, tmp_path: Path) -> None:
    async with secured(tmp_path, socket_dir) as made, running(made) as mesh:
        await eventually(partial(mesh.ends, "m", made.keys["team"], OK), 5, "the client is served")
        # Operators are told, and change the mesh.
        told = await made.inferno("status", *mesh.as_client("boss"))
        assert told.exit_code == 0, told.output
        join = tmp_path / "join"
        created = await made.inferno("token", "create", "--name", "gpu-*", "--out", str(join), *mesh.as_client("boss"))
        assert (created.exit_code, join.stat().st_mode & 0o777) == (0, 0o600), created.output
        listed = await made.inferno("token", "list", *mesh.as_client("boss"))
        assert "boss" in listed.stdout
        # The same from the environment alone.
        environment = {
            "INFERNO_ENDPOINT": mesh.options[1],
            "INFERNO_CA": mesh.options[3],
            "INFERNO_API_KEY": made.keys["boss"],
        }
        assert (await made.inferno("mesh", "orders", **environment)).exit_code == 0
        # Clients are not, with one sentence that says why.
        refused = await made.inferno("token", "create", "--name", "gpu-*", *mesh.as_client("team"))
        assert (refused.exit_code, refused.stdout) == (5, "")
        assert "client team may not operate the mesh" in refused.stderr
        assert "Ask an operator of the mesh." in refused.stderr
        nobody = await made.inferno("status", *mesh.options)
        assert (nobody.exit_code, "--key-file" in nobody.stderr) == (5, True)
        # Who forgets TLS, or the authority, is told.
        plain = await made.inferno("status", "--endpoint", mesh.proxy.endpoint)
        assert (plain.exit_code, f"--endpoint https://{mesh.proxy.endpoint}" in plain.stderr) == (4, True), plain.stderr
        stranger = await made.inferno("status", *mesh.options[:2])
        assert (stranger.exit_code, "no trusted CA" in stranger.stderr, "--ca" in stranger.stderr) == (4, True, True)
        # Whoever shows a certificate of the mesh's CA comes to the port for members.
        ca, ann = str(socket_dir / "authority"), tmp_path / "ann"
        issued = await made.inferno("cert", "issue", "--ca", ca, "--name", "operator/ann", "--out", str(ann))
        assert issued.exit_code == 0, issued.output
        own = {"--ca": "ca.pem", "--certificate": "certificate.pem", "--certificate-key": "key.pem"}
        shown = [word for option, file in own.items() for word in (option, str(ann / "current" / file))]
        members = ("--endpoint", f"https://127.0.0.1:{made.mesh_port}", "--server-name", PROXY_HOST)
        listed = await made.inferno("token", "list", *members, *shown)
        assert (listed.exit_code, "boss" in listed.stdout) == (0, True), listed.output
