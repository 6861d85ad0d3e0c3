"""Readiness by the sd_notify protocol, so that systemd and ``inferno up`` learn it the same way.

Source: systemd, sd_notify(3). A datagram of ``KEY=value`` lines goes to the Unix socket named by ``NOTIFY_SOCKET``.
Facts for ``inferno up`` travel as one JSON object in ``X_INFERNO``; systemd ignores unknown keys.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_CREDENTIALS = struct.Struct("3i")
_MAX_DATAGRAM = 65536


def ready(**facts: object) -> None:
    """Say that this process serves, with what a parent wants to know of it (JSON values)."""
    _send(f"READY=1\nX_INFERNO={json.dumps({'pid': os.getpid(), **facts})}")


def stopping() -> None:
    """Say that this process has begun to stop."""
    _send("STOPPING=1")


def _send(message: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(message.encode(), address)
        except (FileNotFoundError, ConnectionRefusedError):
            # The listener is gone; a process serves whether or not somebody waits to hear it.
            return


class NotifySocket:
    """The parent's end: an async context manager that receives what children say."""

    def __init__(self) -> None:
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._socket: socket.socket | None = None

    @property
    def path(self) -> str:
        """Value for the children's ``NOTIFY_SOCKET``."""
        if self._directory is None:
            raise RuntimeError("NotifySocket is used before it is entered")
        return str(Path(self._directory.name) / "notify")

    async def __aenter__(self) -> Self:
        # A Unix socket path holds 107 bytes: the system's temporary folder is short where a data folder may not be.
        self._directory = tempfile.TemporaryDirectory(prefix="inferno-")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(self.path)
        self._socket.setblocking(False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._directory is not None:
            self._directory.cleanup()

    async def receive(self) -> tuple[int, dict[str, str]]:
        """Wait for one message; return the sender's pid, as the kernel vouches for it, and the fields."""
        if self._socket is None:
            raise RuntimeError("NotifySocket is used before it is entered")
        receiver = self._socket
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(receiver.fileno(), readable.set)
        try:
            while True:
                try:
                    data, ancillary, _, _ = receiver.recvmsg(_MAX_DATAGRAM, socket.CMSG_SPACE(_CREDENTIALS.size))
                    break
                except BlockingIOError:
                    readable.clear()
                    await readable.wait()
        finally:
            loop.remove_reader(receiver.fileno())
        pid = next(_CREDENTIALS.unpack(content)[0] for _, kind, content in ancillary if kind == socket.SCM_CREDENTIALS)
        fields = dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)
        return pid, fields
