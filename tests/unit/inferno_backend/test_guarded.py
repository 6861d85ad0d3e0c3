"""What is said of a program under guard."""

from __future__ import annotations

from inferno_backend.guarded import cause


def test_the_cause_of_an_end_is_a_sentence() -> None:
    assert cause(None, []) == "Triton was killed together with its guard."
    assert cause(-11, []) == "Triton was killed by SIGSEGV."
    assert cause(1, ["first.", "port taken."]) == "Triton ended with status 1: port taken."
    assert cause(0, []) == "Triton ended with status 0."
    assert cause(-9, [], "Envoy") == "Envoy was killed by SIGKILL."
    assert cause(-6, ["no such host"]) == "Triton was killed by SIGABRT: no such host."


def test_a_kill_for_lack_of_memory_is_told_from_any_other() -> None:
    assert cause(-9, [], starved="the kernel did it") == "Triton was killed by SIGKILL: the kernel did it."
    assert cause(-11, [], starved="the kernel did it") == "Triton was killed by SIGSEGV."
