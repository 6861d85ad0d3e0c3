from __future__ import annotations

from pathlib import Path

import pytest

from inferno_cli.cloud.components import Rank, Wanted, components
from inferno_cli.cloud.folder import DataFolder
from inferno_cli.cloud.supervisor import SHARES, STOP_SECONDS

WANTED = Wanted(DataFolder(Path("/data")), Path("/models"), port=9000, nodes=3)


def test_a_mesh_is_a_governator_a_proxy_and_numbered_nodes() -> None:
    assert [(each.name, each.rank) for each in components(WANTED)] == [
        ("governator", Rank.GOVERNATOR),
        ("proxy", Rank.PROXY),
        ("node-1", Rank.NODE),
        ("node-2", Rank.NODE),
        ("node-3", Rank.NODE),
    ]


def test_every_component_is_told_where_the_others_are() -> None:
    governator, proxy, node, *_ = (" ".join(each.argv) for each in components(WANTED))
    socket = "unix:/data/governator/governator.sock"
    assert f"--db sqlite:////data/governator/governator.db --listen {socket}" in governator
    assert f"--port 9000 --data-dir /data/proxy --governator {socket}" in proxy
    assert "--node-id node-1 --discovery-lb 127.0.0.1:9000 --data-dir /data/node-1 --model-repository /models" in node


def test_every_component_reads_the_one_configuration() -> None:
    wanted = Wanted(DataFolder(Path("/data")), Path("/m"), config=Path("/c.yaml"), own_database=False)
    assert all("--config /c.yaml" in " ".join(each.argv) for each in components(wanted))
    assert "--db" not in components(wanted)[0].argv


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [("127.0.0.1", "127.0.0.1:1"), ("0.0.0.0", "127.0.0.1:1"), ("::", "[::1]:1"), ("10.0.0.7", "10.0.0.7:1")],
)
def test_the_endpoint_is_what_this_machine_can_call(host: str, endpoint: str) -> None:
    assert Wanted(DataFolder(Path("/d")), Path("/m"), host=host, port=1).endpoint == endpoint


def test_whatever_is_late_leaves_the_rest_time_to_end_in_order() -> None:
    ends = [STOP_SECONDS * SHARES[rank] for rank in Rank]
    # A Triton with work that never ends takes 5.5 s; the others far less than a second on a machine that is not busy.
    assert ends[0] > 6
    assert ends[1] - ends[0] > 1
    assert ends[2] - ends[1] > 1
    assert STOP_SECONDS < 10


def test_nodes_stop_before_the_proxy_and_the_proxy_before_the_governator() -> None:
    assert list(Rank) == [Rank.NODE, Rank.PROXY, Rank.GOVERNATOR]
