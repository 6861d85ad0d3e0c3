"""Settings: frozen values, merged from defaults < file < environment < flags, each field knowing where it came from.

A component writes a :class:`Settings` subclass once; its command line options, environment names and file keys follow
from the fields. One YAML file holds a section for each component::

    proxy:
      port: 8080
    backend:
      price_per_hour: 2.50

A field may hold settings of its own (:mod:`inferno_runtime.nested_settings`); those come from the file alone.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

import pydantic
from pydantic.fields import FieldInfo

from inferno_runtime import yaml_text
from inferno_runtime.errors import InvalidInput, NotFound
from inferno_runtime.nested_settings import Keys, bare, is_nested, place, places, valid_keys
from inferno_runtime.secret_url import BAD_SECRET

_UNSET: Any = ...


class Settings(pydantic.BaseModel):
    """Base of a component's settings: frozen, and every key is known."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    section: ClassVar[str]


def option(
    default: object = _UNSET,
    *,
    help: str,  # noqa: A002 - click's own name
    flag: str = "",
    metavar: str = "",
    live: bool = False,
    **constraints: Any,
) -> Any:
    """Declare a field.

    Args:
        default: Value when nothing says otherwise; without it the field is required.
        help: One sentence for ``--help`` and the settings reference.
        flag: Command line name; the field's name with dashes when empty.
        metavar: Placeholder in ``--help``.
        live: It can change while the component runs (see :func:`is_live`).
        constraints: Passed to ``pydantic.Field`` (``ge``, ``le``, ...).
    """
    extra: dict[str, Any] = {"flag": flag, "metavar": metavar, "live": live}
    return pydantic.Field(default=default, description=help, json_schema_extra=extra, **constraints)


class ProcessSettings(Settings):
    """What every component's settings begin with."""

    log_format: Literal["console", "json"] = option("console", help="Log lines for people or for collectors.")
    log_level: Literal["debug", "info", "warning", "error"] = option("info", help="Least severity that is logged.")


S = TypeVar("S", bound=Settings)
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings, and for each field its origin: ``default``, ``FILE:LINE``, an environment name or a flag.

    ``lines`` says where each key of the file stands, those below the first level among them, as ``FILE:LINE``.
    """

    value: S
    origins: Mapping[str, str]
    lines: Mapping[Keys, str]

    def where(self, *keys: str) -> str:
        """Where the innermost of these nested keys was set; ``default`` where nothing says anything."""
        return place(self.lines, keys) or self.origins[keys[0]]


def load(
    cls: type[S],
    *,
    file: Path | None = None,
    env: Mapping[str, str] = types.MappingProxyType({}),
    flags: Mapping[str, object] = types.MappingProxyType({}),
) -> Loaded[S]:
    """Merge the sources and validate the whole.

    Args:
        cls: Settings class; its ``section`` names the file's section and the environment's prefix.
        file: YAML file, or None.
        env: Environment; only ``INFERNO_<SECTION>_<FIELD>`` is read.
        flags: Values given on the command line, by field name; None means not given.

    Raises:
        NotFound: The file does not exist.
        InvalidInput: A key is unknown (the nearest valid one is named) or a value is not valid; the sentence names the
            file and line, the environment variable or the flag.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = dict.fromkeys(cls.model_fields, "default")
    from_file, lines = _from_file(cls, file)
    for key, (value, origin) in {**from_file, **_from_env(cls, env)}.items():
        values[key], origins[key] = value, origin
    for name, value in flags.items():
        if value is not None:
            values[name], origins[name] = value, flag_of(name, cls.model_fields[name])
    try:
        return Loaded(cls.model_validate(values), types.MappingProxyType(origins), types.MappingProxyType(dict(lines)))
    except pydantic.ValidationError as error:
        raise _invalid(cls, error, origins, lines) from error


def is_live(field: FieldInfo) -> bool:
    """True for a field that can change while the component runs; any other one needs a restart."""
    return bool(cast("dict[str, Any]", field.json_schema_extra or {}).get("live"))


def flag_of(name: str, field: FieldInfo) -> str:
    """The command line name of a field, like ``--data-dir``."""
    return _extra(field, "flag") or "--" + name.replace("_", "-")


def env_of(cls: type[Settings], name: str) -> str:
    """The environment name of a field, like ``INFERNO_PROXY_PORT``."""
    return f"INFERNO_{cls.section}_{name}".upper()


def click_options(cls: type[Settings], only: Collection[str] = ()) -> Callable[[Command], Command]:
    """A decorator that gives a click command one option for each field, so that no option is written twice.

    Options that are not given arrive as None; hand them all to :func:`load` as ``flags``. ``only`` are the fields of a
    command that needs a few of them.
    """
    import rich_click as click

    def decorate(command: Command) -> Command:
        for name, field in reversed(cls.model_fields.items()):
            if is_nested(field) or (only and name not in only):
                continue
            flag, kind = flag_of(name, field), bare(field.annotation)
            default = "" if field.default in (None, (), "") or field.is_required() else _shown(field.default)
            text = (field.description or "") + (f" (default {default})" if default else "")
            parameters: dict[str, Any] = {"help": text, "default": None}
            if kind is bool:
                flag = f"{flag}/--no-{flag[2:]}"
            else:
                parameters["type"] = _click_type(kind)
                parameters["metavar"] = _extra(field, "metavar") or None
            command = click.option(flag, name, **parameters)(command)
        # Beside the option, a word that says what it takes leaves room for the help on 80 columns.
        return click.rich_config(help_config={"theme": "slim"})(command)

    return decorate


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _click_type(kind: Any) -> Any:
    import click

    if typing.get_origin(kind) is Literal:
        return click.Choice([str(choice) for choice in typing.get_args(kind)])
    return {int: click.INT, float: click.FLOAT, Path: click.Path(path_type=Path)}.get(kind, click.STRING)


def _extra(field: FieldInfo, key: str) -> str:
    return str(cast("dict[str, Any]", field.json_schema_extra or {}).get(key, ""))


def _from_file(cls: type[Settings], file: Path | None) -> tuple[dict[str, tuple[object, str]], Mapping[Keys, str]]:
    """Each field with its origin, and where every key stands."""
    if file is None:
        return {}, {}
    document = read_file(file)
    section = document.get(cls.section)
    if section is None:
        return {}, {}
    if not isinstance(section, Mapping):
        raise InvalidInput(
            f"{file}: section {cls.section!r} is not a mapping.",
            reason="BAD_CONFIG",
            fix="Write keys and values under it.",
        )
    lines = dict(places(file, section))
    found: dict[str, tuple[object, str]] = {}
    for key, value in section.items():
        where = lines[(str(key),)]
        if key not in cls.model_fields:
            raise _unknown(where, f"{cls.section}.{key}", str(key), list(cls.model_fields))
        found[str(key)] = (yaml_text.plain(value), where)
    return found, lines


_SECTIONS = ("proxy", "backend", "governator")


def read_file(file: Path) -> Mapping[str, Any]:
    """A settings file as it is written, by section.

    Raises:
        InvalidInput: It cannot be read, or is no YAML mapping.
    """
    try:
        document = yaml_text.parse(file.read_bytes(), file) or {}
    except OSError as error:
        raise NotFound(
            f"The configuration file {file} cannot be read: {error.strerror}.",
            reason="NO_CONFIG",
            fix="Check the path given with --config.",
        ) from error
    if not isinstance(document, Mapping):
        raise InvalidInput(
            f"{file} holds no sections.",
            reason="BAD_CONFIG",
            fix=f"Begin with one of: {', '.join(_SECTIONS)}.",
        )
    for key in document:
        if key not in _SECTIONS:
            line = cast("Any", document).lc.key(key)[0] + 1
            raise _unknown(f"{file}:{line}", str(key), str(key), list(_SECTIONS))
    return document


def _unknown(where: str, shown: str, key: str, valid: list[str]) -> InvalidInput:
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    return InvalidInput(
        f"{where}: unknown key {shown!r}.",
        reason="UNKNOWN_KEY",
        fix=f"Did you mean {near[0]!r}?" if near else f"Valid keys: {', '.join(valid)}.",
        metadata={"key": shown},
    )


def _from_env(cls: type[Settings], env: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    names = {env_of(cls, name): name for name, field in cls.model_fields.items() if not is_nested(field)}
    ours = {key: value for key, value in env.items() if key.startswith(env_of(cls, ""))}
    for key in ours:
        if key not in names:
            raise _unknown("environment", key, key, list(names))
    return {names[key]: (value, key) for key, value in ours.items()}


def split_commas(value: object) -> object:
    """For a ``BeforeValidator`` of tuple fields: ``"a,b"`` from a flag or the environment means two values."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _invalid(
    cls: type[Settings], error: pydantic.ValidationError, origins: Mapping[str, str], lines: Mapping[Keys, str]
) -> InvalidInput:
    first = error.errors()[0]
    keys = tuple(map(str, first["loc"]))
    name = ".".join(keys)
    origin = place(lines, keys) or origins.get(keys[0] if keys else "", "default")
    if first["type"] == "extra_forbidden":
        return _unknown(origin, f"{cls.section}.{name}", keys[-1], valid_keys(cls, keys[:-1]))
    if first["type"] == "missing":
        if len(keys) > 1:
            return InvalidInput(
                f"{origin}: {cls.section}.{name} is required.", reason="BAD_CONFIG", fix=f"Add the key {keys[-1]!r}."
            )
        flag = flag_of(name, cls.model_fields[name])
        return InvalidInput(
            f"{cls.section}.{name} is required.",
            reason="BAD_CONFIG",
            fix=f"Give {flag}, {env_of(cls, name)} or the key {name!r} under {cls.section!r} in the file.",
        )
    what = first["msg"].removeprefix("Value error, ").rstrip(".")
    where = f"{origin}: " if origin != "default" else ""
    shown = repr(first["input"])
    # A validator of ours may have named the value already.
    told = shown in what or first["type"] == BAD_SECRET
    given = f", not {shown}" if isinstance(first["input"], str | int | float) and not told else ""
    return InvalidInput(
        f"{where}{cls.section}.{name}: {what[:1].lower()}{what[1:]}{given}."
        if name
        else f"{_mentioned(what, lines)}{cls.section}: {what}.",
        reason="BAD_CONFIG",
        fix="Correct the value." if name else "",
        metadata={"key": f"{cls.section}.{name}", "origin": origin},
    )


def _mentioned(sentence: str, lines: Mapping[Keys, str]) -> str:
    """Where a key stands that a sentence about a whole section names, in quotes or as a key of the section."""
    quoted = (where for keys, where in lines.items() if repr(keys[-1]) in sentence)
    plain = (where for keys, where in lines.items() if len(keys) == 1 and keys[0] in re.findall(r"\w+", sentence))
    found = next(chain(quoted, plain), "")
    return f"{found}: " if found else ""
