"""The mesh's CA as the control plane uses it: read from its folder each time, so that a new one counts at once."""

from __future__ import annotations

from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Broken, InvalidInput, NotFound
from inferno_runtime.identity.authority import Authority
from inferno_runtime.identity.authority_folder import AuthorityFolder

_LOG = logs.get("authority")


class MeshAuthority:
    """The CA for one trust domain."""

    def __init__(self, folder: AuthorityFolder, domain: str, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self.domain = domain

    def made(self) -> Authority:
        """The CA, made at the first need.

        Raises:
            InvalidInput: It cannot be used or made; the sentence names the file.
        """
        return self._folder.open_or_create(self.domain, self._clock.wall())

    def known(self) -> Authority:
        """The CA, for callers that need not know where its files lie and that cause none to be made.

        Raises:
            NotFound: NO_AUTHORITY.
            Broken: AUTHORITY_UNUSABLE; the log says why.
        """
        if not self._folder.exists:
            raise NotFound(
                "This mesh has no CA yet, so it has no members with certificates.",
                reason="NO_AUTHORITY",
                fix="Make a token (inferno token create) or a CA (inferno cert init) at the proxy.",
            )
        try:
            return self._folder.open(self.domain, self._clock.wall())
        except InvalidInput as error:
            _LOG.error("the mesh's CA cannot be used", reason=error.sentence())
            raise Broken(
                "The mesh's CA cannot be used.", reason="AUTHORITY_UNUSABLE", fix="The proxy's log says why."
            ) from error
