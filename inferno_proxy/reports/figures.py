"""What data planes reported, as figures for Prometheus: by model and node, for as long as the node is in the fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inferno_proxy.feedback.observed import Counts
from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.reports.places import places
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

# A data plane that has not reported for so many seconds holds nothing that anybody knows of.
_KNOWN_FOR = 10.0

Endpoint = tuple[str, Address]


class ReportedFigures(Collector):
    """Adds up what :meth:`counts` is given and shows it by node."""

    def __init__(self, view: Latest[FleetView], clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._ended: Counter[tuple[Endpoint, str]] = Counter()
        self._under_way: dict[tuple[str, Endpoint], tuple[int, float]] = {}
        self._reports = 0

    def counts(self, counts: Sequence[Counts]) -> None:
        """Take what one load report says."""
        self._reports += 1
        for each in counts:
            endpoint = (each.model, each.address)
            self._ended[endpoint, "succeeded"] += each.succeeded
            self._ended[endpoint, "failed"] += each.failed
            self._under_way[each.client_id, endpoint] = (each.under_way, each.at)

    def collect(self) -> Iterable[Metric]:
        """The figures now; those of endpoints that the fleet no longer has are forgotten."""
        self._forget()
        fleet = places(self._view.value)
        ended = CounterMetricFamily(
            "inferno_tries", "Tries that ended, by Envoy's load reports.", labels=["model", "node", "outcome"]
        )
        by_node: Counter[tuple[str, str, str]] = Counter()
        for ((model, address), outcome), count in self._ended.items():
            by_node[model, fleet.node(model, address) or "", outcome] += count
        for labels, count in sorted(by_node.items()):
            ended.add_metric(labels, count)
        yield ended
        busy: Counter[tuple[str, str]] = Counter()
        for (_, (model, address)), (count, _) in self._under_way.items():
            busy[model, fleet.node(model, address) or ""] += count
        under_way = GaugeMetricFamily("inferno_tries_under_way", "Tries not ended yet.", labels=["model", "node"])
        for pair, count in sorted(busy.items()):
            under_way.add_metric(pair, count)
        yield under_way
        yield CounterMetricFamily("inferno_load_reports", "Load reports with calls in them.", value=self._reports)

    def _forget(self) -> None:
        fleet = places(self._view.value)
        oldest = self._clock.monotonic() - _KNOWN_FOR
        for key in [key for key in self._ended if fleet.node(*key[0]) is None]:
            del self._ended[key]
        for reporter in [r for r, (_, at) in self._under_way.items() if at < oldest or fleet.node(*r[1]) is None]:
            del self._under_way[reporter]
