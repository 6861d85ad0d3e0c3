"""IdentityService: tokens for certificates, and certificates for newer ones."""

from __future__ import annotations

from typing import Any, cast

import grpc

from inferno.identity.v1 import identity_service_pb2 as wire
from inferno.identity.v1 import identity_service_pb2_grpc as stubs
from inferno_proxy.audit import AuditLog
from inferno_proxy.identity.failed_joins import FailedJoins
from inferno_proxy.identity.mesh_authority import MeshAuthority
from inferno_proxy.identity.presence import Presence
from inferno_proxy.identity.tokens import Scope, Token, TokenState, TokenStore, Use
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, InvalidInput, Unauthenticated
from inferno_runtime.identity.authority import LEAF_SECONDS, Authority, Grant, requested_pin
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.caller import DOOR, Door, caller_of
from inferno_runtime.identity.join_token import JoinToken
from inferno_runtime.identity.names import MeshName, Role
from inferno_runtime.identity.preflight import facts_of

Context = grpc.aio.ServicerContext[Any, Any]
_TOKEN_SECONDS = 3600.0
_ROLES = {
    wire.MEMBER_ROLE_NODE: Role.NODE,
    wire.MEMBER_ROLE_PROXY: Role.PROXY,
    wire.MEMBER_ROLE_CLIENT: Role.CLIENT,
}
_ROLES_BACK = {role: value for value, role in _ROLES.items()}
_STATES = {
    TokenState.VALID: wire.TOKEN_STATE_VALID,
    TokenState.USED: wire.TOKEN_STATE_USED,
    TokenState.EXPIRED: wire.TOKEN_STATE_EXPIRED,
    TokenState.REVOKED: wire.TOKEN_STATE_REVOKED,
}


class IdentityService(stubs.IdentityServiceServicer):
    """Translates between the wire, the tokens and the CA; each change is in the audit log, and each refusal.

    Who may call what is the guard's affair. Certificates live for ``seconds``.
    """

    def __init__(
        self,
        authority: MeshAuthority,
        tokens: TokenStore,
        presence: Presence,
        audit: AuditLog,
        clock: Clock,
        seconds: float = LEAF_SECONDS,
    ) -> None:
        self.authority = authority
        self._tokens = tokens
        self._presence = presence
        self._audit = audit
        self._clock = clock
        self._seconds = seconds
        self._failed = FailedJoins(clock)

    @classmethod
    def kept(
        cls, layout: Layout, settings: ProxySettings, presence: Presence, audit: AuditLog, clock: Clock
    ) -> IdentityService:
        """With the CA and the tokens of the proxy's data folder."""
        authority = MeshAuthority(AuthorityFolder(layout.authority), settings.trust_domain, clock)
        return cls(authority, TokenStore(layout.tokens, clock), presence, audit, clock, settings.certificate_lifetime)

    async def Join(self, request: wire.JoinRequest, context: Context) -> wire.JoinResponse:
        """A first certificate for a token."""
        caller = caller_of(context)
        try:
            name, token = await self._admit(request)
        except InfernoError as error:
            self._failed.count()
            self._audit.refused(caller, "JOIN", f"{_shown(request.role)} {request.name[:128]}", error)
            raise
        self._audit.write(caller, "JOIN", f"{name.role} {name.name}", detail=f"token {token.token_id}")
        return wire.JoinResponse(credential=self._credential(name, request.certificate_request))

    async def _admit(self, request: wire.JoinRequest) -> tuple[MeshName, Token]:
        """Use the token up, unless anything speaks against this member."""
        role = _role(request.role)
        name = MeshName(self.authority.domain, role, request.name)
        use = Use(name.name, requested_pin(request.certificate_request))
        shown = JoinToken.parse(request.token)
        self._tokens.check(shown, role, use)
        self._presence.refuse_taken(name)
        self.authority.known()
        return name, await self._tokens.use(shown, role, use)

    async def Renew(self, request: wire.RenewRequest, context: Context) -> wire.RenewResponse:
        """A newer certificate for a certificate."""
        caller = caller_of(context)
        # An API key's client has a name as well, but what it holds can be taken from it at any moment.
        if not caller.name or _door(context) != Door.MESH:
            raise Unauthenticated(
                "A certificate is renewed for a member that presents the one it has.",
                reason="NO_CERTIFICATE",
                fix="Call the mesh port with the certificate, or join again with a new token.",
            )
        name = MeshName(self.authority.domain, Role(caller.kind.value), caller.name)
        credential = self._credential(name, request.certificate_request)
        self._audit.write(caller, "RENEW", f"{name.role} {name.name}")
        return wire.RenewResponse(credential=credential)

    async def CreateToken(self, request: wire.CreateTokenRequest, context: Context) -> wire.CreateTokenResponse:
        """A token for one join."""
        caller = caller_of(context)
        subject = f"{_shown(request.role)} {request.name_pattern[:128]}"
        try:
            scope = Scope(_role(request.role), request.name_pattern)
            seconds = request.lifetime.ToMilliseconds() / 1000 if request.HasField("lifetime") else _TOKEN_SECONDS
            made, token = await self._tokens.create(scope, seconds, str(caller), self.authority.made().pin)
        except InfernoError as error:
            self._audit.refused(caller, "CREATE_TOKEN", subject, error)
            raise
        self._audit.write(caller, "CREATE_TOKEN", subject, detail=f"token {token.token_id}")
        return wire.CreateTokenResponse(token=str(made), details=self._message(token))

    async def ListTokens(self, request: wire.ListTokensRequest, context: Context) -> wire.ListTokensResponse:
        """Every token, without its secret."""
        return wire.ListTokensResponse(tokens=[self._message(token) for token in self._tokens.tokens])

    async def RevokeToken(self, request: wire.RevokeTokenRequest, context: Context) -> wire.RevokeTokenResponse:
        """End a token."""
        caller = caller_of(context)
        try:
            token = await self._tokens.revoke(request.id)
        except InfernoError as error:
            self._audit.refused(caller, "REVOKE_TOKEN", request.id[:128], error)
            raise
        self._audit.write(caller, "REVOKE_TOKEN", token.token_id)
        return wire.RevokeTokenResponse(token=self._message(token))

    def _credential(self, name: MeshName, csr: bytes) -> wire.Credential:
        authority: Authority = self.authority.known()
        certificate = authority.sign(csr, Grant(name, seconds=self._seconds), self._clock.wall())
        credential = wire.Credential(certificate=certificate, authority=authority.trusted, name=str(name))
        credential.expires.FromNanoseconds(int(facts_of(certificate).not_after * 1e9))
        return credential

    def _message(self, token: Token) -> wire.Token:
        message = wire.Token(
            id=token.token_id,
            role=_ROLES_BACK[token.scope.role],
            name_pattern=token.scope.pattern,
            state=_STATES[token.state(self._tokens.now())],
            creator=token.creator,
            used_by=token.use.name if token.use else "",
        )
        message.created.FromNanoseconds(int(token.created * 1e9))
        message.expires.FromNanoseconds(int(token.expires * 1e9))
        return message


def _role(given: wire.MemberRole.ValueType) -> Role:
    role = _ROLES.get(given)
    if role is None:
        raise InvalidInput(
            "The request says not what the member is.", reason="BAD_ROLE", fix="Give node, proxy or client as role."
        )
    return role


def _shown(given: wire.MemberRole.ValueType) -> str:
    role = _ROLES.get(given)
    return role.value if role else "member"


def _door(context: Context) -> str:
    metadata = cast("Any", context.invocation_metadata()) or ()
    return next((value for key, value in metadata if key == DOOR), "")
