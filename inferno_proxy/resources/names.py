"""Names that resources refer to one another by, shared by both dialects and by the xDS server's clients."""

from __future__ import annotations

from urllib.parse import quote

PUBLIC = "public"
MESH = "mesh"
CONTROL_GRPC = "inferno_control"
CONTROL_HTTP = "inferno_control_http"
GOVERNATOR = "inferno_governator"
RATE_LIMITS = "inferno_rate_limits"
COLLECTOR = "inferno_collector"
# The server of the public keys that clients' tokens are verified with.
TOKEN_KEYS = "inferno_token_keys"  # noqa: S105 - the name of a cluster

MODEL_HEADER = "x-inferno-model"
SEQUENCE_HEADER = "x-inferno-sequence"
FINGERPRINT_HEADER = "x-inferno-fingerprint"
# Of the client that calls, as Envoy has found out: which models it may call (see routing/access.py), and the subject of
# its token. Its name and role are in headers of inferno_runtime/identity/caller.py.
ACCESS_HEADER = "x-inferno-access"
SUBJECT_HEADER = "x-inferno-subject"
# The logs of tries: a fair sample of all, those that failed, and those of calls that ask for it.
TRIES = "inferno.tries"
FAILED_TRIES = "inferno.failed-tries"
ASKED_TRIES = "inferno.asked-tries"
# The log of connections that were refused for their certificate.
REFUSED_CONNECTIONS = "inferno.refused-connections"
# A client's own name of a call, and how it has the tries of a call kept.
REQUEST_ID_HEADER = "x-request-id"
TRACE_HEADER = "traceparent"
EXPLAIN_HEADER = "x-inferno-explain"
# Envoy sets it, to 1 for the first try; what a caller sends is overwritten.
ATTEMPT_HEADER = "x-envoy-attempt-count"


def grpc_cluster(model: str) -> str:
    """The cluster (and its endpoint resource) of a model's gRPC endpoints."""
    return f"model/{model}/grpc"


def http_cluster(model: str) -> str:
    """The cluster (and its endpoint resource) of a model's REST endpoints."""
    return f"model/{model}/http"


def copies_of(cluster: str) -> str:
    """The cluster of those who get copies of the calls of another cluster."""
    return f"{cluster}@copies"


def model_of(cluster: str) -> str | None:
    """The model whose calls a cluster takes; None for any other cluster, that of copies among them.

    >>> model_of(grpc_cluster("a/b")), model_of(http_cluster("a")), model_of(copies_of(grpc_cluster("a")))
    ('a/b', 'a', None)
    """
    rest, _, protocol = cluster.rpartition("/")
    model = rest.removeprefix("model/")
    return model if rest != model and model and protocol in ("grpc", "http") else None


def header_value(model: str) -> str:
    """A model's name as the model header carries it: printable ASCII as it is, everything else percent-encoded.

    Must agree with ``set_header`` in call_filter.c.

    >>> header_value("resnet:50"), header_value("caf\u00e9 1")
    ('resnet:50', 'caf%C3%A9%201')
    """
    return quote(model, safe="".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "%"))


def path_segment(model: str) -> str:
    """A model's name as a URL path carries it.

    >>> path_segment("a b/c")
    'a%20b%2Fc'
    """
    return quote(model, safe="~!$&'()*+,;=:@")
