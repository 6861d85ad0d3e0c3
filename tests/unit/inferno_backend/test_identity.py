"""A node's name is kept, and its folder belongs to one agent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inferno_backend.identity import held, incarnation, node_id
from inferno_runtime.errors import Unavailable


def test_a_name_is_made_once_and_kept(tmp_path: Path) -> None:
    made = node_id("", tmp_path)
    assert node_id("", tmp_path) == made
    (tmp_path / "node_id").write_text("")
    assert node_id("", tmp_path)


def test_a_wanted_name_is_taken(tmp_path: Path) -> None:
    assert node_id("gpu-7", tmp_path) == "gpu-7"


def test_a_folder_is_held_by_one_agent_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with held(folder), pytest.raises(Unavailable, match=rf"used by another node \(pid {os.getpid()}\)"), held(folder):
        pass
    with held(folder):
        pass


def test_a_folder_that_cannot_be_made_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="Not a directory"), held(tmp_path / "file" / "folder"):
        pass


def test_each_life_has_a_greater_number_though_the_clock_is_set_back(tmp_path: Path) -> None:
    assert incarnation(1000, tmp_path) == 1000
    assert incarnation(2000, tmp_path) == 2000
    assert incarnation(500, tmp_path) == 2001
    (tmp_path / "incarnation").write_text("damaged")
    assert incarnation(500, tmp_path) == 500
