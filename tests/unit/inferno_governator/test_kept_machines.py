"""Machines that a provider lists although they do not run."""

from __future__ import annotations

from inferno_governator.decisions.fleet import NodeState
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.looking import Heard, PoolPrice, fleet_facts
from inferno_governator.decisions.proposal import Reason, Verb
from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import Machine, MachineState

STOPPED = Machine("small-1", "small", MachineState.STOPPED, why="Its process ended with status 3.")


def heard(*intents: Intent) -> Heard:
    pool = Pool("small", "local", ("m",))
    return Heard(
        now=1000.0,
        nodes={},
        machines={"small-1": STOPPED},
        listed=frozenset({"small"}),
        pools={"small": pool},
        prices={"small": PoolPrice(0)},
        intents=intents,
    )


def test_a_machine_that_has_ended_by_itself_is_a_lost_node_until_it_is_stopped() -> None:
    (node,) = fleet_facts(heard()).nodes
    assert (node.state, node.why) == (NodeState.LOST, STOPPED.why)


def test_what_is_kept_of_a_machine_that_was_stopped_is_no_node() -> None:
    stop = Intent(1, 1, Verb.STOP, Reason.IDLE, "small", "small-1", outcome=Outcome.DONE, ended_micros=900_000_000)
    assert fleet_facts(heard(stop)).nodes == ()
