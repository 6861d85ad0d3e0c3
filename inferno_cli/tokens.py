"""Join tokens as the command line handles them: asked of the mesh, shown once, listed without their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from inferno.identity.v1 import identity_service_pb2 as wire
from inferno.identity.v1 import identity_service_pb2_grpc as stubs
from inferno_cli import endpoint as mesh
from inferno_cli import output
from inferno_runtime import private_file
from inferno_runtime.errors import AlreadyExists, InvalidInput

_ROLES = {"node": wire.MEMBER_ROLE_NODE, "proxy": wire.MEMBER_ROLE_PROXY, "client": wire.MEMBER_ROLE_CLIENT}
_ROLE_NAMES = {value: name for name, value in _ROLES.items()}
_STATES = {
    wire.TOKEN_STATE_VALID: "valid",
    wire.TOKEN_STATE_USED: "used",
    wire.TOKEN_STATE_EXPIRED: "expired",
    wire.TOKEN_STATE_REVOKED: "revoked",
}
_COLOURS = {"valid": "green", "revoked": "red"}
_COLUMNS = (
    output.Column("id", "ID"),
    output.Column("role", "ROLE"),
    output.Column("name", "NAME"),
    output.Column("state", "STATE", colour=_COLOURS.get),
    output.Column("expires", "EXPIRES"),
    output.Column("used_by", "USED BY"),
    output.Column("creator", "MADE BY"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token should be good for."""

    role: str
    pattern: str
    lifetime: timedelta


async def create(endpoint: mesh.Endpoint, wanted: Wanted) -> wire.CreateTokenResponse:
    """Make one.

    Raises:
        InfernoError: The mesh refuses, or cannot be reached.
    """
    request = wire.CreateTokenRequest(role=_ROLES[wanted.role], name_pattern=wanted.pattern)
    request.lifetime.FromTimedelta(wanted.lifetime)
    async with mesh.connected(endpoint) as channel:
        stub: Any = stubs.IdentityServiceStub(channel)
        made: wire.CreateTokenResponse = await stub.CreateToken(request)
        return made


async def listed(endpoint: mesh.Endpoint) -> Sequence[wire.Token]:
    """Every token.

    Raises:
        InfernoError: The mesh refuses, or cannot be reached.
    """
    async with mesh.connected(endpoint) as channel:
        stub: Any = stubs.IdentityServiceStub(channel)
        answer: wire.ListTokensResponse = await stub.ListTokens(wire.ListTokensRequest())
        return answer.tokens


async def revoke(endpoint: mesh.Endpoint, token_id: str) -> None:
    """End one.

    Raises:
        InfernoError: The mesh refuses, or cannot be reached.
    """
    async with mesh.connected(endpoint) as channel:
        stub: Any = stubs.IdentityServiceStub(channel)
        await stub.RevokeToken(wire.RevokeTokenRequest(id=token_id))


def refuse_existing(path: Path) -> None:
    """Raise before a token is made that could not be kept.

    Raises:
        AlreadyExists: FILE_EXISTS.
    """
    if path.exists():
        raise AlreadyExists(f"There is a file {path} already.", reason="FILE_EXISTS", fix="Choose another name.")


def hand_over(made: wire.CreateTokenResponse, out: Path | None, form: output.Format) -> None:
    """Give the token away: to a file of its owner's, or to standard output alone.

    Raises:
        InvalidInput: FILE_UNWRITABLE.
    """
    row = _row(made.details)
    if out is not None:
        try:
            private_file.replace(out, f"{made.token}\n".encode())
        except OSError as error:
            raise InvalidInput(
                f"The token cannot be written to {out}: {error.strerror}.",
                reason="FILE_UNWRITABLE",
                fix=f"Choose another file; this token is lost: inferno token revoke {made.details.id}.",
            ) from error
    if form == "json":
        output.print_json({**row, **({"file": str(out)} if out else {"token": made.token})})
        return
    if out is None:
        output.print_line(made.token)
    where = f" It is in {out}." if out else ""
    output.say(f"For {row['role']} {row['name']}, once, until {row['expires']}.{where}")


def show(tokens: Sequence[wire.Token], form: output.Format) -> None:
    """Write the list to standard output."""
    rows = [_row(token) for token in tokens]
    if form == "json":
        output.print_json({"tokens": rows})
    elif rows:
        output.print_table(_COLUMNS, rows)
    else:
        output.say("There are no tokens. Make one: inferno token create --name NAME.")


def _row(token: wire.Token) -> dict[str, str]:
    expires: datetime = token.expires.ToDatetime(UTC)
    return {
        "id": token.id,
        "role": _ROLE_NAMES.get(token.role, "unknown"),
        "name": token.name_pattern,
        "state": _STATES.get(token.state, "unknown"),
        "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "used_by": token.used_by,
        "creator": token.creator,
    }
