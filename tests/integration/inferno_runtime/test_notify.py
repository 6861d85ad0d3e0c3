from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from pathlib import Path

import pytest

from inferno_runtime import notify, process
from inferno_runtime.notify import NotifySocket

CHILD = """
from inferno_runtime import notify
notify.ready(address='127.0.0.1:1', models=['m'])
notify.alive()
notify.stopping()
"""


async def test_a_parent_learns_who_is_ready_and_with_what() -> None:
    async with NotifySocket() as heard:
        child = await process.spawn([sys.executable, "-c", CHILD], env={**os.environ, "NOTIFY_SOCKET": heard.path})
        pid, fields = await asyncio.wait_for(heard.receive(), 10)
        assert (pid, fields["READY"]) == (child.pid, "1")
        facts = json.loads(fields["X_INFERNO"])
        assert facts == {"pid": child.pid, "address": "127.0.0.1:1", "models": ["m"]}
        assert await heard.receive() == (child.pid, {"WATCHDOG": "1"})
        assert await heard.receive() == (child.pid, {"STOPPING": "1"})
        assert await child.wait() == 0


async def test_the_socket_leaves_no_file() -> None:
    async with NotifySocket() as heard:
        assert heard.path.startswith("@")


def test_without_a_parent_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.ready()


def test_a_parent_that_is_gone_disturbs_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in (str(tmp_path / "gone"), "@inferno-nobody-listens-here"):
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        notify.stopping()


def test_a_path_in_the_file_system_works_as_systemd_gives_it(monkeypatch: pytest.MonkeyPatch, socket_dir: Path) -> None:
    path = str(socket_dir / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        notify.ready()
        assert systemd.recv(1000).startswith(b"READY=1\nX_INFERNO={")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may speak as another user")
async def test_what_another_user_says_is_ignored() -> None:
    async with NotifySocket() as heard:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.connect("\0" + heard.path[1:])
            for user, said in ((65534, b"READY=1\nX=lie"), (0, b"READY=1\nX=truth")):
                credentials = struct.pack("3i", os.getpid(), user, user)
                other.sendmsg([said], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
        assert await heard.receive() == (os.getpid(), {"READY": "1", "X": "truth"})
