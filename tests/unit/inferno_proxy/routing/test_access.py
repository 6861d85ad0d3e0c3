from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.routing.access import EVERY_MODEL, AccessTable, Client, may_call

PATTERNS = st.lists(
    st.text("ab", min_size=1, max_size=3) | st.text("ab", max_size=2).map(lambda text: f"{text}*"), max_size=4
)


@given(owned=st.lists(PATTERNS, max_size=5), model=st.text("ab", min_size=1, max_size=4))
def test_a_model_is_called_by_whom_its_name_is_allowed_and_by_nobody_else(owned: list[list[str]], model: str) -> None:
    clients = [Client(f"c{number}", models=tuple(models)) for number, models in enumerate(owned)]
    callers = AccessTable.of(clients).callers(model)
    for client in clients:
        allowed = callers is None or client.access in callers
        assert allowed == may_call(client.models, model), client
        assert may_call(client.models, model) == any(
            each in {"*", model} or (each.endswith("*") and model.startswith(each[:-1])) for each in client.models
        )


@given(one=PATTERNS, other=PATTERNS)
def test_equal_sets_of_models_are_one_access(one: list[str], other: list[str]) -> None:
    accesses = [Client("c", models=tuple(each)).access for each in (one, other)]
    everything = [EVERY_MODEL in each for each in (one, other)]
    assert (accesses[0] == accesses[1]) == (set(one) == set(other) or all(everything))


def test_nobody_is_kept_from_anything_where_all_may_call_everything() -> None:
    assert AccessTable.of([Client("a"), Client("b", models=("x", "*"))]).callers("m") is None
    assert AccessTable.of([]).callers("m") is None
    assert AccessTable.of([Client("a"), Client("b", models=())]).callers("m") == ("*",)
