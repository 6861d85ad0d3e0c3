"""Pools of the settings file become values, or one sentence says what is wrong with them."""

from decimal import Decimal

import pydantic
import pytest

from inferno_governator.pools.settings import PoolSettings, checked


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
