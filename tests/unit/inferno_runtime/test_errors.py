from __future__ import annotations

import http

import grpc
import pytest

from inferno_runtime import errors
from inferno_runtime.errors import Broken, Exhausted, InfernoError, Unavailable, concrete_errors, error_for_grpc

# google/rpc/code.proto: the HTTP status beside each code.
CANONICAL = {
    "INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "FAILED_PRECONDITION": 409,
    "PERMISSION_DENIED": 403, "UNAUTHENTICATED": 401, "UNIMPLEMENTED": 501, "INTERNAL": 500, "UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 429, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
EXIT_CODES = {1, 2, 4, 5, 124}


@pytest.mark.parametrize("cls", list(concrete_errors()))
def test_every_error_has_a_status_of_each_protocol(cls: type[InfernoError]) -> None:
    assert cls.grpc_code_name in grpc.StatusCode.__members__
    assert http.HTTPStatus(cls.http_status) == CANONICAL[cls.grpc_code_name]
    assert cls.exit_code in EXIT_CODES


def test_no_two_errors_mean_the_same_status() -> None:
    names = [cls.grpc_code_name for cls in concrete_errors()]
    assert len(names) == len(set(names)) == len(CANONICAL)


@pytest.mark.parametrize("code", sorted(set(grpc.StatusCode.__members__) - {"OK"}))
def test_every_status_from_the_wire_has_an_error(code: str) -> None:
    error = error_for_grpc(code, "what happened", reason="WHY", fix="do it", metadata={"k": "v"}, retry_after=1.5)
    assert type(error) in set(concrete_errors())
    assert (error.message, error.reason, error.fix, error.metadata, error.retry_after) == (
        "what happened", "WHY", "do it", {"k": "v"}, 1.5,
    )  # fmt: skip


@pytest.mark.parametrize("cls", [c for c in concrete_errors() if c is not Broken])
def test_an_error_survives_the_wire_as_its_own_class(cls: type[InfernoError]) -> None:
    assert type(error_for_grpc(cls.grpc_code_name, "m", reason="R")) is cls


def test_an_unknown_status_is_a_defect() -> None:
    assert type(error_for_grpc("NEW_CODE", "m", reason="R")) is Broken


def test_only_temporary_errors_are_temporary() -> None:
    temporary = {cls for cls in concrete_errors() if cls.temporary}
    assert temporary == {Unavailable, Exhausted, errors.TimedOut}


def test_a_sentence_is_the_message_with_its_fix() -> None:
    assert Broken("It broke.", reason="R", fix="Mend it.").sentence() == "It broke. Mend it."
    assert Broken("It broke.", reason="R").sentence() == "It broke."
    assert str(Broken("It broke.", reason="R", fix="x")) == "It broke."
