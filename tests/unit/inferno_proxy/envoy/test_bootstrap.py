from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from inferno_proxy.envoy.bootstrap import (
    EnvoySettings,
    encode,
    local_base,
    local_bootstrap,
)
from inferno_proxy.fleet import Address

SETTINGS = EnvoySettings(Path("/data"), Path("/data/control.sock"), Address("127.0.0.1", 8080))


def test_two_lives_of_one_envoy_have_admin_sockets_of_their_own() -> None:
    assert Path("/data/envoy-admin-0.sock") == SETTINGS.admin_socket
    assert replace(SETTINGS, life=1).admin_socket != SETTINGS.admin_socket


def test_the_standby_file_belongs_to_one_public_address() -> None:
    moved = EnvoySettings(Path("/data"), SETTINGS.xds_socket, Address("::1", 8080))
    assert SETTINGS.standby_file == Path("/data/standby-127.0.0.1-8080.pb")
    assert moved.standby_file == Path("/data/standby-__1-8080.pb")


def test_a_standby_envoy_asks_nobody() -> None:
    assert "dynamic_resources" not in local_base(SETTINGS)
    assert "dynamic_resources" in local_bootstrap(SETTINGS)


def test_encoded_bootstraps_are_json_in_a_stable_order() -> None:
    assert encode({"b": 1, "a": 2}) == encode({"a": 2, "b": 1})
    assert json.loads(encode(local_bootstrap(SETTINGS))) == local_bootstrap(SETTINGS)
