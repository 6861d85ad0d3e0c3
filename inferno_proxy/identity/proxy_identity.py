"""The proxy's own certificate, from the mesh's CA in its data folder: what its mesh port shows."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.authority import LEAF_SECONDS, PROXY_HOST, Authority, Grant, make_request
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName
from inferno_runtime.identity.preflight import Facts, check_identity
from inferno_runtime.identity.renewal import LONGEST_WAIT, renewal

_LOG = logs.get("identity")
_LEAST_WAIT = 1.0


class ProxyIdentity:
    """Keeps ``folder`` filled with a valid certificate for ``name``, for the hosts by which others reach this proxy,
    and for :data:`PROXY_HOST`."""

    def __init__(
        self,
        authority: Authority,
        folder: IdentityFolder,
        name: MeshName,
        hosts: Sequence[str],
        clock: Clock,
        seconds: float = LEAF_SECONDS,
    ) -> None:
        self._authority = authority
        self._folder = folder
        self._grant = Grant(name, tuple(dict.fromkeys((PROXY_HOST, *hosts))), seconds)
        self._clock = clock
        self._chance = random.random()  # noqa: S311 - it spreads load
        self._facts: Facts | None = None

    @property
    def ends(self) -> Mapping[str, float]:
        """When the certificate and the CA's end, in Unix seconds; none before the first :meth:`renew`."""
        return {"proxy": self._facts.not_after, "authority": self._authority.ends} if self._facts else {}

    def renew(self) -> Facts:
        """Put a new certificate in place unless the one there is for the same names, CA and first half of its life.

        Raises:
            OSError: The folder cannot be written.
            InvalidInput: BAD_NAME, or the CA has expired.
        """
        kept = self._kept()
        if kept is not None and self._clock.wall() < renewal(kept, self._chance):
            self._facts = kept
            return kept
        request, now = make_request(), self._clock.wall()
        certificate = self._authority.sign(request.csr, self._grant, now)
        self._folder.write(certificate, request.key, self._authority.trusted)
        self._chance = random.random()  # noqa: S311 - as above
        self._facts = made = check_identity(self._folder, now)
        _LOG.info("certificate issued", name=str(self._grant.name), serial=made.serial)
        return made

    async def run(self) -> None:
        """Keep it renewed until cancelled; what goes wrong is told and tried again while the certificate lives."""
        while True:
            try:
                wait = renewal(self.renew(), self._chance) - self._clock.wall()
            except (OSError, InvalidInput) as error:
                _LOG.error("the proxy's certificate is not renewed", reason=str(error))
                wait = LONGEST_WAIT / 10
            await self._clock.sleep(min(max(wait, _LEAST_WAIT), LONGEST_WAIT))

    def _kept(self) -> Facts | None:
        """What is there, if it is this proxy's and from this CA."""
        if not self._folder.exists:
            return None
        try:
            found = check_identity(self._folder, self._clock.wall())
        except InvalidInput as error:
            _LOG.warning("the proxy's certificate is replaced", reason=error.message)
            return None
        same = set(found.names) == self._grant.names
        return found if same and self._folder.authority.read_bytes() == self._authority.trusted else None
