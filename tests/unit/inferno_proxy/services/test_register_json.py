"""Registrations as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferno_proxy.services.register_json import parse_announcement
from inferno_runtime.errors import InvalidInput


def parse(document: Any) -> Any:
    return parse_announcement(json.dumps(document).encode())


def test_the_flat_form_is_the_node_with_models_by_name_and_seconds() -> None:
    request = parse({"node_id": "a", "grpc_address": "h:1", "models": ["m", {"name": "n"}], "lease_duration": 1.5})
    assert (request.node.node_id, [m.name for m in request.node.models]) == ("a", ["m", "n"])
    assert request.lease_duration.ToMilliseconds() == 1500


def test_the_nested_form_is_protobufs_own() -> None:
    request = parse({"node": {"nodeId": "a", "incarnation": "7"}, "leaseDuration": "60s"})
    assert (request.node.node_id, request.node.incarnation, request.lease_duration.seconds) == ("a", 7, 60)


def test_without_a_duration_none_is_set() -> None:
    assert not parse({"node_id": "a"}).HasField("lease_duration")


@pytest.mark.parametrize(
    ("document", "field", "near"),
    [
        ({"node_id": "a", "grpc_adress": "h:1"}, "grpc_adress", "'grpc_address'"),
        ({"zzz": 1}, "zzz", "inferno.registration.v1.Node"),
        ({"node": {"grpc_adress": ""}}, "grpc_adress", "'grpc_address'"),
        ({"node": {}, "nod": 1}, "nod", "'node'"),
        ({"models": [{"nmae": "m"}]}, "models[0].nmae", "inferno.registration.v1.Node"),
        ({"hardware": {"cpus": 1}}, "hardware.cpus", "inferno.registration.v1.Node"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest_known_one(document: Any, field: str, near: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(document)
    assert refused.value.metadata["field"] == field
    assert near in refused.value.fix


@pytest.mark.parametrize(
    "document",
    [
        [],
        "x",
        {"node": []},
        {"incarnation": "x"},
        {"node_id": 5},
        {"lease_duration": "soon"},
        {"lease_duration": True},
        {"models": 3},
        {"models": [3]},
        {"incarnation": -1},
        {"hardware": {"cpu_count": 1e99}},
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(document)
    assert refused.value.reason == "MALFORMED_NODE"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"node_id": "\\ud800"}'])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_announcement(body)
