from __future__ import annotations

import math

import pytest

from inferno_governator.watch.objective import Objective, check
from inferno_runtime.errors import InvalidInput


@pytest.mark.parametrize(
    ("field", "objective"),
    [
        *(("model", Objective(name, 0.9)) for name in ("", "a\nb", "m" * 257)),
        *(("share", Objective("m", share)) for share in (0, 1, -1, 2, math.nan, math.inf)),
        ("latency", Objective("m", 0.9, latency_micros=3_600_000_001)),
        ("queue", Objective("m", 0.9, queue_micros=-1)),
        *(("days", Objective("m", 0.9, days=days)) for days in (0, 91)),
    ],
)
def test_what_no_model_can_promise_is_refused_by_the_fields_name(field: str, objective: Objective) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(objective)
    assert refused.value.metadata == {"field": field}
    assert f"The objective is refused: {field}: " in refused.value.message


def test_what_a_model_can_promise_is_taken_as_it_is() -> None:
    objective = Objective("llama/3 70B", 0.999, 3_600_000_000, 250_000, 90)
    assert check(objective) is objective
