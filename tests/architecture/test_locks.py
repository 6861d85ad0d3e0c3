"""The locks install what pyproject.toml asks for, from any package index, and nothing unchecked."""

from __future__ import annotations

import re

import pytest

from tests.architecture import tree

LOCKS = ("runtime", "dev")


def pins(lock: str) -> dict[str, str]:
    """Version of each locked package, by its normalized name."""
    text = (tree.ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_with_hashes_and_names_no_index(lock: str) -> None:
    text = (tree.ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    requirements = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(requirements) == len(pins(lock)) > 50
    assert all("--hash=sha256:" in requirement for requirement in requirements)
    assert "://" not in text
    assert "index" not in re.sub(r"#.*", "", text)


def test_what_is_pinned_exactly_is_locked_so() -> None:
    project = tree.pyproject()
    groups = project["dependency-groups"]
    wanted = {"runtime": [*project["project"]["dependencies"], *groups["build"]], "dev": groups["dev"]}
    for lock, requirements in wanted.items():
        locked = pins(lock)
        for requirement in requirements:
            name = re.split(r"[\[<>=!~ ]", requirement)[0].lower().replace(".", "-").replace("_", "-")
            assert name in locked, f"{name} is locked: run `nox -s lock`"
            if "==" in requirement:
                assert locked[name] == requirement.partition("==")[2], f"{name}: run `nox -s lock`"


def test_the_tools_lock_holds_the_runtime_as_the_runtime_lock_does() -> None:
    runtime, dev = pins("runtime"), pins("dev")
    assert runtime.items() <= dev.items()


def test_the_project_is_built_with_what_is_locked() -> None:
    project = tree.pyproject()
    assert project["build-system"]["requires"] == project["dependency-groups"]["build"]
