"""One life of an Envoy by name, and where it leaves its last word."""

from __future__ import annotations

from pathlib import Path

# What an Envoy had counted of usage when it ended in order lies beside its admin socket.
LAST_USAGE = ".usage"


def life_of(socket: Path) -> str:
    """A name that no other process has which listens, or listened, on an admin socket of this name; empty when there is
    no socket."""
    try:
        return f"{socket.stem}@{socket.stat().st_mtime_ns}"
    except FileNotFoundError:
        return ""


def last_usage(socket: Path) -> Path:
    """Where the Envoy that listens on this admin socket leaves its last word."""
    return socket.with_name(f"{life_of(socket)}{LAST_USAGE}")
