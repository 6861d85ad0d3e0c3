from __future__ import annotations

from inferno_governator.analysis.cost import DeviceUse, FactsChange, ModelUse, minute_items
from inferno_governator.analysis.device_use import DeviceTotal
from inferno_governator.analysis.lines import IDLE, Line, Lines
from inferno_governator.usage import Facts

MINUTE = 60_000_000
PRICE = {"n": [FactsChange(0, Facts(60 * 4_000))]}


def model(minute: int, name: str, compute: int, requests: int = 1) -> ModelUse:
    return ModelUse(minute, "n", name, "1", MINUTE, requests, 0, requests, 10 * requests, 4 * requests, compute)


def lines(models: list[ModelUse], devices: list[DeviceUse]) -> dict[str, Line]:
    bill = Lines()
    totals = [
        DeviceTotal(each.node, "gpu", "GPU-1", each.window_micros, each.busy_micros, 7, each.known_micros)
        for each in devices
    ]
    bill.add(minute_items(PRICE, models, devices), totals)
    return {line.model: line for line in bill.lines()}


def test_a_line_tells_a_models_share_of_the_time_and_the_idle_line_how_busy_the_devices_were_known_to_be() -> None:
    found = lines(
        [model(m, "a", MINUTE // 2) for m in range(2)],
        [DeviceUse(0, "n", MINUTE, 6_000_000, MINUTE), DeviceUse(1, "n", MINUTE, 0, 0)],
    )
    assert (found["a"].utilization, found["a"].cost_micros) == (0.5, 4000)
    assert (found[IDLE].utilization, found[IDLE].cost_micros) == (0.1, 4000)
    assert found[IDLE].measured_micros == 2 * MINUTE
    assert (found[IDLE].energy_millijoules, found["a"].energy_millijoules) == (14, 0)


def test_versions_of_a_model_are_one_line_with_means_over_its_requests() -> None:
    line = lines([model(0, "a", 5, requests=3), model(0, "a", 7)._replace(version="2")], [])["a"]
    assert (line.requests, line.mean_latency_micros, line.mean_queue_micros) == (4, 10, 4)


def test_a_model_without_requests_has_no_latency_and_one_alone_leaves_an_idle_line() -> None:
    found = lines([model(0, "a", 3 * MINUTE, requests=0)], [])
    assert (found["a"].mean_latency_micros, found["a"].mean_queue_micros, found["a"].utilization) == (0, 0, 3.0)
    assert found[IDLE].cost_micros == 0
