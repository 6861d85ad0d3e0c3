from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inferno_cli.main import command
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.preflight import check_identity, facts_of
from tests.certificates import authority, identity, issued, written


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["cert", *map(str, arguments)])


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    folder = tmp_path / "ca"
    assert run("init", "--ca", folder, "--trust-domain", "mesh.example").exit_code == 0
    return folder


def test_an_authority_is_made_once(tmp_path: Path) -> None:
    result = run("init", "--ca", tmp_path / "a", "-o", "json")
    made = json.loads(result.stdout)
    assert Path(made["key"]) == tmp_path / "a" / "ca-key.pem"
    assert made["pin"] == AuthorityFolder(tmp_path / "a").read(time.time()).pin
    result = run("init", "--ca", tmp_path / "a")
    assert (result.exit_code, "error[AUTHORITY_EXISTS]" in result.stderr) == (1, True)
    result = run("init", "--ca", tmp_path / "b")
    assert result.stdout == f"{tmp_path / 'b' / 'ca.pem'}\n{tmp_path / 'b' / 'ca-key.pem'}\n"
    assert "keep it secret" in result.stderr
    assert run("init", "--ca", tmp_path / "c", "--trust-domain", "A B").exit_code == 2


def test_a_certificate_is_signed_for_a_member_and_replaced_by_the_next(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "ann"
    for lifetime in ("1h", "2h"):
        result = run("issue", "--ca", ca, "--out", out, "--name", "operator/ann", "--lifetime", lifetime)
        assert result.exit_code == 0
    folder = IdentityFolder(out)
    assert result.stdout.splitlines() == [str(folder.certificate), str(folder.key), str(folder.authority)]
    found = check_identity(folder, time.time())
    assert found.names == ("spiffe://mesh.example/operator/ann",)
    assert 7000 < found.not_after - time.time() <= 7200
    assert stat.S_IMODE(folder.key.stat().st_mode) == 0o600


def test_a_certificate_is_signed_for_a_server(ca: Path, tmp_path: Path) -> None:
    result = run(
        "issue", "--ca", ca, "--out", tmp_path / "s", "--host", "proxy.example", "--host", "10.0.0.7", "-o", "json"
    )
    made = json.loads(result.stdout)
    assert made["names"] == "proxy.example 10.0.0.7"
    assert facts_of(Path(made["certificate"]).read_bytes()).names == ("proxy.example", "10.0.0.7")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "NO_SUBJECT"),
        (("--name", "king/ann"), "BAD_NAME"),
        (("--name", "ann"), "BAD_NAME"),
        (("--host", "a b"), "BAD_NAME"),
        (("--host", "a", "--lifetime", "x"), "BAD_DURATION"),
    ],
)
def test_nobody_gets_no_certificate(ca: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    result = run("issue", "--ca", ca, "--out", tmp_path / "x", *arguments)
    assert (result.exit_code, f"error[{reason}]" in result.stderr) == (2, True)
    assert not (tmp_path / "x").exists()


def test_a_folder_of_no_use_is_named(ca: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("issue", "--ca", ca, "--out", tmp_path / "file" / "x", "--host", "a")
    assert (result.exit_code, "error[FOLDER_UNWRITABLE]" in result.stderr) == (2, True)
    result = run("issue", "--ca", tmp_path / "none", "--out", tmp_path / "x", "--host", "a")
    assert (result.exit_code, "error[FILE_UNREADABLE]" in result.stderr) == (2, True)


def test_certificates_are_shown(ca: Path) -> None:
    [shown] = json.loads(run("show", ca / "ca.pem", "-o", "json").stdout)["certificates"]
    assert shown["names"] == "spiffe://mesh.example"
    table = run("show", ca / "ca.pem").stdout.splitlines()
    assert table[0].split()[0] == "NAMES"
    assert "CA of mesh.example" in table[1]
    assert "error[NOT_PEM]" in run("show", ca / "ca-key.pem").stderr


def test_good_files_are_fit_for_use(tmp_path: Path) -> None:
    now = time.time()
    by = authority(now)
    files = written(tmp_path, issued(by, "node/a", now=now))
    (tmp_path / "ca.pem").write_bytes(by.trusted)
    result = run("check", files.certificate, files.key, "--ca", tmp_path / "ca.pem")
    assert result.exit_code == 0
    assert [line.split(",")[0] for line in result.stdout.splitlines()] == [
        "ok spiffe://inferno/node/a",
        "ok spiffe://inferno",
    ]
    folder = identity(tmp_path / "id", by, issued(by, "node/b", now=now)).path
    assert run("check", folder).stdout.startswith("ok spiffe://inferno/node/b, until ")


def test_what_is_wrong_with_files_is_said(tmp_path: Path) -> None:
    now = time.time()
    by = authority(now)
    files = written(tmp_path, issued(by, "node/a", now=now - 90_000))
    late = run("check", files.certificate, files.key)
    assert (late.exit_code, late.stdout.startswith("error[CERTIFICATE_EXPIRED]")) == (3, True)
    assert run("check", files.certificate).stdout.startswith("error[NO_KEY]")
    files = written(tmp_path, issued(by, "node/a", now=now - 80_000))
    soon = run("check", files.certificate, files.key)
    assert (soon.exit_code, soon.stdout.startswith("warning The certificate of spiffe://inferno/node/a ends ")) == (
        0,
        True,
    )
    files = written(tmp_path, issued(by, "node/a", now=now), 0o644)
    assert run("check", files.certificate, files.key).stdout.startswith("error[KEY_EXPOSED]")
    files.key.chmod(0o600)
    assert run("check", files.certificate, files.key, "--ca", files.certificate).stdout.startswith(
        "error[NOT_AN_AUTHORITY]"
    )
