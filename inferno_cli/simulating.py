"""``inferno simulate`` behind its flags: read, replay here or have the mesh do it, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli import output, scenarios
from inferno_cli.asking import Asked
from inferno_governator.reports import simulation
from inferno_governator.simulation import trace_files
from inferno_governator.simulation.alternatives import compare
from inferno_governator.simulation.curves import GridCurve, MeasuredCurve
from inferno_governator.simulation.outcome import Outcome
from inferno_governator.simulation.trace import Trace

if TYPE_CHECKING:
    from inferno.governance.v1 import simulation_pb2 as wire

_MICROS = 1_000_000


def run(scenario: scenarios.Scenario, folder: Path, asked: Asked) -> tuple[simulation.Replayed, list[Outcome]]:
    """Replay a scenario: here when its trace is a file beside the folder, in the mesh when that recorded it.

    Raises:
        NotFound, InvalidInput: Something that it names is not there, or cannot be.
        InfernoError: The mesh does not answer, or refuses.
    """
    if scenario.trace is None:
        return _ask(scenario, folder, asked)
    alternatives = scenarios.alternatives(scenario, folder)
    trace: Trace = trace_files.read(folder / scenario.trace)
    return simulation.Replayed.of(trace), compare(trace, alternatives, scenario.seed)


def show(outcomes: Sequence[Outcome], replayed: simulation.Replayed, seed: int, form: output.Format) -> None:
    """Write the comparison to standard output."""
    if form == "json":
        output.print_json(simulation.document(outcomes, replayed, seed))
        return
    names = simulation.titles()
    columns = [output.Column(name, name.upper(), right=at > 0) for at, name in enumerate(names)]
    output.print_table(columns, [dict(zip(names, simulation.cells(each), strict=True)) for each in outcomes])


def _ask(scenario: scenarios.Scenario, folder: Path, asked: Asked) -> tuple[simulation.Replayed, list[Outcome]]:
    from inferno_cli import governing
    from inferno_governator.simulation import simulation_wire

    request = question(scenario, folder)
    answer: wire.SimulateResponse = governing.ask(
        asked, lambda stub: stub.Simulate(request, timeout=asked.timeout), "simulations"
    )
    replayed = simulation.Replayed(
        answer.demand, answer.seconds, answer.mean_input_tokens, answer.mean_output_tokens, exact=False
    )
    return replayed, simulation_wire.decode(answer)


def question(scenario: scenarios.Scenario, folder: Path) -> wire.SimulateRequest:
    """A scenario as the mesh is asked it; profiles are read here.

    Raises:
        NotFound, InvalidInput: A profile is not there, or is none.
    """
    from inferno.governance.v1 import simulation_pb2 as wire

    request = wire.SimulateRequest(
        seed=scenario.seed,
        patience_seconds=scenario.patience,
        decide_seconds=scenario.decide,
        objective=wire.SimulatedObjective(
            latency_seconds=scenario.objective.latency,
            first_token_seconds=scenario.objective.first_token,
            share=scenario.objective.share,
        ),
        alternatives=[
            wire.SimulatedAlternative(
                name=each.name,
                policy=each.policy,
                target=each.target,
                pools=[_pool(pool, folder) for pool in each.pools],
                spot_losses=_losses(each.spot_losses) if each.spot_losses else None,
            )
            for each in scenario.alternatives
        ],
    )
    if scenario.recorded:
        request.recorded.model = scenario.recorded.model
        request.recorded.seconds = round(scenario.recorded.since)
    return request


def _losses(spot: scenarios.SpotText) -> wire.SpotLosses:
    from inferno.governance.v1 import simulation_pb2 as wire

    return wire.SpotLosses(per_day=spot.per_day, mean_seconds=spot.mean, together=spot.together, spread=spot.spread)


def _pool(pool: scenarios.PoolText, folder: Path) -> wire.SimulatedPool:
    from inferno.governance.v1 import price_pb2
    from inferno.governance.v1 import simulation_pb2 as wire

    curve = scenarios.curve(pool, folder)
    made = wire.SimulatedPool(
        name=pool.name,
        like_node=pool.node,
        price_micros_per_hour=int(pool.price * _MICROS) if pool.price else 0,
        boot_seconds=pool.boot,
        nodes=pool.nodes,
        minimum=min(pool.minimum, pool.nodes),
        maximum=scenarios.most(pool),
        spot=pool.spot,
        zone=pool.zone,
        network_seconds=pool.network,
    )
    if pool.offer:
        cloud, region, kind = pool.offer.split("/")
        rented = price_pb2.PRICE_KIND_SPOT if pool.spot else price_pb2.PRICE_KIND_ON_DEMAND
        made.offer.CopyFrom(price_pb2.Offer(cloud=cloud, region=region, instance_type=kind, kind=rented))
    if isinstance(curve, MeasuredCurve):
        for count, speed in enumerate(curve.speeds, 1):
            made.throughput.add(concurrency=count, requests_per_second=speed * count)
    elif isinstance(curve, GridCurve):
        made.gpus = curve.gpus
        for (tokens_in, tokens_out), (batch, first, step) in curve.cells.items():
            made.cells.add(
                input_tokens=tokens_in,
                output_tokens=tokens_out,
                batch=batch,
                first_token_seconds=first,
                step_seconds=step,
            )
    return made
