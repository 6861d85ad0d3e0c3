from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_status import rpc_status

from inferno.identity.v1 import identity_service_pb2 as wire
from inferno.identity.v1 import identity_service_pb2_grpc as stubs
from inferno_cli.main import command
from inferno_runtime import rpc
from inferno_runtime.errors import Denied, InfernoError
from inferno_runtime.identity.join_token import JoinToken

TOKEN = JoinToken.make("0" * 64)
DETAILS = wire.Token(
    id=TOKEN.token_id,
    role=wire.MEMBER_ROLE_NODE,
    name_pattern="gpu-*",
    state=wire.TOKEN_STATE_VALID,
    expires=Timestamp(seconds=1_700_000_000),
    creator="local",
)


@dataclass
class FakeIdentities(stubs.IdentityServiceServicer):
    """Answers what its fields say; ``error`` is raised by every call instead, ``seen`` collects the requests."""

    tokens: list[wire.Token] = field(default_factory=list)
    error: InfernoError | None = None
    seen: list[Any] = field(default_factory=list)
    endpoint: str = ""

    def _take(self, request: Any, context: grpc.ServicerContext) -> None:
        self.seen.append(request)
        if self.error is not None:
            context.abort_with_status(rpc_status.to_status(rpc.to_status(self.error)))

    def CreateToken(self, request: wire.CreateTokenRequest, context: Any) -> wire.CreateTokenResponse:
        self._take(request, context)
        return wire.CreateTokenResponse(token=str(TOKEN), details=DETAILS)

    def ListTokens(self, request: wire.ListTokensRequest, context: Any) -> wire.ListTokensResponse:
        self._take(request, context)
        return wire.ListTokensResponse(tokens=self.tokens)

    def RevokeToken(self, request: wire.RevokeTokenRequest, context: Any) -> wire.RevokeTokenResponse:
        self._take(request, context)
        return wire.RevokeTokenResponse(token=DETAILS)

    def Join(self, request: wire.JoinRequest, context: Any) -> wire.JoinResponse:
        raise AssertionError

    def Renew(self, request: wire.RenewRequest, context: Any) -> wire.RenewResponse:
        raise AssertionError

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(command, ["token", *arguments], env={"INFERNO_ENDPOINT": self.endpoint})


@pytest.fixture
def fake() -> Iterator[FakeIdentities]:
    made = FakeIdentities()
    server = grpc.server(ThreadPoolExecutor(2))
    stubs.add_IdentityServiceServicer_to_server(made, server)
    made.endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield made
    server.stop(0).wait()


def test_a_token_is_shown_once_and_alone(fake: FakeIdentities) -> None:
    result = fake.run("create", "--name", "gpu-*", "--lifetime", "15m")
    assert (result.exit_code, result.stdout) == (0, f"{TOKEN}\n")
    assert result.stderr == "For node gpu-*, once, until 2023-11-14T22:13:20Z.\n"
    [request] = fake.seen
    assert (request.role, request.name_pattern, request.lifetime.seconds) == (wire.MEMBER_ROLE_NODE, "gpu-*", 900)


def test_a_program_gets_the_token_as_json(fake: FakeIdentities) -> None:
    result = fake.run("create", "--role", "client", "--name", "app", "-o", "json")
    assert json.loads(result.stdout)["token"] == str(TOKEN)
    assert result.stderr == ""
    assert fake.seen[0].role == wire.MEMBER_ROLE_CLIENT


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_token_may_go_to_a_file_of_its_owners_and_nowhere_else(
    fake: FakeIdentities, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "token"
    result = fake.run("create", "--name", "gpu-*", "--out", str(path), "-o", form)
    assert result.exit_code == 0
    assert path.read_text() == f"{TOKEN}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert TOKEN.secret not in result.stdout + result.stderr
    assert str(path) in result.stdout + result.stderr


def test_no_token_is_made_that_could_not_be_kept(fake: FakeIdentities, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch()
    result = fake.run("create", "--name", "gpu-*", "--out", str(path))
    assert (result.exit_code, fake.seen) == (1, [])
    assert "error[FILE_EXISTS]" in result.stderr
    result = fake.run("create", "--name", "gpu-*", "--out", str(tmp_path / "no" / "token"))
    assert result.exit_code == 2
    assert f"inferno token revoke {TOKEN.token_id}" in result.stderr


def test_tokens_are_listed_without_their_secrets(fake: FakeIdentities) -> None:
    assert "There are no tokens." in fake.run("list").stderr
    fake.tokens = [DETAILS, wire.Token(id="b", role=99, state=99)]  # type: ignore[arg-type]
    table = fake.run("list").stdout.splitlines()
    assert table[0].split() == ["ID", "ROLE", "NAME", "STATE", "EXPIRES", "USED", "BY", "MADE", "BY"]
    assert table[1].split() == [TOKEN.token_id, "node", "gpu-*", "valid", "2023-11-14T22:13:20Z", "-", "local"]
    listed = json.loads(fake.run("list", "-o", "json").stdout)["tokens"]
    assert [(one["id"], one["role"], one["state"]) for one in listed] == [
        (TOKEN.token_id, "node", "valid"),
        ("b", "unknown", "unknown"),
    ]


def test_a_token_is_revoked(fake: FakeIdentities) -> None:
    result = fake.run("revoke", TOKEN.token_id)
    assert (result.exit_code, result.stderr) == (0, f"The token {TOKEN.token_id} is revoked.\n")
    assert fake.seen[0].id == TOKEN.token_id


@pytest.mark.parametrize("arguments", [("create", "--name", "a"), ("list",), ("revoke", "a")])
def test_what_the_mesh_refuses_is_said(fake: FakeIdentities, arguments: tuple[str, ...]) -> None:
    fake.error = Denied("A client may not operate the mesh.", reason="NOT_ALLOWED", fix="Ask an operator.")
    result = fake.run(*arguments)
    assert (result.exit_code, result.stderr) == (
        5,
        "error[NOT_ALLOWED] A client may not operate the mesh.\n  fix: Ask an operator.\n",
    )


def test_a_duration_that_is_none_is_refused(fake: FakeIdentities) -> None:
    assert fake.run("create", "--name", "a", "--lifetime", "soon").exit_code == 2
