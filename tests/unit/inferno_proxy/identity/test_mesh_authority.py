from __future__ import annotations

from pathlib import Path

import pytest

from inferno_proxy.identity.mesh_authority import MeshAuthority
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Broken, InvalidInput, NotFound
from inferno_runtime.identity.authority_folder import AuthorityFolder


def test_strangers_cause_no_authority_to_be_made_and_learn_no_path(tmp_path: Path) -> None:
    folder = AuthorityFolder(tmp_path / "authority")
    authority = MeshAuthority(folder, "inferno", ManualClock())
    with pytest.raises(NotFound) as missing:
        authority.known()
    assert missing.value.reason == "NO_AUTHORITY"
    made = authority.made()
    assert authority.known().trusted == made.trusted == authority.made().trusted
    folder.key.chmod(0o644)
    with pytest.raises(Broken) as broken:
        authority.known()
    assert broken.value.reason == "AUTHORITY_UNUSABLE"
    assert str(tmp_path) not in broken.value.sentence()
    with pytest.raises(InvalidInput) as named:
        authority.made()
    assert str(folder.key) in named.value.sentence()
