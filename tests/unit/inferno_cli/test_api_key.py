from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from inferno_cli.main import command
from inferno_runtime.identity.api_keys import hash_of


def test_a_key_is_shown_once_with_the_lines_that_let_it_in() -> None:
    result = CliRunner().invoke(command, ["key", "create", "team"])
    assert result.exit_code == 0
    key, *lines = result.stdout.splitlines()
    assert lines == ["proxy:", "  clients:", "    team:", f'      keys: ["{hash_of(key)}"]']
    assert "shown once" in result.stderr


def test_programs_get_it_as_json() -> None:
    made = json.loads(CliRunner().invoke(command, ["key", "create", "team", "-o", "json"]).stdout)
    assert (made["name"], made["hash"]) == ("team", hash_of(made["key"]))


def test_a_key_in_a_file_is_shown_to_nobody(tmp_path: Path) -> None:
    file = tmp_path / "key"
    result = CliRunner().invoke(command, ["key", "create", "team", "--out", str(file), "-o", "json"])
    key = file.read_text().strip()
    assert "key" not in json.loads(result.stdout)
    assert key not in result.output
    assert json.loads(result.stdout)["hash"] == hash_of(key)
    assert file.stat().st_mode & 0o777 == 0o600
    again = CliRunner().invoke(command, ["key", "create", "team", "--out", str(file)])
    assert (again.exit_code, "File exists" in again.stderr) == (2, True)
    assert file.read_text().strip() == key


def test_a_client_has_a_name_of_one_word() -> None:
    result = CliRunner().invoke(command, ["key", "create", "two words"])
    assert (result.exit_code, "cannot be a client's name" in result.stderr) == (2, True)
