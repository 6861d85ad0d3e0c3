"""What a node reads in its own certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferno_backend.sidecar.certificate import expired, mesh_of
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from tests.certificates import DOMAIN, NOW, authority, identity, issued


@pytest.fixture
def folder(tmp_path: Path) -> IdentityFolder:
    by = authority()
    return identity(tmp_path / "identity", by, issued(by, "node/gpu-7", seconds=60))


def test_the_mesh_is_the_one_its_name_says(folder: IdentityFolder) -> None:
    assert mesh_of(folder, "gpu-7") == DOMAIN


def test_a_certificate_of_another_member_is_refused(folder: IdentityFolder, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="gpu-7") as refused:
        mesh_of(folder, "gpu-8")
    assert "--node-id gpu-7" in refused.value.fix
    by = authority()
    client = identity(tmp_path / "client", by, issued(by, "client/gpu-7"))
    with pytest.raises(InvalidInput, match="client/gpu-7") as refused:
        mesh_of(client, "gpu-7")
    assert "--node-id" not in refused.value.fix


def test_one_that_has_ended_is_named(folder: IdentityFolder) -> None:
    assert expired(folder, NOW + 59) == ""
    said = expired(folder, NOW + 60)
    assert "node/gpu-7 expired 2023-11-14" in said


def test_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    nothing = IdentityFolder(tmp_path / "identity")
    with pytest.raises(InvalidInput, match="cannot be read"):
        mesh_of(nothing, "gpu-7")
    assert "cannot be read" in expired(nothing, NOW)
