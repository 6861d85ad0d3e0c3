"""Tables. Times are Unix microseconds, a minute is Unix time divided by 60 s, counts are 64-bit.

Samples and roll-ups name their series by a small number: a row of text would be three times as large, and 1,000 GPUs
at 1 Hz make 86 million rows a day.
"""

from __future__ import annotations

from typing import cast

from sqlalchemy import BigInteger, Double, Index, Table, UniqueConstraint
from sqlmodel import Field, SQLModel

_NO_ROWID = {"sqlite_with_rowid": False}


class Node(SQLModel, table=True):
    """A node that has sent telemetry."""

    __tablename__ = "node"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)


class NodeFacts(SQLModel, table=True):
    """What the bill needs of a node, from a minute on, until the next row of that node."""

    __tablename__ = "node_facts"
    __table_args__ = (_NO_ROWID,)

    node: int = Field(primary_key=True, foreign_key="node.id")
    effective_minute: int = Field(primary_key=True, sa_type=BigInteger)
    price_micros_per_hour: int = Field(sa_type=BigInteger)
    region: str
    device: str
    gpu_count: int
    instance_type: str
    spot: bool
    provider: str
    # What the agent was told; 0: nothing.
    reported_micros_per_hour: int = Field(sa_type=BigInteger)
    # Where the price is from: a value of inferno_governator.prices.pricing.Origin.
    price_origin: str
    # The commitment that covers it, by its name, and the part of the price that uses it up.
    commitment: str
    committed_micros_per_hour: int = Field(sa_type=BigInteger)


class StreamPosition(SQLModel, table=True):
    """How far one life of a node is stored; written in the transaction that stores the batch."""

    __tablename__ = "stream_position"
    __table_args__ = (_NO_ROWID,)

    node: int = Field(primary_key=True, foreign_key="node.id")
    incarnation: int = Field(primary_key=True, sa_type=BigInteger)
    last_sequence: int = Field(sa_type=BigInteger)
    dropped_samples: int = Field(sa_type=BigInteger)
    # Batches that never arrived: gaps in the sequence.
    missing_batches: int = Field(sa_type=BigInteger)
    stored_micros: int = Field(sa_type=BigInteger)
    # End of its latest sample of a model or device; 0: none yet.
    last_micros: int = Field(sa_type=BigInteger)


class Series(SQLModel, table=True):
    """A model version or a device of a node. Rows are never deleted: other processes may hold their numbers."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("node", "kind", "name", "version", name="series_key"),)

    id: int | None = Field(default=None, primary_key=True)
    node: int = Field(foreign_key="node.id")
    # "model", "cpu" or "gpu".
    kind: str
    # Model name, or device id.
    name: str
    # Model version; empty for a device.
    version: str


class ModelSample(SQLModel, table=True):
    """A sample of a model version as it arrived; kept for a short while."""

    __tablename__ = "model_sample"
    # No key in the database: a sample is told from its copy by its batch, and an index would cost a third of the rate.
    __mapper_args__ = {"primary_key": ["series", "time_micros"]}
    __table_args__ = (Index("model_sample_time", "time_micros"),)

    series: int
    time_micros: int = Field(sa_type=BigInteger)
    window_micros: int = Field(sa_type=BigInteger)
    requests: int = Field(sa_type=BigInteger)
    errors: int = Field(sa_type=BigInteger)
    inferences: int = Field(sa_type=BigInteger)
    executions: int = Field(sa_type=BigInteger)
    request_micros: int = Field(sa_type=BigInteger)
    queue_micros: int = Field(sa_type=BigInteger)
    compute_micros: int = Field(sa_type=BigInteger)
    pending: int = Field(sa_type=BigInteger)


class DeviceSample(SQLModel, table=True):
    """A sample of a device as it arrived; kept for a short while."""

    __tablename__ = "device_sample"
    __mapper_args__ = {"primary_key": ["series", "time_micros"]}
    __table_args__ = (Index("device_sample_time", "time_micros"),)

    series: int
    time_micros: int = Field(sa_type=BigInteger)
    window_micros: int = Field(sa_type=BigInteger)
    # Negative: unknown.
    busy_micros: int = Field(sa_type=BigInteger)
    memory_used_bytes: int = Field(sa_type=BigInteger)
    memory_total_bytes: int = Field(sa_type=BigInteger)
    energy_millijoules: int = Field(sa_type=BigInteger)


class ModelMinute(SQLModel, table=True):
    """What a model version did in a minute: sums of its samples, and the longest queue."""

    __tablename__ = "model_minute"
    __table_args__ = (_NO_ROWID,)

    minute: int = Field(primary_key=True, sa_type=BigInteger)
    series: int = Field(primary_key=True, foreign_key="series.id")
    window_micros: int = Field(sa_type=BigInteger)
    requests: int = Field(sa_type=BigInteger)
    errors: int = Field(sa_type=BigInteger)
    inferences: int = Field(sa_type=BigInteger)
    executions: int = Field(sa_type=BigInteger)
    request_micros: int = Field(sa_type=BigInteger)
    queue_micros: int = Field(sa_type=BigInteger)
    compute_micros: int = Field(sa_type=BigInteger)
    # Zero: nobody counts them.
    input_tokens: int = Field(sa_type=BigInteger)
    output_tokens: int = Field(sa_type=BigInteger)
    max_pending: int = Field(sa_type=BigInteger)


class NodeMinute(SQLModel, table=True):
    """What is missing of a node's telemetry in a minute; there is a row only where something is."""

    __tablename__ = "node_minute"
    __table_args__ = (_NO_ROWID,)

    minute: int = Field(primary_key=True, sa_type=BigInteger)
    node: int = Field(primary_key=True, foreign_key="node.id")
    # Samples the node says it dropped.
    dropped_samples: int = Field(sa_type=BigInteger)
    # Batches that never arrived.
    missing_batches: int = Field(sa_type=BigInteger)
    # How long it lived in the minute and was not measured.
    unmeasured_micros: int = Field(sa_type=BigInteger)


class RequestSeries(SQLModel, table=True):
    """Who asked what, and which node answered. Rows are never deleted: other processes may hold their numbers."""

    __tablename__ = "request_series"
    __table_args__ = (UniqueConstraint("node", "model", "version", "team", "key", name="request_series_key"),)

    id: int | None = Field(default=None, primary_key=True)
    # By name: it may be a node that never sent telemetry, or empty, when a request reached none.
    node: str
    model: str
    version: str
    team: str
    key: str


class _RequestCounts(SQLModel):
    """What was asked in a stretch of time; ``series`` is a request_series."""

    minute: int = Field(primary_key=True, sa_type=BigInteger)
    series: int = Field(primary_key=True, foreign_key="request_series.id")
    requests: int = Field(sa_type=BigInteger)
    client_errors: int = Field(sa_type=BigInteger)
    refused: int = Field(sa_type=BigInteger)
    server_errors: int = Field(sa_type=BigInteger)
    request_micros: int = Field(sa_type=BigInteger)
    input_tokens: int = Field(sa_type=BigInteger)
    output_tokens: int = Field(sa_type=BigInteger)
    # Of requests' and answers' bodies. Zero where unknown.
    request_bytes: int = Field(sa_type=BigInteger)
    response_bytes: int = Field(sa_type=BigInteger)
    # The histogram, one column for each of its numbers: they are added up like every other count.
    latency_0: int = Field(sa_type=BigInteger)
    latency_1: int = Field(sa_type=BigInteger)
    latency_2: int = Field(sa_type=BigInteger)
    latency_3: int = Field(sa_type=BigInteger)
    latency_4: int = Field(sa_type=BigInteger)
    latency_5: int = Field(sa_type=BigInteger)
    latency_6: int = Field(sa_type=BigInteger)
    latency_7: int = Field(sa_type=BigInteger)
    latency_8: int = Field(sa_type=BigInteger)
    latency_9: int = Field(sa_type=BigInteger)
    latency_10: int = Field(sa_type=BigInteger)
    latency_11: int = Field(sa_type=BigInteger)
    latency_12: int = Field(sa_type=BigInteger)
    latency_13: int = Field(sa_type=BigInteger)
    latency_14: int = Field(sa_type=BigInteger)
    latency_15: int = Field(sa_type=BigInteger)


class RequestMinute(_RequestCounts, table=True):
    """What was asked in a minute."""

    __tablename__ = "request_minute"
    __table_args__ = (_NO_ROWID,)


class RequestHour(_RequestCounts, table=True):
    """What was asked in an hour, under its first minute."""

    __tablename__ = "request_hour"
    __table_args__ = (_NO_ROWID,)


class RequestDay(_RequestCounts, table=True):
    """What was asked in a day (UTC), under its first minute."""

    __tablename__ = "request_day"
    __table_args__ = (_NO_ROWID,)


class ProviderNotice(SQLModel, table=True):
    """What a provider announced to a node's machine."""

    __tablename__ = "provider_notice"
    __table_args__ = (Index("provider_notice_stored", "stored_micros"), _NO_ROWID)

    node: int = Field(primary_key=True, foreign_key="node.id")
    incarnation: int = Field(primary_key=True, sa_type=BigInteger)
    # As on the wire: 1 reclaim, 2 rebalance, 3 maintenance.
    kind: int = Field(primary_key=True)
    # The provider's own word.
    action: str = Field(primary_key=True)
    noticed_micros: int = Field(sa_type=BigInteger)
    # None: the provider does not say when.
    reclaim_micros: int | None = Field(sa_type=BigInteger)
    provider: str
    region: str
    zone: str
    instance_type: str
    instance_id: str
    spot: bool
    stored_micros: int = Field(sa_type=BigInteger)


class CapacityReport(SQLModel, table=True):
    """What a model did on a node's hardware, as the node measured it at one time."""

    __tablename__ = "capacity_report"
    __table_args__ = (
        UniqueConstraint(
            "node", "hardware", "model", "files", "configuration", "measured_micros", name="capacity_report_key"
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    node: int = Field(foreign_key="node.id")
    # Hashes of the hardware, the model's files (empty: unknown) and its configuration.
    hardware: str
    model: str
    files: str
    configuration: str
    measured_micros: int = Field(sa_type=BigInteger)
    hardware_name: str
    settings: str
    # 0: none.
    objective_micros: int = Field(sa_type=BigInteger)
    triton_version: str
    complete: bool


class CapacityStep(SQLModel, table=True):
    """One step of a report: what a number of requests held in flight showed."""

    __tablename__ = "capacity_step"
    __table_args__ = (_NO_ROWID,)

    report: int = Field(primary_key=True, foreign_key="capacity_report.id")
    batch: int = Field(primary_key=True)
    concurrency: int = Field(primary_key=True)
    requests: int = Field(sa_type=BigInteger)
    failures: int = Field(sa_type=BigInteger)
    requests_per_second: float = Field(sa_type=Double)
    # Half of the 95 % confidence interval, as a share of the throughput; negative: unknown.
    uncertainty: float = Field(sa_type=Double)
    p50_micros: int = Field(sa_type=BigInteger)
    p95_micros: int = Field(sa_type=BigInteger)
    p99_micros: int = Field(sa_type=BigInteger)
    generator_cores: float = Field(sa_type=Double)


class DeviceFigure(SQLModel, table=True):
    """One thing that a device of a node can do, as the node measured it at one time."""

    __tablename__ = "device_figure"
    __table_args__ = (_NO_ROWID,)

    node: int = Field(primary_key=True, foreign_key="node.id")
    # "cpu", or the GPU's UUID.
    device: str = Field(primary_key=True)
    figure: str = Field(primary_key=True)
    library: str = Field(primary_key=True)
    measured_micros: int = Field(primary_key=True, sa_type=BigInteger)
    # Hash of the node's hardware.
    hardware: str
    name: str
    value: float = Field(sa_type=Double)
    unit: str
    # Half of the distance between the quartiles of its tries, as a share of the value.
    spread: float = Field(sa_type=Double)


class BudgetRow(SQLModel, table=True):
    """What may be spent in a scope in each period; those of the settings file are not here."""

    __tablename__ = "budget"
    __table_args__ = (_NO_ROWID,)

    name: str = Field(primary_key=True)
    # Empty: any.
    team: str
    api_key: str
    model: str
    region: str
    amount_micros: int = Field(sa_type=BigInteger)
    # As on the wire.
    period: str
    # Percent, with commas between.
    thresholds: str
    hard: bool


class PriceOffer(SQLModel, table=True):
    """A machine that a cloud rents out."""

    __tablename__ = "price_offer"
    __table_args__ = (UniqueConstraint("cloud", "region", "instance_type", "spot", name="price_offer_key"),)

    id: int | None = Field(default=None, primary_key=True)
    cloud: str
    # "*": every region of the cloud.
    region: str
    instance_type: str
    spot: bool
    gpu: str
    gpu_count: int
    gpu_memory_gb: int
    # 0: unknown.
    vcpus: int
    memory_gb: int


class OfferPrice(SQLModel, table=True):
    """A price of an offer, from a minute on until the next; rows are never deleted."""

    __tablename__ = "offer_price"
    __table_args__ = (Index("offer_price_offer", "offer"),)

    id: int | None = Field(default=None, primary_key=True)
    offer: int = Field(foreign_key="price_offer.id")
    from_minute: int = Field(sa_type=BigInteger)
    price_micros_per_hour: int = Field(sa_type=BigInteger)
    # The last day for which somebody said so, as days since 1970-01-01, and who.
    as_of_day: int
    source: str
    # When it was stored first.
    seen_micros: int = Field(sa_type=BigInteger)
    # Set aside until it is confirmed.
    waits: bool
    # When a correction, or a confirmed price, took its place. None: it counts.
    replaced_micros: int | None = Field(sa_type=BigInteger)


def table(model: type[SQLModel]) -> Table:
    """The Core table of a model: bulk writes go around the ORM, which is ten times slower."""
    return cast("Table", model.__table__)  # type: ignore[attr-defined]


METADATA = SQLModel.metadata
