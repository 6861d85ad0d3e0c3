"""What the metrics of model servers and GPU exporters mean, in the terms of our telemetry.

Sources: Triton's docs/user_guide/metrics.md; vLLM's docs/design/metrics.md (names of versions 0 and 1 of its engine);
NVIDIA/dcgm-exporter etc/default-counters.csv, units by dcgm_fields.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Subject = Literal["model", "gpu", "cpu"]
Combine = Literal["sum", "max"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """One metric. ``unit`` turns its value into ours: microseconds, bytes, millijoules, milliwatts, or a share in
    millionths. Of a ``counter`` the increase counts. ``exporter`` ranks who is believed about a device that several
    tell of: the least wins."""

    subject: Subject
    field: str
    counter: bool = True
    unit: float = 1.0
    combine: Combine = "sum"
    exporter: int = 0


def _model(field: str, unit: float = 1.0, *, counter: bool = True) -> Meaning:
    return Meaning("model", field, counter, unit)


def _gauge(subject: Subject, field: str, unit: float, exporter: int, combine: Combine = "max") -> Meaning:
    return Meaning(subject, field, counter=False, unit=unit, combine=combine, exporter=exporter)


_MIB = 1024.0 * 1024
_MILLIONTHS = 1e6
_DCGM, _TRITON = 0, 1

TRITON: Mapping[str, Meaning] = {
    "nv_inference_request_success": _model("requests"),
    "nv_inference_request_failure": _model("errors"),
    "nv_inference_count": _model("inferences"),
    "nv_inference_exec_count": _model("executions"),
    "nv_inference_request_duration_us": _model("request_micros"),
    "nv_inference_queue_duration_us": _model("queue_micros"),
    "nv_inference_compute_input_duration_us": _model("compute_micros"),
    "nv_inference_compute_infer_duration_us": _model("compute_micros"),
    "nv_inference_compute_output_duration_us": _model("compute_micros"),
    "nv_inference_pending_request_count": _model("pending", counter=False),
    "nv_gpu_utilization": _gauge("gpu", "busy", _MILLIONTHS, _TRITON),
    "nv_gpu_memory_used_bytes": _gauge("gpu", "memory_used", 1, _TRITON),
    "nv_gpu_memory_total_bytes": _gauge("gpu", "memory_total", 1, _TRITON),
    "nv_gpu_power_usage": _gauge("gpu", "milliwatts", 1000, _TRITON),
    "nv_energy_consumption": Meaning("gpu", "millijoules", unit=1000, exporter=_TRITON),
    "nv_cpu_utilization": _gauge("cpu", "busy", _MILLIONTHS, _TRITON),
    "nv_cpu_memory_used_bytes": _gauge("cpu", "memory_used", 1, _TRITON),
    "nv_cpu_memory_total_bytes": _gauge("cpu", "memory_total", 1, _TRITON),
}
VLLM: Mapping[str, Meaning] = {
    # By its finished_reason; see field_of.
    "vllm:request_success_total": _model("requests"),
    "vllm:iteration_tokens_total_count": _model("executions"),
    "vllm:e2e_request_latency_seconds_sum": _model("request_micros", 1e6),
    "vllm:request_queue_time_seconds_sum": _model("queue_micros", 1e6),
    # Time that requests ran, each by itself: requests of one batch run at the same time.
    "vllm:request_inference_time_seconds_sum": _model("running_micros", 1e6),
    "vllm:prompt_tokens_total": _model("input_tokens"),
    "vllm:generation_tokens_total": _model("output_tokens"),
    "vllm:num_requests_waiting": _model("pending", counter=False),
}
DCGM: Mapping[str, Meaning] = {
    "DCGM_FI_DEV_GPU_UTIL": _gauge("gpu", "busy", _MILLIONTHS / 100, _DCGM),
    # MIG instances and reserved memory have a line each.
    "DCGM_FI_DEV_FB_USED": _gauge("gpu", "memory_used", _MIB, _DCGM, "sum"),
    "DCGM_FI_DEV_FB_FREE": _gauge("gpu", "memory_free", _MIB, _DCGM, "sum"),
    "DCGM_FI_DEV_FB_RESERVED": _gauge("gpu", "memory_free", _MIB, _DCGM, "sum"),
    "DCGM_FI_DEV_FB_TOTAL": _gauge("gpu", "memory_total", _MIB, _DCGM, "sum"),
    "DCGM_FI_DEV_POWER_USAGE": _gauge("gpu", "milliwatts", 1000, _DCGM),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": Meaning("gpu", "millijoules", combine="max", exporter=_DCGM),
}
# One family at a time is asked for, so that no answer holds all there is.
FAMILIES = (TRITON, VLLM, DCGM)
MEANINGS: Mapping[str, Meaning] = {**TRITON, **VLLM, **DCGM}
# Only an agent's page has it: what its Triton does comes here without Prometheus.
AGENT = "inferno_node_info"
# Ends of a request in vLLM that are no success: its caller went away, or the engine failed.
_FAILURES = {"abort": "client_errors", "error": "server_errors"}


def field_of(name: str, meaning: Meaning, labels: Mapping[str, str]) -> str:
    """The field that a series counts in."""
    if name == "vllm:request_success_total":
        return _FAILURES.get(labels.get("finished_reason", ""), meaning.field)
    return meaning.field


def subject_name(meaning: Meaning, labels: Mapping[str, str]) -> tuple[str, str]:
    """Name and version of what a series is about; an empty name where it does not say."""
    if meaning.subject == "cpu":
        return "cpu", ""
    if meaning.subject == "gpu":
        return labels.get("UUID") or labels.get("gpu_uuid") or "", ""
    return labels.get("model_name") or labels.get("model") or "", labels.get("version", "")
