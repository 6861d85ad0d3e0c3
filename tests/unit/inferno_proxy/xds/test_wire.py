from __future__ import annotations

import pytest
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.service.discovery.v3 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from envoy_data_plane.google.protobuf import Struct, Value
from envoy_data_plane.google.rpc import Status

from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.xds import delta, sotw, wire
from inferno_proxy.xds.order import Answer
from inferno_proxy.xds.subscription import Caller
from inferno_runtime.errors import InvalidInput

METADATA = Struct(
    fields={"inferno.listen": Value(string_value="127.0.0.1:9000"), "number": Value(number_value=1.0), "none": Value()}
)
LARGE = Resource.of("large", bytes(range(256)) * 2000)
SMALL = Resource.of("small", b"x")


def test_a_request_is_read_as_it_was_written() -> None:
    raw = bytes(
        DiscoveryRequest(
            version_info="7",
            node=Node(id="me", cluster="c", user_agent_name="gRPC C-core", user_agent_version="1.85"),
            resource_names=["a", "b"],
            type_url="t",
            response_nonce="3",
            error_detail=Status(code=3, message="bad"),
        )
    )
    assert wire.parse_request(raw) == sotw.Request("t", ("a", "b"), "3", "7", "bad", Caller("me", "gRPC C-core 1.85"))


def test_a_delta_request_is_read_as_it_was_written() -> None:
    raw = bytes(
        DeltaDiscoveryRequest(
            node=Node(id="me", user_agent_name="envoy", metadata=METADATA),
            type_url="t",
            resource_names_subscribe=["a"],
            resource_names_unsubscribe=["b"],
            initial_resource_versions={"c": "1", "d": ""},
            response_nonce="3",
            error_detail=Status(code=3),
        )
    )
    assert wire.parse_delta_request(raw) == delta.Request(
        "t", ("a",), ("b",), {"c": "1", "d": ""}, "3", "", Caller("me", "envoy", {"inferno.listen": "127.0.0.1:9000"})
    )


def test_a_request_without_client_and_error_says_so() -> None:
    assert wire.parse_request(b"") == sotw.Request("")
    assert wire.parse_delta_request(b"") == delta.Request("")


@pytest.mark.parametrize("parse", [wire.parse_request, wire.parse_delta_request])
def test_bytes_that_are_no_request_are_refused_with_a_sentence(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(InvalidInput, match="DiscoveryRequest"):
        parse(b"\x0a\xff")


def test_a_response_is_what_the_generated_code_reads() -> None:
    raw = wire.response(Answer("type/url", "v1", "9", (LARGE, SMALL)))
    read = DiscoveryResponse.parse(raw)
    assert (read.version_info, read.type_url, read.nonce) == ("v1", "type/url", "9")
    assert [(r.type_url, r.value) for r in read.resources] == [("type/url", LARGE.body), ("type/url", SMALL.body)]


def test_an_empty_response_is_what_the_generated_code_reads() -> None:
    assert DiscoveryResponse.parse(wire.response(Answer("t", "v", "1", ()))).resources == []


def test_a_delta_response_is_what_the_generated_code_reads() -> None:
    raw = wire.delta_response(Answer("type/url", "v1", "9", (LARGE, SMALL), ("gone", "lost")))
    read = DeltaDiscoveryResponse.parse(raw)
    assert (read.system_version_info, read.type_url, read.nonce) == ("v1", "type/url", "9")
    assert read.removed_resources == ["gone", "lost"]
    assert [(r.name, r.version) for r in read.resources] == [(r.name, r.version) for r in (LARGE, SMALL)]
    assert [r.resource.value for r in read.resources if r.resource] == [LARGE.body, SMALL.body]
    assert {r.resource.type_url for r in read.resources if r.resource} == {"type/url"}
