"""The ways to use spot machines that a benchmark compares, on an outage that is known."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import spot_policies as ways
from inferno_governator.simulation.curves import MeasuredCurve
from inferno_governator.simulation.fleet import Pool
from inferno_governator.simulation.outages import Outage
from inferno_governator.simulation.outcome import Objective, Outcome
from inferno_governator.simulation.replay import Deployment, Policy, replay
from inferno_governator.simulation.trace import RateTrace

ZONES = ("a", "b", "c")
CURVE = MeasuredCurve.of({1: 1.0, 8: 4.0})
TRACE = RateTrace("t", np.full(300, 20.0), 60.0)


def play(policy: Callable[[], Policy], *outages: Outage) -> Outcome:
    pools = [Pool(zone, CURVE, 400_000, 600, maximum=20, spot=True, zone=zone) for zone in ZONES]
    pools.append(Pool("on-demand", CURVE, 1_000_000, 600, begin=7, maximum=20))
    return replay(TRACE, Deployment("d", tuple(pools), Objective(latency=4.0), policy, outages=outages))


def test_the_loss_of_one_zone_is_not_noticed_by_a_fleet_that_is_safe_against_it() -> None:
    outage = Outage(7200.0, 10_800.0, "b")
    safe, spread = play(lambda: ways.ZoneSafe(1.15), outage), play(lambda: ways.SpreadSpot(1.15), outage)
    assert safe.losses >= 2
    assert safe.within > 0.995 > spread.within


def test_on_demand_takes_all_while_no_zone_has_machines_and_gives_it_back() -> None:
    dark = [Outage(7200.0, 10_800.0, zone) for zone in ZONES]
    outcome = play(lambda: ways.ZoneSafe(1.15), *dark)
    assert outcome.served / outcome.requests > 0.9
    assert play(lambda: ways.OneZoneSpot(1.15), *dark).served < outcome.served
    assert outcome.cost_micros < 0.9 * play(lambda: ways.OnDemandOnly(1.15)).cost_micros


@pytest.mark.parametrize("way", [ways.SpreadSpot, ways.SpotHedge, ways.ZoneSafe])
def test_a_quiet_sky_and_a_steady_demand_move_nothing(way: type[ways.Sized]) -> None:
    outcome = play(lambda: way(1.15))
    assert outcome.losses == 0
    assert outcome.starts <= 14
    assert outcome.within > 0.999


def test_who_knows_what_comes_loses_nothing() -> None:
    outages = (Outage(7200.0, 10_800.0, "b"), Outage(9000.0, 9900.0, "a"))
    outcome = play(lambda: ways.Clairvoyant(1.05, trace=TRACE, outages=outages), *outages)
    assert (outcome.losses, outcome.refused) == (0, 0)
