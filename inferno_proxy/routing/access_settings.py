"""One client's entry under ``proxy.clients`` in the settings file, and how its tokens are verified."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pydantic

from inferno_proxy.routing.access import Budget, Client, TokenRules
from inferno_proxy.routing.traffic import Rate
from inferno_runtime.settings import option

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
ClientName = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
# As a header carries it.
_Subject = Annotated[str, pydantic.StringConstraints(pattern=r"^[\x21-\x7e]{1,256}$")]
_Pattern = Annotated[str, pydantic.StringConstraints(pattern=r"^[^*\x00-\x1f]{0,1024}\*?$", min_length=1)]
_MOST_BYTES = 256 * 1024
# Seconds.
_PERIODS = {"hour": 3600, "day": 86_400}


class ClientRateSettings(pydantic.BaseModel):
    """How often one client may call."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    calls: int = option(help="Calls allowed at once and in each period.", ge=1)
    seconds: float = option(1.0, help="Length of the period.", ge=0.1, le=86_400)

    def rate(self) -> Rate:
        """The same as a plain value."""
        return Rate(self.calls, self.seconds)


class ClientBudgetSettings(pydantic.BaseModel):
    """How many calls one client has."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    calls: int = option(help="Calls in each period.", ge=1, le=10**15)
    per: Literal["hour", "day"] = option("day", help="The period; both begin on the clock (UTC).")

    def budget(self) -> Budget:
        """The same as a plain value."""
        return Budget(self.calls, _PERIODS[self.per])


class ClientSettings(pydantic.BaseModel):
    """Somebody who may call the public port."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    keys: tuple[str, ...] = option((), help="SHA-256 of the client's API keys: sha256:HEX (inferno key create).")
    subjects: tuple[_Subject, ...] = option((), help="Subjects of the client's tokens (claim sub).")
    role: Literal["client", "operator"] = option("client", help="Whether it may operate the mesh as well.")
    models: tuple[_Pattern, ...] = option(("*",), help="Models it may call: NAME or PREFIX*.")
    rate: ClientRateSettings | None = option(None, help="How often it may call.")
    budget: ClientBudgetSettings | None = option(None, help="How many calls it has for an hour or a day.")

    team: ClientName | Literal[""] = option("", help="Who pays for its calls (default: the client itself).")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _keys_are_hashes(cls, entry: Any) -> Any:
        # Told of the entry and not of the key: a key that was written down by mistake must not be quoted.
        keys = entry.get("keys", ()) if isinstance(entry, Mapping) else ()
        if isinstance(keys, str) or not all(isinstance(each, str) and _HASH.fullmatch(each) for each in keys):
            raise ValueError("keys must be a list of sha256:HEX; inferno key create makes a key and its hash")
        return entry

    @pydantic.model_validator(mode="after")
    def _has_a_credential(self) -> ClientSettings:
        if not self.keys and not self.subjects:
            raise ValueError("it needs a credential: keys or subjects")
        return self

    def client(self, name: str) -> Client:
        """The same as a plain value."""
        return Client(
            name,
            tuple(key.removeprefix("sha256:") for key in self.keys),
            self.subjects,
            operator=self.role == "operator",
            models=self.models,
            rate=self.rate.rate() if self.rate else None,
            budget=self.budget.budget() if self.budget else None,
            owner=self.team,
        )


class JwtSettings(pydantic.BaseModel):
    """How tokens are verified. Once read, ``jwks`` holds a set of keys itself, not the file it came from."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    issuer: str = option(help="Who makes the tokens (claim iss).", min_length=1)
    audiences: tuple[str, ...] = option(help="Whom tokens must be made for (claim aud): one of these.", min_length=1)
    jwks: str = option(help="Public keys of the issuer (JWKS): a file, or an https URL.", min_length=1)
    jwks_ca: Path | None = option(None, help="Certificates by which the URL's server is known (default: the system's).")
    leeway: int = option(60, help="Seconds by which clocks may differ.", ge=1, le=3600)

    @pydantic.field_validator("jwks")
    @classmethod
    def _jwks_are_public_keys(cls, jwks: str) -> str:
        if "://" in jwks:
            return _https(jwks)
        if not jwks.lstrip().startswith("{"):
            jwks = _read(Path(jwks))
        return _public(jwks)

    def rules(self) -> TokenRules:
        """The same as a plain value."""
        return TokenRules(self.issuer, self.audiences, self.jwks, str(self.jwks_ca or ""), self.leeway)


def doubts(clients: Mapping[str, ClientSettings], jwt: JwtSettings | None) -> Iterator[str]:
    """Why some caller could be taken for two clients, or for none."""
    owners: dict[str, str] = {}
    for name, entry in clients.items():
        if entry.subjects and jwt is None:
            yield f"clients.{name}.subjects need proxy.jwt, which says how tokens are verified"
        for credential in (*entry.keys, *(f"subject {each!r}" for each in entry.subjects)):
            if owners.setdefault(credential, name) != name:
                yield f"clients {owners[credential]!r} and {name!r} have one credential: {credential}"


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("a URL of keys must begin with https://")
    return url


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"{path} cannot be read: {reason}") from None
    if len(text) > _MOST_BYTES:
        raise ValueError(f"{path} is larger than {_MOST_BYTES} bytes")
    return text


def _public(text: str) -> str:
    try:
        keys = json.loads(text)["keys"]
        kinds = [(str(key["kty"]), "d" in key) for key in keys]
    except (ValueError, KeyError, TypeError):
        raise ValueError('it is no JWKS: expected {"keys": [{"kty": ...}, ...]}') from None
    if not kinds:
        raise ValueError("it holds no key")
    if any(kind == "oct" or private for kind, private in kinds):
        raise ValueError("it holds a secret: give the public keys alone (RSA, EC or OKP)")
    return text
