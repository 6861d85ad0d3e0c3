"""SkyPilot: the task of a node, and what its errors ask of us."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from inferno_governator.providers.skypilot import SkyPilot
from inferno_runtime.errors import Denied, Exhausted, InfernoError, InvalidInput, Unauthenticated, Unsupported
from tests.integration.inferno_governator.providers.skypilot_world import SkyPilotWorld


async def test_a_node_is_a_task_with_labels_and_what_the_node_is(skypilot: SkyPilotWorld, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("resources: {cloud: gcp, labels: {team: a}}\nrun: ours\n", "utf-8")
    pool = replace(
        skypilot.pool,
        spot=True,
        micros_per_hour=700_000,
        options={"task_file": str(tmp_path / "task.yaml"), "cloud": "aws", "discovery_lb": "lb:8443"},
    )
    await skypilot.provider(pool).start("small-1", pool)
    task = YAML(typ="safe", pure=True).load(skypilot.sdk.clusters["small-1"]["last_creation_yaml"])
    assert (task["name"], task["run"], task["num_nodes"]) == ("small-1", "ours", 1)
    assert (task["resources"]["cloud"], task["resources"]["use_spot"]) == ("gcp", True)
    assert task["resources"]["labels"] == {
        "team": "a",
        "inferno-governator": "inferno-governator",
        "inferno-node": "small-1",
        "inferno-pool": "small",
    }
    assert task["envs"] == {
        "INFERNO_BACKEND_NODE_ID": "small-1",
        "INFERNO_BACKEND_MODEL": "m",
        "INFERNO_BACKEND_DISCOVERY_LB": "lb:8443",
        "INFERNO_BACKEND_LABELS": "inferno-pool=small",
        "INFERNO_BACKEND_PRICE_PER_HOUR": "0.7",
    }
    for text in ("- a", "{"):
        (tmp_path / "task.yaml").write_text(text, "utf-8")
        with pytest.raises(InvalidInput, match="is no task"):
            await skypilot.provider(pool).start("small-2", pool)


@pytest.mark.parametrize(
    ("name", "reaction", "reason"),
    [
        ("ResourcesUnavailableError", Exhausted, "NO_CAPACITY"),
        ("ConcurrentWorkerExhaustedError", Exhausted, "THROTTLED"),
        ("NoCloudAccessError", Unauthenticated, "BAD_CREDENTIALS"),
        ("PermissionDeniedError", Denied, "NOT_ALLOWED"),
        ("ResourcesMismatchError", InvalidInput, "BAD_POOL"),
    ],
)
async def test_what_skypilot_raises_names_the_reaction(
    skypilot: SkyPilotWorld, name: str, reaction: type[InfernoError], reason: str
) -> None:
    skypilot.sdk.error = type(name, (Exception,), {})("because")
    with pytest.raises(reaction, match="because") as caught:
        await skypilot.provider().start("small-1", skypilot.pool)
    assert (caught.value.reason, skypilot.sdk.clusters) == (reason, {})


def test_without_skypilot_the_sentence_says_how_to_install_it(skypilot: SkyPilotWorld) -> None:
    with pytest.raises(Unsupported, match="needs SkyPilot"):
        SkyPilot([skypilot.pool])
