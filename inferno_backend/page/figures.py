"""The node's figures for Prometheus, computed when they are read: nothing is kept beside the state.

Base units and endings as https://prometheus.io/docs/practices/naming/ has them; docs/metrics.md lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inferno_backend.hardware.use import Use
from inferno_backend.node import Condition, ModelState
from inferno_backend.page.contents import Contents
from inferno_backend.triton.metrics_page import Counters
from inferno_backend.uplink import Progress

_PREFIX = "inferno_node_"
_OF_A_VERSION = ["model", "version"]


class NodeCollector(Collector):
    """Every figure of the node as it is when asked."""

    def __init__(self, contents: Callable[[], Contents]) -> None:
        self._contents = contents

    def collect(self) -> Iterable[Metric]:
        """The figures now."""
        shown = self._contents()
        yield from _node(shown)
        yield from _models(shown)
        yield from _devices(shown)
        yield from _telemetry(shown.telemetry or Progress())


def registry(contents: Callable[[], Contents]) -> prometheus_client.CollectorRegistry:
    """The node's figures and those of the agent's own process."""
    made = prometheus_client.CollectorRegistry()
    made.register(NodeCollector(contents))
    made.register(prometheus_client.ProcessCollector(registry=None))
    return made


def of_triton(page: str) -> str:
    """What of Triton's page is passed on: its ``nv_`` families, as they are."""
    kept = [
        line for line in page.splitlines() if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("nv_")
    ]
    return "".join(f"{line}\n" for line in kept)


def _gauge(name: str, help_text: str, value: float | None = None, labels: list[str] | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, help_text, value=value, labels=labels)


def _counter(
    name: str, help_text: str, value: float | None = None, labels: list[str] | None = None
) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, help_text, value=value, labels=labels)


def _node(shown: Contents) -> Iterator[Metric]:
    info = _gauge("info", "The node and its versions.", labels=["node", "version", "triton_version"])
    info.add_metric([shown.node_id, shown.agent_version, shown.state.server_version], 1)
    yield info
    conditions = _gauge("condition", "What the agent says of the node: 1 for what holds.", labels=["condition"])
    for each in Condition:
        conditions.add_metric([each.value], each is shown.state.condition)
    yield conditions
    probes = _counter("probes", "Questions to Triton.", labels=["result"])
    probes.add_metric(["answered"], shown.tally.answered)
    probes.add_metric(["unanswered"], shown.tally.unanswered)
    yield probes
    yield _counter("triton_restarts", "Tritons started again after their end.", shown.tally.restarts)
    yield _counter("stalls", "Models withdrawn because their work did not move.", shown.tally.stalls)
    yield _counter("drains", "Times that no new work was wanted.", shown.tally.drains)
    proxies = _gauge("proxy_connected", "1 while the node is registered with a proxy.", labels=["proxy"])
    for address, view in shown.proxies.items():
        proxies.add_metric([address], view.connected)
    yield proxies
    expiry = _gauge("certificate_expiry_timestamp_seconds", "When the node's certificate ends.", labels=[])
    if shown.certificate_until is not None:
        expiry.add_metric([], shown.certificate_until)
    yield expiry


@dataclass(frozen=True, slots=True)
class _Counted:
    name: str
    help_text: str
    value: Callable[[Counters], float]


_COUNTED = (
    _Counted("model_inferences", "Inferences: requests times their batch size.", lambda c: c.inferences),
    _Counted("model_executions", "Batches that ran.", lambda c: c.executions),
    _Counted("model_request_seconds", "Time from arrival to answer.", lambda c: c.request_micros / 1e6),
    _Counted("model_queue_seconds", "Time that requests waited.", lambda c: c.queue_micros / 1e6),
    _Counted("model_compute_seconds", "Time that requests computed.", lambda c: c.compute_micros / 1e6),
)


def _models(shown: Contents) -> Iterator[Metric]:
    states = _gauge("model_state", "State of each model version: 1 for what holds.", labels=[*_OF_A_VERSION, "state"])
    for model in shown.state.models:
        for version in model.versions:
            for state in ModelState:
                states.add_metric([model.name, version.version, state.value], state is version.state)
    yield states
    ended = _counter("model_requests", "Requests that ended.", labels=[*_OF_A_VERSION, "outcome"])
    waiting = _gauge("model_pending_requests", "Requests that wait for their execution.", labels=_OF_A_VERSION)
    for key, counters in shown.counters.items():
        ended.add_metric([*key, "ok"], counters.success)
        ended.add_metric([*key, "failed"], counters.failure)
        waiting.add_metric([*key], counters.pending)
    yield ended
    yield waiting
    for each in _COUNTED:
        family = _counter(each.name, each.help_text, labels=_OF_A_VERSION)
        for key, counters in shown.counters.items():
            family.add_metric([*key], each.value(counters))
        yield family
    tokens = _counter("model_tokens", "Tokens, as backends count them.", labels=[*_OF_A_VERSION, "direction"])
    for key, counters in shown.counters.items():
        # Most models know no tokens.
        if counters.input_tokens or counters.output_tokens:
            tokens.add_metric([*key, "input"], counters.input_tokens)
            tokens.add_metric([*key, "output"], counters.output_tokens)
    yield tokens
    executing = _gauge("model_executing_requests", "Requests that execute, mean of the last second.", labels=["model"])
    latency = _gauge("model_latency_seconds", "Mean time of the requests of the last second.", labels=["model"])
    service = _gauge("model_service_seconds", "The same without their time in the queue.", labels=["model"])
    for load in shown.load or ():
        executing.add_metric([load.model], load.executing)
        if load.latency_micros:
            latency.add_metric([load.model], load.latency_micros / 1e6)
            service.add_metric([load.model], load.service_micros / 1e6)
    yield from (executing, latency, service)


@dataclass(frozen=True, slots=True)
class _Measured:
    name: str
    help_text: str
    value: Callable[[Use], float | None]


_MEASURED = (
    _Measured("device_utilization_ratio", "Share of time in which the device was busy.", lambda u: u.utilization),
    _Measured("device_memory_utilization_ratio", "The same for its memory.", lambda u: u.memory_utilization),
    _Measured("device_memory_used_bytes", "Memory in use.", lambda u: u.memory_used_bytes),
    _Measured("device_memory_bytes", "Memory there is.", lambda u: u.memory_total_bytes),
    _Measured("device_power_watts", "Power.", lambda u: u.power_watts),
    _Measured("device_power_limit_watts", "Power it is held to.", lambda u: u.power_limit_watts),
    _Measured("device_temperature_celsius", "Temperature.", lambda u: u.temperature_celsius),
    _Measured("device_sm_clock_hertz", "Clock of its multiprocessors.", lambda u: _hertz(u.sm_clock_mhz)),
    _Measured("device_memory_clock_hertz", "Clock of its memory.", lambda u: _hertz(u.memory_clock_mhz)),
    _Measured("device_load_average", "Runnable tasks over the last minute.", lambda u: u.load_average),
    _Measured("device_lost", "1 for a device that no longer answers.", lambda u: bool(u.lost)),
)


def _hertz(megahertz: int | None) -> float | None:
    return None if megahertz is None else megahertz * 1e6


def _devices(shown: Contents) -> Iterator[Metric]:
    """What a device does not tell is not there."""
    for each in _MEASURED:
        family = _gauge(each.name, each.help_text, labels=["device", "kind"])
        for use in shown.devices:
            value = each.value(use)
            if value is not None:
                family.add_metric([use.device_id, use.kind], value)
        yield family
    slowdowns = _gauge("device_slowdown", "1 for each thing that holds a clock down.", labels=["device", "reason"])
    energy = _counter("device_energy_joules", "Energy used.", labels=["device"])
    memory = _counter("device_ecc_errors", "Memory errors.", labels=["device", "outcome"])
    xids = _counter("device_xid_errors", "Xid errors since the agent began.", labels=["device", "xid"])
    for use in shown.devices:
        for reason in use.slowdowns:
            slowdowns.add_metric([use.device_id, reason], 1)
        if use.energy_joules is not None:
            energy.add_metric([use.device_id], use.energy_joules)
        for outcome, count in (("corrected", use.ecc_corrected), ("uncorrected", use.ecc_uncorrected)):
            if count is not None:
                memory.add_metric([use.device_id, outcome], count)
        for xid, count in use.xids.items():
            xids.add_metric([use.device_id, str(xid)], count)
    yield from (slowdowns, energy, memory, xids)


def _telemetry(progress: Progress) -> Iterator[Metric]:
    yield _gauge("telemetry_connected", "1 while a governator acknowledges.", progress.connected)
    yield _gauge("telemetry_buffered_samples", "Samples that wait to be sent.", progress.buffered)
    yield _gauge("telemetry_unacknowledged_samples", "Samples sent and not acknowledged.", progress.unacknowledged)
    yield _counter("telemetry_acknowledged_samples", "Samples that are stored.", progress.acknowledged_samples)
    yield _counter("telemetry_dropped_samples", "Samples dropped, oldest first: no room.", progress.dropped)
    yield _counter("telemetry_refused_samples", "Samples the governator will never take.", progress.refused)
    yield _counter("telemetry_batches", "Batches made.", progress.batches)
    yield _counter("telemetry_acknowledged_batches", "Batches that are stored.", progress.acknowledged_batches)
    yield _counter("telemetry_batches_sent_again", "Batches sent again on a later stream.", progress.sent_again)
