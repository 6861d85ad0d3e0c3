"""What the supervisor hands the control plane: the settings in force, and where they can be read again.

The control plane writes the file anew when it has taken changed settings over, so that its next life starts from the
last settings that proved good and never from a file that somebody is editing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from inferno_proxy.door_settings import DoorSettings
from inferno_proxy.fleet import Address
from inferno_proxy.settings import ProxySettings
from inferno_runtime.settings import Loaded, load


@dataclass(frozen=True, slots=True)
class Origin:
    """Where settings come from besides the environment: the file, and the flags that were given, by field name."""

    file: Path | None = None
    flags: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def read(self, env: Mapping[str, str]) -> Loaded[ProxySettings]:
        """Read the settings as they are now.

        Raises:
            NotFound: The file does not exist.
            InvalidInput: Something in them is wrong; the sentence names the line.
        """
        return load(ProxySettings, file=self.file, env=env, flags=self.flags)


@dataclass(frozen=True, slots=True)
class HandOver:
    """The settings in force, the public address (its port never 0), and the settings' origin."""

    settings: ProxySettings
    listen: Address
    origin: Origin = field(default_factory=Origin)

    def write(self, path: Path) -> None:
        """Replace the file at once; only this user can read it.

        Raises:
            OSError: It cannot be written.
        """
        document = {
            "settings": self.settings.model_dump(mode="json", exclude_unset=True),
            "listen": {"host": self.listen.host, "port": self.listen.port},
            "file": str(self.origin.file) if self.origin.file else None,
            "flags": dict(self.origin.flags),
        }
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, default=str)
        fresh.replace(path)

    @staticmethod
    def proven(path: Path) -> ProxySettings:
        """The settings that were kept as good at a path; the defaults, which are, when there are none to be read."""
        try:
            return HandOver.read(path).settings
        except (OSError, ValueError, KeyError):
            return ProxySettings()

    @staticmethod
    def has_doors_of(path: Path, settings: ProxySettings) -> bool:
        """Whether what was kept at a path protects its ports as these settings say; False when it cannot be read."""
        try:
            before = HandOver.read(path).settings
        except (OSError, ValueError, KeyError):
            return False
        return all(getattr(before, name) == getattr(settings, name) for name in DoorSettings.model_fields)

    @staticmethod
    def read(path: Path) -> HandOver:
        """What :meth:`write` wrote.

        Raises:
            OSError: The file cannot be read.
        """
        document = json.loads(path.read_text(encoding="utf-8"))
        origin = Origin(Path(document["file"]) if document["file"] else None, MappingProxyType(document["flags"]))
        return HandOver(ProxySettings.model_validate(document["settings"]), Address(**document["listen"]), origin)
