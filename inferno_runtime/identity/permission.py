"""What each kind of caller may do: one table, asked by every service."""

from __future__ import annotations

from enum import StrEnum

from inferno_runtime.errors import Denied, Unauthenticated
from inferno_runtime.identity.caller import Caller, Kind


class Action(StrEnum):
    """What a call does to the mesh.

    INFER asks about models and health, as any client of the protocol does. JOIN exchanges a token for a certificate,
    RENEW a certificate for a newer one. READ looks at nodes, clients and events. OPERATE changes what the mesh does.
    REGISTER speaks for a node, MEASURE sends its telemetry. CONFIGURE takes a data plane's configuration and reports
    for it, PROXY that of an Envoy, which holds every client's name, permissions and hash of a key.
    """

    INFER = "ask about models"
    JOIN = "join"
    RENEW = "renew a certificate"
    READ = "read the state of the mesh"
    OPERATE = "operate the mesh"
    REGISTER = "register a node"
    MEASURE = "send telemetry"
    CONFIGURE = "take a configuration"
    PROXY = "take an Envoy's configuration, which says what is known of all clients"


_ALL = frozenset(Action)
_ALLOWED: dict[Kind, frozenset[Action]] = {
    Kind.LOCAL: _ALL,
    Kind.OPEN: _ALL,
    Kind.ANONYMOUS: frozenset({Action.JOIN}),
    Kind.NODE: frozenset({Action.INFER, Action.RENEW, Action.READ, Action.REGISTER, Action.MEASURE}),
    Kind.PROXY: frozenset({Action.INFER, Action.RENEW, Action.READ, Action.CONFIGURE, Action.PROXY}),
    Kind.CLIENT: frozenset({Action.INFER, Action.RENEW, Action.CONFIGURE}),
    Kind.OPERATOR: _ALL,
}
# Who speaks for himself alone: a node registers its own name, a data plane takes its own configuration.
_OWN = {Kind.NODE, Kind.PROXY, Kind.CLIENT}
_OF_ONE = {Action.REGISTER, Action.MEASURE, Action.CONFIGURE}


def permit(caller: Caller, action: Action, subject: str = "") -> None:
    """Let a call pass, or say why not.

    Args:
        caller: Who calls.
        action: What the call does.
        subject: For REGISTER and MEASURE the node_id, for CONFIGURE the xDS node id. One name may stand for several
            data planes of one owner: ``NAME/anything`` is NAME's.

    Raises:
        Unauthenticated: Nobody knows who calls.
        Denied: The caller may not do this, or not for this subject.
    """
    if action not in _ALLOWED[caller.kind]:
        if caller.kind is Kind.ANONYMOUS:
            raise Unauthenticated(
                f"To {action}, say who you are.",
                reason="NO_CREDENTIAL",
                fix="Send an API key or a token as 'authorization: Bearer ...', or present a certificate of the mesh.",
            )
        raise Denied(
            f"A {caller} may not {action}.",
            reason="NOT_ALLOWED",
            fix="Ask an operator of the mesh.",
            metadata={"caller": str(caller), "action": action.name},
        )
    if action in _OF_ONE and caller.kind in _OWN and subject.partition("/")[0] != caller.name:
        raise Denied(
            f"{caller.kind.capitalize()} {caller.name!r} may not {action} as {subject[:128]!r}.",
            reason="NOT_YOURS",
            fix=f"Use the name {caller.name!r}, or a certificate or key of {subject[:128]!r}.",
            metadata={"caller": str(caller), "action": action.name, "subject": subject[:128]},
        )
