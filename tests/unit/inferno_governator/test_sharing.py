from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.cost import FactsChange, sums_of
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.analysis.sharing import CallerUse, claimed, shared
from inferno_governator.usage import Facts

FACTS = Facts(price=3_600_000)
HISTORY = {"n": [FactsChange(0, FACTS)]}


def work(
    version: str = "1", request_micros: int = 1000, requests: int = 10, input_tokens: int = 0, output_tokens: int = 0
) -> Item:
    return Item(
        *(7, 1, "n", FACTS, Purpose.WORK, "m", version, "", "", 30_000_000, 30_000),
        *(requests, 2, 40, input_tokens, output_tokens, request_micros, 100, 900),
    )


def asked(team: str, micros: int, requests: int = 4, version: str = "1") -> CallerUse:
    return CallerUse(7, "n", "m", version, team, f"{team}-key", requests, 1, 0, micros, 50, 60)


IDLE = Item(7, 1, "n", FACTS, Purpose.IDLE, "", "", "", "", 30_000_000, 30_000)


def costs(items: list[Item]) -> dict[tuple[str, str], int]:
    return {
        (item.version, item.team): item.cost_micros
        for item in items
        if item.purpose is Purpose.WORK and item.cost_micros
    }


def test_callers_pay_by_the_time_their_requests_took_and_nobody_for_what_no_proxy_saw() -> None:
    found = shared([work(), IDLE], [asked("red", 250), asked("blue", 500)], HISTORY)
    assert costs(found) == {("1", "red"): 7_500, ("1", "blue"): 15_000, ("1", ""): 7_500}
    assert IDLE in found
    red = next(item for item in found if item.team == "red")
    assert (red.key, red.paid_micros, red.requests, red.inferences, red.queue_micros) == (
        "red-key",
        7_500_000,
        4,
        16,
        25,
    )
    assert (red.errors, red.input_tokens, red.output_tokens) == (1, 50, 60)


def test_callers_share_all_of_it_where_proxies_saw_more_time_than_the_node() -> None:
    assert costs(shared([work()], [asked("red", 3000), asked("blue", 6000)], HISTORY)) == {
        ("1", "red"): 10_000,
        ("1", "blue"): 20_000,
    }


def test_without_times_requests_count_and_without_either_nobody_pays_for_the_callers() -> None:
    assert costs(shared([work(request_micros=0)], [asked("red", 0, requests=5)], HISTORY)) == {
        ("1", ""): 15_000,
        ("1", "red"): 15_000,
    }
    bare = shared([work(request_micros=0, requests=0)], [asked("red", 0, requests=0)], HISTORY)
    assert costs(bare) == {("1", ""): 30_000}


def test_a_request_whose_version_nobody_knows_is_of_all_versions_by_their_time() -> None:
    found = shared([work("1", 1000), work("2", 3000)], [asked("red", 4000, version="")], HISTORY)
    assert costs(found) == {("1", "red"): 30_000, ("2", "red"): 30_000}
    assert sum(item.input_tokens for item in found) == 50


def test_requests_of_an_unknown_version_are_split_by_the_versions_own_requests_and_their_time_by_its() -> None:
    found = shared(
        [work("1", 1000, requests=90), work("2", 9000, requests=10)],
        [asked("red", 10_000, requests=100, version="")],
        HISTORY,
    )
    assert {(item.version, item.team): item.requests for item in found if item.requests} == {
        ("1", "red"): 90,
        ("2", "red"): 10,
    }
    assert costs(found) == {("1", "red"): 30_000, ("2", "red"): 30_000}


def unseen(team: str, received: int, sent: int, requests: int = 4) -> CallerUse:
    """What a proxy saw of a caller, but no tokens."""
    use = asked(team, 100, requests)._replace(input_tokens=0, output_tokens=0)
    return use._replace(request_bytes=received, response_bytes=sent)


def tokens(found: list[Item]) -> dict[str, tuple[int, int]]:
    return {item.team: (item.input_tokens, item.output_tokens) for item in found}


def test_tokens_that_the_model_counts_go_by_bytes_and_nobody_has_those_of_calls_that_no_proxy_saw() -> None:
    uses = [unseen("red", 1, 10), unseen("blue", 9, 10)]
    found = shared([work(input_tokens=1001, output_tokens=40)], uses, HISTORY)
    assert tokens(found) == {"red": (80, 16), "blue": (721, 16), "": (200, 8)}


def test_tokens_go_by_requests_where_a_proxy_counts_no_bytes() -> None:
    uses = [unseen("red", 0, 0, requests=1), unseen("blue", 0, 0, requests=4)]
    found = shared([work(input_tokens=100, output_tokens=40)], uses, HISTORY)
    assert tokens(found) == {"red": (10, 4), "blue": (40, 16), "": (50, 20)}


def test_what_proxies_saw_of_tokens_decides_whose_those_that_the_model_counts_are() -> None:
    uses = [asked("red", 900)._replace(output_tokens=10), asked("blue", 100)._replace(output_tokens=30)]
    found = shared([work(output_tokens=80)], uses, HISTORY)
    assert {item.team: item.output_tokens for item in found if item.output_tokens} == {"red": 10, "blue": 30, "": 40}


def test_tokens_of_a_minute_in_which_no_node_measured_work_are_kept_without_a_cost() -> None:
    [bare] = shared([], [asked("red", 10)], HISTORY)
    assert (bare.cost_micros, bare.requests, bare.input_tokens, bare.facts) == (0, 0, 50, FACTS)


_counts = st.integers(0, 10**9)
_uses = st.lists(
    st.builds(
        CallerUse,
        minute=st.sampled_from([7, 8]),
        node=st.just("n"),
        model=st.sampled_from(["m", "x"]),
        version=st.sampled_from(["", "1", "2", "3"]),
        team=st.sampled_from(["", "red", "blue"]),
        key=st.sampled_from(["", "k"]),
        requests=_counts,
        client_errors=_counts,
        server_errors=_counts,
        request_micros=_counts,
        input_tokens=_counts,
        output_tokens=_counts,
        request_bytes=_counts,
        response_bytes=_counts,
    )
)
_tokens = st.integers(1, 10**9)
_work = st.builds(work, st.just("1"), _counts, _counts)
_counting = st.builds(work, st.sampled_from(["1"]), _counts, _counts, _tokens, _tokens)


@given(_counting, _uses)
def test_tokens_that_a_model_counts_are_shared_to_the_last_one(whole: Item, uses: list[CallerUse]) -> None:
    found = [item for item in shared([whole], uses, HISTORY) if item.cost_micros or item.paid_micros or item.requests]
    here = [use for use in uses if (use.minute, use.model) == (7, "m") and use.version in ("", "1")]
    for field in ("input_tokens", "output_tokens"):
        asked_elsewhere = sum(getattr(use, field) for use in uses if use not in here)
        every = sum(getattr(item, field) for item in shared([whole], uses, HISTORY))
        assert every == getattr(whole, field) + asked_elsewhere
    assert all(count >= 0 for item in found for count in sums_of(item))


@given(_work, st.builds(work, st.just("2"), _counts, _counts), _uses)
def test_shares_add_up_to_what_was_shared_and_tokens_to_what_was_asked(
    first: Item, second: Item, uses: list[CallerUse]
) -> None:
    found = shared([first, second, IDLE], uses, HISTORY)
    assert all(count >= 0 for item in found for count in sums_of(item))
    fields = ("paid_micros", "cost_micros", "requests", "errors", "inferences")
    for field in (*fields, "request_micros", "queue_micros", "compute_micros"):
        for version in ("1", "2"):
            whole = sum(getattr(item, field) for item in (first, second) if item.version == version)
            assert sum(getattr(item, field) for item in found if item.version == version) == whole
    for field in ("input_tokens", "output_tokens"):
        assert sum(getattr(item, field) for item in found) == sum(getattr(use, field) for use in uses)


def test_what_callers_are_late_to_tell_of_is_taken_from_nobody() -> None:
    changes = claimed([work(output_tokens=40)], [unseen("red", 0, 0)._replace(request_micros=250)])
    assert costs(changes) == {("1", ""): -7_500, ("1", "red"): 7_500}
    assert tokens(changes) == {"": (0, -16), "red": (0, 16)}
    assert claimed([work()], [asked("", 250)._replace(key="")]) == []
    assert claimed([work("2")], [asked("red", 250)]) == []


@given(
    st.lists(st.builds(work, st.sampled_from(["1", "2"]), _counts, _counts, _counts, _counts), max_size=3),
    _uses.map(lambda uses: [use._replace(minute=7) for use in uses]),
)
def test_late_callers_change_no_bill_and_nobody_never_owes(unclaimed: list[Item], uses: list[CallerUse]) -> None:
    changes = claimed(unclaimed, uses)
    after: dict[str, list[int]] = {}
    for item in (*unclaimed, *changes):
        name = f"{item.version} {item.team} {item.key}"
        after[name] = [a + b for a, b in zip(after.get(name, [0] * len(sums_of(item))), sums_of(item), strict=True)]
    assert all(count >= 0 for counts in after.values() for count in counts)
    for field in ("paid_micros", "cost_micros", "requests", "errors", "inferences", "request_micros", "compute_micros"):
        assert sum(getattr(item, field) for item in changes) == 0
