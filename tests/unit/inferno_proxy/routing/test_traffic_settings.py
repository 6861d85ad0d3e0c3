from __future__ import annotations

import json
from pathlib import Path

import pydantic
import pytest

from inferno_proxy.routing.traffic import VERSION, Balance, Mirror, Per, Rate, Scope, Split, Traffic
from inferno_proxy.routing.traffic_settings import ModelSettings, traffic_table
from inferno_proxy.settings import ProxySettings
from inferno_runtime.errors import InvalidInput
from inferno_runtime.settings import load


def table(**models: dict[str, object]) -> dict[str, ModelSettings]:
    return {name.replace("every", "*"): ModelSettings.model_validate(entry) for name, entry in models.items()}


def test_without_an_entry_a_model_is_treated_as_ever() -> None:
    assert traffic_table({}).of("m") == Traffic()


def test_an_entry_lies_over_the_one_for_every_model() -> None:
    made = traffic_table(table(every={"retries": 1, "timeout": 9}, m={"timeout": 0}))
    assert made.of("m") == Traffic(retries=1)
    assert made.of("other") == Traffic(retries=1, timeout=9)


def test_a_balance_without_a_slow_start_does_not_inherit_one() -> None:
    made = traffic_table(table(every={"slow_start": 30}, dice={"balance": "random"}, m={"retries": 1}))
    assert made.of("m") == Traffic(retries=1, slow_start=30)
    assert made.of("dice") == Traffic(Balance.RANDOM)


def test_what_may_not_run_twice_does_not_inherit_hedging() -> None:
    made = traffic_table(table(every={"hedge_after": 0.1}, once={"repeatable": False}, alone={"retries": 0}))
    assert (made.of("once"), made.of("alone")) == (Traffic(repeatable=False), Traffic(retries=0))


def test_a_balance_brings_its_own_key() -> None:
    session: dict[str, object] = {"balance": "ring_hash", "hash_on": "header:X-Session"}
    made = traffic_table(
        table(every=session, turns={"balance": "round_robin"}, far={"hash_on": "address", "balance": "maglev"})
    )
    assert made.of("other") == Traffic(Balance.RING_HASH, "x-session")
    assert made.of("turns") == Traffic(Balance.ROUND_ROBIN)
    assert made.of("far") == Traffic(Balance.MAGLEV)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"balance": "ring_hash"}, "needs hash_on"),
        ({"hash_on": "address"}, "hash_on needs balance ring_hash or maglev, not least_request"),
        ({"balance": "maglev", "hash_on": "cookie:a"}, "header:NAME or address"),
        ({"balance": "maglev", "hash_on": "header:a b"}, "header:NAME or address"),
        ({"retries": 11}, "less than or equal to 10"),
        ({"split": {"by": "track", "weights": {"a": 1}}}, "should match pattern"),
        ({"split": {"by": "version", "weights": {"1": 0}}}, "at least one group needs a weight above 0"),
        ({"mirror": {"by": "version", "to": "1", "percent": 0}}, "greater than 0"),
        ({"rate": {"calls": 1, "per": "cookie:x"}}, "it must be model, address, key or header:NAME"),
        (
            {"rate": {"calls": 1, "seconds": 5, "scope": "global"}},
            "with scope global, seconds must be 1, 60, 3600 or 86400, not 5",
        ),
        (
            {"hedge_after": 1, "repeatable": False},
            "hedge_after sends a call twice, which needs repeatable: true and retries of at least 1",
        ),
        (
            {"slow_start": 5, "balance": "random"},
            "slow_start needs balance least_request or round_robin, not random",
        ),
        ({"timeout": -1}, "greater than or equal to 0"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(entry: dict[str, object], what: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=what):
        ModelSettings.model_validate(entry)


def test_a_misspelt_key_of_a_model_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text("proxy:\n  models:\n    resnet:\n      time_out: 3\n")
    with pytest.raises(InvalidInput, match=r"inferno\.yaml:4: unknown key 'proxy\.models\.resnet\.time_out'") as caught:
        load(ProxySettings, file=file)
    assert caught.value.fix == "Did you mean 'timeout'?"


def test_what_is_not_set_stays_so_on_the_way_to_the_control_plane() -> None:
    settings = ProxySettings(models=table(every={"retries": 1}, m={"timeout": 2}))
    carried = json.dumps(settings.model_dump(mode="json", exclude_unset=True))
    assert traffic_table(ProxySettings.model_validate_json(carried).models).of("m") == Traffic(retries=1, timeout=2)


def test_groups_and_limits_become_plain_values() -> None:
    entry = ModelSettings.model_validate(
        {
            "split": {"by": "label:track", "weights": {"stable": 90, "canary": 10}},
            "mirror": {"by": "version", "to": "2", "percent": 5},
            "max_concurrency": 4,
            "rate": {"calls": 5, "seconds": 2, "per": "header:X-API-Key"},
        }
    )
    assert entry.traffic() == Traffic(
        split=Split("track", (("canary", 10), ("stable", 90))),
        mirror=Mirror(VERSION, "2", 5),
        max_concurrency=4,
        rate=Rate(5, 2, Per.HEADER, "x-api-key"),
    )


def test_a_limit_by_key_is_one_by_the_header_that_carries_it() -> None:
    entry = ModelSettings.model_validate({"rate": {"calls": 1, "seconds": 60, "per": "key", "scope": "global"}})
    assert entry.traffic().rate == Rate(1, 60, Per.HEADER, "x-api-key", Scope.GLOBAL)


@pytest.mark.parametrize("limit", ["max_request_bytes", "max_stream_bytes"])
def test_one_limit_of_a_size_anywhere_puts_the_filter_into_the_chain(limit: str) -> None:
    assert not traffic_table({}).limits_sizes
    assert traffic_table(table(m={limit: 1})).limits_sizes
    assert traffic_table(table(every={limit: 1})).limits_sizes


def test_one_rate_limit_anywhere_puts_the_filter_into_the_chain() -> None:
    assert not traffic_table({}).limits_rates
    limited: dict[str, object] = {"rate": {"calls": 1}}
    assert traffic_table(table(m=limited)).limits_rates
    assert traffic_table(table(every=limited)).limits_rates
