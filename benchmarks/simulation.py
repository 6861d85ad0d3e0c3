"""How fast ``inferno simulate`` replays a million requests, and 14 days of rates under each policy.

::

    python -m benchmarks.simulation                 # the data in ../shared/data without --data

A million requests are the Azure 2023 conversation trace one time after the other, on eight H100 nodes. 14 days are
ServeGen's m-large at 10 minutes, decided about every minute. What is told is the processor's time on one core, and the
clock's: other work on the machine lengthens only the latter. Results go to ``benchmarks/results/simulation.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.environment import machine
from inferno_governator.simulation import trace_files
from inferno_governator.simulation.alternatives import FIXED, POLICIES, Alternative, compare
from inferno_governator.simulation.curves import GridCurve
from inferno_governator.simulation.fleet import Pool
from inferno_governator.simulation.outcome import Objective
from inferno_governator.simulation.trace import RequestTrace, Trace

_RESULTS = Path(__file__).parent / "results"
_DATA = Path(__file__).parent.parent.parent / "shared" / "data"
REQUESTS_GOAL, DAYS_GOAL = 60.0, 30.0
_REQUESTS = 1_000_000
_TARGETS = {"request-rate": 35.0, "consolidation": 0.9}


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay: seconds of the processor and of the clock, the goal, and what came of it."""

    trace: str
    policy: str
    requests: int
    cpu_seconds: float
    seconds: float
    goal_seconds: float
    dollars: float
    served: float
    within: float
    starts: int


def play(trace: Trace, pool: Pool, policy: str, goal: float) -> Replay:
    """Replay once and measure."""
    alternative = Alternative(policy, (pool,), policy, _TARGETS.get(policy, 0.0), objective=Objective(latency=10.0))
    cpu, clock = time.process_time(), time.perf_counter()
    (outcome,) = compare(trace, [alternative], 1)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return Replay(
        trace.name,
        policy,
        outcome.requests,
        round(cpu, 2),
        round(clock, 2),
        goal,
        round(outcome.cost_micros / 1e6, 2),
        round(outcome.served / outcome.requests, 5),
        round(outcome.within, 5),
        outcome.starts,
    )


def measure(data: Path) -> list[Replay]:
    """Every replay."""
    curve = GridCurve.of(json.loads((data / "profiles" / "grid_h100_sxm.json").read_bytes()))
    requests = trace_files.read(data / "traces" / "azure2023_conv.csv")
    assert isinstance(requests, RequestTrace)
    found = [play(requests.repeated(_REQUESTS), Pool("h100", curve, 6_880_000, begin=8), FIXED, REQUESTS_GOAL)]
    rates = trace_files.read(data / "traces" / "servegen_m-large_10min_14d.csv")
    pool = Pool("h100", curve, 6_880_000, boot_seconds=900, begin=6, maximum=40)
    return found + [play(rates, pool, policy, DAYS_GOAL) for policy in (FIXED, *POLICIES)]


def markdown(replays: Sequence[Replay], about: dict[str, object]) -> str:
    """The result as a table."""
    rows = "\n".join(
        f"| {each.trace} | {each.policy} | {each.requests:,} | {each.cpu_seconds} | {each.seconds} | "
        f"{each.goal_seconds:g} | {each.dollars:,.2f} | {each.served:.2%} | {each.within:.2%} | {each.starts} |"
        for each in replays
    )
    return (
        "# The speed of simulations\n\nOne core. The first row follows each request, the others 14 days of 10-minute "
        "rates as a fluid, decided about every minute, with a boot of 15 minutes and the last rate as the forecast.\n\n"
        "| trace | policy | requests | CPU s | clock s | goal s | $ | served | within 10 s | starts |\n"
        f"|---|---|---|---|---|---|---|---|---|---|\n{rows}\n\n"
        "Traces: Azure/AzurePublicDataset (CC-BY 4.0), alibaba/ServeGen (Apache-2.0). "
        "Grid: aiconfigurator (Apache-2.0).\n\n" + ", ".join(f"{name} {value}" for name, value in about.items()) + "\n"
    )


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=_DATA)
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"simulation: skipped, there is no data in {options.data} (--data FOLDER)", file=sys.stderr)
        return
    replays = measure(options.data)
    about = machine()
    text = markdown(replays, about)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "simulation.md").write_text(text)
    document = {"machine": about, "replays": [asdict(each) for each in replays]}
    (options.results / "simulation.json").write_text(json.dumps(document, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
