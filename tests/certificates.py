"""Certificates for tests, made by the product's own CA, and the files they lie in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from inferno_runtime.identity.authority import Authority, Grant, KeyPair, make_authority, make_request
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName

DOMAIN = "inferno"
NOW = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate and its key as files."""

    certificate: Path
    key: Path


def authority(now: float = NOW) -> Authority:
    """A new CA."""
    return Authority.load(make_authority(DOMAIN, now))


def issued(by: Authority, name: str = "", *hosts: str, now: float = NOW, seconds: float = 86_400) -> KeyPair:
    """A new key and its certificate; ``name`` is ``role/name``."""
    request = make_request()
    member = MeshName.parse(f"spiffe://{DOMAIN}/{name}") if name else None
    return KeyPair(by.sign(request.csr, Grant(member, hosts, seconds), now), request.key)


def written(folder: Path, pair: KeyPair, mode: int = 0o600) -> Files:
    """The pair in ``folder``."""
    files = Files(folder / "certificate.pem", folder / "key.pem")
    files.certificate.write_bytes(pair.certificate)
    files.key.write_bytes(pair.key)
    files.key.chmod(mode)
    return files


def identity(folder: Path, by: Authority, pair: KeyPair) -> IdentityFolder:
    """The pair as a member keeps it."""
    made = IdentityFolder(folder)
    made.write(pair.certificate, pair.key, by.trusted)
    return made


def weak_rsa_key() -> rsa.RSAPrivateKey:
    """A key that TLS peers refuse."""
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is what it is for
