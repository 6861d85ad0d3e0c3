"""Names of the mesh's members, as URIs in their certificates.

``spiffe://TRUST_DOMAIN/ROLE/NAME``. Source: SPIFFE-ID, sections 2.1 and 2.2
(https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md); the two segments of the path are ours.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

from inferno_runtime.errors import InvalidInput

# Letters, digits, '.', '_' and '-' are all that a segment may hold; '.' and '..' are no segments.
_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,128}", re.ASCII)
_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}", re.ASCII)
_SCHEME = "spiffe://"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.ASCII)


class Role(StrEnum):
    """What a member of the mesh is."""

    NODE = "node"
    PROXY = "proxy"
    CLIENT = "client"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class MeshName:
    """One member. ``name`` is the node_id of a node, the xDS node id of a proxy or of a proxyless client."""

    domain: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        """Refuse what could not be read back.

        Raises:
            InvalidInput: The domain or the name holds other characters than a SPIFFE ID may.
        """
        if not _DOMAIN.fullmatch(self.domain):
            raise InvalidInput(
                f"{self.domain[:64]!r} is not a trust domain.",
                reason="BAD_NAME",
                fix="Use lower-case letters, digits, '.', '_' and '-'.",
            )
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"{self.name[:64]!r} is not the name of a {self.role}.",
                reason="BAD_NAME",
                fix="Use 1 to 128 letters, digits, '.', '_' or '-'.",
            )

    def __str__(self) -> str:
        return f"{_SCHEME}{self.domain}/{self.role}/{self.name}"

    @classmethod
    def parse(cls, uri: str) -> MeshName:
        """Read a name back.

        Raises:
            InvalidInput: The text is something else.

        >>> MeshName.parse("spiffe://inferno/node/gpu-7").name
        'gpu-7'
        """
        domain, role, name = [*uri.removeprefix(_SCHEME).split("/"), "", ""][:3]
        if not uri.startswith(_SCHEME) or uri.count("/") != 4 or role not in set(Role):
            raise InvalidInput(
                f"{uri[:256]!r} is not the name of a member of a mesh.",
                reason="BAD_NAME",
                fix=f"Write it like {_SCHEME}inferno/node/gpu-7.",
            )
        return cls(domain, Role(role), name)


def prefix_of(domain: str, role: Role | None = None) -> str:
    """What the names of all members of a mesh begin with, or of those of one role, and no other name does.

    >>> prefix_of("inferno", Role.NODE)
    'spiffe://inferno/node/'
    >>> prefix_of("inferno")
    'spiffe://inferno/'
    """
    return f"{_SCHEME}{domain}/{role}/" if role else f"{_SCHEME}{domain}/"


def is_host(text: str) -> bool:
    """True for what a server may be called in a certificate besides: a DNS name or an IP address.

    >>> is_host("proxy.example"), is_host("*.example"), is_host("fd00::7"), is_host("proxy.example:80")
    (True, True, True, False)
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST.fullmatch(text) is not None
    return True
