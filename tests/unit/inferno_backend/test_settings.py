"""What can be set for a node, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from inferno_backend.settings import BackendSettings, check, default_data_dir
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.settings import load


def of(**flags: object) -> BackendSettings:
    return load(BackendSettings, flags=flags).value


def test_lists_and_labels_are_written_with_commas() -> None:
    settings = of(model="a,b", discovery_lb="h1:1,[fd00::7]:2", labels="team=vision, tier = 1")
    assert settings.model == ("a", "b")
    assert settings.discovery_lb == ("h1:1", "[fd00::7]:2")
    assert settings.labels == {"team": "vision", "tier": "1"}


def test_the_file_may_hold_lists_mappings_and_prices(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text("backend:\n  model: [a, b]\n  labels: {team: vision}\n  price_per_hour: 3.60\n")
    settings = load(BackendSettings, file=file).value
    assert settings.model == ("a", "b")
    assert settings.labels == {"team": "vision"}
    assert settings.price_micros_per_hour == 3_600_000


def test_a_price_is_exact() -> None:
    assert of(price_per_hour="0.000001").price_micros_per_hour == 1
    assert of(price_per_hour=Decimal("12.3456785")).price_micros_per_hour == 12_345_678


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        ({"node_id": "a b"}, "a node id has letters"),
        ({"discovery_lb": "nowhere"}, "'nowhere' is not host:port"),
        ({"triton_url": "h:0"}, "'h:0' is not host:port"),
        ({"labels": "novalue"}, "key=value"),
        ({"price_per_hour": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_refused_with_its_reason(flags: dict[str, object], pattern: str) -> None:
    with pytest.raises(InvalidInput, match=pattern):
        of(**flags)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({}, "BAD_CONFIG"),
        ({"triton_url": "h:1", "join_token_file": "t"}, "BAD_CONFIG"),
        ({"triton_url": "h:1", "model_repository": "/models"}, "BAD_CONFIG"),
        ({"triton_url": "h:1", "cache": "m", "cache_bytes": 1 << 20}, "BAD_CONFIG"),
        ({"model_repository": "/models", "cache": "m"}, "BAD_CONFIG"),
        ({"model_repository": "s3://b/models", "cache": "m", "cache_bytes": 1 << 20}, "BAD_CONFIG"),
        ({"model_repository": "/models", "host": "10.0.0.7"}, "INSECURE_BIND"),
        ({"model_repository": "/models", "host": "0.0.0.0", "insecure": True}, "BAD_CONFIG"),
        ({"model_repository": "/models", "page_host": "10.0.0.7"}, "INSECURE_BIND"),
        ({"triton_url": "h:1", "page_host": "0.0.0.0"}, "INSECURE_BIND"),
    ],
)
def test_what_does_not_fit_together_is_refused(flags: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(of(**flags))
    assert refused.value.reason == reason
    assert refused.value.fix


@pytest.mark.parametrize(
    "flags",
    [
        {"model_repository": "/models"},
        {"triton_url": "10.0.0.7:8001"},
        {"model_repository": "/models", "cache": "m", "cache_bytes": 1 << 20},
        {"model_repository": "/models", "host": "10.0.0.7", "insecure": True},
        {"model_repository": "/models", "host": "::", "insecure": True, "advertise_host": "gpu-7"},
        {"model_repository": "/models", "page_host": "10.0.0.7", "insecure": True},
        {"model_repository": "/models", "page_host": "10.0.0.7", "page_port": -1},
    ],
)
def test_what_fits_together_is_taken(flags: dict[str, object]) -> None:
    check(of(**flags))


def test_a_node_with_an_identity_takes_tls_beyond_loopback_unless_somebody_insists(tmp_path: Path) -> None:
    flags: dict[str, object] = {"model_repository": "/models", "data_dir": str(tmp_path), "host": "10.0.0.7"}
    IdentityFolder(tmp_path / "identity").write(b"", b"", b"")
    check(of(**flags))
    assert of(**flags).secured
    assert not of(**flags, insecure=True).secured
    assert not of(**{**flags, "host": "127.0.0.1"}).secured
    page = of(**{**flags, "host": "127.0.0.1", "page_host": "0.0.0.0"})
    check(page)
    assert page.page_secured
    assert not page.secured
    with pytest.raises(InvalidInput, match="every address"):
        check(of(**{**flags, "host": "0.0.0.0"}))


def test_the_data_folder_follows_the_xdg_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/inferno/backend")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert default_data_dir() == Path("/somewhere/.local/share/inferno/backend")
