"""What /metrics shows of the data planes' reports."""

from __future__ import annotations

import prometheus_client
from prometheus_client import generate_latest

from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Address, FleetView, Member, Phase, Source
from inferno_proxy.reports.figures import ReportedFigures
from inferno_runtime.clock import ManualClock
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import node

HERE = Address("127.0.0.1", 8001)
FLEET = FleetView(1, {"a": Member(node("a"), Phase.SERVING, Source.AGENT, 0.0)})


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.view = Latest(FLEET)
        self.figures = ReportedFigures(self.view, self.clock)

    def report(self, client: str, succeeded: int, failed: int, under_way: int) -> None:
        now = self.clock.monotonic()
        issued = succeeded + failed
        self.figures.counts([Counts(client, "m", HERE, issued, succeeded, failed, under_way, 0.5, now)])

    def shown(self) -> dict[str, float]:
        registry = prometheus_client.CollectorRegistry()
        registry.register(self.figures)
        lines = generate_latest(registry).decode().splitlines()
        return {key: float(value) for key, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}


def test_reports_of_all_data_planes_are_added_up_by_node() -> None:
    world = World()
    world.report("one", succeeded=5, failed=1, under_way=2)
    world.report("two", succeeded=1, failed=0, under_way=1)
    world.report("one", succeeded=1, failed=0, under_way=4)
    assert world.shown() == {
        'inferno_tries_total{model="m",node="a",outcome="succeeded"}': 7,
        'inferno_tries_total{model="m",node="a",outcome="failed"}': 1,
        'inferno_tries_under_way{model="m",node="a"}': 5,
        "inferno_load_reports_total": 3,
    }


async def test_a_data_plane_that_is_silent_for_long_holds_nothing() -> None:
    world = World()
    world.report("one", succeeded=1, failed=0, under_way=2)
    await world.clock.advance(11)
    world.report("two", succeeded=0, failed=0, under_way=1)
    assert world.shown()['inferno_tries_under_way{model="m",node="a"}'] == 1


def logged(outcome: Outcome, seconds: float, *, stream: bool = False) -> Try:
    return Try("m", HERE, outcome, seconds, 0.0, stream=stream)


def test_the_log_shows_outcomes_by_node_and_the_time_of_answers_by_node() -> None:
    world = World()
    world.figures.tries([logged(Outcome.ANSWERED, 0.001), logged(Outcome.ANSWERED, 0.02), logged(Outcome.FAILED, 9)])
    world.figures.tries([logged(Outcome.ANSWERED, 60), logged(Outcome.ANSWERED, 60, stream=True)])
    shown = world.shown()
    assert shown['inferno_logged_tries_total{model="m",node="a",outcome="answered"}'] == 4
    assert shown['inferno_logged_tries_total{model="m",node="a",outcome="failed"}'] == 1
    slots = {key: value for key, value in shown.items() if key.startswith("inferno_try_seconds_bucket")}
    assert slots['inferno_try_seconds_bucket{le="0.001",model="m",node="a"}'] == 1
    assert slots['inferno_try_seconds_bucket{le="0.01",model="m",node="a"}'] == 1
    assert slots['inferno_try_seconds_bucket{le="0.025",model="m",node="a"}'] == 2
    assert slots['inferno_try_seconds_bucket{le="30.0",model="m",node="a"}'] == 2
    assert slots['inferno_try_seconds_bucket{le="+Inf",model="m",node="a"}'] == 3
    assert shown['inferno_try_seconds_sum{model="m",node="a"}'] == 60.021


def test_failed_tries_are_counted_apart_from_the_sample() -> None:
    world = World()
    world.figures.failures([logged(Outcome.RESET, 1), logged(Outcome.RESET, 1)])
    shown = world.shown()
    assert shown['inferno_failed_tries_total{model="m",node="a",outcome="reset"}'] == 2
    assert not any(key.startswith("inferno_logged_tries") for key in shown)


def test_a_node_that_left_the_fleet_is_forgotten() -> None:
    world = World()
    world.report("one", succeeded=1, failed=0, under_way=2)
    world.figures.tries([logged(Outcome.ANSWERED, 1)])
    world.view.set(FleetView(2, {}))
    assert world.shown() == {"inferno_load_reports_total": 1}
