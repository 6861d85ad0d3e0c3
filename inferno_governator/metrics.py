"""What the governator counts about itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The governator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.batches = Counter(
            "inferno_telemetry_batches",
            "Telemetry batches by what became of them: stored, duplicate, or refused.",
            ["outcome"],
            registry=self.registry,
        )
        self.samples = Counter("inferno_telemetry_samples", "Telemetry samples stored.", registry=self.registry)
        self.refused_samples = Counter(
            "inferno_telemetry_refused_samples",
            "Telemetry samples left out because they cannot be, by what is wrong with them.",
            ["reason"],
            registry=self.registry,
        )
        self.missing_batches = Counter(
            "inferno_telemetry_missing_batches",
            "Telemetry batches that never arrived: gaps in the nodes' numbering.",
            registry=self.registry,
        )
        self.dropped_samples = Counter(
            "inferno_telemetry_dropped_samples",
            "Telemetry samples that nodes say they dropped.",
            registry=self.registry,
        )
        self.queued_samples = Gauge(
            "inferno_telemetry_queued_samples",
            "Telemetry samples accepted and not yet stored.",
            registry=self.registry,
        )
        self.streams = Gauge("inferno_telemetry_streams", "Open telemetry streams.", registry=self.registry)
        self.commit_seconds = Histogram(
            "inferno_store_commit_seconds",
            "Time to commit one group of batches.",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.forgotten_rows = Counter(
            "inferno_store_forgotten_rows", "Rows deleted because they were old.", registry=self.registry
        )
        self.alerts = Gauge("inferno_alerts", "Alerts that last, by kind.", ["kind"], registry=self.registry)
        self.budget_left = Gauge(
            "inferno_budget_left_dollars",
            "What is left of a budget in the period that runs, in US dollars.",
            ["budget"],
            registry=self.registry,
        )
        self.prometheus_reads = Counter(
            "inferno_prometheus_reads",
            "Stretches of time read from Prometheus: stored, or failed and read again.",
            ["outcome"],
            registry=self.registry,
        )
        self.prometheus_refused_samples = Counter(
            "inferno_prometheus_refused_samples",
            "Samples of Prometheus left out because they cannot be or name nobody, by what is wrong with them.",
            ["reason"],
            registry=self.registry,
        )
        self.prometheus_gap_seconds = Counter(
            "inferno_prometheus_gap_seconds",
            "Time of models and devices that Prometheus knows nothing of, each counted by itself.",
            registry=self.registry,
        )
        self.prometheus_behind_seconds = Gauge(
            "inferno_prometheus_behind_seconds",
            "How far what is read from Prometheus is behind its clock.",
            registry=self.registry,
        )
        self.notices = Counter(
            "inferno_provider_notices",
            "Announcements of providers to their machines by kind: reclaim, rebalance, or maintenance.",
            ["kind"],
            registry=self.registry,
        )
