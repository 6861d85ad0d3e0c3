"""The operator's certificate for the public port: looked at, copied to where Envoy watches, and again when it changes.

Envoy never reads the operator's own files: those may be replaced one after the other, or by something that is of no
use. What is copied has been looked at, and the copy changes all at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from inferno_proxy.events import EventLog
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.preflight import Facts, check_authority, check_pair, moment
from inferno_runtime.identity.secrets import write_secrets

SUBJECT = "public"
# Seconds between two looks at the files; they count once two looks in a row have found the same.
_LOOK_EVERY = 0.25
_REMIND_EVERY = 86_400.0


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files: the certificate with those that lead to its CA, its key, and the CA of clients' certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class ServedCertificate:
    """Keeps ``folder`` as the operator's ``files`` were when they last proved good."""

    def __init__(self, files: Files, folder: IdentityFolder, clock: Clock) -> None:
        self._files = files
        self._folder = folder
        self._clock = clock
        self._facts: Facts | None = None
        self._reminded = -_REMIND_EVERY

    @property
    def ends(self) -> float:
        """When the certificate that is shown ends, in Unix seconds; 0 before the first was taken."""
        return self._facts.not_after if self._facts else 0.0

    def take(self) -> bool:
        """Copy the files if they hold something new and prove good; whether they did.

        Raises:
            InvalidInput: They are no good: the folder stays as it was. The sentence names the file.
            OSError: The folder cannot be written.
        """
        now, files = self._clock.wall(), self._files
        before = self._read()
        facts = check_pair(files.certificate, files.key, now)
        if files.client_ca is not None:
            check_authority(files.client_ca, now)
        contents = self._read()
        if contents != before:
            raise InvalidInput(
                f"{files.certificate} and what belongs to it changed while they were read.",
                reason="FILES_UNSETTLED",
                fix="They are read again once they rest.",
            )
        self._facts = facts
        if self._folder.exists and contents == self._kept():
            return False
        self._folder.write(*contents)
        write_secrets(self._folder)
        return True

    async def run(self, events: EventLog) -> None:
        """Take the files whenever they change, and remind of their end, until cancelled."""
        settled = pending = await asyncio.to_thread(self._marks)
        # They may have changed while nobody looked.
        await self._again(events)
        while True:
            self._remind(events)
            await self._clock.sleep(_LOOK_EVERY)
            found = await asyncio.to_thread(self._marks)
            if found == pending and found != settled:
                settled = found
                await self._again(events)
            pending = found

    async def _again(self, events: EventLog) -> None:
        try:
            if not await asyncio.to_thread(self.take):
                return
        except (InvalidInput, OSError) as error:
            said = error.sentence() if isinstance(error, InvalidInput) else str(error)
            events.add("CERTIFICATE_REFUSED", SUBJECT, f"The certificate in use stays: {said}")
            return
        if self._facts is not None:
            shown = f"{self._facts.label} (serial {self._facts.serial}, until {moment(self._facts.not_after)})"
            events.add("CERTIFICATE_CHANGED", SUBJECT, f"The public port shows a new certificate: {shown}.")
        self._reminded = -_REMIND_EVERY

    def _remind(self, events: EventLog) -> None:
        warning = self._facts.warning(self._clock.wall()) if self._facts else ""
        now = self._clock.monotonic()
        if warning and now - self._reminded >= _REMIND_EVERY:
            self._reminded = now
            events.add("CERTIFICATE_EXPIRES", SUBJECT, f"{warning} Put a new one into {self._files.certificate}.")

    def _read(self) -> tuple[bytes, bytes, bytes]:
        try:
            authority = self._files.client_ca.read_bytes() if self._files.client_ca else b""
            return self._files.certificate.read_bytes(), self._files.key.read_bytes(), authority
        except OSError as error:
            raise InvalidInput(
                f"{error.filename} cannot be read: {error.strerror}.",
                reason="FILE_UNREADABLE",
                fix="Check the path and who may read it.",
            ) from error

    def _kept(self) -> tuple[bytes, bytes, bytes]:
        folder = self._folder
        return folder.certificate.read_bytes(), folder.key.read_bytes(), folder.authority.read_bytes()

    def _marks(self) -> object:
        """What differs as soon as one of the files is another or was written."""
        found: list[tuple[int | None, ...]] = []
        for path in (self._files.certificate, self._files.key, self._files.client_ca):
            try:
                about = path.stat() if path else None
            except OSError as error:
                found.append((error.errno,))
            else:
                found.append((about.st_ino, about.st_size, about.st_mtime_ns, about.st_mode) if about else ())
        return found
