from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inferno_proxy.envoy.bootstrap import IDENTITY, LISTEN
from inferno_proxy.envoy.outside import Outside, external_bootstrap, grpc_bootstrap, serving_address
from inferno_proxy.fleet import Address
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.secrets import own_certificate, peer_authority
from tests.certificates import NOW, authority, identity, issued

CONTROL = Address("10.0.0.1", 8080)
SEVERAL = ["10.0.0.1:8443", "proxy.example:8443"]


def kept(folder: Path, name: str, *hosts: str) -> IdentityFolder:
    by = authority()
    return identity(folder, by, issued(by, name, *hosts))


def checked(*proxies: str, node_id: str = "", folder: Path | None = None, kind: str = "envoy", **given: Any) -> Outside:
    return Outside.checked(proxies or ["10.0.0.1:80"], node_id, folder, given.get("ca"), kind=kind, now=NOW + 1)


def cluster(outside: Outside) -> Any:
    made: Any = external_bootstrap(outside)
    return made["static_resources"]["clusters"][0]


def test_an_external_envoy_has_no_admin_interface_unless_asked_for() -> None:
    assert "admin" not in external_bootstrap(Outside("edge", [CONTROL]))
    assert external_bootstrap(Outside("edge", [CONTROL]), {"x": 1})["admin"] == {"x": 1}


def test_without_files_everything_is_plain() -> None:
    outside = checked(kind="grpc")
    assert outside.node_id.endswith("-grpc")
    assert "transport_socket" not in cluster(outside)
    made: Any = grpc_bootstrap(outside)
    assert made["xds_servers"][0]["channel_creds"] == [{"type": "insecure"}]
    assert "certificate_providers" not in made


def test_a_grpc_client_keeps_what_it_has_when_resources_disappear() -> None:
    made: Any = grpc_bootstrap(Outside("me", [Address("fd00::1", 8080)]))
    assert made["xds_servers"][0]["server_uri"] == "[fd00::1]:8080"
    assert "ignore_resource_deletion" in made["xds_servers"][0]["server_features"]


def test_a_later_proxy_is_asked_while_those_before_it_are_away() -> None:
    outside = checked(*SEVERAL, node_id="edge")
    made = cluster(outside)
    assert [each["priority"] for each in made["load_assignment"]["endpoints"]] == [0, 1]
    assert made["outlier_detection"]["max_ejection_percent"] == 100
    assert "outlier_detection" not in cluster(checked())
    servers: Any = grpc_bootstrap(outside)["xds_servers"]
    assert [each["server_uri"] for each in servers] == SEVERAL


def test_a_member_takes_whoever_has_the_name_of_proxies_for_one(tmp_path: Path) -> None:
    folder = kept(tmp_path / "edge", "proxy/edge")
    outside = checked(*SEVERAL, folder=folder.path)
    assert outside.node_id == "edge"
    context = cluster(outside)["transport_socket"]["typed_config"]
    validation = context["common_tls_context"]["combined_validation_context"]
    assert validation["default_validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "proxy.inferno.internal"}}
    ]
    assert context["sni"] == "proxy.inferno.internal"
    # What Envoy reads is there.
    assert own_certificate(folder).path.exists()
    assert peer_authority(folder).path.exists()
    made: Any = grpc_bootstrap(outside)
    files = made["xds_servers"][0]["channel_creds"][0]
    assert files == {"type": "tls", "config": made["certificate_providers"]["inferno"]["config"]}
    assert files["config"]["private_key_file"] == str(folder.key)


def test_one_name_may_stand_for_several_data_planes(tmp_path: Path) -> None:
    folder = kept(tmp_path, "proxy/shop")
    assert checked(folder=folder.path, node_id="shop/7").node_id == "shop/7"
    with pytest.raises(InvalidInput, match="proxy/shop, so no proxy takes 'other'") as refused:
        checked(folder=folder.path, node_id="other")
    assert refused.value.reason == "NOT_YOURS"


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("node/gpu-7", "grpc", "node/gpu-7, which takes no configuration for a gRPC client"),
        ("client/shop", "envoy", "client/shop, which takes no configuration for an Envoy"),
        ("", "envoy", "server.example, which takes no configuration for an Envoy"),
    ],
)
def test_a_certificate_of_somebody_else_takes_no_configuration(tmp_path: Path, name: str, kind: str, told: str) -> None:
    folder = kept(tmp_path, name, "server.example")
    with pytest.raises(InvalidInput, match=told) as refused:
        checked(folder=folder.path, kind=kind)
    assert refused.value.reason == "NOT_A_DATA_PLANE"
    assert checked(folder=kept(tmp_path / "own", "client/shop").path, kind="grpc").node_id == "shop"


def test_a_public_port_is_known_by_its_host(tmp_path: Path) -> None:
    ca = kept(tmp_path / "any", "client/shop").authority
    outside = checked("proxy.example:443", ca=ca, node_id="shop")
    context = cluster(outside)["transport_socket"]["typed_config"]
    assert context["sni"] == "proxy.example"
    common = context["common_tls_context"]
    assert common["validation_context"]["trusted_ca"] == {"filename": str(ca)}
    assert "tls_certificate_sds_secret_configs" not in common
    made: Any = grpc_bootstrap(outside)
    assert made["xds_servers"][0]["channel_creds"] == [{"type": "tls", "config": {"ca_certificate_file": str(ca)}}]
    several = cluster(checked(*SEVERAL, ca=ca))["transport_socket"]["typed_config"]
    assert "sni" not in several
    names = several["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert [(each["san_type"], each["matcher"]["exact"]) for each in names] == [
        ("IP_ADDRESS", "10.0.0.1"),
        ("DNS", "proxy.example"),
    ]


def test_a_member_may_use_a_public_port_with_its_certificate(tmp_path: Path) -> None:
    folder = kept(tmp_path / "edge", "proxy/shop")
    outside = checked(folder=folder.path, ca=folder.authority)
    common = cluster(outside)["transport_socket"]["typed_config"]["common_tls_context"]
    assert common["tls_certificate_sds_secret_configs"][0]["name"] == "identity"
    assert common["validation_context"]["trusted_ca"] == {"filename": str(folder.authority)}
    assert json.dumps(grpc_bootstrap(outside)).count(str(folder.authority)) == 2


def test_an_envoy_says_where_it_serves_and_where_its_identity_is(tmp_path: Path) -> None:
    made: Any = external_bootstrap(checked())
    assert made["node"]["metadata"] == {LISTEN: "127.0.0.1:10000"}
    made = external_bootstrap(checked(folder=kept(tmp_path, "proxy/edge").path))
    assert made["node"]["metadata"][IDENTITY] == str(tmp_path)


def test_an_identity_may_be_for_nodes_alone(tmp_path: Path) -> None:
    outside = replace(checked(folder=kept(tmp_path, "proxy/edge").path), plaintext=True)
    assert "transport_socket" not in cluster(outside)
    made: Any = grpc_bootstrap(outside)
    assert made["xds_servers"][0]["channel_creds"] == [{"type": "insecure"}]
    assert "certificate_providers" in made


def test_an_envoy_serves_on_loopback_unless_somebody_insists() -> None:
    assert serving_address("[::1]:80", insecure=False) == Address("::1", 80)
    with pytest.raises(InvalidInput, match=r"would listen on 0.0.0.0 without TLS") as refused:
        serving_address("0.0.0.0:80", insecure=False)
    assert refused.value.reason == "INSECURE_BIND"
    assert serving_address("0.0.0.0:80", insecure=True).host == "0.0.0.0"
    with pytest.raises(InvalidInput, match="Envoy listens on no name"):
        serving_address("localhost:80", insecure=True)


def test_files_of_no_use_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        checked(ca=tmp_path / "none.pem")
    with pytest.raises(InvalidInput, match="cannot be read"):
        checked(folder=tmp_path / "none")
    folder = kept(tmp_path / "edge", "proxy/edge")
    peer_authority(folder).path.mkdir()
    with pytest.raises(InvalidInput, match="cannot be written") as refused:
        checked(folder=folder.path)
    assert refused.value.reason == "FOLDER_UNWRITABLE"
