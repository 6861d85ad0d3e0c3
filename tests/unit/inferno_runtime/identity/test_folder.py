from __future__ import annotations

import stat
from pathlib import Path

import pytest

from inferno_runtime.identity.folder import IdentityFolder


def read(folder: IdentityFolder) -> tuple[bytes, bytes, bytes]:
    return folder.certificate.read_bytes(), folder.key.read_bytes(), folder.authority.read_bytes()


def test_an_identity_is_replaced_whole_and_the_old_one_goes(tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path / "identity")
    for round_ in (b"1", b"2", b"3"):
        folder.write(b"certificate" + round_, b"key" + round_, b"ca" + round_)
        assert folder.exists
        assert read(folder) == (b"certificate" + round_, b"key" + round_, b"ca" + round_)
    assert len([entry for entry in folder.path.iterdir() if not entry.is_symlink()]) == 1


def test_before_the_first_identity_there_is_none(tmp_path: Path) -> None:
    assert not IdentityFolder(tmp_path / "identity").exists


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path / "identity")
    folder.write(b"a", b"b", b"c")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.key.stat().st_mode) == 0o600


def test_what_an_interrupted_write_left_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path)
    folder.write(b"a", b"b", b"c")
    (tmp_path / "current.new").symlink_to("2")
    (tmp_path / "2").mkdir()
    folder.write(b"d", b"e", b"f")
    assert read(folder) == (b"d", b"e", b"f")
    assert not (tmp_path / "2").exists()


def test_a_folder_that_cannot_be_written_keeps_the_old_identity(tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path)
    folder.write(b"a", b"b", b"c")
    (tmp_path / "current.new").mkdir()
    with pytest.raises(OSError, match=r"current\.new"):
        folder.write(b"d", b"e", b"f")
    assert read(folder) == (b"a", b"b", b"c")
