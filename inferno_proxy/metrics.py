"""The control plane's own figures for Prometheus, computed when they are read: nothing is kept beside the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Phase
from inferno_proxy.registry.registry import Registry
from inferno_proxy.services.health import summarize
from inferno_proxy.xds.clients import ClientTable


class ControlPlaneCollector(Collector):
    """Reads the registry, the table of data planes and the events; ``published`` gives the newest snapshot's serial."""

    def __init__(
        self, registry: Registry, clients: ClientTable, events: EventLog, published: Callable[[], int]
    ) -> None:
        self._registry = registry
        self._clients = clients
        self._events = events
        self._published = published

    def collect(self) -> Iterable[Metric]:
        """The figures now."""
        view = self._registry.view.value
        nodes = GaugeMetricFamily("inferno_nodes", "Nodes by the control plane's verdict.", labels=["phase"])
        phases = Counter(member.phase for member in view.members.values())
        for phase in Phase:
            nodes.add_metric([phase.value], phases[phase])
        yield nodes
        serving = GaugeMetricFamily("inferno_model_serving_nodes", "Nodes that serve a model.", labels=["model"])
        for name, model in summarize(view).models.items():
            serving.add_metric([name], len(model.serving))
        yield serving
        clients = GaugeMetricFamily("inferno_data_planes", "Data planes connected now.", labels=["dialect"])
        for dialect, count in sorted(Counter(c.dialect.value for c in self._clients.clients).items()):
            clients.add_metric([dialect], count)
        yield clients
        yield GaugeMetricFamily("inferno_snapshot_serial", "Newest snapshot published.", value=self._published())
        yield GaugeMetricFamily(
            "inferno_applied_serial",
            "Newest snapshot that every data plane has answered.",
            value=self._clients.applied.value,
        )
        events = CounterMetricFamily("inferno_events", "Things that happened to the mesh.", labels=["kind"])
        for kind, count in sorted(self._events.counts.items()):
            events.add_metric([kind], count)
        yield events
