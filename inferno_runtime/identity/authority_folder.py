"""The folder that holds the mesh's CA: its certificate and its key, for its owner alone."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from inferno_runtime import private_file
from inferno_runtime.errors import AlreadyExists, InvalidInput
from inferno_runtime.identity.authority import Authority, KeyPair, make_authority
from inferno_runtime.identity.preflight import check_authority, check_pair


@dataclass(frozen=True, slots=True)
class AuthorityFolder:
    """``path`` is created by :meth:`create`."""

    path: Path

    @property
    def certificate(self) -> Path:
        """PEM: the CA's certificate, then those of other CAs that members trust as well."""
        return self.path / "ca.pem"

    @property
    def key(self) -> Path:
        """PEM, mode 0600: who reads it can make members."""
        return self.path / "ca-key.pem"

    @property
    def exists(self) -> bool:
        """True when there is a CA, whole or not."""
        return self.certificate.exists() or self.key.exists()

    def create(self, domain: str, now: float) -> Authority:
        """Make a CA for a trust domain; on disk, whole, when this returns.

        Raises:
            AlreadyExists: AUTHORITY_EXISTS: its members would no longer be known.
            InvalidInput: BAD_NAME or FOLDER_UNWRITABLE.
        """
        if self.exists:
            raise AlreadyExists(
                f"There is a CA in {self.path} already, and every member's certificate comes from it.",
                reason="AUTHORITY_EXISTS",
                fix="Use it, or choose another folder.",
            )
        pair = make_authority(domain, now)
        made = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if made.exists():
                shutil.rmtree(made)
            made.mkdir(mode=0o700)
            private_file.create(made / self.certificate.name, pair.certificate)
            private_file.create(made / self.key.name, pair.key)
            private_file.sync(made)
            # An empty folder in its place may be replaced, one with anything in it not.
            os.rename(made, self.path)  # noqa: PTH104 - Path.rename says less about folders
            private_file.sync(self.path.parent)
        except OSError as error:
            raise InvalidInput(
                f"The CA cannot be kept in {self.path}: {error.strerror}.",
                reason="FOLDER_UNWRITABLE",
                fix="Choose a folder of this user's, empty or not there yet.",
            ) from error
        return Authority.load(pair)

    def read(self, now: float) -> Authority:
        """The CA that is there, whatever it signs for.

        Raises:
            InvalidInput: Its files are damaged, expired or open to others.
        """
        check_pair(self.certificate, self.key, now, chained=False)
        check_authority(self.certificate, now)
        return Authority.load(KeyPair(self.certificate.read_bytes(), self.key.read_bytes()))

    def open(self, domain: str, now: float) -> Authority:
        """The CA of a trust domain.

        Raises:
            InvalidInput: As :meth:`read`, or OTHER_TRUST_DOMAIN.
        """
        made = self.read(now)
        if made.domain != domain:
            raise InvalidInput(
                f"The CA in {self.path} signs for the trust domain {made.domain!r}, not for {domain!r}.",
                reason="OTHER_TRUST_DOMAIN",
                fix=f"Set trust_domain to {made.domain}, or make another CA with inferno cert init.",
            )
        return made

    def open_or_create(self, domain: str, now: float) -> Authority:
        """The CA that is there, or a new one.

        Raises:
            InvalidInput: As :meth:`open` and :meth:`create`.
        """
        return self.open(domain, now) if self.exists else self.create(domain, now)
