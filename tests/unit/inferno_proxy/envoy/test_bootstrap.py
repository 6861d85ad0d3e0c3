from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inferno_proxy.envoy.bootstrap import (
    EnvoySettings,
    encode,
    external_bootstrap,
    grpc_bootstrap,
    local_base,
    local_bootstrap,
)
from inferno_proxy.fleet import Address

SETTINGS = EnvoySettings(Path("/data"), Path("/data/control.sock"), Address("127.0.0.1", 8080))


def test_each_data_directory_has_a_base_id_of_its_own() -> None:
    other = EnvoySettings(Path("/elsewhere"), SETTINGS.xds_socket, SETTINGS.listen)
    assert SETTINGS.base_id == EnvoySettings(Path("/data/../data"), SETTINGS.xds_socket, SETTINGS.listen).base_id
    assert SETTINGS.base_id != other.base_id
    assert 0 <= SETTINGS.base_id * 10 < 2**31


def test_the_standby_file_belongs_to_one_public_address() -> None:
    moved = EnvoySettings(Path("/data"), SETTINGS.xds_socket, Address("::1", 8080))
    assert SETTINGS.standby_file == Path("/data/standby-127.0.0.1-8080.pb")
    assert moved.standby_file == Path("/data/standby-__1-8080.pb")


def test_a_standby_envoy_asks_nobody() -> None:
    assert "dynamic_resources" not in local_base(SETTINGS)
    assert "dynamic_resources" in local_bootstrap(SETTINGS)


def test_an_external_envoy_has_no_admin_interface_unless_asked_for() -> None:
    control = Address("10.0.0.1", 8080)
    assert "admin" not in external_bootstrap(control, "edge")
    assert external_bootstrap(control, "edge", {"x": 1})["admin"] == {"x": 1}


def test_a_grpc_client_keeps_what_it_has_when_resources_disappear() -> None:
    made: Any = grpc_bootstrap(Address("fd00::1", 8080), "me")
    assert made["xds_servers"][0]["server_uri"] == "[fd00::1]:8080"
    assert "ignore_resource_deletion" in made["xds_servers"][0]["server_features"]


def test_encoded_bootstraps_are_json_in_a_stable_order() -> None:
    assert encode({"b": 1, "a": 2}) == encode({"a": 2, "b": 1})
    assert json.loads(encode(local_bootstrap(SETTINGS))) == local_bootstrap(SETTINGS)
