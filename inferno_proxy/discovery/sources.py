"""Where nodes without an agent come from, as the settings say, and who looks after them."""

from __future__ import annotations

import asyncio

from inferno_proxy.discovery.kubernetes_watch import ServiceWatch
from inferno_proxy.discovery.listing import Listing, Named
from inferno_proxy.discovery.node_file import follow_file
from inferno_proxy.discovery.probe import Prober
from inferno_proxy.discovery.static import static_nodes
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Node, Source
from inferno_proxy.identity.membership import Membership
from inferno_proxy.registry.membership import Record
from inferno_proxy.registry.registry import Registry
from inferno_proxy.settings import ProxySettings
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest


class Discovery:
    """The sources that the settings name, and the probe of every node that no agent speaks for."""

    def __init__(
        self,
        settings: ProxySettings,
        registry: Registry,
        clock: Clock,
        events: EventLog,
        proxy: Membership | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._events = events
        self._proxy = proxy
        self._static = static_nodes(settings.backends)

    def remembers(self, record: Record) -> bool:
        """True when a node of the control plane's earlier life is to be put back: its source is still asked."""
        if record.source is Source.STATIC:
            named = self._static.nodes.get(record.node.node_id)
            return named is not None and _rest_port(named) == _rest_port(record.node)
        asked = {Source.FILE: self._settings.discovery_file, Source.KUBERNETES: self._settings.kubernetes}
        return asked.get(record.source, record.source) is not None

    async def run(self) -> None:
        """Follow every source until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(Prober(self._registry, self._clock, proxy=self._proxy).run(), name="prober")
            group.create_task(self._listing(Source.STATIC, Latest(self._static)).run(), name="static")
            if self._settings.discovery_file is not None:
                named: Latest[Named | None] = Latest(None)
                reading = follow_file(self._settings.discovery_file, named, self._events, self._clock)
                group.create_task(reading, name="discovery-file")
                group.create_task(self._listing(Source.FILE, named).run(), name="file")
            if self._settings.kubernetes is not None:
                pods: Latest[Named | None] = Latest(None)
                watch = ServiceWatch(self._settings.kubernetes, pods, self._events, self._clock)
                group.create_task(watch.run(), name="kubernetes-watch")
                group.create_task(self._listing(Source.KUBERNETES, pods).run(), name="kubernetes")

    def _listing(self, source: Source, named: Latest[Named | None]) -> Listing:
        return Listing(source, named, self._registry, self._clock, self._events)


def _rest_port(node: Node) -> int:
    return node.http_address.port if node.http_address else 0
