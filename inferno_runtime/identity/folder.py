"""The folder that holds a process's identity: a certificate, its key and the mesh's CA, changed all at once.

``current`` is a link to the newest generation, so whoever follows it sees a pair that fits, and Envoy, which watches
the folder for the link's replacement, takes a new certificate without losing a connection (``watched_directory`` of
``envoy.extensions.transport_sockets.tls.v3.TlsCertificate``).
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

from inferno_runtime import private_file

_CURRENT = "current"


@dataclass(frozen=True, slots=True)
class IdentityFolder:
    """``path`` is created by the first :meth:`write`, for its owner alone."""

    path: Path

    @property
    def certificate(self) -> Path:
        """PEM: the certificate, then those that lead to the CA."""
        return self.path / _CURRENT / "certificate.pem"

    @property
    def key(self) -> Path:
        """PEM, PKCS #8, mode 0600."""
        return self.path / _CURRENT / "key.pem"

    @property
    def authority(self) -> Path:
        """PEM: the CA certificates that peers are checked against; two while one replaces the other."""
        return self.path / _CURRENT / "ca.pem"

    @property
    def exists(self) -> bool:
        """True once an identity was written."""
        return self.certificate.exists()

    def write(self, certificate: bytes, key: bytes, authority: bytes) -> None:
        """Put a new identity in the place of the old one, on disk when this returns.

        Raises:
            OSError: The folder cannot be written; the old identity is still whole.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = {entry for entry in self.path.iterdir() if entry.name != _CURRENT}
        number = next(n for n in itertools.count(1) if self.path / str(n) not in before)
        made = self.path / str(number)
        made.mkdir(mode=0o700)
        for name, content in (("certificate.pem", certificate), ("key.pem", key), ("ca.pem", authority)):
            private_file.create(made / name, content)
        link = self.path / f"{_CURRENT}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(made.name)
        link.replace(self.path / _CURRENT)
        private_file.sync(self.path)
        for old in before:
            if old.is_dir():
                shutil.rmtree(old)
