"""An identity as Envoy reads it."""

from __future__ import annotations

import json
from pathlib import Path

from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.secrets import own_certificate, peer_authority, write_secrets


def test_the_files_name_those_of_the_identity_and_the_folder_to_watch(tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path)
    write_secrets(folder)
    (own,) = json.loads(own_certificate(folder).path.read_text())["resources"]
    (peers,) = json.loads(peer_authority(folder).path.read_text())["resources"]
    assert own["name"] == own_certificate(folder).name
    assert own["tls_certificate"]["private_key"] == {"filename": str(folder.key)}
    assert own["tls_certificate"]["certificate_chain"] == {"filename": str(folder.certificate)}
    assert peers["validation_context"]["trusted_ca"] == {"filename": str(folder.authority)}
    watched = {"path": str(tmp_path)}
    assert own["tls_certificate"]["watched_directory"] == watched == peers["validation_context"]["watched_directory"]


def test_files_that_say_it_already_stay_as_they_are(tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path)
    write_secrets(folder)
    before = own_certificate(folder).path.stat().st_ino
    write_secrets(folder)
    assert own_certificate(folder).path.stat().st_ino == before
    own_certificate(folder).path.write_text("{}")
    write_secrets(folder)
    assert "resources" in own_certificate(folder).path.read_text()
