"""The node's membership: it joins with a token, keeps its certificate renewed, and says how to reach the proxies."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from inferno.identity.v1 import identity_service_pb2 as wire
from inferno_backend import joining
from inferno_backend.link import PLAIN, Link
from inferno_runtime import logs
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import AlreadyExists, InfernoError, InvalidInput
from inferno_runtime.identity.authority import Request, make_request
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName, Role
from inferno_runtime.identity.preflight import Facts, check_identity, moment
from inferno_runtime.identity.renewal import LONGEST_WAIT, renewal
from inferno_runtime.latest import Latest

_LOG = logs.get("membership")
# An earlier life of this node holds its name until its lease ends.
_NAME_TAKEN_SECONDS = 15.0


class Membership:
    """``link`` is how to reach the proxies; None until the node has joined."""

    def __init__(
        self,
        folder: IdentityFolder,
        node_id: str,
        proxies: Sequence[str],
        token_file: Path | None,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._folder = folder
        self._node_id = node_id
        self._proxies = proxies
        self._token_file = token_file
        self._clock = clock
        self._chance = chance
        self._backoff = Backoff(0.2, 30.0)
        self._member: Facts | None = None
        self.link: Latest[Link | None] = Latest(None)

    @property
    def certificate_until(self) -> float | None:
        """When the node's certificate ends, as Unix time; None for a node that has none."""
        return self._member.not_after if self._member is not None else None

    def begin(self) -> None:
        """Take the identity that is there, or know that there is none.

        Raises:
            InvalidInput: It cannot be used and there is no token to join again with, or it is another node's.
        """
        if not self._proxies or (self._token_file is None and not self._folder.exists):
            self.link.set(PLAIN)
            return
        if not self._folder.exists:
            return
        try:
            self._take(check_identity(self._folder, self._clock.wall()))
        except InvalidInput as error:
            if self._token_file is None or error.reason == "OTHER_NODE":
                raise
            _LOG.warning("the node joins again: its certificate is of no use", reason=error.message)

    async def join(self) -> None:
        """Become a member, unless the node is one or goes in the clear; proxies that are away are waited for.

        Raises:
            InfernoError: The mesh refuses the node or its token.
        """
        if self.link.value is not None:
            return
        began = self._clock.monotonic()
        # One key for all tries: an answer that was lost on its way is given again for the same key.
        request, told = make_request(), ""
        while True:
            try:
                await self._joined(request)
                return
            except InfernoError as error:
                taken = isinstance(error, AlreadyExists) and self._clock.monotonic() - began < _NAME_TAKEN_SECONDS
                if not error.temporary and not taken:
                    raise
                if told != error.reason:
                    told = error.reason
                    _LOG.warning("not joined: trying again until it is", error=error.sentence())
            await self._clock.sleep(self._backoff.next())

    async def run(self) -> None:
        """Keep a member's certificate renewed until cancelled; a node in the clear has nothing to do."""
        certificate, chance = self._member, self._chance()
        while certificate is not None:
            left = renewal(certificate, chance) - self._clock.wall()
            if left > 0:
                await self._clock.sleep(min(left, LONGEST_WAIT))
                continue
            newer = await self._renewed(certificate)
            if newer is None:
                await self._clock.sleep(self._backoff.next())
            else:
                certificate, chance = newer, self._chance()

    async def _joined(self, request: Request) -> Facts:
        if self._token_file is None:
            raise InvalidInput(
                "The node's certificate is of no use, and there is no token to join with.",
                reason="NO_TOKEN",
                fix="Give one with --join-token-file; inferno token create makes it.",
            )
        token = joining.read_token(self._token_file)
        credential = await joining.join(self._proxies, token, self._node_id, request)
        made = self._keep(credential, request)
        _LOG.info("joined the mesh", name=credential.name, until=moment(made.not_after))
        return made

    async def _renewed(self, certificate: Facts) -> Facts | None:
        """Try once; with a certificate that has ended, to join again. None when it failed."""
        request = make_request()
        try:
            if self._clock.wall() >= certificate.not_after:
                newer = await self._joined(request)
            else:
                credential = await joining.renew(self._proxies, self.link.value or PLAIN, request)
                newer = self._keep(credential, request)
                _LOG.info("certificate renewed", until=moment(newer.not_after))
        except (InfernoError, OSError) as error:
            said = error.sentence() if isinstance(error, InfernoError) else str(error)
            _LOG.error("the certificate is not renewed", error=said, until=moment(certificate.not_after))
            return None
        self._backoff.reset()
        return newer

    def _keep(self, credential: wire.Credential, request: Request) -> Facts:
        """On disk first: what is used must be there after a restart."""
        self._folder.write(credential.certificate, request.key, credential.authority)
        return self._take(check_identity(self._folder, self._clock.wall()))

    def _take(self, found: Facts) -> Facts:
        wanted = [one for one in found.names if one.startswith("spiffe://")]
        member = MeshName.parse(wanted[0]) if wanted else None
        if member is None or (member.role, member.name) != (Role.NODE, self._node_id):
            raise InvalidInput(
                f"The certificate in {self._folder.path} is of {found.label}, not of node {self._node_id}.",
                reason="OTHER_NODE",
                fix="Give each node a data folder of its own, or remove the certificate and join with a token.",
            )
        self.link.set(Link.read(self._folder))
        self._member = found
        return found
