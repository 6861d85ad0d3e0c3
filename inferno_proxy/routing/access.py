"""Who may call which model, and how often. Frozen values; nothing here knows Envoy or gRPC.

Models are named as the fleet names them, never by an alias: what an alias stands for is what a call is a call of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from inferno_proxy.routing.traffic import Rate

# The pattern of every model, and the access of those who may call them all.
EVERY_MODEL = "*"


@dataclass(frozen=True, slots=True)
class Budget:
    """So many ``calls`` in each period of ``seconds``, the first of which began with 1970."""

    calls: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who calls.

    ``keys`` are the SHA-256 of API keys in hexadecimal, ``subjects`` those of tokens. ``models`` are names, or their
    beginnings followed by ``*``. ``rate`` and ``budget`` bound all calls of the client together. ``owner`` is the
    team it belongs to, if any.
    """

    name: str
    keys: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    operator: bool = False
    models: tuple[str, ...] = (EVERY_MODEL,)
    rate: Rate | None = None
    budget: Budget | None = None
    owner: str = ""

    @property
    def team(self) -> str:
        """Who pays for its calls: its ``owner``, or itself."""
        return self.owner or self.name

    @property
    def access(self) -> str:
        """What stands for the set of models the client may call; equal for clients with equal sets."""
        return access_of(self.models)


def access_of(models: Iterable[str]) -> str:
    """A short name for a set of patterns.

    >>> access_of(["b", "a"]) == access_of(["a", "b", "a"]), access_of(["a", "*"])
    (True, '*')
    """
    wanted = sorted(set(models))
    if EVERY_MODEL in wanted:
        return EVERY_MODEL
    return hashlib.blake2b("\n".join(wanted).encode(), digest_size=6).hexdigest()


def may_call(models: Iterable[str], model: str) -> bool:
    """True when one of the patterns covers the model.

    >>> may_call(["file*", "chat"], "filetype"), may_call(["chat"], "chat2")
    (True, False)
    """
    return any(model.startswith(each[:-1]) if each.endswith("*") else model == each for each in models)


@dataclass(frozen=True, slots=True)
class AccessTable:
    """Every set of models that some client may call, by its access."""

    sets: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @staticmethod
    def of(clients: Iterable[Client]) -> AccessTable:
        """The sets of these clients; none when all of them may call everything."""
        found = {client.access: tuple(sorted(set(client.models))) for client in clients}
        found.pop(EVERY_MODEL, None)
        return AccessTable(tuple(sorted(found.items())))

    def callers(self, model: str) -> tuple[str, ...] | None:
        """The accesses with which the model may be called; None when nobody is kept from any model."""
        if not self.sets:
            return None
        return (EVERY_MODEL, *(access for access, models in self.sets if may_call(models, model)))


@dataclass(frozen=True, slots=True)
class TokenRules:
    """How tokens are verified: made by ``issuer``, for one of ``audiences``, signed with a key of ``jwks``.

    That is a set of public keys as text, or the https URL of one, whose server's certificate ``ca`` vouches for (a
    file; empty: the system's). Clocks may differ by ``leeway`` seconds.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks: str
    ca: str = ""
    leeway: int = 60

    @property
    def is_remote(self) -> bool:
        """True when the keys are fetched from a URL."""
        return "://" in self.jwks
