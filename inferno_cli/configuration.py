"""The settings file as a whole: its schema, its mistakes, and what follows from it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferno_backend.settings import BackendSettings
from inferno_governator.settings import GovernatorSettings
from inferno_proxy.discovery import node_file
from inferno_proxy.settings import ProxySettings
from inferno_runtime.errors import InfernoError, NotFound
from inferno_runtime.settings import Loaded, Settings, load
from inferno_runtime.settings_schema import file_schema, model_schema

SECTIONS: tuple[type[Settings], ...] = (ProxySettings, BackendSettings, GovernatorSettings)
# A password in an address such as postgresql://user:password@host/name.
_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^@\s]+(@)")


@dataclass(frozen=True, slots=True)
class Setting:
    """One option in force, and where it comes from: ``default``, ``FILE:LINE`` or an environment variable."""

    section: str
    name: str
    value: Any
    origin: str


def schema(kind: str) -> Mapping[str, Any]:
    """The JSON Schema of a kind of file: ``settings`` or ``nodes`` (what ``proxy.discovery_file`` names)."""
    if kind == "nodes":
        return model_schema(node_file.NodeList, "Nodes of Inferno")
    return file_schema(SECTIONS)


def mistakes(file: Path, kind: str) -> tuple[InfernoError, ...]:
    """What is wrong with a file: of settings the first mistake of each section, each mistake once."""
    found: dict[str, InfernoError] = {}
    for each in _mistakes(file, kind):
        found.setdefault(each.message, each)
    return tuple(found.values())


def _mistakes(file: Path, kind: str) -> Iterator[InfernoError]:
    if kind == "nodes":
        try:
            node_file.parse(_content(file), file)
        except InfernoError as error:
            yield error
        return
    for cls in SECTIONS:
        try:
            load(cls, file=file)
        except InfernoError as error:
            yield error


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}.", reason="NO_FILE", fix="Check the path.") from error


def in_force(file: Path | None, env: Mapping[str, str]) -> tuple[Setting, ...]:
    """Every option as it holds with this file and environment, and no flags.

    Raises:
        InvalidInput: There is a mistake in it.
        NotFound: There is no such file.
    """
    return tuple(each for cls in SECTIONS for each in _settings(cls.section, load(cls, file=file, env=env)))


def _settings(section: str, loaded: Loaded[Any]) -> Iterator[Setting]:
    values = loaded.value.model_dump(mode="json", exclude_unset=False)
    said = loaded.value.model_dump(mode="json", exclude_unset=True)
    for name, origin in loaded.origins.items():
        # Of settings inside settings only what was said: what a model's entry leaves out holds as elsewhere.
        value = said.get(name, values[name]) if isinstance(values[name], Mapping) else values[name]
        yield Setting(section, name, without_passwords(value), origin)


def without_passwords(value: Any) -> Any:
    """The same without passwords in addresses.

    >>> without_passwords({"db": ["postgresql://me:secret@h/d", "sqlite:///f.db"]})
    {'db': ['postgresql://me:***@h/d', 'sqlite:///f.db']}
    """
    if isinstance(value, Mapping):
        return {key: without_passwords(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_passwords(one) for one in value]
    return _PASSWORD.sub(r"\1***\2", value) if isinstance(value, str) else value


def as_yaml(settings: tuple[Setting, ...], *, origins: bool) -> str:
    """The settings as a file would say them, each with its origin behind it when wanted."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    document = CommentedMap()
    for each in settings:
        section = document.setdefault(each.section, CommentedMap())
        section[each.name] = each.value
        if origins:
            section.yaml_add_eol_comment(each.origin, each.name)
    text = io.StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.dump(document, text)
    return text.getvalue().rstrip("\n")
