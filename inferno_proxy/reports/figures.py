"""What data planes reported, as figures for Prometheus: by model and node, for as long as the node is in the fleet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.metrics.durations import Durations
from inferno_proxy.reports.places import Places
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

# A data plane that has not reported for so many seconds holds nothing that anybody knows of.
_KNOWN_FOR = 10.0

# Histograms there are at most, each of sixteen lines; the nodes that come later share one for each model.
_HISTOGRAMS = 2000

Endpoint = tuple[str, Address]
_OTHERS = "others"
# An endpoint, or all of a model's that have no histogram of their own.
_Answering = tuple[str, Address | None]


class ReportedFigures(Collector):
    """Adds up what :meth:`counts`, :meth:`tries` and :meth:`failures` are given, and shows it by node."""

    def __init__(self, view: Latest[FleetView], clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._ended: Counter[tuple[Endpoint, str]] = Counter()
        self._under_way: dict[tuple[str, Endpoint], tuple[int, float]] = {}
        self._logged: Counter[tuple[Endpoint, str]] = Counter()
        self._failed: Counter[tuple[Endpoint, str]] = Counter()
        self._answered: dict[_Answering, Durations] = {}
        self._reports = 0
        self._places = Places()

    def counts(self, counts: Sequence[Counts]) -> None:
        """Take what one load report says."""
        self._reports += 1
        for each in counts:
            endpoint = (each.model, each.address)
            self._ended[endpoint, "succeeded"] += each.succeeded
            self._ended[endpoint, "failed"] += each.failed
            self._under_way[each.client_id, endpoint] = (each.under_way, each.at)

    def tries(self, tries: Sequence[Try]) -> None:
        """Take what one message of the log says. A stream's duration says nothing of the node, and is not shown."""
        for each in tries:
            self._logged[(each.model, each.address), each.outcome.value] += 1
            if each.outcome is Outcome.ANSWERED and not each.stream:
                self._took(each.model, each.address).add(each.seconds)

    def failures(self, tries: Sequence[Try]) -> None:
        """Take what one message of the log of failures says."""
        self._failed.update(((each.model, each.address), each.outcome.value) for each in tries)

    def under_way(self, node_id: str) -> int:
        """Tries on a node that data planes have told of lately and that are not ended yet."""
        self._forget()
        fleet = self._places.follow(self._view.value)
        counts = ((fleet.node(*endpoint), count) for (_, endpoint), (count, _) in self._under_way.items())
        return sum(count for node, count in counts if node == node_id)

    def collect(self) -> Iterable[Metric]:
        """The figures now; those of endpoints that the fleet no longer has are forgotten."""
        self._forget()
        fleet = self._places.follow(self._view.value)
        yield _by_node("inferno_tries", "Tries that ended, by Envoy's load reports.", self._ended, fleet)
        yield _by_node("inferno_logged_tries", "Entries of the log of tries, a sample.", self._logged, fleet)
        yield _by_node("inferno_failed_tries", "Entries of the log of failed tries.", self._failed, fleet)
        yield self._latency(fleet)
        busy: Counter[tuple[str, str]] = Counter()
        for (_, (model, address)), (count, _) in self._under_way.items():
            busy[model, fleet.node(model, address) or ""] += count
        under_way = GaugeMetricFamily("inferno_tries_under_way", "Tries not ended yet.", labels=["model", "node"])
        for pair, count in sorted(busy.items()):
            under_way.add_metric(pair, count)
        yield under_way
        yield CounterMetricFamily("inferno_load_reports", "Load reports with calls in them.", value=self._reports)

    def _took(self, model: str, address: Address) -> Durations:
        key: _Answering = (model, address)
        if key not in self._answered and len(self._answered) >= _HISTOGRAMS:
            key = (model, None)
        return self._answered.setdefault(key, Durations())

    def _latency(self, fleet: Places) -> Metric:
        by_node: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
        for (model, address), took in self._answered.items():
            by_node[model, _OTHERS if address is None else fleet.node(model, address) or ""].include(took)
        family = HistogramMetricFamily(
            "inferno_try_seconds", "Time to the answer, of the logged tries that got one.", labels=["model", "node"]
        )
        for pair, took in sorted(by_node.items(), key=itemgetter(0)):
            family.add_metric(pair, took.buckets, took.sum)
        return family

    def _forget(self) -> None:
        fleet = self._places.follow(self._view.value)
        models, oldest = self._view.value.models, self._clock.monotonic() - _KNOWN_FOR
        for counted in (self._ended, self._logged, self._failed):
            for key in [key for key in counted if fleet.node(*key[0]) is None]:
                del counted[key]
        for model, address in list(self._answered):
            if (model not in models) if address is None else (fleet.node(model, address) is None):
                del self._answered[model, address]
        for reporter in [r for r, (_, at) in self._under_way.items() if at < oldest or fleet.node(*r[1]) is None]:
            del self._under_way[reporter]


def _by_node(name: str, words: str, counts: Mapping[tuple[Endpoint, str], int], fleet: Places) -> Metric:
    family = CounterMetricFamily(name, words, labels=["model", "node", "outcome"])
    totals: Counter[tuple[str, str, str]] = Counter()
    for ((model, address), outcome), count in counts.items():
        totals[model, fleet.node(model, address) or "", outcome] += count
    for labels, count in sorted(totals.items()):
        family.add_metric(labels, count)
    return family
