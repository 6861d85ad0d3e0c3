"""The shape of the code base: small modules with a domain's names, and packages that say what they are for."""

from __future__ import annotations

import ast
import re
import subprocess

from tests.architecture import tree

LONGEST = 400
DRAWERS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:root|work)/")


def test_no_module_is_longer_than_a_reader_holds_in_mind() -> None:
    long = {
        tree.name(path): lines
        for path in [*tree.modules(), *tree.modules_of_tests()]
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert not long, f"modules over {LONGEST} lines: is there a room missing? {long}"


def test_modules_are_named_after_the_domain_and_never_after_a_drawer() -> None:
    drawers = [tree.name(path) for path in tree.modules() if path.stem in DRAWERS or path.parent.name in DRAWERS]
    assert not drawers


def test_every_package_says_what_it_is_for_and_is_typed() -> None:
    for package in tree.PACKAGES:
        root = tree.ROOT / package
        assert (root / "py.typed").exists(), f"{package} ships its types"
        for init in [root / "__init__.py", *root.rglob("*/__init__.py")]:
            module = ast.parse(init.read_text(encoding="utf-8"))
            assert ast.get_docstring(module), f"{tree.name(init)} has a docstring"


def test_every_folder_with_modules_is_a_package() -> None:
    scripts = {"examples", "migrations"}  # run by Triton and by Alembic, imported by nobody
    missing = {
        tree.name(path.parent)
        for path in tree.modules()
        if not scripts.intersection(path.parts) and not (path.parent / "__init__.py").exists()
    }
    assert not missing


def test_tests_mock_nothing_and_sleep_only_to_wait_for_a_condition() -> None:
    found = []
    for path in tree.modules_of_tests():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # kmock is a server on a socket: a part that cannot run here, at the far side of the wire.
            imports = isinstance(node, ast.ImportFrom | ast.Import)
            mocks = imports and "mock" in ast.unparse(node).replace("import kmock", "")
            sleeps = isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
            if mocks or (sleeps and path != tree.ROOT / "tests" / "waiting.py"):
                found.append(f"{tree.name(path)}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    assert not found


def test_unit_and_integration_tests_mirror_the_packages() -> None:
    known = {*tree.PACKAGES, "benchmarks", "tooling"}
    for level in ("unit", "integration"):
        folders = {
            path.name
            for path in (tree.ROOT / "tests" / level).iterdir()
            if path.is_dir() and any(path.rglob("test_*.py"))
        }
        assert folders <= known, f"tests/{level} mirrors the source"


def test_no_tracked_file_names_a_place_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=tree.ROOT, check=True, capture_output=True, text=True).stdout
    found = []
    for tracked in listed.split("\0")[:-1]:
        path = tree.ROOT / tracked
        if not path.is_file():
            continue  # removed, and not committed yet
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        match = MACHINE_PATH.search(text)
        if match:
            found.append(f"{tracked}: {text[match.start() : match.start() + 40]!r}")
    assert not found
