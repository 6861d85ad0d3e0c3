from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.cost import IDLE, DeviceUse, Ledger, Line, ModelUse, PriceChange, price_at

MINUTE = 60_000_000
DOLLAR = 1_000_000


def model(minute: int, node: str, name: str, compute: int, window: int = MINUTE, requests: int = 1) -> ModelUse:
    return ModelUse(minute, node, name, window, requests, 0, requests, 10 * requests, 4 * requests, compute)


def device(minute: int, node: str, window: int = MINUTE, busy: int = 0) -> DeviceUse:
    return DeviceUse(minute, node, window, busy)


def bill(
    models: list[ModelUse], devices: list[DeviceUse], prices: dict[str, list[PriceChange]]
) -> dict[tuple[str, str], Line]:
    ledger = Ledger(prices)
    ledger.add(models, devices)
    return {(line.node, line.model): line for line in ledger.lines()}


def test_models_pay_for_the_time_they_compute_and_idleness_for_the_rest() -> None:
    lines = bill(
        [model(m, "n", "a", MINUTE // 2) for m in range(60)] + [model(m, "n", "b", MINUTE // 4) for m in range(60)],
        [device(m, "n", busy=MINUTE // 10) for m in range(60)],
        {"n": [PriceChange(0, DOLLAR)]},
    )
    assert sum(line.cost_micros for line in lines.values()) == DOLLAR
    assert abs(lines["n", "a"].cost_micros - DOLLAR // 2) <= 60
    assert abs(lines["n", "b"].cost_micros - DOLLAR // 4) <= 60
    assert lines["n", "a"].utilization == 0.5
    assert lines["n", IDLE].utilization == 0.1
    assert lines["n", IDLE].measured_micros == 60 * MINUTE


def test_models_that_compute_longer_than_was_measured_share_the_whole_cost() -> None:
    lines = bill([model(0, "n", "a", 3 * MINUTE), model(0, "n", "b", MINUTE)], [], {"n": [PriceChange(0, 60 * 4_000)]})
    assert {key: line.cost_micros for key, line in lines.items()} == {("n", ""): 0, ("n", "a"): 3000, ("n", "b"): 1000}
    assert lines["n", "a"].utilization == 3


def test_a_node_pays_only_for_the_time_it_was_measured() -> None:
    lines = bill([], [device(0, "n", window=MINUTE // 4)], {"n": [PriceChange(0, 60 * 4_000)]})
    assert lines["n", IDLE].cost_micros == 1000


def test_windows_that_overlap_are_paid_for_once() -> None:
    lines = bill([model(0, "n", "a", 0, window=90_000_000)], [device(0, "n")], {"n": [PriceChange(0, 60 * 4_000)]})
    assert lines["n", IDLE].cost_micros == 4000
    assert lines["n", IDLE].measured_micros == MINUTE


def test_each_minute_costs_the_price_then_in_force() -> None:
    lines = bill(
        [], [device(m, "n") for m in range(4)], {"n": [PriceChange(1, 60 * 1_000), PriceChange(3, 60 * 7_000)]}
    )
    assert lines["n", IDLE].cost_micros == 0 + 1_000 + 1_000 + 7_000


def test_a_node_without_a_price_costs_nothing() -> None:
    assert bill([model(0, "n", "a", 5)], [], {})["n", "a"].cost_micros == 0


def test_versions_of_a_model_are_one_line_with_means_over_its_requests() -> None:
    lines = bill([model(0, "n", "a", 5, requests=3), model(0, "n", "a", 7, requests=1)], [], {})
    line = lines["n", "a"]
    assert (line.requests, line.mean_latency_micros, line.mean_queue_micros) == (4, 10, 4)


def test_a_model_without_requests_has_no_latency() -> None:
    line = bill([model(0, "n", "a", 0, requests=0)], [], {})["n", "a"]
    assert (line.mean_latency_micros, line.mean_queue_micros) == (0, 0)


def test_the_price_before_the_first_change_is_zero() -> None:
    assert [price_at([PriceChange(5, 7), PriceChange(9, 8)], minute) for minute in (4, 5, 8, 9)] == [0, 7, 7, 8]


_minutes = st.integers(29_000_000, 29_000_009)
_nodes = st.sampled_from(["a", "b"])
_counts = st.integers(0, 200_000_000)
_models = st.lists(
    st.builds(
        ModelUse,
        minute=_minutes,
        node=_nodes,
        model=st.sampled_from(["m", "n"]),
        window_micros=st.integers(1, 90_000_000),
        requests=_counts,
        errors=_counts,
        inferences=_counts,
        request_micros=_counts,
        queue_micros=_counts,
        compute_micros=_counts,
    )
)
_devices = st.lists(
    st.builds(DeviceUse, minute=_minutes, node=_nodes, window_micros=st.integers(1, 90_000_000), busy_micros=_counts)
)
_histories = st.dictionaries(
    _nodes, st.lists(st.builds(PriceChange, _minutes, st.integers(0, 10**9)), max_size=4).map(sorted)
)


@given(_models, _devices, _histories)
def test_no_line_is_negative_and_lines_add_up_to_what_the_nodes_cost(
    models: list[ModelUse], devices: list[DeviceUse], prices: dict[str, list[PriceChange]]
) -> None:
    lines = bill(models, devices, prices)
    assert all(line.cost_micros >= 0 for line in lines.values())
    # The models' split changes nothing about what a node costs: bill the same presence as idleness alone.
    presence = [device(use.minute, use.node, use.window_micros) for use in devices]
    presence += [device(use.minute, use.node, use.window_micros) for use in models]
    alone = bill([], presence, prices)
    assert sum(line.cost_micros for line in lines.values()) == sum(line.cost_micros for line in alone.values())


@given(_models, _devices, _histories, _minutes)
def test_the_bills_of_two_adjoining_periods_add_up_to_the_bill_of_both(
    models: list[ModelUse], devices: list[DeviceUse], prices: dict[str, list[PriceChange]], at: int
) -> None:
    whole = bill(models, devices, prices)
    first = bill([u for u in models if u.minute < at], [u for u in devices if u.minute < at], prices)
    second = bill([u for u in models if u.minute >= at], [u for u in devices if u.minute >= at], prices)
    for key, line in whole.items():
        halves = [half[key] for half in (first, second) if key in half]
        assert line.cost_micros == sum(half.cost_micros for half in halves)
        assert line.requests == sum(half.requests for half in halves)
