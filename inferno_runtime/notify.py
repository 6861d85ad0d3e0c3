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
from types import TracebackType
from typing import Self

_CREDENTIALS = struct.Struct("3i")
_MAX_DATAGRAM = 65536


def ready(**facts: object) -> None:
    """Say that this process serves, with what a parent wants to know of it (JSON values)."""
    _send(f"READY=1\nX_INFERNO={json.dumps({'pid': os.getpid(), **facts})}")


def alive() -> None:
    """Say that this process's event loop turns; whoever watches it expects that again and again."""
    _send("WATCHDOG=1")


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
    """The parent's end: an async context manager that receives what children say.

    The socket's address is abstract: it has no file that could stay behind or whose path could be too long.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @property
    def path(self) -> str:
        """Value for the children's ``NOTIFY_SOCKET``; ``@`` stands for the zero byte of an abstract address."""
        return "@" + bytes(self._socket.getsockname()[1:]).decode()

    async def __aenter__(self) -> Self:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # An empty address lets the kernel choose a free abstract one. Source: unix(7), autobind.
        self._socket.bind("")
        self._socket.setblocking(False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    async def receive(self) -> tuple[int, dict[str, str]]:
        """Wait for one message; return the sender's pid, as the kernel vouches for it, and the fields.

        Messages of other users are ignored: an abstract address has no permissions.
        """
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._socket.fileno(), readable.set)
        try:
            while True:
                try:
                    data, ancillary, _, _ = self._socket.recvmsg(_MAX_DATAGRAM, socket.CMSG_SPACE(_CREDENTIALS.size))
                except BlockingIOError:
                    readable.clear()
                    await readable.wait()
                    continue
                pid, user, _ = next(
                    _CREDENTIALS.unpack(c) for _, kind, c in ancillary if kind == socket.SCM_CREDENTIALS
                )
                if user in (os.getuid(), 0):
                    break
        finally:
            loop.remove_reader(self._socket.fileno())
        fields = dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)
        return pid, fields
