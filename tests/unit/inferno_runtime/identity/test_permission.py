from __future__ import annotations

import pytest

from inferno_runtime.errors import Denied, Unauthenticated
from inferno_runtime.identity.caller import ANONYMOUS, LOCAL, Caller, Kind
from inferno_runtime.identity.permission import Action, permit

NODE, PROXY, CLIENT = Caller(Kind.NODE, "n"), Caller(Kind.PROXY, "p"), Caller(Kind.CLIENT, "c")


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("caller", [LOCAL, Caller(Kind.OPEN), Caller(Kind.OPERATOR, "o")])
def test_who_owns_the_mesh_may_do_all(caller: Caller, action: Action) -> None:
    permit(caller, action, "anything")


@pytest.mark.parametrize(
    ("caller", "action", "subject"),
    [
        (ANONYMOUS, Action.JOIN, ""),
        (NODE, Action.REGISTER, "n"),
        (NODE, Action.MEASURE, "n"),
        (NODE, Action.READ, ""),
        (PROXY, Action.CONFIGURE, "p"),
        (PROXY, Action.CONFIGURE, "p/2"),
        (PROXY, Action.PROXY, "p"),
        (CLIENT, Action.INFER, ""),
        (CLIENT, Action.CONFIGURE, "c/a/b"),
    ],
)
def test_each_may_do_its_own(caller: Caller, action: Action, subject: str) -> None:
    permit(caller, action, subject)


@pytest.mark.parametrize(
    ("caller", "action", "subject"),
    [
        (NODE, Action.REGISTER, "m"),
        (NODE, Action.REGISTER, ""),
        (NODE, Action.MEASURE, "m"),
        (CLIENT, Action.MEASURE, "c"),
        (NODE, Action.CONFIGURE, "n"),
        (NODE, Action.OPERATE, ""),
        (PROXY, Action.CONFIGURE, "p2"),
        (PROXY, Action.REGISTER, "p"),
        (CLIENT, Action.CONFIGURE, "other/c"),
        (CLIENT, Action.PROXY, "c"),
        (CLIENT, Action.READ, ""),
        (CLIENT, Action.OPERATE, ""),
    ],
)
def test_nobody_may_do_anothers(caller: Caller, action: Action, subject: str) -> None:
    with pytest.raises(Denied) as refused:
        permit(caller, action, subject)
    assert refused.value.metadata["caller"] == str(caller)


@pytest.mark.parametrize("action", set(Action) - {Action.JOIN})
def test_who_does_not_say_who_he_is_is_asked(action: Action) -> None:
    with pytest.raises(Unauthenticated, match="say who you are"):
        permit(ANONYMOUS, action, "x")
