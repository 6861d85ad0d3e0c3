"""One ``inferno key create``: a new key, and what the proxy's settings need of it."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from inferno_cli import output
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity import api_keys

# As proxy.clients takes it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Created:
    """A client's name, its key (empty where it went into a file), the key's hash, and the lines for the settings."""

    name: str
    hash: str
    settings: str
    key: str = field(default="", repr=False)


def create(name: str, file: Path | None) -> Created:
    """Make a key; with ``file`` it goes there.

    Raises:
        InvalidInput: The name is none that a client can have, or the file is there or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be a client's name.",
            reason="BAD_NAME",
            fix="Use up to 63 letters, digits, dots, dashes and underscores, a letter or digit first.",
        )
    key = api_keys.new_key()
    hashed = api_keys.hash_of(key)
    if file is not None:
        _write(file, key)
    settings = f'proxy:\n  clients:\n    {name}:\n      keys: ["{hashed}"]\n'
    return Created(name, hashed, settings, "" if file else key)


def _write(file: Path, key: str) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidInput(
            f"The key cannot be written to {file}: {error.strerror}.",
            reason="BAD_FILE",
            fix="Name a file that is not there yet, in a folder that you may write.",
        ) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(key + "\n")


def show(created: Created, form: output.Format) -> None:
    """Print it."""
    if form == "json":
        shown = asdict(created)
        if not created.key:
            del shown["key"]
        output.print_json(shown)
        return
    if created.key:
        output.print_line(created.key)
        output.say("This key is shown once: give it to the client, and the lines below to the proxy's settings.\n")
    output.print_line(created.settings.rstrip())
