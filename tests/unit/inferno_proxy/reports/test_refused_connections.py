"""The log of refused connections: entries as Envoy writes them in, errors out."""

from __future__ import annotations

import pytest
from envoy_data_plane.envoy.data.accesslog.v3 import AccessLogCommon, TcpAccessLogEntry
from envoy_data_plane.envoy.service.accesslog.v3 import (
    StreamAccessLogsMessage,
    StreamAccessLogsMessageIdentifier,
    StreamAccessLogsMessageTcpAccessLogEntries,
)

from inferno_proxy.fleet import Address
from inferno_proxy.reports.refused_connections import read_refused_connections
from inferno_proxy.resources.names import REFUSED_CONNECTIONS
from inferno_proxy.resources.packing import envoy_address
from inferno_runtime.errors import InvalidInput, Unauthenticated

_VERIFY = (
    "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: "
    "X509_verify_cert: certificate verification error at depth 0: {}:TLS_error_end"
)
ABSENT = (
    "TLS_error:|268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:"
    "peer did not provide required client certificate:TLS_error_end"
)
EXPIRED = _VERIFY.format("certificate has expired")


def message(*failures: str) -> bytes:
    """What Envoy sends of connections from one address."""
    entries = [
        TcpAccessLogEntry(
            common_properties=AccessLogCommon(
                downstream_remote_address=envoy_address(Address("10.0.0.9", 4711)),
                downstream_transport_failure_reason=failure,
            )
        )
        for failure in failures
    ]
    identifier = StreamAccessLogsMessageIdentifier(log_name=REFUSED_CONNECTIONS)
    logs = StreamAccessLogsMessageTcpAccessLogEntries(log_entry=entries)
    return bytes(StreamAccessLogsMessage(identifier=identifier, tcp_logs=logs))


@pytest.mark.parametrize(
    ("told", "reason", "words"),
    [
        (EXPIRED, "CERTIFICATE_EXPIRED", "is not good: certificate has expired."),
        (_VERIFY.format("certificate is not yet valid"), "CERTIFICATE_NOT_YET_VALID", "is not yet valid."),
        (_VERIFY.format("unable to get local issuer certificate"), "CERTIFICATE_UNTRUSTED", "local issuer"),
        (ABSENT, "NO_CREDENTIAL", "shows no certificate"),
        ("x" * 100_000, "NO_CREDENTIAL", "cannot be read"),
    ],
)
def test_each_failure_has_its_sentence(told: str, reason: str, words: str) -> None:
    (found,) = read_refused_connections(message(told))
    assert found.peer == "10.0.0.9"
    assert isinstance(found.error, Unauthenticated)
    assert (found.error.reason, words in found.error.message) == (reason, True)
    assert found.error.fix


def test_a_message_has_any_number_of_entries_and_a_bad_one_is_refused() -> None:
    assert read_refused_connections(b"") == []
    assert len(read_refused_connections(message(EXPIRED, ABSENT))) == 2
    with pytest.raises(InvalidInput, match="no access log"):
        read_refused_connections(b"\xff")
