from __future__ import annotations

from pathlib import Path

import pytest

from inferno_cli.cloud import sentence
from inferno_runtime.errors import Broken, Denied, InfernoError, InvalidInput, TimedOut, Unavailable


@pytest.mark.parametrize(
    ("status", "cls"),
    [(1, Broken), (2, InvalidInput), (4, Unavailable), (5, Denied), (124, TimedOut), (-9, Broken), (77, Broken)],
)
def test_a_components_own_sentence_is_told_with_its_exit_code(
    tmp_path: Path, status: int, cls: type[InfernoError]
) -> None:
    log = tmp_path / "proxy.log"
    log.write_text("starting\nerror[PORT_IN_USE] 8080 is used.\n  fix: Stop it.\nlast line\n")
    error = sentence.failure("proxy", status, log)
    assert type(error) is cls
    assert (error.message, error.reason) == ("proxy: 8080 is used.", "PORT_IN_USE")
    assert error.fix == f"Stop it. The whole log: {log}"


def test_the_first_sentence_is_the_cause(tmp_path: Path) -> None:
    log = tmp_path / "proxy.log"
    log.write_text(
        "error[BAD_SOCKET] The socket is a folder.\n  fix: Remove it.\n"
        "error[CONTROL_FAILED] The control plane ended with 1.\n  fix: Its own lines above say why.\n"
    )
    error = sentence.failure("proxy", 4, log)
    assert (error.message, error.reason) == ("proxy: The socket is a folder.", "BAD_SOCKET")
    assert error.fix == f"Remove it. The whole log: {log}"


def test_a_sentence_without_a_fix_has_only_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("error[R] It broke.")
    assert sentence.failure("x", 1, log).fix == f"The whole log: {log}"


def test_without_a_sentence_the_last_lines_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("\n".join(f"line {number}" for number in range(30)))
    error = sentence.failure("x", -11, log)
    assert "x did not start: it was killed by SIGSEGV." in error.message
    assert "line 29" in error.message
    assert "line 19" not in error.message


def test_a_silent_death_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.log").touch()
    assert "(nothing)" in sentence.failure("x", 3, tmp_path / "x.log").message


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("a" * 1000 + "\nend\n")
    assert sentence.tail(log, most=10) == ["aaaaa", "end"]
