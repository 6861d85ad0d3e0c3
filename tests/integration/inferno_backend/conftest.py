"""Model repositories for real Tritons."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.inferno_backend.agent import MODELS

FAILING = "raise RuntimeError('no weights here')\n"


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """Lays out a repository with the named test models."""

    def lay_out(*models: str) -> Path:
        folder = tmp_path / "models"
        for model in models:
            shutil.copytree(MODELS / model, folder / model, ignore=shutil.ignore_patterns("__pycache__"))
        return folder

    return lay_out
