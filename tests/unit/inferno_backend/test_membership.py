from __future__ import annotations

from pathlib import Path

import pytest

from inferno_backend.joining import read_token
from inferno_backend.link import PLAIN, Link
from inferno_backend.membership import Membership
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.join_token import JoinToken
from tests.certificates import NOW, authority, identity, issued

PROXIES = ("127.0.0.1:1",)


def membership(folder: Path, token: Path | None = None, proxies: tuple[str, ...] = PROXIES) -> Membership:
    return Membership(IdentityFolder(folder / "identity"), "gpu-7", proxies, token, ManualClock(wall=NOW))


async def test_a_node_without_token_and_certificate_goes_in_the_clear(tmp_path: Path) -> None:
    made = membership(tmp_path)
    made.begin()
    assert made.link.value == PLAIN
    await made.run()


async def test_a_node_that_nobody_is_to_know_of_needs_no_certificate(tmp_path: Path) -> None:
    made = membership(tmp_path, tmp_path / "token", ())
    made.begin()
    assert made.link.value == PLAIN


def test_a_node_with_a_token_waits_until_it_has_joined(tmp_path: Path) -> None:
    made = membership(tmp_path, tmp_path / "token")
    made.begin()
    assert made.link.value is None


def test_a_certificate_that_is_there_is_used(tmp_path: Path) -> None:
    ca = authority()
    pair = issued(ca, "node/gpu-7")
    identity(tmp_path / "identity", ca, pair)
    made = membership(tmp_path)
    made.begin()
    assert made.link.value == Link(ca.trusted, pair.certificate, pair.key)
    assert "PRIVATE KEY" not in repr(made.link.value)


def test_a_certificate_of_no_use_needs_a_token(tmp_path: Path) -> None:
    ca = authority()
    identity(tmp_path / "identity", ca, issued(ca, "node/gpu-7", now=NOW - 90_000))
    with pytest.raises(InvalidInput) as refused:
        membership(tmp_path).begin()
    assert refused.value.reason == "CERTIFICATE_EXPIRED"
    made = membership(tmp_path, tmp_path / "token")
    made.begin()
    assert made.link.value is None


@pytest.mark.parametrize("name", ["node/gpu-8", "proxy/gpu-7", ""])
@pytest.mark.parametrize("token", [True, False])
def test_a_certificate_of_another_is_never_replaced(tmp_path: Path, name: str, *, token: bool) -> None:
    ca = authority()
    identity(tmp_path / "identity", ca, issued(ca, name, "host"))
    with pytest.raises(InvalidInput) as refused:
        membership(tmp_path, tmp_path / "token" if token else None).begin()
    assert refused.value.reason == "OTHER_NODE"
    assert "not of node gpu-7" in refused.value.message


def test_a_token_is_read_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path, token = tmp_path / "token", JoinToken.make("0" * 64)

    def refusal() -> str:
        with pytest.raises(InvalidInput) as refused:
            read_token(path)
        assert token.secret not in refused.value.sentence()
        return refused.value.reason

    assert refusal() == "TOKEN_UNREADABLE"
    path.write_text(f"{token}\n")
    path.chmod(0o640)
    assert refusal() == "TOKEN_EXPOSED"
    path.chmod(0o600)
    assert read_token(path) == token
    path.write_bytes(b"\xff\xfe")
    assert refusal() == "BAD_TOKEN"
