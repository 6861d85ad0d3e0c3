"""Envoy's own figures as ours: one table, and a reader of Envoy's page that keeps what the table names.

Envoy's names of clusters say model and protocol (:mod:`inferno_proxy.resources.names`); what calls came to is counted
by our own access log (:mod:`inferno_proxy.resources.call_stats`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import quote

from inferno_proxy.resources.call_stats import CALLS, PREFIX, REFUSED
from inferno_proxy.resources.names import model_of

Labels = tuple[str, ...]
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
# Envoy writes these in names of clusters as one underscore (Stats::Utility::sanitizeStatsName).
_REPLACED = re.compile(r"://|:/|:|\0")


class Kind(StrEnum):
    """What Prometheus calls the type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One name of ours; each is itself alone. ``labels`` begin with ``model`` where a figure is a model's. Of several
    Envoys a gauge is the sum, or with ``largest`` the largest: each of them sees the same endpoints."""

    name: str
    kind: Kind
    words: str
    labels: Labels = ()
    largest: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One figure of a family; ``part`` is ``sum`` or the upper bound of a bucket in a histogram, else empty."""

    family: Family
    labels: Labels
    part: str = ""


Reading = Mapping[Key, float]
# From Envoy's labels to ours; None: the figure is not for show.
Look = Callable[[Mapping[str, str]], Labels | None]


@dataclass(frozen=True, slots=True)
class _Rule:
    """``stat`` is Envoy's name below ``scope``, which is a regular expression and what Prometheus shows of it."""

    family: Family
    scope: tuple[str, str]
    stat: str
    look: Look
    scale: float = 1.0

    @property
    def shown(self) -> str:
        return f"envoy_{self.scope[1]}_{self.stat.replace('.', '_')}"


_CLUSTER = (r"cluster\.model/.+\.", "cluster")
_HTTP = (r"http\.[a-z]+\.", "http")
_LISTENER = (r"listener\.[^a].+\.", "listener")
_SERVER = (r"server\.", "server")
_OURS = (rf"{PREFIX}\.", PREFIX)
_COUNTER, _GAUGE, _HISTOGRAM = Kind
_MODEL = ("model", "protocol")
_REASONS = {
    "local_rate_limited": "rate",
    "request_rate_limited": "rate",
    "inferno_budget": "budget",
    "request_payload_too_large": "size",
    "via_upstream": "node",
}


def _model(*more: str) -> Look:
    def look(said: Mapping[str, str]) -> Labels | None:
        cluster = said["envoy_cluster_name"]
        model = model_of(cluster)
        return None if model is None else (model, cluster.rpartition("/")[2], *more)

    return look


def _port(said: Mapping[str, str]) -> Labels | None:
    port = said["envoy_http_conn_manager_prefix"]
    return None if port == "admin" else (port,)


def _plain(_: Mapping[str, str]) -> Labels:
    return ()


def _call(said: Mapping[str, str]) -> Labels:
    model, route = _route(said)
    status = said.get("grpc", "")
    # A call whose client went away has no status, and Envoy no code.
    other = said["http"] if said["http"] != "0" else "gone"
    return model, route, *(("grpc", status) if status not in ("", "-") else ("http", other))


def _refusal(said: Mapping[str, str]) -> Labels:
    model, _ = _route(said)
    why = said["details"]
    return model, _REASONS.get(why, "busy" if "overflow" in why else "other")


def _route(said: Mapping[str, str]) -> tuple[str, str]:
    route = said["route"]
    kind, _, model = route.partition(" ")
    if kind in ("model", "quarantine", "capped"):
        return model, kind
    return "", route if route != "-" else "none"


_REQUESTS = Family(
    "inferno_requests",
    _COUNTER,
    "Calls that ended, by what their callers were told.",
    ("model", "route", "protocol", "status"),
)
_REFUSED = Family(
    "inferno_requests_refused", _COUNTER, "Calls told to come again or to be smaller.", ("model", "reason")
)
_DENIED = Family("inferno_retries_denied", _COUNTER, "Tries that were wanted and not made.", (*_MODEL, "reason"))
_BREAKER = Family("inferno_breaker_open", _GAUGE, "Envoys whose limit is reached now.", (*_MODEL, "priority", "limit"))
_TURNED_AWAY = Family("inferno_connections_refused", _COUNTER, "Connections beyond what is allowed.")
_TLS_FAILED = Family("inferno_tls_failures", _COUNTER, "TLS handshakes that failed.", ("reason",))


def _cluster(stat: str, name: str, kind: Kind, words: str, *, scale: float = 1.0, largest: bool = False) -> _Rule:
    return _Rule(Family(f"inferno_{name}", kind, words, _MODEL, largest), _CLUSTER, stat, _model(), scale)


def _http(stat: str, name: str, kind: Kind, words: str) -> _Rule:
    return _Rule(Family(f"inferno_{name}", kind, words, ("port",)), _HTTP, stat, _port)


_RULES = (
    _Rule(_REQUESTS, _OURS, CALLS, _call),
    _Rule(_REFUSED, _OURS, REFUSED, _refusal),
    _cluster("upstream_rq_time", "request_duration_seconds", _HISTOGRAM, "Time to the whole answer.", scale=1e-3),
    _cluster("upstream_rq_active", "requests_under_way", _GAUGE, "Tries that nodes work on now."),
    _cluster("upstream_rq_retry", "retries", _COUNTER, "Tries after the first."),
    _cluster("upstream_rq_retry_success", "retries_succeeded", _COUNTER, "Tries after the first that did it."),
    _Rule(_DENIED, _CLUSTER, "upstream_rq_retry_limit_exceeded", _model("limit")),
    _Rule(_DENIED, _CLUSTER, "upstream_rq_retry_overflow", _model("breaker")),
    _cluster("upstream_rq_per_try_timeout", "hedges", _COUNTER, "Calls sent to another node too for taking long."),
    _cluster("outlier_detection.ejections_enforced_total", "ejections", _COUNTER, "Endpoints taken out for errors."),
    _cluster("outlier_detection.ejections_active", "ejected_endpoints", _GAUGE, "Endpoints out now.", largest=True),
    _cluster("health_check.failure", "failed_probes", _COUNTER, "Health checks that failed."),
    _cluster("membership_total", "endpoints", _GAUGE, "Endpoints Envoy knows.", largest=True),
    _cluster("membership_healthy", "healthy_endpoints", _GAUGE, "Endpoints Envoy sends calls to.", largest=True),
    _Rule(_BREAKER, _CLUSTER, "circuit_breakers.default.rq_open", _model("default", "requests")),
    _Rule(_BREAKER, _CLUSTER, "circuit_breakers.high.rq_open", _model("high", "requests")),
    _Rule(_BREAKER, _CLUSTER, "circuit_breakers.default.rq_retry_open", _model("default", "retries")),
    _cluster("upstream_cx_active", "upstream_connections", _GAUGE, "Connections to nodes now."),
    _cluster("upstream_cx_total", "upstream_connections_opened", _COUNTER, "Connections made to nodes."),
    _cluster("upstream_cx_connect_fail", "upstream_connect_failures", _COUNTER, "Connections to nodes that failed."),
    _http("downstream_cx_active", "connections", _GAUGE, "Connections of clients now."),
    _http("downstream_cx_total", "connections_opened", _COUNTER, "Connections that clients made."),
    _http("downstream_rq_active", "requests_open", _GAUGE, "Calls of clients not ended yet."),
    _http("downstream_cx_rx_bytes_total", "received_bytes", _COUNTER, "Bytes from clients."),
    _http("downstream_cx_tx_bytes_total", "sent_bytes", _COUNTER, "Bytes to clients."),
    _Rule(_TURNED_AWAY, _LISTENER, "downstream_global_cx_overflow", _plain),
    _Rule(_TURNED_AWAY, _LISTENER, "downstream_cx_overload_reject", _plain),
    _Rule(Family("inferno_tls_handshakes", _COUNTER, "TLS handshakes done."), _LISTENER, "ssl.handshake", _plain),
    _Rule(_TLS_FAILED, _LISTENER, "ssl.connection_error", lambda _: ("protocol",)),
    _Rule(_TLS_FAILED, _LISTENER, "ssl.fail_verify_no_cert", lambda _: ("no certificate",)),
    _Rule(_TLS_FAILED, _LISTENER, "ssl.fail_verify_error", lambda _: ("certificate",)),
    _Rule(_TLS_FAILED, _LISTENER, "ssl.fail_verify_san", lambda _: ("name",)),
    _Rule(
        Family("inferno_envoy_memory_bytes", _GAUGE, "Memory of the Envoys."), _SERVER, "memory_physical_size", _plain
    ),
)
# Not Envoy's own: which of them were heard.
ENVOYS = Family("inferno_envoys", _GAUGE, "Local Envoys by whether they answered this scrape.", ("state",))
FAMILIES: tuple[Family, ...] = (ENVOYS, *dict.fromkeys(rule.family for rule in _RULES))
_BY_NAME = MappingProxyType(
    {
        f"{rule.shown}{end}": (rule, end)
        for rule in _RULES
        for end in (("_bucket", "_sum") if rule.family.kind is Kind.HISTOGRAM else ("",))
    }
)


def _wanted() -> str:
    scopes: dict[str, list[str]] = {}
    for rule in _RULES:
        scopes.setdefault(rule.scope[0], []).append(re.escape(rule.stat))
    # Ours carry their labels behind the name.
    either = (f"{scope}({'|'.join(stats)}){'' if scope == _OURS[0] else '$'}" for scope, stats in scopes.items())
    return f"^({'|'.join(either)})"


# What to ask Envoy's admin interface for: what the table names, of what was ever used.
PATH = f"/stats/prometheus?usedonly&filter={quote(_wanted(), safe='')}"


@dataclass(slots=True)
class Translator:
    """Reads pages; remembers ``models`` by the way Envoy writes their names."""

    _models: dict[str, str] = field(default_factory=dict)

    def know(self, models: Iterable[str]) -> None:
        """Tell the models there are: Envoy writes ``a:b`` as ``a_b``."""
        for model in models:
            self._models.setdefault(_REPLACED.sub("_", model), model)

    def read(self, page: str) -> dict[Key, float]:
        """The figures of one Envoy; lines the table does not name are left out."""
        figures: dict[Key, float] = {}
        seen: dict[tuple[str, str], Labels | None] = {}
        for line in page.splitlines():
            name, brace, rest = line.partition("{")
            found = _BY_NAME.get(name) if brace else None
            if found is None:
                continue
            (rule, end), (said, _, value) = found, rest.rpartition("} ")
            part = ""
            if end == "_bucket":
                said, _, bound = said.rpartition('le="')
                part = _bound(bound.rstrip('"'), rule.scale)
            elif end:
                part = "sum"
            if (name, said) not in seen:
                seen[name, said] = self._labels(rule, said)
            labels = seen[name, said]
            if labels is not None:
                key = Key(rule.family, labels, part)
                figures[key] = figures.get(key, 0.0) + float(value) * (rule.scale if part == "sum" else 1.0)
        return figures

    def _labels(self, rule: _Rule, said: str) -> Labels | None:
        labels = rule.look({name: _ESCAPED.sub(r"\1", value) for name, value in _LABEL.findall(said)})
        if labels and rule.scope == _CLUSTER:
            return self._models.get(labels[0], labels[0]), *labels[1:]
        return labels


def _bound(text: str, scale: float) -> str:
    return "+Inf" if text == "+Inf" else str(round(float(text) * scale, 6))
