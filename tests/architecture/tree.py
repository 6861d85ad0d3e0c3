"""The source tree as the architecture tests see it."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("inferno_runtime", "inferno_proxy", "inferno_backend", "inferno_governator", "inferno_cli")


@cache
def pyproject() -> dict[str, Any]:
    """The project's own settings."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def modules() -> list[Path]:
    """Every hand-written module of the product."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def modules_of_tests() -> list[Path]:
    """Every test and fixture, without the models that Triton runs."""
    models = ROOT / "tests" / "models"
    return sorted(path for path in (ROOT / "tests").rglob("*.py") if not path.is_relative_to(models))


def name(path: Path) -> str:
    """A path as people write it: from the root of the tree."""
    return str(path.relative_to(ROOT))
