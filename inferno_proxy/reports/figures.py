"""What data planes reported, as figures for Prometheus: by model and node, for as long as the node is in the fleet."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.reports.places import Places, places
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

# A data plane that has not reported for so many seconds holds nothing that anybody knows of.
_KNOWN_FOR = 10.0

# Upper bounds of the latency histogram, in seconds.
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, math.inf)
_BOUND_TEXTS = [str(bound).replace("inf", "+Inf") for bound in _BOUNDS]

Endpoint = tuple[str, Address]


class ReportedFigures(Collector):
    """Adds up what :meth:`counts`, :meth:`tries` and :meth:`failures` are given, and shows it by node."""

    def __init__(self, view: Latest[FleetView], clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._ended: Counter[tuple[Endpoint, str]] = Counter()
        self._under_way: dict[tuple[str, Endpoint], tuple[int, float]] = {}
        self._logged: Counter[tuple[Endpoint, str]] = Counter()
        self._failed: Counter[tuple[Endpoint, str]] = Counter()
        self._answered: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._reports = 0

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
                slots = self._answered.setdefault(each.model, [0] * len(_BOUNDS))
                slots[bisect_left(_BOUNDS, each.seconds)] += 1
                self._seconds[each.model] += each.seconds

    def failures(self, tries: Sequence[Try]) -> None:
        """Take what one message of the log of failures says."""
        self._failed.update(((each.model, each.address), each.outcome.value) for each in tries)

    def collect(self) -> Iterable[Metric]:
        """The figures now; those of endpoints that the fleet no longer has are forgotten."""
        self._forget()
        fleet = places(self._view.value)
        yield _by_node("inferno_tries", "Tries that ended, by Envoy's load reports.", self._ended, fleet)
        yield _by_node("inferno_logged_tries", "Entries of the log of tries, a sample.", self._logged, fleet)
        yield _by_node("inferno_failed_tries", "Entries of the log of failed tries.", self._failed, fleet)
        latency = HistogramMetricFamily(
            "inferno_try_seconds", "Time to the answer, of the logged tries that got one.", labels=["model"]
        )
        for name, slots in sorted(self._answered.items()):
            buckets = [(bound, total) for bound, total in zip(_BOUND_TEXTS, accumulate(slots), strict=True)]
            latency.add_metric([name], buckets, self._seconds[name])
        yield latency
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
        for counted in (self._ended, self._logged, self._failed):
            for key in [key for key in counted if fleet.node(*key[0]) is None]:
                del counted[key]
        for model in self._answered.keys() - fleet.models:
            del self._answered[model], self._seconds[model]
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
