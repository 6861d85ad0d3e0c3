"""How soon spend that doubles for each request is found, and how often there is a false alarm, on real demand.

::

    python -m benchmarks.anomalies --data FOLDER    # the folder with the traces; ../shared/data/traces without it

The bills of a modelled fleet (:mod:`benchmarks.spend_fleet`) under the demand of real traces go through the detector
that the governator runs (:mod:`inferno_governator.watch.anomalies`), ten minutes at a time; a stretch is judged two
minutes after its end, as the governator waits for late telemetry. Injections are of a kind, at a minute and with noise
of the fleet that their seed draws. The seeds reported here (5000 and up) were
not used to choose the detector: its constants were set on the ServeGen trace with a simpler fleet, and that it looks at
prices by themselves was decided on seeds 1000 and up. Results go to
``benchmarks/results/anomalies.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.environment import machine
from benchmarks.spend_fleet import Injection, Trace, bill, traces
from inferno_governator.watch.anomalies import STRETCH, SpendDetector, Stretch

_RESULTS = Path(__file__).parent / "results"
_TRACES = Path(__file__).parent.parent.parent / "shared" / "data" / "traces"
# Minutes between a stretch's end and its judgement.
_SETTLE = 2
GOAL_MINUTES, GOAL_FALSE_A_DAY = 20, 1.0
_FIRST_SEED = 5000
_KINDS = ("price", "utilisation", "runaway")
# Minutes that an autoscaler waits before it stops a node: how false alarms depend on what the detector cannot know.
_HOLDS = (10, 30, 60)
# Stretches within which alarms are one.
_SAME = 6


@dataclass(frozen=True, slots=True)
class Quiet:
    """Alarms on a trace without any injection."""

    trace: str
    hold_minutes: int
    days: float
    false_alarms: int

    @property
    def a_day(self) -> float:
        """False alarms in a day."""
        return self.false_alarms / self.days


@dataclass(frozen=True, slots=True)
class Found:
    """Injections of one kind and factor on one trace. Delays are from the injection to the alarm, in minutes."""

    trace: str
    kind: str
    factor: float
    injections: int
    within_goal: int
    # Of these, whose bill has doubled by then, or whose alarm came within the goal after it had.
    within_goal_of_the_bill: int
    later: int
    never: int
    median_delay: float | None
    longest_delay: float | None


def alarms(billed: Sequence[Stretch]) -> list[int]:
    """The minutes at which the governator would have spoken, one for each stretch out of the ordinary."""
    detector = SpendDetector(nodes=True)
    found = []
    for start in range(0, len(billed) - STRETCH + 1, STRETCH):
        part = billed[start : start + STRETCH]
        _, cost, requests, paid = map(sum, zip(*part, strict=True))
        if detector.see(Stretch(start, cost, requests, paid)):
            found.append(start + STRETCH + _SETTLE)
    return found


def episodes(minutes: Iterable[int]) -> int:
    """How many alarms these are: those within an hour of the one before are the same."""
    count, last = 0, -(10**9)
    for minute in minutes:
        count += minute - last > _SAME * STRETCH
        last = minute
    return count


def quiet(trace: Trace, hold: int) -> Quiet:
    """False alarms on a trace."""
    return Quiet(trace.name, hold, trace.days, episodes(alarms(bill(trace, None, hold, _FIRST_SEED))))


def found(trace: Trace, kind: str, factor: float, count: int) -> Found:
    """Inject ``count`` times, at random places of a trace."""
    delays: list[int] = []
    never = of_the_bill = 0
    for seed in range(_FIRST_SEED, _FIRST_SEED + count):
        rng = random.Random(f"{trace.name} {kind} {factor} {seed}")  # noqa: S311
        # A day of history before, as the governator has from its second day on, and two hours to be found in.
        at = rng.randrange(1440, len(trace.requests) - 120)
        start = at - 1440 - at % STRETCH
        start = max(0, start // STRETCH * STRETCH)
        piece = Trace(trace.name, trace.requests[start : at + 120], trace.node_requests)
        hold = rng.choice(_HOLDS)
        billed = bill(piece, Injection(kind, at - start, factor), hold, seed)
        felt = _felt(billed, bill(piece, None, hold, seed), factor, at - start)
        spoken = next((minute for minute in alarms(billed) if minute > at - start), None)
        if spoken is None:
            never += 1
        else:
            delays.append(spoken - (at - start))
        # What the fleet's spare nodes swallow in whole is no doubling of the bill.
        of_the_bill += felt is None or (spoken is not None and spoken - felt <= GOAL_MINUTES)
    within = sum(delay <= GOAL_MINUTES for delay in delays)
    return Found(
        trace.name,
        kind,
        factor,
        count,
        within,
        of_the_bill,
        len(delays) - within,
        never,
        statistics.median(delays) if delays else None,
        max(delays, default=None),
    )


def _felt(billed: Sequence[Stretch], usual: Sequence[Stretch], factor: float, at: int) -> int | None:
    """The minute at which the bill has grown by the factor (nine tenths of it), for five minutes together."""
    for minute in range(at, len(billed) - 4):
        now, then = (sum(each.cost_micros for each in bills[minute : minute + 5]) for bills in (billed, usual))
        if now >= then * (1 + (factor - 1) * 0.9):
            return minute
    return None


def measure(every: Sequence[Trace], count: int) -> tuple[list[Quiet], list[Found], list[Found]]:
    """False alarms; doublings; and what is smaller than a doubling, of which less is found."""
    silent = [quiet(trace, hold) for trace in every for hold in _HOLDS]
    doubled = [found(trace, kind, 2.0, count) for trace in every for kind in _KINDS]
    smaller = [found(trace, kind, factor, count) for trace in every[:1] for kind in _KINDS for factor in (1.5, 1.7)]
    return silent, doubled, smaller


def markdown(silent: list[Quiet], doubled: list[Found], smaller: list[Found], about: dict[str, object]) -> str:
    """The result as tables."""
    injections, within = sum(each.injections for each in doubled), sum(each.within_goal for each in doubled)
    of_the_bill = sum(each.within_goal_of_the_bill for each in doubled)
    worst = max(silent, key=lambda each: each.a_day)
    quiet_rows = "\n".join(
        f"| {each.trace} | {each.hold_minutes} | {each.days:.0f} | {each.false_alarms} | {each.a_day:.2f} |"
        for each in silent
    )
    return (
        "# Spend per request out of the ordinary\n\n"
        f"Of {injections} doublings {within} ({within / injections:.1%}) are found within {GOAL_MINUTES} minutes of "
        f"the injection, {of_the_bill} ({of_the_bill / injections:.1%}) within {GOAL_MINUTES} of when the bill itself "
        "has doubled (what takes more of a node is swallowed by spare ones for a while); at most "
        f"{worst.a_day:.2f} false alarms a day ({worst.trace}, nodes held {worst.hold_minutes} min; goal "
        f"{GOAL_FALSE_A_DAY:g}). Fleet and bills are modelled (benchmarks/spend_fleet.py says how and what is left "
        "out), demand is real; seeds were held out.\n\n"
        "## False alarms without an injection\n\n"
        "| demand | node held min | days | false alarms | a day |\n|---|--:|--:|--:|--:|\n"
        f"{quiet_rows}\n\n## Doublings\n\n{_table(doubled)}\n\n## Less than a doubling\n\n"
        f"No goal; what to expect.\n\n{_table(smaller)}\n\n"
        "Not found by design: a rise of less than half, a rise that creeps in over a day (it becomes the usual), and "
        "anything in the first six hours of telemetry. An alarm is missed or late when the injection falls into the "
        "hour after a burst, for the fleet is then held against demand that is over.\n\n"
        f"{', '.join(f'{name} {value}' for name, value in about.items())}\n"
    )


def _table(rows: list[Found]) -> str:
    head = (
        "| demand | kind | factor | count | within 20 min | of the bill's | later | never | median min | longest |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    )
    return head + "\n".join(
        f"| {each.trace} | {each.kind} | {each.factor:g} | {each.injections} | {each.within_goal} | "
        f"{each.within_goal_of_the_bill} | {each.later} | "
        f"{each.never} | {each.median_delay} | {each.longest_delay} |"
        for each in rows
    )


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=_TRACES, help="folder with the traces")
    parser.add_argument("--injections", type=int, default=40, help="of each kind on each trace")
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"anomalies: skipped, there are no traces in {options.data} (--data FOLDER)", file=sys.stderr)
        return
    silent, doubled, smaller = measure(traces(options.data), options.injections)
    about = machine()
    options.results.mkdir(parents=True, exist_ok=True)
    text = markdown(silent, doubled, smaller, about)
    (options.results / "anomalies.md").write_text(text)
    document = {
        "machine": about,
        "goals": {"minutes": GOAL_MINUTES, "false_alarms_a_day": GOAL_FALSE_A_DAY},
        "quiet": [{**asdict(each), "a_day": round(each.a_day, 3)} for each in silent],
        "doublings": [asdict(each) for each in doubled],
        "smaller": [asdict(each) for each in smaller],
    }
    (options.results / "anomalies.json").write_text(json.dumps(document, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
