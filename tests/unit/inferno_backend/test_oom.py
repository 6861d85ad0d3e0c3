"""What the kernel's counters say of a process that it may have ended for lack of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferno_backend.oom import Kills, read, verdict


def kernel(root: Path, cgroup: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/vmstat").write_text("pgfault 12\noom_kill 7\n")
    return root


EVENTS = "low 0\noom 4\noom_kill 3\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"


def test_the_counters_of_cgroup_v2_are_read_at_the_path_the_kernel_gives(tmp_path: Path) -> None:
    root = kernel(tmp_path, "0::/pod\n")
    (root / "sys/fs/cgroup/pod").mkdir(parents=True)
    (root / "sys/fs/cgroup/pod/memory.events").write_text(EVENTS)
    (root / "sys/fs/cgroup/pod/memory.max").write_text("536870912\n")
    assert read(root) == Kills(3, 7, 536870912)


def test_those_of_a_container_that_sees_only_its_own_group_are_at_the_mount(tmp_path: Path) -> None:
    root = kernel(tmp_path, "0::/../elsewhere\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.events").write_text(EVENTS)
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert read(root) == Kills(3, 7, None)


@pytest.mark.parametrize(("limit", "seen"), [("9223372036854771712", None), ("1048576", 1048576)])
def test_those_of_cgroup_v1_are_in_its_memory_hierarchy(tmp_path: Path, limit: str, seen: int | None) -> None:
    root = kernel(tmp_path, "5:devices:/\n4:cpu,memory:/a/b\n0::/\n")
    folder = root / "sys/fs/cgroup/memory"
    folder.mkdir(parents=True)
    (folder / "memory.oom_control").write_text(CONTROL)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    assert read(root) == Kills(2, 7, seen)


def test_a_kernel_that_tells_nothing_is_not_guessed_at(tmp_path: Path) -> None:
    assert read(tmp_path) == Kills()
    assert read(kernel(tmp_path, "nonsense\n")) == Kills(None, 7)


def test_this_machines_kernel_counts_for_the_whole_machine() -> None:
    assert read().machine is not None


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (Kills(1, 1), Kills(2, 2), "the kernel ended it because its control group had used up its memory"),
        (Kills(1, 1, 2**30), Kills(2, 2, 2**30), "its control group had used up its 1024 MiB of memory"),
        (Kills(None, 1), Kills(None, 2), "the machine had used up its memory"),
        (Kills(1, 1), Kills(1, 2), ""),
        (Kills(1, 1), Kills(1, 1), ""),
        (Kills(), Kills(1, 1), ""),
    ],
)
def test_only_a_counter_that_grew_is_evidence(before: Kills, after: Kills, told: str) -> None:
    assert told in verdict(before, after)
    assert bool(told) == bool(verdict(before, after))
