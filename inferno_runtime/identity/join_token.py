"""The one string that a new member is given: which mesh to believe, and what to show it.

``inferno.ID.SECRET.PIN``: the id is public, the secret is shown to the mesh once, and the pin is what the mesh's CA is
known by before there is any certificate (as the CA hash of ``kubeadm join``).
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass, field

from inferno_runtime.errors import InvalidInput

_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 8
# 32 characters of 36 are 165 bits.
_SECRET_LENGTH = 32
_FORM = re.compile(r"inferno\.([a-z0-9]{8})\.([a-z0-9]{32})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token; the secret shows in ``str()`` alone, never in ``repr()``, which logs and traces print."""

    token_id: str
    secret: str = field(repr=False)
    pin: str

    def __str__(self) -> str:
        return f"inferno.{self.token_id}.{self.secret}.{self.pin}"

    @classmethod
    def make(cls, pin: str) -> JoinToken:
        """A new one for the mesh whose CA has this pin."""
        return cls(_random(_ID_LENGTH), _random(_SECRET_LENGTH), pin)

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read a token back; white space around it does no harm.

        Raises:
            InvalidInput: BAD_TOKEN: the text is something else; it is not repeated, since it may be a secret.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise InvalidInput(
                "That is not a join token: it is not written inferno.ID.SECRET.PIN.",
                reason="BAD_TOKEN",
                fix="Give the whole line that inferno token create printed.",
            )
        return cls(*match.groups())


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
