"""What an import costs, and which way imports point."""

from __future__ import annotations

import json
import subprocess
import sys
from graphlib import TopologicalSorter

import grimp
import pytest

from tests.architecture import tree

# Each costs 80 to 400 ms; a command line that only prints its help must load none.
HEAVY = (
    "aiohttp", "alembic", "envoy_data_plane", "google.protobuf", "grpc", "numpy", "onnxruntime", "sqlalchemy",
    "sqlmodel", "tritonclient",
)  # fmt: skip
ENTRY_POINTS = sorted(entry.partition(":")[0] for entry in tree.pyproject()["project"]["scripts"].values())


@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_importing_a_command_line_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree.ROOT, check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert module in loaded
    assert not loaded.intersection(HEAVY)


@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_a_command_line_prints_its_help_and_nothing_else(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from {module} import main; main()", "--help"],
        cwd=tree.ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "Usage" in done.stdout
    assert done.stderr == ""


def test_every_module_can_be_the_first_that_is_imported() -> None:
    graph = grimp.build_graph(*tree.PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    # It names a circle, if there is one.
    order = TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})
    assert len(list(order.static_order())) > 500


def test_the_direction_of_imports_covers_every_package_of_the_tree() -> None:
    contracts = {contract["id"]: contract for contract in tree.pyproject()["tool"]["importlinter"]["contracts"]}
    layered = {package.strip() for layer in contracts["direction"]["layers"] for package in layer.split("|")}
    on_disk = {path.parent.name for path in tree.ROOT.glob("inferno*/__init__.py")}
    assert layered == on_disk == {*tree.PACKAGES, "inferno"}
    assert set(tree.pyproject()["tool"]["importlinter"]["root_packages"]) == on_disk
    assert set(tree.pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == on_disk
