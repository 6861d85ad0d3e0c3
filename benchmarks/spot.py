"""What spot machines cost and lose, by how the fleet is spread, on synthetic correlated losses of zones.

::

    python -m benchmarks.spot                       # the data in ../shared/data without --data
    python -m benchmarks.spot --days 14             # the whole trace

The first days of ServeGen's m-large are served by machines with one H100 (a grid says what a batch does; prices of GCP,
us-central1, on demand and spot) in three zones. Zones lose their spot machines and have none for a while, alone and
together; a node takes ten minutes from its start to its first request and is told two minutes before its end. Nodes,
demand, losses and bills are those of ``inferno simulate``, as a fluid.

What others do is tuned in hindsight on the same trace and losses: of all margins (and numbers of nodes beyond the need)
the cheapest with which 99 % of the requests keep the objective, or else the one with which most do. Ours is not tuned.
Results go to ``benchmarks/results/spot.{json,md}``.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import spot_policies as ways
from benchmarks.environment import machine
from inferno_governator.simulation import trace_files
from inferno_governator.simulation.alternatives import POLICIES
from inferno_governator.simulation.curves import GridCurve, Station
from inferno_governator.simulation.fleet import Pool
from inferno_governator.simulation.outages import Outage, Weather, outages
from inferno_governator.simulation.outcome import Objective, Outcome
from inferno_governator.simulation.replay import Deployment, Policy, replay
from inferno_governator.simulation.trace import RateTrace

_RESULTS = Path(__file__).parent / "results"
_DATA = Path(__file__).parent.parent.parent / "shared" / "data"
_MICROS = 1_000_000
_ZONES = ("us-central1-a", "us-central1-b", "us-central1-c")
_MACHINE = ("gcp", "us-central1", "a3-highgpu-1g")
_BOOT, _NOTICE = 600.0, 120.0
_SEED = 7
_OBJECTIVE = Objective(latency=10.0, share=0.99)
_MARGINS = (1.0, 1.15, 1.3)
WEATHERS = {
    "calm": Weather(per_day=1, mean_seconds=3600, together=0.2, spread=0.5),
    "rough": Weather(per_day=6, mean_seconds=3600, together=0.5, spread=0.7),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One way under one weather. Shares of all requests; dollars for the whole trace."""

    weather: str
    way: str
    tuned: str
    dollars: float
    of_on_demand: float
    served: float
    within: float
    losses: int
    starts_a_day: float


def prices(file: Path) -> tuple[int, int]:
    """Micro-dollars an hour, on demand and spot."""
    with file.open(newline="", encoding="utf-8") as lines:
        found = {
            row["kind"]: round(float(row["usd_per_hour"]) * _MICROS)
            for row in csv.DictReader(lines)
            if (row["cloud"], row["region"], row["instance_type"]) == _MACHINE
        }
    return found["on_demand"], found["spot"]


class Bench:
    """A trace and a fleet, under one weather."""

    def __init__(self, data: Path, days: float, weather: str) -> None:
        trace = trace_files.read(data / "traces" / "servegen_m-large_10min_14d.csv")
        assert isinstance(trace, RateTrace)
        self.trace = replace(trace, rates=trace.rates[: int(days * 144)])
        self.weather = weather
        curve = GridCurve.of(json.loads((data / "profiles" / "grid_h100_sxm.json").read_bytes()))
        dear, cheap = prices(data / "prices" / "gpu_prices_latest.csv")
        sizes = np.array([trace.mean_input]), np.array([trace.mean_output])
        self.capacity = Station.of(curve, curve.demand(*sizes)).capacity(_OBJECTIVE.latency, 0.0)
        first = int(np.ceil(self.trace.rates[0] * 1.3 / self.capacity))
        self.pools = tuple(Pool(zone, curve, cheap, _BOOT, maximum=60, spot=True, zone=zone) for zone in _ZONES)
        self.pools += (Pool("on-demand", curve, dear, _BOOT, begin=first, maximum=60),)
        self.outages: tuple[Outage, ...] = outages(WEATHERS[weather], _ZONES, self.trace.seconds, _SEED)

    def play(self, policy: Callable[[], Policy]) -> Outcome:
        """One way over the whole trace. All begin with the same nodes on demand."""
        deployment = Deployment(
            "spot", self.pools, _OBJECTIVE, policy, outages=self.outages, notice_seconds=_NOTICE, decide_seconds=60.0
        )
        return replay(self.trace, deployment)

    def bound(self) -> float:
        """Dollars below which nobody can be: at every moment the nodes that the rate needs, spot if any zone has it."""
        total = 0.0
        for at in np.arange(0, self.trace.seconds, 60.0):
            nodes = max(1, int(np.ceil(self.trace.rate(at) / self.capacity)))
            down = {each.zone for each in self.outages if each.begin <= at < each.end}
            price = self.pools[-1 if len(down) == len(_ZONES) else 0].micros_per_hour
            total += nodes * price / 60
        return total / _MICROS


Way = tuple[str, Callable[[], Policy]]


def tuned(bench: Bench, candidates: Sequence[Way]) -> tuple[str, Outcome]:
    """The best of a way's settings in hindsight, and what it gave."""
    played = [(name, bench.play(policy)) for name, policy in candidates]
    kept = [each for each in played if each[1].kept]
    return min(kept, key=lambda each: each[1].cost_micros) if kept else max(played, key=lambda each: each[1].within)


def measure(data: Path, days: float, weather: str) -> list[Result]:
    """Every way under one weather."""
    bench = Bench(data, days, weather)

    def margins(way: Callable[[float], Policy]) -> list[Way]:
        return [(f"margin {margin:g}", lambda margin=margin: way(margin)) for margin in _MARGINS]  # type: ignore[misc]

    hedges: list[Way] = [
        (f"margin {margin:g}, {more} more", lambda margin=margin, more=more: ways.SpotHedge(margin, more=more))  # type: ignore[misc]
        for margin in _MARGINS
        for more in (0, 1, 3)
    ]
    groups: list[tuple[str, list[Way]]] = [
        ("on demand only", margins(ways.OnDemandOnly)),
        ("spot only, one zone", margins(ways.OneZoneSpot)),
        ("spot only, spread", margins(ways.SpreadSpot)),
        ("spot with fallback (SpotHedge)", hedges),
        ("ours, zone-safe", [("not tuned", lambda: ways.ZoneSafe(1.15))]),
        ("ours, policies as shipped", [("not tuned", lambda: POLICIES["inferno"][0](0.0))]),
        ("the same, nodes filled to 70 %", [("chosen in hindsight", lambda: POLICIES["inferno"][0](0.7))]),
        (
            "clairvoyant",
            [("", lambda: ways.Clairvoyant(1.05, trace=bench.trace, outages=bench.outages, boot=_BOOT))],
        ),
    ]
    results: list[Result] = []
    for way, candidates in groups:
        setting, outcome = tuned(bench, candidates)
        dollars = outcome.cost_micros / _MICROS
        results.append(
            Result(
                weather,
                way,
                setting,
                round(dollars, 2),
                round(dollars / (results[0].dollars if results else dollars), 3),
                round(outcome.served / outcome.requests, 5),
                round(outcome.within, 5),
                outcome.losses,
                round(outcome.starts / days, 1),
            )
        )
    bound = bench.bound()
    of_first = round(bound / results[0].dollars, 3)
    return [*results, Result(weather, "bound", "nobody can be below", round(bound, 2), of_first, 1.0, 1.0, 0, 0.0)]


def markdown(results: Sequence[Result], days: float, about: dict[str, object]) -> str:
    """The result as tables."""
    head = (
        f"# Spot: {days:g} days of ServeGen m-large on H100 machines in three zones\n\n"
        "Cost, and the share of requests that were served and that kept 10 s. Others are tuned in hindsight on the "
        "same trace and losses (cheapest with 99 % within, else most within); ours is not.\n"
    )
    parts = [head]
    for weather, told in WEATHERS.items():
        rows = "\n".join(
            f"| {each.way} | {each.tuned} | {each.dollars:,.2f} | {each.of_on_demand:.0%} | {each.served:.2%} | "
            f"{each.within:.2%} | {each.losses} | {each.starts_a_day:g} |"
            for each in results
            if each.weather == weather
        )
        parts.append(
            f"\n## {weather}: {told.per_day:g} outages a day in each zone, {told.mean_seconds / 3600:g} h each, "
            f"{told.together:.0%} of them in other zones too\n\n"
            "| way | setting | $ | of on demand | served | within | nodes lost | starts a day |\n"
            f"|---|---|---|---|---|---|---|---|\n{rows}\n"
        )
    parts.append(
        "\nThe bound has no boot, no margin and whole nodes of the demand. Our policies as shipped are not told to "
        "spread over zones, and expect the last rate. Losses are synthetic: what is compared are the ways, not a "
        "cloud.\n\nDemand: alibaba/ServeGen (Apache-2.0); grid: aiconfigurator (Apache-2.0); prices: "
        "cloudpilot-ai/karpenter-provider-gcp (Apache-2.0), 2026-08-03.\n\n"
    )
    parts.append(", ".join(f"{name} {value}" for name, value in about.items()) + "\n")
    return "".join(parts)


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=_DATA)
    parser.add_argument("--days", type=float, default=3.0)
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"spot: skipped, there is no data in {options.data} (--data FOLDER)", file=sys.stderr)
        return
    results = [each for weather in WEATHERS for each in measure(options.data, options.days, weather)]
    about = machine()
    text = markdown(results, options.days, about)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "spot.md").write_text(text)
    document = {
        "machine": about,
        "days": options.days,
        "weathers": {name: asdict(each) for name, each in WEATHERS.items()},
        "results": [asdict(each) for each in results],
    }
    (options.results / "spot.json").write_text(json.dumps(document, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
