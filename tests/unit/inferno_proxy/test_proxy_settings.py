"""Settings of a proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest

from inferno_proxy.call_records import Traces
from inferno_proxy.fleet import Address
from inferno_proxy.settings import ProxySettings, split_backend
from inferno_runtime.errors import InvalidInput
from inferno_runtime.settings import load


def test_backends_come_from_one_comma_separated_flag() -> None:
    loaded = load(ProxySettings, flags={"backends": "10.0.0.1:8001, 10.0.0.2:8001:8000"}).value
    assert loaded.backends == ("10.0.0.1:8001", "10.0.0.2:8001:8000")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("h:1", ("h", 1, None)),
        ("h:1:2", ("h", 1, 2)),
        ("[fd00::1]:8001", ("fd00::1", 8001, None)),
        ("[fd00::1]:8001:8000", ("fd00::1", 8001, 8000)),
    ],
)
def test_a_backend_is_a_host_with_one_or_two_ports(text: str, parts: tuple[str, int, int | None]) -> None:
    assert split_backend(text) == parts


@pytest.mark.parametrize("text", ["", "h", "8001:8000", "h:0", "h:1:0", "h:1:70000", "h:x", "h:1:x", "fd00::1:8001"])
def test_a_malformed_backend_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"proxy\.backends"):
        load(ProxySettings, flags={"backends": (text,)})


@pytest.mark.parametrize(
    ("field", "value", "pattern"),
    [
        ("host", "localhost", "IP address"),
        ("governator", "nowhere", "unix:/path"),
        ("rate_limit_service", "nowhere", "host:port"),
        ("otlp", "nowhere", "host:port"),
        ("otlp_percent", 101, "otlp_percent"),
        ("access_log", "calls.log", "absolute path"),
        ("port", 70000, "port"),
        ("lease_duration", 0.1, "lease_duration"),
    ],
)
def test_a_wrong_value_is_refused_with_the_field(field: str, value: object, pattern: str) -> None:
    with pytest.raises(InvalidInput, match=pattern):
        load(ProxySettings, flags={field: value})


@pytest.mark.parametrize("where", ["", "unix:/run/g.sock", "10.0.0.1:8090", "governator:8090"])
def test_a_governator_is_an_address_a_socket_or_absent(where: str) -> None:
    assert load(ProxySettings, flags={"governator": where}).value.governator == where


def test_a_global_limit_needs_somebody_who_counts(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    model = "  models:\n    m:\n      rate: {calls: 5, scope: global}\n"
    file.write_text(f"proxy:\n{model}")
    with pytest.raises(InvalidInput, match=r"m\.rate\.scope global needs proxy\.rate_limit_service"):
        load(ProxySettings, file=file)
    file.write_text(f"proxy:\n  rate_limit_service: limits.example:8081\n{model}")
    assert load(ProxySettings, file=file).value.rate_limits_at == Address("limits.example", 8081)


def test_calls_are_recorded_where_somebody_asked_for_it() -> None:
    silent = ProxySettings()
    assert (silent.access_log_file, silent.traces) == ("", None)
    asked = ProxySettings(access_log="stdout", otlp="collector.example:4317", otlp_percent=5)
    assert asked.access_log_file == "/dev/stdout"
    assert asked.traces == Traces(Address("collector.example", 4317), 5)
    assert ProxySettings(access_log="/var/log/calls").access_log_file == "/var/log/calls"


def test_nobody_is_asked_who_has_nothing_to_count() -> None:
    for where in ("10.0.0.1:8081", ""):
        assert ProxySettings(rate_limit_service=where).rate_limits_at is None


@pytest.mark.parametrize(("host", "insecure"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)])
def test_loopback_needs_no_permission_and_a_network_needs_it(host: str, insecure: bool) -> None:
    ProxySettings(host=host, insecure=insecure).refuse_exposure()


TLS: dict[str, Any] = {"tls_certificate": Path("/c.pem"), "tls_key": Path("/k.pem")}


@pytest.mark.parametrize(
    ("given", "lacking", "fix"),
    [
        ({}, "without TLS and authentication", "Give --tls-certificate and --tls-key and proxy.clients"),
        (TLS, "without authentication", "Give proxy.clients, proxy.jwt or --client-ca"),
    ],
)
def test_a_network_without_protection_is_refused(given: dict[str, Any], lacking: str, fix: str) -> None:
    with pytest.raises(InvalidInput, match=r"0\.0\.0\.0") as refused:
        ProxySettings(host="0.0.0.0", **given).refuse_exposure()
    assert lacking in refused.value.message
    assert refused.value.fix.startswith(fix)
    assert "--insecure" in refused.value.fix


def test_a_network_may_be_served_over_tls_to_clients_that_are_known() -> None:
    settings = ProxySettings(host="0.0.0.0", client_ca=Path("/ca.pem"), **TLS)
    settings.refuse_exposure()
    assert settings.authenticates


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"tls_key": Path("/k.pem")}, "belong together"),
        ({"client_ca": Path("/ca.pem")}, "client_ca needs"),
        ({"port": 8443, "mesh_port": 8443}, "choose another"),
        ({"trust_domain": "Two Words"}, "is not a trust domain"),
        ({"mesh_host": "example.org"}, "must be an IP address"),
        ({"mesh_names": "a.example,b.example:80"}, "'b.example:80' is neither a DNS name nor an IP address"),
    ],
)
def test_what_contradicts_itself_about_doors_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=why):
        ProxySettings(**given)


def test_a_mesh_port_is_an_address_or_none() -> None:
    assert ProxySettings().mesh is None
    assert ProxySettings(mesh_port=8443).mesh == Address("127.0.0.1", 8443)


def test_the_data_folder_follows_the_xdg_rules() -> None:
    assert ProxySettings().directory({"XDG_DATA_HOME": "/x"}) == Path("/x/inferno/proxy")
    assert ProxySettings().directory({"HOME": "/home/u"}) == Path("/home/u/.local/share/inferno/proxy")
    assert ProxySettings(data_dir=Path("/d")).directory({}) == Path("/d")


def test_a_data_folder_too_deep_for_sockets_is_refused() -> None:
    with pytest.raises(InvalidInput, match="sockets"):
        ProxySettings(data_dir=Path("/" + "x" * 90)).directory()


def test_the_priority_header_is_the_name_of_a_header() -> None:
    assert ProxySettings(priority_header="X-Priority").priority_header == "X-Priority"
    with pytest.raises(pydantic.ValidationError, match="it must be the name of a header"):
        ProxySettings(priority_header="no header")


def test_a_rule_that_contradicts_what_holds_for_every_model_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text(
        "proxy:\n  models:\n    '*': {balance: maglev, hash_on: address}\n"
        "    m: {retries: 1}\n    n:\n      slow_start: 3\n"
    )
    with pytest.raises(InvalidInput) as caught:
        load(ProxySettings, file=file)
    assert caught.value.message == (
        f"{file}:5: proxy.models.n: with what '*' says, slow_start needs balance least_request or round_robin, "
        "not maglev."
    )


@pytest.mark.parametrize(
    "rule",
    [
        "{timeout: 1.0e+12}",
        "{timeout: .inf}",
        "{max_wait: 1.0e+12}",
        "{max_concurrency: 4294967296}",
        "{max_request_bytes: 9223372036854775808}",
        "{rate: {calls: 4294967296}}",
    ],
)
def test_what_no_data_plane_can_hold_is_refused(tmp_path: Path, rule: str) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text(f"proxy:\n  models:\n    m: {rule}\n")
    with pytest.raises(InvalidInput, match=r"yaml:3: .* should be (less|a finite|a valid)"):
        load(ProxySettings, file=file)


def test_an_alias_of_an_alias_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text("proxy:\n  aliases:\n    fine: model\n    first: second\n    second: model\n")
    with pytest.raises(InvalidInput, match="which is an alias itself: name the model") as caught:
        load(ProxySettings, file=file)
    assert str(caught.value).startswith(f"{file}:4: proxy: ")
