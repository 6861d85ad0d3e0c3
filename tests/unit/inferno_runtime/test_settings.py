from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pydantic
import pytest
import rich_click as click
from click.testing import CliRunner

from inferno_runtime import settings
from inferno_runtime.errors import InvalidInput, NotFound
from inferno_runtime.settings import ProcessSettings, load, option


class Sample(ProcessSettings):
    """Every kind of field there is."""

    section: ClassVar[str] = "proxy"

    port: int = option(8080, help="Public port.", ge=0, le=65535)
    ratio: float = option(0.5, help="A share.")
    healing: bool = option(default=True, help="Mend.")
    mode: Literal["fast", "safe"] = option("fast", help="Which.")
    folder: Path | None = option(None, help="Where.", metavar="DIR")
    names: Annotated[tuple[str, ...], pydantic.BeforeValidator(settings.split_commas)] = option((), help="Who.")
    url: str = option("", help="Link.", flag="--link")

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Sample:
        if self.port == 1 and self.ratio == 1:
            raise ValueError("port and ratio exclude one another.")
        return self


class Room(settings.Settings):
    """Settings below the first level."""

    size: int = option(help="Places.", ge=1)
    colour: str = option("white", help="Paint.")

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Room:
        if self.size == 13:
            raise ValueError("nobody wants it.")
        return self


class House(settings.Settings):
    """A mapping of names to settings, and settings by themselves."""

    section: ClassVar[str] = "proxy"

    rooms: Mapping[str, Room] = option({}, help="By name.")
    hall: Room | None = option(None, help="One.")
    door: int = option(1, help="Number.")


class Required(settings.Settings):
    """One field without a default."""

    section: ClassVar[str] = "backend"

    name: str = option(help="Name.")


def _file(folder: Path, text: str) -> Path:
    path = folder / "inferno.yaml"
    path.write_text(text)
    return path


def test_without_sources_every_field_has_its_default() -> None:
    loaded = load(Sample)
    assert loaded.value == Sample()
    assert set(loaded.origins.values()) == {"default"}


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = _file(tmp_path, "proxy:\n  port: 1\n  ratio: 0.1\n  mode: safe\n")
    env = {"INFERNO_PROXY_PORT": "2", "INFERNO_PROXY_RATIO": "0.2", "OTHER": "x"}
    loaded = load(Sample, file=file, env=env, flags={"port": 3, "mode": None})
    assert (loaded.value.port, loaded.value.ratio, loaded.value.mode) == (3, 0.2, "safe")
    assert (loaded.origins["port"], loaded.origins["ratio"], loaded.origins["mode"]) == (
        "--port", "INFERNO_PROXY_RATIO", f"{file}:4",
    )  # fmt: skip


def test_lists_come_from_yaml_and_from_commas(tmp_path: Path) -> None:
    file = _file(tmp_path, "proxy:\n  names:\n    - a\n    - b\n")
    assert load(Sample, file=file).value.names == ("a", "b")
    assert load(Sample, env={"INFERNO_PROXY_NAMES": "a, b,"}).value.names == ("a", "b")


def test_nested_mappings_become_plain_ones(tmp_path: Path) -> None:
    file = _file(tmp_path, "proxy:\n  url:\n    a: [1]\n")
    with pytest.raises(InvalidInput, match=r"inferno.yaml:2: proxy.url: input should be a valid string\."):
        load(Sample, file=file)


def test_an_unknown_key_names_the_nearest_one_and_its_line(tmp_path: Path) -> None:
    file = _file(tmp_path, "proxy:\n  port: 1\n  heeling: true\n")
    with pytest.raises(InvalidInput) as caught:
        load(Sample, file=file)
    assert str(caught.value) == f"{file}:3: unknown key 'proxy.heeling'."
    assert caught.value.fix == "Did you mean 'healing'?"


def test_a_key_like_nothing_lists_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(Sample, file=_file(tmp_path, "proxy:\n  zzzzzzzz: 1\n"))
    assert "Valid keys:" in caught.value.fix
    assert "healing" in caught.value.fix


def test_an_unknown_section_names_the_nearest_one_and_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"inferno.yaml:3: unknown key 'prxy'") as caught:
        load(Sample, file=_file(tmp_path, "backend:\n  name: x\nprxy:\n  port: 1\n"))
    assert caught.value.fix == "Did you mean 'proxy'?"


@pytest.mark.parametrize("text", ["", "backend:\n  name: x\n", "proxy:\n"])
def test_a_file_that_says_nothing_of_a_component_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load(Sample, file=_file(tmp_path, text)).value == Sample()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- 1\n", "holds no sections"),
        ("proxy: 5\n", "section 'proxy' is not a mapping"),
        ("proxy:\n  port: [\n", "is not valid YAML"),
        ("proxy: {a: 1, a: 2}\n", "is not valid YAML"),
        ("\t", "is not valid YAML"),
    ],
)
def test_a_malformed_file_is_told_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        load(Sample, file=_file(tmp_path, text))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No such file") as caught:
        load(Sample, file=tmp_path / "none.yaml")
    assert "--config" in caught.value.fix


@pytest.mark.parametrize(
    ("cls", "name", "fix"),
    [
        (Sample, "INFERNO_PROXY_PROT", "Did you mean 'INFERNO_PROXY_PORT'?"),
        (House, "INFERNO_PROXY_ROOMS", "Did you mean 'INFERNO_PROXY_DOOR'?"),
    ],
)
def test_an_environment_name_that_sets_nothing_is_refused(cls: type[settings.Settings], name: str, fix: str) -> None:
    with pytest.raises(InvalidInput, match=f"environment: unknown key '{name}'") as caught:
        load(cls, env={name: "1", "INFERNO_BACKEND_PORT": "another section's", "PATH": "/bin"})
    assert caught.value.fix == fix


def test_a_bad_value_names_its_origin_and_what_was_given() -> None:
    with pytest.raises(InvalidInput) as caught:
        load(Sample, env={"INFERNO_PROXY_PORT": "70000"})
    message = str(caught.value)
    assert message.startswith("INFERNO_PROXY_PORT: proxy.port: input should be less than or equal to 65535")
    assert "not '70000'" in message


def test_a_contradiction_between_fields_is_told_of_the_section() -> None:
    with pytest.raises(InvalidInput, match="proxy: port and ratio exclude one another"):
        load(Sample, flags={"port": 1, "ratio": 1.0})


def test_a_contradiction_in_the_file_is_told_with_the_line_of_a_key_it_names(tmp_path: Path) -> None:
    file = _file(tmp_path, "proxy:\n  mode: fast\n  ratio: 1.0\n  port: 1\n")
    with pytest.raises(InvalidInput) as caught:
        load(Sample, file=file)
    assert str(caught.value).startswith(f"{file}:3: proxy: port and ratio")


def test_a_missing_required_field_says_every_way_to_give_it() -> None:
    with pytest.raises(InvalidInput) as caught:
        load(Required)
    assert str(caught.value) == "backend.name is required."
    assert all(way in caught.value.fix for way in ("--name", "INFERNO_BACKEND_NAME", "'name' under 'backend'"))


def test_command_line_options_follow_from_the_fields() -> None:
    given: dict[str, object] = {}

    @click.command()
    @settings.click_options(Sample)
    def command(**flags: object) -> None:
        given.update(flags)

    arguments = ["--port", "9", "--no-healing", "--mode", "safe", "--folder", "/x", "--names", "a,b", "--link", "u"]
    result = CliRunner().invoke(command, [*arguments, "--ratio", "0.25"])
    assert result.exit_code == 0, result.output
    loaded = load(Sample, flags=given).value
    assert (loaded.port, loaded.healing, loaded.mode, loaded.folder) == (9, False, "safe", Path("/x"))
    assert (loaded.names, loaded.url, loaded.ratio, loaded.log_level) == (("a", "b"), "u", 0.25, "info")
    text = CliRunner().invoke(command, ["--help"], terminal_width=200).output
    assert "default 8080" in text
    assert "default on" in text
    assert "DIR" in text


def test_a_required_option_shows_no_default() -> None:
    @click.command()
    @settings.click_options(Required)
    def command(name: str | None) -> None: ...

    assert "default" not in CliRunner().invoke(command, ["--help"]).output


def test_the_file_may_hold_settings_inside_settings(tmp_path: Path) -> None:
    file = _file(tmp_path, "proxy:\n  rooms:\n    blue: {size: 2}\n  hall: {size: 9, colour: red}\n")
    loaded = load(House, file=file)
    assert loaded.value == House(rooms={"blue": Room(size=2)}, hall=Room(size=9, colour="red"))
    assert loaded.origins["rooms"] == f"{file}:2"


@pytest.mark.parametrize(
    ("text", "sentence", "fix"),
    [
        (
            "  rooms:\n    blue:\n      size: 1\n      color: red\n",
            r":5: unknown key 'proxy\.rooms\.blue\.color'\.",
            "Did you mean 'colour'?",
        ),
        ("  hall:\n    zzz: 1\n    size: 2\n", r":3: unknown key 'proxy\.hall\.zzz'", "Valid keys: size, colour."),
        (
            "  rooms:\n    blue:\n      size: 0\n",
            r":4: proxy\.rooms\.blue\.size: input should be greater than or equal to 1, not 0\.",
            "Correct the value.",
        ),
        ("  rooms:\n    blue:\n      size: 13\n", r":3: proxy\.rooms\.blue: nobody wants it\.", "Correct the value."),
        ("  rooms:\n    blue: {}\n", r":3: proxy\.rooms\.blue\.size is required\.", "Add the key 'size'."),
        ("  rooms: 7\n", r":2: proxy\.rooms: input should be a valid dictionary, not 7\.", "Correct the value."),
    ],
)
def test_a_mistake_below_the_first_level_is_told_with_its_line(
    tmp_path: Path, text: str, sentence: str, fix: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence) as caught:
        load(House, file=_file(tmp_path, "proxy:\n" + text))
    assert caught.value.fix == fix


def test_settings_inside_settings_have_no_command_line_option() -> None:
    @click.command()
    @settings.click_options(House)
    def command(**_: object) -> None:
        """Nothing."""

    assert [parameter.name for parameter in command.params] == ["door"]
