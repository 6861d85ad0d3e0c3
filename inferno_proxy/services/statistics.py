"""Statistics of one model on many nodes, added up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritonclient.grpc import service_pb2

# A protobuf message of tritonclient's stubs, which carry no types.
Message = Any


def add_up(answers: Iterable[Message]) -> Message:
    """One ModelStatisticsResponse out of those of several nodes, by model and version.

    Counts and times are sums, the last inference is the latest one, batch sizes and response indices are matched, and
    memory of the same kind and device number is added.
    """
    totals: dict[tuple[str, str], Message] = {}
    for answer in answers:
        for one in answer.model_stats:
            key = (one.name, one.version)
            if key in totals:
                _add_model(totals[key], one)
            else:
                totals[key] = service_pb2.ModelStatistics()
                totals[key].CopyFrom(one)
    return service_pb2.ModelStatisticsResponse(model_stats=[totals[key] for key in sorted(totals)])


def _add_model(total: Message, one: Message) -> None:
    total.last_inference = max(total.last_inference, one.last_inference)
    total.inference_count += one.inference_count
    total.execution_count += one.execution_count
    _add_durations(total.inference_stats, one.inference_stats)
    batches = {entry.batch_size: entry for entry in total.batch_stats}
    for entry in one.batch_stats:
        known = batches.get(entry.batch_size)
        if known is None:
            total.batch_stats.add().CopyFrom(entry)
        else:
            _add_durations(known, entry)
    memory = {(entry.type, entry.id): entry for entry in total.memory_usage}
    for entry in one.memory_usage:
        known = memory.get((entry.type, entry.id))
        if known is None:
            total.memory_usage.add().CopyFrom(entry)
        else:
            known.byte_size += entry.byte_size
    for index, entry in one.response_stats.items():
        _add_durations(total.response_stats[index], entry)


def _add_durations(total: Message, one: Message) -> None:
    """Add every StatisticDuration field of a message to the same field of another."""
    for field in one.DESCRIPTOR.fields:
        if field.message_type is not None:
            duration, more = getattr(total, field.name), getattr(one, field.name)
            duration.count += more.count
            duration.ns += more.ns
