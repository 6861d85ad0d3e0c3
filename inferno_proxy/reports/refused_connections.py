"""Envoy's log of connections that it refused for their certificate (ALS), read: each entry becomes the error that the
caller would have got.

Envoy 1.40 writes, for example, ``TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify
cert failed: X509_verify_cert: certificate verification error at depth 0: certificate has expired:TLS_error_end``. Field
numbers: envoy/data/accesslog/v3/accesslog.proto.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inferno_proxy.publishing.protobuf_subset import Description, messages
from inferno_proxy.reports.access_log import access_log_message
from inferno_runtime.errors import InfernoError, Unauthenticated

_FIELDS: Description = {
    "SocketAddress": {"address": (2, "string")},
    "Address": {"socket_address": (1, "SocketAddress")},
    "AccessLogCommon": {"downstream_remote_address": (2, "Address"), "failure": (28, "bytes")},
    "TCPAccessLogEntry": {"common_properties": (1, "AccessLogCommon")},
    "TCPAccessLogEntries": {"log_entry": (1, "TCPAccessLogEntry*")},
    "StreamAccessLogsMessage": {"tcp_logs": (3, "TCPAccessLogEntries")},
}
# In the longest of Envoy's texts; what a certificate says of itself is not in them.
_WHY = re.compile(r"at depth \d+: ([^:]{1,200})")
_REASONS = {
    "certificate has expired": "CERTIFICATE_EXPIRED",
    "certificate is not yet valid": "CERTIFICATE_NOT_YET_VALID",
}


@dataclass(frozen=True, slots=True)
class RefusedConnection:
    """Where it came from (an IP address), and why it was refused."""

    peer: str
    error: InfernoError


def read_refused_connections(raw: bytes) -> list[RefusedConnection]:
    """The connections of one message.

    Raises:
        InvalidInput: The bytes are no message of an access log.
    """
    message = access_log_message(_messages(), raw, "TCP")
    return [_read(entry.common_properties) for entry in message.tcp_logs.log_entry]


@functools.cache
def _messages() -> Callable[[str], Any]:
    return messages("inferno_refused_connections", _FIELDS)


def _read(common: Any) -> RefusedConnection:
    return RefusedConnection(
        str(common.downstream_remote_address.socket_address.address)[:64],
        _error(bytes(common.failure).decode(errors="replace")),
    )


def _error(told: str) -> InfernoError:
    found = _WHY.search(told)
    if found is None:
        return Unauthenticated(
            "The caller shows no certificate, or one that cannot be read.",
            reason="NO_CREDENTIAL",
            fix="Present a certificate of a CA that this port takes.",
        )
    return Unauthenticated(
        f"The caller's certificate is not good: {found[1].strip()}.",
        reason=_REASONS.get(found[1].strip(), "CERTIFICATE_UNTRUSTED"),
        fix="Renew it, or take one of a CA that this port takes.",
    )
