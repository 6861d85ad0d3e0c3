"""A repository like the user's in which one model has a configuration of ours; the user's own is never written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from inferno_backend.triton.repository import Repository, scan
from inferno_runtime import private_file

CONFIG = "config.pbtxt"


class Overlay:
    """Made in ``folder``, an empty one. Everything but the model's ``config.pbtxt`` is a link to the user's file."""

    def __init__(self, original: Path, model: str, folder: Path) -> None:
        self.path = folder
        self._model = folder / model
        self._model.mkdir(parents=True)
        for other in original.iterdir():
            if other.name != model:
                (folder / other.name).symlink_to(other)
        for each in (original / model).iterdir():
            if each.name != CONFIG:
                (self._model / each.name).symlink_to(each)
        self._original = original / model / CONFIG
        self.restore()

    def repository(self) -> Repository:
        """What Triton is started over."""
        return scan(self.path)

    def restore(self) -> None:
        """Give the model the configuration of the user's repository."""
        config = self._model / CONFIG
        if self._original.is_file():
            config.write_bytes(self._original.read_bytes())
        else:
            config.unlink(missing_ok=True)

    def configure(self, config: Any) -> None:
        """Give the model a ``ModelConfig``."""
        (self._model / CONFIG).write_text(text_of(config), encoding="utf-8")


def text_of(config: Any) -> str:
    """A ``ModelConfig`` as ``config.pbtxt`` holds it."""
    return str(text_format.MessageToString(config))


def apply(model: Path, text: str) -> Path | None:
    """Put a configuration into the user's repository; the old one is kept beside it, and its path returned.

    Raises:
        OSError: It cannot be written; the old one is still in force.
    """
    config, before = model / CONFIG, model / f"{CONFIG}.before-tuning"
    kept = config.is_file()
    if kept:
        before.write_bytes(config.read_bytes())
    mode = config.stat().st_mode if kept else 0o644
    private_file.replace(config, text.encode())
    config.chmod(mode)
    return before if kept else None
