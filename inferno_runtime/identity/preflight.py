"""Certificates and keys looked at before anything uses them: each mistake is one sentence with its remedy.

Envoy takes an expired certificate without a word, and a key that does not fit only shows as refused connections, so
what a process is given is read here first. Times are Unix seconds.
"""

from __future__ import annotations

import itertools
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import NameOID

from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LEAST_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
# What is left of a life when somebody should be told: half is when the mesh renews, so a fifth means that it failed.
_WARN_AT = 0.2


@dataclass(frozen=True, slots=True)
class Facts:
    """What people want to know of a certificate; times in Unix seconds."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    serial: str
    authority: bool

    def warning(self, now: float) -> str:
        """One sentence when less than a fifth of its life is left, else nothing."""
        left = self.not_after - now
        if left > _WARN_AT * (self.not_after - self.not_before):
            return ""
        return f"The certificate of {self.label} ends {moment(self.not_after)}, in {_span(left)}."

    @property
    def label(self) -> str:
        """Its first name, or its subject."""
        return self.names[0] if self.names else self.subject


def check_pair(certificate: Path, key: Path, now: float, *, chained: bool = True) -> Facts:
    """Check a certificate and its key, as a server or client would use them.

    Args:
        certificate: PEM; unless ``chained`` is false, those that lead to its CA come after it, each signed by the next.
        key: PEM.
        now: Unix seconds.
        chained: False for a file whose further certificates stand for themselves.

    Raises:
        InvalidInput: FILE_UNREADABLE, NOT_PEM, KEY_EXPOSED, KEY_ENCRYPTED, KEY_WEAK, KEY_MISMATCH, CHAIN_BROKEN,
            CERTIFICATE_EXPIRED or CERTIFICATE_NOT_YET_VALID.
    """
    chain = _certificates(certificate)
    fits = _public_key(key)
    leaf = chain[0]
    if not same_key(leaf.public_key(), fits):
        raise InvalidInput(
            f"The key {key} does not belong to the certificate {certificate}.",
            reason="KEY_MISMATCH",
            fix="Give the key that the certificate was made for; the certificate itself comes first in its file.",
        )
    if chained:
        _in_order(chain, certificate)
    for each in chain:
        _valid_now(each, certificate, now)
    return facts(leaf)


def check_authority(path: Path, now: float) -> tuple[Facts, ...]:
    """Check a file of CA certificates (PEM) that peers are checked against.

    Raises:
        InvalidInput: FILE_UNREADABLE, NOT_PEM, NOT_AN_AUTHORITY, CERTIFICATE_EXPIRED or CERTIFICATE_NOT_YET_VALID.
    """
    found = _certificates(path)
    for each in found:
        if not facts(each).authority:
            raise InvalidInput(
                f"{path} holds the certificate of {facts(each).label}, which is no CA: it signs nothing.",
                reason="NOT_AN_AUTHORITY",
                fix="Give the certificate of the CA that signed those of the peers.",
            )
        _valid_now(each, path, now)
    return tuple(facts(each) for each in found)


def check_identity(folder: IdentityFolder, now: float) -> Facts:
    """Check an identity: its pair, its CA, and that the one comes from the other.

    Raises:
        InvalidInput: As :func:`check_pair` and :func:`check_authority`, or FOREIGN_AUTHORITY.
    """
    found = check_pair(folder.certificate, folder.key, now)
    check_authority(folder.authority, now)
    last = _certificates(folder.certificate)[-1]
    if not any(_signed(last, each) for each in _certificates(folder.authority)):
        raise InvalidInput(
            f"The certificate in {folder.path} was not signed by the CA beside it.",
            reason="FOREIGN_AUTHORITY",
            fix=f"Remove {folder.path} and join the mesh again.",
        )
    return found


def facts(certificate: x509.Certificate) -> Facts:
    """What a certificate says."""
    return Facts(
        subject=_name(certificate.subject),
        issuer=_name(certificate.issuer),
        names=_alternative_names(certificate),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        serial=f"{certificate.serial_number:x}",
        authority=_is_authority(certificate),
    )


def facts_in(path: Path) -> tuple[Facts, ...]:
    """What the certificates in a PEM file say.

    Raises:
        InvalidInput: FILE_UNREADABLE or NOT_PEM.
    """
    return tuple(facts(each) for each in _certificates(path))


def facts_of(pem: bytes) -> Facts:
    """What the first certificate of a PEM file says.

    Raises:
        InvalidInput: NOT_PEM.
    """
    return facts(_parsed(pem, "What should be a certificate")[0])


def same_key(one: PublicKeyTypes, other: PublicKeyTypes) -> bool:
    """True when two public keys are one."""
    return key_info(one) == key_info(other)


def key_info(key: PublicKeyTypes) -> bytes:
    """A public key in the one form it has: SubjectPublicKeyInfo, DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def check_strength(key: object, whose: str) -> None:
    """Refuse a key that TLS peers refuse: Envoy takes RSA from 2048 bits on and the three NIST curves.

    Raises:
        InvalidInput: KEY_WEAK.
    """
    bits = getattr(key, "key_size", 0)
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and bits >= _LEAST_RSA_BITS:
        return
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return
    raise InvalidInput(
        f"{whose} is of a kind or size that TLS peers refuse.",
        reason="KEY_WEAK",
        fix=f"Use ECDSA on P-256, P-384 or P-521, or RSA with at least {_LEAST_RSA_BITS} bits.",
    )


def moment(seconds: float) -> str:
    """A Unix time for people, in UTC.

    >>> moment(0)
    '1970-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} seconds"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}.",
            reason="FILE_UNREADABLE",
            fix="Check the path and who may read it.",
        ) from error


def _certificates(path: Path) -> Sequence[x509.Certificate]:
    return _parsed(_read(path), str(path))


def _parsed(pem: bytes, what: str) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidInput(
            f"{what} holds no certificate that can be read.",
            reason="NOT_PEM",
            fix="Give a PEM file: it begins with -----BEGIN CERTIFICATE-----.",
        ) from error


def _public_key(path: Path) -> PublicKeyTypes:
    """The public half of a key that only its owner may read."""
    content = _read(path)
    if path.stat().st_mode & _OTHERS:
        raise InvalidInput(
            f"The key {path} is open to other users (mode {stat.S_IMODE(path.stat().st_mode):04o}).",
            reason="KEY_EXPOSED",
            fix=f"Run: chmod 600 {path}. If somebody may have read it, make a new one.",
        )
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise InvalidInput(
            f"The key {path} is locked with a passphrase, and nobody is there to give it.",
            reason="KEY_ENCRYPTED",
            fix="Keep it in a file of mode 0600 without a passphrase.",
        ) from error
    except ValueError as error:
        raise InvalidInput(
            f"{path} holds no private key that can be read.",
            reason="NOT_PEM",
            fix="Give a PEM file: it begins with -----BEGIN PRIVATE KEY-----.",
        ) from error
    check_strength(key, f"The key {path}")
    return key.public_key()


def _in_order(chain: Sequence[x509.Certificate], path: Path) -> None:
    for at, (each, signer) in enumerate(itertools.pairwise(chain), 1):
        if not _signed(each, signer):
            raise InvalidInput(
                f"{path}: certificate {at} is not signed by certificate {at + 1}, the one after it.",
                reason="CHAIN_BROKEN",
                fix="Put the server's own certificate first, and after each the one of its signer.",
            )


def _signed(each: x509.Certificate, signer: x509.Certificate) -> bool:
    try:
        each.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _valid_now(certificate: x509.Certificate, path: Path, now: float) -> None:
    found = facts(certificate)
    if now >= found.not_after:
        raise InvalidInput(
            f"{path}: the certificate of {found.label} expired {moment(found.not_after)}.",
            reason="CERTIFICATE_EXPIRED",
            fix="Put a new one in its place; if it should still be valid, check this machine's clock.",
        )
    if now < found.not_before:
        raise InvalidInput(
            f"{path}: the certificate of {found.label} is valid only from {moment(found.not_before)} on.",
            reason="CERTIFICATE_NOT_YET_VALID",
            fix="Check this machine's clock, or wait until then.",
        )


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """URIs first: they are what the mesh goes by."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
    return (*uris, *hosts)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
