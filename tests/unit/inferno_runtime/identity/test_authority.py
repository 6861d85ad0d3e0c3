from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from inferno_runtime.errors import Denied, InvalidInput
from inferno_runtime.identity.authority import (
    AUTHORITY_SECONDS,
    NODE_HOST,
    Authority,
    Grant,
    KeyPair,
    make_authority,
    make_request,
    pinned,
)
from inferno_runtime.identity.names import MeshName, Role
from inferno_runtime.identity.preflight import facts
from tests.certificates import DOMAIN, NOW, authority, issued, weak_rsa_key

NODE = MeshName(DOMAIN, Role.NODE, "a")
CLIENT_AUTH, SERVER_AUTH = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"


def refusal(reason: str, made: Authority, csr: bytes, grant: Grant, now: float = NOW) -> str:
    with pytest.raises(InvalidInput) as error:
        made.sign(csr, grant, now)
    assert error.value.reason == reason
    return error.value.sentence()


def uses(pair: KeyPair) -> set[str]:
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return {use.dotted_string for use in found}


def test_a_new_authority_signs_for_ten_years_and_nothing_below_it_signs() -> None:
    pair = make_authority("mesh.example", NOW)
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    found = facts(certificate)
    assert found.authority
    assert found.names == ("spiffe://mesh.example",)
    assert found.not_after == NOW + AUTHORITY_SECONDS
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature


def test_a_long_domain_fits_into_the_subject() -> None:
    found = facts(x509.load_pem_x509_certificate(make_authority("d" * 255, NOW).certificate))
    assert found.subject == "CA of " + "d" * 58


def test_a_domain_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput) as error:
        make_authority("Mesh Example", NOW)
    assert error.value.reason == "BAD_NAME"


def test_a_certificate_says_what_was_granted_and_not_what_was_asked_for() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca = authority()
    signed = x509.load_pem_x509_certificate(
        ca.sign(csr.public_bytes(serialization.Encoding.PEM), Grant(NODE, ("10.0.0.7", "10.0.0.7"), 60), NOW)
    )
    found = facts(signed)
    assert found.names == ("spiffe://inferno/node/a", NODE_HOST, "10.0.0.7")
    assert found.subject == "O=Inferno"
    assert not found.authority
    assert (found.not_before, found.not_after) == (NOW - 300, NOW + 60)
    signed.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.trusted))


def test_members_that_serve_may_and_others_may_not() -> None:
    ca = authority()
    assert uses(issued(ca, "node/a")) == uses(issued(ca, "proxy/a")) == {CLIENT_AUTH, SERVER_AUTH}
    assert uses(issued(ca, "client/a")) == uses(issued(ca, "operator/a")) == {CLIENT_AUTH}
    assert uses(issued(ca, "", "proxy.example")) == {SERVER_AUTH}


def test_no_serial_number_comes_twice() -> None:
    ca = authority()
    serials = {facts(x509.load_pem_x509_certificate(issued(ca, "node/a").certificate)).serial for _ in range(8)}
    assert len(serials) == 8


def test_no_certificate_outlives_the_authority() -> None:
    ca = authority()
    late = NOW + AUTHORITY_SECONDS - 60
    assert facts(x509.load_pem_x509_certificate(issued(ca, "node/a", now=late).certificate)).not_after == late + 60
    said = refusal("AUTHORITY_EXPIRED", ca, make_request().csr, Grant(NODE), late + 60)
    assert "inferno cert init" in said


def test_a_request_that_is_none_is_refused() -> None:
    csr = make_request().csr
    other = make_request().csr
    # The signature of another request: the base64 of a request ends with it.
    forged = csr.splitlines()[:-2] + other.splitlines()[-2:]
    for bad in (b"", b"garbage", issued(authority(), "node/a").certificate, b"\n".join(forged)):
        refusal("BAD_REQUEST", authority(), bad, Grant(NODE))


@pytest.mark.parametrize("key", [weak_rsa_key(), ed25519.Ed25519PrivateKey.generate()])
def test_a_weak_key_is_refused(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    algorithm = hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey) else None
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)
    refusal("KEY_WEAK", authority(), csr.public_bytes(serialization.Encoding.PEM), Grant(NODE))


@pytest.mark.parametrize("host", ["", "a b", "proxy:8080", "http://a", "-a", "ä.example", "a..b", "x" * 300])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    refusal("BAD_NAME", authority(), make_request().csr, Grant(None, (host,)))


@pytest.mark.parametrize("host", ["localhost", "*.example.com", "proxy.example.com", "a_b.example"])
def test_a_host_may_be_a_name(host: str) -> None:
    certificate = x509.load_pem_x509_certificate(issued(authority(), "", host).certificate)
    assert facts(certificate).names == (host,)


def test_an_authority_is_read_back_only_with_its_own_key() -> None:
    one, other = make_authority(DOMAIN, NOW), make_authority(DOMAIN, NOW)
    assert Authority.load(one).trusted == one.certificate
    unfit = issued(authority(), "node/a")
    rsa_key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for certificate, key in (
        (one.certificate, other.key), (b"", one.key), (one.certificate, b""), (one.certificate, rsa_key),
        (unfit.certificate, one.key),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as error:
            Authority.load(KeyPair(certificate, key))
        assert error.value.reason == "BAD_AUTHORITY"


def test_the_authority_in_charge_comes_first_among_those_that_are_trusted() -> None:
    one, other = make_authority(DOMAIN, NOW), make_authority("other", NOW)
    both = Authority.load(KeyPair(one.certificate + other.certificate, one.key))
    assert both.trusted == one.certificate + other.certificate
    assert both.domain == DOMAIN
    assert both.pin == Authority.load(one).pin != Authority.load(other).pin
    with pytest.raises(InvalidInput):
        Authority.load(KeyPair(other.certificate + one.certificate, one.key))


def test_only_the_certificate_with_the_pin_is_taken_from_a_stranger() -> None:
    ca, other = authority(), authority()
    assert len(ca.pin) == 64
    assert pinned(other.trusted + ca.trusted, ca.pin) == ca.trusted
    for offered in (other.trusted, b"<html>", b""):
        with pytest.raises(Denied) as error:
            pinned(offered, ca.pin)
        assert error.value.reason == "WRONG_AUTHORITY"
