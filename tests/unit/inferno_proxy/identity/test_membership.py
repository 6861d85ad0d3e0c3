"""What a proxy knows of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferno_proxy.identity.membership import Membership
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.secrets import own_certificate
from tests.certificates import DOMAIN, authority, identity, issued


def test_a_proxy_without_an_identity_is_no_member(tmp_path: Path) -> None:
    assert Membership.read(tmp_path / "identity") is None


def test_its_mesh_is_the_one_of_its_certificate_and_envoy_can_read_it(tmp_path: Path) -> None:
    by = authority()
    folder = identity(tmp_path / "identity", by, issued(by, "proxy/p"))
    assert Membership.read(folder.path) == Membership(folder, DOMAIN)
    assert own_certificate(folder).path.exists()


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    by = authority()
    folder = identity(tmp_path / "identity", by, issued(by, "proxy/p"))
    folder.certificate.write_text("what")
    with pytest.raises(InvalidInput, match=r"certificate\.pem cannot be used"):
        Membership.read(folder.path)
