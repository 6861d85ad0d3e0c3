"""Pools of the settings file become values, or one sentence says what is wrong with them."""

from decimal import Decimal

import pydantic
import pytest

from inferno_governator.pools.settings import PoolSettings, checked
from inferno_governator.settings import GovernatorSettings


def test_a_pool_is_the_same_as_a_value() -> None:
    pool = PoolSettings(provider="local", models=("m",), max=3, price_per_hour=Decimal("1.5")).pool("small")
    assert (pool.name, pool.maximum, pool.micros_per_hour, pool.act) == ("small", 3, 1_500_000, False)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min": 2, "max": 1}, "more than max"),
        ({"capacity": {"other": 3.0}}, "not among its models"),
        ({"models": ()}, "models"),
        ({"provider": ""}, "provider"),
    ],
)
def test_a_pool_that_is_impossible_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=said):
        PoolSettings.model_validate({"provider": "local", "models": ("m",), **wrong})


def test_a_pools_name_can_be_part_of_a_nodes() -> None:
    small = PoolSettings(provider="local", models=("m",))
    assert checked({"gpu-1": small})
    with pytest.raises(ValueError, match="lower-case"):
        checked({"GPU one": small})


@pytest.mark.parametrize(
    ("minimum", "said"),
    [({"m": 5}, "more than the 4 nodes"), ({"m": 0}, "nothing would start one again"), ({"n": 1}, "no pool serves")],
)
def test_a_minimum_that_the_pools_of_a_model_cannot_give_is_refused(minimum: dict[str, int], said: str) -> None:
    pools = {name: {"provider": "local", "models": ["m"], "max": 2} for name in ("a", "b")}
    assert GovernatorSettings.model_validate({"pools": pools, "minimum": {"m": 4}}).minimum == {"m": 4}
    with pytest.raises(pydantic.ValidationError, match=said):
        GovernatorSettings.model_validate({"pools": pools, "minimum": minimum})
