from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
import rich_click as click
from click.testing import CliRunner

from inferno_cli.lazy import Entry, LazyGroup
from inferno_cli.main import command
from inferno_runtime.errors import Denied, Unavailable


@click.command("raises")
@click.argument("what")
def raises(what: str) -> None:
    """Raise what the test wants."""
    ours = Unavailable("It is away.", reason="AWAY", fix="Call later.")
    if what == "ours":
        raise ours
    if what == "group":
        raise ExceptionGroup("tasks", [Denied("No.", reason="NO")])
    if what == "mixed":
        raise ExceptionGroup("tasks", [ours, ValueError("defect")])
    if what == "interrupt":
        raise KeyboardInterrupt
    click.echo("done")


@pytest.fixture
def group() -> LazyGroup:
    made = LazyGroup(name="root", context_settings={"help_option_names": ["-h", "--help"]})
    made.add_lazy(Entry("fail", "Fails as told.", f"{__name__}:raises"))
    made.add_lazy(Entry("broken", "Cannot be imported.", "inferno_cli.no_such_module:command"))
    return made


@pytest.mark.parametrize(
    ("what", "code", "sentence"),
    [
        ("nothing", 0, ""),
        ("ours", 4, "error[AWAY] It is away.\n  fix: Call later.\n"),
        ("group", 5, "error[NO] No.\n"),
        ("interrupt", 130, "Interrupted.\n"),
    ],
)
def test_how_a_command_ends_is_its_exit_code_and_one_sentence(
    group: LazyGroup, what: str, code: int, sentence: str
) -> None:
    result = CliRunner().invoke(group, ["fail", what])
    assert (result.exit_code, result.stderr) == (code, sentence)


def test_a_defect_keeps_its_trace(group: LazyGroup) -> None:
    assert isinstance(CliRunner().invoke(group, ["fail", "mixed"]).exception, ExceptionGroup)


def test_help_imports_no_command(group: LazyGroup) -> None:
    result = CliRunner().invoke(group, ["--help"])
    assert result.exit_code == 0
    assert "Cannot be imported." in result.output


@pytest.mark.parametrize(("typed", "meant"), [("stauts", "status"), ("inferr", "infer"), ("chek", "check")])
def test_a_mistyped_command_is_answered_with_the_nearest_one(typed: str, meant: str) -> None:
    result = CliRunner().invoke(command, [typed])
    assert result.exit_code == 2
    assert f"Did you mean '{meant}'?" in " ".join(result.stderr.split())


def test_a_wrong_flag_is_answered_with_the_nearest_one() -> None:
    result = CliRunner().invoke(command, ["status", "--endpont", "x"])
    assert result.exit_code == 2
    assert "--endpoint" in result.stderr


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_groups_the_commands(flag: str) -> None:
    result = CliRunner().invoke(command, [flag])
    assert result.exit_code == 0
    for text in ("Run the mesh", "Use the mesh", "Find out what is wrong", "governator", "infer", "check"):
        assert text in result.output


@pytest.mark.parametrize("name", ["up", "infer", "check", "backend", "governator"])
def test_help_keeps_every_option_whole_on_80_columns(name: str) -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(command, [name, "-h"])
    assert result.exit_code == 0
    shown = set(result.output.split())
    context = click.Context(command)
    _, found, _ = command.resolve_command(context, [name])
    assert found is not None
    flags = {flag for option in found.params for flag in option.opts if flag.startswith("--")}
    assert flags <= {word.split("/")[0] for word in shown}
    assert all(len(line) <= 80 for line in result.output.splitlines())


@pytest.mark.parametrize("name", ["up", "status", "infer", "cost", "check", "proxy", "backend", "governator"])
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(command, [name, "-h"])
    assert result.exit_code == 0, result.output
    assert f"Usage: root {name}" in result.output or f"{name} [OPTIONS]" in result.output


def test_the_version_is_the_distributions() -> None:
    result = CliRunner().invoke(command, ["--version"])
    assert result.output.startswith("inferno ")


async def test_the_whole_program_answers_help_without_heavy_imports() -> None:
    code = (
        "import sys\nfrom inferno_cli.main import main\nsys.argv = ['inferno', '--help']\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert done.code == 0\n"
        "print(sorted({'grpc', 'pydantic', 'numpy', 'sqlmodel', 'psutil', 'structlog', 'asyncio'} & set(sys.modules)))"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_changes_no_exit_code(closed: str) -> None:
    line = f"{sys.executable} -m inferno_cli.main config view {closed}"
    done = subprocess.run(["sh", "-c", line], check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
