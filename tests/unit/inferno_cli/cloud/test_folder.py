from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import pytest

from inferno_cli.cloud import folder
from inferno_runtime.errors import AlreadyExists, InvalidInput


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    made = folder.prepare(tmp_path / "a" / "b")
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert made.logs.is_dir()
    assert made.of("proxy") == made.path / "proxy"


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the sockets in it allow 77"):
        folder.prepare(tmp_path / ("x" * 80))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be used: Not a directory"):
        folder.prepare(tmp_path / "file" / "data")


async def test_a_second_mesh_on_one_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    made = folder.prepare(tmp_path / "d")
    async with folder.locked(made):
        with pytest.raises(AlreadyExists, match=rf"used by another inferno up \(pid {os.getpid()}\)"):
            async with folder.locked(made):
                pass
    async with folder.locked(made) as descriptor:
        assert descriptor > 2


async def test_components_of_a_dead_parent_get_time_to_end(tmp_path: Path) -> None:
    made = folder.prepare(tmp_path / "d")
    dead = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await dead.wait()
    # What a component that inherited the lock holds.
    held = os.open(made.lock, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    made.lock.write_text(str(dead.pid))
    waiting = asyncio.create_task(_take(made))
    await asyncio.sleep(0)
    assert not waiting.done()
    os.close(held)
    assert await asyncio.wait_for(waiting, 10) == str(os.getpid())


async def _take(made: folder.DataFolder) -> str:
    async with folder.locked(made):
        return made.lock.read_text()


async def test_components_that_never_end_are_told_apart_from_a_living_parent(tmp_path: Path) -> None:
    made = folder.prepare(tmp_path / "d")
    held = os.open(made.lock, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(AlreadyExists, match="whose components have not ended yet"):
        async with folder.locked(made, patience=0.0):
            pass
    os.close(held)
