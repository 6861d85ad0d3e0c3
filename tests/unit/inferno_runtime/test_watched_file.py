"""A file that is looked at again and again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inferno_runtime import watched_file
from inferno_runtime.watched_file import Look, contents, look
from tests.unit.inferno_runtime.hurry import HurriedClock
from tests.waiting import eventually


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    return file


async def watching(file: Path) -> AsyncIterator[Look]:
    """Past the first look."""
    looks = contents(file, HurriedClock())
    assert (await anext(looks)).content == b"one"
    return looks


async def test_a_file_that_is_written_or_replaced_has_a_new_content(file: Path) -> None:
    looks = await watching(file)
    file.write_bytes(b"two")
    assert await anext(looks) == Look(b"two")
    fresh = file.with_name("fresh")
    fresh.write_bytes(b"six")
    fresh.replace(file)
    assert await anext(looks) == Look(b"six")


async def following(looks: AsyncIterator[Look]) -> Look:
    return await anext(looks)


async def test_a_file_that_stays_as_it_is_is_read_no_more(file: Path) -> None:
    clock = HurriedClock()
    looks = contents(file, clock)
    await anext(looks)
    async with asyncio.TaskGroup() as group:
        change = group.create_task(following(looks))
        await eventually(lambda: clock.slept > 5, 5, "it is looked at")
        assert not change.done()
        file.write_bytes(b"two")
    assert change.result() == Look(b"two")


async def test_the_same_content_in_another_file_is_no_change(file: Path) -> None:
    looks = await watching(file)
    fresh = file.with_name("fresh")
    fresh.write_bytes(b"one")
    fresh.replace(file)
    file.write_bytes(b"one")
    file.touch()
    os.utime(file, (1, 1))
    file.write_bytes(b"two")
    assert await anext(looks) == Look(b"two")


async def test_a_link_on_the_way_that_is_turned_elsewhere_is_seen(tmp_path: Path) -> None:
    # As Kubernetes mounts a ConfigMap: file -> ..data/file, and ..data -> a folder of its own for each version.
    for name, content in (("v1", b"one"), ("v2", b"two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(content)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "file").symlink_to("..data/file")
    looks = await watching(tmp_path / "file")
    (tmp_path / "..fresh").symlink_to("v2")
    (tmp_path / "..fresh").replace(tmp_path / "..data")
    assert await anext(looks) == Look(b"two")


async def test_a_file_that_is_gone_is_said_to_be_and_may_come_back(file: Path) -> None:
    looks = await watching(file)
    file.unlink()
    assert await anext(looks) == Look(None, "No such file or directory")
    file.write_bytes(b"two")
    assert await anext(looks) == Look(b"two")


def test_what_is_no_file_or_far_too_large_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert look(tmp_path / "pipe") == Look(None, "it is no regular file")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(watched_file.LARGEST + 1)
    assert look(tmp_path / "large") == Look(None, "it is larger than 64 MiB")
