from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.prometheus.client import RawSeries
from inferno_governator.prometheus.meter import LONGEST, STALE, Meter, Taken, Thing, Window

START = 1_760_000_000_000
SUCCESS = "nv_inference_request_success"
MODEL = Thing("10.0.0.7", "model", "m", "1")


def series(name: str, values: Mapping[int, float], instance: str = "10.0.0.7:8002", **labels: str) -> RawSeries:
    """A series by milliseconds after the start."""
    samples = [(START + at, float(value)) for at, value in sorted(values.items())]
    return RawSeries(name, {"instance": instance, "job": "models", **labels}, samples)


def requests(values: Mapping[int, float], instance: str = "10.0.0.7:8002", **labels: str) -> RawSeries:
    return series(SUCCESS, values, instance, **{"model": "m", "version": "1", **labels})


def take(*told: RawSeries, meter: Meter | None = None) -> Taken:
    return (meter or Meter("instance")).take(told, {}, 0)


def windows(taken: Taken, thing: Thing = MODEL, field: str = "requests") -> list[tuple[int, int, int]]:
    """When each window ended (milliseconds after the start), how long it was, and what was counted in it."""
    return [(each.end - START, each.length, each.values.get(field, 0)) for each in taken.windows.get(thing, ())]


def test_a_counters_increase_is_what_was_done_between_two_scrapes() -> None:
    assert windows(take(requests({0: 100, 15_000: 107, 30_000: 107}))) == [(15_000, 15_000, 7), (30_000, 15_000, 0)]


def test_what_was_counted_before_the_first_scrape_is_nobodys() -> None:
    assert take(requests({0: 100})).windows == {}


def test_a_counter_that_fell_began_anew_and_all_of_it_is_new() -> None:
    assert windows(take(requests({0: 100, 1000: 3, 2000: 5}))) == [(1000, 1000, 3), (2000, 1000, 2)]


def test_a_model_that_was_loaded_between_two_scrapes_counts_from_zero() -> None:
    other = requests({0: 1, 1000: 1, 2000: 1}, model="other")
    assert windows(take(other, requests({1000: 4, 2000: 6}))) == [(1000, 1000, 4), (2000, 1000, 2)]


def test_scrapes_that_failed_make_a_longer_window_and_lose_nothing() -> None:
    assert windows(take(requests({0: 1, 50_000: 9}))) == [(50_000, 50_000, 8)]


def test_beyond_an_hour_the_work_counts_and_the_time_is_a_gap() -> None:
    taken = take(requests({0: 1, LONGEST + 5000: 9}))
    assert windows(taken) == [(LONGEST + 5000, LONGEST, 8)]
    assert taken.gap == 5000


def test_a_server_that_began_anew_is_not_taken_to_have_lived_through_a_long_silence() -> None:
    taken = take(requests({0: 10, LONGEST: 9}))
    assert windows(taken) == [(LONGEST, STALE, 9)]
    assert taken.gap == LONGEST - STALE


def test_what_rounding_takes_from_one_window_is_in_the_next() -> None:
    name = "vllm:e2e_request_latency_seconds_sum"
    told = take(series(name, {at: at * 0.0000004 for at in range(11)}, model_name="m"))
    counted = windows(told, Thing("10.0.0.7", "model", "m", ""), "request_micros")
    assert sum(count for *_, count in counted) == 4


def test_several_servers_of_a_model_on_a_node_add_up_and_no_time_counts_twice() -> None:
    told = take(
        requests({0: 0, 10_000: 5, 20_000: 6}),
        requests({4000: 0, 14_000: 70, 20_000: 80}, "10.0.0.7:9002"),
    )
    assert windows(told) == [(10_000, 10_000, 5), (14_000, 4000, 70), (20_000, 6000, 11)]


def test_two_jobs_that_scrape_one_target_count_once() -> None:
    assert windows(take(requests({0: 0, 1000: 5}), requests({0: 0, 1000: 5}, job="again"))) == [(1000, 1000, 5)]


def test_the_page_of_an_agent_is_left_out_for_its_telemetry_comes_from_it() -> None:
    info = series("inferno_node_info", {0: 1}, node="n")
    assert take(info, requests({0: 0, 1000: 5})).windows == {}


def test_a_device_has_one_voice_and_dcgm_is_heard_before_triton() -> None:
    device = Thing("10.0.0.7", "gpu", "GPU-a", "")
    told = take(
        series("nv_gpu_utilization", {0: 0.2, 1000: 0.2}, gpu_uuid="GPU-a"),
        series("DCGM_FI_DEV_GPU_UTIL", {500: 90, 1500: 90}, "10.0.0.7:9400", UUID="GPU-a", modelName="H100"),
    )
    assert windows(told, device, "busy") == [(1500, 1000, 900_000)]
    silent = take(series("nv_gpu_utilization", {0: 0.2, 1000: 0.2}, gpu_uuid="GPU-a"))
    assert windows(silent, device, "busy") == [(1000, 1000, 200_000)]


def test_energy_is_a_counters_increase_or_power_by_time() -> None:
    device = Thing("10.0.0.7", "gpu", "GPU-a", "")
    power = series("DCGM_FI_DEV_POWER_USAGE", {0: 300, 2000: 300}, UUID="GPU-a")
    counter = series("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", {0: 7, 2000: 500_007}, UUID="GPU-a")
    assert windows(take(power), device, "millijoules") == [(2000, 2000, 600_000)]
    assert windows(take(power, counter), device, "millijoules") == [(2000, 2000, 500_000)]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (requests({500: float("nan")}), "not_finite"),
        (requests({500: float("inf")}), "not_finite"),
        (requests({500: -1}), "negative"),
        (requests({500: 2.0**49}), "too_large"),
        (series("nv_gpu_utilization", {500: 1.5}, gpu_uuid="GPU-a"), "above_whole"),
        (series("nv_gpu_utilization", {500: 0.5}), "no_name"),
        (requests({500: 3}, model=""), "no_name"),
    ],
)
def test_impossible_samples_are_left_out_by_reason_and_the_rest_counts(told: RawSeries, reason: str) -> None:
    meter = Meter("instance")
    take(requests({0: 1}), meter=meter)
    taken = take(told, requests({1000: 6}), meter=meter)
    assert taken.refused == {reason: 1}
    assert taken.examples[reason]
    assert sum(count for *_, count in windows(taken)) == 5


def test_a_node_is_named_by_the_label_that_is_asked_for() -> None:
    told = requests({0: 0, 1000: 5}, node="rack 7/gpu")
    assert list(take(told, meter=Meter("node")).windows) == [MODEL._replace(node="rack-7-gpu")]
    # A target without it has its address.
    assert list(take(requests({0: 0, 1000: 5}), meter=Meter("node")).windows) == [MODEL]


Steps = list[tuple[int, int, bool, bool, bool]]


@given(
    st.lists(
        st.tuples(st.integers(1, STALE // 2), st.integers(0, 50), st.booleans(), st.booleans(), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_however_it_is_read_and_restarted_each_request_counts_once_and_no_time_twice(steps: Steps) -> None:
    """Each step is a scrape: after how long, how many requests later, whether the server began anew before them, and
    whether somebody reads up to here, with a new meter that knows only what is stored."""
    scrapes, expected, at, value = [(0, 1000)], 0, 0, 1000
    looks = []
    for pause, done, anew, read, restarted in steps:
        at += pause
        # A server that began anew shows less than before, or it cannot be told.
        value = done if anew and done < value else value + done
        expected += done
        scrapes.append((at, value))
        if read:
            looks.append((at, restarted))
    looks.append((at, False))
    meter, stored, told = Meter("instance"), START, list[Window]()
    take(requests({0: 1000}), meter=meter)

    def between(start: int, end: int) -> Iterable[RawSeries]:
        found = {when: count for when, count in scrapes if start < START + when <= end}
        return [requests(found)] if found else []

    for until, restarted in looks:
        if restarted:
            meter = Meter("instance")
            meter.take(between(stored - STALE, stored), {}, stored)
        taken = meter.take(between(stored, START + until), {MODEL.node: stored}, stored)
        told += taken.windows.get(MODEL, [])
        stored = START + until
    assert sum(each.values["requests"] for each in told) == expected
    assert all(before.end <= after.end - after.length for before, after in pairwise(told))
    assert sum(each.length for each in told) <= at
    assert Counter(each.end for each in told) == Counter({START + when: 1 for when, _ in scrapes[1:]})
