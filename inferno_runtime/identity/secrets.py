"""An identity as Envoy reads it: files that name its files (file-based SDS), which Envoy watches.

A certificate named in a cluster or listener itself would stay as it was when Envoy started; one that comes as a secret
is read again when ``watched_directory`` sees a file move there. Source: ``TlsCertificate.watched_directory`` in
envoy/extensions/transport_sockets/tls/v3/common.proto. Only the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inferno_runtime.identity.folder import IdentityFolder

_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret: its ``name``, and the file that it is in (an ``envoy.service.discovery.v3.DiscoveryResponse``)."""

    name: str
    path: Path


def own_certificate(folder: IdentityFolder) -> Secret:
    """The identity's certificate and key."""
    return Secret("identity", folder.path / "identity.json")


def peer_authority(folder: IdentityFolder) -> Secret:
    """The CA certificates that peers are checked against."""
    return Secret("authority", folder.path / "authority.json")


def write_secrets(folder: IdentityFolder) -> None:
    """Write both files beside the identity; they hold paths only and change only when the folder moves.

    Raises:
        OSError: The folder cannot be written.
    """
    watched = {"watched_directory": {"path": str(folder.path)}}
    pair = {"certificate_chain": {"filename": str(folder.certificate)}, "private_key": {"filename": str(folder.key)}}
    _write(own_certificate(folder), {"tls_certificate": {**pair, **watched}})
    _write(
        peer_authority(folder), {"validation_context": {"trusted_ca": {"filename": str(folder.authority)}, **watched}}
    )


def _write(secret: Secret, body: Mapping[str, object]) -> None:
    text = json.dumps({"resources": [{"@type": _TYPE, "name": secret.name, **body}]}, indent=2) + "\n"
    if secret.path.exists() and secret.path.read_text(encoding="utf-8") == text:
        return
    partial = secret.path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(secret.path)
