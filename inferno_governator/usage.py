"""Telemetry as values: what a node measured, decoded and found possible.

Points are plain tuples in the order of their columns: a governator takes in hundreds of thousands of them a second,
and a tuple is the cheapest value Python has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from inferno_governator.requests import RequestKey, RequestPoint

Kind = Literal["model", "cpu", "gpu"]

# end and window (Unix microseconds, microseconds), requests, errors, inferences, executions, request_micros,
# queue_micros, compute_micros, pending
ModelPoint = tuple[int, int, int, int, int, int, int, int, int, int]
# end, window, input_tokens, output_tokens
TokenPoint = tuple[int, int, int, int]
# end, window, busy_micros (negative: unknown), memory_used_bytes, memory_total_bytes, energy_millijoules
DevicePoint = tuple[int, int, int, int, int, int]
# end, window; in milliseconds the time the temperature is known, that times degrees, the time the clock is known, that
# times MHz, the time in which the clocks were held down, and the part in which heat did; Xid errors; milliwatts,
# degrees Celsius, and the memory errors that the driver has counted so far: corrected, uncorrected (-1: not counted)
StatePoint = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]


class SeriesKey(NamedTuple):
    """What a point belongs to on its node: a version of a model, or a device (version empty)."""

    kind: Kind
    name: str
    version: str


class StreamKey(NamedTuple):
    """One life of a node or a proxy: the numbering of its batches begins at 1 in each."""

    node_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the bill needs to know of a node. Prices are in micro-dollars an hour.

    ``price`` is the one it is billed at and ``origin`` where that is from (:class:`inferno_governator.prices.pricing.
    Origin`, "unpriced" where nobody knows it and it is zero); ``reported`` is what its agent was told, 0 for nothing.
    ``commitment`` names the one that covers the node, and ``committed`` is the part of the price that uses it up.
    """

    price: int
    region: str = ""
    device: str = ""
    gpu_count: int = 0
    instance_type: str = ""
    spot: bool = False
    provider: str = ""
    reported: int = 0
    origin: str = "unpriced"
    commitment: str = ""
    committed: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of one node or proxy. ``dropped_samples`` counts from the beginning of the incarnation. ``refused`` are
    samples it had that cannot be, by reason, and ``refusal`` says of the first what was wrong."""

    stream: StreamKey
    sequence: int
    models: Mapping[SeriesKey, list[ModelPoint]]
    devices: Mapping[SeriesKey, list[DevicePoint]]
    sample_count: int
    facts: Facts | None = None
    dropped_samples: int = 0
    # Start of the earliest window and end of the latest, Unix microseconds; of an empty batch, when it arrived.
    first_micros: int = 0
    last_micros: int = 0
    # What callers asked: from a proxy.
    requests: Mapping[RequestKey, list[RequestPoint]] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    refusal: str = ""
    # Devices that can do no work, by id: when that was said last (Unix microseconds), and why.
    faults: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    # How devices were, besides their use: of those that say so.
    states: Mapping[SeriesKey, list[StatePoint]] = field(default_factory=dict)
    # Tokens of those points of models that have any: most models know none.
    tokens: Mapping[SeriesKey, list[TokenPoint]] = field(default_factory=dict)
    # False: ``sequence`` is a time, and there is nothing between two of them that could be missing.
    consecutive: bool = True
