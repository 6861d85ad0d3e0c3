from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from inferno_cli import endpoint
from inferno_cli.endpoint import Endpoint, endpoint_option, read_key
from inferno_runtime.errors import InvalidInput, TimedOut


def test_work_within_its_time_gives_its_result() -> None:
    async def work() -> int:
        return 5

    assert endpoint.within(10, work, "Counting") == 5


def test_work_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(TimedOut, match=r"^Waiting took longer than 0\.01 s\.$") as caught:
        endpoint.within(0.01, asyncio.Event().wait, "Waiting")
    assert caught.value.exit_code == 124


@pytest.mark.parametrize(
    ("address", "target", "secure"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080", False),
        ("http://mesh.example:80", "mesh.example:80", False),
        ("https://mesh.example", "mesh.example:443", True),
        ("https://mesh.example:8443/", "mesh.example:8443", True),
        ("https://[fd00::1]", "[fd00::1]:443", True),
    ],
)
def test_an_address_is_a_place_with_tls_or_without(address: str, target: str, secure: bool) -> None:
    made = Endpoint(address)
    assert (made.target, made.secure, str(made)) == (target, secure, address)


def secret(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secret"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_key_stays_out_of_sight() -> None:
    assert "inf_x" not in repr(Endpoint(key="inf_x"))


def test_a_key_in_clear_goes_to_this_machine_alone() -> None:
    assert Endpoint("localhost:8080", key="inf_x").credentials() is None
    with pytest.raises(InvalidInput, match=r"would travel to mesh\.example:80 in clear") as refused:
        Endpoint("mesh.example:80", key="inf_x").credentials()
    assert "https://mesh.example:80" in refused.value.fix


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"address": "m:1", "ca": Path("ca.pem")}, "without TLS"),
        ({"address": "m:1", "server_name": "mesh.example"}, "without TLS"),
        ({"address": "https://m", "certificate": Path("c.pem")}, "belong together"),
        ({"address": "https://m", "ca": Path("/no/such/ca.pem")}, "cannot be read: No such file"),
    ],
)
def test_certificates_that_cannot_be_used_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        Endpoint(**given).credentials()


def test_the_systems_authorities_count_without_others() -> None:
    assert Endpoint("https://mesh.example").credentials() is not None


def test_a_certificate_comes_with_a_key_that_nobody_else_can_read(tmp_path: Path) -> None:
    key = secret(tmp_path, "key")
    assert Endpoint("https://m", key, key, key).credentials() is not None
    with pytest.raises(InvalidInput, match="can be read by others"):
        Endpoint("https://m", certificate=key, certificate_key=secret(tmp_path, "key", 0o644)).credentials()


def test_a_key_comes_from_its_file_or_from_the_environment(tmp_path: Path) -> None:
    assert read_key(secret(tmp_path, "inf_file\n"), "inf_given") == "inf_file"
    assert (read_key(None, " inf_given"), read_key(None, "")) == ("inf_given", "")


@pytest.mark.parametrize("text", ["", "two words", "tab\tin it", "\xe9"])
def test_what_is_no_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="secret holds no API key"):
        read_key(secret(tmp_path, text), "")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can be read by others"):
        read_key(secret(tmp_path, "inf_x", 0o640), "")


def test_a_command_gets_it_all_as_one_endpoint(tmp_path: Path) -> None:
    @click.command()
    @endpoint_option
    def ask(endpoint: Endpoint) -> None:
        click.echo(f"{endpoint!r} {endpoint.key}")

    given = ["--endpoint", "https://m", "--ca", "ca.pem"]
    environment = {"INFERNO_API_KEY": "inf_x", "INFERNO_SERVER_NAME": "mesh.example"}
    said = CliRunner().invoke(ask, given, env=environment).output
    assert said == f"{Endpoint('https://m', Path('ca.pem'), server_name='mesh.example')!r} inf_x\n"
