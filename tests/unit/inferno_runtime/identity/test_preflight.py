from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.authority import KeyPair
from inferno_runtime.identity.preflight import check_authority, check_identity, check_pair, facts
from tests.certificates import NOW, authority, identity, issued, weak_rsa_key, written

DAY = 86_400.0


def refused(reason: str, certificate: Path, key: Path, now: float = NOW) -> str:
    with pytest.raises(InvalidInput) as error:
        check_pair(certificate, key, now)
    assert error.value.reason == reason
    assert error.value.fix
    assert str(certificate) in error.value.message or str(key) in error.value.message
    return error.value.sentence()


def test_a_good_pair_tells_its_names_and_its_end(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "proxy/a", "proxy.example", "10.0.0.7", "::1"))
    found = check_pair(files.certificate, files.key, NOW)
    assert found.names == ("spiffe://inferno/proxy/a", "proxy.example", "10.0.0.7", "::1")
    assert (found.not_before, found.not_after) == (NOW - 300, NOW + DAY)
    assert found.issuer == "CA of inferno"
    assert found.subject == "O=Inferno"
    assert not found.authority
    assert found.serial


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "node/a"))
    said = refused("CERTIFICATE_EXPIRED", files.certificate, files.key, NOW + DAY)
    assert "spiffe://inferno/node/a expired 2023-11-15 22:13:20 UTC" in said


def test_a_certificate_of_tomorrow_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "node/a"))
    assert "clock" in refused("CERTIFICATE_NOT_YET_VALID", files.certificate, files.key, NOW - 301)


def test_a_clock_that_goes_behind_by_minutes_is_borne(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "node/a"))
    check_pair(files.certificate, files.key, NOW - 300)


def test_another_key_is_refused(tmp_path: Path) -> None:
    ca = authority()
    files = written(tmp_path, KeyPair(issued(ca, "node/a").certificate, issued(ca, "node/a").key))
    assert "does not belong" in refused("KEY_MISMATCH", files.certificate, files.key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    files = written(tmp_path, issued(authority(), "node/a"), mode)
    said = refused("KEY_EXPOSED", files.certificate, files.key)
    assert f"mode {mode:04o}" in said
    assert f"chmod 600 {files.key}" in said


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "node/a"))
    assert "No such file" in refused("FILE_UNREADABLE", tmp_path / "none.pem", files.key)
    assert "No such file" in refused("FILE_UNREADABLE", files.certificate, tmp_path / "none.pem")
    assert "Is a directory" in refused("FILE_UNREADABLE", tmp_path, files.key)


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_pem_is_refused(tmp_path: Path, content: bytes) -> None:
    files = written(tmp_path, issued(authority(), "node/a"))
    other = tmp_path / "other.pem"
    other.write_bytes(content)
    other.chmod(0o600)
    refused("NOT_PEM", other, files.key)
    refused("NOT_PEM", files.certificate, other)


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "node/a"))
    files.key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    refused("KEY_ENCRYPTED", files.certificate, files.key)


@pytest.mark.parametrize(
    "key",
    [
        weak_rsa_key(),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_a_key_that_peers_refuse_is_refused(
    tmp_path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    files = written(tmp_path, issued(authority(), "node/a"))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    refused("KEY_WEAK", files.certificate, files.key)


def test_a_chain_leads_from_one_signer_to_the_next(tmp_path: Path) -> None:
    ca, other = authority(), authority()
    pair = issued(ca, "node/a")
    good = written(tmp_path, KeyPair(pair.certificate + ca.trusted, pair.key))
    assert check_pair(good.certificate, good.key, NOW).label == "spiffe://inferno/node/a"
    bad = written(tmp_path, KeyPair(pair.certificate + other.trusted, pair.key))
    assert "certificate 1 is not signed by certificate 2" in refused("CHAIN_BROKEN", bad.certificate, bad.key)


def test_every_certificate_of_a_chain_must_be_valid(tmp_path: Path) -> None:
    ca = authority(NOW - 11 * 365 * DAY + DAY)
    pair = issued(authority(), "node/a")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ca.trusted)
    with pytest.raises(InvalidInput) as error:
        check_authority(ca_file, NOW)
    assert error.value.reason == "CERTIFICATE_EXPIRED"
    assert pair.certificate


def test_a_warning_comes_when_a_fifth_of_the_life_is_left(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "node/a", seconds=10 * DAY))
    found = check_pair(files.certificate, files.key, NOW)
    assert found.warning(NOW + 7.9 * DAY) == ""
    assert "ends 2023-11-24 22:13:20 UTC, in 24 hours" in found.warning(NOW + 9 * DAY)
    assert "in 2 days" in found.warning(NOW + 8 * DAY)
    assert "in 59 seconds" in found.warning(NOW + 10 * DAY - 59)


def test_a_server_without_a_mesh_name_is_known_by_its_hosts(tmp_path: Path) -> None:
    files = written(tmp_path, issued(authority(), "", "proxy.example"))
    assert check_pair(files.certificate, files.key, NOW).label == "proxy.example"


def test_a_certificate_without_names_and_constraints_is_known_by_its_subject() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old.example")])
    ours = x509.load_pem_x509_certificate(issued(authority(), "node/a").certificate)
    bare = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(ours.not_valid_before_utc)
        .not_valid_after(ours.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    found = facts(bare)
    assert (found.label, found.names, found.authority) == ("old.example", (), False)


def test_a_file_of_authorities_holds_nothing_else(tmp_path: Path) -> None:
    ca = authority()
    path = tmp_path / "ca.pem"
    path.write_bytes(ca.trusted + authority().trusted)
    assert [one.subject for one in check_authority(path, NOW)] == ["CA of inferno", "CA of inferno"]
    path.write_bytes(issued(ca, "node/a").certificate)
    with pytest.raises(InvalidInput) as error:
        check_authority(path, NOW)
    assert error.value.reason == "NOT_AN_AUTHORITY"


def test_an_identity_is_whole_only_with_its_own_authority(tmp_path: Path) -> None:
    ca = authority()
    pair = issued(ca, "node/a")
    assert check_identity(identity(tmp_path / "a", ca, pair), NOW).label == "spiffe://inferno/node/a"
    with pytest.raises(InvalidInput) as error:
        check_identity(identity(tmp_path / "b", authority(), pair), NOW)
    assert error.value.reason == "FOREIGN_AUTHORITY"
