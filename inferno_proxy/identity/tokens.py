"""Join tokens: what each is good for, whether it may be used now, and the file that remembers.

Pure but for :class:`TokenStore`. The file holds no secret, only its SHA-256: a secret of 165 random bits needs no
slower hash. A token counts as used on disk before anybody gets a certificate for it. Times are Unix seconds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from inferno_runtime import logs, private_file
from inferno_runtime.clock import Clock, ForwardTime
from inferno_runtime.errors import Denied, Exhausted, Fenced, InvalidInput, NotFound, Unauthenticated, Unavailable
from inferno_runtime.identity.join_token import JoinToken
from inferno_runtime.identity.names import Role
from inferno_runtime.identity.preflight import moment

_LOG = logs.get("tokens")
_FORMAT = 1
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,128}", re.ASCII)
_LONGEST = 30 * 86_400.0
_MOST = 10_000
# Those that ended are remembered this long, so that whoever comes late learns why.
_REMEMBERED = 7 * 86_400.0


class TokenState(StrEnum):
    """Whether a token can be used."""

    VALID = "valid"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token's bearer may become: a role, and a name that fits ``pattern`` ('*' and '?' stand for others)."""

    role: Role
    pattern: str

    def __post_init__(self) -> None:
        """Refuse what no member could have.

        Raises:
            InvalidInput: BAD_SCOPE.
        """
        if self.role is Role.OPERATOR or not _PATTERN.fullmatch(self.pattern):
            raise InvalidInput(
                f"No token can be made for {self.role} {self.pattern[:64]!r}.",
                reason="BAD_SCOPE",
                fix="Give node, proxy or client, and a name or a pattern like gpu-*.",
            )

    def covers(self, role: Role, name: str) -> bool:
        """True when its bearer may become this."""
        return role is self.role and fnmatchcase(name, self.pattern)


@dataclass(frozen=True, slots=True)
class Use:
    """Who joined with a token: the name and the SHA-256 of the key in the certificate."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the mesh remembers it."""

    token_id: str
    digest: str
    scope: Scope
    created: float
    expires: float
    creator: str
    use: Use | None = None
    revoked: bool = False

    def state(self, now: float) -> TokenState:
        """Whether it can be used."""
        if self.use is not None:
            return TokenState.USED
        if self.revoked:
            return TokenState.REVOKED
        return TokenState.EXPIRED if now >= self.expires else TokenState.VALID


Tokens = Mapping[str, Token]
_NO_DIGEST = hashlib.sha256(b"").hexdigest()


def judge(tokens: Tokens, shown: JoinToken, role: Role, use: Use, now: float) -> Token:
    """The token that lets this member join now, or why none does. What is said of a token is only said to who knows its
    secret.

    Raises:
        Unauthenticated: TOKEN_WRONG, TOKEN_EXPIRED, TOKEN_USED or TOKEN_REVOKED.
        Denied: TOKEN_OF_ANOTHER.
    """
    token = tokens.get(shown.token_id)
    digest = token.digest if token is not None else _NO_DIGEST
    if not hmac.compare_digest(_digest(shown.secret), digest) or token is None:
        raise Unauthenticated(
            "The join token is wrong: this mesh did not make it, or made it long ago.",
            reason="TOKEN_WRONG",
            fix="Make a new one at this mesh: inferno token create.",
        )
    if not token.scope.covers(role, use.name):
        raise Denied(
            f"The join token is for {token.scope.role} {token.scope.pattern}, not for {role} {use.name}.",
            reason="TOKEN_OF_ANOTHER",
            fix=f"Make one for it: inferno token create --role {role} --name {use.name}.",
        )
    again = token.use == use and now < token.expires
    state = token.state(now)
    if state is TokenState.VALID or again:
        return token
    why = {
        TokenState.USED: f"was used by {token.use.name if token.use else ''}, and a token makes one member",
        TokenState.EXPIRED: f"expired {moment(token.expires)}",
        TokenState.REVOKED: "was revoked by an operator",
    }[state]
    raise Unauthenticated(
        f"The join token {token.token_id} {why}.",
        reason=f"TOKEN_{state.name}",
        fix=f"Make a new one: inferno token create --role {role} --name {use.name}.",
    )


class TokenStore:
    """The tokens and their file, which only their owner reads."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._time = ForwardTime(clock)
        self._turn = asyncio.Lock()
        self._tokens = self._read()

    def now(self) -> float:
        """The time that tokens are judged by: one that has expired does not come back when the clock is set back."""
        return self._time.now()

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Every token, oldest first."""
        return tuple(self._tokens.values())

    async def create(self, scope: Scope, seconds: float, creator: str, pin: str) -> tuple[JoinToken, Token]:
        """Make one that lives for ``seconds``; on disk when this returns.

        Raises:
            InvalidInput: BAD_LIFETIME.
            Exhausted: TOO_MANY_TOKENS.
            Unavailable: TOKENS_UNWRITABLE.
        """
        if not 1 <= seconds <= _LONGEST:
            raise InvalidInput(
                f"A token cannot live for {seconds:g} s.",
                reason="BAD_LIFETIME",
                fix=f"Give between 1 s and {_LONGEST / 86_400:g} days.",
            )
        async with self._turn:
            now = self.now()
            if len(self._tokens) >= _MOST:
                raise Exhausted(
                    f"The mesh remembers {_MOST} tokens already.",
                    reason="TOO_MANY_TOKENS",
                    fix="Wait until some have ended, or revoke some and wait a week.",
                )
            made = JoinToken.make(pin)
            token = Token(made.token_id, _digest(made.secret), scope, now, now + seconds, creator)
            await self._keep(token)
            return made, token

    def check(self, shown: JoinToken, role: Role, use: Use) -> Token:
        """The token that would let this member join now; nothing changes.

        Raises:
            Unauthenticated: As :func:`judge`.
            Denied: As :func:`judge`.
        """
        return judge(self._tokens, shown, role, use, self.now())

    async def use(self, shown: JoinToken, role: Role, use: Use) -> Token:
        """Let one member join: the token counts as used, on disk, when this returns.

        Raises:
            Unauthenticated: As :func:`judge`.
            Denied: As :func:`judge`.
            Unavailable: TOKENS_UNWRITABLE; the token is as before.
        """
        async with self._turn:
            token = self.check(shown, role, use)
            if token.use is None:
                token = dataclasses.replace(token, use=use)
                await self._keep(token)
            return token

    async def revoke(self, token_id: str) -> Token:
        """End a token that was not used.

        Raises:
            NotFound: NO_SUCH_TOKEN.
            Fenced: TOKEN_USED: its bearer is a member already.
            Unavailable: TOKENS_UNWRITABLE; the token is as before.
        """
        async with self._turn:
            token = self._tokens.get(token_id)
            if token is None:
                raise NotFound(
                    f"There is no token {token_id[:64]!r}.", reason="NO_SUCH_TOKEN", fix="See: inferno token list."
                )
            if token.use is not None:
                raise Fenced(
                    f"The token {token_id} was used by {token.use.name}, which has a certificate now.",
                    reason="TOKEN_USED",
                    fix="Its certificate ends by itself when it is not renewed.",
                )
            revoked = dataclasses.replace(token, revoked=True)
            await self._keep(revoked)
            return revoked

    async def _keep(self, token: Token) -> None:
        """Write the tokens with this one in them, then believe it."""
        oldest = self.now() - _REMEMBERED
        kept = {each.token_id: each for each in self._tokens.values() if each.expires > oldest} | {
            token.token_id: token
        }
        document = {"format": _FORMAT, "tokens": [_written(each) for each in kept.values()]}
        content = json.dumps(document, indent=1).encode()
        try:
            await asyncio.to_thread(private_file.replace, self._path, content)
        except OSError as error:
            raise Unavailable(
                f"The mesh cannot write its tokens down: {error.strerror}.",
                reason="TOKENS_UNWRITABLE",
                fix="Make room on the disk of the proxy's data folder, or let its user write there.",
            ) from error
        self._tokens = kept

    def _read(self) -> dict[str, Token]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["format"] != _FORMAT:
                raise ValueError(f"format {document['format']!r} is not {_FORMAT}")
            return {each.token_id: each for each in map(_token, document["tokens"])}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, InvalidInput) as error:
            aside = self._path.with_suffix(".corrupt")
            self._path.replace(aside)
            _LOG.error(
                "join tokens set aside: make new ones", path=str(self._path), aside=str(aside), reason=str(error)
            )
            return {}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _written(token: Token) -> dict[str, Any]:
    return dataclasses.asdict(token)


def _token(written: Mapping[str, Any]) -> Token:
    scope, use = written["scope"], written["use"]
    return Token(
        token_id=str(written["token_id"]),
        digest=str(written["digest"]),
        scope=Scope(Role(scope["role"]), scope["pattern"]),
        created=float(written["created"]),
        expires=float(written["expires"]),
        creator=str(written["creator"]),
        use=None if use is None else Use(str(use["name"]), str(use["key"])),
        revoked=bool(written["revoked"]),
    )
