"""Both ends of a stream without a wire: the server's session, and model clients that follow the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inferno_proxy.publishing.snapshot import Dialect, Resource, ResourceType, Snapshot
from inferno_proxy.xds import delta, order, sotw
from inferno_proxy.xds.order import Answer, Bounds, Session, World
from inferno_proxy.xds.subscription import Reply

CDS, SDS, EDS, LDS, RDS, RTDS, BUCKETS = (str(kind) for kind in ResourceType)
KINDS = {str(kind): kind for kind in ResourceType}


def resource(name: str, content: str = "1") -> Resource:
    return Resource.of(name, f"{name}:{content}".encode())


def world_of(serial: int, contents: Mapping[str, Mapping[str, str]]) -> Snapshot:
    """A snapshot from ``{type: {name: content}}``."""
    return Snapshot(
        serial,
        MappingProxyType(
            {
                kind: {name: resource(name, content) for name, content in contents.get(str(kind), {}).items()}
                for kind in ResourceType
            }
        ),
    )


def fleet(
    serial: int, clusters: Iterable[str], *, route: str = "1", contents: Mapping[str, str] | None = None
) -> Snapshot:
    """A snapshot with clusters, their endpoints, one listener and one route configuration."""
    changed = contents or {}
    named = {name: changed.get(name, "1") for name in clusters}
    return world_of(serial, {CDS: named, EDS: dict.fromkeys(named, "1"), LDS: {"public": "1"}, RDS: {"public": route}})


@dataclass
class Server:
    """The server's side of one stream; ``sotw_rules`` chooses the variant."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    dialect: Dialect = Dialect.ENVOY
    sotw_rules: bool = False
    now: float = 0.0
    bounds: Bounds = field(default_factory=Bounds)
    session: Session = field(init=False)
    look_again: float | None = None

    def __post_init__(self) -> None:
        self.session = Session(self.dialect)

    def take(self, request: sotw.Request | delta.Request) -> Reply:
        before = self.session.subscriptions.get(request.type)
        if isinstance(request, sotw.Request):
            sub, reply = sotw.receive(before, request)
        else:
            sub, reply = delta.receive(before, request)
        self.session = self.session.holding(sub)
        return reply

    def next(self) -> Answer | None:
        offer = sotw.offer if self.sotw_rules else delta.offer
        step = order.step(self.session, World(self.snapshot, self.now, offer, self.bounds))
        self.session, self.look_again = step.session, step.look_again
        return step.answer

    def drain(self) -> list[Answer]:
        """Every answer that can be sent without another request."""
        found = []
        while (answer := self.next()) is not None:
            found.append(answer)
        return found


def told(answers: Iterable[Answer]) -> list[tuple[str, list[str], list[str]]]:
    """What answers say, short: type, names, removed names."""
    return [(KINDS[a.type].short, [r.name for r in a.resources], list(a.removed)) for a in answers]


def ack(
    answer: Answer, *, sotw_names: Iterable[str] | None = None, error: str | None = None
) -> sotw.Request | delta.Request:
    """The request that accepts an answer or, with ``error``, refuses it."""
    if sotw_names is None:
        return delta.Request(answer.type, nonce=answer.nonce, error=error)
    return sotw.Request(answer.type, tuple(sotw_names), nonce=answer.nonce, version=answer.version, error=error)
