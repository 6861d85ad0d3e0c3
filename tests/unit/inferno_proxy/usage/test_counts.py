from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.resources.usage_stats import ASKED, BOUNDS, EVERY, MICROS, READ, RECEIVED, SENT, WRITTEN
from inferno_proxy.usage.counts import (
    BUCKETS,
    OTHER,
    Counter,
    Counts,
    Ended,
    Who,
    counts,
    grown,
    how_ended,
    read,
)

PAGE = r"""
# TYPE envoy_inferno_usage_every counter
envoy_inferno_usage_every{grpc="OK",http="200"} 5
envoy_inferno_usage_asked{route="model a:b",client="c\"1",node="n",grpc="OK",http="200",bucket="2"} 4
envoy_inferno_usage_micros{route="model a:b",client="c\"1",node="n",grpc="OK",http="200",bucket="2"} 12000
envoy_inferno_usage_received{route="model a:b",client="c\"1",node="n"} 500
envoy_inferno_usage_sent{route="model a:b",client="c\"1",node="n"} 600
envoy_inferno_usage_read{route="model a:b",client="c\"1",node="n"} 7
envoy_inferno_usage_written{route="model a:b",client="c\"1",node="n"} 8
envoy_inferno_usage_other{grpc="OK"} 7
envoy_inferno_calls{route="model a:b",grpc="OK",http="200"} 5
"""
OK = ("OK", "200")


def asked(name: str, client: str = "c", ended: tuple[str, str] = OK, bucket: int = 0) -> Counter:
    return Counter(name, "model m", client, "n", *ended, str(bucket))


def test_a_page_becomes_counters() -> None:
    assert read(PAGE) == {
        Counter(EVERY, grpc="OK", http="200"): 5,
        Counter(ASKED, "model a:b", 'c"1', "n", *OK, "2"): 4,
        Counter(MICROS, "model a:b", 'c"1', "n", *OK, "2"): 12000,
        Counter(RECEIVED, "model a:b", 'c"1', "n"): 500,
        Counter(SENT, "model a:b", 'c"1', "n"): 600,
        Counter(READ, "model a:b", 'c"1', "n"): 7,
        Counter(WRITTEN, "model a:b", 'c"1', "n"): 8,
    }


def test_what_found_no_room_stands_under_other() -> None:
    found = counts(read(PAGE))
    assert found == {
        Who("n", "a:b", 'c"1'): Counts(
            4,
            request_micros=12000,
            request_bytes=500,
            response_bytes=600,
            input_tokens=7,
            output_tokens=8,
            latency=(0, 0, 4, *[0] * (BUCKETS - 3)),
        ),
        Who("", OTHER, OTHER): Counts(1),
    }


def test_calls_without_a_client_or_a_node_have_empty_names() -> None:
    page = 'envoy_inferno_usage_asked{route="forbidden m",client="-",node="-",grpc="",http="403",bucket="0"} 2'
    assert counts(read(page))[Who("", "m", "")] == Counts(client_errors=2)


@pytest.mark.parametrize(
    ("ended", "how"),
    [
        (OK, Ended.WELL),
        (("-", "204"), Ended.WELL),
        (("RESOURCE_EXHAUSTED", "200"), Ended.REFUSED),
        (("", "429"), Ended.REFUSED),
        (("INVALID_ARGUMENT", "200"), Ended.CLIENT),
        (("", "0"), Ended.CLIENT),
        (("", "404"), Ended.CLIENT),
        (("UNAVAILABLE", "200"), Ended.SERVER),
        (("INTERNAL", "200"), Ended.SERVER),
        (("", "504"), Ended.SERVER),
    ],
)
def test_how_calls_ended(ended: tuple[str, str], how: Ended) -> None:
    assert how_ended(*ended) is how


_READINGS = st.dictionaries(
    st.builds(asked, st.just(ASKED), st.sampled_from("ab"), st.just(OK), st.integers(0, BUCKETS - 1)),
    st.integers(0, 1000),
)


@given(st.lists(_READINGS, max_size=5))
def test_growth_adds_up_to_what_was_counted(added: list[Mapping[Counter, int]]) -> None:
    shown: dict[Counter, int] = {}
    total = 0
    for more in added:
        before = dict(shown)
        shown = {each: shown.get(each, 0) + more.get(each, 0) for each in shown.keys() | more.keys()}
        total += sum(each.requests for each in counts(grown(before, shown)).values())
    assert total == sum(shown.values())


def test_a_counter_that_has_fallen_began_anew() -> None:
    counter = asked(ASKED)
    assert grown({counter: 10}, {counter: 3}) == {counter: 3}


@given(_READINGS, _READINGS)
def test_histograms_add_up_to_the_requests(one: Mapping[Counter, int], other: Mapping[Counter, int]) -> None:
    for each in counts(one).values():
        for more in counts(other).values():
            both = each.plus(more)
            assert sum(both.latency) == both.requests == each.requests + more.requests


def test_times_unknown_of_one_are_unknown_of_both() -> None:
    known = Counts(1, latency=(1, *[0] * (BUCKETS - 1)))
    assert known.plus(Counts(1)) == Counts(2)
    assert known.plus(Counts(refused=1)) == Counts(1, refused=1, latency=known.latency)


def test_there_are_as_many_buckets_as_the_governator_takes() -> None:
    assert BUCKETS == len(BOUNDS) + 1 == 16
