from __future__ import annotations

from pathlib import Path

import pytest

from inferno_proxy.identity.certificates import Certificates
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.preflight import check_identity
from tests.certificates import NOW, authority, issued, written

CLOCK = ManualClock(wall=NOW + 1)


def test_without_settings_there_is_none(tmp_path: Path) -> None:
    Certificates(ProxySettings(), Layout(tmp_path), CLOCK).prepare()
    assert list(tmp_path.iterdir()) == []


def test_a_mesh_port_brings_a_ca_and_an_identity(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    Certificates(ProxySettings(mesh_port=8443, mesh_names=("p.example",), trust_domain="east"), layout, CLOCK).prepare()
    assert AuthorityFolder(layout.authority).exists
    found = check_identity(IdentityFolder(layout.identity), NOW + 2)
    assert found.names[0].startswith("spiffe://east/proxy/")
    assert {"127.0.0.1", "p.example"} <= set(found.names)
    # Without the port the identity stays, for nodes that take TLS only.
    assert Certificates(ProxySettings(trust_domain="east"), layout, CLOCK).own is not None


def test_it_is_told_when_each_certificate_ends(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "", "a.example", seconds=3600))
    settings = ProxySettings(tls_certificate=files.certificate, tls_key=files.key, mesh_port=8443)
    made = Certificates(settings, Layout(tmp_path), CLOCK)
    assert made.ends() == {}
    made.prepare()
    ca = AuthorityFolder(Layout(tmp_path).authority).read(NOW + 2)
    own = check_identity(IdentityFolder(Layout(tmp_path).identity), NOW + 2)
    expected = {"public": NOW + 3600, "proxy": own.not_after, "authority": ca.ends}
    assert made.ends() == expected
    assert own.not_after < ca.ends
    # The next life finds them as they are.
    later = Certificates(settings, Layout(tmp_path), CLOCK)
    later.prepare()
    assert later.ends() == expected
    assert Certificates(ProxySettings(), Layout(tmp_path / "none"), CLOCK).ends() == {}


def test_the_ca_of_another_mesh_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    AuthorityFolder(layout.authority).create("west", NOW)
    with pytest.raises(InvalidInput, match="signs for the trust domain 'west'"):
        Certificates(ProxySettings(mesh_port=8443), layout, CLOCK)


def test_the_operators_certificate_is_looked_at_before_anything_starts(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "", "a.example", seconds=1))
    settings = ProxySettings(tls_certificate=files.certificate, tls_key=files.key)
    with pytest.raises(InvalidInput) as refused:
        Certificates(settings, Layout(tmp_path), CLOCK).prepare()
    assert refused.value.reason == "CERTIFICATE_EXPIRED"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "", "a.example"))
    (tmp_path / "served").write_text("in the way")
    settings = ProxySettings(tls_certificate=files.certificate, tls_key=files.key)
    with pytest.raises(InvalidInput) as refused:
        Certificates(settings, Layout(tmp_path), CLOCK).prepare()
    assert refused.value.reason == "FOLDER_UNWRITABLE"
