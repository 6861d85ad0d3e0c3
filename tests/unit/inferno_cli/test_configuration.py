"""The settings file as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from inferno_cli import configuration
from inferno_cli.main import command
from inferno_runtime import yaml_text
from inferno_runtime.settings import load
from inferno_runtime.settings_schema import file_schema
from tests.architecture import tree

EXAMPLE = tree.ROOT / "docs" / "inferno.example.yaml"
NODES = b"nodes:\n  - {node_id: a, grpc: 'h:1', labels: {a: b}, price_per_hour: 2.5}\n"


def inferno(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(command, ["config", *arguments], env={"XDG_DATA_HOME": "/data", **env})


def document(content: bytes) -> Any:
    # As JSON has it: lists, and keys that are text.
    return json.loads(json.dumps(yaml_text.plain(yaml_text.parse(content, "f"))))


def accepts(kind: str, content: bytes) -> bool:
    validator = jsonschema.Draft202012Validator(dict(configuration.schema(kind)))
    return not list(validator.iter_errors(document(content)))


def test_the_example_is_valid_for_every_component_and_by_the_schema() -> None:
    for cls in configuration.SECTIONS:
        assert set(load(cls, file=EXAMPLE).origins.values()) > {"default"}
    assert accepts("settings", EXAMPLE.read_bytes())
    assert inferno("validate", str(EXAMPLE)).output == f"{EXAMPLE}: nothing is wrong.\n"


@pytest.mark.parametrize(
    "text",
    [
        "prox: {}",
        "proxy: {prot: 1}",
        "proxy: {port: 65536}",
        "proxy: {models: {m: {retrys: 1}}}",
        "proxy: {models: {m: {retries: 11}}}",
        "proxy: {models: {m: {rate: {calls: 4294967296}}}}",
        "proxy: {aliases: {'a b': m}}",
        "proxy: {kubernetes: {service: s}}",
        "backend: {spot: maybe}",
        "governator: []",
    ],
)
def test_the_schema_refuses_what_is_unknown_or_out_of_bounds(text: str, tmp_path: Path) -> None:
    assert not accepts("settings", text.encode())
    (tmp_path / "f.yaml").write_text(text)
    assert inferno("validate", str(tmp_path / "f.yaml")).exit_code == 2


def test_sections_may_be_empty() -> None:
    assert accepts("settings", b"proxy:\nbackend: {}\n")


def test_the_schema_has_every_option_with_its_help_and_nothing_of_ours() -> None:
    schema = json.loads(inferno("schema").output)
    jsonschema.Draft202012Validator.check_schema(schema)
    for cls in configuration.SECTIONS:
        described = schema["$defs"][cls.__name__]["properties"]
        assert {name: field.description for name, field in cls.model_fields.items()} == {
            name: each["description"] for name, each in described.items()
        }
        assert not any(each.keys() & {"flag", "metavar", "live", "title"} for each in described.values())
    assert schema["$defs"]["ProxySettings"]["properties"]["port"] == {
        "default": 8080,
        "description": "Public port; 0 picks a free one.",
        "maximum": 65535,
        "minimum": 0,
        "type": "integer",
    }
    # Whose machine it is must not show.
    assert "default" not in schema["$defs"]["BackendSettings"]["properties"]["data_dir"]
    assert file_schema(configuration.SECTIONS) == schema


def test_a_list_of_nodes_has_a_schema_of_its_own(tmp_path: Path) -> None:
    assert accepts("nodes", NODES)
    assert not accepts("nodes", NODES.replace(b"labels", b"lables"))
    file = tmp_path / "nodes.yaml"
    file.write_bytes(NODES)
    assert inferno("validate", str(file), "--for", "nodes").exit_code == 0
    file.write_bytes(NODES.replace(b"labels", b"lables"))
    refused = inferno("validate", str(file), "--for", "nodes")
    assert (refused.exit_code, f"{file}:2: unknown key 'lables' (did you mean 'labels'?)" in refused.stderr) == (
        2,
        True,
    )
    assert "No such file" in inferno("validate", str(tmp_path / "none"), "--for", "nodes").stderr


def test_each_section_has_its_mistake_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("proxy:\n  port: high\nbackend:\n  spott: true\ngovernator: {}\n")
    found = inferno("validate", str(file))
    assert (found.exit_code, found.stdout) == (2, "")
    assert f"{file}:2: proxy.port" in found.stderr
    assert f"{file}:4: unknown key 'backend.spott'.\n  fix: Did you mean 'spot'?" in found.stderr
    file.write_text("proxy: [\n")
    assert inferno("validate", str(file)).stderr.count("not valid YAML") == 1


def test_values_in_force_are_shown_with_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("proxy:\n  port: 9\n  models:\n    m: {retries: 2}\ngovernator: {db: 'postgresql://u:pw@h/d'}\n")
    shown = inferno("view", "--config", str(file), "--origin", INFERNO_PROXY_REGION="r").output
    assert f"  port: 9 # {file}:2\n" in shown
    assert "  region: r # INFERNO_PROXY_REGION\n" in shown
    assert "  zone: '' # default\n" in shown
    assert f"  models: # {file}:3\n    m:\n      retries: 2\n" in shown
    assert "  db: postgresql://u:***@h/d #" in shown
    plain = inferno("view", "--config", str(file)).output
    assert "#" not in plain
    assert document(plain.encode())["proxy"]["models"] == {"m": {"retries": 2}}


def test_values_in_force_come_as_json_too() -> None:
    found = json.loads(inferno("view", "-o", "json", "--origin").output)
    assert found["proxy"]["port"] == {"value": 8080, "origin": "default"}
    assert json.loads(inferno("view", "-o", "json").output)["proxy"]["port"] == 8080
