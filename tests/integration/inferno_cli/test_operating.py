"""The operator's commands against the control plane's own services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from inferno_cli.main import command
from inferno_cli.operating import lifetime, shares
from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Address
from inferno_runtime.errors import InvalidInput
from tests.integration.inferno_proxy.control import Control, control
from tests.unit.inferno_proxy.nodes import model, node

Run = Callable[..., Awaitable[Result]]


@pytest_asyncio.fixture
async def plane(socket_dir: Path) -> AsyncIterator[Control]:
    """A mesh of two nodes; what their calls took was seen of the first one."""
    async with control(socket_dir) as made:
        made.registry.join(node("gpu-1", port=1))
        made.registry.join(node("gpu-2", port=2, models=(model(version="2"),)))
        now, where = made.clock.monotonic(), Address("127.0.0.1", 1)
        made.learner.advise(made.registry.view.value, now)
        made.learner.tries([Try("m", where, Outcome.ANSWERED, 0.02, now)])
        made.learner.counts([Counts("envoy", "m", where, 4, 3, 1, 2, 0.5, now)])
        yield made


@pytest.fixture
def run(plane: Control) -> Run:
    """Call ``inferno`` in a thread: it brings an event loop of its own."""

    async def call(*arguments: str) -> Result:
        env = {"INFERNO_ENDPOINT": plane.endpoint, "COLUMNS": "200"}
        return await asyncio.to_thread(CliRunner().invoke, command, arguments, env=env)

    return call


async def shown(run: Run, *arguments: str) -> Any:
    """What a command answers, as JSON; the control plane's own log goes to the same place in a test."""
    result = await run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(next(line for line in result.stdout.splitlines() if line.startswith("{")))


async def test_a_node_is_drained_and_taken_back(plane: Control, run: Run) -> None:
    result = await run("drain", "gpu-1", "--reason", "cleaning")
    assert (result.exit_code, "gpu-1 is draining: An operator drained it." in result.stdout) == (0, True)
    assert not plane.registry.member("gpu-1").takes_work
    assert "gpu-1 is serving." in (await run("undrain", "gpu-1")).stdout
    assert (await shown(run, "drain", "gpu-1"))["node"]["phase"] == "NODE_PHASE_DRAINING"


async def test_a_node_that_is_gone_is_one_sentence(run: Run) -> None:
    result = await run("drain", "gpu-3")
    assert result.exit_code == 1
    assert "error[UNKNOWN_NODE] There is no node 'gpu-3'." in result.stderr
    assert "Did you mean 'gpu-2'?" in result.stderr


async def test_orders_are_given_listed_and_taken_back(plane: Control, run: Run) -> None:
    said = await run("mesh", "weight", "gpu-1", "0.5", "--reason", "new", "--for", "1h")
    assert "gpu-1: 0.5 times the weight until 20" in said.stdout
    await run("mesh", "split", "m", "1=90", "2=10")
    await run("mesh", "limit", "m", "--calls", "5", "--seconds", "60", "--concurrency", "3")
    await run("mesh", "quarantine", "gpu-2")
    assert "m: that it takes no calls, ordered by local." in (await run("mesh", "quarantine", "m", "--model")).stdout
    plane.registry.deregister("gpu-2", 1)
    listed = (await run("mesh", "orders")).stdout
    for row in (
        "node weight       0.5 times the weight",
        "shares by version: 1 90 %, 2 10 %",
        "at most 5 calls in 60 s per model and at most 3 calls under way",
        "that it takes no calls (not there now)",
    ):
        assert row in listed
    assert len((await shown(run, "mesh", "orders"))["orders"]) == 5
    assert "gpu-2 is released." in (await run("mesh", "release", "gpu-2")).stdout
    assert "m is released." in (await run("mesh", "release", "m", "--model")).stdout
    assert "m was in no quarantine." in (await run("mesh", "release", "m", "--model")).stdout
    taken = await run("mesh", "clear", "m", "--kind", "split")
    assert ("Orders taken back: 1." in taken.stderr, "shares by version" in taken.stdout) == (True, True)
    assert len((await shown(run, "mesh", "clear", "--all"))["orders"]) == 2
    assert "No order holds." in (await run("mesh", "orders")).stderr
    assert "Orders taken back: 0." in (await run("mesh", "clear", "--all")).stderr


async def test_a_model_is_explained_with_figures_and_reasons(run: Run) -> None:
    await run("mesh", "weight", "gpu-2", "0.25")
    said = (await run("explain", "m")).stdout
    assert "2 of 2 nodes take calls of 'm'" in said
    assert "- A call that fails is tried up to 3 more times, elsewhere." in said
    first = next(line for line in said.splitlines() if line.startswith("m") and "gpu-1" in line)
    assert first.split()[:8] == ["m", "gpu-1", "80%", "1000", "20.0", "ms", "25%", "2"]
    assert "Its weight is ordered: local ordered 0.25 times the weight." in said
    assert "gpu-2" in (await run("mesh", "endpoints", "--node", "gpu-2")).stdout
    assert len((await shown(run, "mesh", "endpoints", "--model", "m"))["endpoints"]) == 2


async def test_what_a_name_is_is_found_out(plane: Control, run: Run) -> None:
    assert "Node 'gpu-1' is serving and gets calls of 1 of its 1 models." in (await run("explain", "gpu-1")).stdout
    seen = Try("m", Address("127.0.0.1", 1), Outcome.FAILED, 0.25, plane.clock.monotonic(), request_id="call-1")
    plane.recent.kept([seen])
    said = (await run("explain", "call-1")).stdout
    assert "Call 'call-1' of model 'm': one try of it was kept. The last one failed after 250 ms." in said
    assert "The node answered with an error of its own." in said
    assert "x-inferno-explain: 1" in (await run("explain", "nothing")).stderr
    unknown = await run("explain", "call-1", "--as", "node")
    assert (unknown.exit_code, "There is no node 'call-1'" in unknown.stderr) == (1, True)


async def test_events_and_acts_are_shown(run: Run) -> None:
    await run("drain", "gpu-1", "--reason", "cleaning")
    assert "An operator drained it." in (await run("mesh", "events", "--subject", "gpu-1")).stdout
    said = (await run("mesh", "audit")).stdout
    assert "DRAIN_NODE" in said
    assert "cleaning" in said
    assert (await shown(run, "mesh", "audit", "--refused")).get("entries", []) == []


def test_what_is_typed_wrong_is_said_before_anybody_is_asked() -> None:
    with pytest.raises(InvalidInput, match="'1:90' is no share"):
        shares(["1:90"])
    with pytest.raises(InvalidInput, match="is not a duration"):
        lifetime("soon")
    assert lifetime(None) is None
