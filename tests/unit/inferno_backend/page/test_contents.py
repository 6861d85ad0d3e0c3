"""What a node shows of itself, from values alone."""

from __future__ import annotations

import json

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from inferno.governance.v1 import telemetry_pb2
from inferno_backend.hardware.use import ProcessUse, Use
from inferno_backend.node import Condition, Endpoints, Model, ModelLoad, ModelState, ModelVersion, NodeState
from inferno_backend.page.contents import Contents, document
from inferno_backend.page.figures import of_triton, registry
from inferno_backend.registration import ProxyView
from inferno_backend.tally import Tally
from inferno_backend.triton.metrics_page import Counters
from inferno_backend.uplink import Progress

GPU = telemetry_pb2.Sample(
    time=Timestamp(seconds=1_700_000_000),
    window=Duration(nanos=500_000_000),
    device=telemetry_pb2.DeviceSample(
        device_id="GPU-1",
        kind="gpu",
        utilization=0.5,
        memory_used_bytes=2**53 + 1,
        temperature_celsius=0.0,
        processes=[telemetry_pb2.ProcessUse(pid=7)],
    ),
)
SHOWN = Contents(
    "n1",
    7,
    "0.1.0",
    NodeState(
        Condition.SERVING,
        endpoints=Endpoints("h:1", "h:2", "h:3"),
        models=(
            Model(
                "m",
                (ModelVersion("1", ModelState.READY), ModelVersion("2", ModelState.UNAVAILABLE, "no")),
            ),
        ),
        server_version="2.51.0",
    ),
    triton_pid=4711,
    counters={("m", "1"): Counters(10, 2, 30, 4, 5_000_000, 6_000_000, 7_000_000, 90, 100, 8)},
    load=(ModelLoad("m", 8, 10, 2, 1500, 500, 1.5), ModelLoad("idle", 0, 0, 0, 0)),
    samples=(GPU,),
    devices=(
        Use("cpu", "cpu", 0.25, 1, 2, load_average=1.5),
        Use(
            "GPU-1",
            "gpu",
            energy_joules=12.5,
            sm_clock_mhz=1980,
            slowdowns=("hw_thermal_slowdown",),
            ecc_corrected=3,
            ecc_uncorrected=0,
            xids={79: 2},
            processes=(ProcessUse(7, 100),),
            lost="It fell off the bus.",
        ),
    ),
    telemetry=Progress(connected=True, buffered=1, unacknowledged=2, dropped=3, refused=4, batches=5),
    proxies={"p:8080": ProxyView(connected=True, applied_revision=3)},
    tally=Tally(restarts=1, answered=2, unanswered=3, stalls=4, drains=5),
    certificate_until=1_700_000_000.0,
)


def figures(contents: Contents) -> dict[str, float]:
    text = generate_latest(registry(lambda: contents)).decode()
    return {
        f"{one.name}{''.join(f' {value}' for _, value in sorted(one.labels.items()))}": one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if not one.name.startswith("process_")
    }


def test_the_figures_are_in_base_units() -> None:
    found = figures(SHOWN)
    assert found == found | {
        "inferno_node_info n1 2.51.0 0.1.0": 1,
        "inferno_node_condition SERVING": 1,
        "inferno_node_condition FAILED": 0,
        "inferno_node_model_state m READY 1": 1,
        "inferno_node_model_state m READY 2": 0,
        "inferno_node_model_state m UNAVAILABLE 2": 1,
        "inferno_node_model_requests_total m ok 1": 10,
        "inferno_node_model_requests_total m failed 1": 2,
        "inferno_node_model_inferences_total m 1": 30,
        "inferno_node_model_executions_total m 1": 4,
        "inferno_node_model_request_seconds_total m 1": 5,
        "inferno_node_model_queue_seconds_total m 1": 6,
        "inferno_node_model_compute_seconds_total m 1": 7,
        "inferno_node_model_tokens_total input m 1": 90,
        "inferno_node_model_tokens_total output m 1": 100,
        "inferno_node_model_pending_requests m 1": 8,
        "inferno_node_model_latency_seconds m": 0.0015,
        "inferno_node_model_service_seconds m": 0.0005,
        "inferno_node_model_executing_requests m": 1.5,
        "inferno_node_device_utilization_ratio cpu cpu": 0.25,
        "inferno_node_device_load_average cpu cpu": 1.5,
        "inferno_node_device_sm_clock_hertz GPU-1 gpu": 1.98e9,
        "inferno_node_device_slowdown GPU-1 hw_thermal_slowdown": 1,
        "inferno_node_device_lost GPU-1 gpu": 1,
        "inferno_node_device_lost cpu cpu": 0,
        "inferno_node_device_energy_joules_total GPU-1": 12.5,
        "inferno_node_device_ecc_errors_total GPU-1 corrected": 3,
        "inferno_node_device_ecc_errors_total GPU-1 uncorrected": 0,
        "inferno_node_device_xid_errors_total GPU-1 79": 2,
        "inferno_node_telemetry_connected": 1,
        "inferno_node_telemetry_dropped_samples_total": 3,
        "inferno_node_probes_total unanswered": 3,
        "inferno_node_stalls_total": 4,
        "inferno_node_proxy_connected p:8080": 1,
        "inferno_node_certificate_expiry_timestamp_seconds": 1_700_000_000,
    }
    assert "inferno_node_model_latency_seconds idle" not in found, "no request ended: there is no mean"
    assert "inferno_node_device_utilization_ratio GPU-1 gpu" not in found, "it does not tell"


def test_the_document_is_json_with_numbers_as_numbers_and_zeros() -> None:
    found = json.loads(json.dumps(document(SHOWN)))
    assert found["condition"] == "SERVING"
    assert found["models"][0]["versions"][1] == {"version": "2", "state": "UNAVAILABLE", "reason": "no"}
    assert found["models"][0]["load"]["queued"] == 8
    assert found["certificate_until"] == "2023-11-14T22:13:20Z"
    assert found["devices"][1]["xids"] == {"79": 2}
    assert found["devices"][1]["processes"] == [{"pid": 7, "memory_bytes": 100, "utilization": None}]
    assert found["devices"][0]["power_watts"] is None
    (sample,) = found["samples"]
    assert (sample["time"], sample["window_seconds"]) == ("2023-11-14T22:13:20Z", 0.5)
    assert sample["device"] == sample["device"] | {"device_id": "GPU-1", "memory_used_bytes": 2**53 + 1}
    assert sample["device"]["memory_total_bytes"] == 0
    assert (sample["device"]["temperature_celsius"], sample["device"]["power_watts"]) == (0, None)
    assert sample["device"]["processes"] == [{"pid": 7, "memory_bytes": None, "utilization": None}]


def test_a_node_that_has_just_begun_shows_what_it_has() -> None:
    new = Contents("n1", 7, "0.1.0", NodeState())
    assert not new.ready
    assert SHOWN.ready
    assert document(new)["telemetry"] is None
    assert document(new)["models"] == []
    assert figures(new)["inferno_node_condition STARTING"] == 1
    assert "inferno_node_certificate_expiry_timestamp_seconds" not in figures(new)


def test_of_tritons_page_its_own_families_are_passed_on() -> None:
    page = '# HELP nv_a A.\n# TYPE nv_a gauge\nnv_a 1\n# HELP other O.\nother 2\n# TYPE nv_b counter\nnv_b{m="x"} 3\n'
    assert of_triton(page) == '# HELP nv_a A.\n# TYPE nv_a gauge\nnv_a 1\n# TYPE nv_b counter\nnv_b{m="x"} 3\n'
