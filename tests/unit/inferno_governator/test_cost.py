from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.cost import DeviceUse, FactsChange, Gap, ModelUse, facts_at, minute_items
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.money import metered
from inferno_governator.usage import Facts

MINUTE = 60_000_000
DOLLAR = 1_000_000
History = dict[str, list[FactsChange]]
Use = tuple[Purpose, str]


def model(minute: int, node: str, name: str, compute: int, window: int = MINUTE, requests: int = 1) -> ModelUse:
    return ModelUse(minute, node, name, "1", window, requests, 0, requests, 10 * requests, 4 * requests, compute)


def device(minute: int, node: str, window: int = MINUTE) -> DeviceUse:
    return DeviceUse(minute, node, window, 0, window)


def priced(price: int, minute: int = 0) -> FactsChange:
    return FactsChange(minute, Facts(price))


def costs(items: Sequence[Item]) -> dict[Use, int]:
    sums: dict[Use, int] = {}
    for item in items:
        sums[item.purpose, item.model] = sums.get((item.purpose, item.model), 0) + item.cost_micros
    return sums


def times(items: Sequence[Item]) -> dict[Use, int]:
    return {(item.purpose, item.model): item.paid_micros for item in items}


WORK, IDLE, OVERHEAD = Purpose.WORK, Purpose.IDLE, Purpose.OVERHEAD


def test_models_pay_for_the_time_they_compute_and_idleness_for_the_rest() -> None:
    models = [model(m, "n", "a", MINUTE // 2) for m in range(60)] + [model(m, "n", "b", MINUTE // 4) for m in range(60)]
    items = minute_items({"n": [priced(DOLLAR)]}, models, [device(m, "n") for m in range(60)])
    paid = costs(items)
    assert sum(paid.values()) == DOLLAR
    assert abs(paid[WORK, "a"] - DOLLAR // 2) <= 60
    assert abs(paid[WORK, "b"] - DOLLAR // 4) <= 60
    assert [(item.start_minute, item.minutes) for item in items[:3]] == [(0, 1)] * 3
    assert times(items[:3]) == {(WORK, "a"): MINUTE // 2, (WORK, "b"): MINUTE // 4, (IDLE, ""): MINUTE // 4}


def test_versions_of_a_model_are_items_of_their_own() -> None:
    uses = [model(0, "n", "a", 5), model(0, "n", "a", 7)._replace(version="2")]
    assert [(item.model, item.version, item.paid_micros) for item in minute_items({}, uses, [])] == [
        ("a", "1", 5),
        ("a", "2", 7),
        ("", "", MINUTE - 12),
    ]


def test_models_that_compute_longer_than_was_measured_share_the_whole_cost() -> None:
    items = minute_items({"n": [priced(60 * 4_000)]}, [model(0, "n", "a", 3 * MINUTE), model(0, "n", "b", MINUTE)], [])
    assert costs(items) == {(WORK, "a"): 3000, (WORK, "b"): 1000}
    assert times(items) == {(WORK, "a"): MINUTE * 3 // 4, (WORK, "b"): MINUTE // 4}


def test_a_node_pays_only_for_the_time_it_was_measured() -> None:
    items = minute_items({"n": [priced(60 * 4_000)]}, [model(0, "n", "a", 0, window=MINUTE // 4)], [])
    assert costs(items) == {(WORK, "a"): 0, (IDLE, ""): 1000}


def test_windows_that_overlap_are_paid_for_once() -> None:
    items = minute_items({"n": [priced(60 * 4_000)]}, [model(0, "n", "a", 0, window=90_000_000)], [device(0, "n")])
    assert costs(items) == {(WORK, "a"): 0, (IDLE, ""): 4000}
    assert times(items) == {(WORK, "a"): 0, (IDLE, ""): MINUTE}


def test_time_in_which_no_model_was_there_is_overhead() -> None:
    items = minute_items(
        {"n": [priced(60 * 4_000)]}, [model(0, "n", "a", 10_000_000, window=15_000_000)], [device(0, "n")]
    )
    assert times(items) == {(WORK, "a"): 10_000_000, (IDLE, ""): 5_000_000, (OVERHEAD, ""): 45_000_000}
    assert costs(items)[OVERHEAD, ""] == 3000


def test_time_that_a_node_lived_unmeasured_is_overhead_and_a_minute_is_never_longer_than_one() -> None:
    history = {"n": [priced(60 * 4_000)]}
    assert costs(minute_items(history, [], [], [Gap(0, "n", MINUTE // 2)])) == {(OVERHEAD, ""): 2000}
    seen = [model(0, "n", "a", 0, window=45_000_000)]
    assert times(minute_items(history, seen, [], [Gap(0, "n", 20_000_000)]))[OVERHEAD, ""] == 15_000_000


def test_each_minute_costs_the_price_then_in_force() -> None:
    items = minute_items({"n": [priced(60_000, 1), priced(420_000, 3)]}, [], [device(m, "n") for m in range(4)])
    assert [item.cost_micros for item in items] == [0, 1_000, 1_000, 7_000]
    assert [item.facts.price for item in items] == [0, 60_000, 60_000, 420_000]


def test_a_node_without_a_price_costs_nothing() -> None:
    assert [item.cost_micros for item in minute_items({}, [model(0, "n", "a", 5)], [])] == [0, 0]


def test_nothing_is_known_before_the_first_change() -> None:
    history = [priced(7, 5), priced(8, 9)]
    assert [facts_at(history, minute).price for minute in (4, 5, 8, 9)] == [0, 7, 7, 8]


_minutes = st.integers(29_000_000, 29_000_009)
_nodes = st.sampled_from(["a", "b"])
_counts = st.integers(0, 200_000_000)
_models = st.lists(
    st.builds(
        ModelUse,
        minute=_minutes,
        node=_nodes,
        model=st.sampled_from(["m", "n"]),
        version=st.sampled_from(["1", "2"]),
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
    st.builds(
        DeviceUse,
        minute=_minutes,
        node=_nodes,
        window_micros=st.integers(1, 90_000_000),
        busy_micros=_counts,
        known_micros=_counts,
    )
)
_gaps = st.lists(st.builds(Gap, minute=_minutes, node=_nodes, micros=st.integers(1, MINUTE)))
_histories = st.dictionaries(
    _nodes,
    st.lists(
        st.builds(priced, st.integers(0, 10**9), _minutes), max_size=4, unique_by=lambda change: change.minute
    ).map(lambda changes: sorted(changes, key=lambda change: change.minute)),
)


@given(_models, _devices, _gaps, _histories)
def test_items_add_up_to_what_the_nodes_cost_and_to_the_time_they_are_billed_for(
    models: list[ModelUse], devices: list[DeviceUse], gaps: list[Gap], history: History
) -> None:
    items = minute_items(history, models, devices, gaps)
    assert all(item.cost_micros >= 0 and item.paid_micros >= 0 for item in items)
    for minute, node in {(item.start_minute, item.node) for item in items}:
        here = [item for item in items if (item.start_minute, item.node) == (minute, node)]
        windows = [use.window_micros for use in models if (use.minute, use.node) == (minute, node)]
        windows += [use.window_micros for use in devices if (use.minute, use.node) == (minute, node)]
        lived = sum(gap.micros for gap in gaps if (gap.minute, gap.node) == (minute, node))
        paid = min(MINUTE, min(MINUTE, max(windows, default=0)) + lived)
        assert sum(item.paid_micros for item in here) == paid
        price = facts_at(history.get(node, ()), minute).price
        assert sum(item.cost_micros for item in here) == metered(price, minute * MINUTE, paid)


@given(_models, _devices, _gaps, _histories, _minutes)
def test_the_items_of_two_adjoining_periods_are_those_of_both(
    models: list[ModelUse], devices: list[DeviceUse], gaps: list[Gap], history: History, at: int
) -> None:
    halves = [
        minute_items(
            history,
            [use for use in models if (use.minute < at) == first],
            [use for use in devices if (use.minute < at) == first],
            [gap for gap in gaps if (gap.minute < at) == first],
        )
        for first in (True, False)
    ]
    assert minute_items(history, models, devices, gaps) == halves[0] + halves[1]
