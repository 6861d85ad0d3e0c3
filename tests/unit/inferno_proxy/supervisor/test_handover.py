from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferno_proxy.fleet import Address
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver

LISTEN = Address("127.0.0.1", 8080)
TLS: dict[str, Any] = {"tls_certificate": Path("/c.pem"), "tls_key": Path("/k.pem")}


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ({}, {}, True),
        ({}, {"region": "eu"}, True),
        (TLS, TLS, True),
        ({}, TLS, False),
        (TLS, {}, False),
        (TLS, {**TLS, "client_ca": Path("/ca.pem")}, False),
        ({"mesh_port": 8443}, {}, False),
    ],
)
def test_doors_are_the_same_when_they_are_protected_alike(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], same: bool
) -> None:
    HandOver(ProxySettings(**before), LISTEN).write(tmp_path / "plan")
    assert HandOver.has_doors_of(tmp_path / "plan", ProxySettings(**after)) is same


@pytest.mark.parametrize("kept", [None, "{", "{}"])
def test_what_cannot_be_read_has_no_doors(tmp_path: Path, kept: str | None) -> None:
    if kept is not None:
        (tmp_path / "plan").write_text(kept)
    assert not HandOver.has_doors_of(tmp_path / "plan", ProxySettings())
