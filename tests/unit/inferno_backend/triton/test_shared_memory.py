"""Whether shared memory is large enough, before Triton finds out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inferno_backend.triton import shared_memory
from inferno_runtime.errors import Unavailable


def has(monkeypatch: pytest.MonkeyPatch, free: float, size: float = 64.0) -> None:
    """A file system of 4 KiB blocks, in MiB."""
    blocks = (4096, 4096, int(size * 256), int(free * 256), int(free * 256), 0, 0, 0, 0, 255)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(blocks))


def test_enough_room_is_nothing_to_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, free=3)
    assert shared_memory.check(3, tmp_path) == ""


def test_room_for_some_is_a_warning_with_figures_and_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, free=2.5)
    told = shared_memory.check(3, tmp_path)
    assert told.startswith(f"{tmp_path} has 2.5 MiB free of 64.0, and 3 instances of Python models take 1 MiB each")
    assert "--shm-size" in told


def test_no_room_for_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, free=0.5)
    with pytest.raises(Unavailable, match=r"too little shared memory: .* has 0\.5 MiB free of 64\.0") as refused:
        shared_memory.check(1, tmp_path)
    assert "--shm-size" in refused.value.fix


def test_models_that_need_none_are_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, free=0)
    assert shared_memory.check(0, tmp_path) == shared_memory.check(3, tmp_path / "nothing") == ""
