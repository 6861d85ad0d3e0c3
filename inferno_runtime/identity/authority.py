"""The mesh's own certificate authority: who holds its key says who is a member.

Certificates carry the member's name as a URI and live for a day, so that nothing has to be revoked: what is not renewed
ends (X509-SVID, https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md). Pure but for the randomness of keys
and serial numbers; times are Unix seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inferno_runtime.errors import Denied, InvalidInput
from inferno_runtime.identity.names import MeshName, Role, is_host
from inferno_runtime.identity.preflight import check_strength, facts, key_info, moment, same_key

LEAF_SECONDS = 24 * 3600.0
AUTHORITY_SECONDS = 10 * 365 * 86_400.0
# What a member calls the proxies by, whatever address it reaches them at: each proxy's certificate carries it. A name
# below .internal belongs to nobody (ICANN resolution 2024.07.29.06).
PROXY_HOST = "proxy.inferno.internal"
# What callers that compare host names only call every node; each node's certificate carries it.
NODE_HOST = "node.inferno.internal"
# Clocks of two machines differ: a certificate is valid for those that go behind, by this many seconds.
BACKDATED = 300.0
_AlternativeName = x509.UniformResourceIdentifier | x509.DNSName | x509.IPAddress
_SERVERS = (Role.NODE, Role.PROXY)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A certificate request and the key it was made with, both PEM."""

    csr: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Grant:
    """What a certificate says: a member's name, names or addresses of a server, or both; ``seconds`` it lives."""

    name: MeshName | None
    hosts: tuple[str, ...] = ()
    seconds: float = LEAF_SECONDS

    @property
    def names(self) -> frozenset[str]:
        """The names as the certificate has them.

        Raises:
            InvalidInput: BAD_NAME: a host is neither a DNS name nor an IP address.
        """
        return frozenset(str(each.value) for each in _names(self))


class Authority:
    """A CA, ready to sign. ``trusted`` holds its own certificate first, then those of CAs that members trust as well:
    an earlier one, whose certificates still live, or the next one."""

    def __init__(self, trusted: Sequence[x509.Certificate], key: ec.EllipticCurvePrivateKey) -> None:
        self._trusted = tuple(trusted)
        self._certificate = trusted[0]
        self._key = key

    @classmethod
    def load(cls, pair: KeyPair) -> Authority:
        """Read a CA back.

        Raises:
            InvalidInput: BAD_AUTHORITY: it cannot be read, is no CA of a mesh, or the two do not belong together.
        """
        try:
            trusted = x509.load_pem_x509_certificates(pair.certificate)
            key = serialization.load_pem_private_key(pair.key, None)
        except (ValueError, TypeError) as error:
            raise _bad_authority("cannot be read") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not same_key(trusted[0].public_key(), key.public_key()):
            raise _bad_authority("has a key of another certificate")
        if not facts(trusted[0]).authority or not _domain(trusted[0]):
            raise _bad_authority("has a certificate that names no trust domain")
        return cls(trusted, key)

    @property
    def trusted(self) -> bytes:
        """The certificates that members check one another against, PEM."""
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in self._trusted)

    @property
    def domain(self) -> str:
        """The trust domain it signs for."""
        return _domain(self._certificate)

    @property
    def pin(self) -> str:
        """Its public key in short: SHA-256 of the SubjectPublicKeyInfo, in hex. It outlives the CA's certificate."""
        return _pin(self._certificate)

    @property
    def ends(self) -> float:
        """When the CA's own certificate ends, in Unix seconds."""
        return facts(self._certificate).not_after

    def sign(self, csr: bytes, grant: Grant, now: float) -> bytes:
        """The certificate for a request, PEM. Of the request only the key counts; the names come from ``grant``.

        It ends with the CA at the latest.

        Raises:
            InvalidInput: BAD_REQUEST, KEY_WEAK, BAD_NAME, or AUTHORITY_EXPIRED.
        """
        key = _requested_key(csr)
        end = self._certificate.not_valid_after_utc
        if _time(now) >= end:
            raise InvalidInput(
                f"The mesh's CA expired {moment(end.timestamp())}: it signs nothing more.",
                reason="AUTHORITY_EXPIRED",
                fix="Make a new one with inferno cert init, and let every member join again.",
            )
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH] if grant.name else []
        if grant.name is None or grant.name.role in _SERVERS:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(self._certificate.subject, now, min(_time(now + grant.seconds), end))
            .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Inferno")]))
            .public_key(key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(_names(grant)), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_authority(domain: str, now: float, seconds: float = AUTHORITY_SECONDS) -> KeyPair:
    """A new CA for a trust domain, ECDSA on P-256.

    Raises:
        InvalidInput: BAD_NAME: the domain holds other characters than a SPIFFE ID may.
    """
    MeshName(domain, Role.PROXY, "any")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Inferno"),
            # A common name has at most 64 characters; the whole domain is in the URI.
            x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {domain[:58]}"),
        ]
    )
    certificate = (
        _builder(subject, now, _time(now + seconds))
        .subject_name(subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _private(key))


def make_request() -> Request:
    """A new key, ECDSA on P-256, and a request for a certificate; who signs it decides the names."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return Request(csr.public_bytes(serialization.Encoding.PEM), _private(key))


def pinned(trusted: bytes, pin: str) -> bytes:
    """The one certificate among those a stranger offers (PEM) whose key has the pin. The others prove nothing.

    Raises:
        Denied: WRONG_AUTHORITY: there is none.
    """
    try:
        offered = x509.load_pem_x509_certificates(trusted)
    except ValueError:
        offered = []
    for each in offered:
        if hmac.compare_digest(_pin(each), pin):
            return each.public_bytes(serialization.Encoding.PEM)
    raise Denied(
        "Whoever answers is not the mesh that the join token is for: its CA is another one.",
        reason="WRONG_AUTHORITY",
        fix="Check the address, and ask the mesh's operator for a token of that mesh.",
    )


def requested_pin(csr: bytes) -> str:
    """SHA-256 of the key in a certificate request, in hex.

    Raises:
        InvalidInput: BAD_REQUEST or KEY_WEAK.
    """
    return hashlib.sha256(key_info(_requested_key(csr))).hexdigest()


def _pin(certificate: x509.Certificate) -> str:
    return hashlib.sha256(key_info(certificate.public_key())).hexdigest()


def _domain(certificate: x509.Certificate) -> str:
    return next((name.removeprefix("spiffe://") for name in facts(certificate).names if name.count("/") == 2), "")


def _bad_authority(why: str) -> InvalidInput:
    return InvalidInput(
        f"The mesh's CA {why}.",
        reason="BAD_AUTHORITY",
        fix="Put its two files back from a backup, or make a new CA with inferno cert init.",
    )


def _requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(csr)
        valid = request.is_signature_valid
        key = request.public_key()
    except ValueError:
        valid, key = False, None
    if not valid:
        raise InvalidInput(
            "The certificate request cannot be read, or is not signed with its own key.",
            reason="BAD_REQUEST",
            fix="Send a PKCS #10 request in PEM.",
        )
    check_strength(key, "The key of the certificate request")
    # Whatever passed is one that the builder takes.
    return key  # type: ignore[return-value]


def _names(grant: Grant) -> list[_AlternativeName]:
    """The member's name, and the IP addresses and DNS names of a server, each once.

    Raises:
        InvalidInput: BAD_NAME.
    """
    found: dict[_AlternativeName, None] = {}
    if grant.name is not None:
        found[x509.UniformResourceIdentifier(str(grant.name))] = None
    for host in (*grant.hosts, NODE_HOST) if grant.name and grant.name.role is Role.NODE else grant.hosts:
        if not is_host(host):
            raise InvalidInput(
                f"{host[:64]!r} is neither a DNS name nor an IP address.",
                reason="BAD_NAME",
                fix="Write it like proxy.example.com or 10.0.0.7, without a port.",
            )
        try:
            found[x509.IPAddress(ipaddress.ip_address(host))] = None
        except ValueError:
            found[x509.DNSName(host)] = None
    return list(found)


def _builder(issuer: x509.Name, now: float, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now - BACKDATED))
        .not_valid_after(end)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _time(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))
