"""Who calls the control plane, or the governator behind the proxy.

Everything reaches them over sockets that only their own user, or only this machine, may open. What Envoy passes on
carries the header :data:`DOOR`, which Envoy sets itself on every such route, and what Envoy has found out about the
caller: the URI of a verified client certificate (``x-forwarded-client-cert``, which Envoy writes anew), or the name
that belongs to a credential (:data:`CLIENT`). A call without the header comes from a process of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.names import MeshName, Role

DOOR = "x-inferno-door"
CLIENT = "x-inferno-client"
ROLE = "x-inferno-role"
CERTIFICATE = "x-forwarded-client-cert"
_URI = re.compile(r"(?:^|;)URI=([^;,]*)")
# In quotes, as RFC 2253 writes it: what would end the quotation has a backslash before it.
_SUBJECT = re.compile(r'(?:^|;)Subject="((?:[^"\\]|\\.)*)"')
_LONGEST = 256


class Door(StrEnum):
    """Which way a call came in.

    ``open``: a public port without authentication. ``public``: one that knows its clients. ``mesh``: the port for
    members of the mesh, which present certificates.
    """

    OPEN = "open"
    PUBLIC = "public"
    MESH = "mesh"


class Kind(StrEnum):
    """What a caller is. LOCAL is a process of this user; OPEN anyone, where nobody is asked who he is; ANONYMOUS
    somebody who was asked and did not say."""

    LOCAL = "local"
    OPEN = "open"
    ANONYMOUS = "anonymous"
    NODE = "node"
    PROXY = "proxy"
    CLIENT = "client"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """``name`` is empty for the kinds that have none."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else str(self.kind)


LOCAL = Caller(Kind.LOCAL)
ANONYMOUS = Caller(Kind.ANONYMOUS)


def caller_from(headers: Mapping[str, str]) -> Caller:
    """The caller that Envoy's headers tell of; names are lower-case.

    A door that is not known, or a certificate whose name cannot be read, makes the caller anonymous.
    """
    door = headers.get(DOOR)
    if door is None:
        return LOCAL
    if door == Door.OPEN:
        return Caller(Kind.OPEN)
    if door == Door.MESH:
        try:
            member = MeshName.parse(_uri(headers.get(CERTIFICATE, "")))
        except InvalidInput:
            return ANONYMOUS
        return Caller(Kind(member.role.value), member.name)
    client = (headers.get(CLIENT) or _certified(headers.get(CERTIFICATE, ""))) if door == Door.PUBLIC else ""
    if not client:
        return ANONYMOUS
    return Caller(Kind.OPERATOR if headers.get(ROLE) == Role.OPERATOR else Kind.CLIENT, client)


def _uri(told: str) -> str:
    """The first URI of a certificate that Envoy tells of; the subject is the certificate's to choose, so what it holds
    is not read."""
    found = _URI.search(_SUBJECT.sub("", told))
    return found[1] if found else ""


def _certified(told: str) -> str:
    """The name of a client of the public port by its certificate, empty without one: the last part of a SPIFFE ID, else
    the common name, else the whole subject.

    >>> _certified('Hash=0a;Subject="CN=shop,O=Acme";URI=')
    'shop'
    """
    if name := _uri(told).rpartition("/")[2]:
        return name[:_LONGEST]
    subject = _SUBJECT.search(told)
    if subject is None:
        return ""
    try:
        common = x509.Name.from_rfc4514_string(subject[1]).get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return (str(common[0].value) if common else subject[1])[:_LONGEST]


def caller_of(context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
    """The caller of an RPC."""
    metadata = cast("Any", context.invocation_metadata()) or ()
    return caller_from({key: value for key, value in metadata if isinstance(value, str)})
