from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inferno_proxy.routing.access import Budget, Client, TokenRules
from inferno_proxy.routing.traffic import Rate
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver
from inferno_runtime.errors import InvalidInput
from inferno_runtime.settings import load

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
PUBLIC = json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "1"}]})


def loaded(folder: Path, text: str) -> ProxySettings:
    file = folder / "inferno.yaml"
    file.write_text(text, encoding="utf-8")
    return load(ProxySettings, file=file).value


def test_a_client_is_what_its_entry_says(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        f"""
proxy:
  clients:
    team:
      keys: ["{A}", "{B}"]
      models: [filetype, "chat*"]
      rate: {{calls: 5, seconds: 60}}
      budget: {{calls: 1000}}
    boss: {{subjects: [alice], role: operator, budget: {{calls: 9, per: hour}}}}
  jwt: {{issuer: "https://id.example", audiences: [mesh], jwks: "https://id.example/keys", jwks_ca: /etc/ca.pem}}
""",
    )
    assert settings.callers == (
        Client(
            "team",
            ("a" * 64, "b" * 64),
            models=("filetype", "chat*"),
            rate=Rate(5, 60),
            budget=Budget(1000, 86_400),
        ),
        Client("boss", subjects=("alice",), operator=True, budget=Budget(9, 3600)),
    )
    assert settings.tokens == TokenRules("https://id.example", ("mesh",), "https://id.example/keys", "/etc/ca.pem")
    assert settings.tokens is not None
    assert settings.tokens.is_remote
    assert settings.authenticates


def test_nobody_is_asked_without_clients() -> None:
    assert not ProxySettings().authenticates
    assert ProxySettings().tokens is None


@pytest.mark.parametrize(
    ("entry", "pattern"),
    [
        ("{}", r":4: proxy\.clients\.team: it needs a credential"),
        ("{keys: [inf_abcdefgh]}", r":4: proxy\.clients\.team: keys must be a list of sha256:HEX"),
        ("{keys: inf_abcdefgh}", r":4: proxy\.clients\.team: keys must be a list"),
        (f'{{keys: ["{A}"], models: ["a*b"]}}', r":4: proxy\.clients\.team\.models"),
        (f'{{keys: ["{A}"], role: king}}', r":4: proxy\.clients\.team\.role"),
        (f'{{keys: ["{A}"], rate: {{calls: 0}}}}', r":4: proxy\.clients\.team\.rate\.calls"),
        (f'{{keys: ["{A}"], budget: {{calls: 0}}}}', r":4: proxy\.clients\.team\.budget\.calls"),
        (f'{{keys: ["{A}"], budget: {{calls: 1, per: week}}}}', r":4: proxy\.clients\.team\.budget\.per"),
        (f'{{keys: ["{A}"], budgets: 3}}', r":4: unknown key 'proxy\.clients\.team\.budgets'"),
        ("{subjects: [alice]}", r"clients\.team\.subjects need proxy\.jwt"),
        ('{subjects: ["two words"]}', r":4: proxy\.clients\.team\.subjects"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line_and_no_key_is_quoted(tmp_path: Path, entry: str, pattern: str) -> None:
    with pytest.raises(InvalidInput, match=pattern) as caught:
        loaded(tmp_path, f"proxy:\n  port: 8080\n  clients:\n    team: {entry}\n")
    assert "inf_abcdefgh" not in f"{caught.value.sentence()}{caught.value.metadata}"


def test_one_credential_is_one_clients(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"clients 'a' and 'b' have one credential: sha256:"):
        loaded(tmp_path, f'proxy:\n  clients:\n    a: {{keys: ["{A}"]}}\n    b: {{keys: ["{A}"]}}\n')


def test_a_file_of_keys_is_read_once_and_outlives_its_file(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(PUBLIC, encoding="utf-8")
    settings = loaded(tmp_path, f"proxy:\n  jwt: {{issuer: i, audiences: [a], jwks: {keys}}}\n")
    assert settings.tokens == TokenRules("i", ("a",), PUBLIC)
    keys.unlink()
    handed = HandOver(settings, settings_address())
    handed.write(tmp_path / "plan.json")
    assert HandOver.read(tmp_path / "plan.json").settings.tokens == settings.tokens


def settings_address() -> Any:
    from inferno_proxy.fleet import Address

    return Address("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (None, "cannot be read: No such file"),
        ("\xff\xfe", "is no JWKS"),
        ("[]", "is no JWKS"),
        ('{"keys": []}', "holds no key"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "holds a secret"),
        ('{"keys": [{"kty": "RSA", "d": "c2VjcmV0"}]}', "holds a secret"),
        ("{" + " " * 300_000, "larger than"),
    ],
)
def test_keys_that_are_none_are_refused(tmp_path: Path, text: str | None, pattern: str) -> None:
    keys = tmp_path / "keys.json"
    if text is not None:
        keys.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=rf":2: proxy\.jwt\.jwks: .*{pattern}") as caught:
        loaded(tmp_path, f"proxy:\n  jwt: {{issuer: i, audiences: [a], jwks: {keys}}}\n")
    assert "c2VjcmV0" not in caught.value.sentence()


def test_keys_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="it is no text"):
        loaded(tmp_path, f"proxy:\n  jwt: {{issuer: i, audiences: [a], jwks: {tmp_path / 'keys'}}}\n")


def test_keys_come_over_tls_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="must begin with https://"):
        loaded(tmp_path, 'proxy:\n  jwt: {issuer: i, audiences: [a], jwks: "http://id.example/keys"}\n')


def test_a_rate_per_key_counts_clients_where_keys_are_known(tmp_path: Path) -> None:
    models = "  models:\n    m: {rate: {calls: 1, per: key}}\n    n: {rate: {calls: 1, per: 'header:x-team'}}\n"
    headers = []
    for clients in ("", f'  clients: {{a: {{keys: ["{A}"]}}}}\n'):
        table = loaded(tmp_path, f"proxy:\n{models}{clients}").routing.traffic
        headers.append([rate.header for name in ("m", "n") if (rate := table.of(name).rate)])
    assert headers == [["x-api-key", "x-team"], ["x-inferno-client", "x-team"]]
