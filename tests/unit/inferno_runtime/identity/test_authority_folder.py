from __future__ import annotations

import stat
from pathlib import Path

import pytest

from inferno_runtime.errors import AlreadyExists, InfernoError, InvalidInput
from inferno_runtime.identity.authority import AUTHORITY_SECONDS
from inferno_runtime.identity.authority_folder import AuthorityFolder
from tests.certificates import NOW, authority


def refused(folder: AuthorityFolder, reason: str, domain: str = "inferno", now: float = NOW) -> str:
    with pytest.raises(InfernoError) as error:
        folder.open(domain, now)
    assert error.value.reason == reason
    return error.value.sentence()


def test_the_first_need_makes_an_authority_and_the_next_ones_find_it(tmp_path: Path) -> None:
    folder = AuthorityFolder(tmp_path / "data" / "authority")
    assert not folder.exists
    made = folder.open_or_create("inferno", NOW)
    assert folder.open_or_create("inferno", NOW).trusted == made.trusted
    assert made.domain == "inferno"
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.key.stat().st_mode) == 0o600
    assert [entry.name for entry in folder.path.parent.iterdir()] == ["authority"]


def test_an_authority_is_never_replaced(tmp_path: Path) -> None:
    folder = AuthorityFolder(tmp_path / "authority")
    folder.create("inferno", NOW)
    kept = folder.key.read_bytes()
    with pytest.raises(AlreadyExists) as error:
        folder.create("inferno", NOW)
    assert error.value.reason == "AUTHORITY_EXISTS"
    assert folder.key.read_bytes() == kept


def test_what_an_interrupted_creation_left_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = AuthorityFolder(tmp_path / "authority")
    (tmp_path / "authority.new").mkdir()
    (tmp_path / "authority.new" / "ca-key.pem").write_bytes(b"half")
    folder.path.mkdir()
    folder.create("inferno", NOW)
    assert folder.open("inferno", NOW).domain == "inferno"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = AuthorityFolder(tmp_path / "authority")
    folder.path.mkdir()
    (folder.path / "other").touch()
    with pytest.raises(InvalidInput) as error:
        folder.create("inferno", NOW)
    assert error.value.reason == "FOLDER_UNWRITABLE"
    assert str(folder.path) in error.value.message


def test_what_is_wrong_with_the_authority_is_said(tmp_path: Path) -> None:
    folder = AuthorityFolder(tmp_path / "authority")
    folder.create("inferno", NOW)
    assert "'inferno', not for 'other'" in refused(folder, "OTHER_TRUST_DOMAIN", "other")
    refused(folder, "CERTIFICATE_EXPIRED", now=NOW + AUTHORITY_SECONDS)
    folder.key.chmod(0o644)
    refused(folder, "KEY_EXPOSED")
    folder.key.unlink()
    assert folder.exists
    refused(folder, "FILE_UNREADABLE")


def test_members_may_trust_another_authority_as_well(tmp_path: Path) -> None:
    folder = AuthorityFolder(tmp_path / "authority")
    own = folder.create("inferno", NOW).trusted
    folder.certificate.write_bytes(own + authority().trusted)
    made = folder.open("inferno", NOW)
    assert made.trusted.startswith(own)
    assert len(made.trusted) > len(own)


def test_a_certificate_that_is_no_authority_is_refused(tmp_path: Path) -> None:
    folder = AuthorityFolder(tmp_path / "authority")
    folder.create("inferno", NOW)
    folder.certificate.write_bytes(authority().trusted)
    with pytest.raises(InvalidInput) as error:
        folder.open("inferno", NOW)
    assert error.value.reason == "KEY_MISMATCH"
